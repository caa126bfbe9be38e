//! The start of a trace: the attach and the threads.

use super::first_frames::{ProcessScan, first_batch, own_processes, scan_processes};
use super::remarks::size_of_memory;
use super::request::TraceOptions;
use crate::cli::size::ByteSize;
use crate::command::messages::name;
use anyhow::{Context, Result, anyhow, bail};
use std::path::Path;
use tracetui_events::event::connects;
use tracetui_events::frame::Batch;
use tracetui_host::btf::{Btf, BtfError};
use tracetui_host::cgroup::{CgroupResolver, NoHierarchy};
use tracetui_host::confine::{Role, STARTING, enter, hold};
use tracetui_host::container::Containers;
use tracetui_host::machine::Machine;
use tracetui_host::priority::{give_up_raised, main_takes, raise_priority};
use tracetui_host::privilege::{self, Cause, Severity};
use tracetui_host::procfs::has_named_cgroups;
use tracetui_host::users::Accounts;
use tracetui_inspect::Sockets;
use tracetui_live::engine::LiveSource;
use tracetui_live::feed::{Feed, Scan};
use tracetui_live::inspector::{Inspector, InspectorIds};
use tracetui_live::reason_lookup::Threads;
use tracetui_live::root_cgroup;
use tracetui_live::{Begun, BtfOrigin, KernelFacts, Live, NO_THREAD, ProbeStatus, Way};
use tracetui_shared::capture::test;
use tracetui_shared::kind::{Kind, KindSet, shows_most};
#[derive(Debug)]
pub(crate) struct Session {
    pub feed: Feed,
    pub ready: String,
    /// Notes about missing probes and the machine's restrictions, one line each.
    pub notes: Vec<String>,
    /// Starts threads that look up why calls failed.
    pub lookups: Threads,
}

