//! Functions that only the library offers: changes of the capture filter while events are captured, a tree with little
//! room, the exact starts of processes that are older than the trace.

use crate::forged;
use crate::prelude::*;
use crate::trees::Reused;
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::Ordering::SeqCst;
use tracetui::command::selftest::SelfTest;
use tracetui_events::account::Pairing;
use tracetui_events::account::{Account, ByKind};
use tracetui_events::environment::{EnvMode, Keeper};
use tracetui_events::event::{Body, Event};
use tracetui_events::filter::capture::CaptureFilter;
use tracetui_events::filter::{self, FilterOptions};
use tracetui_events::frame::host::Counters;
use tracetui_events::frame::{Batch, FrameRef};
use tracetui_live::inspector::InspectorIds;
use tracetui_live::{Begun, BtfOrigin, KernelFacts, Live, LiveOptions, Way};
use tracetui_shared::capture::{MAX_TREE, TICK_NS, test};
use tracetui_shared::counters::Reason;
use tracetui_shared::kind::{Kind, KindSet, Slot};
use tracetui_shared::record::tcp::op;

/// Longer than any operation takes, also on an emulated machine.
const PATIENCE: Duration = Duration::from_secs(60);

const CONNECTIONS: u32 = 8;

fn filter(options: FilterOptions) -> CaptureFilter {
    let kind = if options.kind.is_empty() { vec!["open".to_owned()] } else { options.kind.clone() };
    let options = FilterOptions { kind, ..options };
    options.compile(&filter::NoNames).expect("a good filter").capture
}

/// The probes for opens, with this filter; `None`, with a message, if they cannot be started.
fn start(capture: CaptureFilter, tree_size: u32) -> Option<Live> {
    start_by(Way::Auto, KindSet::of(&[Kind::Open, Kind::Exit]), capture, tree_size)
}

/// The number of rings on which the suite runs (`TRACETUI_RINGS`), which the program reads too.
fn rings() -> u32 {
    std::env::var("TRACETUI_RINGS").map_or(1, |text| text.parse().expect("TRACETUI_RINGS is a number"))
}

fn start_by(way: Way, kinds: KindSet, capture: CaptureFilter, tree_size: u32) -> Option<Live> {
    start_with(way, kinds, capture, tree_size, None)
}

fn start_with(
    way: Way,
    kinds: KindSet,
    capture: CaptureFilter,
    tree_size: u32,
    inspector: Option<InspectorIds>,
) -> Option<Live> {
    may_trace().then_some(())?;
    let btf = Btf::running().inspect_err(|error| cannot_run(&format!("the kernel's BTF: {error}"))).ok()?;
    let facts = KernelFacts::of(&btf, BtfOrigin::Kernel);
    let options = LiveOptions {
        ring_size: 16 << 20,
        rings: rings(),
        kinds,
        failing: KindSet::ALL,
        environment: Keeper::new(EnvMode::Names),
        // With them, up to 6.12 another 42,000 instructions, and before 6.9 another 60,000.
        fds: false,
        identities: true,
        writes: false,
        stacks: Kind::Bpf.into(),
        capture,
        tree_size,
        connections: CONNECTIONS,
        way,
        inspector,
    };
    let live = Live::start(&options, Begun::new(&options), &facts);
    live.inspect_err(|error| cannot_run(&error.to_string())).ok()
}

fn paths(live: &mut Live) -> BTreeMap<String, u64> {
    let mut batch = Batch::default();
    while live.drain(&mut batch, 1 << 20, BootNanos(u64::MAX)) {}
    let mut paths = BTreeMap::new();
    for frame in batch.frames() {
        if let Ok(Event { body: Body::Open(open), .. }) = Event::decode(&frame) {
            *paths.entry(String::from_utf8_lossy(open.path).into_owned()).or_default() += 1;
        }
    }
    paths
}

fn opens_counted(live: &Live) -> (u64, u64) {
    let slots = Slot::of_kind(Kind::Open);
    let cpus = live.counters();
    let of = |slot: Slot| cpus.iter().map(move |cpu| cpu.slots[slot as usize]);
    slots.flat_map(of).fold((0, 0), |(wanted, filtered), c| (wanted + c.wanted, filtered + c.filtered))
}

