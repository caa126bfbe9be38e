//! The facts about a program or an attachment, and its owner.

use crate::app::copy;
use crate::bpf_report::{hidden_text, not_attached, place_text};
use foldhash::HashSet;
use tracetui_events::bpf::{HeldBy, NotScanned, may_hide_place};
use tracetui_events::enrich::World;
use tracetui_events::enrich::bpf::Rate;
use tracetui_events::event::names;
use tracetui_events::frame::host::{BpfAttachment, BpfHidden, BpfHolder, BpfHolders, BpfProgram};
use tracetui_events::frame::state::BpfDoer;
use tracetui_events::text::{self, Charset, counted};
use tracetui_shared::id::{LinkId, ProgId, Tgid};
use tracetui_shared::time::BootNanos;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Key {
    /// A hidden program or link, by its number.
    Hidden(usize),
    Attachment(u32),
    /// A program without an attachment.
    Program(ProgId),
    /// What several programs or attachments have in common.
    Owner(Owned),
}

/// Who keeps a program loaded, or else made it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Owner {
    Process(Tgid),
    /// Only pins hold it, or nothing does.
    NoProcess,
    /// It belongs to tracetui.
    This,
    /// It is hidden. The number is that of its key.
    Hidden(usize),
}

/// The owner of loaded programs, or of unloaded ones.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Owned {
    pub by: Owner,
    pub gone: bool,
}

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen<'a> {
    /// The program; 0 if unknown.
    pub id: ProgId,
    pub program: Option<&'a BpfProgram>,
    pub attachment: Option<&'a BpfAttachment>,
    pub hidden: Option<&'a BpfHidden>,
    /// When it was unloaded or detached.
    pub gone: Option<BootNanos>,
    /// Whether it appeared after the start of the trace.
    pub new: bool,
    /// The holders of the link, and the holders of the program.
    pub held: [Option<&'a BpfHolders>; 2],
    /// Who made the attachment, and who loaded the program, if an event showed that.
    pub by: [Option<&'a BpfDoer>; 2],
    /// Its current run rate, if runs are counted.
    pub rate: Option<Rate>,
    pub all_seen: bool,
    /// Whether it appeared after the last inventory began, or no inventory contained it.
    pub unlooked: bool,
}

/// `comm[pid]`, escaped.
pub(crate) fn process(comm: &[u8], pid: Tgid, charset: Charset) -> String {
    format!("{}[{}]", text::value_in(comm, charset, 64), pid.0)
}

/// Whether only events mention a program: no inventory contained it.
fn is_of_events(program: &BpfProgram) -> bool {
    program.xlated_len == 0
}

impl<'a> Seen<'a> {
    /// `None` if the subject did not exist yet at the moment, or no longer exists.
    pub(super) fn of(key: Key, moment: Option<BootNanos>, world: &'a World) -> Option<Seen<'a>> {
        let later = |time: BootNanos| moment.is_some_and(|moment| time > moment);
        let bpf = &world.bpf;
        let program = |id: ProgId| {
            let gone = || bpf.gone_program(id).map(|gone| (&gone.facts, Some(gone.at), gone.held.as_ref()));
            bpf.program(id).map(|program| (program, None, bpf.holders_of_program(id))).or_else(gone)
        };
        let base = |id: ProgId| {
            let known = program(id).filter(|_| id.0 != 0);
            let held = [None, known.and_then(|(.., held)| held)];
            let rate = bpf.rate(id).filter(|_| moment.is_none());
            let program = known.map(|(program, ..)| program);
            let by = [None, bpf.loader(id)];
            let prog_type = program.map_or(0, |program| program.prog_type);
            let all_seen = bpf.unseen().iter().all(|text| !may_hide_place(text, prog_type))
                && bpf.hidden.iter().all(|hidden| hidden.id != id);
            let unlooked =
                bpf.last_inventory().zip(program).is_some_and(|(taken, program)| program.loaded > taken.from);
            Seen { id, program, held, by, rate, all_seen, unlooked, ..Seen::default() }
        };
        match key {
            Key::Owner(_) => None,
            Key::Hidden(at) => {
                let hidden = bpf.hidden.get(at)?;
                Some(Seen { hidden: Some(hidden), ..base(hidden.id) })
            }
            Key::Attachment(key) => {
                let gone = || bpf.gone_attachment(key).map(|gone| (&gone.facts, Some(gone.at), gone.held.as_ref()));
                let link = |facts: &BpfAttachment| bpf.holders_of_link(facts.link).filter(|_| facts.link != LinkId(0));
                let (facts, at, held) = bpf.attachment(key).map(|facts| (facts, None, link(facts))).or_else(gone)?;
                let base = base(facts.program);
                let gone = at.filter(|at| !later(*at));
                let rate = base.rate.filter(|_| gone.is_none());
                let new = facts.came.0 != 0;
                let (held, by) = ([held, base.held[1]], [bpf.attacher(facts), base.by[1]]);
                (!later(facts.came)).then_some(Seen { attachment: Some(facts), gone, new, held, by, rate, ..base })
            }
            Key::Program(id) => {
                let (facts, at, _) = program(id)?;
                let new = facts.loaded > world.processes.state.since;
                let gone = at.filter(|at| !later(*at));
                let base = base(id);
                let rate = base.rate.filter(|_| gone.is_none());
                let unlooked = base.unlooked || at.is_some() && is_of_events(facts);
                (!later(facts.loaded)).then_some(Seen { gone, new, rate, unlooked, ..base })
            }
        }
    }

    pub(crate) fn own(&self) -> bool {
        self.program.is_some_and(|program| program.own)
    }

    pub(crate) fn type_name(&self) -> &'static str {
        match self.program {
            _ if self.hidden.is_some() => "HIDDEN",
            Some(program) => names::prog_type(program.prog_type).unwrap_or("unknown"),
            None => "-",
        }
    }

    pub(crate) fn name(&self) -> &'a [u8] {
        match (self.hidden, self.program) {
            (Some(hidden), _) if !hidden.name.is_empty() => &hidden.name,
            (_, Some(program)) if !program.name.is_empty() => &program.name,
            _ => b"-",
        }
    }

    /// Where it is attached, escaped.
    pub(crate) fn target(&self, charset: Charset) -> String {
        if let Some(hidden) = self.hidden {
            let BpfHidden { link, seen_by, missing_in, .. } = hidden;
            let link = if link.0 == 0 { String::new() } else { format!("link {}: ", link.0) };
            return format!("{link}in {}, but not in {}", seen_by.name(), missing_in.name());
        }
        match self.attachment {
            Some(attachment) => place_text(attachment, charset),
            None if self.gone.is_some() => "unloaded".to_owned(),
            None if self.unlooked => "not checked yet".to_owned(),
            None => not_attached(self.program.map_or(0, |program| program.prog_type), self.all_seen).to_owned(),
        }
    }

    fn holders(&self) -> impl Iterator<Item = &'a BpfHolder> {
        self.held.iter().flatten().flat_map(|all| &all.holders)
    }

    /// A process that holds it, otherwise a pin.
    fn holder(&self) -> Option<&'a BpfHolder> {
        self.holders().find(|holder| holder.by != HeldBy::Pin).or_else(|| self.holders().next())
    }

    /// The process that holds it; the largest number if none is known.
    pub(super) fn holder_id(&self) -> Tgid {
        self.holder().map_or(Tgid(u32::MAX), |holder| holder.pid)
    }

    pub(super) fn owned(&self, key: Key) -> Owned {
        let by = match (key, self.holder()) {
            (Key::Hidden(at), _) => Owner::Hidden(at),
            _ if self.own() => Owner::This,
            (_, Some(holder)) if holder.by == HeldBy::Pin => Owner::NoProcess,
            (_, Some(holder)) => Owner::Process(holder.pid),
            (_, None) => self.by.iter().flatten().next().map_or(Owner::NoProcess, |by| Owner::Process(by.tgid)),
        };
        Owned { by, gone: self.gone.is_some() }
    }

    /// The holder in short, escaped: a process or a pin. Without holders, the process that made it.
    pub(crate) fn owner(&self, charset: Charset) -> String {
        let uncounted = self.held.iter().flatten().map(|all| u64::from(all.count)).sum::<u64>();
        match (self.holder(), self.by.iter().flatten().next()) {
            (Some(holder), _) if holder.by == HeldBy::Pin => {
                format!("pin {}", text::value_in(&holder.path, charset, 4096))
            }
            (Some(holder), _) => process(&holder.comm, holder.pid, charset),
            _ if self.own() => "tracetui".to_owned(),
            _ if uncounted > 0 => counted(uncounted, ["holder", "holders"]),
            (None, Some(by)) => format!("by {}", process(&by.comm, by.tgid, charset)),
            (None, None) => "no process".to_owned(),
        }
    }

    /// The owner and the number of other holders.
    pub(crate) fn owners(&self, charset: Charset) -> String {
        let known: HashSet<_> = self.holders().map(|holder| (holder.pid.0, holder.path.as_slice())).collect();
        let owner = self.owner(charset);
        if self.own() || known.len() < 2 { owner } else { format!("{owner} +{}", known.len() - 1) }
    }

    /// When it came, during the trace, or when it went.
    pub(crate) fn since(&self) -> Option<BootNanos> {
        let came = self.attachment.map(|attachment| attachment.came).filter(|came| came.0 != 0);
        let loaded = || self.program.map(|program| program.loaded);
        self.gone.or_else(|| came.or_else(loaded).filter(|_| self.new && !self.own()))
    }

    /// Runs in a thousand seconds, and the nanoseconds of a CPU that they take in a second.
    pub(crate) fn load(&self) -> Option<(u64, u64)> {
        let Rate { milli_runs, mean_ns } = self.rate?;
        Some((milli_runs, milli_runs.saturating_mul(mean_ns.unwrap_or_default()) / 1000))
    }

    /// Whether it writes to the memory of processes; `Err` if unknown.
    pub(crate) fn write_user(&self) -> Result<bool, NotScanned> {
        self.program.map_or(Err(NotScanned::Vanished), |program| program.calls().write_user())
    }

    /// The row as one line, escaped, for copying and searching.
    pub(crate) fn line(&self) -> String {
        if let Some(hidden) = self.hidden {
            return format!("HIDDEN {}", hidden_text(hidden, Charset::Utf8));
        }
        let name = copy::line(self.name());
        let (target, owner) = (self.target(Charset::Utf8), self.owners(Charset::Utf8));
        let gone = if self.gone.is_some() { " gone" } else { "" };
        format!("{} {} {name} {target} {owner}{gone}", self.id.0, self.type_name())
    }
}
