//! User ids, files of programs, and differences that do not count.

use super::*;
use crate::filter::Glob;
use tracetui_shared::id::Uid;

#[test]
fn users_and_files_of_programs_are_compared() {
    let run = |uid: u32| {
        let mut made = Made::new("/w", 100, &["make"]);
        made.maker.like.uid = Uid(uid);
        let shell = made.start(100, &["sh"]);
        made.start(shell, &["cc"]);
        made
    };
    check(run(0), run(33), &["user     sh and 1 other: user id 0 in A, 33 in B"]);
    let run = |exe: &str| {
        let mut made = Made::new("/w", 100, &["make"]);
        let tool = made.fork(100);
        made.exec_of(tool, exe, &["tool", "in"], |_| ());
        made
    };
    check(run("/opt/v1/tool"), run("/opt/v2/tool"), &["argv     tool in: /opt/v1/tool -> /opt/v2/tool"]);
}

fn opens(paths: &[&str]) -> Made {
    let mut made = Made::new("/w", 100, &["make"]);
    let tool = made.start(100, &["tool"]);
    paths.iter().for_each(|path| made.open(tool, path, 3));
    made
}

#[test]
fn what_matches_a_glob_or_differs_among_good_runs_is_ignored() {
    let ignoring = |globs: &[&str]| {
        let globs: Vec<Glob> = globs.iter().map(|glob| Glob::new(glob.as_bytes()).expect("a glob")).collect();
        let (a, b) = (opens(&["x.c", "cache/k"]), opens(&["x.c", "y.log", "/var/lib/z"]));
        text(&compare(a.run(), Vec::new(), b.run(), &globs))
    };
    assert_eq!(ignoring(&["*.log", "cache/*", "/var/lib/*"]), "");
    assert_eq!(ignoring(&["/w/*", "/var/lib/z"]), "");
    assert_eq!(ignoring(&["*/tool"]), "");
    assert_eq!(ignoring(&["*.log", "/var/*"]), "opened   ./cache/k by tool: opened only in A\n");
    // What good runs differ in is noise.
    let good = || vec![opens(&["x.c", "stfsyxlm.k", "maybe"]).run(), opens(&["x.c", "abcdefgh.k"]).run()];
    let against = |paths: &[&str]| {
        let first = opens(&["x.c", "qwertzui.k", "maybe"]);
        compare(first.run(), good(), opens(paths).run(), &[])
    };
    let report = against(&["x.c", "lkjhgfds.k"]);
    assert!(report.equal());
    assert_eq!(report.text(Show::default(), Charset::Utf8), "noise    2 differences among the good runs\n");
    assert_eq!(
        report.text(ALL, Charset::Utf8),
        "noise    ./qwertzui.k, ./maybe by tool: opened only in A\nnoise    ./lkjhgfds.k by tool: opened only in B\n"
    );
    // A name of another form, and a file that all good runs have.
    let report = against(&["lkjhgfds.k", "other.cfg"]);
    let lines = report.text(Show::default(), Charset::Utf8);
    assert!(lines.contains("./other.cfg by tool: opened only in B"), "{lines}");
    assert!(lines.contains("./x.c by tool: opened only in A"), "{lines}");
}

#[test]
fn of_noise_only_the_same_results_are_noise() {
    // Only the seed is random, the mode is not.
    let args = |seed: &str, mode: &str| {
        let mut made = Made::new("/w", 100, &["make"]);
        made.start(100, &["true", "--seed", seed, "--mode", mode]);
        made.run()
    };
    let good = || vec![args("4711", "fast"), args("812", "fast")];
    let between = |b: Run| text(&compare(args("12345", "fast"), good(), b, &[]));
    assert!(between(args("93", "fast")).starts_with("noise "));
    assert_eq!(between(args("93", "slow")), "argv     true --seed 12345 --mode fast: fast -> slow\n");
    // Statuses, counts and users.
    let tool = |statuses: &[u32], uid: u32| {
        let mut made = Made::new("/w", 100, &["make"]);
        made.maker.like.uid = Uid(uid);
        for status in statuses {
            let tool = made.start(100, &["tool"]);
            made.exit(tool, *status);
        }
        made.run()
    };
    let good = || vec![tool(&[0, FAILED, FAILED], 2), tool(&[0, 0, 0, 0], 3)];
    let equal =
        |statuses: &[u32], uid: u32| compare(tool(&[0, 0, FAILED], 1), good(), tool(statuses, uid), &[]).equal();
    assert!(equal(&[0, FAILED, 0, FAILED], 3));
    assert!(!equal(&[0, FAILED, 7 << 8], 1), "another status");
    assert!(!equal(&[1, 1, 0], 1), "a signal with the number of a status");
    assert!(!equal(&[FAILED, FAILED, FAILED], 1), "no success");
    assert!(!equal(&[0; 60], 1), "more execs than any good run");
    assert!(!equal(&[0, 0, FAILED], 0), "another user");
    let run = |ret: Option<i32>, status: u32| {
        let mut made = Made::new("/w", 100, &["make"]);
        let tool = made.start(100, &["tool"]);
        if let Some(ret) = ret {
            made.open(tool, "x", ret);
        }
        made.exit(tool, status);
        made
    };
    let good = || vec![run(None, FAILED).run()];
    let text = |ret, status| {
        let report = compare(run(Some(3), 0).run(), good(), run(ret, status).run(), &[]);
        report.text(Show::default(), Charset::Utf8)
    };
    assert_eq!(text(None, FAILED), "noise    2 differences among the good runs\n");
    assert_eq!(text(Some(-13), 0), "missing  ./x by tool: found in A, EACCES in B\n");
    assert!(text(None, 9).contains("exit     tool: 0 in A, SIGKILL in B"), "{}", text(None, 9));
}
