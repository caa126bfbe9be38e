//! Descriptors that another thread closes or replaces before the probe can look them up. A path is correct, or the
//! event is marked as raced, as far as that can be detected.

use crate::sys::{self, Actor};
use crate::traced::{Dir, Traced, alone, n};
use serde_json::Value;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

const ROUNDS: usize = 20_000;

/// The results of the opens of `right` while another thread changes their descriptors.
#[derive(Debug, Default)]
struct Found {
    right: u64,
    raced: u64,
    /// Reported as the file that replaced it, which cannot be detected.
    wrong: u64,
}

/// Opens `right` repeatedly while a second thread runs `disturb` on the descriptors.
fn race(right: &str, wrong: &str, disturb: impl Fn(i32, i32) + Send + 'static) -> Option<Found> {
    let traced = Traced::start(&["--kind", "open,exit"])?;
    let (to_open, other) = (right.to_owned(), wrong.to_owned());
    let actor = Actor::new(move || {
        let as_what = if std::path::Path::new(&other).is_dir() { libc::O_DIRECTORY } else { 0 };
        let other = sys::openat(libc::AT_FDCWD, &sys::c(other), libc::O_RDONLY | as_what, 0) as i32;
        let first = sys::open_path("/dev/null");
        sys::close(first);
        let done = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&done);
        let disturber = std::thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                disturb(other, first as i32);
            }
        });
        for _ in 0..ROUNDS {
            sys::close(sys::open_path(&to_open));
        }
        done.store(true, Ordering::Relaxed);
        disturber.join().expect("no panic");
        vec![]
    });
    let pid = actor.pid;
    actor.run();
    let run = traced.stop();
    let account = run.account();
    let mut found = Found::default();
    for event in run.kind_of("open", pid).iter().filter(|e| e["path"] == right) {
        match &event["abs_path"] {
            Value::Null if event["abs_path_why"] == "raced" => found.raced += 1,
            Value::String(path) if path == right => found.right += 1,
            Value::String(path) if path == wrong => found.wrong += 1,
            _ => panic!("neither the file that was opened nor the one in its place: {event}"),
        }
    }
    let told = found.right + found.raced + found.wrong;
    assert_eq!(told + n(&account["kinds"]["open"]["lost"]["ring"]).min(ROUNDS as u64 - told), ROUNDS as u64);
    Some(found)
}

#[test]
fn a_descriptor_that_is_closed_at_once_is_raced_and_never_wrong() {
    let _alone = alone();
    let dir = Dir::new();
    let (right, wrong) = (dir.file("right"), dir.file("wrong"));
    let found = race(&right, &wrong, |_, fd| sys::close(fd.into()));
    let Some(found) = found else { return };
    println!("closed by another thread: {found:?}");
    assert_eq!(found.wrong, 0, "{found:?}");
}

#[test]
fn a_descriptor_that_is_replaced_by_one_of_other_flags_is_raced_and_never_wrong() {
    let _alone = alone();
    let dir = Dir::new();
    // A directory, which is opened with O_DIRECTORY, replaces a file.
    let (right, wrong) = (dir.file("right"), dir.dir("wrong"));
    let found = race(&right, &wrong, |other, fd| {
        // SAFETY: dup2(2) takes integers, and the descriptor that it closes belongs to this child only.
        unsafe { libc::dup2(other, fd) };
        sys::close(fd.into());
    });
    let Some(found) = found else { return };
    println!("replaced by one of other flags: {found:?} of {ROUNDS}");
    assert_eq!(found.wrong, 0, "{found:?}");
}

#[test]
fn a_descriptor_that_is_replaced_by_one_like_it_is_raced_and_never_wrong() {
    let _alone = alone();
    let dir = Dir::new();
    let (right, wrong) = (dir.file("right"), dir.file("wrong"));
    let found = race(&right, &wrong, |other, fd| {
        // SAFETY: dup2(2) takes integers, and the descriptor that it closes belongs to this child only.
        unsafe { libc::dup2(other, fd) };
        sys::close(fd.into());
    });
    let Some(found) = found else { return };
    println!("replaced by one of the same flags: {found:?} of {ROUNDS}");
    assert_eq!(found.wrong, 0, "{found:?}");
}

/// The remaining case: within a microsecond a descriptor is closed and reused for another file that is opened with the
/// same flags. The kernel has no record of which open made a file, so the cases are counted but allowed.
#[test]
fn a_descriptor_whose_place_a_fresh_file_takes_is_counted() {
    let _alone = alone();
    let dir = Dir::new();
    let (right, wrong) = (dir.file("right"), dir.file("wrong"));
    let path = sys::c(wrong.clone());
    let found = race(&right, &wrong, move |_, fd| {
        sys::close(fd.into());
        sys::close(sys::openat(libc::AT_FDCWD, &path, libc::O_RDONLY, 0));
    });
    let Some(found) = found else { return };
    println!("its place taken by a fresh file: {found:?} of {ROUNDS}");
    assert!(found.right > 0, "{found:?}");
}
