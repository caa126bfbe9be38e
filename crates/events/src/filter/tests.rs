//! The language against events made by hand, through the real decoder.

use super::ast::{Expr, Op, Spots, Test};
use super::capture::{Exactly, FilterOptions, comm_globs};
use super::{Compiled, Filter, FilterError, Glob, NameLookup, NoNames, Scratch, exactly, fields, parse};
use crate::enrich::World;
use crate::event::lost::{Cause, LostRecord};
use crate::event::{Event, EventContext};
use crate::frame::Batch;
use crate::frame::host::{Cgroup, Container, FIRST_KIND, HostFrame, User};
use crate::limits;
use crate::synthetic::{self, Maker, payload, payload::Exec};
use proptest::prelude::*;
use tracetui_shared::capture::{CommGlobs, test};
use tracetui_shared::header::{FrameHeader, VERSION};
use tracetui_shared::id::{CgroupId, Gid, NsInum, Tgid, Tid, Uid};
use tracetui_shared::kind::{Kind, KindSet};
use tracetui_shared::record::bpf::{BpfRecord, call, cmd, has};
use tracetui_shared::record::exec::ExecRecord;
use tracetui_shared::record::mark;
use tracetui_shared::record::open::{OpenRecord, via};
use tracetui_shared::record::tcp::{TcpRecord, flag, op, outcome, state};
use tracetui_shared::time::BootNanos;
use zerocopy::{FromZeros, IntoBytes};

// ------------------------------------------------------------------------------------------------------------ samples

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

fn unread_open() -> Sample {
    let record = OpenRecord { ret: -14, path_marks: mark::FAULT, how_marks: mark::FAULT, ..OpenRecord::default() };
    (header(Kind::Open, 40, b"bad"), record.as_bytes().to_vec())
}

fn fork(pid: u32, child: u32) -> Sample {
    let start = |pid| BootNanos(u64::from(pid) * 1_000_000);
    (header(Kind::Fork, pid, b"make"), payload::fork((pid, start(pid)), (child, start(child))))
}

