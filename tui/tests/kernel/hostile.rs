//! Names that can break a terminal, a parser or a probe. They are complete in JSON and escaped in text.

use crate::bpf::{MOV_R0, id_and_tag};
use crate::bpf_ways::{XDP, load_for};
use crate::prelude::*;
use serde_json::json;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;

/// Parts of names: escape sequences, line ends, quotes, invalid UTF-8, marks for right-to-left text, invisible
/// characters. None contains a slash or NUL, so each is a valid file name.
const HOSTILE: [&[u8]; 14] = [
    b"\x1b[2J\x1b[1;1H",
    b"\x1b]0;title\x07",
    b"\x1bP1$r\x1b\\",
    b"line\nend\r\n",
    b"tab\there\x0b\x0c\x08\x7f",
    b"\"quoted\" 'and' `so` \\",
    b"comma, semicolon; $HOME",
    b"\xff\xfe\x80",
    b"cut \xe2\x82",
    b"\xed\xa0\x80 surrogate",
    "\u{202e}gnp.exe \u{2066}isolate\u{2069}".as_bytes(),
    "zero\u{200b}width\u{200d}\u{feff}\u{2060}".as_bytes(),
    "\u{9b}31m C1 \u{85}".as_bytes(),
    "\u{1f600} wide \u{4e2d}\u{6587} e\u{301}".as_bytes(),
];

