//! The language against events made by hand, through the real decoder.

use super::ast::{Expr, Op, Spots, Test};
use super::capture::{FilterOptions, comm_globs};
use super::{Compiled, Filter, FilterError, Glob, NameLookup, NoNames, Scratch, exactly, fields, parse};
use crate::enrich::World;
use crate::event::lost::{Cause, LostRecord};
use crate::event::{Event, EventContext, describe};
use crate::frame::Batch;
use crate::frame::host::{Cgroup, Container, HostFrame, ProcessSeed, User};
use crate::limits;
use crate::synthetic::{self, Maker, payload, payload::Exec};
use crate::text::time::Zone;
use proptest::prelude::*;
use tracetui_shared::capture::{CommGlobs, test};
use tracetui_shared::header::{FrameHeader, VERSION};
use tracetui_shared::id::{CgroupId, Gid, NsInum, Tgid, Tid, Uid};
use tracetui_shared::kind::{Kind, KindSet};
use tracetui_shared::record::bpf::{BpfRecord, call, cmd, has};
use tracetui_shared::record::exec::ExecRecord;
use tracetui_shared::record::file::{FileRecord, start};
use tracetui_shared::record::mark;
use tracetui_shared::record::open::{OpenRecord, via};
use tracetui_shared::record::tcp::{TcpRecord, flag, op, outcome, state};
use tracetui_shared::time::BootNanos;
use zerocopy::{FromZeros, IntoBytes};

struct Known;

impl NameLookup for Known {
    fn uid(&self, name: &str) -> Option<u32> {
        [("root", 0), ("alice", 1000), ("1st", 77)].iter().find(|(n, _)| *n == name).map(|(_, id)| *id)
    }
    fn gid(&self, name: &str) -> Option<u32> {
        (name == "wheel").then_some(10)
    }
}

fn fixed<const N: usize>(text: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    out[..text.len()].copy_from_slice(text);
    out
}

fn header(kind: Kind, pid: u32, comm: &[u8]) -> FrameHeader {
    FrameHeader {
        kind: kind as u16,
        version: VERSION,
        cpu: 3,
        time: BootNanos(10_000_000_000),
        start: BootNanos(u64::from(pid) * 1_000_000),
        cgroup: CgroupId(7),
        tgid: Tgid(pid),
        tid: Tid(pid),
        ppid: Tgid(1),
        uid: Uid(1000),
        gid: Gid(10),
        mnt_ns: NsInum(0xf000_0001),
        pid_ns: NsInum(0xf000_0002),
        ns_pid: Tgid(5),
        comm: synthetic::comm(comm),
        ..FrameHeader::default()
    }
}

type Sample = (FrameHeader, Vec<u8>);

fn exec(pid: u32, comm: &[u8], ret: i32, argv: &[u8]) -> Sample {
    let (filename, exe, cwd) = (b"./cc1", b"cc1\0bin\0usr\0".as_slice(), b"src\0home\0");
    let exe = if ret < 0 { b"" } else { exe };
    let record =
        ExecRecord { ret, argc: argv.iter().filter(|b| **b == 0).count() as u32, egid: 10, ..ExecRecord::default() };
    (header(Kind::Exec, pid, comm), Exec { filename, exe, cwd, argv, ..Exec::default() }.of(record))
}

fn exit(pid: u32, comm: &[u8], status: u32) -> Sample {
    (header(Kind::Exit, pid, comm), payload::exit(status))
}

fn open(pid: u32, comm: &[u8], ret: i32, path: &[u8], names: &[u8]) -> Sample {
    let record = OpenRecord { ret, dirfd: -100, flags: 0o101, mode: 0o644, via: via::OPENAT, ..OpenRecord::default() };
    (header(Kind::Open, pid, comm), payload::open(record, names, path))
}

fn fork(pid: u32, child: u32) -> Sample {
    let start = |pid| BootNanos(u64::from(pid) * 1_000_000);
    (header(Kind::Fork, pid, b"make"), payload::fork((pid, start(pid)), (child, start(child))))
}

fn bpf() -> Sample {
    let mut record = BpfRecord::new_zeroed();
    (record.call, record.cmd, record.has) = (call::PERF_IOCTL, cmd::PROG_ATTACH, has::PROG | has::PERF);
    (record.prog_id, record.prog_type, record.tag) = (41, 5, [0xab; 8]);
    (record.name, record.target, record.target2) = (fixed(b"on_switch"), fixed(b"sched"), fixed(b"sched_switch"));
    (header(Kind::Bpf, 50, b"bpftool"), record.as_bytes().to_vec())
}

fn lost() -> Sample {
    let record =
        LostRecord { of: Kind::Open as u16, cause: Cause::Ring as u16, cpu: 3, count: 9, from_ns: 0, to_ns: 5 };
    let header = FrameHeader { kind: Kind::Lost as u16, version: VERSION, cpu: 3, ..FrameHeader::default() };
    (header, record.as_bytes().to_vec())
}

fn world() -> World {
    let mut world = World::default();
    let cgroup = Cgroup { id: CgroupId(7), path: b"/user.slice/a.service".to_vec(), container: None };
    world.apply_host(HostFrame::User(User { uid: Uid(1000), name: "alice".to_owned() }), BootNanos(1));
    world.apply_host(HostFrame::Cgroup(cgroup), BootNanos(1));
    world
}