fn opens_skipped(live: &Live) -> u64 {
    let of_opens =
        |name: &str| live.probes().iter().any(|probe| probe.name == name && probe.kinds.contains(Kind::Open));
    live.skips().into_iter().filter(|(name, _)| of_opens(name)).map(|(_, times)| times).sum()
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Who {
    /// The root of a tree.
    Root,
    /// Its child, older than the trace.
    Child,
    /// Its grandchild, forked during the trace and orphaned at once.
    Orphan,
    /// The root of another tree, in its own cgroup if possible.
    Other,
    /// In no tree, and run by the user `nobody`.
    Stranger,
}

use Who::{Child, Orphan, Other, Root, Stranger};
const ALL: [Who; 5] = [Root, Child, Orphan, Other, Stranger];

/// A filter is in force in the odd phases, and changes in the even ones. The first phase is before the trace.
const PHASES: usize = 32;

/// The data that the processes share: the phase, and the number of opens of each process in each phase.
#[derive(Clone, Copy)]
struct Stage(Shared);

impl Stage {
    fn phase(&self) -> u64 {
        self.0.at(0).load(SeqCst)
    }

    fn opened(&self, who: Who, phase: usize) -> u64 {
        self.0.at(1 + who as usize * PHASES + phase).load(SeqCst)
    }

    fn path(who: Who, phase: u64) -> String {
        format!("/nowhere/{who:?} in phase {phase}")
    }

    fn act(&self, who: Who) {
        sys::set_comm(format!("tt-{who:?}").as_bytes());
        while self.act_once(who) {}
    }

    fn act_once(&self, who: Who) -> bool {
        // If the test was killed, its processes end too.
        let alive = self.phase() != END && self.0.at(LAST_SIGN).load(SeqCst).abs_diff(seconds()) < 60;
        if alive {
            let phase = self.phase();
            sys::open_path(&Stage::path(who, phase));
            self.0.at(1 + who as usize * PHASES + phase as usize).fetch_add(1, SeqCst);
            std::thread::sleep(Duration::from_millis(1));
        }
        alive
    }

    /// Begins a phase, and waits until each process has opened its file ten times. After that no process opens the file
    /// of the previous phase.
    fn begin(&self, phase: usize, who: &[Who]) {
        self.0.at(LAST_SIGN).store(seconds(), SeqCst);
        self.0.at(0).store(phase as u64, SeqCst);
        sys::wait_until(|| who.iter().all(|who| self.opened(*who, phase) >= 10));
    }
}

impl Drop for Curtain {
    fn drop(&mut self) {
        self.0.0.at(0).store(END, SeqCst);
    }
}

struct Curtain(Stage);

const END: u64 = u64::MAX;
/// The place at which the test reports that it still runs.
const LAST_SIGN: usize = 500;

/// The place at which the root reports the id of its child.
const CHILD: usize = 501;

fn seconds() -> u64 {
    boot_ns() / 1_000_000_000
}

fn boot_ns() -> u64 {
    sys::clock(libc::CLOCK_BOOTTIME)
}

/// Forks twice, so that the process that runs `act` loses its parent at once.
fn fork_orphan(act: impl FnOnce()) {
    sys::wait(fork(|| {
        fork(act);
    }));
}

/// Its id may belong to another process after its end.
#[test]
fn the_inspector_is_an_id_and_a_start() {
    alone();
    for (off, own) in [(0, true), (TICK_NS as i64, false), (-(TICK_NS as i64), false)] {
        let mut actor = Actor::new(|| vec![sys::open_path("/nowhere/of the id"), sys::open_path("/nowhere/of the id")]);
        let ticks = start_ticks(actor.pid).expect("it runs");
        let start = BootNanos((ticks * TICK_NS).saturating_add_signed(off));
        let ids = InspectorIds { pid: actor.pid as u32, tgid: Tgid(actor.pid as u32), start };
        let (kinds, all) = (KindSet::of(&[Kind::Open]), filter(FilterOptions::default()));
        let Some(mut live) = start_with(Way::Auto, kinds, all, MAX_TREE, Some(ids)) else { return };
        actor.go();
        assert_eq!(actor.end().1, [-i64::from(libc::ENOENT); 2]);
        assert_eq!(paths(&mut live).get("/nowhere/of the id"), (!own).then_some(&2), "{off} ns off");
    }
}

#[test]
fn a_filter_passes_the_events_of_its_processes_while_they_flow() {
    alone();
    let stage = Stage(Shared::new());
    stage.0.at(LAST_SIGN).store(seconds(), SeqCst);
    let _curtain = Curtain(stage);
    let cgroup = Cgroup::new("tracetui-live");
    if cgroup.is_none() {
        not_checked("--cgroup: no cgroup v2 hierarchy");
    }
    let mut root = Actor::new(move || {
        let child = fork(|| {
            stage.0.at(CHILD).store(sys::pid() as u64, SeqCst);
            stage.act(Child);
        });
        sys::wait_until(|| stage.phase() != 0);
        // Forked and orphaned under the first filter.
        fork_orphan(|| stage.act(Orphan));
        stage.act(Root);
        sys::wait(child);
        vec![]
    });
    let mut other = Actor::new(|| {
        if let Some(cgroup) = &cgroup {
            cgroup.enter();
        }
        stage.act(Other);
        vec![]
    });
    let mut stranger = Actor::new(move || {
        sys::set_user(NOBODY.into(), NOBODY.into(), NOBODY.into());
        stage.act(Stranger);
        vec![]
    });
    root.go();
    other.go();
    stranger.go();
    sys::wait_until(|| [Child, Other, Stranger].iter().all(|who| stage.opened(*who, 0) > 0));
    let child = stage.0.at(CHILD).load(SeqCst).to_string();
    let [root_pid, other_pid, stranger_pid] = [&root, &other, &stranger].map(|actor| actor.pid.to_string());
    let list = |items: &[&String]| items.iter().map(|item| (*item).clone()).collect::<Vec<_>>();
    let tree = |roots: &[&String]| FilterOptions { tree: list(roots), ..FilterOptions::default() };
    let none = FilterOptions::default;
    // The filters, and the processes whose events they pass.
    let mut filters = vec![
        (tree(&[&root_pid]), vec![Root, Child, Orphan]),
        // The orphan is a child of init by now.
        (tree(&[&root_pid, &other_pid]), vec![Root, Child, Other]),
        (tree(&[&root_pid, &child]), vec![Root, Child]),
        (FilterOptions { pid: list(&[&child, &stranger_pid]), ..none() }, vec![Child, Stranger]),
        (FilterOptions { comm: vec!["tt-O*".into()], ..none() }, vec![Orphan, Other]),
        (FilterOptions { uid: vec![NOBODY.to_string()], ..none() }, vec![Stranger]),
        (FilterOptions { kind: vec!["exit".into()], ..none() }, vec![]),
        (FilterOptions { failed: true, ..none() }, ALL.to_vec()),
        (FilterOptions { failed: true, tree: list(&[&root_pid]), ..none() }, vec![Root, Child]),
    ];
    if cgroup.is_some() {
        filters.push((FilterOptions { cgroup: vec!["/tracetui-live-*".into()], ..none() }, vec![Other]));
    }
    let all_cgroups = CgroupResolver::new().map(|cgroups| cgroups.seed()).unwrap_or_default();
    for (i, (options, wanted)) in filters.iter().enumerate() {
        let Some(mut live) = start(filter(options.clone()), MAX_TREE) else { return };
        live.name_all_cgroups(&all_cgroups).expect("the kernel takes them");
        let (phase, before, skipped) = (2 * i + 1, opens_counted(&live), opens_skipped(&live));
        stage.begin(phase, &ALL);
        let after = opens_counted(&live);
        // Each process opens the file of a phase until it has opened that of the next one.
        stage.begin(phase + 1, &ALL);
        let skipped = opens_skipped(&live) - skipped;
        live.detach();
        assert!(release() >= (7, 0) || skipped == 0, "nothing is skipped before 7.0: {skipped}");
        let seen = paths(&mut live);
        let shown = |who: Who| seen.get(&Stage::path(who, phase as u64)).copied().unwrap_or(0);
        // Of the others user space must decide: the id of the v2 hierarchy's root does not determine a path.
        let is_checked = |who: &Who| options.cgroup.is_empty() || *who == Other;
        let (passed, rejected): (Vec<Who>, Vec<Who>) =
            ALL.iter().filter(|who| is_checked(who)).partition(|who| wanted.contains(who));
        let opens: Vec<_> = passed.iter().map(|who| (*who, stage.opened(*who, phase), shown(*who))).collect();
        assert!(
            opens.iter().all(|(_, opened, shown)| shown <= opened),
            "(who, opened, shown) {opens:?} with {options:?}"
        );
        let missing = opens.iter().map(|(_, opened, shown)| opened - shown).sum::<u64>();
        assert!(missing <= skipped, "{skipped} skipped, (who, opened, shown) {opens:?} with {options:?}");
        for who in &rejected {
            assert_eq!(shown(*who), 0, "{who:?} with {options:?}");
        }
        // Each process opened its file at least ten times.
        let counted = (after.0 - before.0 + skipped, after.1 - before.1 + skipped);
        let asked = options.kind.is_empty();
        assert!(!asked || counted.0 >= 10 * wanted.len() as u64, "{options:?}: {counted:?}");
        assert!(counted.1 >= 10 * rejected.len() as u64, "counted as filtered with {options:?}: {counted:?}");
    }
    stage.0.at(0).store(END, SeqCst);
    for actor in [root, other, stranger] {
        assert_eq!(actor.end().0.code(), Some(0));
    }
}

/// Verifying the programs takes most of the start, 1 to 2 ms for a thousand instructions that the verifier walks through.
/// It walks through those on every path; a fact that is kept in a register doubles all paths after it.
#[test]
fn starts_with_few_verified_instructions() {
    alone();
    let Some(live) = start_by(Way::Auto, KindSet::ALL, filter(FilterOptions::default()), MAX_TREE) else { return };
    let infos = fs::read_dir("/proc/self/fdinfo").expect("procfs").flatten();
    let texts = infos.filter_map(|info| fs::read_to_string(info.path()).ok());
    let mut verified = BTreeMap::new();
    for text in texts {
        let field = |name| text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
        // Links show the id of their program too, but not its instructions.
        if let (Some(id), Some(instructions)) = (field("prog_id:"), field("verified_insns:")) {
            let prog = forged::by_id(forged::PROG, id as u32);
            verified.insert(bpf::name(&prog), instructions);
        }
    }
    drop(live);
    if release() < (5, 16) {
        return not_checked("verified instructions: this kernel does not show them");
    }
    assert!(verified.len() >= 4, "verified instructions by program: {verified:?}");
    // 6.12 takes 108,000 with `preempt=full`, and less without. Before 6.9 the verifier walks through every iteration of a loop: 6.1
    // takes 331,000. On aarch64 the end of system calls takes 30,000 more (6.12: 129,000).
    let most = match release() >= (6, 9) {
        true if cfg!(target_arch = "aarch64") => 132_000,
        true => 110_000,
        // With two rings, as on `preempt=full`, 374,000.
        false => 380_000,
    };
    let sum: u64 = verified.values().sum();
    assert!(sum <= most, "{sum} verified instructions, at most {most} are permitted: {verified:?}");
}

#[test]
fn a_tree_without_room_says_so() {
    alone();
    const ROOM: u32 = 8;
    const BORN: usize = 20;
    let root = Actor::new(|| {
        let (mut parent, held) = std::io::pipe().expect("a pipe");
        let children: Vec<i32> = (0..BORN)
            .map(|number| {
                fork(|| {
                    sys::open_path(&format!("/nowhere/child {number}"));
                    // The child lives until its parent closes the pipe.
                    sys::close(held.as_raw_fd().into());
                    let _ = parent.read(&mut [0]);
                })
            })
            .collect();
        drop(held);
        for child in children {
            sys::wait(child);
        }
        sys::wait(fork(|| sys::open_path("/nowhere/late child")));
        vec![]
    });
    let tree = FilterOptions { tree: vec![root.pid.to_string()], ..FilterOptions::default() };
    let Some(mut live) = start(filter(tree), ROOM) else { return };
    root.run();
    live.detach();
    let paths = paths(&mut live);
    let shown = paths.keys().filter(|path| path.starts_with("/nowhere/child ")).count();
    assert_eq!(shown, ROOM as usize - 1, "the root has a place too: {paths:?}");
    assert_eq!(paths.get("/nowhere/late child"), Some(&1), "{paths:?}");
    let counters = Counters { last: true, cpus: live.counters(), ..Counters::default() };
    let account = Account::of(&counters, &ByKind::default(), Pairing::default(), KindSet::NONE);
    assert_eq!(account.tree_full as usize, BORN - shown);
    assert!(account.kind(Kind::Open).filtered as usize >= BORN - shown, "what they do is filtered: {account:?}");
}

fn opened_nowhere(live: &mut Live) -> Vec<String> {
    let all = paths(live).into_iter().filter(|(path, _)| path.starts_with("/nowhere/"));
    all.flat_map(|(path, times)| std::iter::repeat_n(path, times as usize)).collect()
}

fn of_the_tree() -> Vec<String> {
    let mut wanted = Reused::OPENED.map(str::to_owned).to_vec();
    wanted.sort_unstable();
    wanted
}

/// In another pid namespace the iterator does not list all processes. The /proc of this namespace does, with starts in
/// clock ticks.
#[test]
fn a_tree_is_its_processes_also_where_starts_are_known_to_the_tick() {
    alone();
    let reused = Reused::new();
    let root = reused.root();
    let shared = Shared::new();
    const READY: usize = 0;
    const STOP: usize = 1;
    const RIGHT: usize = 2;
    let wait_for = move |index: usize| sys::wait_until(|| shared.at(index).load(SeqCst) != 0);
    let mut tracer = Actor::new(move || {
        sys::unshare(libc::CLONE_NEWPID);
        let inside = fork(|| {
            let tree = FilterOptions { tree: vec![root.to_string()], ..FilterOptions::default() };
            let live = start(filter(tree), MAX_TREE);
            shared.at(READY).store(1 + u64::from(live.is_some()), SeqCst);
            let Some(mut live) = live else { return };
            assert!(live.take_started().is_empty(), "exact starts are not known");
            wait_for(STOP);
            live.detach();
            let opened = opened_nowhere(&mut live);
            if opened == of_the_tree() {
                shared.at(RIGHT).store(1, SeqCst);
            } else {
                eprintln!("{opened:?}");
            }
        });
        vec![i64::from(sys::wait(inside).0)]
    });
    tracer.go();
    wait_for(READY);
    if shared.at(READY).load(SeqCst) == 1 {
        return cannot_run("no probes in another pid namespace");
    }
    reused.act();
    reused.end();
    shared.at(STOP).store(1, SeqCst);
    let (status, numbers) = tracer.end();
    assert_eq!((status.code(), numbers), (Some(0), vec![0]));
    assert_eq!(shared.at(RIGHT).load(SeqCst), 1, "exactly the tree's opens");
}

struct Elder {
    actor: Actor,
    /// CLOCK_BOOTTIME in nanoseconds before and after its fork.
    born: [u64; 2],
    /// Field 22 of /proc/PID/stat: the start in clock ticks.
    start_ticks: u64,
}

impl Elder {
    fn new(act: impl FnOnce() -> Vec<i64>) -> Elder {
        let before = boot_ns();
        let actor = Actor::new(act);
        let born = [before, boot_ns()];
        let start_ticks = start_ticks(actor.pid).expect("it lives");
        Elder { actor, born, start_ticks }
    }

    /// Checks the start of the process: between the two times, and in the same tick as in /proc.
    fn check(&self, start_ns: u64) {
        assert!((self.born[0]..=self.born[1]).contains(&start_ns), "born within {:?}, not {start_ns}", self.born);
        assert_eq!(start_ns / tick_ns(), self.start_ticks, "as /proc has it, in ticks");
    }
}

/// Field 22 of /proc/PID/stat: the start in clock ticks.
fn start_ticks(pid: i32) -> Option<u64> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat).into_owned();
    stat[stat.rfind(')')? + 2..].split(' ').nth(22 - 3)?.parse().ok()
}

