//! The options of a trace, and its COMMAND.

use crate::app::filter::{HOST_IDS, INNER_ID};
use crate::cli;
use crate::command::usage::{BadUsage, compile};
use anyhow::{Context, Result};
use rustix::process::Pid;
use std::path::PathBuf;
use std::time::Duration;
use tracetui_events::budget::Budget;
use tracetui_events::environment::Keeper;
use tracetui_events::filter::{Compiled, Filter, NoNames};
use tracetui_events::frame::host::Label;
use tracetui_host::procfs::{INITIAL_PID_NS, namespace};
use tracetui_live::LiveOptions;
use tracetui_live::command::{HeldCommand, Streams};
use tracetui_shared::id::{NsInum, Tgid};
use tracetui_shared::kind::KindSet;
#[derive(Default, Clone, Debug)]
pub(crate) struct TraceOptions {
    /// The options of the kernel side. Its capture filter lacks the COMMAND.
    pub live: LiveOptions,
    /// The interval of BPF inventories in tests.
    pub inventory: Option<Duration>,
    pub budget: Budget,
    /// The BTF file for offsets, if it is not the kernel's own BTF.
    pub btf: Option<PathBuf>,
    /// The filter options, as one expression.
    pub filter: String,
    /// Whether the filter compares names of processes.
    pub names: bool,
    /// The labels of a recording.
    pub labels: Vec<Label>,
    /// The COMMAND, held until all probes are attached. The pipeline restricts the output to its process tree. The kernel side does so
    /// too, unless it has another tree.
    pub command: Option<Tgid>,
    /// Whether tracetui sends signals, to the COMMAND or to its own job.
    pub signals: bool,
    /// The process id of the COMMAND in the form in which tracetui passes it to the kernel.
    pub command_pid: Option<Pid>,
}

#[derive(Debug)]
pub(crate) struct Request {
    pub filters: Compiled,
    pub(crate) held: Option<HeldCommand>,
    pub options: TraceOptions,
}

impl Request {
    /// Parses the options and forks the COMMAND. The fork comes first because the COMMAND would inherit limits, signal handlers and
    /// dropped privileges. If the options name no kinds, the kinds in `beside` are collected too.
    pub(crate) fn read(args: &cli::TraceArgs, run: &cli::Run, streams: Streams, beside: KindSet) -> Result<Request> {
        check_ids(&args.filters, namespace("/proc/self", "pid"))?;
        let mut filters = compile(&args.filters)?;
        let held = match run.command.as_slice() {
            [] => None,
            argv => Some(HeldCommand::start(argv, streams).context("cannot start the command")?),
        };
        if held.is_none() && !filters.aims {
            filters.kinds &= !KindSet::AIMED;
        }
        let kinds = if args.filters.kind.is_empty() { filters.kinds | beside } else { filters.kinds };
        let mut capture = filters.capture.clone();
        capture.capture.kinds = kinds.bits();
        let (rings, ring_size) = args.rings();
        let live = LiveOptions {
            ring_size,
            rings,
            kinds,
            failing: filters.failing,
            stacks: args.stacks(),
            environment: Keeper::new(args.env.unwrap_or_default()),
            fds: args.fds,
            identities: args.identity.unwrap_or(cli::Switch::On) == cli::Switch::On,
            writes: args.written,
            capture,
            way: args.probes,
            ..LiveOptions::default()
        };
        let options = TraceOptions {
            live,
            inventory: args.inventory,
            budget: Budget::new(args.memory().0),
            btf: args.btf.file.clone(),
            filter: filters.whole.text().to_owned(),
            names: filters.whole.compares(&["process"]),
            labels: Vec::new(),
            command: held.as_ref().map(HeldCommand::tgid),
            signals: held.is_some() || streams == Streams::Captured,
            command_pid: held.as_ref().and_then(HeldCommand::pid),
        };
        Ok(Request { filters, held, options })
    }
}

/// Whether this process is in another pid namespace than the host's. Without /proc, nothing is known.
pub(crate) fn is_inner(own: Option<NsInum>) -> bool {
    own.is_some_and(|own| own != INITIAL_PID_NS)
}

/// Refuses ids in another pid namespace than the host's: an id typed there is one of that namespace, and the probes compare the host's.
pub(crate) fn check_ids(filters: &cli::FilterArgs, own: Option<NsInum>) -> Result<(), BadUsage> {
    if !is_inner(own) {
        return Ok(());
    }
    let compares = |text: &&String| Filter::parse(text, &NoNames).is_ok_and(|filter| filter.compares(&HOST_IDS));
    let ids = [("pid", filters.pid.first()), ("tree", filters.tree.first())];
    let typed = ids.into_iter().chain([("filter", filters.filter.iter().find(compares))]);
    match typed.into_iter().find_map(|(name, text)| Some((name, text?))) {
        None => Ok(()),
        Some((name, text)) => Err(BadUsage(format!("--{name} {text}: {INNER_ID}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_of_another_pid_namespace_are_refused() {
        let filters = |pid: &[&str], tree: &[&str]| {
            let [pid, tree] = [pid, tree].map(|ids| ids.iter().map(|id| (*id).to_owned()).collect());
            cli::FilterArgs { pid, tree, ..cli::FilterArgs::default() }
        };
        let expressions = |filter: &[&str]| {
            let filter = filter.iter().map(|text| (*text).to_owned()).collect();
            cli::FilterArgs { filter, ..cli::FilterArgs::default() }
        };
        let inner = Some(NsInum(4_026_532_281));
        for (own, typed, refused) in [
            (inner, filters(&["2"], &[]), Some("--pid 2: ")),
            (inner, filters(&[], &["2,3"]), Some("--tree 2,3: ")),
            (inner, filters(&[], &[]), None),
            (inner, expressions(&["kind=exec", "err or tid=3"]), Some("--filter err or tid=3: ")),
            (inner, expressions(&["not ppid=1"]), Some("--filter not ppid=1: ")),
            (inner, expressions(&["tree=2 comm=sh"]), Some("--filter tree=2 comm=sh: ")),
            (inner, expressions(&["session=2"]), Some("--filter session=2: ")),
            (inner, expressions(&["killed_by.pid=2"]), Some("--filter killed_by.pid=2: ")),
            (inner, expressions(&["closer.pid=2"]), Some("--filter closer.pid=2: ")),
            (inner, expressions(&["peer.pid=2"]), Some("--filter peer.pid=2: ")),
            (inner, expressions(&["ns_pid=2"]), None),
            (Some(INITIAL_PID_NS), expressions(&["pid=2"]), None),
            (Some(INITIAL_PID_NS), filters(&["2"], &["3"]), None),
            // Without /proc, nothing is known.
            (None, filters(&["2"], &[]), None),
        ] {
            let said = check_ids(&typed, own).err().map(|error| error.to_string());
            match refused {
                Some(option) => assert!(said.is_some_and(|said| said.starts_with(option)), "{option}"),
                None => assert_eq!(said, None),
            }
        }
    }
}
