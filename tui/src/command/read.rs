//! Recordings as input: `tracetui print FILE` and `tracetui info FILE`.

use super::print::{Flow, Printer};
use super::say::{charset, name, say};
use super::session;
use crate::account::Account;
use crate::cli::{self, ReportFormat};
use crate::event::EventContext;
use crate::filter::{Compiled, FilterOptions, Scratch};
use crate::frame::Batch;
use crate::frame::host::{Hole, HostFrame, Probe, Trace};
use crate::pipeline::{Disposition, Pipeline};
use crate::recording::reader::{self, Ending};
use crate::recording::{Item, Reader};
use crate::sink::{self, FormatName};
use crate::source::host::clock;
use crate::text::grouped;
use anyhow::{Context, Result, anyhow};
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::ExitCode;
use tracetui_shared::kind::{Kind, KindSet};
use tracetui_shared::time::BootNanos;

/// Prints the events of a recording.
///
/// # Errors
/// If it cannot be read, or the output cannot be written.
pub fn print(args: &cli::Print, file: &Path) -> Result<ExitCode> {
    let mut filters = session::compile(&args.trace.filters)?;
    let mut input = Input::open(file)?;
    let recorded = input.filter()?;
    if !filters.whole.names_kinds() {
        filters.kinds = recorded.kinds;
    }
    let mut scratch = (Scratch::default(), Scratch::default());
    let mut pipeline = Pipeline::default();
    pipeline.set_budget(crate::budget::Budget::new(args.trace.memory.0));
    let roots: Vec<_> = [recorded.whole.roots(), filters.whole.roots()].concat();
    pipeline.follow(&roots);
    let wanted = Box::new(move |seen: &EventContext<'_>| {
        recorded.passes_whole(seen, &mut scratch.0) && filters.passes_whole(seen, &mut scratch.1)
    });
    let sink = sink::to_writer(args.format, io::stdout());
    let mut printer = Printer::new(pipeline, sink, wanted, args.count);
    printer.set_zone(clock::local_offset_now_s());
    printer.set_charset(charset());
    let mut flow = Flow::Continue;
    while let Some(batch) = input.next()? {
        match batch {
            Next::State(state) => printer.restore(&state),
            Next::Frames(batch) => flow = printer.feed(batch)?,
        }
        if flow == Flow::Closed {
            return Ok(ExitCode::SUCCESS);
        }
    }
    printer.finish()?;
    let damaged = input.remarks();
    if !input.ended_early() {
        let account = printer.account();
        match args.format {
            FormatName::Json => say(account.json()),
            FormatName::Text | FormatName::Csv => say(account.line()),
        }
    }
    Ok(if damaged { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Shows what a recording contains.
///
/// # Errors
/// If it is none, or cannot be read.
pub fn info(args: &cli::Info) -> Result<ExitCode> {
    let mut input = Input::open(&args.file)?;
    let mut facts = Facts::default();
    let mut pipeline = Pipeline::default();
    while let Some(next) = input.next()? {
        match next {
            Next::State(state) => pipeline.restore(&state),
            Next::Frames(batch) => {
                facts.take(&batch);
                pipeline.feed(batch);
                pipeline.release(&mut |seen, _| facts.event(seen));
            }
        }
    }
    pipeline.finish(&mut |seen, _| facts.event(seen));
    input.remarks();
    let text = match args.format {
        ReportFormat::Text => facts.text(&input, &pipeline),
        ReportFormat::Json => facts.json(&input, &pipeline),
    };
    io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// A recording that is read from its start.
struct Input {
    reader: Reader<Box<dyn Read>>,
    name: String,
    holes: Vec<reader::Hole>,
    /// Read ahead for [`Self::trace`].
    first: Option<Next>,
    started: bool,
    /// The frames after an early end were reported as missing.
    cut: bool,
}

/// What the pipeline takes.
enum Next {
    /// For a pipeline that took nothing yet.
    State(Batch),
    Frames(Batch),
}

impl Input {
    fn open(file: &Path) -> Result<Input> {
        let name = name(file);
        let input: Box<dyn Read> = match cli::is_stream(file) {
            true => Box::new(io::stdin()),
            false => Box::new(open_file(file, &name)?),
        };
        let reader = Reader::new(input).map_err(|error| anyhow!("{name}: {error}"))?;
        Ok(Input { reader, name, holes: Vec::new(), first: None, started: false, cut: false })
    }

    /// The filter and the kinds that were recorded. Names of users are those of the recording.
    fn filter(&mut self) -> Result<Compiled> {
        let trace = self.trace()?;
        let mut start = Pipeline::default();
        match &self.first {
            Some(Next::Frames(batch)) => start.feed(batch.clone()),
            Some(Next::State(state)) => start.restore(state),
            None => {}
        }
        let text = Some(trace.filter.clone()).filter(|text| !text.is_empty());
        let options = FilterOptions { filter: text.into_iter().collect(), ..FilterOptions::default() };
        let compiled = options.compile(start.world());
        let compiled = compiled.map_err(|error| anyhow!("{}: its filter: {}", self.name, error.render()))?;
        Ok(Compiled { kinds: trace.kinds(), ..compiled })
    }

    /// The options of the trace, which are in its first frames.
    fn trace(&mut self) -> Result<Trace> {
        self.first = self.next()?;
        let Some(Next::State(batch) | Next::Frames(batch)) = &self.first else { return Ok(no_trace()) };
        let trace = batch.frames().find_map(|frame| match HostFrame::decode(&frame) {
            Some(HostFrame::Trace(trace)) => Some(trace),
            _ => None,
        });
        Ok(trace.unwrap_or_else(no_trace))
    }

    fn next(&mut self) -> Result<Option<Next>> {
        if let Some(first) = self.first.take() {
            return Ok(Some(first));
        }
        loop {
            let item = self.reader.next().with_context(|| format!("cannot read {}", self.name))?;
            let fresh = !std::mem::replace(&mut self.started, true);
            match item {
                Some(Item::Batch(batch)) => return Ok(Some(Next::Frames(batch))),
                Some(Item::State(state)) if fresh => return Ok(Some(Next::State(state))),
                Some(Item::State(_) | Item::End(_)) => {}
                Some(Item::Hole(hole)) => {
                    self.holes.push(hole);
                    return Ok(Some(Next::Frames(missing(hole.bytes))));
                }
                None if self.ended_early() && !std::mem::replace(&mut self.cut, true) => {
                    return Ok(Some(Next::Frames(missing(0))));
                }
                None => return Ok(None),
            }
        }
    }

    /// Says what could not be read; whether that was damage, not only an early end.
    fn remarks(&self) -> bool {
        for hole in &self.holes {
            say(format_args!(
                "{}: {} bytes at offset {} cannot be read: {}",
                self.name, hole.bytes, hole.offset, hole.why
            ));
        }
        if let Some(Ending::Early(at)) = self.reader.ending() {
            say(format_args!("{}: ends early, at offset {at}: the trace was killed, or is still running", self.name));
        }
        !self.holes.is_empty()
    }

    fn ended_early(&self) -> bool {
        matches!(self.reader.ending(), Some(Ending::Early(_)))
    }

    fn complete(&self) -> bool {
        self.reader.ending() == Some(Ending::Complete)
    }
}

fn open_file(file: &Path, name: &str) -> Result<File> {
    File::open(file).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            anyhow!("{name}: no such recording; to trace a command, write -- before it: -- {name}")
        }
        _ => anyhow!("cannot open {name}: {error}"),
    })
}

