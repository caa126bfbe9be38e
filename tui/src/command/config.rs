//! The configuration file: its path, reading it with the ids of the invoking user, and its documentation.

use super::messages::name;
use super::usage::BadUsage;
use super::user_files::{as_user, user_path};
use crate::app::views::columns;
use crate::app::watch::Watch;
use crate::cli;
use crate::config::{Config, ConfigError, ENTRIES, LISTS, WatchEntry};
use crate::view::theme::{COLOURS, Look, Role, WEIGHTS};
use anyhow::Result;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use tracetui_events::filter::{Compiled, Filter, FilterOptions, NameLookup};
use tracetui_events::limits;
use tracetui_host::confine::{FileAccess, enter_files};
use tracetui_host::invoker::Invoker;

/// The variable for the directory of configurations, its default below the home directory, and the file.
const FILE: [&str; 3] = ["XDG_CONFIG_HOME", ".config", "tracetui/config.toml"];

/// What to do about a file that cannot be used.
const REMEDY: &str = "--no-config starts without the file";

/// The configuration, and the file that it comes from.
#[derive(Debug, Default)]
pub(super) struct LoadedConfig {
    pub(super) config: Config,
    /// The name and the text of the file, for errors.
    file: Option<(String, String)>,
}

impl LoadedConfig {
    /// Reads the configuration, if there is one. Under sudo, reads the configuration of the user who typed sudo, with that user's ids. A
    /// file that this user cannot read is not read, so no message shows a part of it. A wrong entry is [`BadUsage`].
    pub(super) fn read(options: &cli::ConfigOptions) -> Result<LoadedConfig> {
        if options.no_config {
            return Ok(LoadedConfig::default());
        }
        let invoker = Invoker::of_environment()?;
        let default = || user_path(invoker.as_ref(), FILE, |name| std::env::var_os(name));
        let Some(path) = options.config.clone().or_else(default) else { return Ok(LoadedConfig::default()) };
        let text = match (read_as(invoker, path.clone())?, &options.config) {
            (Ok(text), _) => text,
            (Err(Unread::Absent(_)), None) => return Ok(LoadedConfig::default()),
            (Err(Unread::Absent(error) | Unread::Refused(error)), _) => {
                let path = name(&path);
                return Err(BadUsage(format!("cannot read the configuration file {path}: {error}\n{REMEDY}")).into());
            }
        };
        let mut loaded = LoadedConfig::default();
        let parsed = Config::parse(&text);
        loaded.file = Some((name(&path), String::from_utf8_lossy(&text).into_owned()));
        loaded.config = parsed.map_err(|error| loaded.bad(&error))?;
        Ok(loaded)
    }

    /// The display filter of the file; `None` if there is none, or others are given.
    pub(super) fn filter(&self, given: &cli::FilterArgs, names: &dyn NameLookup) -> Result<Option<Compiled>, BadUsage> {
        let filter = self.config.filter.as_ref().filter(|_| *given == cli::FilterArgs::default());
        let Some(filter) = filter else { return Ok(None) };
        let options = FilterOptions { filter: vec![filter.text.clone()], ..FilterOptions::default() };
        let compiled = options.compile(names).map_err(|error| self.bad(&ConfigError::of_filter(filter, &error)))?;
        Ok(Some(compiled))
    }

    /// The watches of the file.
    pub(super) fn watches(&self, names: &dyn NameLookup) -> Result<Vec<Watch>, BadUsage> {
        let watch = |entry: &WatchEntry| {
            let WatchEntry { name, filter, rings, records } = entry;
            let parsed = Filter::parse(&filter.text, names);
            let parsed = parsed.map_err(|error| self.bad(&ConfigError::of_filter(filter, &error)))?;
            Ok(Watch { rings: *rings, records: *records, ..Watch::new(name.clone(), parsed) })
        };
        self.config.watches.iter().map(watch).collect()
    }

    fn bad(&self, error: &ConfigError) -> BadUsage {
        let (file, text) = self.file.as_ref().map_or(("", ""), |(file, text)| (file, text));
        BadUsage(format!("{}\n{REMEDY}", error.render(file, text)))
    }
}

#[derive(Debug)]
enum Unread {
    /// The file does not exist, as far as the user can see.
    Absent(io::Error),
    Refused(io::Error),
}

/// Reads a file with the ids of the user who typed sudo, without capabilities.
fn read_as(invoker: Option<Invoker>, path: PathBuf) -> Result<Result<Vec<u8>, Unread>> {
    as_user(invoker, |invoker| enter_files(Some(invoker), FileAccess::Read), move || read(&path))
}

fn read(path: &Path) -> Result<Vec<u8>, Unread> {
    // Only a path whose directories can be searched shows whether the file exists.
    let absent = |error: &io::Error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => true,
        ErrorKind::PermissionDenied => path.symlink_metadata().is_err(),
        _ => false,
    };
    // With these flags, opening anything but a regular file neither waits nor makes it the controlling terminal.
    let opened = File::options().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path);
    let file = opened.map_err(|error| if absent(&error) { Unread::Absent(error) } else { Unread::Refused(error) })?;
    read_open(&file).map_err(Unread::Refused)
}

