//! The frames before the first event.

use super::request::TraceOptions;
use std::collections::BTreeSet;
use tracetui_events::environment::Keeper;
use tracetui_events::frame::Batch;
use tracetui_events::frame::host::{Cgroup, HostFrame, Layout, ProcessSeed, Scanned, Trace};
use tracetui_host::clock;
use tracetui_host::machine::Machine;
use tracetui_host::own_id::own_tgid;
use tracetui_host::procfs::Scanner;
use tracetui_live::ProbeStatus;
use tracetui_shared::id::Tgid;
use tracetui_shared::record::task::TaskStart;
use tracetui_shared::time::BootNanos;

/// The frames that the pipeline needs before the first event.
pub(super) fn first_batch(
    options: &TraceOptions,
    machine: &Machine,
    probes: &[ProbeStatus],
    accounts: Vec<HostFrame>,
    cgroups: Vec<Cgroup>,
) -> Batch {
    let mut batch = Batch::default();
    let now = clock::now_boot();
    let trace = Trace {
        kinds: options.live.kinds.bits(),
        command: options.command.unwrap_or(Tgid(0)),
        filter: options.filter.clone(),
        labels: options.labels.clone(),
    };
    let layout = HostFrame::Layout(Layout::own());
    let host = [layout, HostFrame::Trace(trace), HostFrame::Host(machine.host()), HostFrame::Clock(clock::sample())];
    let probes = probes.iter().map(|probe| HostFrame::Probe(probe.frame()));
    let cgroups = cgroups.into_iter().map(HostFrame::Cgroup);
    for frame in host.into_iter().chain(probes).chain(accounts).chain(cgroups) {
        frame.push(now, &mut batch);
    }
    batch
}

/// What the scan of processes needs of the options.
pub(super) struct ProcessScan {
    pub(super) command: Option<Tgid>,
    pub(super) environment: Keeper,
    /// About the bytes of a batch.
    pub(super) size: usize,
}

/// Sends the running processes in batches. Call it after the attach, so that no process is missed.
///
/// If the kernel listed the processes at the attach, uses that list, with their parents. Later processes have a fork event, and
/// events of processes that have ended since are still to come.
///
/// With a COMMAND, only it and its ancestors have arguments, an environment and a directory: no event of the trace is about the others.
pub(super) fn scan_processes(scan: &ProcessScan, started: &[TaskStart], send: &mut dyn FnMut(Batch) -> bool) {
    let Ok(scanner) = Scanner::new() else { return };
    let scanner = scanner.with_environments(&scan.environment);
    let mut batch = Batch::default();
    let mut unread = 0;
    let kin = scan.command.filter(|_| !started.is_empty()).map(|command| line_of(command, started));
    let mut take = |mut seed: ProcessSeed| {
        // A copy of tracetui. Its first program shows its whole environment.
        if Some(seed.tgid) == scan.command {
            seed.env = None;
        }
        if kin.as_ref().is_some_and(|kin| !kin.contains(&seed.tgid)) {
            (seed.argv, seed.cwd, seed.env) = Default::default();
        }
        if scanner.unread() > unread {
            unread = scanner.unread();
            HostFrame::Scanned(Scanned { unread }).push(clock::now_boot(), &mut batch);
        }
        HostFrame::ProcessSeed(seed).push(clock::now_boot(), &mut batch);
        batch.len() < scan.size || send(std::mem::take(&mut batch))
    };
    if started.is_empty() {
        // If /proc cannot be listed, there are no processes.
        let _ = scanner.scan(|_| None, &mut take);
    }
    for process in started {
        if let Some(seed) = seed_of(process, &scanner)
            && !take(seed)
        {
            break;
        }
    }
    if !batch.is_empty() {
        send(batch);
    }
}

/// The processes of tracetui, its held COMMAND and the COMMAND's parent, which may end before the scan reaches them.
pub(super) fn own_processes(command: Tgid, environment: &Keeper, started: &[TaskStart]) -> Batch {
    let mut batch = Batch::default();
    let Ok(scanner) = Scanner::new() else { return batch };
    let scanner = scanner.with_environments(environment);
    let seed = |tgid: Tgid| match started.iter().find(|process| process.tgid == tgid.0) {
        Some(process) => seed_of(process, &scanner),
        None => scanner.process(tgid, |_| None),
    };
    // A copy of tracetui. Its first program shows its whole environment.
    let command = seed(command).map(|command| ProcessSeed { env: None, ..command });
    // The COMMAND's parent may be its monitor, which ends when the COMMAND does.
    let own = [own_tgid(), command.as_ref().map(|command| command.ppid)];
    let own = own.into_iter().flatten().collect::<BTreeSet<_>>().into_iter().filter_map(seed);
    for seed in own.chain(command) {
        HostFrame::ProcessSeed(seed).push(clock::now_boot(), &mut batch);
    }
    batch
}

/// A process and its ancestors.
fn line_of(process: Tgid, started: &[TaskStart]) -> BTreeSet<Tgid> {
    let mut line = BTreeSet::new();
    let mut next = Some(process);
    while let Some(tgid) = next.filter(|tgid| line.insert(*tgid)) {
        next = started.iter().find(|process| process.tgid == tgid.0).map(|process| Tgid(process.parent));
    }
    line
}

/// The seed of a process that the kernel listed; `None` if it has ended and is not found.
fn seed_of(process: &TaskStart, scanner: &Scanner) -> Option<ProcessSeed> {
    let (tgid, start) = (Tgid(process.tgid), BootNanos(process.start));
    let found = scanner.process(tgid, |_| Some(process.start)).filter(|seed| seed.start_exact);
    let bare = || ProcessSeed { tgid, start, start_exact: true, ..ProcessSeed::default() };
    let seed = found.or_else(|| (process.live != 0).then(bare))?;
    Some(ProcessSeed { ppid: Tgid(process.parent), parent_start: BootNanos(process.parent_start), ..seed })
}