/// A text field that contains these bytes. Invalid UTF-8 is replaced, and the whole is then also given in hex.
fn is_text(field: &str, bytes: &[u8]) -> Value {
    let hex = if std::str::from_utf8(bytes).is_ok() { Value::Null } else { hex(bytes).into() };
    json!({field: String::from_utf8_lossy(bytes), format!("{field}_hex"): hex})
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn open_hostile(dir: &Dir) -> Vec<(Vec<u8>, i64)> {
    let mut opened = Vec::new();
    for (number, name) in HOSTILE.iter().enumerate() {
        let path = [dir.path().as_os_str().as_bytes(), b"/", name].concat();
        let flags = if number % 2 == 1 { libc::O_RDWR | libc::O_CREAT } else { libc::O_RDONLY };
        let ret = sys::openat(libc::AT_FDCWD, &c(path.clone()), flags, 0o600);
        sys::close(ret);
        opened.push((path, ret));
    }
    opened
}

#[test]
fn hostile_texts_come_out_whole_in_json() {
    check(&[], CASES);
}

const CASES: &[Case] = &[
    ("paths", |dir| {
        let told = open_hostile(dir).into_iter().map(|(path, ret)| {
            let found = if ret >= 0 { is_text("abs_path", &path) } else { json!({}) };
            with(with(event("open", sys::pid(), json!({"ret": ret})), is_text("path", &path)), found)
        });
        Ok(told.collect())
    }),
    ("arguments", |dir| {
        let path = [dir.path().as_os_str().as_bytes(), b"/", HOSTILE[0], HOSTILE[7]].concat();
        let program = OsStr::from_bytes(&path);
        fs::copy("/bin/true", program).expect("a program");
        let mut command = Command::new(program);
        command.arg0(OsStr::from_bytes(HOSTILE[10])).args(HOSTILE.map(OsStr::from_bytes));
        let exec = executed(sys::run_program(&mut command), &[&[HOSTILE[10]], HOSTILE.as_slice()].concat());
        Ok(vec![with(with(exec, is_text("filename", &path)), is_text("exe", &path))])
    }),
    ("threads", |dir| {
        let path = dir.at("by a strange thread");
        let comms: [&[u8]; 4] = [b"two words", b"\x1b[31m\nred", b"\xff\xfe", b"fifteen bytes.."];
        let told = comms.map(|comm| {
            let pid = fork(|| {
                sys::set_comm(comm);
                assert_eq!(sys::open_path(&path), -i64::from(libc::ENOENT));
            });
            assert_eq!(sys::wait(pid).code(), Some(0));
            let open = event("open", pid, json!({"path": path}));
            [open, event("exit", pid, json!({}))].map(|event| with(event, is_text("comm", comm)))
        });
        Ok(told.concat())
    }),
    // A path across a page border, or up to unmapped memory, is whole.
    ("page borders", |dir| {
        let path = dir.file("at the border of a page");
        let bytes = c(path.clone()).into_bytes_with_nul();
        let across = [7, bytes.len() - 1].map(|before| (Pages::new(2, 0), page() - before));
        let mut before = Pages::new(2, 0);
        let edge = before.put(page() - bytes.len(), &bytes);
        before.unmap_from(1);
        let [seven, all_but_nul] = across.each_ref().map(|(pages, at)| pages.put(*at, &bytes));
        let rets = [seven, all_but_nul, edge].map(|at| sys::openat_raw(libc::AT_FDCWD, at, libc::O_RDONLY, 0));
        assert!(rets.iter().all(|ret| *ret >= 0), "{rets:?}");
        Ok(rets.map(|ret| event("open", sys::pid(), json!({"path": path, "ret": ret}))).to_vec())
    }),
    ("unread", |_| {
        let mut open_ended = Pages::new(2, 0);
        let edge = open_ended.put(page() - 3, b"/no");
        open_ended.unmap_from(1);
        let kernel = 0xffff_8000_0000_0000_u64 as *const u8;
        let places = [std::ptr::null(), std::ptr::without_provenance(1), kernel, edge];
        let rets = places.map(|at| sys::openat_raw(libc::AT_FDCWD, at, libc::O_RDONLY, 0));
        assert_eq!(rets, [-i64::from(libc::EFAULT); 4]);
        Ok(vec![event("open", sys::pid(), json!({"path": "", "path_why": "fault", "err": "EFAULT"})); 4])
    }),
    // Empty arguments are arguments.
    ("empty", |_| {
        let start = |argv: &[&str]| {
            let pid = sys::run_program(Command::new("/bin/true").arg0(argv[0]).args(&argv[1..]));
            let argv: Vec<&[u8]> = argv.iter().map(|arg| arg.as_bytes()).collect();
            with(executed(pid, &argv), json!({"filename": "/bin/true"}))
        };
        let cases: [&[&str]; 5] = [&["true", "", "", "x", ""], &[""], &["", ""], &["-login"], &["not its name", "a b"]];
        Ok(cases.map(start).to_vec())
    }),
];

/// An exec with these arguments, and the hex form of those that are not UTF-8.
fn executed(pid: i32, argv: &[&[u8]]) -> Value {
    let lossy: Vec<_> = argv.iter().map(|arg| String::from_utf8_lossy(arg)).collect();
    let in_hex: Vec<Value> =
        argv.iter().map(|arg| if std::str::from_utf8(arg).is_ok() { Value::Null } else { hex(arg).into() }).collect();
    let in_hex = if in_hex.iter().all(Value::is_null) { Value::Null } else { in_hex.into() };
    event("exec", pid, json!({"ret": 0, "argv": lossy, "argc": argv.len(), "argv_hex": in_hex}))
}

#[test]
fn text_output_is_free_of_control_bidi_and_zero_width_characters() {
    let dir = Dir::alone();
    let Some(traced) = Traced::start_as("text", &[]) else { return };
    let opened = open_hostile(&dir);
    sys::run_program(Command::new("/bin/true").args(HOSTILE.map(OsStr::from_bytes)));
    sys::set_comm(b"\x1b]0;x\x07\n\xff");
    let actor = Actor::new(|| vec![sys::open_path("/nowhere")]);
    sys::set_comm(b"kernel");
    assert_eq!(actor.run(), [-i64::from(libc::ENOENT)]);
    let run = traced.stop();
    let text = harmless(&run.raw);
    assert!(text.contains(r"\x1b]0;title\x07") && text.contains(r"`so` \\"), "{text}");
    let lines = text.lines().filter(|line| line.contains(&dir.at(""))).count();
    assert_eq!(lines, opened.len(), "one line an open, whatever its name holds");
}

/// The output of a text format, which must not act on a terminal.
#[track_caller]
fn harmless(output: &[u8]) -> &str {
    let text = std::str::from_utf8(output).expect("UTF-8");
    let acts = |ch: &char| *ch != '\n' && (ch.is_control() || invisible(*ch));
    assert_eq!(text.chars().find(acts), None, "{text:?}");
    text
}

fn invisible(ch: char) -> bool {
    matches!(ch, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

#[test]
fn the_longest_path_is_whole_and_a_longer_one_is_named_so() {
    let dir = Dir::alone();
    let file = dir.file("file");
    let dots = |len: usize| {
        let name = if (len - file.len()).is_multiple_of(2) { "/file" } else { "//file" };
        let fill = "/.".repeat((len - dir.path().as_os_str().len() - name.len()) / 2);
        format!("{}{fill}{name}", dir.at("").trim_end_matches('/'))
    };
    let (longest, too_long) = (dots(4095), dots(4096));
    assert_eq!((longest.len(), too_long.len()), (4095, 4096));
    let deep = deepest(&dir);
    let Some(traced) = Traced::start(&["--kind", "open"]) else { return };
    let actor = Actor::new(|| [&longest, &deep, &too_long].map(|path| sys::open_path(path)).to_vec());
    let pid = actor.pid;
    let rets = actor.run();
    let (run, account) = traced.stop_with_account();
    assert!(rets[0] >= 0 && rets[1] >= 0, "{rets:?}");
    assert_eq!(rets[2], -i64::from(libc::ENAMETOOLONG));
    assert_eq!(run.open(pid, &longest)["abs_path"], file);
    assert_eq!(run.open(pid, &deep)["abs_path"], deep, "{account}");
    let refused = run.one("open", pid, |e| e["err"] == "ENAMETOOLONG");
    assert_eq!(refused["path"], too_long[..4095], "its first 4095 bytes");
    assert_eq!(n(&account["cut"]), 1, "{account}");
}

/// Creates directories with the longest names, and a file whose whole path has 4095 bytes.
fn deepest(dir: &Dir) -> String {
    let mut path = dir.at("deep");
    while path.len() < 4095 {
        fs::create_dir(&path).expect("a directory");
        let left = 4095 - path.len() - 1;
        // The last but one directory leaves room for a slash and a name.
        let name = if left <= 255 { left } else { 255.min(left - 2) };
        path = format!("{path}/{}", "d".repeat(name));
    }
    fs::write(&path, b"").expect("a file");
    path
}

#[test]
fn megabytes_of_arguments_are_whole() {
    // The kernel accepts a quarter of the stack limit of 8 MiB, including pointers and the environment.
    let argv: Vec<String> =
        (0..16).map(|i| char::from(b'a' + i).to_string().repeat(124_000 + usize::from(i))).collect();
    let Some(traced) = Traced::start(&["--kind", "exec"]) else { return };
    let child = sys::run_program(Command::new("/bin/true").env_clear().args(&argv));
    let (run, account) = traced.stop_with_account();
    let exec = run.one("exec", child, |_| true);
    let got = exec["argv"].as_array().expect("a list");
    let lens: Vec<usize> = got.iter().map(|arg| arg.as_str().expect("text").len()).collect();
    let whole = got.iter().skip(1).zip(&argv).all(|(got, arg)| got == arg.as_str());
    assert!(whole && got.len() == argv.len() + 1, "lengths {lens:?}, cut {}", exec["cut"]);
    check_has(&exec, json!({"cut": false, "argc": argv.len() + 1}));
    assert_eq!(n(&account["kinds"]["exec"]["lost"]["ring"]), 0, "{account}");
}

#[test]
fn arguments_that_do_not_fit_the_ring_are_cut_and_say_so() {
    let argv: Vec<String> = (0..16).map(|i| char::from(b'a' + i).to_string().repeat(124_000)).collect();
    let Some(traced) = Traced::start(&["--kind", "exec", "--ring-size", "64KiB"]) else { return };
    let child = sys::run_program(Command::new("/bin/true").env_clear().args(&argv));
    let (run, account) = traced.stop_with_account();
    let exec = run.one("exec", child, |_| true);
    // Only one of the two tracepoints provides the number of arguments.
    assert!(exec["argc"] == argv.len() + 1 || exec["argc_why"] == "no_field", "{}", exec["argc_why"]);
    assert_eq!(exec["cut"], true, "1.9 MiB went through 64 KiB?");
    assert_eq!((n(&account["cut"]), n(&account["kinds"]["exec"]["lost"]["ring"])), (1, 0), "{account}");
    let got = exec["argv"].as_array().expect("a list");
    let prefix = got.iter().skip(1).zip(&argv).all(|(got, arg)| arg.starts_with(got.as_str().expect("text")));
    assert!(prefix && got.len() > 1, "what is there is the beginning: {} arguments", got.len());
}

/// A process whose memory is locked for ever, because it waits for a FUSE file system that never answers: no one can read its
/// arguments. The processes after it are known.
#[test]
fn a_process_whose_memory_does_not_answer_delays_no_other() {
    let dir = Dir::alone();
    if !Path::new("/dev/fuse").exists() {
        return not_checked("memory that does not answer: there is no /dev/fuse");
    }
    let place = dir.dir("fuse");
    let (mut told, tell) = std::io::pipe().expect("a pipe");
    let (go, mut say_go) = std::io::pipe().expect("a pipe");
    let mut silent = Actor::new(move || {
        sys::own_mounts();
        let Some(served) = fuse::serve(&place) else { return vec![] };
        fuse::lock_memory(&served, tell, go);
        vec![]
    });
    silent.go();
    let mut id = [0; 4];
    let mut next_id = || told.read_exact(&mut id).map(|()| i32::from_le_bytes(id));
    let Ok(writer) = next_id() else {
        return not_checked("memory that does not answer: /dev/fuse has no device");
    };
    let reader = next_id().expect("the actor tells");
    fuse::wait_for_call(silent.pid, reader, libc::SYS_pread64);
    say_go.write_all(&[0]).expect("the actor listens");
    fuse::wait_for_call(silent.pid, writer, libc::SYS_mmap);
    // The parent has no events: only the scan knows it.
    let (mut opens, mut tell) = std::io::pipe().expect("a pipe");
    let mut later = Actor::new(move || {
        let mut opener = Actor::new(move || {
            tell.write_all(&[0]).expect("the test listens");
            sys::end_with_the_parent();
            loop {
                sys::close(sys::open_path("/dev/null"));
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        opener.go();
        loop {
            std::thread::park();
        }
    });
    later.go();
    opens.read_exact(&mut [0]).expect("it opens files");
    // Not a filter that the kernel could apply, which knows all processes.
    let tree = format!("tree={} or path=/nowhere", later.pid);
    let Some(traced) = Traced::start(&["--kind", "open", "--filter", &tree, "-n", "1"]) else { return };
    let run = traced.ended();
    assert_eq!(run.status.code(), Some(0), "{}", run.stderr.join("\n"));
    assert!(run.stderr.iter().any(|line| line.contains("timed out")), "{}", run.stderr.join("\n"));
    assert_eq!(run.lines().map(|event| event["ppid"].clone()).collect::<Vec<_>>(), [later.pid]);
}

/// Names of interfaces: at most 15 bytes, without `/`, `:` and white space.
const INTERFACES: [&[u8]; 6] = [
    b"\x1b[2J\x1b[1;1H",
    b"\x1b]0;title\x07",
    "\u{9b}31m\u{85}C1".as_bytes(),
    "\u{202e}gnp\u{2069}\u{200b}".as_bytes(),
    b"\xff\x9b\"q'`\\$<>",
    b"15_bytes\x1b[31m\xc3\xa9",
];

#[test]
fn hostile_names_of_interfaces_are_whole_in_json_and_harmless_in_text() {
    let Some(dir) = Dir::alone_as_root() else { return };
    sys::unshare(libc::CLONE_NEWNET);
    let file = dir.at("recording");
    let Some(traced) = Traced::start(&["--kind", "bpf", "-w", &file]) else { return };
    let mut ids = vec![];
    for (nth, name) in INTERFACES.iter().enumerate() {
        let program = match load_for(XDP, 0, "tt_named", MOV_R0) {
            Ok(program) => program,
            Err(error) => return not_checked(&format!("this kernel refuses an XDP program: error {error}")),
        };
        let id = id_and_tag(&program)[0];
        assert_eq!([net::rename(1, name), net::set_xdp(1, sys::raw(&program))], [0, 0]);
        traced.output().wait_for("attach", &[id]);
        let other = other_than(nth);
        assert_eq!(net::rename(1, other), 0);
        let report = |format| read(&["bpf", "--format", format]).stdout;
        if nth % 2 == 0 {
            let report: Value = serde_json::from_str(json(&report("json"))).expect("JSON");
            let programs = report["programs"].as_array().expect("a list");
            let listed = programs.iter().find(|program| program["id"] == id).expect("listed");
            check_has(&listed["attached"][0], is_text("target", other));
        } else {
            harmless(&report("text"));
        }
        assert_eq!(net::set_xdp(1, -1), 0);
        traced.output().wait_for("detach", &[id]);
        ids.push(id);
    }
    let run = traced.stop_and_check();
    json(&run.raw);
    harmless(run.stderr.join("\n").as_bytes());
    for (nth, id) in ids.into_iter().enumerate() {
        let of = |op| run.lines().find(|event| event["op"] == op && event["prog"]["id"] == id).expect("an event");
        check_has(&of("attach")["attach"], is_text("target", INTERFACES[nth]));
        // The name at the last inventory.
        let detached = of("detach")["attach"]["target"].clone();
        let names = [INTERFACES[nth], other_than(nth)].map(String::from_utf8_lossy);
        assert!(names.iter().any(|name| detached == name.as_ref()), "{names:?} {detached}");
    }
    json(&read(&["print", &file, "--format", "json"]).stdout);
    harmless(&read(&["print", &file]).stdout);
    let csv = read(&["print", &file, "--format", "csv"]).stdout;
    harmless(String::from_utf8(csv).expect("UTF-8").replace("\r\n", "\n").as_bytes());
}

fn other_than(nth: usize) -> &'static [u8] {
    INTERFACES[(nth + 1) % INTERFACES.len()]
}

/// Lines of JSON, which have no control characters.
#[track_caller]
fn json(output: &[u8]) -> &str {
    let text = std::str::from_utf8(output).expect("UTF-8");
    assert!(!text.contains(|ch: char| ch != '\n' && ch.is_control()), "{text:?}");
    text
}
