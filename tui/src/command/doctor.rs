//! `tracetui doctor`: for each probe, its attach point, or why it is not attached, what is missing, and the remedy.

use super::messages;
use super::selftest::SelfTest;
use super::trace::request::TraceOptions;
use super::trace::start::{attach, foreign_btf};
use crate::cli::{self, ReportFormat};
use rustix::thread::CapabilitySet;
use serde_json::{Value, json};
use std::fmt::{self, Write as _};
use std::io::{self, Write as _};
use std::path::Path;
use std::process::ExitCode;
use tracetui_events::filter::capture::CaptureFilter;
use tracetui_events::frame::host::Probe;
use tracetui_events::text::paint::{Look, Paint};
use tracetui_events::text::{json, without_codes};
use tracetui_host::confine::{Enforced, trial};
use tracetui_host::machine::{Lockdown, Machine, capability_names};
use tracetui_host::printed_symbols::Namer;
use tracetui_host::privilege::{self, Cause, Severity};
use tracetui_live::{LiveOptions, ProbeStatus, StartError};
use tracetui_shared::capture::test;
use tracetui_shared::kind::{Kind, KindSet, shows_most};

pub fn run(args: &cli::Doctor) -> io::Result<ExitCode> {
    let machine = Machine::read();
    let report = examine(&machine, args);
    let text = match args.format {
        ReportFormat::Text => report.text().into_bytes(),
        ReportFormat::Json => (report.json() + "\n").into_bytes(),
    };
    io::stdout().write_all(&text)?;
    Ok(ExitCode::from(report.exit_status()))
}

/// Tests every probe. Offsets come from the BTF file, if one is given.
fn examine<'a>(machine: &'a Machine, args: &cli::Doctor) -> Report<'a> {
    let btf = args.btf.file.as_deref();
    let mut causes = privilege::verdict(machine, btf.is_some());
    causes.extend(foreign_btf(btf));
    let mut report = Report {
        machine,
        names_addresses: machine.kptr_restrict == Some(2) && Namer::load().is_ok(),
        causes,
        probes: Vec::new(),
        seen: None,
        trial: None,
        paint: messages::paint(args.color),
    };
    if privilege::is_fatal(&report.causes) {
        return report;
    }
    // Fork before anything is attached. Otherwise the fork would count as tracetui's own.
    let selftest = if args.probe { SelfTest::new().ok() } else { None };
    let mut capture = CaptureFilter::NOTHING;
    let kinds = KindSet::PROBED;
    if let Some(selftest) = &selftest {
        capture.capture.kinds = kinds.bits();
        capture.capture.tests = test::TREE;
        capture.trees = vec![selftest.tgid];
    }
    let live = LiveOptions { kinds, stacks: KindSet::WITH_STACK, writes: true, capture, ..LiveOptions::default() };
    let options = TraceOptions { live, btf: btf.map(Path::to_owned), ..TraceOptions::default() };
    match attach(&options, || None) {
        Ok(mut live) => {
            report.probes = live.probes().iter().map(ProbeStatus::frame).collect();
            report.seen = selftest.map(|selftest| selftest.seen(&mut live));
        }
        Err(error) => report.causes.push(Cause {
            severity: Severity::Fatal,
            what: without_codes(&format!("{error:#}")),
            missing: None,
            remedy: match error.is::<StartError>() {
                true => "the kernel rejected the probes; please report this message".into(),
                false => "see the message above; if it names no remedy, please report it".into(),
            },
        }),
    }
    // If nothing can be traced, no privileges are given up.
    if !privilege::is_fatal(&report.causes) {
        report.trial = trial().ok();
    }
    report
}

#[derive(Clone, Debug, PartialEq)]
pub struct Report<'a> {
    pub machine: &'a Machine,
    /// Whether the kernel can be asked for the name of an address (`bpf_snprintf`, 5.13+).
    pub names_addresses: bool,
    pub causes: Vec<Cause>,
    /// The probes, in the order in which they were tried.
    pub probes: Vec<Probe>,
    /// The programs that were tested, and whether they reported all test events; `None` if no test event was made.
    pub seen: Option<Vec<(&'static str, bool)>>,
    /// What the kernel enforces on a trace, and its user id; `None` if unknown.
    pub trial: Option<(Enforced, u32)>,
    pub paint: Paint,
}