/// A frame that says that others are missing.
fn missing(bytes: u64) -> Batch {
    let mut batch = Batch::default();
    HostFrame::Hole(Hole { bytes }).push(BootNanos(0), &mut batch);
    batch
}

fn no_trace() -> Trace {
    Trace { kinds: KindSet::ALL.bits(), command: tracetui_shared::id::Tgid(0), filter: String::new() }
}

/// What `info` shows.
#[derive(Default)]
struct Facts {
    probes: Vec<Probe>,
    trace: Option<Trace>,
    first_ns: Option<i128>,
    last_ns: Option<i128>,
}

impl Facts {
    fn take(&mut self, batch: &Batch) {
        for frame in batch.frames() {
            match HostFrame::decode(&frame) {
                Some(HostFrame::Probe(probe)) => self.probes.push(probe),
                Some(HostFrame::Trace(trace)) => self.trace = Some(trace),
                _ => {}
            }
        }
    }

    fn event(&mut self, seen: &EventContext<'_>) -> Disposition {
        let time = i128::from(seen.event.header.time.0) + i128::from(seen.clock_offset);
        self.first_ns.get_or_insert(time);
        self.last_ns = Some(time);
        Disposition::Delivered
    }

    fn text(&self, input: &Input, pipeline: &Pipeline) -> String {
        let host = pipeline.world().host();
        let account = pipeline.account();
        let clean = |text: &str| crate::text::escaped(text.as_bytes(), crate::text::Mode::Screen).into_owned();
        let mut out = String::new();
        let mut line = |title: &str, text: &str| out.push_str(&format!("{title:9} {text}\n"));
        line("format", &format!("ttr {}", input.reader.header().version));
        line("host", &clean(&host.name));
        line("kernel", &clean(&format!("{} {}", host.kernel, host.arch)));
        line("start", &self.time(self.first_ns));
        line("end", &self.time(self.last_ns));
        line("complete", if input.complete() { "yes" } else { "no: it ends early" });
        line("events", &events(&account));
        line("lost", &grouped(account.sum().lost.sum()));
        let filter = self.trace.as_ref().map(|trace| clean(&trace.filter)).filter(|filter| !filter.is_empty());
        line("filter", filter.as_deref().unwrap_or("none"));
        let failed = self.probes.iter().filter(|probe| !probe.attached);
        let failed: Vec<_> = failed.map(|probe| clean(&probe.name)).collect();
        let attached = self.probes.len() - failed.len();
        let without = if failed.is_empty() { String::new() } else { format!("; not attached: {}", failed.join(" ")) };
        line("probes", &format!("{attached} attached{without}"));
        line("size", &format!("{} bytes in {} blocks", grouped(input.reader.offset()), grouped(input.reader.blocks())));
        out
    }