fn read_open(file: &File) -> io::Result<Vec<u8>> {
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    if found.len() > limits::CONFIG_FILE {
        return Err(io::Error::other(format!("larger than {} KiB", limits::CONFIG_FILE >> 10)));
    }
    // Read no more than the file's size. Files in /proc have the size 0, and may show more to this process than to the user.
    let mut text = Vec::new();
    file.take(found.len()).read_to_end(&mut text)?;
    Ok(text)
}

/// A file with some entries of each kind.
pub(crate) const EXAMPLE: &str = r#"filter = "not comm=tmux"      # shown at the start; Esc removes it
mouse = true

[columns]
events = ["time", "pid", "user", "comm", "result", "detail"]

[colors]
selection = "black on 214"
quiet = "bright-black"

[watch]
ssh = "path~/[.]ssh/"
shadow = { filter = "path=/etc/shadow", bell = true, record = true }

[keys]
pause = ["Space", "F9"]
only-pid = "F2"
record = []                   # no key
"#;

const PLACE: [&str; 3] = [
    "The file is $XDG_CONFIG_HOME/tracetui/config.toml, by default ~/.config/tracetui/config.toml. Under sudo, doas or pkexec it is the",
    "invoking user's, read with the ids of that user. --config FILE reads another file, --no-config none. An unknown or wrong entry is",
    "an error that names its line (exit status 2). The format is TOML, at most 64 KiB.",
];

const WATCHES: [&str; 4] = [
    "A watch is a name and a filter, or a table with `filter` and optionally `bell` and `record` (true or false).",
    "The header counts its matches, and the list marks them with the name, even those that it would only count. `bell` rings the",
    "terminal's bell, at most once a second. `record` starts a recording at the first match, with the kept events. Watches do not restrict",
    "the capture.",
];
const KEYS: [&str; 4] = [
    "The keys given here replace those of the action; [] removes all. They are written as in the help: q, Ctrl-F, F1, Space, PgDn,",
    "Shift-Tab. Other actions in the same place lose these keys. It is an error if two entries of a place have the same key, or if quit",
    "or help has no key left that is free in every view. While the tree, Top, BPF, the detail pane or a replay is shown, its keys take",
    "precedence.",
];
const COLORS: [&str; 3] = [
    "A look is a text colour, \"on\" and a background colour, and weights, as in \"red bold\" or \"black on green\"; \"plain\" has none.",
    "A colour is one of the terminal's 16, a number from 0 to 255, or #rrggbb. Without colours (--color never, NO_COLOR) weights",
    "remain, and text with a background is reversed.",
];
const COLUMNS: [&str; 5] = [
    "The columns of a view, in order. DETAIL, the command of the tree and the place of a BPF program get half of the width; the last",
    "columns that do not fit beside it are dropped. The event list needs `detail`, the BPF list `target`. `failed` does not count calls",
    "that a later call answered.",
    "In the tree, `cpu` is the share of a CPU that a running process uses (live only), and the CPU time of one that ended;",
    "`memory` is the resident set, of one that ended the largest. In `top` both are of processes that ended.",
];

fn words() -> (String, String) {
    let dark = COLOURS.iter().map(|(name, _)| *name).filter(|name| !name.starts_with("bright-"));
    let colours = format!("{}, and each of them with bright- before it", dark.collect::<Vec<_>>().join(", "));
    (colours, WEIGHTS.map(|(name, _)| name).join(", "))
}

pub fn markdown() -> String {
    let mut out = String::from("# Configuration file\n\n");
    let paragraph = |lines: &[&str]| lines.join("\n") + "\n";
    let code = |text: &str| format!("`{text}`");
    out.push_str("Generated from the tables that the program uses. The dashboard (live and replay) and `tracetui keys` read the optional file.\n\n");
    out.push_str(&paragraph(&PLACE));
    out.push_str(&format!("\n```toml\n{EXAMPLE}```\n\n| entry | value | |\n|---|---|---|\n"));
    for entry in &ENTRIES {
        out.push_str(&format!("| `{}` | {} | {} |\n", entry.name, entry.values, entry.doc));
    }
    out.push_str(&format!("\n## `[columns]`\n\n{}", paragraph(&COLUMNS)));
    out.push_str("\n| list | columns |\n|---|---|\n");
    for (list, view) in LISTS {
        let names: Vec<_> = columns::all(view).iter().map(|name| code(name)).collect();
        out.push_str(&format!("| `{list}` | {} |\n", names.join(" ")));
    }
    let (colours, weights) = words();
    out.push_str(&format!("\n## `[colors]`\n\n{}", paragraph(&COLORS)));
    out.push_str(&format!("\nColours: {colours}.\nWeights: {weights}.\n\n| role | default | where |\n|---|---|---|\n"));
    for role in Role::ALL {
        out.push_str(&format!("| `{}` | `{}` | {} |\n", role.name(), Look::of(*role), role.doc()));
    }
    out.push_str(&format!("\n## `[watch]`\n\n{}", paragraph(&WATCHES)));
    out.push_str(&format!("\n## `[keys]`\n\n[KEYS.md](KEYS.md) lists the actions.\n\n{}", paragraph(&KEYS)));
    out
}