/// Folds in what came before, then asks about the sample as the pipeline would.
fn with_seen<T>(before: &[Sample], sample: &Sample, ask: impl FnOnce(&EventContext<'_>) -> T) -> T {
    let mut world = world();
    let mut batch = Batch::default();
    for (header, payload) in before.iter().chain([sample]) {
        batch.push(*header, payload);
    }
    let events: Vec<Event<'_>> = batch.frames().map(|frame| Event::decode(&frame).expect("a sample decodes")).collect();
    let (event, before) = events.split_last().expect("a sample");
    before.iter().for_each(|event| drop(world.apply(event)));
    let process = world.apply(event);
    ask(&EventContext { event, world: &world, process: process.as_ref(), clock_offset: 1_700_000_000_000_000_000 })
}

fn holds(text: &str, before: &[Sample], sample: &Sample) -> bool {
    let filter = Filter::parse(text, &Known).unwrap_or_else(|error| panic!("{}", error.render()));
    let again = Filter::parse(&filter.expr.to_string(), &Known).expect("canonical text");
    let parts = Filter::parse(&filter.parts().join(" "), &Known).expect("parts");
    with_seen(before, sample, |seen| {
        let mut scratch = Scratch::default();
        let holds = filter.matches(seen, &mut scratch);
        assert_eq!(again.matches(seen, &mut scratch), holds, "{text} as canonical text");
        assert_eq!(parts.matches(seen, &mut scratch), holds, "{text} as parts");
        holds
    })
}

/// Checks which filters hold for an event, and which do not. Between two of them is a line break or two blanks.
fn check_all(sample: &Sample, hold: &str, fail: &str) {
    let each = |texts: &str, wanted| {
        for text in texts.split("  ").map(str::trim).filter(|text| !text.is_empty()) {
            assert_eq!(holds(text, &[], sample), wanted, "{text}");
        }
    };
    each(hold, true);
    each(fail, false);
}

fn header_open() -> Sample {
    open(40, b"cc1", 3, b"../include/stdio.h", b"stdio.h\0include\0usr\0")
}

#[test]
fn terms_and_their_precedence() {
    check_all(
        &header_open(),
        r"comm=cc1 path~\.h$  comm=c*  comm!=c  comm~^c  comm~c1  path=/usr/include/stdio.h  path=../include/stdio.h
        abs_path=/usr/include/*  pid=40  pid=0x28  pid>39 pid<41 pid>=40 pid<=40  ret=3  dirfd=-100  cpu=3  uid=alice
        uid=1000  uid>=1000  gid=wheel  kind=open  kind=o*  kind=exec or kind=open  deleted=false  flags~O_CREAT
        flags=O_WRONLY|O_CREAT  mode=0o644  mode=420  mode<1KiB  via=openat  cgroup=/user.slice/*  mnt_ns=0xf0000001
        time~^2023-  not err  err!=ENOENT",
        r"comm=cc1 path~\.c$  comm=CC1  comm=c  comm!~c1  path!=/usr/include/stdio.h  abs_path=../*  pid!=40  pid>40
        ret<0  uid=root  uid=1st  kind!=open  deleted=yes  mode>1MiB or mode<-1GiB  err  err~E",
    );
    assert!(holds("", &[], &header_open()));
    // Absent fields compare false but for the negated operators.
    check_all(
        &header_open(),
        "exit_code!=0  not exit_code=0  signal!~.  argv!=*",
        "exit_code=0  exit_code<100  signal~.  argv=*  root=*  prog.id=0  core=false",
    );
    let unread = OpenRecord { ret: -14, path_marks: mark::FAULT, how_marks: mark::FAULT, ..OpenRecord::default() };
    let unread = (header(Kind::Open, 40, b"bad"), unread.as_bytes().to_vec());
    check_all(&unread, r#"path=""  err=EFAULT"#, "flags=*  abs_path=*");
    // Precedence and the ends of values.
    check_all(
        &header_open(),
        "comm=x comm=x or comm=cc1  comm=cc1 or comm=x comm=x  comm=cc1 and comm=x or comm=cc1 and pid=40
        not (comm=x comm=x)  not comm=x or comm=x  !comm=x  ! comm=x  !!comm=cc1  !(comm=x)
        not(comm=x)and(comm=cc1)or(comm=y)  NOT comm=x AND comm=cc1  ((comm=cc1))",
        "(comm=cc1 or comm=x) comm=x  not comm=x comm=x  not not not comm=cc1",
    );
    // Values end at white space or an unbalanced parenthesis.
    let sample = open(40, b"cc1", 3, b"/a b/x(1).h", b"x(1).h\0a b\0");
    check_all(
        &sample,
        r#"(path=*x(1).h)  path~x\((1|2)\)\.h$  (path~1\))  path="/a b/*"  path~"a\x20b"  path="/a\x20b/x(1)\x2eh"
        path~"(x|y)\(1"  comm="cc1"  x(1)  (x(1))  "a b""#,
        r#"comm=""  "A b""#,
    );
    let sample = open(40, b"\xff\"\\", 3, b"=x", b"");
    check_all(&sample, r#"comm="\xff\"\\\\"  comm="?\"\\\\"  path="=x""#, "");
    check_all(&sample, r#"comm~"^\xff"  "\xff""#, r#""\xfe"  "\x00""#);
}

#[test]
fn other_kinds_and_their_fields() {
    let sample = exec(40, b"cc1", 0, b"cc1\0-O2\0-o\0a b\0");
    check_all(
        &sample,
        r#"path=./cc1  path=/usr/bin/cc1  exe=/usr/bin/cc1  filename=./cc1  argv=-O2  arg=-O2  arg~^-O  arg=-O2 arg="a b"
        argv!=-O3  argc=4  cwd=/home/src  euid=root  egid=wheel  cut=false  ret=0  -o2  -O2"#,
        "path=/usr/bin/cc2  exe=./cc1  arg=-O  argv!=-O2  interp=*  err  -O3",
    );
    let failed = exec(40, b"sh", -2, b"");
    check_all(&failed, "err  err=ENOENT  err=2  err=-2  err!=13,1", "err=13");
    check_all(&failed, "(err=ENOENT or err=EACCES)  err!=EAGAIN", "err!=2  argv=*  exe=*");
    let ended = exit(40, b"sleep", 3 << 8);
    check_all(
        &ended,
        r#"kind=exit dur>2s  dur=9960ms  dur_ns=9960000000  dur>"9s 959ms"  dur<1h  exit_code=3  exit_code>0  err"#,
        "dur>9960ms  signal=*  core=true",
    );
    check_all(&exit(40, b"x", 0), "exit_code=0", "err");
    check_all(&exit(40, b"x", 0x8b), "err  signal=SIGSEGV  signal=11  core=yes", "signal=9");
    check_all(&fork(40, 41), "child_pid=41  kind=fork", "pid=41  err");
    check_all(
        &bpf(),
        "prog=on_switch  prog.name~switch  prog.id=41  prog.type=tracepoint  prog.tag=abababababababab
        attach.type=tracepoint  attach.target=sched:sched_switch  attach.via=ioctl  op=attach",
        "attach.link_id=0",
    );
    let [local, peer] = ["10.0.0.5:51514", "10.0.0.7:443"].map(|text| text.parse().expect("a socket address"));
    let connect = payload::tcp(op::CONNECT, local, peer);
    let event = |record: TcpRecord| (header(Kind::Tcp, 40, b"curl"), record.as_bytes().to_vec());
    let refused =
        TcpRecord { outcome: outcome::DECIDED, err: 111, ret: -115, flags: flag::HAS_RET, retransmits: 3, ..connect };
    check_all(
        &event(refused),
        r"kind=tcp op=connect role=client  outcome=refused  outcome=re*  err  err=ECONNREFUSED  err=111  ret=-115
        raddr=10.0.0.7  raddr=10.0.0.0/8  raddr=10.0.0.1/8  raddr=::ffff:10.0.0.7  raddr=::1,10.0.0.0/24  raddr=10.*
        raddr~^10\.0  laddr=10.0.0.5 lport=51514 rport<1024  net_ns=4026531840 retransmits>2  10.0.0.7:443
        result=refused detail~10",
        "outcome!=refused  err=EINPROGRESS  raddr=11.0.0.0/8  raddr!=10.0.0.0/8  raddr!~7$  raddr=::/0  bytes_in=0  end=*
        closer.pid>0",
    );
    let six =
        payload::tcp(op::CLOSE, "[::1]:9".parse().expect("a socket address"), "[fe80::1]:80".parse().expect("one"));
    let since = BootNanos(7_000_000_000);
    let closed =
        TcpRecord { since, bytes_in: 5000, state: state::LAST_ACK, closer: Tgid(9), flags: flag::SERVER, ..six };
    check_all(
        &event(closed),
        "raddr=fe80::/10 laddr=::1  raddr=[fe80::1]  raddr=fe80::*  role=server end=closed bytes_in>4999 closer.pid=9
        dur=3s  v4_mapped=no family=inet6",
        "raddr=0.0.0.0/0  outcome=*  err",
    );
    // An event without addresses.
    check_all(&header_open(), "raddr!=10.0.0.0/8", "raddr=10.0.0.0/8");
}

#[test]
fn trees_words_and_lost_rows() {
    let before = [fork(10, 11), fork(11, 12), exit(11, b"make", 0)];
    let sample = open(12, b"cc1", 3, b"a", b"a\0");
    for (text, wanted) in
        [("tree=10", true), ("tree=11", true), ("tree=12", true), ("tree=13", false), ("tree!=10", false)]
    {
        assert_eq!(holds(text, &before, &sample), wanted, "{text}");
    }
    // The roots of a filter.
    let filter = Filter::parse("tree=10 (tree=11 or not (err tree!=12)) comm=x", &Known).expect("a filter");
    let mut roots = filter.roots();
    roots.sort_unstable();
    assert_eq!(roots, [Tgid(10), Tgid(11), Tgid(12)]);
    // Words and lost rows.
    check_all(
        &header_open(),
        "stdio  alice  a.service  cc1  2023-11  not nothing  /usr/include",
        r#"STDIO  Stdio  openat  CC1  2024-  "err"  ../include"#,
    );
    check_all(&open(1, "É".as_bytes(), 3, b"a", b"a\0"), "é  É", "");
    // A relative path is found by the directory at which it starts.
    let (dir, path) = (b"new\0srv\0", b"./gone.conf");
    let record = FileRecord {
        starts: start::PATH,
        op: tracetui_shared::calls::file::UNLINK,
        dir_lens: [dir.len() as u16, 0],
        text_lens: [path.len() as u16, 0, 0],
        ..FileRecord::default()
    };
    let removed = (header(Kind::File, 40, b"rm"), [record.as_bytes(), dir, path].concat());
    check_all(&removed, "gone.conf  srv/new/./gone  unlink", "new/gone  rename");
    // Lost rows are hidden only by naming kinds without them.
    check_all(
        &lost(),
        "comm=x  err  not nothing  kind=lost  kind=lost count>5  kind!=fork comm=x  kind!=fork not comm=x
        tree=48213 or kind=bpf  not (kind=open comm=x)  kind=lost cause=ring of=open",
        "kind=open  kind=open comm=x  kind=exec or kind=open  kind=lost count>50  kind!=lost",
    );
    assert!(holds("", &[], &lost()));
}

#[test]
fn a_term_made_from_a_value_holds_for_it() {
    for comm in [b"cc1".as_slice(), b"a*[b]?\\", b"x y\"", b"\xffz", b"", b"(sd-pam)", b"=", "é\u{202e}".as_bytes()] {
        let text = exactly("comm", comm);
        assert!(holds(&text, &[], &open(1, comm, 0, b"a", b"a\0")), "{text}");
        assert!(!holds(&text, &[], &open(1, b"other", 0, b"a", b"a\0")), "{text}");
    }
    assert_eq!(exactly("pid", b"12"), "pid=12");
    assert_eq!(exactly("comm", b"a b*"), "comm=\"a b\\\\*\"");
}

#[test]
fn every_field_has_one_shape() {
    for (name, shape) in fields::names() {
        for kind in Kind::ALL {
            let own = crate::event::describe::fields(kind).find(|field| field.name == name);
            let is_one = own.is_none_or(|f| f.shape == shape || f.shape == describe::Shape::Object);
            assert!(is_one, "{name} of {}", kind.name());
        }
        assert!(fields::field_named(&name).is_some(), "{name}");
    }
    for name in ["path", "pid", "prog.name", "attach.type", "cause", "child_pid", "tree", "arg", "dur"] {
        assert!(fields::names().contains_key(name), "{name}");
    }
}

#[test]
fn what_is_read_leniently() {
    check_all(
        &header_open(),
        r#"comm = cc1  comm =cc1  comm= cc1  comm == cc1  comm==cc1  path ~ \.h$ pid > 39 pid <= 40  comm = "cc1" ret >= 3
        (comm = cc1)  err != ENOENT  stdio comm = cc1  arg = --color=never or comm = cc1"#,
        r#"path !~ \.h$  err = ENOENT  err  comm stdio  comm = "or"  ! comm = cc1  !comm=cc1  !(comm = cc1)"#,
    );
    assert!(!holds("comm\t!=\ncc1", &[], &header_open()));
    check_all(&exit(40, b"x", 0x8b), "dur > 2s", r#"dur > "9s 970ms""#);
    // Two ampersands and two bars join terms.
    check_all(
        &header_open(),
        r#"comm=cc1&&pid=40  comm=x||pid=40  comm=x||comm=cc1&&pid=40  err||stdio  !err&&!comm=x  stdio&&!(err)
        comm="cc1"&&comm="cc1"  comm=x or "a&&b" or comm=cc1"#,
        r#"comm=cc1 && pid=41  comm=x || pid=41  (comm=x||comm=cc1)&&pid=41  "a&&b""#,
    );
    check_all(
        &open(40, b"a&&b", 3, b"a&b|c", b"a&b|c\0"),
        r#"comm="a&&b"  comm=a\&&b  path=a&b|c  a&b|c  path~(x|&b)  path ~ (x|b).c$  path~x||comm~b$  comm~"x||b""#,
        "path~(x|y)&?",
    );
    // A list is any of its values.
    check_all(
        &header_open(),
        r#"comm=gcc,cc1  comm!=gcc,cc  comm = gcc, c* , x  comm==gcc,"cc1"  comm=gcc,cc1&&pid=1,40  (comm=gcc,cc1)
        pid=1,0x28  uid=root,alice  kind=exec,open  tree=7,40  deleted=true,false  err!=ENOENT,13  exit_code!=0,1
        flags=O_RDONLY,O_WRONLY|O_CREAT  path=*.c,*.h  path~i{1,2}o\.h$"#,
        r#"comm=gcc,cc  comm!=gcc,cc1  not comm=gcc,cc1  comm="gcc,cc1"  uid!=root,alice  kind!=exec,open
        err=ENOENT,EACCES  exit_code=0,1  flags=O_WRONLY,O_CREAT  path~o{2,3}\.h$"#,
    );
    check_all(
        &open(40, b"a,b", 3, b"x,y", b"x,y\0"),
        r#"comm="a,b"  comm=gcc,"a,b"  comm=a\,b  path~x,y  x,y  comm~a ",b""#,
        "comm=a,b  comm=a ,b",
    );
    check_all(&exec(40, b"cc1", 0, b"cc1\0-O2\0"), "arg=-O3,-O2", "arg!=-O3,-O2");
    check_all(&lost(), "kind!=fork,bpf", "kind=open,exec  kind!=lost,open");
}

#[test]
fn titles_variables_and_command_lines_are_fields() {
    check_all(
        &header_open(),
        "user=alice  file=*/stdio.h  file~^../  name=cc1  name=gcc,cc1  exit!=0  COMM=cc1 PID=40 USER=alice  result=3
        detail~stdio",
        "user = root  exit=0  result=ENOENT  detail!~stdio",
    );
    check_all(&exit(40, b"sleep", 3 << 8), "exit=3  exit>0", "exit < 3");
    check_all(&exec(40, b"sh", -2, b""), "result=ENOENT  result!=ok", "");
    check_all(&lost(), "result=x  not detail~x", "");
    assert_eq!(Filter::parse("User=0 FILE=x", &Known).expect("a filter").parts(), ["uid=0", "path=x"]);
    // A variable of the environment is written like a field.
    let test = |text: &str| match parse::parse(text) {
        Ok(Expr::Test(test)) => Some((test.field, String::from_utf8(test.value).expect("UTF-8"))),
        _ => None,
    };
    let list = |value: &str| Some(("env.set".to_owned(), value.to_owned()));
    assert_eq!(test("env.CPATH=inc*"), list("CPATH=inc*"));
    assert_eq!(test("env.a.b~^x"), list(r"^a\.b=.*(?:^x)"));
    assert_eq!(test("env.set=CPATH"), list("CPATH"));
    assert_eq!((test("env.=x"), test("environment=x")), (None, None));
    // The command line of an exit belongs to its row.
    let mut made = Maker::default();
    made.acts("7 cc exec cc -c src/m7.c, open /x, exit 1; 8 cc exit 1");
    let frames = made.batch();
    let found = |filter: &str| found(&frames, filter);
    let both = ["exec", "exit"];
    for filter in ["m7.c", "\"-c src/m7.c\"", "arg~m7", "argv=src/*.c", "kind=exec,exit argv=cc"] {
        assert_eq!(found(filter), both, "{filter}");
    }
    assert_eq!(found("kind=exit arg!=x"), ["exit"; 2]);
    assert_eq!(found("m8.c"), [""; 0]);
}

#[test]
fn lists_and_joined_terms_are_written_as_they_were_or_refused() {
    for (text, written) in [
        ("comm = gcc , \"cc1\" && err", "comm=gcc,cc1 err"),
        // Without the quotes, the value would be missing after the comma.
        ("comm=a,\"or\" or comm=b", "comm=a,\"or\" or comm=b"),
        ("comm != \"a,b\",c", "comm!=\"a,b\",c"),
        ("! comm=a,b", "not comm=a,b"),
        ("comm=a||comm=b", "comm=a or comm=b"),
        ("(comm=a,b)", "comm=a,b"),
        ("pid>\"1,2\"", "pid>\"1,2\""),
        ("comm~a{1,2}", "comm~a{1,2}"),
        ("a \",b\"", "a \",b\""),
        ("\"a&&b\"", "\"a&&b\""),
    ] {
        assert_eq!(parse::parse(text).expect("an expression").to_string(), written, "{text}");
    }
    assert_eq!(exactly("comm", b"a,b"), "comm=\"a,b\"");
    // A term in a list is refused unless quoted.
    for (text, part) in [
        ("comm!=gcc,kind=open", "missing value after `,`"),
        ("comm=gcc,err", "missing value after `,`"),
        ("comm=gcc, pid=7", "missing value after `,`"),
        ("comm=gcc,pid=7", "missing value after `,`"),
    ] {
        let error = Filter::parse(text, &Known).err().unwrap_or_else(|| panic!("{text} should be refused"));
        assert!(error.render().contains(part), "{}", error.render());
    }
    for text in ["comm=gcc,\"err\"", "comm=gcc,\"pid=7\"", "path=a,b=c", "\"&\"", "comm=a|b", "R&D"] {
        assert!(Filter::parse(text, &Known).is_ok(), "{text}");
    }
}

/// Checks the whole report of an error. `«»` are round the place that it shows, in a hint, `…` is [`SEARCH`].
fn check_error(marked: &str, message: &str, hint: &str) {
    let hint = hint.replace('…', SEARCH);
    let text = marked.replace(['«', '»'], "");
    let (before, rest) = marked.split_once('«').expect("a place");
    let place = rest.split('»').next().unwrap_or_default().chars().count();
    let pointer = " ".repeat(before.chars().count()) + &"^".repeat(place.max(1));
    let mut report = format!("filter: {message}\n    {text}\n    {pointer}");
    report.extend((!hint.is_empty()).then(|| format!("\nhint: {hint}")));
    let error = Filter::parse(&text, &Known).err().unwrap_or_else(|| panic!("{text} should be refused"));
    assert_eq!(error.render(), report, "{text}");
}

#[test]
fn errors_show_the_place_and_the_remedy() {
    for (marked, message, hint) in ERRORS {
        check_error(marked, message, hint);
    }
}

const QUOTE: &str = r#"write a quote inside double quotes as \""#;
const NUMBER: &str = "use a decimal number, or hexadecimal such as 0x1f";
const UNIT: &str = "use a unit, as in 2s, 1h5m or 250ms";
const NEXT_WORD: &str = "if the next word is the value, put it in double quotes";
const EMPTY: &str = r#"write an empty value as comm="""#;
const SEARCH: &str = "to search for the text, put it in double quotes";
const TERM: &str = "write a term as in comm=cc1; …";
const REGEX: &str = "put a regex with white space, `&&`, `||` or an unbalanced `)` in double quotes";
const ADDRESS: &str = "use an address such as 10.0.0.7 or ::1, a prefix such as 10.0.0.0/8, or a glob such as 10.*";
const VALUE: &str = "put a value that contains `)`, `&&` or `||` in double quotes";

/// What is refused, the message and the hint.
const ERRORS: &[(&str, &str, &str)] = &[
    ("a «exit-code»=1", "unknown field `exit-code`", "did you mean `exit_code`? …"),
    ("«comn»=cc1", "unknown field `comn`", "did you mean `comm`? …"),
    ("comm«:»bash", "expected `=` between field and value", "write comm=bash; …"),
    ("kind=exec «prog.nam»=x", "unknown field `prog.nam`", "did you mean `prog.name`? …"),
    ("«flag»=1", "unknown field `flag`", "did you mean `flags`? …"),
    (r#""a=b" «foo»=x"#, "unknown field `foo`", "…"),
    ("comm«<»b", "`<` does not apply to `comm`", "operators of `comm`: = != ~ !~"),
    ("pid«~»1", "`~` does not apply to `pid`", "operators of `pid`: = != < > <= >="),
    ("argv«>»1", "`>` does not apply to `argv`", "operators of `argv`: = != ~ !~"),
    ("deleted«~»x", "`~` does not apply to `deleted`", "operators of `deleted`: = !="),
    ("tree«>»1", "`>` does not apply to `tree`", "operators of `tree`: = !="),
    ("path~«a(b»", "invalid regex: unclosed group", REGEX),
    ("path~«a[b»", "invalid regex: unclosed character class", REGEX),
    (r#"path~«"x{2"»"#, "invalid regex: unclosed counted repetition", REGEX),
    ("comm=«a[b»", r#"invalid glob: unclosed `[`; write \[ for a literal bracket"#, ""),
    ("pid=«abc»", "`abc` is not a number", NUMBER),
    ("uid=«bob»", "unknown user `bob`", "a numeric id works too"),
    ("dur>«2»", "invalid duration `2`: time unit needed, for example 2sec or 2ms", UNIT),
    (
        "dur>«2x»",
        r#"invalid duration `2x`: unknown time unit "x", supported units: ns, us/µs, ms, sec, min, hours, days, weeks, months, years (and few variations)"#,
        UNIT,
    ),
    ("pid=«999999999999999999999999999999999999999»", "`999999999999999999999999999999999999999` is too large", NUMBER),
    ("mode=«0644»", "`0644` is ambiguous: a leading 0 does not mean octal", "write octal as 0o644"),
    ("comm==«=»bash", "put a value that starts with `=` in double quotes", r#"write comm="=bash""#),
    ("comm = «=» bash", "put a value that starts with `=` in double quotes", r#"write comm="=""#),
    ("comm==«»", "missing value after `comm=`", EMPTY),
    ("comm !=« »)", "missing value after `comm!=`", r#"write an empty value as comm!="""#),
    ("comm=« »pid=7", "missing value after `comm=`", NEXT_WORD),
    ("comm =« »user != x", "missing value after `comm=`", NEXT_WORD),
    ("comm=« »or err", "missing value after `comm=`", NEXT_WORD),
    ("comm=«&»&err", "missing value after `comm=`", EMPTY),
    ("comm = b «=» c", "`=` needs a field before it", TERM),
    ("/x «!=» y", "`!=` needs a field before it", TERM),
    ("«comn» == cc1", "unknown field `comn`", "did you mean `comm`? …"),
    ("«exit-code» > 1", "unknown field `exit-code`", "did you mean `exit_code`? …"),
    ("«usr»=root", "unknown field `usr`", "did you mean `user`? …"),
    ("user«:» root", "expected `=` between field and value", "write user=root; …"),
    ("result«>»3", "`>` does not apply to `result`", "operators of `result`: = != ~ !~"),
    ("comm=gcc,«»", "missing value after `,`", EMPTY),
    ("(comm=gcc,« »)", "missing value after `,`", EMPTY),
    ("comm=«,»gcc", "missing value after `comm=`", EMPTY),
    ("comm!=a,«,»b", "missing value after `,`", r#"write an empty value as comm!="""#),
    ("comm=gcc,« »err", "missing value after `,`", NEXT_WORD),
    ("pid>1«,»2", "`>` takes one value, not a list", "only = and != take lists, as in comm=gcc,cc1"),
    ("pid=1,«x2»,3", "`x2` is not a number", NUMBER),
    ("kind != open , «exce»", "unknown value `exce` for `kind`", "did you mean `exec`?"),
    (r#"comm=gcc,«"»a,b"#, "unclosed quote", QUOTE),
    (r#"comm="a,"«b»"#, "missing space after the closing quote", QUOTE),
    (r#"path~"a"«,»b"#, "missing space after the closing quote", QUOTE),
    ("path~(a||b«)»", "unmatched `)`", VALUE),
    ("comm=«~»b", "put a value that starts with `~` in double quotes", r#"write comm="~b""#),
    ("«=» bash", "`=` needs a field before it", TERM),
    ("comm=«(»gcc or cc1)", "put a value that starts with `(` in double quotes", r#"write comm="(gcc""#),
    ("comm=«»", "missing value after `comm=`", EMPTY),
    ("a or«»", "missing term", ""),
    ("«or» a", "missing term", r#"to search for the text, write "or""#),
    ("a and «or» b", "missing term", r#"to search for the text, write "or""#),
    ("«(»a", "unclosed `(`", "put a word that starts with `(` in double quotes"),
    ("a«)»", "unmatched `)`", VALUE),
    ("(«)»", "missing term", ""),
    ("not«»", "missing term", ""),
    ("a &&«»", "missing term", ""),
    ("«||» a", "missing term", r#"to search for the text, write "||""#),
    ("(err&&«)»", "missing term", ""),
    ("a&&«||»b", "missing term", r#"to search for the text, write "||""#),
    ("err !«»", "missing term", ""),
    (r#"«"»abc"#, "unclosed quote", QUOTE),
    (r#""a«\x»g""#, r#"`\x` needs two hexadecimal digits"#, r#"write a backslash as \\"#),
    (r#""a"«b»"#, "missing space after the closing quote", QUOTE),
    ("kind=«exce»", "unknown value `exce` for `kind`", "did you mean `exec`?"),
    ("err=«ENOENTT»", "unknown value `ENOENTT` for `err`", "did you mean `ENOENT`?"),
    ("err=«0»", "unknown value `0` for `err`", ""),
    ("err=«9999»", "unknown value `9999` for `err`", ""),
    ("outcome=«refusd»", "unknown value `refusd` for `outcome`", "did you mean `refused`?"),
    ("end=«gone»", "unknown value `gone` for `end`", ""),
    ("raddr=«10.0.0.0/33»", "`10.0.0.0/33` is not a prefix", ADDRESS),
    ("kind=tcp laddr!=«localhost»", "`localhost` is not an address", ADDRESS),
    ("raddr=«127.0.0.1:5432»", "`127.0.0.1:5432` is not an address", ADDRESS),
    ("raddr«<»10.0.0.0", "`<` does not apply to `raddr`", "operators of `raddr`: = != ~ !~"),
    ("signal=«KILL»", "unknown value `KILL` for `signal`", ""),
    ("signal=«99»", "unknown value `99` for `signal`", ""),
    (
        "«attach»=x",
        "`attach` is a group of fields",
        "use one of attach.addr attach.cookie attach.ifindex attach.link_id attach.module attach.multi attach.offset attach.symbol attach.target attach.type attach.via",
    ),
    ("deleted=«maybe»", "`deleted` must be true or false", ""),
    (
        "comm=«0123456789abcdefgh»",
        "never matches: thread names have at most 15 bytes",
        "the kernel truncates longer names; shorten it and add `*`, or use process=",
    ),
    ("é path«:»ü", "expected `=` between field and value", "write path=ü; …"),
    ("kind=«mmap»", "unknown value `mmap` for `kind`", ""),
];

#[test]
fn hostile_and_long_texts_are_refused_within_bounds() {
    let error = Filter::parse("\u{1b}[2J \u{202e}x pid=\u{1b}y\u{200b}", &Known).expect_err("no number");
    let report = error.render();
    assert!(!report.contains(|c: char| crate::text::is_hostile(c) && c != '\n'), "{report:?}");
    let lines: Vec<&str> = report.lines().collect();
    assert_eq!(lines[1], "    \\u{1b}[2J \\u{202e}x pid=\\u{1b}y\\u{200b}");
    assert_eq!(lines[1].find("pid=").map(|i| i + 4), lines[2].find('^'), "{report}");
    let text = format!("{} pid=x {}", "cpu=1 ".repeat(300), "cpu=2 ".repeat(300));
    let report = Filter::parse(&text, &Known).expect_err("no number").render();
    let lines: Vec<&str> = report.lines().collect();
    assert!(lines[1].len() < 120 && lines[1].starts_with("    ...") && lines[1].ends_with("..."), "{report}");
    assert_eq!(lines[1].find("=x").map(|i| i + 1), lines[2].find('^'), "{report}");
    // Bounds are kept.
    let nested = |n: usize| format!("{}err{}", "(".repeat(n), ")".repeat(n));
    assert!(Filter::parse(&nested(limits::FILTER_DEPTH), &Known).is_ok());
    assert!(Filter::parse(&nested(limits::FILTER_DEPTH + 1), &Known).is_err());
    assert!(Filter::parse(&format!("{}err", "!".repeat(60_000)), &Known).is_err());
    assert!(Filter::parse(&"(".repeat(60_000), &Known).is_err());
    assert!(Filter::parse(&"x".repeat(limits::FILTER_MAX + 1), &Known).is_err());
    assert!(Filter::parse(&"pid=1 or ".repeat(7_000), &Known).is_err());
    assert!(Filter::parse(&"word ".repeat(limits::FILTER_REGEXES + 1), &Known).is_err());
    assert!(Filter::parse("path~\\w{5000}", &Known).is_err());
    assert!(Filter::parse(&format!("pid={}", vec!["1"; 32_000].join(",")), &Known).is_ok());
    assert!(Filter::parse(&format!("pid=1{}", ",1".repeat(limits::FILTER_MAX / 2)), &Known).is_err());
    assert!(Filter::parse(&format!("comm={}", ",".repeat(60_000)), &Known).is_err());
    assert!(Filter::parse(&format!("comm{}=x", " ".repeat(60_000)), &Known).is_ok());
    let many = vec!["pid=1"; 10_000].join(" or ");
    assert!(many.len() > limits::FILTER_MAX || Filter::parse(&many, &Known).is_ok());
    // Keywords without end are refused soon.
    for keyword in ["or(", "!or(", "and(", "not(", "err("] {
        let text = keyword.repeat(65_536 / keyword.len());
        let began = std::time::Instant::now();
        assert!(Filter::parse(&text, &Known).is_err() || keyword == "err(", "{keyword}");
        // Linear it takes milliseconds, quadratic half a minute.
        assert!(began.elapsed() < std::time::Duration::from_secs(5), "{keyword}");
    }
}

fn strings(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

fn option(name: &str, value: &str) -> FilterOptions {
    let mut options = FilterOptions::default();
    match name {
        "pid" => options.pid = strings(&[value]),
        "kind" => options.kind = strings(&[value]),
        "uid" => options.uid = strings(&[value]),
        "comm" => options.comm = strings(&[value]),
        _ => options.filter = strings(&[value]),
    }
    options
}

fn compiled(options: &FilterOptions) -> Compiled {
    options.compile(&Known).unwrap_or_else(|error: FilterError| panic!("{}", error.render()))
}

fn expression(text: &str) -> Compiled {
    compiled(&option("filter", text))
}

#[test]
fn options_are_ored_within_and_anded_between() {
    let cgroup = |path: &str| Cgroup { path: path.into(), ..Cgroup::default() };
    let options = FilterOptions {
        pid: strings(&["1,2", "3"]),
        tree: strings(&["7"]),
        comm: strings(&["cc*,ld"]),
        process: strings(&["make"]),
        uid: strings(&["alice"]),
        cgroup: strings(&["/user.slice/*"]),
        unit: strings(&["a.*"]),
        container: strings(&["web"]),
        kind: strings(&["exec,open"]),
        failed: true,
        filter: strings(&["path~\\.h$ uid=1000 ret<0"]),
        zone: Zone::UTC,
    };
    let compiled = compiled(&options);
    assert_eq!(
        compiled.whole.text(),
        "(kind=exec or kind=open) (pid=1 or pid=2 or pid=3) tree=7 (comm=cc* or comm=ld) process=make uid=alice \
         cgroup=/user.slice/* unit=a.* container=web err path~\\.h$ uid=1000 ret<0"
    );
    assert_eq!(compiled.rest.text(), "process=make cgroup=/user.slice/* unit=a.* container=web err path~\\.h$ ret<0");
    assert_eq!(compiled.kinds, KindSet::of(&[Kind::Exec, Kind::Open]));
    assert!(!compiled.show_lost);
    let lists = test::PID | test::UID | test::COMM | test::TREE | test::CGROUP;
    assert_eq!(compiled.capture.capture.tests, lists);
    let without = FilterOptions { process: Vec::new(), ..options };
    assert_eq!(self::compiled(&without).capture.capture.tests, lists | test::FAILED);
    assert_eq!(compiled.capture.trees, [7]);
    let cgroups = &compiled.capture.cgroups;
    let all = |cgroup: &Cgroup| cgroups.iter().map(|test| test.holds(cgroup)).collect::<Vec<_>>();
    assert_eq!(all(&cgroup("/user.slice/x")), [true, false, false]);
    assert_eq!(all(&cgroup("/user.slice/a.scope")), [true, true, false]);
    assert_eq!(all(&cgroup("/user.slice")), [false, false, false]);
    // The display filter decides about a container whose name is not known yet.
    let mut docker = cgroup(&format!("/docker/{}", "a1".repeat(32)));
    assert_eq!(all(&docker), [false, false, true]);
    docker.container = Some(Container { name: b"db".to_vec(), ..Container::default() });
    assert_eq!(all(&docker), [false, false, false]);
    docker.container = Some(Container { id: b"web".to_vec(), ..Container::default() });
    assert_eq!(all(&docker), [false, false, true]);
    assert_eq!((&compiled.capture.pids[..], &compiled.capture.uids[..]), (&[1, 2, 3][..], &[1000][..]));
    let comm = &compiled.capture.capture.comm;
    assert!(comm_matches(comm, b"cc1") && comm_matches(comm, b"ld") && !comm_matches(comm, b"ldd"));
}

#[test]
fn nothing_asked_shows_all_but_forks_and_kinds_are_lowered() {
    let compiled = compiled(&FilterOptions::default());
    assert_eq!(compiled.kinds, KindSet::BY_DEFAULT | KindSet::AIMED);
    assert!(compiled.show_lost && compiled.rest.is_empty() && compiled.whole.is_empty());
    assert_eq!((compiled.capture.capture.tests, compiled.capture.capture.kinds), (0, compiled.kinds.bits()));
    assert_eq!(compiled.capture.capture.comm, CommGlobs::NONE);
    // Kinds are lowered, and forks shown when asked for.
    let all = KindSet::OF_COMMAND;
    let without = |kinds: &[Kind]| all & !KindSet::of(kinds);
    for (text, kinds, lost, rest) in [
        ("kind=fork", KindSet::from(Kind::Fork), false, ""),
        ("kind!=open", without(&[Kind::Open]), true, ""),
        ("kind=ex* comm=x", KindSet::of(&[Kind::Exec, Kind::Exit]), false, ""),
        ("(kind=exec or kind=lost) pid=2", KindSet::of(&[Kind::Exec]), true, ""),
        ("not (kind=exec or kind=exit)", without(&[Kind::Exec, Kind::Exit]), true, ""),
        ("tree=1 or kind=fork", all | Kind::Fork.into(), true, "tree=1 or kind=fork"),
        ("tree=1 or kind!=fork", all, true, "tree=1 or kind!=fork"),
        ("not kind!=fork", KindSet::from(Kind::Fork), false, ""),
        ("kind=exec,fork", KindSet::of(&[Kind::Exec, Kind::Fork]), false, ""),
        ("kind != open , exec", without(&[Kind::Open, Kind::Exec]), true, ""),
        ("not kind=open,lost", without(&[Kind::Open]), false, ""),
        ("child_pid>5", all | Kind::Fork.into(), true, "child_pid>5"),
        ("kind~^fo", KindSet::from(Kind::Fork), false, ""),
    ] {
        let compiled = expression(text);
        assert_eq!((compiled.kinds, compiled.show_lost, compiled.rest.text()), (kinds, lost, rest), "{text}");
    }
    let named = FilterOptions { kind: strings(&["exec,fork"]), ..option("filter", "kind!=exec") };
    assert_eq!(self::compiled(&named).kinds, KindSet::from(Kind::Fork));
    // A kind may be asked for without its failures.
    let of = |kinds: &[&str]| {
        let compiled = self::compiled(&FilterOptions { kind: strings(kinds), ..FilterOptions::default() });
        (compiled.kinds, !compiled.failing, compiled.show_lost, compiled.rest.text().to_owned())
    };
    let (exec, exit) = (KindSet::from(Kind::Exec), KindSet::from(Kind::Exit));
    assert_eq!(of(&["exec"]), (exec, !exec, false, String::new()));
    assert_eq!(of(&["exec:ok"]), (exec, KindSet::ALL, false, "not err".to_owned()));
    assert_eq!(of(&["exec:ok,exit"]), (exec | exit, !exit, false, "kind=exec not err or kind=exit".to_owned()));
    assert_eq!(of(&["exec:ok", "exec"]), (exec, !exec, false, "kind=exec not err or kind=exec".to_owned()));
    assert_eq!(of(&[]), (KindSet::ALL & KindSet::PROBED & !KindSet::ON_REQUEST, KindSet::NONE, true, String::new()));
    assert!(option("kind", "exec:bad").compile(&Known).is_err());
}

#[test]
fn what_does_not_fit_the_kernel_side_stays() {
    for (text, rest) in [
        ("pid=1 or comm=x", "pid=1 or comm=x"),
        ("(pid=1 or pid=2) x", "x"),
        ("pid=1,2 && x", "x"),
        ("pid=1,2 or pid = 3", ""),
        ("comm=gcc,cc1", ""),
        ("name=gcc,\"a,b\" user=root,alice", ""),
        ("tree=1,2", ""),
        ("comm!=a,b", "comm!=a,b"),
        ("pid=1,2 or comm=x", "pid=1,2 or comm=x"),
        ("pid!=1", "pid!=1"),
        ("not pid=1", "not pid=1"),
        ("pid>1", "pid>1"),
        ("comm=a comm=a*", "comm=a*"),
        ("comm=a?", "comm=a?"),
        ("comm=[!a]", "comm=[!a]"),
        ("tree=1", ""),
        ("(tree=1 or tree=2) x", "x"),
        ("tree=1 tree=2", "tree=2"),
        ("tree!=1", "tree!=1"),
        ("tree=1 or pid=2", "tree=1 or pid=2"),
        ("cgroup=/a*", "cgroup=/a*"),
        ("comm=[a-z]*", ""),
        ("comm~a", "comm~a"),
        ("err=ENOENT", "err=ENOENT"),
        ("((err) (uid=root))", ""),
        ("euid=root", "euid=root"),
    ] {
        assert_eq!(expression(text).rest.text(), rest, "{text}");
    }
    let many: Vec<String> = (1..=1025).map(|pid| format!("{pid}")).collect();
    let long = compiled(&FilterOptions { pid: many.clone(), ..FilterOptions::default() });
    assert_eq!((long.capture.capture.tests, long.capture.pids.len()), (0, 0));
    assert!(!long.rest.is_empty());
    let both = FilterOptions { pid: strings(&["1,2"]), ..option("filter", "pid=2 or pid=3") };
    assert_eq!(compiled(&both).capture.pids, [2]);
    let comms = "aaaaaaaaaaaaaaa,bbbbbbbbbbbbbbb,ccccccccccccccc,ddddddddddddddd*";
    assert!(!compiled(&option("comm", comms)).rest.is_empty());
    let list = expression("comm=gcc,cc1 pid=7,8").capture;
    let terms = expression("(comm=gcc or comm=cc1) (pid=7 or pid=8)").capture;
    assert_eq!((list.capture.tests, list.capture.comm), (terms.capture.tests, terms.capture.comm));
    assert_eq!(list.pids, terms.pids);
    let twice = FilterOptions { filter: strings(&["pid=1", "comm=x"]), ..FilterOptions::default() };
    assert_eq!(compiled(&twice).rest.text(), "pid=1 or comm=x");
}

#[test]
fn errors_name_their_option() {
    const TEXT: &str = "write pid=3; to search for the text, put it in double quotes";
    for (name, value, message, marks, hint) in [
        ("pid", "1,x2", "`x2` is not a number\n    x2", "^^", NUMBER),
        ("kind", "exce", "unknown value `exce` for `kind`\n    exce", "^^^^", "did you mean `exec`?"),
        ("uid", "bob", "unknown user `bob`\n    bob", "^^^", "a numeric id works too"),
        ("comm", "", "missing value\n    ", "^", ""),
        ("filter", "pid:3", "expected `=` between field and value\n    pid:3", "   ^", TEXT),
    ] {
        let hint = if hint.is_empty() { String::new() } else { format!("\nhint: {hint}") };
        let report = format!("--{name}: {message}\n    {marks}{hint}");
        assert_eq!(option(name, value).compile(&Known).expect_err("refused").render(), report);
    }
}

fn glob_text() -> impl Strategy<Value = String> {
    let piece =
        prop::sample::select(vec!["a", "b", "*", "?", "[ab]", "[!a]", "[a-c]", "é", "[é]", "\\*", "**", "c1", "-"]);
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

fn comm_bytes() -> impl Strategy<Value = Vec<u8>> {
    let piece =
        prop::sample::select(vec![b"a".as_slice(), b"b", b"c", b"c1", b"*", b"-", "é".as_bytes(), b"\xc3", b"\xa9"]);
    prop::collection::vec(piece, 0..8).prop_map(|pieces| {
        let mut bytes = pieces.concat();
        bytes.truncate(15);
        bytes
    })
}

/// What a glob means, without any cleverness.
fn plain(glob: &[char], value: &[char]) -> bool {
    match glob {
        [] => value.is_empty(),
        ['*', rest @ ..] => (0..=value.len()).any(|i| plain(rest, &value[i..])),
        ['?', rest @ ..] => !value.is_empty() && plain(rest, &value[1..]),
        ['\\', c, rest @ ..] | [c, rest @ ..] => value.first() == Some(c) && plain(rest, &value[1..]),
    }
}

fn expr() -> impl Strategy<Value = Expr> {
    let value = prop_oneof![
        "[a-z/.]{1,6}".prop_map(String::into_bytes),
        "[0-9a-f.:/*]{1,12}".prop_map(String::into_bytes),
        any::<String>().prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..6),
        "[ ()\"\\\\=!x,&|]{0,6}".prop_map(String::into_bytes),
    ];
    let ops = [Op::Eq, Op::Ne, Op::Like, Op::NotLike, Op::Lt, Op::Le, Op::Gt, Op::Ge];
    let field = prop::sample::select(vec!["pid", "comm", "path", "prog.name", "dur", "tree", "raddr"]);
    let word = prop_oneof![
        value.clone(),
        prop::sample::select(vec![
            "err", "not", "or", "OR", "and", "pid=1", "pid:1", "a:b", "&&", "a||b", ",a", "exit", "err)"
        ])
        .prop_map(|w| w.as_bytes().to_vec())
    ];
    let of = |field: &str, op, value| Test { field: field.to_owned(), op, value, spots: Spots::default() };
    let leaf = prop_oneof![
        (field.clone(), prop::sample::select(ops.to_vec()), value.clone())
            .prop_map(move |(field, op, value)| Expr::Test(of(field, op, value))),
        (field, prop::sample::select(vec![Op::Eq, Op::Ne]), prop::collection::vec(value, 2..4)).prop_map(
            move |(field, op, values)| Expr::List(values.into_iter().map(|value| of(field, op, value)).collect())
        ),
        word.prop_map(Expr::Word),
        Just(Expr::Failed),
    ];
    leaf.prop_recursive(6, 40, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4).prop_map(Expr::All),
            prop::collection::vec(inner.clone(), 2..4).prop_map(Expr::Any),
            inner.prop_map(|e| Expr::Not(Box::new(e))),
        ]
    })
}

/// What the kernel side does with a name: the step that [`CommGlobs`] documents.
fn comm_matches(globs: &CommGlobs, comm: &[u8]) -> bool {
    let mut states = globs.start;
    for byte in comm {
        let advance = globs.advance.get(usize::from(*byte)).copied().unwrap_or(0);
        states = ((states & advance) << 1) | (states & globs.stay);
        states |= (states & globs.skip) << 1;
    }
    states & globs.accept != 0
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_or_refused(text in any::<String>()) {
        if let Err(error) = Filter::parse(&text, &Known) {
            error.render();
        }
    }

    #[test]
    fn text_like_filters_is_read_or_refused(text in "([a-z]{1,4}|pid|comm|raddr=|::1|/8|user|file|path|dur|err|not|or|and|&&|\\|\\||[,&|=!~<>()\" \\\\:*?\\[\\]x0-9é]){0,24}") {
        match Filter::parse(&text, &Known) {
            Err(error) => drop(error.render()),
            Ok(filter) => {
                let again = parse::parse(&filter.expr.to_string()).map_err(|e| TestCaseError::fail(e.render()))?;
                prop_assert_eq!(again, filter.expr);
            }
        }
    }

    #[test]
    fn written_expressions_read_back_the_same(expr in expr()) {
        let text = expr.to_string();
        prop_assert_eq!(parse::parse(&text).map_err(|e| TestCaseError::fail(e.render()))?, expr, "{}", text);
    }

    #[test]
    fn globs_mean_what_they_say(glob in "[ab*?é\\\\]{0,8}", value in "[abé]{0,8}") {
        if let Ok(ready) = Glob::new(glob.as_bytes()) {
            let chars = |text: &str| text.chars().collect::<Vec<_>>();
            prop_assert_eq!(ready.matches(value.as_bytes()), plain(&chars(&glob), &chars(&value)));
        }
    }

    #[test]
    fn the_automaton_matches_what_the_globs_match(
        texts in prop::collection::vec(glob_text(), 0..4),
        comms in prop::collection::vec(comm_bytes(), 1..16),
    ) {
        let globs: Vec<Glob> = texts.iter().filter_map(|text| Glob::new(text.as_bytes()).ok()).collect();
        let Some((automaton, exactly)) = comm_globs(&globs) else { return Ok(()) };
        for comm in comms {
            let wanted = globs.iter().any(|glob| glob.matches(&comm));
            let is = comm_matches(&automaton, &comm);
            prop_assert!(is == wanted || !exactly && is, "{:?} on {:?}", texts, comm);
        }
    }
}

#[test]
fn names_and_times_are_written_as_ids_and_dates() {
    for (typed, want) in [
        ("not uid=alice", "not uid=1000"),
        ("(uid=alice,0 or comm=alice) alice", "(uid=1000,0 or comm=alice) alice"),
        ("uid=1st gid!=wheel prog.uid=root", "uid=77 gid!=10 prog.uid=0"),
        ("uid=1000 uid=0x10", "uid=1000 uid=0x10"),
    ] {
        let filter = Filter::parse(typed, &Known).unwrap_or_else(|error| panic!("{}", error.render()));
        assert_eq!(filter.text_with_ids(&Known), want);
        assert!(Filter::parse(want, &NoNames).is_ok(), "{want}");
    }
    // A filter matches only fields that its events have.
    for (text, shown) in [
        ("comm=cc1  path~\\.h$", "comm=cc1  path~\\.h$"),
        ("kind=open not err=ENOENT", "kind=open not err=ENOENT"),
        ("not arg=SECRET pid=7", "not arg=… pid=7"),
        ("not raddr=10.0.0.7 not outcome=refused", "not raddr=… not outcome=refused"),
        ("path!=SECRET", "path!=…"),
        ("uid=0 (comm=SECRET or SECRET or err)", "uid=0 (comm=… or … or err)"),
        ("comm=sh,SECRET dur>2s", "comm=…,… dur>2s"),
        ("(comm=a) (!SECRET)", "comm=a not …"),
        ("no=such field (", "…"),
    ] {
        assert_eq!(super::without_texts(text), shown, "{text}");
    }
    // Times are compared with the end or a date.
    for (text, fixed) in [
        ("time>-1m", "time>2026-11-20T14:01:11.000000000Z"),
        (
            "time<=-1h5m not time<2026-11-20T14:02:11.5Z",
            "time<=2026-11-20T12:57:11.000000000Z not time<2026-11-20T14:02:11.500000000Z",
        ),
        ("time>2026-11-20T14:02", "time>2026-11-20T12:02:00.000000000Z"),
        ("time>2026-11-20T14:02:11-01:00", "time>2026-11-20T15:02:11.000000000Z"),
        ("time~T14 time>-90", "time~T14 time>2026-11-20T14:00:41.000000000Z"),
    ] {
        let compiled = option("filter", text).compile(&Ended).unwrap_or_else(|error| panic!("{}", error.render()));
        assert_eq!((compiled.whole.text(), compiled.rest.text()), (fixed, fixed));
        assert_eq!(Filter::parse(text, &Ended).map(|filter| filter.text().to_owned()).ok().as_deref(), Some(text));
        assert!(Filter::parse(fixed, &NoNames).is_ok());
    }
    for (text, message) in [
        ("time>-x", "`-x` is not a time"),
        ("time>yesterday", "`yesterday` is not a time"),
        ("time>14:02:11", "`14:02:11` has no date"),
    ] {
        assert_eq!(Filter::parse(text, &Ended).map_err(|error| error.message).err().as_deref(), Some(message));
    }
    let unknown = Filter::parse("time>-1m", &NoNames).expect_err("no end");
    assert!(unknown.message.contains("an end that is not known here"), "{}", unknown.message);
    // Events and gaps before a time do not match.
    let mut made = Maker::default();
    (0..3).for_each(|number| made.open(7, "cat", &format!("/{number}"), 3));
    let (second, frames) = (100_002_000_000_i64, made.batch());
    let time = |ns: i64| {
        let mut text = Vec::new();
        crate::text::time::rfc3339(ns.into(), &mut text);
        String::from_utf8(text).expect("ASCII")
    };
    for (op, want) in [("<", 1), ("<=", 2), (">", 1), (">=", 2)] {
        let found = found(&frames, &format!("time{op}{}", time(second)));
        assert_eq!(found.len(), want, "{op}");
    }
}

/// The end is at 2026-11-20T14:02:11Z.
struct Ended;

impl NameLookup for Ended {
    fn end(&self) -> Option<i128> {
        Some(1_795_183_331_000_000_000)
    }
    fn zone(&self) -> Zone {
        Zone(|_| 7200)
    }
}

fn found(frames: &Batch, filter: &str) -> Vec<&'static str> {
    let (filter, mut found) = (Filter::parse(filter, &NoNames).expect("a filter"), Vec::new());
    synthetic::each_event(frames.clone(), |seen, _| {
        if filter.matches(seen, &mut Scratch::default()) {
            found.push(seen.event.kind().name());
        }
    });
    found
}

#[test]
fn a_process_is_named_by_its_leader_or_its_executable() {
    let seed = |comm: &[u8], exe: &[u8]| {
        let (start, comm, exe) = (header(Kind::Open, 60, comm).start, comm.to_vec(), exe.to_vec());
        ProcessSeed { tgid: Tgid(60), start, start_exact: true, comm, exe, ..ProcessSeed::default() }
    };
    let shop = seed(b"shopserver", b"/srv/shopserver");
    let script = seed(b"shop.py", b"/usr/bin/python3.11");
    let long = seed(b"shopserver-fron", b"/srv/shopserver-frontend (deleted)");
    let of = |thread: u32, (made, payload): Sample| (FrameHeader { tid: Tid(60 + thread), ..made }, payload);
    let by_thread = of(1, open(60, b"worker-1", -13, b"a", b""));
    let renamed = of(0, open(60, b"main", -13, b"a", b""));
    for (scanned, before, shown, names, others) in [
        (&shop, None, "shopserver", &["shopserver", "shop*"][..], &["worker-1", "/srv/shopserver", "main"][..]),
        (&script, None, "shop.py", &["shop.py", "python3*"], &["python", "/usr/bin/*"]),
        (&long, None, "shopserver-frontend", &["shopserver-fron", "shopserver-frontend"], &["shopserver-front"]),
        (&shop, Some(&renamed), "main", &["main", "shopserver"], &["worker-1"]),
    ] {
        // The scan may find the process after its first event.
        for late in [false, true] {
            let (mut world, mut batch) = (world(), Batch::default());
            before.into_iter().chain([&by_thread]).for_each(|(header, payload)| batch.push(*header, payload));
            let late = late && before.is_none();
            let scan = |world: &mut World| world.apply_host(HostFrame::ProcessSeed(scanned.clone()), BootNanos(1));
            if !late {
                scan(&mut world);
            }
            let events = batch.frames().map(|frame| Event::decode(&frame).expect("a sample decodes"));
            let (event, process) = events.map(|event| (event, world.apply(&event))).last().expect("an event");
            if late {
                scan(&mut world);
            }
            let seen = EventContext { event: &event, world: &world, process: process.as_ref(), clock_offset: 0 };
            let field = describe::fields(Kind::Open).find(|field| field.name == "process").expect("a field");
            assert_eq!((field.get)(&seen).text().as_deref(), Some(shown.as_bytes()));
            let holds = |name: &str| {
                let filter = Filter::parse(&format!("process={name}"), &NoNames).expect("a filter");
                filter.matches(&seen, &mut Scratch::default())
            };
            assert!(names.iter().all(|name| holds(name)), "{shown}");
            assert!(!others.iter().any(|name| holds(name)), "{shown}");
        }
    }
}