fn tick_ns() -> u64 {
    // SAFETY: sysconf(3) takes an integer.
    1_000_000_000 / unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as u64
}

#[test]
fn starts_before_the_trace_are_exact() {
    alone();
    // The processes start at different offsets within a tick. One executes another program before it ends.
    let mut elders: Vec<Elder> = (0..6)
        .map(|number| {
            std::thread::sleep(Duration::from_micros(3_700 * number));
            Elder::new(Vec::new)
        })
        .collect();
    elders.push(Elder::new(|| {
        become_program("/bin/true", &["true"]);
        vec![]
    }));
    let pids: Vec<String> = elders.iter().map(|elder| elder.actor.pid.to_string()).collect();
    let nothing = FilterOptions { pid: pids.clone(), ..FilterOptions::default() };
    let Some(mut live) = start(filter(nothing), MAX_TREE) else { return };
    let starts: HashMap<u32, u64> = live.take_started().iter().map(|process| (process.tgid, process.start)).collect();
    drop(live);
    for elder in &elders {
        let pid = elder.actor.pid as u32;
        elder.check(*starts.get(&pid).unwrap_or_else(|| panic!("{pid} is listed among {}", starts.len())));
    }
    // The starts of all other processes are those in /proc, unless the id was reused.
    let lived: Vec<(u32, u64)> = starts.iter().map(|(pid, start)| (*pid, *start)).collect();
    let compared = lived.iter().filter_map(|(pid, start)| Some((pid, start, start_ticks(*pid as i32)?)));
    let (same, other): (Vec<_>, Vec<_>) = compared.partition(|(_, start, ticks)| *start / tick_ns() == *ticks);
    assert!(same.len() > elders.len() && other.len() <= 1, "{} as in /proc, others: {other:?}", same.len());

    let Some(traced) = Traced::start(&["--kind", "exit", "--pid", &pids.join(",")]) else { return };
    let ended: Vec<(u64, u64, Elder)> = elders
        .into_iter()
        .map(|mut elder| {
            let before = boot_ns();
            elder.actor.go();
            let patience = Instant::now() + PATIENCE;
            // SAFETY: zero is valid for the integers of `siginfo_t`, and `info` is a live local. WNOWAIT leaves the
            // child waitable.
            while unsafe {
                let mut info: libc::siginfo_t = std::mem::zeroed();
                libc::waitid(libc::P_PID, elder.actor.pid as u32, &raw mut info, libc::WEXITED | libc::WNOWAIT)
            } != 0
            {
                assert!(Instant::now() < patience);
            }
            (before, boot_ns(), elder)
        })
        .collect();
    let (run, account) = traced.stop_with_account();
    for (before, after, elder) in &ended {
        let exit = run.one("exit", elder.actor.pid, |_| true);
        elder.check(n(&exit["start_ns"]));
        assert!((*before..=*after).contains(&n(&exit["ns"])), "{exit}");
        assert_eq!(n(&exit["dur_ns"]), n(&exit["ns"]) - n(&exit["start_ns"]), "{exit}");
    }
    assert_eq!(account["pairing"]["unpaired_exit"], 0, "each was known: {account}");
}