/// Attaches the probes and starts reading. An error has every cause with its remedy, one line each.
pub(crate) fn start(options: &TraceOptions) -> Result<Session> {
    let machine = Machine::read();
    let mut causes = privilege::verdict(&machine, options.btf.is_some());
    causes.extend(foreign_btf(options.btf.as_deref()));
    if privilege::is_fatal(&causes) {
        let fatal = causes.iter().filter(|cause| cause.severity == Severity::Fatal);
        bail!(fatal.map(ToString::to_string).collect::<Vec<_>>().join("\n"));
    }
    let unnamed = unnamed_cgroups(options)?;
    // The inspector follows.
    let exposed = root_cgroup::enter().err();
    // A busy machine must not delay the start.
    raise_priority();
    let mut inspector = (!(options.live.kinds & KindSet::LISTED).is_empty()).then(Inspector::start);
    let mut live = attach(options, || {
        let ids = inspector.as_mut()?.as_mut().ok()?.0.ids();
        ids.map_err(|error| inspector = Some(Err(error))).ok()
    })?;
    let mut notes: Vec<String> = causes.iter().map(ToString::to_string).chain(unnamed).chain(exposed).collect();
    // This thread needs privileges that the other threads drop. It keeps the raised priority: the start waits for it.
    live.open_streams_aside().context(NO_THREAD)?;
    let inspector = inspector.map(|started| {
        let (mut inspector, sockets) = started.map_err(|error| format!("cannot start the inspector: {error}"))?;
        inspector.begin(&live, options.inventory)?;
        sockets.keep_own().map_err(|error| format!("the inspector opens no sockets: {error}"))?;
        Ok((inspector, sockets))
    });
    let inspector = inspector.transpose().unwrap_or_else(|why: String| {
        notes.push(format!("BPF inventory: {why}; missing: programs attached without a system call of their own"));
        None
    });
    let (inspector, mut sockets) = inspector.unzip();
    if sockets.is_none() && options.live.kinds.iter().any(connects) {
        sockets = Some(Sockets::start().context(NO_THREAD)?);
    }
    // Do this before starting the threads that read data from other processes.
    hold(STARTING).context("cannot drop privileges")?;
    notes.extend(live.probes().iter().filter_map(note));
    notes.extend((options.live.way == Way::Functions).then(|| of_functions(live.probes()).to_owned()));
    notes.extend(live.unnamed_stacks().map(|why| format!("stacks: {why}; missing: function names")));
    let ready = ready_line(live.probes(), options);
    let mut cgroups = CgroupResolver::new().ok();
    if let Some(cgroups) = &mut cgroups {
        cgroups.set_budget(options.budget);
    }
    let containers = cgroups.as_ref().map(Containers::start).transpose();
    let mut containers = containers.context(NO_THREAD)?;
    let (mut known, all) = cgroups.as_ref().map_or((Vec::new(), true), CgroupResolver::tree);
    containers.iter_mut().for_each(|containers| containers.name_all(&mut known));
    if live.asks_for_cgroups() {
        if !all {
            let known = known.len();
            notes.push(format!("--cgroup: only {known} cgroups fit; others match from their next fork, exec or exit"));
        }
        live.name_all_cgroups(&known).context("--cgroup")?;
    }
    let mut accounts = Accounts::default();
    let mut first = vec![first_batch(options, &machine, live.probes(), accounts.changed(), known)];
    let starts = live.take_started();
    let budget = options.budget;
    let (command, environment) = (options.command, options.live.environment.clone());
    let processes = ProcessScan { command, environment, size: budget.batch() };
    let scan: Option<Scan> = match live.asks_for_cgroups() || options.names {
        // Only the scan finds the name of a process that a filter asks for and, if the v2 hierarchy is not in use, the cgroup. So
        // scan before any event.
        true => {
            let mut room = budget.processes();
            scan_processes(&processes, &starts, &mut |batch| {
                room = room.saturating_sub(batch.len());
                first.push(batch);
                room > 0
            });
            if room == 0 {
                notes.push(format!(
                    "--memory {} is too small: some running processes are unknown",
                    size_of_memory(budget)
                ));
            }
            None
        }
        false => {
            first.extend(command.map(|command| own_processes(command, &options.live.environment, &starts)));
            Some(Box::new(move |send: &mut dyn FnMut(Batch) -> bool| {
                give_up_raised();
                if enter(Role::Reader).is_ok() {
                    scan_processes(&processes, &starts, send);
                }
            }))
        }
    };
    if let Some(cgroups) = &mut cgroups {
        cgroups.open_aside().context(NO_THREAD)?;
    }
    let lookups = Threads::start(sockets).context(NO_THREAD)?;
    let source = LiveSource::new(live, inspector, cgroups, containers, accounts, &first, budget);
    let feed = Feed::start(source, first, scan, budget).context(NO_THREAD)?;
    // Do this last, since threads inherit it.
    let role = Role::Main { signals: options.signals, command: options.command_pid };
    enter(role).context("cannot drop privileges")?;
    main_takes(0);
    Ok(Session { feed, ready, notes, lookups })
}

pub(crate) fn attach(options: &TraceOptions, inspector: impl FnOnce() -> Option<InspectorIds>) -> Result<Live> {
    let mut live_options = options.live.clone();
    let capture = &mut live_options.capture;
    if let Some(command) = options.command.filter(|_| capture.capture.tests & test::TREE == 0) {
        capture.capture.tests |= test::TREE;
        capture.trees = vec![command.0];
    }
    let (begun, facts) = std::thread::scope(|scope| {
        let begun = std::thread::Builder::new().spawn_scoped(scope, || Begun::new(&live_options));
        // Everything later that starts a thread would panic if it cannot. After `unshare -p` without `-f` no thread can start.
        let begun = begun.context(NO_THREAD)?;
        let facts = kernel_facts(options.btf.as_deref());
        anyhow::Ok((begun.join(), facts))
    })?;
    let begun = begun.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    let facts = facts?;
    live_options.inspector = inspector();
    let mut live = Live::start(&live_options, begun, &facts)?;
    live.freeze_capture()?;
    Ok(live)
}

/// The facts about the kernel that the probes need. They come from its own BTF, or as far as possible from a file.
fn kernel_facts(file: Option<&Path>) -> Result<KernelFacts> {
    let own = Btf::running().map(|btf| KernelFacts::of(&btf, BtfOrigin::Kernel));
    let facts = match (file, own) {
        (None, own) => own,
        (Some(file), Ok(own)) => Ok(file_facts(file)?.with_own(own)),
        (Some(file), Err(BtfError::NotInKernel)) => Ok(file_facts(file)?),
        (Some(_), Err(error)) => Err(error),
    };
    facts.map_err(|error| anyhow!("cannot use the kernel's BTF: {error}"))
}

