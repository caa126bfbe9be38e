//! The configuration file: its path, reading it with the ids of the invoking user, and its documentation.

use super::say::name;
use super::session::BadUsage;
use crate::app::columns;
use crate::app::keymap::Keymap;
use crate::cli;
use crate::config::{Config, ConfigError, ENTRIES, LISTS};
use crate::filter::{Compiled, FilterOptions, NameLookup};
use crate::limits;
use crate::source::NO_THREAD;
use crate::source::host::confine::{Files, enter_files};
use crate::source::host::invoker::Invoker;
use crate::view::theme::{COLOURS, Look, Role, WEIGHTS};
use anyhow::{Context, Result, anyhow};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// The file, below the directory of configurations.
const FILE: &str = "tracetui/config.toml";

/// What to do about a file that cannot be used.
const REMEDY: &str = "--no-config starts without the file";

/// The configuration, and the file from which it is.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) config: Config,
    /// The name and the text of the file, for errors.
    file: Option<(String, String)>,
}

impl Loaded {
    /// Reads the configuration, if there is one. Under sudo that of the user who typed it, with the ids of that user: what this
    /// user cannot read is not read, so no message shows a part of it.
    ///
    /// # Errors
    /// [`BadUsage`] if the file cannot be read, or an entry is unknown or wrong.
    pub(super) fn read(options: &cli::ConfigOptions) -> Result<Loaded> {
        if options.no_config {
            return Ok(Loaded::default());
        }
        let invoker = Invoker::of_environment()?;
        let default = || default_path(invoker.as_ref(), |name| std::env::var_os(name));
        let Some(path) = options.config.clone().or_else(default) else { return Ok(Loaded::default()) };
        let text = match (read_as(invoker, path.clone())?, &options.config) {
            (Ok(text), _) => text,
            (Err(Unread::Absent(_)), None) => return Ok(Loaded::default()),
            (Err(Unread::Absent(error) | Unread::Refused(error)), _) => {
                let path = name(&path);
                return Err(BadUsage(format!("cannot read the configuration file {path}: {error}\n{REMEDY}")).into());
            }
        };
        let mut loaded = Loaded::default();
        let parsed = Config::parse(&text);
        loaded.file = Some((name(&path), String::from_utf8_lossy(&text).into_owned()));
        loaded.config = parsed.map_err(|error| loaded.bad(&error))?;
        Ok(loaded)
    }

    /// The display filter of the file; `None` if there is none, or others are given.
    ///
    /// # Errors
    /// If it is not a valid filter.
    pub(super) fn filter(&self, given: &cli::FilterArgs, names: &dyn NameLookup) -> Result<Option<Compiled>, BadUsage> {
        let filter = self.config.filter.as_ref().filter(|_| *given == cli::FilterArgs::default());
        let Some(filter) = filter else { return Ok(None) };
        let options = FilterOptions { filter: vec![filter.text.clone()], ..FilterOptions::default() };
        let compiled = options.compile(names).map_err(|error| self.bad(&ConfigError::of_filter(filter, &error)))?;
        Ok(Some(compiled))
    }

    fn bad(&self, error: &ConfigError) -> BadUsage {
        let (file, text) = self.file.as_ref().map_or(("", ""), |(file, text)| (file, text));
        BadUsage(format!("{}\n{REMEDY}", error.render(file, text)))
    }
}

/// The file of this user. Under sudo, a directory of configurations that is not in the home of the user who typed it is that of
/// another one.
fn default_path(invoker: Option<&Invoker>, variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let home = match invoker {
        Some(invoker) => Some(PathBuf::from(&invoker.home)),
        None => variable("HOME").map(PathBuf::from),
    };
    let home = home.filter(|home| home.is_absolute());
    let own = |dir: &PathBuf| match (invoker, &home) {
        (Some(_), Some(home)) => dir.starts_with(home),
        (Some(_), None) => false,
        (None, _) => dir.is_absolute(),
    };
    let dir = variable("XDG_CONFIG_HOME").map(PathBuf::from).filter(own);
    dir.or_else(|| Some(home?.join(".config"))).map(|dir| dir.join(FILE))
}

/// Why a file was not read.
#[derive(Debug)]
enum Unread {
    /// There is none, as far as the user can see.
    Absent(io::Error),
    /// Another reason.
    Refused(io::Error),
}

/// Reads a file with the ids of the user who typed sudo, and without capabilities, in a thread of its own.
fn read_as(invoker: Option<Invoker>, path: PathBuf) -> Result<Result<Vec<u8>, Unread>> {
    let Some(invoker) = invoker else { return Ok(read(&path)) };
    let thread = std::thread::Builder::new().spawn(move || -> io::Result<_> {
        enter_files(Some(&invoker), Files::Read)?;
        Ok(read(&path))
    });
    let read = thread.context(NO_THREAD)?.join().map_err(|_| anyhow!("the thread panicked"))?;
    read.context("cannot take the ids of the user")
}