fn bpf() -> Sample {
    let mut record = BpfRecord::new_zeroed();
    record.call = call::PERF_IOCTL;
    record.cmd = cmd::PROG_ATTACH;
    record.has = has::PROG | has::PERF;
    record.prog_id = 41;
    record.prog_type = 5;
    record.name = fixed(b"on_switch");
    record.target = fixed(b"sched");
    record.target2 = fixed(b"sched_switch");
    record.tag = [0xab; 8];
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
    world.apply_host(HostFrame::User(User { uid: Uid(1000), name: "alice".to_owned() }), BootNanos(1));
    world.apply_host(
        HostFrame::Cgroup(Cgroup { id: CgroupId(7), path: b"/user.slice/a.service".to_vec(), container: None }),
        BootNanos(1),
    );
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

fn check_all(sample: &Sample, cases: &[(&str, bool)]) {
    for (text, wanted) in cases {
        assert_eq!(holds(text, &[], sample), *wanted, "{text}");
    }
}

fn header_open() -> Sample {
    open(40, b"cc1", 3, b"../include/stdio.h", b"stdio.h\0include\0usr\0")
}

// ----------------------------------------------------------------------------------------------------------- language

#[test]
fn opens() {
    check_all(
        &header_open(),
        &[
            ("", true),
            ("comm=cc1 path~\\.h$", true),
            ("comm=cc1 path~\\.c$", false),
            ("comm=CC1", false),
            ("comm=c*", true),
            ("comm=c", false),
            ("comm!=c", true),
            ("comm~^c", true),
            ("comm~c1", true),
            ("comm!~c1", false),
            ("path=/usr/include/stdio.h", true),
            ("path=../include/stdio.h", true),
            ("path!=/usr/include/stdio.h", false),
            ("abs_path=/usr/include/*", true),
            ("abs_path=../*", false),
            ("pid=40", true),
            ("pid=0x28", true),
            ("pid!=40", false),
            ("pid>39 pid<41 pid>=40 pid<=40", true),
            ("pid>40", false),
            ("ret=3", true),
            ("ret<0", false),
            ("dirfd=-100", true),
            ("cpu=3", true),
            ("uid=alice", true),
            ("uid=1000", true),
            ("uid=root", false),
            ("uid>=1000", true),
            ("uid=1st", false),
            ("gid=wheel", true),
            ("kind=open", true),
            ("kind=o*", true),
            ("kind=exec or kind=open", true),
            ("kind!=open", false),
            ("deleted=false", true),
            ("deleted=yes", false),
            ("flags~O_CREAT", true),
            ("flags=O_WRONLY|O_CREAT", true),
            ("mode=0o644", true),
            ("mode=420", true),
            ("mode<1KiB", true),
            ("mode>1MiB or mode<-1GiB", false),
            ("via=openat", true),
            ("cgroup=/user.slice/*", true),
            ("mnt_ns=0xf0000001", true),
            ("time~^2023-", true),
            ("err", false),
            ("not err", true),
            ("err!=ENOENT", true),
            ("err~E", false),
        ],
    );
}

#[test]
fn absent_fields_compare_false_but_for_the_negated_operators() {
    check_all(
        &header_open(),
        &[
            ("exit_code=0", false),
            ("exit_code!=0", true),
            ("exit_code<100", false),
            ("not exit_code=0", true),
            ("signal~.", false),
            ("signal!~.", true),
            ("argv=*", false),
            ("argv!=*", true),
            ("root=*", false),
            ("prog.id=0", false),
            ("core=false", false),
        ],
    );
    check_all(&unread_open(), &[("path=\"\"", true), ("flags=*", false), ("abs_path=*", false), ("err=EFAULT", true)]);
}

#[test]
fn precedence() {
    check_all(
        &header_open(),
        &[
            ("comm=x comm=x or comm=cc1", true),
            ("comm=cc1 or comm=x comm=x", true),
            ("(comm=cc1 or comm=x) comm=x", false),
            ("comm=cc1 and comm=x or comm=cc1 and pid=40", true),
            ("not comm=x comm=x", false),
            ("not (comm=x comm=x)", true),
            ("not comm=x or comm=x", true),
            ("!comm=x", true),
            ("! comm=x", true),
            ("!!comm=cc1", true),
            ("not not not comm=cc1", false),
            ("!(comm=x)", true),
            ("not(comm=x)and(comm=cc1)or(comm=y)", true),
            ("NOT comm=x AND comm=cc1", true),
            ("((comm=cc1))", true),
        ],
    );
}

#[test]
fn values_end_at_white_space_or_an_unbalanced_parenthesis() {
    let sample = open(40, b"cc1", 3, b"/a b/x(1).h", b"x(1).h\0a b\0");
    check_all(
        &sample,
        &[
            ("(path=*x(1).h)", true),
            ("path~x\\((1|2)\\)\\.h$", true),
            ("(path~1\\))", true),
            ("path=\"/a b/*\"", true),
            ("path~\"a\\x20b\"", true),
            ("path=\"/a\\x20b/x(1)\\x2eh\"", true),
            ("path~\"(x|y)\\(1\"", true),
            ("comm=\"cc1\"", true),
            ("comm=\"\"", false),
            ("x(1)", true),
            ("(x(1))", true),
            ("\"a b\"", true),
            ("\"A b\"", false),
        ],
    );
    let sample = open(40, b"\xff\"\\", 3, b"=x", b"");
    check_all(
        &sample,
        &[("comm=\"\\xff\\\"\\\\\\\\\"", true), ("comm=\"?\\\"\\\\\\\\\"", true), ("path=\"=x\"", true)],
    );
    check_all(&sample, &[("comm~\"^\\xff\"", true), ("\"\\xff\"", true), ("\"\\xfe\"", false), ("\"\\x00\"", false)]);
}

#[test]
fn execs_and_their_lists() {
    let sample = exec(40, b"cc1", 0, b"cc1\0-O2\0-o\0a b\0");
    check_all(
        &sample,
        &[
            ("path=./cc1", true),
            ("path=/usr/bin/cc1", true),
            ("path=/usr/bin/cc2", false),
            ("exe=/usr/bin/cc1", true),
            ("exe=./cc1", false),
            ("filename=./cc1", true),
            ("argv=-O2", true),
            ("arg=-O2", true),
            ("arg=-O", false),
            ("arg~^-O", true),
            ("arg=-O2 arg=\"a b\"", true),
            ("argv!=-O2", false),
            ("argv!=-O3", true),
            ("argc=4", true),
            ("cwd=/home/src", true),
            ("euid=root", true),
            ("egid=wheel", true),
            ("cut=false", true),
            ("interp=*", false),
            ("ret=0", true),
            ("err", false),
            ("-o2", true),
            ("-O2", true),
            ("-O3", false),
        ],
    );
    let failed = exec(40, b"sh", -2, b"");
    check_all(&failed, &[("err", true), ("err=ENOENT", true), ("err=2", true), ("err=-2", true), ("err=13", false)]);
    check_all(
        &failed,
        &[
            ("(err=ENOENT or err=EACCES)", true),
            ("err!=2", false),
            ("err!=EWOULDBLOCK", true),
            ("argv=*", false),
            ("exe=*", false),
        ],
    );
}

#[test]
fn connections() {
    let [local, peer] = ["10.0.0.5:51514", "10.0.0.7:443"].map(|text| text.parse().expect("a socket address"));
    let connect = payload::tcp(op::CONNECT, local, peer);
    let event = |record: TcpRecord| (header(Kind::Tcp, 40, b"curl"), record.as_bytes().to_vec());
    let refused =
        TcpRecord { outcome: outcome::DECIDED, err: 111, ret: -115, flags: flag::HAS_RET, retransmits: 3, ..connect };
    check_all(
        &event(refused),
        &[
            ("kind=tcp op=connect role=client", true),
            ("outcome=refused", true),
            ("outcome=re*", true),
            ("outcome!=refused", false),
            ("err", true),
            ("err=ECONNREFUSED", true),
            ("err=111", true),
            ("err=115", false),
            ("ret=-115", true),
            ("raddr=10.0.0.7", true),
            ("raddr=10.0.0.0/8", true),
            ("raddr=10.0.0.1/8", true),
            ("raddr=11.0.0.0/8", false),
            ("raddr!=10.0.0.0/8", false),
            ("raddr=::ffff:10.0.0.7", true),
            ("raddr=::1,10.0.0.0/24", true),
            ("raddr=10.*", true),
            ("raddr~^10\\.0", true),
            ("raddr!~7$", false),
            ("raddr=::/0", false),
            ("laddr=10.0.0.5 lport=51514 rport<1024", true),
            ("net_ns=4026531840 retransmits>2", true),
            ("bytes_in=0", false),
            ("end=*", false),
            ("closer.pid>0", false),
            ("10.0.0.7:443", true),
            ("result=refused detail~10", true),
        ],
    );
    let six =
        payload::tcp(op::CLOSE, "[::1]:9".parse().expect("a socket address"), "[fe80::1]:80".parse().expect("one"));
    let since = BootNanos(7_000_000_000);
    let closed =
        TcpRecord { since, bytes_in: 5000, state: state::LAST_ACK, closer: Tgid(9), flags: flag::SERVER, ..six };
    check_all(
        &event(closed),
        &[
            ("raddr=fe80::/10 laddr=::1", true),
            ("raddr=[fe80::1]", true),
            ("raddr=fe80::*", true),
            ("raddr=0.0.0.0/0", false),
            ("role=server end=closed bytes_in>4999 closer.pid=9", true),
            ("dur=3s", true),
            ("outcome=*", false),
            ("err", false),
            ("v4_mapped=no family=inet6", true),
        ],
    );
    // An event without addresses.
    check_all(&header_open(), &[("raddr=10.0.0.0/8", false), ("raddr!=10.0.0.0/8", true)]);
}

#[test]
fn exits_forks_and_programs() {
    let ended = exit(40, b"sleep", 3 << 8);
    check_all(
        &ended,
        &[
            ("kind=exit dur>2s", true),
            ("dur>9960ms", false),
            ("dur=9960ms", true),
            ("dur_ns=9960000000", true),
            ("dur>\"9s 959ms\"", true),
            ("dur<1h", true),
            ("exit_code=3", true),
            ("exit_code>0", true),
            ("signal=*", false),
            ("err", true),
            ("core=true", false),
        ],
    );
    check_all(&exit(40, b"x", 0), &[("err", false), ("exit_code=0", true)]);
    check_all(
        &exit(40, b"x", 0x8b),
        &[("err", true), ("signal=SIGSEGV", true), ("signal=11", true), ("core=yes", true)],
    );
    check_all(&fork(40, 41), &[("child_pid=41", true), ("pid=41", false), ("kind=fork", true), ("err", false)]);
    check_all(
        &bpf(),
        &[
            ("prog=on_switch", true),
            ("prog.name~switch", true),
            ("prog.id=41", true),
            ("prog.type=tracepoint", true),
            ("prog.tag=abababababababab", true),
            ("attach.type=tracepoint", true),
            ("attach.target=sched:sched_switch", true),
            ("attach.via=ioctl", true),
            ("attach.link_id=0", false),
            ("op=attach", true),
        ],
    );
}

#[test]
fn trees_follow_the_parents_at_the_forks() {
    let before = [fork(10, 11), fork(11, 12), exit(11, b"make", 0)];
    let sample = open(12, b"cc1", 3, b"a", b"a\0");
    for (text, wanted) in
        [("tree=10", true), ("tree=11", true), ("tree=12", true), ("tree=13", false), ("tree!=10", false)]
    {
        assert_eq!(holds(text, &before, &sample), wanted, "{text}");
    }
}

#[test]
fn the_roots_of_a_filter_are_all_that_it_asks_for() {
    let filter = Filter::parse("tree=10 (tree=11 or not (err tree!=12)) comm=x", &Known).expect("a filter");
    let mut roots = filter.roots();
    roots.sort_unstable();
    assert_eq!(roots, [Tgid(10), Tgid(11), Tgid(12)]);
}

#[test]
fn bare_words_search_the_columns() {
    check_all(
        &header_open(),
        &[
            ("stdio", true),
            ("STDIO", false),
            ("Stdio", false),
            ("alice", true),
            ("a.service", true),
            ("openat", false),
            ("CC1", false),
            ("cc1", true),
            ("2023-11", true),
            ("2024-", false),
            ("\"err\"", false),
            ("not nothing", true),
            ("/usr/include", true),
            ("../include", false),
        ],
    );
    check_all(&open(1, "É".as_bytes(), 3, b"a", b"a\0"), &[("é", true), ("É", true)]);
}

#[test]
fn lost_rows_are_hidden_only_by_naming_kinds_without_them() {
    check_all(
        &lost(),
        &[
            ("", true),
            ("comm=x", true),
            ("err", true),
            ("not nothing", true),
            ("kind=open", false),
            ("kind=open comm=x", false),
            ("kind=exec or kind=open", false),
            ("kind=lost", true),
            ("kind=lost count>5", true),
            ("kind=lost count>50", false),
            ("kind!=lost", false),
            ("kind!=fork comm=x", true),
            ("kind!=fork not comm=x", true),
            ("tree=48213 or kind=bpf", true),
            ("not (kind=open comm=x)", true),
            ("kind=lost cause=ring of=open", true),
        ],
    );
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
            assert!(
                own.is_none_or(|f| f.shape == shape || f.shape == crate::event::describe::Shape::Object),
                "{name} of {}",
                kind.name()
            );
        }
        assert!(fields::named(&name).is_some(), "{name}");
    }
    for name in ["path", "pid", "prog.name", "attach.type", "cause", "child_pid", "tree", "arg", "dur"] {
        assert!(fields::names().contains_key(name), "{name}");
    }
}