#[cfg(test)]
mod tests {
    use super::super::testing::Scratch;
    use super::*;
    use std::ffi::CString;
    use std::fs::{self, Permissions};
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use tracetui_host::clock;
    use tracetui_shared::id::{Gid, Uid};

    fn dir(name: &str) -> Scratch {
        let dir = Scratch::new(&format!("config-{name}"));
        fs::set_permissions(&*dir, Permissions::from_mode(0o755)).expect("ours");
        dir
    }

    fn invoker(home: &Path) -> Invoker {
        let (uid, gid) = (Uid(65_534), Gid(65_534));
        Invoker { uid, gid, groups: vec![gid.0], name: "nobody".into(), home: home.into() }
    }

    #[test]
    fn only_a_small_regular_file_is_read() {
        let dir = dir("regular");
        let path = |name: &str| dir.join(name);
        fs::write(path("file"), "mouse = true").expect("room");
        symlink(path("file"), path("link")).expect("room");
        symlink(path("loop"), path("loop")).expect("room");
        symlink(path("nowhere"), path("dangling")).expect("room");
        fs::write(path("most"), vec![b'#'; limits::CONFIG_FILE as usize]).expect("room");
        fs::write(path("more"), vec![b'#'; limits::CONFIG_FILE as usize + 1]).expect("room");
        let fifo = CString::new(path("fifo").as_os_str().as_bytes()).expect("no NUL");
        // SAFETY: the path is a string that lives through the call.
        assert_eq!(unsafe { libc::mkfifo(fifo.as_ptr(), 0o600) }, 0);
        for name in ["file", "link"] {
            assert_eq!(read(&path(name)).expect("readable"), b"mouse = true");
        }
        assert_eq!(read(&path("most")).expect("readable").len() as u64, limits::CONFIG_FILE);
        // As large as it says it is: it says 0.
        assert_eq!(read(Path::new("/proc/self/maps")).expect("readable"), b"");
        let began = clock::now_real_ns();
        for (name, said) in [
            ("more", "larger than 64 KiB"),
            ("fifo", "not a regular file"),
            ("loop", "symbolic links"),
            ("", "not a regular file"),
            ("/dev/zero", "not a regular file"),
            ("/dev/tty", ""),
        ] {
            match read(&path(name)) {
                Err(Unread::Refused(error)) => assert!(error.to_string().contains(said), "{name}: {error}"),
                other => panic!("{name}: {other:?}"),
            }
        }
        assert!(clock::now_real_ns() - began < 5_000_000_000, "nothing is waited for");
        for name in ["none", "file/below", "dangling", "none/below"] {
            assert!(matches!(read(&path(name)), Err(Unread::Absent(_))), "{name}");
        }
    }

    #[test]
    fn under_sudo_it_is_read_as_the_user() {
        if !rustix::process::geteuid().is_root() {
            return tracetui_host::not_checked("it needs root");
        }
        let dir = dir("sudo");
        let path = |name: &str| dir.join(name);
        let read = |name: &str| read_as(Some(invoker(&dir)), path(name)).expect("a thread");
        fs::write(path("secret"), "root:secret").expect("room");
        fs::set_permissions(path("secret"), Permissions::from_mode(0o600)).expect("ours");
        fs::write(path("public"), "mouse = true").expect("room");
        fs::create_dir(path("closed")).expect("room");
        fs::write(path("closed/file"), "root:secret").expect("room");
        fs::set_permissions(path("closed"), Permissions::from_mode(0o700)).expect("ours");
        symlink(path("secret"), path("link")).expect("room");
        symlink("/etc/shadow", path("shadow")).expect("room");
        symlink("/proc/kallsyms", path("kernel")).expect("room");
        symlink("/proc/1/maps", path("maps")).expect("room");
        symlink("/proc/1/environ", path("environ")).expect("room");
        symlink("/proc/1/comm", path("process")).expect("room");
        assert_eq!(read("public").expect("the user may read it"), b"mouse = true");
        // Where /proc hides the processes of others (hidepid), the user cannot see whether there is one.
        let is_hidden = matches!(read("process"), Err(Unread::Absent(_)));
        for (name, is_hidden) in
            [("secret", false), ("link", false), ("shadow", false), ("maps", is_hidden), ("environ", is_hidden)]
        {
            match read(name) {
                Err(Unread::Refused(_)) => assert!(!is_hidden, "{name}"),
                Err(Unread::Absent(_)) => assert!(is_hidden, "{name}"),
                other => panic!("{name}: {other:?}"),
            }
        }
        assert_eq!(read("kernel").expect("all may open it"), b"", "nothing of it");
        // The user cannot see whether there is one.
        assert!(matches!(read("closed/file"), Err(Unread::Absent(_))));
        // This thread is as before.
        assert_eq!(fs::read(path("secret")).expect("root reads it"), b"root:secret");
    }
}
