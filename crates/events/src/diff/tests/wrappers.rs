//! Programs that start others: `timeout`, `env`, and scripts with the name of a tool.

use super::*;

/// A make below these programs, each of which starts the next one. `timeout` does not find it in the first directory of PATH.
fn wrapped(wrappers: &[&[&str]], found: bool) -> Made {
    let whole: Vec<Vec<&str>> =
        (0..=wrappers.len()).map(|at| [&wrappers[at..].concat()[..], &["make", "all"]].concat()).collect();
    let mut made = Made::new("/w", 100, &whole[0]);
    // A process starts at its id, in nanoseconds.
    let now = |made: &mut Made| made.next = u32::try_from(made.maker.ns - made.maker.start_ns).expect("seconds");
    let mut process = 100;
    for (args, before) in whole.iter().skip(1).zip(wrappers) {
        now(&mut made);
        process = made.fork(process);
        if before[0] == "timeout" {
            made.fails_to_exec(process, &format!("/usr/local/bin/{}", args[0]));
        }
        made.exec(process, args);
    }
    now(&mut made);
    let cc = made.start(process, &["cc", "x.c"]);
    made.open(cc, "x.h", if found { 3 } else { ENOENT });
    made
}

#[test]
fn a_program_that_starts_the_command_hides_nothing() {
    const TIMEOUT: &[&str] = &["timeout", "60"];
    const ENV: &[&str] = &["env", "X=1"];
    let check = |a: &[&[&str]], b: &[&[&str]], only: &[&str]| {
        let execs = if b.len() > a.len() + 1 { " (2 execs with their descendants)" } else { "" };
        let line = |program| format!("{program} make all: executed only in B{execs}");
        let only: Vec<String> = only.iter().map(line).collect();
        let lines: Vec<&str> = only.iter().map(String::as_str).collect();
        super::check(wrapped(a, true), wrapped(b, true), &lines);
        let missing = "missing  ./x.h by cc x.c: found in A, ENOENT in B";
        super::check(wrapped(a, true), wrapped(b, false), &[&[missing], &lines[..]].concat());
    };
    check(&[], &[ENV], &["exec     env X=1"]);
    check(&[], &[TIMEOUT], &["exec     timeout 60"]);
    check(&[], &[TIMEOUT, ENV], &["exec     timeout 60 env X=1"]);
    check(&[ENV], &[TIMEOUT, ENV], &["exec     timeout 60 env X=1"]);
    check(&[ENV], &[&["env", "Y=1"], ENV], &["exec     env Y=1 env X=1"]);
    // Both start with `env X=1`.
    let lines = ["argv     env X=1 make all: env Y=1 only in B", "exec     env Y=1 make all: executed only in B"];
    super::check(wrapped(&[ENV], true), wrapped(&[ENV, &["env", "Y=1"]], true), &lines);
}

/// A make whose compilers and strip are these programs. A script starts the program, if there is one.
fn tools(script: bool, inner: Option<&[&str]>, cfg: &str) -> Made {
    let mut made = Made::new("/w", 100, &["make"]);
    for unit in ["f1", "f2", "f3"] {
        let source = format!("{unit}.c");
        let args = ["-O1", "-c", &source];
        let program = |words: &[&'static str]| [words, &args[..]].concat();
        let cc = match script {
            true => made.start(100, &program(&["/bin/sh", "/opt/alt/gcc"])),
            false => made.start(100, &program(&["gcc"])),
        };
        let failed = if cfg.is_empty() { FAILED } else { 0 };
        if let Some(flags) = inner {
            let mut gcc = cc;
            if script {
                gcc = made.start(cc, &[&["/usr/bin/gcc"], flags, &args[..]].concat());
            }
            let cc1 = made.start(gcc, &[&["cc1"], flags, &args[..]].concat());
            for directory in ["inc", "/usr/include"] {
                made.open(cc1, &format!("{directory}/cfg.h"), if directory == cfg { 3 } else { ENOENT });
            }
            made.exit(cc1, failed);
            if script {
                made.exit(gcc, failed);
            }
        }
        made.exit(cc, failed);
    }
    made
}

#[test]
fn a_script_with_the_name_of_a_program_replaces_it() {
    let line = "argv     gcc -O1 -c f1.c and 2 others: /usr/bin/gcc -> /opt/alt/gcc";
    let (a, b) = (tools(false, None, "inc"), tools(true, None, "inc"));
    check(a, b, &[line]);
    let line = "argv     sh /opt/alt/gcc -O1 -c f1.c and 2 others: /opt/alt/gcc -> /usr/bin/gcc";
    check(tools(true, None, "inc"), tools(false, None, "inc"), &[line]);
    // What it starts is compared.
    let only = "exec     sh /opt/alt/gcc -O1 -c f1.c and 2 others: executed only in B";
    check(tools(false, Some(&[]), "inc"), tools(true, Some(&[]), "inc"), &[only]);
    let lines = [
        "missing  cfg.h by cc1 -O1 -c f1.c and 2 others: ./inc/cfg.h in A, in none of 2 directories in B",
        only,
        "exit     cc1 -O1 -c f1.c and 2 others: 0 in A, 1 in B; then also gcc",
    ];
    check(tools(false, Some(&[]), "inc"), tools(true, Some(&[]), ""), &lines);
    // It also changes the arguments.
    let report = between(tools(false, Some(&[]), "inc").run(), tools(true, Some(&["-DX"]), "inc").run());
    assert!(!text(&report).contains("only in A"), "{}", text(&report));
    assert!(text(&report).contains("-DX"), "{}", text(&report));
    // A script is named by its path.
    let run = |start: bool| {
        let mut made = Made::new("/w", 100, &["make"]);
        let long = "--an-option-that-is-longer-than-the-line=with-a-value-in-it";
        if start {
            made.start(100, &["/bin/sh", "/opt/alt/gcc", long, "-c", "f.c"]);
        }
        made
    };
    check(run(false), run(true), &["exec     sh /opt/alt/gcc f.c: executed only in B"]);
}