impl Report<'_> {
    pub fn kinds_without_probe(&self) -> Vec<Kind> {
        let serves = |probe: &Probe, kind: Kind| probe.kinds.contains(&(kind as u16)) && shows_most(&probe.name, kind);
        let works = |probe: &Probe| probe.attached && self.saw(probe) != Some(false);
        let served = |kind: Kind| self.probes.iter().any(|probe| works(probe) && serves(probe, kind));
        Kind::PROBED.into_iter().filter(|kind| !served(*kind)).collect()
    }

    /// Whether all test events came through a probe; `None` if none was made for it.
    fn saw(&self, probe: &Probe) -> Option<bool> {
        self.seen.as_ref()?.iter().find(|(name, _)| *name == probe.name).map(|(_, seen)| *seen)
    }

    /// The status to exit with: 0 if every kind has a working probe, else 1.
    pub fn exit_status(&self) -> u8 {
        u8::from(!self.kinds_without_probe().is_empty())
    }

    /// The text report: the machine, the causes, a line per probe followed by its reasons, the conclusion.
    pub fn text(&self) -> String {
        let mut out = String::new();
        // Writing into a String does not fail.
        let _ = self.write_text(&mut out);
        out
    }

    fn write_text(&self, out: &mut String) -> fmt::Result {
        let Machine { uname, lockdown, capabilities, kptr_restrict, .. } = self.machine;
        writeln!(out, "kernel        {} {}", messages::name(&uname.release), messages::name(&uname.machine))?;
        writeln!(out, "lockdown      {}", lockdown.map_or("unknown", Lockdown::name))?;
        writeln!(out, "capabilities  {}", self::capabilities(*capabilities))?;
        if *kptr_restrict == Some(2) {
            let names = if self.names_addresses { "function names from the kernel" } else { "no function names" };
            writeln!(out, "addresses     hidden even from root (kernel.kptr_restrict=2); stacks have {names}")?;
        }
        if let Some((Enforced { writes, calls }, user)) = self.trial {
            let calls = match calls {
                true => "system calls limited (seccomp)",
                false => "any system call: the kernel has no seccomp filters",
            };
            let writes = match writes {
                true => "writes only to recordings (Landlock)",
                false => "writes limited only by modes: the kernel has no Landlock (5.13+), or it is turned off",
            };
            writeln!(out, "\nwhile tracing: user {user}; {calls}; {writes}")?;
        }
        for cause in &self.causes {
            let (look, weight) = match cause.severity {
                Severity::Fatal => (Look::Bad, "cannot trace"),
                Severity::Partial => (Look::Notice, "limited"),
            };
            writeln!(out, "\n{}: {}", self.paint.text(look, weight), messages::name(&cause.what))?;
            self.below(out, 4, "remedy", &cause.remedy)?;
        }
        if !self.probes.is_empty() {
            out.push('\n');
        }
        let kinds: Vec<String> = self.probes.iter().map(|probe| kinds(probe).replace(',', " ")).collect();
        let name_width = self.probes.iter().map(|probe| probe.name.chars().count()).max().unwrap_or(0);
        let kinds_width = kinds.iter().map(String::len).max().unwrap_or(0);
        for (probe, kinds) in self.probes.iter().zip(&kinds) {
            let (look, state) = match (probe.attached, self.saw(probe)) {
                (false, _) => (Look::Notice, "not attached"),
                (true, None) => (Look::Good, "attached    "),
                (true, Some(true)) => (Look::Good, "seen        "),
                (true, Some(false)) => (Look::Bad, "not seen    "),
            };
            let name = messages::name(&probe.name);
            let state = self.paint.text(look, state);
            let line = format!("{name:name_width$}  {kinds:kinds_width$}  {state}  {}", messages::name(&probe.how));
            writeln!(out, "{}", line.trim_end())?;
            self.reasons(out, probe, name_width + 2)?;
        }
        let without: Vec<_> = self.kinds_without_probe().into_iter().map(Kind::name).collect();
        match without.as_slice() {
            [] => writeln!(out, "\n{}", self.paint.text(Look::Good, "every kind has a working probe")),
            without => {
                let without = format!("no working probe for: {}", without.join(" "));
                writeln!(out, "\n{}", self.paint.text(Look::Bad, &without))
            }
        }
    }

    fn reasons(&self, out: &mut String, probe: &Probe, indent: usize) -> fmt::Result {
        if let Some(why) = &probe.why {
            self.below(out, indent, "why", why)?;
        }
        if !probe.attached && !probe.missing.is_empty() {
            self.below(out, indent, "missing", &probe.missing)?;
        }
        match &probe.remedy {
            Some(remedy) => self.below(out, indent, "remedy", remedy),
            None => Ok(()),
        }
    }

    /// A labelled reason below a line; the kernel's own words can be several lines.
    fn below(&self, out: &mut String, indent: usize, label: &str, text: &str) -> fmt::Result {
        let mut label = format!("{label}:");
        for line in text.trim().lines() {
            let label = self.paint.text(Look::Note, &format!("{:8}", std::mem::take(&mut label)));
            writeln!(out, "{:indent$}{label} {}", "", messages::name(line))?;
        }
        Ok(())
    }

    pub fn json(&self) -> String {
        let probes = self.probes.iter().map(|probe| probe_json(probe, self.saw(probe)));
        let Machine { uname, lockdown, capabilities, kptr_restrict, .. } = self.machine;
        json::ascii(&json!({
            "kernel": uname.release, "arch": uname.machine, "lockdown": lockdown.map(Lockdown::name),
            "capabilities": capabilities.map(|held| capability_names(held).collect::<Value>()),
            "kptr_restrict": kptr_restrict,
            "confinement": self.trial.map(|(Enforced { writes, calls }, user)| {
                json!({ "user": user, "seccomp": calls, "landlock": writes })
            }),
            "causes": self.causes.iter().map(cause_json).collect::<Value>(),
            "probes": probes.collect::<Value>(),
        }))
    }
}