fn has_way(way: Way) -> bool {
    let symbols = || fs::read_to_string("/proc/kallsyms").expect("procfs");
    match way {
        // These need a helper (5.15+) and a link type (5.18+, CONFIG_FPROBE).
        Way::Classic => symbols().contains(" bpf_task_pt_regs\n"),
        Way::Functions => symbols().contains(" kprobe_multi_link_handler"),
        _ => true,
    }
}

#[test]
fn each_way_to_the_events_shows_them() {
    alone();
    for (way, how) in [(Way::Typed, "tp_btf"), (Way::Classic, "tracepoint"), (Way::Functions, "kretprobe.multi")] {
        let selftest = SelfTest::new().expect("a process");
        let mut capture = CaptureFilter::NOTHING;
        (capture.capture.kinds, capture.capture.tests) = (KindSet::PROBED.bits(), test::TREE);
        capture.trees = vec![selftest.tgid];
        let Some(mut live) = start_by(way, KindSet::PROBED, capture, MAX_TREE) else { return };
        let attached: Vec<_> = live.probes().iter().filter(|probe| probe.attached).cloned().collect();
        if !has_way(way) {
            println!("this kernel has no {way:?} way to opens");
        } else {
            assert!(
                attached.iter().any(|probe| probe.name == "sys_exit" && probe.how.starts_with(how)),
                "{way:?}: {:#?}",
                live.probes()
            );
        }
        let seen = selftest.seen(&mut live);
        for probe in &attached {
            assert!(
                !seen.contains(&(probe.name, false)),
                "{way:?}: {} is attached and shows nothing: {seen:?}",
                probe.name
            );
        }
    }
}

