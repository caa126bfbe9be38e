//! Two runs of the same build are equal, whatever their ids, directories and jobs are; what was changed is named.

use crate::prelude::*;

/// A build by make and the shell: a tool that reads a source and a header, one process for each source in parallel.
const MAKEFILE: &str = "\
FLAG = -O1
OBJECTS = a.o b.o c.o d.o e.o
prog: $(OBJECTS)
\tcat $^ > $@
%.o: %.c tool.sh
\tsh ./tool.sh $(FLAG) $< $@
";

const TOOL: &str = "\
test -n \"$1\" || exit 9
echo $$ > tmp.$$
cat \"$PWD/common.h\" $2 tmp.$$ > /dev/null || exit 3
mv tmp.$$ $3
";

fn sources(dir: &Dir, name: &str) -> String {
    let path = dir.dir(name);
    let write = |file: &str, contents: &str| fs::write(format!("{path}/{file}"), contents).expect("room");
    write("Makefile", MAKEFILE);
    write("tool.sh", TOOL);
    write("common.h", "common\n");
    for unit in ["a", "b", "c", "d", "e"] {
        write(&format!("{unit}.c"), unit);
    }
    path
}

/// Records `make` in a directory. `None`, with a message, if it must not trace.
fn made(dir: &Dir, name: &str, sources: &str, args: &[&str]) -> Option<String> {
    let file = dir.at(name);
    let here = |command: &mut Command| {
        for name in ["MAKEFLAGS", "MFLAGS", "MAKELEVEL"] {
            command.env_remove(name);
        }
        command.current_dir(sources);
    };
    record(&file, &[&["--", "timeout", "60", "make"], args].concat(), here)?;
    Some(file)
}

fn diff(a: &str, b: &str, args: &[&str]) -> Output {
    read(&[&["diff", a, b], args].concat())
}

#[test]
fn builds_differ_only_in_what_was_changed() {
    let dir = Dir::alone();
    if !Command::new("make").arg("--version").stdout(Stdio::null()).status().is_ok_and(|status| status.success()) {
        return cannot_run("there is no make");
    }
    let first = sources(&dir, "first");
    let Some(good) = made(&dir, "good.ttr", &first, &["-j1"]) else { return };
    for (number, jobs) in ["-j1", "-j4", "-j8"].iter().enumerate() {
        let other = sources(&dir, &format!("other-{number}"));
        let same = made(&dir, &format!("same-{number}.ttr"), &other, &[jobs]).expect("it traced before");
        let done = diff(&good, &same, &["--all"]);
        assert_eq!((text(&done.stdout).as_str(), done.status.code()), ("", Some(0)), "{jobs}: {}", text(&done.stderr));
    }
    // One changed flag.
    let other = sources(&dir, "flag");
    fs::write(format!("{other}/Makefile"), MAKEFILE.replace("-O1", "-O2")).expect("room");
    let flag = made(&dir, "flag.ttr", &other, &["-j4"]).expect("it traced before");
    let done = diff(&good, &flag, &[]);
    let lines = text(&done.stdout);
    assert!(lines.lines().count() <= 5, "{lines}");
    assert!(lines.starts_with("argv     sh ./tool.sh -O1 a.c a.o and 4 others: -O1 -> -O2\n"), "{lines}");
    assert_eq!(done.status.code(), Some(1));
    // A missing file.
    let other = sources(&dir, "header");
    fs::remove_file(format!("{other}/common.h")).expect("it is there");
    let header = made(&dir, "header.ttr", &other, &["-j2"]).expect("it traced before");
    let done = diff(&good, &header, &[]);
    let lines = text(&done.stdout);
    assert!(lines.lines().count() <= 5, "{lines}");
    assert!(lines.starts_with("missing  ./common.h by cat ./common.h "), "{lines}");
    assert!(lines.contains(": found in A, ENOENT in B\n") && lines.contains("\nexit     cat ./common.h "), "{lines}");
    let done = diff(&good, &header, &["--format", "json"]);
    let objects = crate::recording::lines(&done.stdout);
    assert_eq!((objects[0]["kind"].as_str(), objects[0]["b"].as_str()), (Some("missing"), Some("ENOENT")));
    assert_eq!(objects.last().expect("a summary")["summary"]["equal"], false);
    // A recording that ends early: what it lacks is not known.
    let whole = fs::read(&good).expect("the recording");
    let cut = dir.at("cut.ttr");
    fs::write(&cut, &whole[..whole.len() * 3 / 4]).expect("room");
    let done = diff(&good, &cut, &["--all"]);
    assert!(text(&done.stderr).contains("ends early"), "{}", text(&done.stderr));
    assert!(text(&done.stdout).lines().all(|line| line.trim_start().starts_with("unknown")), "{}", text(&done.stdout));
}

/// Not each call is compared, but what the runs left: a file that is made and removed is no difference.
#[test]
fn runs_differ_in_the_files_that_they_left() {
    let dir = Dir::alone();
    let made = |run: &str| {
        let here = dir.dir(run);
        let script = dir.at("script");
        let steps = ": >old; mkdir sub; : >sub/x; : >out.tmp; mv out.tmp out; chmod 600 out; . ../rest";
        fs::write(&script, steps).expect("room");
        let file = format!("{here}.ttr");
        record(&file, &["--", "sh", "../script"], |command| _ = command.current_dir(&here)).map(|_| file)
    };
    fs::write(dir.at("rest"), "ln -s out link; : >t; rm t").expect("room");
    let Some(a) = made("a") else { return };
    fs::write(dir.at("rest"), "ln -s out link; : >u; rm u").expect("room");
    let same = made("same").expect("it traced before");
    let done = diff(&a, &same, &[]);
    let lines = |done: &Output| text(&done.stdout);
    assert!(!lines(&done).contains("file "), "{}", lines(&done));
    fs::write(dir.at("rest"), "ln -s out link; chmod 644 out; rm -r sub; : >new").expect("room");
    let b = made("b").expect("it traced before");
    let lines = lines(&diff(&a, &b, &["--all"]));
    for line in [
        "./out: mode 0600 in A, mode 0644 in B",
        "./sub: created as a directory only in A",
        "./sub/x: created only in A",
    ] {
        assert!(lines.lines().any(|found| found.trim_start() == format!("file     {line}")), "{line} in {lines}");
    }
    assert!(lines.contains("./new"), "{lines}");
}
