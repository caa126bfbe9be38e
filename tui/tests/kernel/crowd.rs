//! More busy threads than processors. From 7.0 on the kernel may run a thread while another one is preempted inside of
//! a probe, and then skips the probe. Missing events must be counted, unless the tracer reported that this kernel does
//! not count them.

use crate::prelude::*;

/// The number of threads: at least four times the usual two processors, and one for each of many.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(8, usize::from).max(8)
}

fn opens() -> usize {
    let told = std::env::var("TRACETUI_STORM").ok().map(|text| text.parse().expect("TRACETUI_STORM is a number"));
    told.unwrap_or(20_000)
}

#[test]
fn what_a_crowd_of_threads_opens_is_shown_or_counted() {
    let dir = Dir::alone();
    let Some(traced) = Traced::start(&[]) else { return };
    let threads = threads();
    let each = opens() / threads;
    std::thread::scope(|scope| {
        for thread in 0..threads {
            let path = c(dir.at(&format!("missing-{thread}")));
            scope.spawn(move || {
                for _ in 0..each {
                    assert_eq!(sys::openat(libc::AT_FDCWD, &path, libc::O_RDONLY, 0), -i64::from(libc::ENOENT));
                }
            });
        }
    });
    let (run, account) = traced.stop_with_account();
    let prefix = dir.at("missing-");
    let ours = |e: &Value| e["path"].as_str().is_some_and(|path| path.starts_with(&prefix));
    let missing = each * threads - run.kind_of("open", sys::pid()).into_iter().filter(ours).count();
    let counted = n(&account["kinds"]["open"]["lost"]["ring"]) + skipped(&account);
    println!("crowd: {missing} of {} missing, {counted} counted", each * threads);
    if missing as u64 > counted {
        let announced = run.stderr.iter().any(|line| line.contains("without counting"));
        assert!(announced, "what is missing was counted or announced: {missing}, {account}");
        cannot_run(&format!("this kernel does not count skips, as reported: {missing} opens are missing"));
    }
}
