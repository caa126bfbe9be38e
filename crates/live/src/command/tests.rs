use super::*;
use tracetui_events::synthetic::Scratch;

fn start(words: &[&str]) -> HeldCommand {
    let argv: Vec<_> = words.iter().map(OsString::from).collect();
    HeldCommand::start(&argv, Streams::Captured).expect("room for a process")
}

/// Runs a command to its end. Returns how it ended, and its output.
fn run(words: &[&str]) -> (Ended, String) {
    type_into(words, &[])
}

/// Runs a command to its end. Sends the next keys each time the command writes a prompt (`>`).
fn type_into(words: &[&str], keys: &[&[u8]]) -> (Ended, String) {
    let held = start(words);
    held.resize(90, 30);
    released(held, async |mut running| {
        let (ended, said) = end_of(&mut running, keys).await;
        assert_eq!(running.end(), Some(&ended), "it is known");
        (ended, said.replace("\r\n", "\n"))
    })
}

/// Releases a command, and does something with it while it runs.
fn released<T>(held: HeldCommand, act: impl AsyncFnOnce(Running) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async { act(held.release().expect("released")).await })
}

/// Waits for the end. Returns how it ended, and what it wrote. Each prompt is answered by the next keys.
async fn end_of(running: &mut Running, keys: &[&[u8]]) -> (Ended, String) {
    let mut keys = keys.iter();
    let mut all = Vec::new();
    let ended = loop {
        match running.next().await {
            Happened::Wrote(bytes) => {
                let prompts = bytes.iter().filter(|byte| **byte == b'>').count();
                keys.by_ref().take(prompts).for_each(|keys| running.send(keys.to_vec()));
                all.extend(bytes);
            }
            Happened::Ended(ended) => break ended,
            Happened::Stopped(signal) => panic!("signal {signal} is answered"),
        }
    };
    all.extend(running.output_left());
    (ended, String::from_utf8(all).expect("UTF-8"))
}

#[test]
fn the_end_is_the_commands_and_a_script_is_run_by_the_shell() {
    assert_eq!(run(&["sh", "-c", "echo out; echo err >&2; exit 7"]), (Ended::Exited(7), "out\nerr\n".into()));
    let (ended, _) = run(&["sh", "-c", "kill -9 $$"]);
    assert_eq!((ended.status(), ended), (137, Ended::Killed(9)));
    // The monitor keeps no other descriptors.
    // Only root may read this directory. The last descriptor, for signals, may be opened later.
    let (_, said) = run(&["sh", "-c", "echo $(ls /proc/$PPID/fd)"]);
    assert!("0 1 2 3\n".starts_with(said.trim_end()) || !rustix::process::geteuid().is_root(), "{said}");
    // The end of its input ends it, and a closed pipe kills again.
    assert_eq!(type_into(&["sh", "-c", "printf '>'; cat"], &[&[4]]), (Ended::Exited(0), ">".into()));
    let (ended, said) = run(&["sh", "-c", "grep SigIgn /proc/self/status"]);
    let ignored = said.trim().rsplit('\t').next().and_then(|hex| u64::from_str_radix(hex, 16).ok());
    assert_eq!((ended, ignored.expect("hex") >> (libc::SIGPIPE - 1) & 1), (Ended::Exited(0), 0));
    // One that is not released ends without having run.
    let held = start(&["touch", "/tmp/must-not-be"]);
    let pid = held.process.as_ref().expect("held").pid;
    assert!(std::path::Path::new(&format!("/proc/{pid}")).exists());
    drop(held);
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "reaped");
    // A script without a first line is run by the shell.
    let dir = Scratch::new("script");
    let name = &dir.at("script");
    // Another process writes the script. A child held by a concurrent test would keep a descriptor of this process
    // open for writing, and the exec of the script would fail (ETXTBSY).
    let write = r#"printf '%s\n' 'echo "$0 $1 $2"' > "$0" && chmod 755 "$0""#;
    assert!(std::process::Command::new("sh").args(["-c", write, name]).status().expect("a shell").success());
    let (ended, said) = run(&[name, "a b", "c"]);
    assert_eq!((ended, said), (Ended::Exited(0), format!("{name} a b c\n")));
}