/// Reads a small regular file.
fn read(path: &Path) -> Result<Vec<u8>, Unread> {
    // Whether something is there shows a path to it that can be searched.
    let absent = |error: &io::Error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => true,
        ErrorKind::PermissionDenied => path.symlink_metadata().is_err(),
        _ => false,
    };
    // Opening anything else neither waits nor makes it the controlling terminal.
    let opened = File::options().read(true).custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY).open(path);
    let file = opened.map_err(|error| if absent(&error) { Unread::Absent(error) } else { Unread::Refused(error) })?;
    read_open(&file).map_err(Unread::Refused)
}

fn read_open(file: &File) -> io::Result<Vec<u8>> {
    let found = file.metadata()?;
    if !found.is_file() {
        return Err(io::Error::other("it is not a regular file"));
    }
    if found.len() > limits::CONFIG_FILE {
        return Err(io::Error::other(format!("it has more than {} KiB", limits::CONFIG_FILE >> 10)));
    }
    // Not more than its size: files of /proc, of which the size is 0, may say more to this process than to the user.
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

[keys]
pause = ["Space", "F9"]
only-pid = "F2"
record = []                   # no key
"#;

/// Where the file is.
const PLACE: [&str; 4] = [
    "The file is $XDG_CONFIG_HOME/tracetui/config.toml, without that variable ~/.config/tracetui/config.toml.",
    "Under sudo, doas or pkexec it is the file of the user who typed that, read with the ids of that user.",
    "--config FILE reads another one, --no-config none. An unknown or wrong entry is an error with its line,",
    "and nothing is started (exit status 2). The format is TOML; a file has at most 64 KiB.",
];

/// The rules for each section: its name, and what can be said of its entries.
const KEYS: [&str; 5] = [
    "An action gets the keys that are given, in place of those it had; [] is none. Keys are written as in the help: q, Ctrl-F,",
    "F1, Space, PgDn, Shift-Tab. Another action of the same place loses a key that is given here. It is an error if that was its",
    "only key, if two entries of a place have one key, or if no key is left for quit or help that has no other meaning in any view.",
    "Keys of the tree, Top, BPF, the detail pane and replays take precedence over others while these are shown: a key of theirs that",
    "is given to another action is an error, unless theirs is in the file too.",
];
const COLORS: [&str; 3] = [
    "A look is the colour of the text, \"on\" with that of the background, and weights, as in \"red bold\" or \"black on green\".",
    "\"plain\" is neither. A colour is one of the 16 of the terminal, a number from 0 to 255, or #rrggbb. Without colours",
    "(--color never, NO_COLOR) weights remain, and what has a background is reversed.",
];
const COLUMNS: [&str; 4] = [
    "The list of the columns of a view, in order. DETAIL, the command of the tree and the place of a BPF program have half of the",
    "width; columns at the end of the list that do not fit beside it are left out. `detail` must be among those of the events, and",
    "`target` among those of BPF. The key `C` chooses columns until tracetui ends. `failed` counts the calls that failed, but not",
    "those that a later call answered, such as a walk of PATH that found its name.",
];

/// The words of looks.
fn words() -> (String, String) {
    let dark = COLOURS.iter().map(|(name, _)| *name).filter(|name| !name.starts_with("bright-"));
    let colours = format!("{}, and each of them with bright- before it", dark.collect::<Vec<_>>().join(", "));
    (colours, WEIGHTS.map(|(name, _)| name).join(", "))
}

/// The page of docs/.
pub fn markdown() -> String {
    let mut out = String::from("# Configuration file\n\n");
    let paragraph = |lines: &[&str]| lines.join("\n") + "\n";
    let code = |text: &str| format!("`{text}`");
    out.push_str("Generated from the tables that the program uses. The dashboard (live and replay) and `tracetui keys` read it; nothing needs one.\n\n");
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
    out.push_str(&format!("\n## `[keys]`\n\n{}\n| action | keys | |\n|---|---|---|\n", paragraph(&KEYS)));
    for binding in Keymap::default().iter() {
        let keys: Vec<_> = binding.keys.iter().map(|key| code(&key.name())).collect();
        let (place, about) = (binding.section.title(), binding.action.about());
        out.push_str(&format!("| `{}` | {} | {place}: {about} |\n", binding.action.name(), keys.join(" ")));
    }
    out
}

/// A part of the manual page.
pub(super) struct Part {
    /// Its heading.
    pub(super) title: &'static str,
    /// What is said of its entries.
    pub(super) prose: String,
    /// The entries, in lines.
    pub(super) rows: String,
}

/// The parts of the manual page.
pub(super) fn parts() -> Vec<Part> {
    let (colours, weights) = words();
    let row = |name: &str, text: &str| format!("  {name:20} {}\n", text.replace('`', ""));
    let part = |title, prose: &[&str], rows| Part { title, prose: prose.join(" ").replace('`', ""), rows };
    let entries = ENTRIES.iter().map(|entry| row(entry.name, entry.values) + &row("", entry.doc));
    let roles = Role::ALL.iter().map(|role| row(role.name(), &Look::of(*role).to_string()) + &row("", role.doc()));
    let keymap = Keymap::default();
    let keys = keymap.iter().map(|binding| row(&binding.action.name(), &binding.names()));
    let words = format!("Colours: {colours}. Weights: {weights}.");
    let lists = LISTS.map(|(list, view)| row(list, &columns::all(view).join(" ")));
    vec![
        part("Entries", &PLACE, entries.collect()),
        part("[columns]", &COLUMNS, lists.concat()),
        part("[colors]", &[&COLORS[..], &[&words]].concat(), roles.collect()),
        part("[keys]", &KEYS, keys.collect()),
        part("Example", &[], EXAMPLE.to_owned()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::host::clock;
    use std::ffi::CString;
    use std::fs::{self, Permissions};
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use tracetui_shared::id::{Gid, Uid};

    fn dir(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("tracetui-config-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir(&dir).expect("room");
        fs::set_permissions(&dir, Permissions::from_mode(0o755)).expect("ours");
        dir
    }

    fn invoker(home: &Path) -> Invoker {
        let (uid, gid) = (Uid(65_534), Gid(65_534));
        Invoker { uid, gid, groups: vec![gid.0], name: "nobody".into(), home: home.into() }
    }

    #[test]
    fn the_file_is_that_of_the_user_at_the_terminal() {
        let path = |invoker: Option<&Invoker>, home: Option<&str>, config: Option<&str>| {
            let variable = |name: &str| match name {
                "HOME" => home.map(OsString::from),
                "XDG_CONFIG_HOME" => config.map(OsString::from),
                other => panic!("{other}"),
            };
            default_path(invoker, variable).map(|path| path.display().to_string())
        };
        let ana = &invoker(Path::new("/home/ana"));
        for (invoker, home, config, want) in [
            (None, Some("/home/ana"), None, Some("/home/ana/.config/tracetui/config.toml")),
            (None, Some("/home/ana"), Some("/etc/ana"), Some("/etc/ana/tracetui/config.toml")),
            (None, Some("/home/ana"), Some("relative"), Some("/home/ana/.config/tracetui/config.toml")),
            (None, Some("/home/ana"), Some(""), Some("/home/ana/.config/tracetui/config.toml")),
            (None, None, Some("/etc/ana"), Some("/etc/ana/tracetui/config.toml")),
            (None, Some("relative"), None, None),
            (None, None, None, None),
            (Some(ana), Some("/root"), None, Some("/home/ana/.config/tracetui/config.toml")),
            (Some(ana), Some("/root"), Some("/root/.config"), Some("/home/ana/.config/tracetui/config.toml")),
            (Some(ana), Some("/root"), Some("/home/anabel"), Some("/home/ana/.config/tracetui/config.toml")),
            (Some(ana), None, Some("/home/ana/.conf"), Some("/home/ana/.conf/tracetui/config.toml")),
        ] {
            assert_eq!(path(invoker, home, config).as_deref(), want, "{home:?} {config:?}");
        }
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
            ("more", "more than 64 KiB"),
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
        fs::remove_dir_all(&dir).expect("ours");
    }

    #[test]
    fn under_sudo_it_is_read_as_the_user() {
        if !rustix::process::geteuid().is_root() {
            return crate::not_checked("it needs root");
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
        assert_eq!(read("public").expect("the user may read it"), b"mouse = true");
        for name in ["secret", "link", "shadow", "maps", "environ"] {
            assert!(matches!(read(name), Err(Unread::Refused(_))), "{name}");
        }
        assert_eq!(read("kernel").expect("all may open it"), b"", "nothing of it");
        // The user cannot see whether there is one.
        assert!(matches!(read("closed/file"), Err(Unread::Absent(_))));
        // This thread is as before.
        assert_eq!(fs::read(path("secret")).expect("root reads it"), b"root:secret");
        fs::remove_dir_all(&dir).expect("ours");
    }
}