// ------------------------------------------------------------------------------------------------- read leniently

#[test]
fn blanks_stand_round_operators() {
    check_all(
        &header_open(),
        &[
            ("comm = cc1", true),
            ("comm =cc1", true),
            ("comm= cc1", true),
            ("comm\t!=\ncc1", false),
            ("comm == cc1", true),
            ("comm==cc1", true),
            ("path ~ \\.h$ pid > 39 pid <= 40", true),
            ("path !~ \\.h$", false),
            ("comm = \"cc1\" ret >= 3", true),
            ("(comm = cc1)", true),
            ("err = ENOENT", false),
            ("err != ENOENT", true),
            ("err", false),
            ("stdio comm = cc1", true),
            ("comm stdio", false),
            ("comm = \"or\"", false),
            ("! comm = cc1", false),
            ("!comm=cc1", false),
            ("!(comm = cc1)", false),
            ("arg = --color=never or comm = cc1", true),
        ],
    );
    check_all(&exit(40, b"x", 0x8b), &[("dur > 2s", true), ("dur > \"9s 970ms\"", false)]);
}

#[test]
fn two_ampersands_and_two_bars_join_terms() {
    check_all(
        &header_open(),
        &[
            ("comm=cc1&&pid=40", true),
            ("comm=cc1 && pid=41", false),
            ("comm=x||pid=40", true),
            ("comm=x || pid=41", false),
            ("comm=x||comm=cc1&&pid=40", true),
            ("(comm=x||comm=cc1)&&pid=41", false),
            ("err||stdio", true),
            ("!err&&!comm=x", true),
            ("stdio&&!(err)", true),
            ("comm=\"cc1\"&&comm=\"cc1\"", true),
            ("\"a&&b\"", false),
            ("comm=x or \"a&&b\" or comm=cc1", true),
        ],
    );
    check_all(
        &open(40, b"a&&b", 3, b"a&b|c", b"a&b|c\0"),
        &[
            ("comm=\"a&&b\"", true),
            ("comm=a\\&&b", true),
            ("path=a&b|c", true),
            ("a&b|c", true),
            ("path~(x|y)&?", false),
            ("path~(x|&b)", true),
            ("path ~ (x|b).c$", true),
            ("path~x||comm~b$", true),
            ("comm~\"x||b\"", true),
        ],
    );
}

#[test]
fn a_list_is_any_of_its_values() {
    check_all(
        &header_open(),
        &[
            ("comm=gcc,cc1", true),
            ("comm=gcc,cc", false),
            ("comm!=gcc,cc1", false),
            ("comm!=gcc,cc", true),
            ("not comm=gcc,cc1", false),
            ("comm = gcc, c* , x", true),
            ("comm==gcc,\"cc1\"", true),
            ("comm=\"gcc,cc1\"", false),
            ("comm=gcc,cc1&&pid=1,40", true),
            ("(comm=gcc,cc1)", true),
            ("pid=1,0x28", true),
            ("uid=root,alice", true),
            ("uid!=root,alice", false),
            ("kind=exec,open", true),
            ("kind!=exec,open", false),
            ("tree=7,40", true),
            ("deleted=true,false", true),
            ("err=ENOENT,EACCES", false),
            ("err!=ENOENT,13", true),
            ("exit_code=0,1", false),
            ("exit_code!=0,1", true),
            ("flags=O_RDONLY,O_WRONLY|O_CREAT", true),
            ("flags=O_WRONLY,O_CREAT", false),
            ("path=*.c,*.h", true),
            ("path~o{2,3}\\.h$", false),
            ("path~i{1,2}o\\.h$", true),
        ],
    );
    check_all(
        &open(40, b"a,b", 3, b"x,y", b"x,y\0"),
        &[
            ("comm=\"a,b\"", true),
            ("comm=gcc,\"a,b\"", true),
            ("comm=a\\,b", true),
            ("comm=a,b", false),
            ("path~x,y", true),
            ("x,y", true),
            ("comm=a ,b", false),
            ("comm~a \",b\"", true),
        ],
    );
    check_all(&exec(40, b"cc1", 0, b"cc1\0-O2\0"), &[("arg=-O3,-O2", true), ("arg!=-O3,-O2", false)]);
    check_all(&lost(), &[("kind=open,exec", false), ("kind!=fork,bpf", true), ("kind!=lost,open", false)]);
}