fn file_facts(file: &Path) -> Result<KernelFacts> {
    let btf = Btf::from_file(file).map_err(|error| anyhow!("--btf {}: {error}", name(file)))?;
    Ok(KernelFacts::of(&btf, BtfOrigin::File))
}

/// Compares a BTF file with the kernel's own BTF. With another kernel's BTF, the probes attach but report wrong data or nothing.
pub(crate) fn foreign_btf(file: Option<&Path>) -> Option<Cause> {
    let facts = file_facts(file?).ok()?;
    let own = KernelFacts::of(&Btf::running().ok()?, BtfOrigin::File);
    let field = facts.differs_from(&own)?;
    Some(Cause {
        severity: Severity::Partial,
        what: format!("--btf does not match this kernel ({field} differs): events may be wrong or missing"),
        missing: None,
        remedy: "omit --btf: this kernel has its own BTF".to_owned(),
    })
}

/// A note if a filter asks for cgroups and some cgroups have no known path. Fails if no path is known, since no event would pass.
fn unnamed_cgroups(options: &TraceOptions) -> Result<Option<String>> {
    match CgroupResolver::new() {
        Err(why) if !options.live.capture.cgroups.is_empty() => without_v2(&why, has_named_cgroups()),
        _ => Ok(None),
    }
}

fn without_v2(why: &NoHierarchy, named: bool) -> Result<Option<String>> {
    let remedy = "mount it: mkdir /run/cgroup2 && mount -t cgroup2 none /run/cgroup2";
    match named {
        true => Ok(Some(format!("--cgroup: {why}: only name=systemd cgroups have paths; {remedy}"))),
        false => bail!("--cgroup: {why}, and no name=systemd hierarchy: cgroups have no paths; {remedy}"),
    }
}

/// `tracing: exec exit open bpf; ring 16 MiB`: the requested kinds with a working probe.
fn ready_line(probes: &[ProbeStatus], options: &TraceOptions) -> String {
    let shows = |probe: &ProbeStatus, kind| probe.kinds.contains(kind) && shows_most(probe.name, kind);
    let works = |kind: &Kind| probes.iter().any(|probe| probe.attached && shows(probe, *kind));
    let asked = (options.live.kinds & KindSet::PROBED).iter();
    let kinds: Vec<&str> = asked.filter(works).map(Kind::name).collect();
    let size = ByteSize(options.live.ring_size.into());
    let rings = match options.live.rings {
        1 => format!("ring {size}"),
        count => format!("{count} rings of {size}"),
    };
    format!("tracing: {}; {rings}", kinds.join(" "))
}

/// What `--probes functions` means on this kernel.
fn of_functions(probes: &[ProbeStatus]) -> &'static str {
    let serves = |probe: &ProbeStatus| probe.attached && probe.at_functions && !probe.optional;
    match probes.iter().any(serves) {
        true => {
            "--probes functions: calls that began before the trace, or that seccomp answers, are missing and not counted"
        }
        false => "--probes functions: this kernel cannot (it needs 5.18 and CONFIG_FPROBE); attached to tracepoints",
    }
}

fn note(probe: &ProbeStatus) -> Option<String> {
    let why = probe.why.as_ref()?;
    let remedy = probe.remedy.as_ref().map(|remedy| format!("; {remedy}"));
    match (probe.attached, remedy) {
        // Every such kernel misses the same events and there is no remedy, or each event shows it. `doctor` reports it.
        (true, None) => None,
        (false, _) if probe.optional => None,
        (true, Some(remedy)) => Some(format!("{}: {why}{remedy}", probe.name)),
        (false, remedy) => {
            Some(format!("{}: {why}; missing: {}{}", probe.name, probe.missing, remedy.unwrap_or_default()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cgroups_without_paths_are_refused_or_said() {
        let said = |named| without_v2(&NoHierarchy::NotMounted, named);
        assert!(said(true).is_ok_and(|note| note.is_some_and(|note| note.contains("only name=systemd"))));
        let refused = said(false).expect_err("nothing would pass").to_string();
        assert!(refused.starts_with("--cgroup: no cgroup v2 hierarchy is mounted, and no name=systemd"), "{refused}");
        assert!(refused.contains("; mount it: mkdir "), "{refused}");
    }
}
