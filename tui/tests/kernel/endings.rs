//! Start and end of the tracer, and two tracers at once.

use crate::prelude::*;

fn open_some(dir: &Dir, count: usize) {
    (0..count).for_each(|number| sys::close(sys::open_path(&dir.at(&format!("missing-{number}")))));
}

#[test]
fn the_ready_line_names_the_kinds_and_the_ring() {
    let of = |rings: &str, more: &[&str]| {
        let traced = Traced::start(&[&["--rings", rings], more].concat())?;
        let ready = traced.ready.clone();
        traced.stop().check();
        Some(ready)
    };
    let Some(ready) = of("1", &["--ring-size", "1MiB"]) else { return };
    assert_eq!(ready, "tracing: exec exit open bpf tcp file unix; ring 1 MiB");
    let kinds = ["--kind", "open,fork,lost", "--ring-size"];
    assert_eq!(of("1", &[&kinds[..], &["100000"]].concat()).as_deref(), Some("tracing: open fork; ring 128 KiB"));
    assert_eq!(of("2", &[&kinds[..], &["1MiB"]].concat()).as_deref(), Some("tracing: open fork; 2 rings of 512 KiB"));
}

#[test]
fn a_number_of_events_ends_it() {
    let dir = Dir::alone();
    let Some(traced) = Traced::start(&["-n", "5"]) else { return };
    open_some(&dir, 100);
    let run = traced.ended();
    assert_eq!(run.status.code(), Some(0), "{:?}", run.stderr);
    assert_eq!(run.lines().filter(|e| e["kind"] != "lost").count(), 5);
    assert_eq!(n(&run.check()["delivered"]), 5);
}

#[test]
fn a_closed_pipe_ends_it() {
    let dir = Dir::alone();
    let Some(mut traced) = Traced::start_into(Stdio::piped(), &[]) else { return };
    let mut stdout = BufReader::new(traced.take_stdout());
    open_some(&dir, 1);
    let mut line = String::new();
    stdout.read_line(&mut line).expect("a line");
    serde_json::from_str::<Value>(&line).expect("JSON");
    drop(stdout);
    open_some(&dir, 10);
    let run = traced.ended();
    assert_eq!(run.status.code(), Some(0), "{:?}", run.stderr);
    assert!(run.account().is_object(), "it ends with the account: {:?}", run.stderr);
}

#[test]
fn other_signals_end_it_as_sigint_does() {
    let dir = Dir::alone();
    for signal in [libc::SIGTERM, libc::SIGQUIT, libc::SIGXCPU] {
        let Some(traced) = Traced::start(&[]) else { return };
        open_some(&dir, 1_000);
        traced.signal(signal);
        let run = traced.ended();
        assert_eq!(run.status.code(), Some(0), "{:?}", run.stderr);
        run.check();
        let last = dir.at("missing-999");
        run.open(sys::pid(), &last);
    }
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let dir = Dir::alone();
    // The output is not read, so after the first signal the tracer cannot write the events that it has drained.
    let Some(mut traced) = Traced::start_into(Stdio::piped(), &[]) else { return };
    let _stdout = traced.take_stdout();
    open_some(&dir, 20_000);
    std::thread::sleep(Duration::from_millis(300));
    let began = Instant::now();
    // Two different signals, because equal ones would be merged. They are sent at once, because an output that is not
    // read is given up after a second.
    traced.signal(libc::SIGINT);
    traced.signal(libc::SIGTERM);
    let run = traced.ended();
    assert_eq!(run.status.code(), Some(130), "{:?}", run.stderr);
    assert!(began.elapsed() < Duration::from_secs(10), "at once: {:?}", began.elapsed());
}

/// timeout(1) sends its signal to its child, and to the process group of both.
#[test]
fn a_signal_that_is_sent_twice_at_once_is_one() {
    let dir = Dir::alone();
    for pause in [0, 1, 20] {
        let Some(traced) = Traced::start(&[]) else { return };
        open_some(&dir, 10_000);
        traced.signal(libc::SIGTERM);
        std::thread::sleep(Duration::from_millis(pause));
        traced.signal(libc::SIGTERM);
        let run = traced.ended();
        assert_eq!(run.status.code(), Some(0), "{:?}", run.stderr);
        run.check();
        run.open(sys::pid(), &dir.at("missing-9999"));
    }
}

#[test]
fn two_at_once_see_each_other_and_do_not_disturb_each_other() {
    let dir = Dir::alone();
    let Some(first) = Traced::start(&[]) else { return };
    let Some(second) = Traced::start(&[]) else { return };
    let pids = [first.pid(), second.pid()];
    open_some(&dir, 1_000);
    let second = second.stop();
    open_some(&dir, 1);
    let first = first.stop();
    for run in [&first, &second] {
        assert_eq!(n(&run.check()["lost"]), 0);
        run.open(sys::pid(), &dir.at("missing-999"));
    }
    let of_second = |kind: &str| first.kind_of(kind, pids[1]).len();
    assert_eq!((of_second("exec"), of_second("exit")), (1, 1), "the first one sees the second one start and end");
    assert!(of_second("open") > 0 && of_second("bpf") > 0, "and what it opens, loads and attaches");
    assert_eq!(first.of(pids[0]), Vec::<Value>::new(), "its own events are not shown");
    assert_eq!(second.of(pids[1]), Vec::<Value>::new(), "its own events are not shown");
    assert!(n(&first.account()["own"]) > 0, "but counted: {}", first.account());
}

#[test]
fn a_line_comes_soon_after_its_event() {
    let dir = Dir::alone();
    let Some(traced) = Traced::start(&["--pid", &sys::pid().to_string()]) else { return };
    let mut output = File::open(traced.output()).expect("the output");
    let mut took: Vec<Duration> = (0..20)
        .map(|number| {
            // A pause before each open, so that the next line does not flush the previous one.
            std::thread::sleep(Duration::from_millis(60));
            let path = dir.at(&format!("soon-{number}\""));
            let began = Instant::now();
            sys::open_path(&path);
            wait_for(&mut output, &format!("soon-{number}\\"));
            began.elapsed()
        })
        .collect();
    traced.stop().check();
    took.sort();
    println!("latency: median {:?}, most {:?}", took[took.len() / 2], took[took.len() - 1]);
    // A busy or emulated machine delays some of them for long.
    assert!(took[took.len() / 2] < Duration::from_millis(300), "{took:?}");
    assert!(took[took.len() - 1] < Duration::from_secs(20), "{took:?}");
}

fn wait_for(output: &mut File, text: &str) {
    let mut seen = String::new();
    sys::wait_until(|| {
        output.read_to_string(&mut seen).expect("the output");
        seen.contains(text)
    });
}

#[test]
fn without_privilege_it_names_what_is_missing() {
    let Some(mut command) = may_trace().then(tracetui) else { return };
    command.arg("print").uid(65_534).gid(65_534).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let Ok(mut child) = command.spawn() else {
        return cannot_run("the binary is in a directory that other users cannot access");
    };
    assert_eq!(wait_at_most(&mut child, Duration::from_secs(60)).code(), Some(1));
    let output = child.wait_with_output().expect("its output");
    let said = String::from_utf8(output.stderr).expect("UTF-8");
    assert!(said.contains("CAP_") && said.contains("sudo"), "the capability and the remedy: {said}");
    assert!(output.stdout.is_empty(), "nothing on stdout");
}