#[test]
fn it_and_its_process_group_take_the_signal() {
    released(start(&["sh", "-c", "echo $$; kill -STOP $$"]), async |mut running| {
        let Happened::Wrote(pid) = running.next().await else { panic!("no output") };
        let stat = format!("/proc/{}/stat", String::from_utf8_lossy(&pid).trim());
        while !std::fs::read_to_string(&stat).expect("it lives").contains(") T ") {
            tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        }
        running.signal(libc::SIGTERM);
        assert_eq!(running.next().await, Happened::Ended(Ended::Killed(15)));
    });
    // Its process group takes it too.
    // The shell may report that its sleep was terminated.
    let script = "(trap 'echo child; exit' TERM; echo; while :; do sleep 0.01; done) 2>/dev/null & wait";
    released(start(&["sh", "-c", script]), async |mut running| {
        assert_eq!(running.next().await, Happened::Wrote(b"\r\n".to_vec()));
        running.signal(libc::SIGTERM);
        let (mut said, mut end) = (Vec::new(), None);
        while said != b"child\r\n" || end.is_none() {
            match running.next().await {
                Happened::Wrote(bytes) => said.extend(bytes),
                Happened::Ended(ended) => end = Some(ended),
                Happened::Stopped(signal) => panic!("signal {signal} is answered"),
            }
        }
        assert_eq!(end, Some(Ended::Killed(15)));
    });
}

#[test]
fn it_has_a_terminal_of_its_own_and_keys_are_signals() {
    let own = |number: &str| format!("[ $(tty) = $(readlink /proc/$$/fd/{number}) ] || exit 2; ");
    let script = [&own("0"), &own("1"), &own("2"), "stty size; echo $TERM"].concat();
    assert_eq!(run(&["sh", "-c", &script]), (Ended::Exited(0), "30 90\nxterm-256color\n".into()));
    // The terminal is the controlling one, and the COMMAND is in its foreground.
    let script = "read -r line < /dev/tty; set -- $(cat /proc/$$/stat); [ $5 = $8 ] && echo $line $(($5 == $1))";
    let (ended, said) = type_into(&["sh", "-c", &format!("printf '>'; {script}")], &[b"word\r"]);
    assert_eq!((ended, said.as_str()), (Ended::Exited(0), ">word\nword 1\n"));
    // Keys are signals to it.
    let (ended, _) = type_into(&["sh", "-c", "printf '>'; exec sleep 1000"], &[&[3]]);
    assert_eq!(ended, Ended::Killed(2));
    // Nobody could continue it after Ctrl-Z, so it is continued at once.
    let script = "trap 'printf \">\"' CONT; kill -TSTP $$; read -r line; echo \"$line\"";
    let (ended, said) = type_into(&["sh", "-c", script], &[b"on\r"]);
    assert_eq!((ended, said.as_str()), (Ended::Exited(0), ">on\non\n"));
    // More keys than it reads wait.
    let script = "stty raw -echo; printf '>'; sleep 0.2; head -c 100000 | cksum";
    let keys = [b'k'; 100_000];
    let expected = std::process::Command::new("sh")
        .args(["-c", "head -c 100000 /dev/zero | tr '\\0' k | cksum"])
        .output()
        .expect("a shell");
    let (ended, said) = type_into(&["sh", "-c", script], &[&keys]);
    assert_eq!(ended, Ended::Exited(0));
    assert_eq!(said.trim_start_matches('>'), String::from_utf8_lossy(&expected.stdout), "raw, so without CR");
}

#[test]
fn it_runs_again_as_at_first() {
    // Neither the modes of the terminal nor the signal reach the next run.
    let script = "echo $(stty -a | grep -c ' echo ') $(ls /proc/self/fd | wc -l) $(grep SigBlk /proc/self/status); \
                  stty -echo; trap '' INT; kill -INT 0; exit 5";
    let held = start(&["sh", "-c", script]);
    let group = held.pid().expect("held");
    released(held, async |mut running| {
        assert!(!running.again(), "it runs");
        let (mut pids, mut texts) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            pids.push(running.pid());
            let (ended, said) = end_of(&mut running, &[]).await;
            assert_eq!(ended, Ended::Exited(5));
            texts.push(said);
            assert!(running.again());
        }
        pids.dedup();
        assert!(texts[0].starts_with("1 ") && texts[0].ends_with(" SigBlk: 0000000000000000\r\n"), "{texts:?}");
        assert!(texts.iter().all(|text| *text == texts[0]), "{texts:?}");
        assert!(pids.len() == 3 && pids[0] == group, "{pids:?}");
        running.signal(libc::SIGKILL);
        assert_eq!(running.next().await, Happened::Ended(Ended::Killed(9)));
        assert!(!running.again(), "SIGKILL also ended the process of the next run");
    });
    // A later run with a group of its own takes signals.
    // As `timeout` does, but that sends the signal on, and sh can die of the second one.
    let program = "setpgrp 0, 0; $SIG{TERM} = sub { exit 7 }; $| = 1; print qq(ready\n); sleep 600";
    released(start(&["perl", "-e", program]), async |mut running| {
        for run in 0..2 {
            assert_eq!(running.next().await, Happened::Wrote(b"ready\r\n".to_vec()));
            running.signal(libc::SIGTERM);
            assert_eq!(end_of(&mut running, &[]).await.0, Ended::Exited(7), "run {run}");
            assert!(running.again());
        }
        running.signal(libc::SIGKILL);
    });
}
