//! The options of a trace, and its COMMAND.

use crate::cli;
use crate::command::usage::compile;
use anyhow::{Context, Result};
use rustix::process::Pid;
use std::path::PathBuf;
use tracetui_events::budget::Budget;
use tracetui_events::capture::CaptureFilter;
use tracetui_events::environment::Keeper;
use tracetui_events::filter::Compiled;
use tracetui_events::frame::host::Label;
use tracetui_live::Way;
use tracetui_live::command::{HeldCommand, Streams};
use tracetui_shared::id::Tgid;
use tracetui_shared::kind::KindSet;
#[derive(Clone, Debug)]
pub(crate) struct TraceOptions {
    /// Bytes of each ring, a power of two.
    pub ring_size: u32,
    /// The number of rings, a power of two.
    pub rings: u32,
    /// The preferred kind of attach points.
    pub way: Way,
    pub environment: Keeper,
    /// Whether execs have all descriptors below 64.
    pub fds: bool,
    /// Whether opens have the identity of the file.
    pub identities: bool,
    pub budget: Budget,
    pub kinds: KindSet,
    pub failing: KindSet,
    /// The kinds whose events include the kernel stack.
    pub stacks: KindSet,
    pub capture: CaptureFilter,
    /// The BTF file for offsets, if it is not the kernel's own BTF.
    pub btf: Option<PathBuf>,
    /// The filter options, as one expression.
    pub filter: String,
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
        let filters = compile(&args.filters)?;
        let held = match run.command.as_slice() {
            [] => None,
            argv => Some(HeldCommand::start(argv, streams).context("cannot start the command")?),
        };
        let kinds = if args.filters.kind.is_empty() { filters.kinds | beside } else { filters.kinds };
        let mut capture = filters.capture.clone();
        capture.capture.kinds = kinds.bits();
        let (rings, ring_size) = args.rings();
        let options = TraceOptions {
            ring_size,
            rings,
            way: args.probes.way(),
            budget: Budget::new(args.memory().0),
            kinds,
            failing: filters.failing,
            stacks: args.stacks(),
            environment: Keeper::new(args.env.unwrap_or_default().mode()),
            fds: args.fds,
            identities: args.identity.unwrap_or(cli::Switch::On) == cli::Switch::On,
            capture,
            btf: args.btf.file.clone(),
            filter: filters.whole.text().to_owned(),
            labels: Vec::new(),
            command: held.as_ref().map(HeldCommand::tgid),
            signals: held.is_some() || streams == Streams::Captured,
            command_pid: held.as_ref().and_then(HeldCommand::pid),
        };
        Ok(Request { filters, held, options })
    }
}
