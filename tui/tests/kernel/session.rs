//! The terminal, the session and the login of processes, compared with /proc/PID of the programs that wait.

use crate::prelude::*;
use crate::stdio::{is_sleep, open, start, terminal};

const NAMES: [&str; 3] = ["tty", "session", "login_uid"];

/// The session and the login of a waiting process, as procfs shows them, and whether it has a terminal.
fn shown(pid: i32) -> (Value, Value, bool) {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("it waits");
    let (_, rest) = stat.rsplit_once(") ").expect("a name");
    let of = |at: usize| rest.split(' ').nth(at).and_then(|number| number.parse::<u64>().ok()).expect("a number");
    let login = fs::read_to_string(format!("/proc/{pid}/loginuid")).ok();
    let login = login.map(|uid| uid.parse::<u32>().expect("a number")).filter(|uid| *uid != u32::MAX);
    (json!(of(3)), json!(login), of(4) != 0)
}

/// Each devpts numbers its own terminals. Only the mount namespace distinguishes them.
#[test]
fn a_terminal_of_another_devpts_has_another_mount_namespace() {
    let dir = Dir::alone();
    let Some(traced) = Traced::start(&["--kind", "exec,exit"]) else { return };
    let pid = start(|| {
        sys::own_mounts();
        sys::mount_with("devpts", &dir.at(""), "devpts", 0, "newinstance,ptmxmode=0666");
        // SAFETY: the calls take integers, and a pointer that outlives them.
        unsafe {
            libc::setsid();
            let unlocked = 0;
            libc::ioctl(open(&dir.at("ptmx"), libc::O_RDWR | libc::O_NOCTTY), libc::TIOCSPTLCK, &raw const unlocked);
        }
        open(&dir.at("0"), libc::O_RDWR);
    });
    wait_for(|| is_sleep(pid).then_some(()));
    sys::kill(pid, libc::SIGKILL);
    sys::wait(pid);
    let run = traced.stop_and_check();
    let own = fs::read_link("/proc/self/ns/mnt").expect("a link");
    for event in [run.one("exec", pid, |_| true), run.one("exit", pid, |_| true)] {
        assert_eq!(event["tty"], "pts/0", "{event}");
        assert_ne!(format!("mnt:[{}]", event["mnt_ns"]), own.to_string_lossy(), "{event}");
    }
}

#[test]
fn execs_and_exits_have_the_session_of_procfs() {
    let Some(traced) = Traced::start(&["--kind", "exec,exit"]) else { return };
    let (_held, name) = terminal();
    // SAFETY: the calls take no pointers.
    let leads = || assert!(unsafe { libc::setsid() } > 0);
    let pids = [
        start(|| {}),
        start(|| {
            leads();
            // The first terminal that a leader of a session opens is its own.
            open(&name, libc::O_RDWR);
        }),
        start(|| {
            leads();
            // Without auditing, there is no such file.
            _ = fs::write("/proc/self/loginuid", "4321");
        }),
    ];
    pids.iter().for_each(|pid| wait_for(|| is_sleep(*pid).then_some(())));
    let all = pids.map(shown);
    let (_other_held, other) = terminal();
    let failed = fork(|| {
        leads();
        open(&other, libc::O_RDWR);
        become_program("/nowhere/program", &["/nowhere/program"]);
    });
    sys::wait(failed);
    for pid in pids {
        sys::kill(pid, libc::SIGKILL);
        sys::wait(pid);
    }
    let run = traced.stop_and_check();
    let audited = fs::exists("/proc/self/loginuid").expect("/proc is mounted");
    let tty = |path: &str| json!(path.strip_prefix("/dev/").expect("a terminal"));
    let name = tty(&name);
    for (at, (pid, (session, login, on_terminal))) in pids.iter().zip(&all).enumerate() {
        assert_eq!((at == 1, at != 0), (*on_terminal, *session == json!(pid)), "{all:?}");
        for event in [run.one("exec", *pid, |_| true), run.one("exit", *pid, |_| true)] {
            let want = [if at == 1 { &name } else { &Value::Null }, session, login];
            assert_eq!(NAMES.map(|name| &event[name]), want, "{event}");
            let why = if audited { Value::Null } else { json!("no_field") };
            assert_eq!(NAMES.map(|name| &event[format!("{name}_why")]), [&Value::Null, &Value::Null, &why], "{event}");
        }
    }
    assert_eq!(all[2].1, if audited { json!(4321) } else { Value::Null });
    let event = run.one("exec", failed, |_| true);
    assert_eq!([&event["tty"], &event["session"]], [&tty(&other), &json!(failed)], "{event}");
}
