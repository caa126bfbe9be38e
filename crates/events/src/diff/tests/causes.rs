//! The first line is the cause.

use super::*;

const EACCES: i32 = -13;
const ENOSPC: i32 = -28;
const DIRECTORIES: [&str; 3] = ["inc1", "/usr/local/include", "/usr/include"];

/// A compiler below make that looks for a header in these directories, and what it found there.
fn search(name: &str, directories: &[&str], found: Option<usize>) -> Made {
    let mut made = Made::new("/w", 100, &["make"]);
    let cc1 = made.start(100, &["cc1", "f1.c"]);
    made.open(cc1, "f1.c", 3);
    for (at, directory) in directories.iter().enumerate().take(found.map_or(usize::MAX, |at| at + 1)) {
        made.open(cc1, &format!("{directory}/{name}"), if found == Some(at) { 3 } else { ENOENT });
    }
    let failed = found.is_none() && !directories.is_empty();
    made.exit(cc1, if failed { FAILED } else { 0 });
    made.exit(100, if failed { 2 << 8 } else { 0 });
    made
}

#[track_caller]
fn first(a: Made, b: Made, line: &str) {
    let report = between(a.run(), b.run());
    assert_eq!(text(&report).lines().next(), Some(line), "{}", text(&report));
}

#[test]
fn a_name_that_was_not_found_or_elsewhere_is_one_line() {
    let exit = "exit     cc1 f1.c: 0 in A, 1 in B; then also make";
    let line = "missing  v.h by cc1 f1.c: ./inc1/v.h in A, in none of 3 directories in B";
    check(search("v.h", &DIRECTORIES, Some(0)), search("v.h", &DIRECTORIES, None), &[line, exit]);
    // The directory of the header is not searched any more.
    let line = "missing  v.h by cc1 f1.c: ./inc1/v.h in A, in none of 2 directories in B";
    check(search("v.h", &DIRECTORIES, Some(0)), search("v.h", &DIRECTORIES[1..], None), &[line, exit]);
    let line = "missing  sys/new.h by cc1 f1.c: not tried in A, in none of 3 directories in B";
    check(search("v.h", &[], None), search("sys/new.h", &DIRECTORIES, None), &[line, exit]);
    let line = "missing  v.h by cc1 f1.c: in none of 3 directories in A, /usr/include/v.h in B";
    first(search("v.h", &DIRECTORIES, None), search("v.h", &DIRECTORIES, Some(2)), line);
    // A file found elsewhere or refused is one line.
    let run = |directories: &[&str], status: u32| {
        let mut made = search("v.h", directories, Some(0));
        let x = made.start(100, &["x"]);
        made.open(x, &format!("{}/libv.so", directories[0]), 3);
        made.exit(x, status);
        made
    };
    let header = "opened   v.h by cc1 f1.c: ./inc1/v.h in A, ./inc2/v.h in B";
    let library = "opened   libv.so by x: ./inc1/libv.so in A, ./inc2/libv.so in B";
    check(run(&["inc1"], 0), run(&["inc2"], 0), &[header, library]);
    check(run(&["inc1"], 0), run(&["inc2"], 11), &[library, "exit     x: 0 in A, SIGSEGV in B", header]);
    let run = |ret: i32| {
        let mut made = Made::new("/w", 100, &["sort", "-o", "out"]);
        made.open(100, "../out", ENOENT);
        made.open_with(100, "out", ret, 0o1101);
        made.exit(100, if ret < 0 { FAILED } else { 0 });
        made
    };
    first(run(3), run(EACCES), "missing  ./out by sort -o out: found in A, EACCES in B");
    first(run(3), run(ENOSPC), "missing  ./out by sort -o out: found in A, ENOSPC in B");
    first(run(ENOENT), run(EACCES), "missing  ./out by sort -o out: ENOENT in A, EACCES in B");
}

#[test]
fn the_names_that_only_the_failed_run_sought_are_causes() {
    // A source is no form of its header.
    let mut source = search("f1.h", &DIRECTORIES, None);
    source.open(101, "f1.c", 3);
    let line = "missing  f1.h by cc1 f1.c: not tried in A, in none of 3 directories in B";
    first(search("f1.h", &[], None), source, line);
    // A name may end like that of another file.
    let run = |found: bool| {
        let mut made = search("types.h", &["inc"], Some(0));
        let cc1 = made.start(100, &["cc1", "f2.c"]);
        made.open(cc1, "/usr/include/bits/types.h", 3);
        made.open(cc1, "inc/sys/types.h", ENOENT);
        made.open(cc1, "/usr/include/sys/types.h", if found { 3 } else { ENOENT });
        made.exit(cc1, if found { 0 } else { FAILED });
        made
    };
    let line = "missing  sys/types.h by cc1 f2.c: /usr/include/sys/types.h in A, in none of 2 directories in B";
    first(run(true), run(false), line);
}