    fn time(&self, ns: Option<i128>) -> String {
        ns.map_or_else(
            || "-".to_owned(),
            |ns| {
                let mut text = Vec::new();
                crate::text::time::rfc3339(ns, &mut text);
                String::from_utf8(text).unwrap_or_default()
            },
        )
    }

    fn json(&self, input: &Input, pipeline: &Pipeline) -> String {
        let host = pipeline.world().host();
        let account = pipeline.account();
        let text = |text: &str| crate::text::json::ascii(text);
        let time = |ns: Option<i128>| ns.map_or_else(|| "null".to_owned(), |ns| format!("\"{}\"", self.time(Some(ns))));
        let early = match input.reader.ending() {
            Some(Ending::Early(at)) => at.to_string(),
            _ => "null".to_owned(),
        };
        let events = Kind::PROBED.map(|kind| format!("{}:{}", text(kind.name()), account.kind(kind).delivered));
        let probes = self
            .probes
            .iter()
            .map(|probe| format!(r#"{{"name":{},"attached":{}}}"#, text(&probe.name), probe.attached));
        let account_json = account.object();
        format!(
            "{{\"format\":\"ttr\",\"version\":{},\"host\":{},\"boot_id\":{},\"kernel\":{},\"arch\":{},\"start\":{},\"end\":{},\
             \"complete\":{},\"ended_early_at\":{early},\"events\":{{{}}},\"account\":{account_json},\"probes\":[{}],\"filter\":{},\
             \"bytes\":{},\"blocks\":{}}}\n",
            input.reader.header().version,
            text(&host.name),
            text(&host.boot_id),
            text(&host.kernel),
            text(&host.arch),
            time(self.first_ns),
            time(self.last_ns),
            input.complete(),
            events.join(","),
            probes.collect::<Vec<_>>().join(","),
            text(self.trace.as_ref().map_or("", |trace| &trace.filter)),
            input.reader.offset(),
            input.reader.blocks(),
        )
    }
}

fn events(account: &Account) -> String {
    let kinds = Kind::PROBED.map(|kind| format!("{} {}", kind.name(), grouped(account.kind(kind).delivered)));
    format!("{} ({})", grouped(account.sum().delivered), kinds.join(" "))
}
