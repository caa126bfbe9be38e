use super::*;

const ALL: Requested = Requested { kinds: KindSet::ALL, failing: KindSet::ALL, writes: true };

/// The programs of the best ways that can be preempted.
fn preempted(first: Way, preemptible: bool) -> Vec<&'static str> {
    let ways = order(first, preemptible);
    let best = |group: &Group| ways.into_iter().map(|way| group.in_way(way, ALL)).find(|probes| !probes.is_empty());
    let preempted = GROUPS.iter().filter_map(best).flatten();
    preempted.filter(|(probe, place)| probe.is_preemptible(place, preemptible)).map(|(probe, _)| probe.name).collect()
}

#[test]
fn what_is_not_asked_for_is_not_attached() {
    let of = |kinds: KindSet, failing: KindSet, way: Way| -> Vec<&str> {
        let probes = GROUPS.iter().flat_map(|group| group.in_way(way, Requested { kinds, failing, writes: false }));
        probes.map(|(probe, _)| probe.name).collect()
    };
    let wanted = |kinds: KindSet, way: Way| of(kinds, KindSet::ALL, way);
    assert_eq!(of(Kind::Exec.into(), KindSet::NONE, Way::Typed), ["sched_exit", "sched_exec", "sched_fork"]);
    assert_eq!(of(Kind::Exec.into(), KindSet::NONE, Way::Functions), ["sched_fork"]);
    assert_eq!(
        wanted(Kind::Exit.into(), Way::Typed),
        ["sched_exit", "signal_generate", "signal_deliver", "sched_exec", "sched_fork"]
    );
    assert_eq!(wanted(Kind::Exit.into(), Way::Classic), ["sched_exit", "sched_exec"]);
    assert_eq!(wanted(Kind::Exit.into(), Way::Functions), ["sched_fork"]);
    assert_eq!(wanted(Kind::Exec.into(), Way::Typed), ["sched_exit", "sched_exec", "sched_fork", "sys_exit"]);
    assert_eq!(wanted(Kind::Exec.into(), Way::Classic), ["sched_exit", "sched_exec", "exec_bprm", "sys_exit"]);
    assert_eq!(wanted(Kind::Exec.into(), Way::Functions), ["sched_fork", "sys_exit"]);
    assert_eq!(wanted(Kind::Bpf.into(), Way::Functions), ["sched_fork", "sys_exit", "bpf_xdp"]);
    assert_eq!(wanted(Kind::Open.into(), Way::Functions), ["sched_fork", "sys_exit"]);
    // Only the ends of requested calls are attached.
    let ends = |kinds: KindSet, failing| Requested { kinds, failing, writes: true }.ends();
    assert_eq!(ends(Kind::Exec.into(), KindSet::NONE), KindSet::NONE);
    let execs = ends(Kind::Exec.into(), KindSet::ALL);
    for arch in arch::ALL {
        let functions = Ends(Way::Functions).functions(arch, execs);
        assert!(functions.iter().all(|name| name.contains("_sys_execve")) && !functions.is_empty(), "{functions:?}");
        let tracepoints = Ends(Way::Classic).tracepoints(arch, execs);
        assert_eq!(tracepoints, ["sys_exit_execve", "sys_exit_execveat"]);
    }
    let tracepoints = Ends(Way::Classic).tracepoints(arch::ALL[1], Kind::Open.into());
    assert_eq!(tracepoints, ["sys_exit_openat", "sys_exit_openat2", "sys_exit_open_by_handle_at"]);
    // Every slot has its program in the table, and the best ways are not preempted.
    for slot in Slot::ALL {
        let programs = probes().filter(|probe| probe.name == slot.program());
        assert_eq!(programs.count(), 1, "{}", slot.program());
    }
    let place =
        |kind| GROUPS.iter().position(|group| group.probes.iter().any(|probe| probe.kinds() == KindSet::from(kind)));
    assert!(place(Kind::Exit) < place(Kind::Fork) && place(Kind::Exit).is_some(), "a process would not pair up");
    assert_eq!(preempted(Way::Auto, false), Vec::<&str>::new());
    assert_eq!(preempted(Way::Typed, false), Vec::<&str>::new());
    assert_eq!(preempted(Way::Auto, true), Vec::<&str>::new());
    let ways =
        [(Way::Classic, &["sys_exit"][..]), (Way::Typed, &["sched_fork", "sched_exec", "sched_exit", "sys_exit"])];
    for (way, programs) in ways {
        let preempted = preempted(way, true);
        assert!(programs.iter().all(|name| preempted.contains(name)), "{preempted:?}");
    }
}

/// The forms of a call for 32-bit callers have functions of their own, whose names begin with that of the call.
#[test]
fn each_form_of_a_call_is_in_the_table() {
    let symbols = std::fs::read_to_string("/proc/kallsyms").unwrap_or_default();
    let functions: BTreeSet<&str> = symbols.lines().filter_map(|line| line.split(' ').nth(2)).collect();
    for name in calls::ROWS.iter().flat_map(|row| ["_time32", "16", "64"].map(|form| format!("{}{form}", row.name))) {
        let has = |prefix| functions.contains(&*format!("__{prefix}_sys_{name}"));
        let is_known = calls::ROWS.iter().any(|row| row.name == name);
        assert!(is_known || !["ia32", "ia32_compat", "arm64", "arm64_compat"].into_iter().any(has), "{name}");
    }
}