fn steps(files: &[&str], programs: &[&[&str]], status: u32) -> Made {
    let mut made = Made::new("/w", 100, &["make", "all"]);
    made.open(100, "Makefile", 3);
    files.iter().for_each(|file| made.open(100, file, 3));
    for program in programs {
        let child = made.start(100, program);
        made.exit(child, 0);
    }
    made.exit(100, status);
    made
}

#[test]
fn what_a_failed_process_did_not_reach_comes_before_its_exit() {
    let exit = "exit     make all: 0 in A, 1 in B";
    let programs: [&[&str]; 3] = [&["cc", "a.c"], &["./gen.sh"], &["ld", "a.o"]];
    let [script, ld] = ["gen.sh", "ld a.o"].map(|name| format!("exec     {name}: executed only in A"));
    let a = || steps(&[], &programs, 0);
    check(a(), steps(&[], &programs[..1], FAILED), &[&script, exit, &ld]);
    // It also opened a file that is not there, or a signal ended it.
    let part = || steps(&["part.mk"], &programs, 0);
    let opened = "opened   ./part.mk by make all: opened only in A";
    check(part(), steps(&[], &programs[..1], FAILED), &[opened, exit, &script, &ld]);
    first(part(), steps(&[], &programs[..1], 9), "exit     make all: 0 in A, SIGKILL in B");
    // Files that other processes have are not missing.
    let system = steps(&["/usr/lib/x.py"], &programs[..1], 0);
    first(system, steps(&[], &programs[..1], FAILED), exit);
    // A program that changes later arguments comes before them.
    let run = |build: bool, flag: &str| {
        let mut programs: Vec<&[&str]> = Vec::new();
        programs.extend(build.then_some(&["rustc", "build.rs"][..]));
        let rustc = ["rustc", "main.rs", flag];
        programs.push(&rustc);
        steps(&[], &programs, 0)
    };
    let build = "exec     rustc build.rs: executed only in A";
    let argv = "argv     rustc main.rs metadata=1: metadata=1 -> metadata=2";
    check(run(true, "metadata=1"), run(false, "metadata=2"), &[build, argv]);
}

#[test]
fn searches_after_a_failure_are_no_cause() {
    let run = |fails: bool| {
        let mut made = steps(&[], &[&["cc", "a.c"]], 0);
        let test = made.start(100, &["unit-test"]);
        if fails {
            made.open(test, "unit-test", 3);
            made.open(test, "unit-test.dwp", ENOENT);
        }
        made.exit(test, if fails { FAILED } else { 0 });
        made
    };
    let lines = [
        "exit     unit-test: 0 in A, 1 in B",
        "missing  ./unit-test.dwp by unit-test: not tried in A, ENOENT in B",
        "follow   1 more difference may follow from these: 1 opened",
    ];
    check(run(false), run(true), &lines);
    let line = "missing  ./new.cfg by make all: not tried in A, ENOENT in B";
    let mut new = steps(&[], &[&["cc", "a.c"]], FAILED);
    new.open(100, "new.cfg", ENOENT);
    first(steps(&[], &[&["cc", "a.c"]], 0), new, line);
    // Roles with the same label have lines of their own.
    let long = "/home/me/.cargo/registry/src/index.crates.io-1949cf8c6b5b557f";
    let run = |status: [u32; 2]| {
        let mut made = Made::new("/w", 100, &["cargo"]);
        for (name, status) in ["alpha", "beta"].into_iter().zip(status) {
            let args = ["rustc", "--crate-name", name, &format!("{long}/{name}-1.0.0/src/lib.rs")];
            let rustc = made.start(100, &args);
            made.exit(rustc, status);
            let args = ["rustc", "--crate-type", "lib", "src/lib.rs", "--cfg", "some_long_feature_name", name];
            let rustc = made.start(100, &args);
            made.exit(rustc, 2 * status);
        }
        made
    };
    let lines = [
        "exit     rustc .../alpha-1.0.0/src/lib.rs: 0 in A, 1 in B",
        "exit     rustc src/lib.rs: 0 in A, 2 in B",
        "exit     rustc .../beta-1.0.0/src/lib.rs: 0 in A, 3 in B",
        "exit     rustc src/lib.rs: 0 in A, 6 in B",
    ];
    check(run([0, 0]), run([FAILED, 3 * FAILED]), &lines);
}
