//! The configuration file as the binary uses it.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tracetui_events::synthetic::Scratch;

fn dir(name: &str) -> Scratch {
    let dir = Scratch::new(&format!("configured-{name}"));
    fs::create_dir_all(dir.join(".config/tracetui")).expect("room");
    for part in ["", ".config", ".config/tracetui"] {
        fs::set_permissions(dir.join(part), Permissions::from_mode(0o755)).expect("ours");
    }
    dir
}

fn write(home: &Path, text: &str) -> PathBuf {
    let path = home.join(".config/tracetui/config.toml");
    fs::write(&path, text).expect("room");
    fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("ours");
    path
}

/// Runs tracetui with this home directory, not under sudo.
fn tracetui(home: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tracetui"));
    command.args(args).env("HOME", home).env("LC_ALL", "C.UTF-8");
    for variable in ["XDG_CONFIG_HOME", "SUDO_UID", "DOAS_USER", "PKEXEC_UID"] {
        command.env_remove(variable);
    }
    command.output().expect("tracetui runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[track_caller]
fn check_refused(done: &Output, said: &str) {
    assert_eq!((done.status.code(), text(&done.stderr).as_str()), (Some(2), said));
    assert!(done.stdout.is_empty());
}

#[test]
fn keys_are_listed_as_they_are_configured() {
    let home = dir("keys");
    let default = text(&tracetui(&home, &["keys"]).stdout);
    assert!(default.contains("Space ") && default.contains("q F10 Ctrl-C"), "{default}");
    write(&home, "color = \"always\"\n[keys]\npause = \"F9\"\n");
    let keys = text(&tracetui(&home, &["keys"]).stdout);
    assert!(keys.contains("\x1b[") && keys.contains("F9 "), "{keys}");
    let keys = text(&tracetui(&home, &["keys", "--color", "auto"]).stdout);
    assert!(keys.contains("  F9 ") && !keys.contains('\x1b'), "the command line takes precedence: {keys}");
    assert_eq!(text(&tracetui(&home, &["keys", "--no-config"]).stdout), default);
    let other = home.join("other.toml");
    fs::write(&other, "[keys]\npause = \"F12\"\n").expect("room");
    let keys = text(&tracetui(&home, &["keys", "--config", &other.display().to_string()]).stdout);
    assert!(keys.contains("  F12 ") && !keys.contains("F9"), "{keys}");
}

#[test]
fn a_wrong_file_stops_the_start_with_its_place_and_the_remedy() {
    let home = dir("wrong");
    let path = write(&home, "mouse = true\n[keys]\npaus = \"F9\"\n");
    let said = format!(
        "tracetui: {}:3:1: unknown action `paus`\n    paus = \"F9\"\n    ^^^^\nhint: did you mean `pause`?\n--no-config starts without the file\n",
        path.display()
    );
    check_refused(&tracetui(&home, &["keys"]), &said);
    assert!(tracetui(&home, &["keys", "--no-config"]).status.success());
    // What has no screen does not read it.
    let recording = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/recordings/v1.ttr");
    assert!(tracetui(&home, &["info", recording]).status.success());
    assert!(tracetui(&home, &["print", recording]).status.success());
    for (given, why) in [("none", "No such file or directory"), (".config", "not a regular file")] {
        let given = home.join(given).display().to_string();
        let said = format!(
            "tracetui: cannot read the configuration file {given}: {why}\n--no-config starts without the file\n"
        );
        check_refused(&tracetui(&home, &["keys", "--config", &given]), &said);
    }
    assert_eq!(tracetui(&home, &["keys", "--config", "x", "--no-config"]).status.code(), Some(2));
}

/// The variables of sudo make root read the file of that user, as that user.
#[test]
fn under_sudo_no_message_shows_what_only_root_may_read() {
    let home = dir("sudo");
    let secret = home.join("secret");
    fs::write(&secret, "root:hash\n").expect("room");
    fs::set_permissions(&secret, Permissions::from_mode(0o600)).expect("ours");
    if fs::metadata(&secret).is_ok_and(|found| std::os::unix::fs::MetadataExt::uid(&found) != 0) {
        let line = b"not checked: under_sudo_no_message_shows_what_only_root_may_read: it needs root\n";
        let _ = std::io::Write::write_all(&mut std::io::stderr(), line);
        return;
    }
    let run = |args: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tracetui"));
        command.args(args).env("HOME", "/root").env("LC_ALL", "C.UTF-8").env_remove("XDG_CONFIG_HOME");
        // An id that has no account: its home is that which sudo says.
        command.env("SUDO_UID", "47111").env("SUDO_GID", "47111").env("SUDO_HOME", &*home);
        command.output().expect("tracetui runs")
    };
    let path = home.join(".config/tracetui/config.toml");
    let refused = |file: &Path| {
        format!(
            "tracetui: cannot read the configuration file {}: Permission denied\n--no-config starts without the file\n",
            file.display()
        )
    };
    std::os::unix::fs::symlink(&secret, &path).expect("room");
    check_refused(&run(&["keys"]), &refused(&path));
    check_refused(&run(&["keys", "--config", &secret.display().to_string()]), &refused(&secret));
    fs::remove_file(&path).expect("ours");
    write(&home, "[keys]\npause = \"F9\"\n");
    assert!(text(&run(&["keys"]).stdout).contains("  F9 "));
}
