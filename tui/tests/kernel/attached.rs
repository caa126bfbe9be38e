//! The programs that are attached, according to the kernel: only those that the requested kinds need.

use crate::forged::{PROG, by_id};
use crate::prelude::*;
/// The name of a program, of which the kernel keeps 15 bytes. Offset 64 of `struct bpf_prog_info` (UAPI).
fn name(id: u32) -> String {
    let info = bpf::info(&by_id(PROG, id));
    let name = info.0[64..80].split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8(name.to_vec()).expect("a name")
}

fn linked(pid: i32) -> BTreeSet<String> {
    let infos = fs::read_dir(format!("/proc/{pid}/fdinfo")).expect("procfs").flatten();
    let texts = infos.filter_map(|info| fs::read_to_string(info.path()).ok());
    let links = texts.filter(|text| text.lines().any(|line| line.starts_with("link_id:")));
    let ids = links.filter_map(|text| text.lines().find_map(|line| line.strip_prefix("prog_id:")?.trim().parse().ok()));
    ids.map(name).collect()
}

fn purpose(program: &str) -> &'static str {
    match program {
        "sched_exit" => "exits",
        "signal_generate" | "signal_deliver" => "senders of signals",
        "sched_exec" => "execs",
        "sched_fork" => "forks",
        "exec_bprm" => "interpreters",
        "sys_exit" => "calls",
        "file_opened" | "file_freed" | "file_closed" => "writes",
        "bpf_xdp" => "changes of XDP programs",
        // Iterators, which run when they are read: they list the processes, and the objects of BPF for an inventory. The
        // first inventory may be under way when the trace is ready.
        "task_starts" | "tt_programs" | "tt_links" | "tt_files" | "tt_tasks" => "lists",
        "tt_cgroups" | "tt_namespaces" | "tt_sockmaps" => "lists",
        "tcp_list" | "tcp_sweep" | "tcp_callers" => "lists of connections",
        "tcp_begun" => "calls",
        "tcp_state" | "tcp_destroy" => "states of connections",
        uring if uring.starts_with("uring_") => "io_uring",
        other => panic!("an unexpected program: {other}"),
    }
}

/// What the process table needs, whatever is requested.
const TABLE: [&str; 3] = ["execs", "exits", "forks"];

/// Checks the programs of a trace: those of the process table, those for `calls`, those of io_uring with opens (5.19+),
/// and no others.
fn check(args: &[&str], calls: &[&str]) -> Option<()> {
    let traced = Traced::start(args)?;
    let programs = linked(traced.pid());
    traced.stop();
    let mut served: BTreeSet<_> = programs.iter().map(|program| purpose(program)).collect();
    for table in TABLE {
        assert!(served.remove(table), "{args:?}: {table}: {programs:?}");
    }
    served.remove("lists");
    let uring = served.remove("io_uring");
    let tcp = calls.contains(&"tcp");
    let rings = calls.contains(&"opens") || tcp;
    assert!(!uring || rings, "{args:?}: neither opens nor connections are wanted: {programs:?}");
    assert!(uring || !rings || release() < (5, 19), "{args:?}: io_uring is missing: {programs:?}");
    let states = served.remove("states of connections");
    // Before 5.15, a program at a classic tracepoint has no link.
    assert!(states == tcp || tcp && release() < (5, 15), "{args:?}: {programs:?}");
    assert!(!served.remove("lists of connections") || tcp, "{args:?}: no connections are wanted: {programs:?}");
    let senders = served.remove("senders of signals");
    let exits = args.iter().any(|arg| arg.contains("exit")) || calls.len() > 1;
    assert_eq!(senders, exits, "{args:?}: {programs:?}");
    let changes = served.remove("changes of XDP programs");
    assert!(!changes || calls.contains(&"bpf"), "{args:?}: no bpf is wanted: {programs:?}");
    let interpreters = served.remove("interpreters");
    assert!(!interpreters || calls.contains(&"failed execs"), "{args:?}: no execs are wanted: {programs:?}");
    // One program serves the calls of all kinds, unless none is wanted.
    let expected: BTreeSet<&str> = (!calls.is_empty()).then_some("calls").into_iter().collect();
    assert_eq!(served, expected, "{args:?}: {programs:?}");
    println!("{args:?}: {programs:?}");
    Some(())
}

#[test]
fn only_what_the_requested_kinds_need_is_attached() {
    alone();
    let tree = sys::pid().to_string();
    let cases: [(&[&str], &[&str]); 10] = [
        (&["--kind", "exit"], &[]),
        (&["--kind", "exit,fork", "--tree", &tree], &[]),
        (&["--filter", "kind=exit and err"], &[]),
        (&["--kind", "exec"], &["failed execs"]),
        (&["--kind", "exec", "--failed"], &["failed execs"]),
        (&["--kind", "open"], &["opens"]),
        (&["--kind", "bpf"], &["bpf"]),
        (&["--kind", "tcp"], &["tcp"]),
        (&["--failed"], &["bpf", "failed execs", "opens", "tcp"]),
        (&[], &["bpf", "failed execs", "opens", "tcp"]),
    ];
    for (args, calls) in cases {
        let Some(()) = check(args, calls) else { return };
    }
}

#[test]
fn an_inventory_reads_descriptors_by_iterators() {
    if release() < (5, 9) {
        return not_checked("no iterator over programs before 5.9");
    }
    let Some(traced) = Traced::start(&["--kind", "bpf"]) else { return };
    // The first inventory begins after the trace is ready.
    sys::wait_until(|| {
        let programs = linked(inspector_of(traced.pid()).expect("it has one"));
        ["tt_files", "tt_tasks"].iter().all(|name| programs.contains(*name))
    });
    traced.stop();
}