#[test]
fn titles_of_columns_are_fields() {
    check_all(
        &header_open(),
        &[
            ("user=alice", true),
            ("user = root", false),
            ("file=*/stdio.h", true),
            ("file~^../", true),
            ("name=cc1", true),
            ("name=gcc,cc1", true),
            ("exit=0", false),
            ("exit!=0", true),
            ("COMM=cc1 PID=40 USER=alice", true),
            ("result=3", true),
            ("result=ENOENT", false),
            ("detail~stdio", true),
            ("detail!~stdio", false),
        ],
    );
    check_all(&exit(40, b"sleep", 3 << 8), &[("exit=3", true), ("exit>0", true), ("exit < 3", false)]);
    check_all(&exec(40, b"sh", -2, b""), &[("result=ENOENT", true), ("result!=ok", true)]);
    check_all(&lost(), &[("result=x", true), ("not detail~x", true)]);
    assert_eq!(Filter::parse("User=0 FILE=x", &Known).expect("a filter").parts(), ["uid=0", "path=x"]);
}

#[test]
fn lists_and_joined_terms_are_written_as_they_were() {
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
}

#[test]
fn a_term_in_a_list_is_refused_unless_quoted() {
    for text in ["comm!=gcc,kind=open", "comm=gcc,err", "comm=gcc, pid=7", "comm=gcc,pid=7"] {
        let error = Filter::parse(text, &Known).err().unwrap_or_else(|| panic!("{text} should be refused"));
        assert!(error.render().contains("missing value after `,`"), "{}", error.render());
    }
    for text in ["comm=gcc,\"err\"", "comm=gcc,\"pid=7\"", "path=a,b=c"] {
        assert!(Filter::parse(text, &Known).is_ok(), "{text}");
    }
}

#[test]
fn keywords_without_end_are_refused_soon() {
    for keyword in ["or(", "!or(", "and(", "not(", "err("] {
        let text = keyword.repeat(65_536 / keyword.len());
        let began = std::time::Instant::now();
        assert!(Filter::parse(&text, &Known).is_err() || keyword == "err(", "{keyword}");
        // Linear it takes milliseconds, quadratic half a minute.
        assert!(began.elapsed() < std::time::Duration::from_secs(5), "{keyword}");
    }
}

#[test]
fn half_a_connective_is_refused_unless_quoted() {
    for (text, whole) in [("comm=gcc & kind=exit", "&&"), ("a | b", "||"), ("comm=gcc &", "&&")] {
        let error = Filter::parse(text, &Known).err().unwrap_or_else(|| panic!("{text} should be refused"));
        assert!(error.render().contains(&format!("did you mean `{whole}`?")), "{}", error.render());
    }
    for text in ["\"&\"", "comm=a|b", "R&D"] {
        assert!(Filter::parse(text, &Known).is_ok(), "{text}");
    }
}

// ------------------------------------------------------------------------------------------------------------- errors

fn check_error(text: &str, report: &str) {
    let error = Filter::parse(text, &Known).err().unwrap_or_else(|| panic!("{text} should be refused"));
    assert_eq!(format!("{}\n", error.render()), report.strip_prefix('\n').unwrap_or(report), "{text}");
}

#[test]
fn errors_show_the_place_and_the_remedy() {
    for (text, report) in ERRORS {
        check_error(text, report);
    }
}