/// Each connection has two ends. The beginnings are reported without room too, the ends that are not are counted.
#[test]
fn connections_without_room_are_counted_once() {
    [0, 10].into_iter().for_each(without_room);
}

/// The last connections are still open when the trace ends.
fn without_room(still_open: usize) {
    const OPEN: usize = 20;
    alone();
    let capture = filter(FilterOptions { kind: vec!["tcp".to_owned()], ..FilterOptions::default() });
    let (mut ours, mut theirs) = UnixStream::pair().expect("a pair");
    let mut actor = Actor::new(move || {
        sys::unshare(libc::CLONE_NEWNET);
        net::up("lo");
        let server = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = server.local_addr().expect("its address");
        let open = || (TcpStream::connect(address).expect("it listens"), server.accept().expect("it came"));
        let mut all: Vec<_> = (0..OPEN).map(|_| open()).collect();
        all.drain(..OPEN - still_open);
        theirs.write_all(&[1]).expect("the test reads");
        theirs.read_exact(&mut [0]).expect("the test writes");
        vec![]
    });
    // After the fork: the actor would keep the programs attached.
    let Some(mut live) = start_by(Way::Auto, Kind::Tcp.into(), capture, MAX_TREE) else { return };
    let pid = actor.pid.unsigned_abs();
    actor.go();
    ours.read_exact(&mut [0]).expect("it writes");
    live.detach();
    ours.write_all(&[1]).expect("it reads");
    assert_eq!(actor.end().0.code(), Some(0));
    let mut batch = Batch::default();
    while live.drain(&mut batch, 1 << 20, BootNanos(u64::MAX)) {}
    let of = |wanted: u8| {
        let is = |frame: &FrameRef<'_>| match Event::decode(frame) {
            Ok(Event { body: Body::Tcp(tcp), .. }) => tcp.record.op == wanted && frame.header.tgid.0 == pid,
            _ => false,
        };
        batch.frames().filter(is).count()
    };
    let cpus = live.counters();
    let dropped = |reason: Reason| -> u64 {
        let slots = Slot::of_kind(Kind::Tcp);
        slots.flat_map(|slot| cpus.iter().map(move |cpu| cpu.slots[slot as usize].dropped[reason as usize])).sum()
    };
    let (no_room, closes) = (dropped(Reason::NoRoom), of(op::CLOSE));
    assert_eq!((of(op::CONNECT), of(op::ACCEPT)), (OPEN, OPEN));
    assert_eq!(dropped(Reason::Missed), 0, "none was missed");
    assert!(still_open > 0 || closes + no_room as usize == 2 * OPEN, "{closes} ends, {no_room} without room");
    assert!(no_room > 0, "there was room");
}
