//! Descriptors that another thread closes or replaces before the probe can look them up. A tracepoint after the call can
//! only look up the returned descriptor. A path is correct, or the event is marked as raced, as far as that can be
//! detected: a file that also has another descriptor is detected by its reference count.

use crate::prelude::*;

/// What another thread does with a descriptor, and whether the other file can be reported then. It has a descriptor of the
/// other file, and its path.
type Race = (&'static str, bool, fn(fd: i32, other: i32, path: &str));

const RACES: [Race; 4] = [
    ("closed", false, |fd, _, _| sys::close(fd.into())),
    // A directory, which is opened with O_DIRECTORY, replaces a file.
    ("replaced by a directory", false, replace),
    ("replaced by a file", false, replace),
    // Within a microsecond a descriptor is closed and reused for another file that is opened with the same flags. The
    // kernel has no record of which open made a file, so the cases are counted but allowed.
    ("replaced by a fresh file", true, |fd, _, path| {
        sys::close(fd.into());
        sys::close(sys::open_path(path));
    }),
];

fn replace(fd: i32, other: i32, _: &str) {
    sys::dup2(other as u64, fd as u64);
    sys::close(fd.into());
}

/// Opens `right` repeatedly while a second thread disturbs the descriptors.
fn race(rounds: u64, right: &str, wrong: &str, disturb: fn(i32, i32, &str)) {
    let as_what = if Path::new(wrong).is_dir() { libc::O_DIRECTORY } else { 0 };
    let other = sys::openat(libc::AT_FDCWD, &c(wrong), libc::O_RDONLY | as_what, 0) as i32;
    let first = sys::open_path("/dev/null") as i32;
    sys::close(first.into());
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                disturb(first, other, wrong);
            }
        });
        (0..rounds).for_each(|_| sys::close(sys::open_path(right)));
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_descriptor_that_another_thread_takes_is_raced_and_never_wrong() {
    let dir = Dir::alone();
    let rounds = if emulated() { 5_000 } else { 20_000 };
    let Some(traced) = Traced::start(&["--kind", "open,exit"]) else { return };
    let right = dir.file("right");
    let mut found = HashMap::new();
    // One after the other: each needs both processors.
    for (name, may_be_wrong, disturb) in RACES {
        let wrong = if name.ends_with("directory") { dir.dir(name) } else { dir.file(name) };
        let actor = Actor::new(|| {
            race(rounds, &right, &wrong, disturb);
            vec![]
        });
        found.insert(actor.pid, (name, may_be_wrong, wrong.clone(), [0_u64; 3]));
        actor.run();
    }
    let run = traced.stop();
    let account = run.account();
    assert_eq!(account["discrepancies"], json!([]), "{account}");
    let raw = std::str::from_utf8(&run.raw).expect("UTF-8");
    let [path, abs_path] = ["path", "abs_path"].map(|key| format!("\"{key}\":\"{right}\""));
    for (pid, (name, _, wrong, [good, raced, bad])) in &mut found {
        let pid = format!("\"pid\":{pid},");
        for line in raw.lines().filter(|line| line.contains(&path) && line.contains(&pid)) {
            // To parse and check each line takes minutes.
            if line.contains(&abs_path) {
                *good += 1;
                continue;
            }
            let event: Value = serde_json::from_str(line).expect("JSON");
            crate::schema::check(&event);
            match &event["abs_path"] {
                Value::Null if event["abs_path_why"] == "raced" => *raced += 1,
                Value::String(path) if path == wrong => *bad += 1,
                _ => panic!("{name}: neither the file that was opened nor the one in its place: {event}"),
            }
        }
    }
    let (mut told, all) = (0, rounds * RACES.len() as u64);
    for (name, may_be_wrong, _, counts) in found.into_values() {
        let [good, raced, bad] = counts;
        println!("{name}: {good} found, {raced} raced, {bad} wrong");
        assert!(if may_be_wrong { good > 0 } else { bad == 0 }, "{name}: {counts:?}");
        told += counts.iter().sum::<u64>();
    }
    assert_eq!(told + n(&account["kinds"]["open"]["lost"]["ring"]).min(all - told), all, "{account}");
}