/// What is refused, and the whole report.
const ERRORS: &[(&str, &str)] = &[
    (
        "a exit-code=1",
        r#"
filter: unknown field `exit-code`
    a exit-code=1
      ^^^^^^^^^
hint: did you mean `exit_code`? to search for the text, put it in double quotes
"#,
    ),
    (
        r#"comn=cc1"#,
        r#"
filter: unknown field `comn`
    comn=cc1
    ^^^^
hint: did you mean `comm`? to search for the text, put it in double quotes
"#,
    ),
    (
        r#"comm:bash"#,
        r#"
filter: expected `=` between field and value
    comm:bash
        ^
hint: write comm=bash; to search for the text, put it in double quotes
"#,
    ),
    (
        r#"kind=exec prog.nam=x"#,
        r#"
filter: unknown field `prog.nam`
    kind=exec prog.nam=x
              ^^^^^^^^
hint: did you mean `prog.name`? to search for the text, put it in double quotes
"#,
    ),
    (
        r#"flag=1"#,
        r#"
filter: unknown field `flag`
    flag=1
    ^^^^
hint: did you mean `flags` or `flags_raw`? to search for the text, put it in double quotes
"#,
    ),
    (
        r#""a=b" foo=x"#,
        r#"
filter: unknown field `foo`
    "a=b" foo=x
          ^^^
hint: to search for the text, put it in double quotes
"#,
    ),
    (
        r#"comm<b"#,
        r#"
filter: `<` does not apply to `comm` (text)
    comm<b
        ^
hint: operators of `comm`: = != ~ !~
"#,
    ),
    (
        r#"pid~1"#,
        r#"
filter: `~` does not apply to `pid` (number)
    pid~1
       ^
hint: operators of `pid`: = != < > <= >=
"#,
    ),
    (
        r#"argv>1"#,
        r#"
filter: `>` does not apply to `argv` (list of strings)
    argv>1
        ^
hint: operators of `argv`: = != ~ !~
"#,
    ),
    (
        r#"deleted~x"#,
        r#"
filter: `~` does not apply to `deleted` (true or false)
    deleted~x
           ^
hint: operators of `deleted`: = !=
"#,
    ),
    (
        r#"tree>1"#,
        r#"
filter: `>` does not apply to `tree` (a process and its descendants)
    tree>1
        ^
hint: operators of `tree`: = !=
"#,
    ),
    (
        r#"path~a(b"#,
        r#"
filter: invalid regex: unclosed group
    path~a(b
          ^
hint: put a regex with white space, `&&`, `||` or an unbalanced `)` in double quotes
"#,
    ),
    (
        r#"path~a[b"#,
        r#"
filter: invalid regex: unclosed character class
    path~a[b
          ^
hint: put a regex with white space, `&&`, `||` or an unbalanced `)` in double quotes
"#,
    ),
    (
        r#"path~"x{2""#,
        r#"
filter: invalid regex: unclosed counted repetition
    path~"x{2"
         ^^^^^
hint: put a regex with white space, `&&`, `||` or an unbalanced `)` in double quotes
"#,
    ),
    (
        r#"comm=a[b"#,
        r#"
filter: invalid glob: unclosed `[`; write \[ for a literal bracket
    comm=a[b
         ^^^
"#,
    ),
    (
        r#"pid=abc"#,
        r#"
filter: `abc` is not a number
    pid=abc
        ^^^
hint: use a decimal number, or hexadecimal such as 0x1f
"#,
    ),
    (
        r#"uid=bob"#,
        r#"
filter: unknown user `bob`
    uid=bob
        ^^^
hint: a numeric id works too
"#,
    ),
    (
        r#"dur>2"#,
        r#"
filter: invalid duration `2`: time unit needed, for example 2sec or 2ms
    dur>2
        ^
hint: use a unit, as in 2s, 1h5m or 250ms
"#,
    ),
    (
        r#"dur>2x"#,
        r#"
filter: invalid duration `2x`: unknown time unit "x", supported units: ns, us/µs, ms, sec, min, hours, days, weeks, months, years (and few variations)
    dur>2x
        ^^
hint: use a unit, as in 2s, 1h5m or 250ms
"#,
    ),
    (
        r#"pid=99999999999999999999999999999999999999999"#,
        r#"
filter: `99999999999999999999999999999999999999999` is too large
    pid=99999999999999999999999999999999999999999
        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
hint: use a decimal number, or hexadecimal such as 0x1f
"#,
    ),
    (
        r#"pid=4194304"#,
        r#"
filter: `4194304` cannot be a process id
    pid=4194304
        ^^^^^^^
hint: process ids are 0 to 4194303
"#,
    ),
    (
        r#"err ppid=-1"#,
        r#"
filter: `-1` cannot be a process id
    err ppid=-1
             ^^
hint: process ids are 0 to 4194303
"#,
    ),
    (
        r#"mode=0644"#,
        r#"
filter: `0644` is ambiguous: a leading 0 does not mean octal
    mode=0644
         ^^^^
hint: write octal as 0o644
"#,
    ),
    (
        r#"comm===bash"#,
        r#"
filter: put a value that starts with `=` in double quotes
    comm===bash
          ^
hint: write comm="=bash"
"#,
    ),
    (
        r#"comm = = bash"#,
        r#"
filter: put a value that starts with `=` in double quotes
    comm = = bash
           ^
hint: write comm="="
"#,
    ),
    (
        r#"comm=="#,
        r#"
filter: missing value after `comm=`
    comm==
          ^
hint: write an empty value as comm=""
"#,
    ),
    (
        r#"comm != )"#,
        r#"
filter: missing value after `comm!=`
    comm != )
           ^
hint: write an empty value as comm!=""
"#,
    ),
    (
        r#"comm= pid=7"#,
        r#"
filter: missing value after `comm=`
    comm= pid=7
         ^
hint: if the next word is the value, put it in double quotes
"#,
    ),
    (
        r#"comm = user != x"#,
        r#"
filter: missing value after `comm=`
    comm = user != x
          ^
hint: if the next word is the value, put it in double quotes
"#,
    ),
    (
        r#"comm= or err"#,
        r#"
filter: missing value after `comm=`
    comm= or err
         ^
hint: if the next word is the value, put it in double quotes
"#,
    ),
    (
        r#"comm=&&err"#,
        r#"
filter: missing value after `comm=`
    comm=&&err
         ^
hint: write an empty value as comm=""
"#,
    ),
    (
        r#"comm = b = c"#,
        r#"
filter: `=` needs a field before it
    comm = b = c
             ^
hint: write a term as in comm=cc1; to search for the text, put it in double quotes
"#,
    ),
    (
        r#"/x != y"#,
        r#"
filter: `!=` needs a field before it
    /x != y
       ^^
hint: write a term as in comm=cc1; to search for the text, put it in double quotes
"#,
    ),
    (
        r#"comn == cc1"#,
        r#"
filter: unknown field `comn`
    comn == cc1
    ^^^^
hint: did you mean `comm`? to search for the text, put it in double quotes
"#,
    ),
    (
        r#"exit-code > 1"#,
        r#"
filter: unknown field `exit-code`
    exit-code > 1
    ^^^^^^^^^
hint: did you mean `exit_code`? to search for the text, put it in double quotes
"#,
    ),
    (
        r#"usr=root"#,
        r#"
filter: unknown field `usr`
    usr=root
    ^^^
hint: did you mean `user`? to search for the text, put it in double quotes
"#,
    ),
    (
        r#"user: root"#,
        r#"
filter: expected `=` between field and value
    user: root
        ^
hint: write user=root; to search for the text, put it in double quotes
"#,
    ),
    (
        r#"result>3"#,
        r#"
filter: `>` does not apply to `result` (text)
    result>3
          ^
hint: operators of `result`: = != ~ !~
"#,
    ),
    (
        r#"comm=gcc,"#,
        r#"
filter: missing value after `,`
    comm=gcc,
             ^
hint: write an empty value as comm=""
"#,
    ),
    (
        r#"(comm=gcc, )"#,
        r#"
filter: missing value after `,`
    (comm=gcc, )
              ^
hint: write an empty value as comm=""
"#,
    ),
    (
        r#"comm=,gcc"#,
        r#"
filter: missing value after `comm=`
    comm=,gcc
         ^
hint: write an empty value as comm=""
"#,
    ),
    (
        r#"comm!=a,,b"#,
        r#"
filter: missing value after `,`
    comm!=a,,b
            ^
hint: write an empty value as comm!=""
"#,
    ),
    (
        r#"comm=gcc, err"#,
        r#"
filter: missing value after `,`
    comm=gcc, err
             ^
hint: if the next word is the value, put it in double quotes
"#,
    ),
    (
        r#"pid>1,2"#,
        r#"
filter: `>` takes one value, not a list
    pid>1,2
         ^
hint: only = and != take lists, as in comm=gcc,cc1
"#,
    ),
    (
        r#"pid=1,x2,3"#,
        r#"
filter: `x2` is not a number
    pid=1,x2,3
          ^^
hint: use a decimal number, or hexadecimal such as 0x1f
"#,
    ),
    (
        r#"kind != open , exce"#,
        r#"
filter: unknown value `exce` for `kind`
    kind != open , exce
                   ^^^^
hint: did you mean `exec`?
"#,
    ),
    (
        r#"comm=gcc,"a,b"#,
        r#"
filter: unclosed quote
    comm=gcc,"a,b
             ^
hint: write a quote inside double quotes as \"
"#,
    ),
    (
        r#"comm="a,"b"#,
        r#"
filter: missing space after the closing quote
    comm="a,"b
             ^
hint: write a quote inside double quotes as \"
"#,
    ),
    (
        r#"path~"a",b"#,
        r#"
filter: missing space after the closing quote
    path~"a",b
            ^
hint: write a quote inside double quotes as \"
"#,
    ),
    (
        r#"path~(a||b)"#,
        r#"
filter: unmatched `)`
    path~(a||b)
              ^
hint: put a value that contains `)`, `&&` or `||` in double quotes
"#,
    ),
    (
        r#"comm=~b"#,
        r#"
filter: put a value that starts with `~` in double quotes
    comm=~b
         ^
hint: for a regex use `~`: comm~...
"#,
    ),
    (
        r#"= bash"#,
        r#"
filter: `=` needs a field before it
    = bash
    ^
hint: write a term as in comm=cc1; to search for the text, put it in double quotes
"#,
    ),
    (
        r#"comm=(gcc or cc1)"#,
        r#"
filter: put a value that starts with `(` in double quotes
    comm=(gcc or cc1)
         ^
hint: for one of several values write comm=a,b; for the text, comm="(gcc"
"#,
    ),
    (
        r#"comm="#,
        r#"
filter: missing value after `comm=`
    comm=
         ^
hint: write an empty value as comm=""
"#,
    ),
    (
        r#"a or"#,
        r#"
filter: missing term after `or`
    a or
        ^
"#,
    ),
    (
        r#"or a"#,
        r#"
filter: missing term before `or`
    or a
    ^^
hint: to search for the text, write "or"
"#,
    ),
    (
        r#"a and or b"#,
        r#"
filter: missing term after `and` before `or`
    a and or b
          ^^
hint: to search for the text, write "or"
"#,
    ),
    (
        r#"(a"#,
        r#"
filter: unclosed `(`
    (a
    ^
hint: put a word that starts with `(` in double quotes
"#,
    ),
    (
        r#"a)"#,
        r#"
filter: unmatched `)`
    a)
     ^
hint: put a value that contains `)`, `&&` or `||` in double quotes
"#,
    ),
    (
        r#"()"#,
        r#"
filter: missing term before `)`
    ()
     ^
"#,
    ),
    (
        r#"not"#,
        r#"
filter: missing term after `not`
    not
       ^
"#,
    ),
    (
        r#"a &&"#,
        r#"
filter: missing term after `&&`
    a &&
        ^
"#,
    ),
    (
        r#"|| a"#,
        r#"
filter: missing term before `||`
    || a
    ^^
hint: to search for the text, write "||"
"#,
    ),
    (
        r#"(err&&)"#,
        r#"
filter: missing term after `&&` before `)`
    (err&&)
          ^
"#,
    ),
    (
        r#"a&&||b"#,
        r#"
filter: missing term after `&&` before `||`
    a&&||b
       ^^
hint: to search for the text, write "||"
"#,
    ),
    (
        r#"err !"#,
        r#"
filter: missing term after `!`
    err !
         ^
"#,
    ),
    (
        r#""abc"#,
        r#"
filter: unclosed quote
    "abc
    ^
hint: write a quote inside double quotes as \"
"#,
    ),
    (
        r#""a\xg""#,
        r#"
filter: `\x` needs two hexadecimal digits
    "a\xg"
      ^^
hint: write a backslash as \\
"#,
    ),
    (
        r#""a"b"#,
        r#"
filter: missing space after the closing quote
    "a"b
       ^
hint: write a quote inside double quotes as \"
"#,
    ),
    (
        r#"kind=exce"#,
        r#"
filter: unknown value `exce` for `kind`
    kind=exce
         ^^^^
hint: did you mean `exec`?
"#,
    ),
    (
        r#"err=ENOENTT"#,
        r#"
filter: unknown value `ENOENTT` for `err`
    err=ENOENTT
        ^^^^^^^
hint: did you mean `ENOENT`?
"#,
    ),
    (
        r#"err=0"#,
        r#"
filter: 0 is not an error number
    err=0
        ^
hint: use `not err` for events that did not fail
"#,
    ),
    (
        r#"err=9999"#,
        r#"
filter: unknown error number
    err=9999
        ^^^^
"#,
    ),
    (
        r#"outcome=refusd"#,
        r#"
filter: unknown value `refusd` for `outcome`
    outcome=refusd
            ^^^^^^
hint: did you mean `refused`?
"#,
    ),
    (
        r#"end=gone"#,
        r#"
filter: unknown value `gone` for `end`
    end=gone
        ^^^^
hint: use one of closed reset reset_by_peer timed_out aborted
"#,
    ),
    (
        r#"raddr=10.0.0.0/33"#,
        r#"
filter: `10.0.0.0/33` is not a prefix
    raddr=10.0.0.0/33
          ^^^^^^^^^^^
hint: write a number of bits from 0 to 32 after the `/`
"#,
    ),
    (
        r#"kind=tcp laddr!=localhost"#,
        r#"
filter: `localhost` is not an address
    kind=tcp laddr!=localhost
                    ^^^^^^^^^
hint: use an address such as 10.0.0.7 or ::1, a prefix such as 10.0.0.0/8, or a glob such as 10.*
"#,
    ),
    (
        r#"raddr=127.0.0.1:5432"#,
        r#"
filter: `127.0.0.1:5432` has a port
    raddr=127.0.0.1:5432
          ^^^^^^^^^^^^^^
hint: write 127.0.0.1 and rport=5432 or lport=5432
"#,
    ),
    (
        r#"raddr<10.0.0.0"#,
        r#"
filter: `<` does not apply to `raddr` (address)
    raddr<10.0.0.0
         ^
hint: operators of `raddr`: = != ~ !~
"#,
    ),
    (
        r#"signal=KILL"#,
        r#"
filter: unknown value `KILL` for `signal`
    signal=KILL
           ^^^^
hint: did you mean `SIGKILL`?
"#,
    ),
    (
        r#"signal=99"#,
        r#"
filter: unknown signal number
    signal=99
           ^^
"#,
    ),
    (
        r#"attach=x"#,
        r#"
filter: `attach` is a group of fields
    attach=x
    ^^^^^^
hint: use one of attach.addr attach.cookie attach.ifindex attach.link_id attach.module attach.multi attach.offset attach.symbol attach.target attach.type attach.via
"#,
    ),
    (
        r#"deleted=maybe"#,
        r#"
filter: `deleted` must be true or false
    deleted=maybe
            ^^^^^
"#,
    ),
    (
        r#"comm=0123456789abcdefgh"#,
        r#"
filter: never matches: thread names have at most 15 bytes
    comm=0123456789abcdefgh
         ^^^^^^^^^^^^^^^^^^
hint: the kernel truncates longer names; shorten it and add `*`, or use exe=
"#,
    ),
    (
        r#"é path:ü"#,
        r#"
filter: expected `=` between field and value
    é path:ü
          ^
hint: write path=ü; to search for the text, put it in double quotes
"#,
    ),
    (
        r#"kind=mmap"#,
        r#"
filter: unknown value `mmap` for `kind`
    kind=mmap
         ^^^^
hint: use one of exec exit open fork bpf tcp lost
"#,
    ),
];

#[test]
fn hostile_text_is_escaped_in_errors() {
    let error = Filter::parse("\u{1b}[2J \u{202e}x pid=\u{1b}y\u{200b}", &Known).expect_err("no number");
    let report = error.render();
    assert!(!report.contains(|c: char| crate::text::is_hostile(c) && c != '\n'), "{report:?}");
    let lines: Vec<&str> = report.lines().collect();
    assert_eq!(lines[1], "    \\u{1b}[2J \\u{202e}x pid=\\u{1b}y\\u{200b}");
    assert_eq!(lines[1].find("pid=").map(|i| i + 4), lines[2].find('^'), "{report}");
}

#[test]
fn long_text_is_shown_around_the_place() {
    let text = format!("{} pid=x {}", "cpu=1 ".repeat(300), "cpu=2 ".repeat(300));
    let report = Filter::parse(&text, &Known).expect_err("no number").render();
    let lines: Vec<&str> = report.lines().collect();
    assert!(lines[1].len() < 120 && lines[1].starts_with("    ...") && lines[1].ends_with("..."), "{report}");
    assert_eq!(lines[1].find("=x").map(|i| i + 1), lines[2].find('^'), "{report}");
}

#[test]
fn bounds_are_kept() {
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
}

// ------------------------------------------------------------------------------------------------------------ options

fn strings(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

fn compiled(options: &FilterOptions) -> Compiled {
    options.compile(&Known).unwrap_or_else(|error: FilterError| panic!("{}", error.render()))
}

fn expression(text: &str) -> Compiled {
    compiled(&FilterOptions { filter: strings(&[text]), ..FilterOptions::default() })
}

#[test]
fn options_are_ored_within_and_anded_between() {
    let cgroup = |path: &str| Cgroup { path: path.into(), ..Cgroup::default() };
    let options = FilterOptions {
        pid: strings(&["1,2", "3"]),
        tree: strings(&["7"]),
        comm: strings(&["cc*,ld"]),
        uid: strings(&["alice"]),
        cgroup: strings(&["/user.slice/*"]),
        unit: strings(&["a.*"]),
        container: strings(&["web"]),
        kind: strings(&["exec,open"]),
        failed: true,
        filter: strings(&["path~\\.h$ uid=1000 ret<0"]),
    };
    let compiled = compiled(&options);
    assert_eq!(
        compiled.whole.text(),
        "(kind=exec or kind=open) (pid=1 or pid=2 or pid=3) tree=7 (comm=cc* or comm=ld) uid=alice \
         cgroup=/user.slice/* unit=a.* container=web err path~\\.h$ uid=1000 ret<0"
    );
    assert_eq!(compiled.rest.text(), "cgroup=/user.slice/* unit=a.* container=web path~\\.h$ ret<0");
    assert_eq!(compiled.kinds, KindSet::of(&[Kind::Exec, Kind::Open]));
    assert!(!compiled.show_lost);
    let lists = test::PID | test::UID | test::COMM | test::TREE | test::CGROUP;
    assert_eq!(compiled.capture.capture.tests, lists | test::FAILED);
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
    assert_eq!(
        (compiled.capture.pids.as_slice(), compiled.capture.uids.as_slice()),
        ([1, 2, 3].as_slice(), [1000].as_slice())
    );
    assert!(
        comm_matches(&compiled.capture.capture.comm, b"cc1") && comm_matches(&compiled.capture.capture.comm, b"ld")
    );
    assert!(!comm_matches(&compiled.capture.capture.comm, b"ldd"));
}

#[test]
fn nothing_asked_shows_all_but_forks() {
    let compiled = compiled(&FilterOptions::default());
    assert_eq!(compiled.kinds, KindSet::BY_DEFAULT);
    assert!(compiled.show_lost && compiled.rest.is_empty() && compiled.whole.is_empty());
    assert_eq!((compiled.capture.capture.tests, compiled.capture.capture.kinds), (0, compiled.kinds.bits()));
    assert_eq!(compiled.capture.capture.comm, CommGlobs::NONE);
}

#[test]
fn kinds_are_lowered_and_forks_shown_when_asked_for() {
    let all = KindSet::PROBED & !KindSet::from(Kind::Fork);
    let without = |kinds: &[Kind]| all & !KindSet::of(kinds);
    for (text, kinds, lost, rest) in [
        ("kind=fork", KindSet::from(Kind::Fork), false, ""),
        ("kind!=open", without(&[Kind::Open]), true, ""),
        ("kind=ex* comm=x", KindSet::of(&[Kind::Exec, Kind::Exit]), false, ""),
        ("(kind=exec or kind=lost) pid=2", KindSet::of(&[Kind::Exec]), true, ""),
        ("not (kind=exec or kind=exit)", without(&[Kind::Exec, Kind::Exit]), true, ""),
        ("tree=1 or kind=fork", KindSet::PROBED, true, "tree=1 or kind=fork"),
        ("tree=1 or kind!=fork", all, true, "tree=1 or kind!=fork"),
        ("not kind!=fork", KindSet::from(Kind::Fork), false, ""),
        ("kind=exec,fork", KindSet::of(&[Kind::Exec, Kind::Fork]), false, ""),
        ("kind != open , exec", without(&[Kind::Open, Kind::Exec]), true, ""),
        ("not kind=open,lost", without(&[Kind::Open]), false, ""),
        ("child_pid>5", KindSet::PROBED, true, "child_pid>5"),
        ("kind~^f", KindSet::from(Kind::Fork), false, ""),
    ] {
        let compiled = expression(text);
        assert_eq!((compiled.kinds, compiled.show_lost, compiled.rest.text()), (kinds, lost, rest), "{text}");
    }
    let named =
        FilterOptions { kind: strings(&["exec,fork"]), filter: strings(&["kind!=exec"]), ..FilterOptions::default() };
    assert_eq!(compiled(&named).kinds, KindSet::from(Kind::Fork));
}

#[test]
fn a_kind_may_be_asked_for_without_its_failures() {
    let of = |kinds: &[&str]| {
        let compiled = compiled(&FilterOptions { kind: strings(kinds), ..FilterOptions::default() });
        (compiled.kinds, !compiled.failing, compiled.show_lost, compiled.rest.text().to_owned())
    };
    let (exec, exit) = (KindSet::from(Kind::Exec), KindSet::from(Kind::Exit));
    assert_eq!(of(&["exec"]), (exec, !exec, false, String::new()));
    assert_eq!(of(&["exec:ok"]), (exec, KindSet::ALL, false, "not err".to_owned()));
    assert_eq!(of(&["exec:ok,exit"]), (exec | exit, !exit, false, "kind=exec not err or kind=exit".to_owned()));
    assert_eq!(of(&["exec:ok", "exec"]), (exec, !exec, false, "kind=exec not err or kind=exec".to_owned()));
    assert_eq!(of(&[]), (KindSet::ALL & KindSet::PROBED & !KindSet::ON_REQUEST, KindSet::NONE, true, String::new()));
    let wrong = FilterOptions { kind: strings(&["exec:bad"]), ..FilterOptions::default() };
    assert!(wrong.compile(&Known).is_err());
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
    let both =
        FilterOptions { pid: strings(&["1,2"]), filter: strings(&["pid=2 or pid=3"]), ..FilterOptions::default() };
    assert_eq!(compiled(&both).capture.pids, [2]);
    let wide = FilterOptions {
        comm: strings(&["aaaaaaaaaaaaaaa,bbbbbbbbbbbbbbb,ccccccccccccccc,ddddddddddddddd*"]),
        ..FilterOptions::default()
    };
    assert!(!compiled(&wide).rest.is_empty());
    let list = expression("comm=gcc,cc1 pid=7,8").capture;
    let terms = expression("(comm=gcc or comm=cc1) (pid=7 or pid=8)").capture;
    assert_eq!(
        (list.capture.tests, list.capture.comm, list.pids),
        (terms.capture.tests, terms.capture.comm, terms.pids)
    );
    let twice = FilterOptions { filter: strings(&["pid=1", "comm=x"]), ..FilterOptions::default() };
    assert_eq!(compiled(&twice).rest.text(), "pid=1 or comm=x");
}

#[test]
fn errors_name_their_option() {
    for (options, report) in [
        (
            FilterOptions { pid: strings(&["1,x2"]), ..FilterOptions::default() },
            "--pid: `x2` is not a number\n    x2\n    ^^\nhint: use a decimal number, or hexadecimal such as 0x1f",
        ),
        (
            FilterOptions { kind: strings(&["exce"]), ..FilterOptions::default() },
            "--kind: unknown value `exce` for `kind`\n    exce\n    ^^^^\nhint: did you mean `exec`?",
        ),
        (
            FilterOptions { uid: strings(&["bob"]), ..FilterOptions::default() },
            "--uid: unknown user `bob`\n    bob\n    ^^^\nhint: a numeric id works too",
        ),
        (FilterOptions { comm: strings(&[""]), ..FilterOptions::default() }, "--comm: missing value\n    \n    ^"),
        (
            FilterOptions { filter: strings(&["pid:3"]), ..FilterOptions::default() },
            "--filter: expected `=` between field and value\n    pid:3\n       ^\nhint: write pid=3; to search for the text, put it in double quotes",
        ),
    ] {
        assert_eq!(options.compile(&Known).expect_err("refused").render(), report);
    }
}

// ---------------------------------------------------------------------------------------------------------- generated

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
            prop_assert!(is == wanted || exactly == Exactly::Roughly && is, "{:?} on {:?}", texts, comm);
        }
    }
}

#[test]
fn names_of_users_and_groups_can_be_written_as_ids() {
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
}

#[test]
fn a_filter_tells_only_what_its_events_have() {
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
}

/// The end is at 2026-11-20T14:02:11Z.
struct Ended;

impl NameLookup for Ended {
    fn uid(&self, _: &str) -> Option<u32> {
        None
    }
    fn gid(&self, _: &str) -> Option<u32> {
        None
    }
    fn end(&self) -> Option<i128> {
        Some(1_795_183_331_000_000_000)
    }
}

#[test]
fn times_are_compared_with_the_end_or_a_date() {
    let options = |text: &str| FilterOptions { filter: vec![text.to_owned()], ..FilterOptions::default() };
    for (text, fixed) in [
        ("time>-1m", "time>2026-11-20T14:01:11.000000000Z"),
        (
            "time<=-1h5m not time<2026-11-20T14:02:11.5Z",
            "time<=2026-11-20T12:57:11.000000000Z not time<2026-11-20T14:02:11.500000000Z",
        ),
        ("time~T14 time>-90", "time~T14 time>2026-11-20T14:00:41.000000000Z"),
    ] {
        let compiled = options(text).compile(&Ended).unwrap_or_else(|error| panic!("{}", error.render()));
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
}

#[test]
fn events_and_gaps_before_a_time_do_not_match() {
    let mut made = Maker::default();
    (0..3).for_each(|number| made.open(7, "cat", &format!("/{number}"), 3));
    let second = 100_002_000_000_i64;
    let time = |ns: i64| {
        let mut text = Vec::new();
        crate::text::time::rfc3339(ns.into(), &mut text);
        String::from_utf8(text).expect("ASCII")
    };
    for (op, want) in [("<", 1), ("<=", 2), (">", 1), (">=", 2)] {
        let filter = Filter::parse(&format!("time{op}{}", time(second)), &NoNames).expect("a filter");
        let mut world = World::default();
        let batch = made.clone().batch();
        let matches = batch.frames().filter(|frame| frame.header.kind < FIRST_KIND).filter(|frame| {
            let event = Event::decode(frame).expect("an event");
            let process = world.apply(&event);
            let seen = EventContext { event: &event, world: &world, process: process.as_ref(), clock_offset: 0 };
            filter.matches(&seen, &mut Scratch::default())
        });
        assert_eq!(matches.count(), want, "{op}");
    }
}

#[test]
fn a_variable_of_the_environment_is_written_like_a_field() {
    let test = |text: &str| match parse::parse(text) {
        Ok(Expr::Test(test)) => Some((test.field, String::from_utf8(test.value).expect("UTF-8"))),
        _ => None,
    };
    let list = |value: &str| Some(("env.set".to_owned(), value.to_owned()));
    assert_eq!(test("env.CPATH=inc*"), list("CPATH=inc*"));
    assert_eq!(test("env.a.b~^x"), list(r"^a\.b=.*(?:^x)"));
    assert_eq!(test("env.set=CPATH"), list("CPATH"));
    assert_eq!((test("env.=x"), test("environment=x")), (None, None));
}