fn cause_json(cause: &Cause) -> Value {
    json!({
        "fatal": cause.severity == Severity::Fatal, "what": cause.what, "missing": cause.missing,
        "remedy": cause.remedy,
    })
}

fn probe_json(probe: &Probe, seen: Option<bool>) -> Value {
    let mut object = json!({
        "name": probe.name, "kind": kinds(probe), "attached": probe.attached, "how": probe.how, "why": probe.why,
        "missing": (!probe.attached && !probe.missing.is_empty()).then_some(&probe.missing), "remedy": probe.remedy,
    });
    if let Some(seen) = seen {
        object["seen"] = seen.into();
    }
    object
}

/// The names of a probe's kinds, joined by commas; a kind that we do not know is its number.
fn kinds(probe: &Probe) -> String {
    let name = |kind: &u16| Kind::try_from(*kind).map_or_else(|unknown| unknown.0.to_string(), |k| k.name().to_owned());
    probe.kinds.iter().map(name).collect::<Vec<_>>().join(",")
}

/// Held capabilities as text: all, all but a few, or a list.
fn capabilities(held: Option<CapabilitySet>) -> String {
    let Some(held) = held else { return "unknown".to_owned() };
    let [names, lacked] = [held, !held].map(|set| capability_names(set).collect::<Vec<_>>());
    match (names.len(), lacked.len()) {
        (0, _) => "none".to_owned(),
        (_, 0) => "all".to_owned(),
        (held, lacked_count) if lacked_count < held => format!("all except {}", lacked.join(" ")),
        _ => names.join(" "),
    }
}

#[cfg(test)]
mod tests;
