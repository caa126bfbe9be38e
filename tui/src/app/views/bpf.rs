//! The BPF programs and where they are attached: a row for each attachment, for each program without one, and for what is hidden. What
//! is gone stays. The rows are made from the inventory of the [`World`] when that has changed, at most once before each screen.

use super::tree::Moment;
use crate::app::copy;
use crate::app::keymap::Action;
use crate::app::views::{motion, next_match};
use crate::bpf::report::{self, not_attached, place_text};
use crate::bpf::{AttachFacts, HeldBy, Hidden, NotScanned, ProgramFacts, VIEWS};
use crate::enrich::World;
use crate::enrich::bpf::Rate;
use crate::event::names;
use crate::frame::host::{BpfAttachment, BpfHidden, BpfHolders, BpfProgram};
use crate::frame::state::{BpfDoer, BpfTold};
use crate::text::{self, Charset, counted};
use rustc_hash::FxHashSet;
use std::cmp::Reverse;
use std::time::Duration;
use tracetui_shared::id::{LinkId, ProgId};
use tracetui_shared::time::BootNanos;

/// The time after a movement of the selection in which the rows keep an order that changes with the runs.
const HELD: Duration = Duration::from_secs(3);

/// The place of what is gone among the rows: hidden ones are at 0, others at 1, and what belongs to tracetui one after that.
const RANK_GONE: u8 = 3;

/// The orders.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Order {
    /// The newest program first.
    #[default]
    Id,
    Type,
    Name,
    Target,
    Runs,
}

impl Order {
    const ALL: [Order; 5] = [Order::Id, Order::Type, Order::Name, Order::Target, Order::Runs];

    /// The name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Order::Id => "id",
            Order::Type => "type",
            Order::Name => "name",
            Order::Target => "attach point",
            Order::Runs => "runs",
        }
    }

    fn next(self) -> Order {
        let at = Order::ALL.iter().position(|order| *order == self).unwrap_or_default();
        Order::ALL[(at + 1) % Order::ALL.len()]
    }
}

/// What a row is about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Key {
    /// A program or link that is hidden, by its number.
    Hidden(usize),
    /// An attachment.
    Attachment(u32),
    /// A program without an attachment.
    Program(ProgId),
}

/// What is known of a row at the moment that is shown.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen<'a> {
    /// The program; 0 if it is not known.
    pub id: ProgId,
    /// The program.
    pub program: Option<&'a BpfProgram>,
    /// The attachment.
    pub attachment: Option<&'a BpfAttachment>,
    /// How it is hidden.
    pub hidden: Option<&'a BpfHidden>,
    /// Since when it is gone.
    pub gone: Option<BootNanos>,
    /// Whether it came since the start of the trace.
    pub new: bool,
    /// What holds the link, and what holds the program.
    pub held: [Option<&'a BpfHolders>; 2],
    /// Where it is or was attached by an event, if the inventory has no attachment.
    pub told: Option<&'a BpfTold>,
    /// Who made the attachment, and who loaded the program, if that was seen.
    pub by: [Option<&'a BpfDoer>; 2],
    /// How often it runs now, if that is counted.
    pub rate: Option<Rate>,
    /// Whether the inventory looked at everything.
    pub all_seen: bool,
    /// Whether it came after the last inventory was begun, or no inventory contained it.
    pub unlooked: bool,
}

/// Whether a program is known from events only: no inventory contained it.
fn is_of_events(program: &BpfProgram) -> bool {
    program.xlated_len == 0
}

impl<'a> Seen<'a> {
    /// Whether all that is known of the program is from the events of its load and its unload.
    pub(crate) fn is_of_events(&self) -> bool {
        self.gone.is_some() && self.program.is_some_and(is_of_events)
    }

    /// `None` if there was no such thing yet at the moment, or there is none any more.
    fn of(key: Key, moment: Option<BootNanos>, world: &'a World) -> Option<Seen<'a>> {
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
            let all_seen = bpf.unseen().iter().all(|text| text.starts_with(VIEWS));
            let unlooked = bpf.taken().zip(program).is_some_and(|(taken, program)| program.loaded > taken.from);
            let (attachment, hidden, gone, new) = (None, None, None, false);
            let told = None;
            Seen { id, program, attachment, hidden, gone, new, held, told, by, rate, all_seen, unlooked }
        };
        match key {
            Key::Hidden(at) => {
                let hidden = bpf.hidden().get(at)?;
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
                let new = facts.loaded > world.processes.since();
                let gone = at.filter(|at| !later(*at));
                let base = base(id);
                let rate = base.rate.filter(|_| gone.is_none());
                // The inventory had its attachments then.
                let listed = bpf.attachments_of(id).next().is_some();
                let told = if gone.is_some() { bpf.told_at_last(id) } else { bpf.told(id) };
                let told = told.filter(|told| !listed && told.time >= facts.loaded && !later(told.time));
                let by = [told.and_then(|told| bpf.teller(told)), base.by[1]];
                let unlooked = base.unlooked || at.is_some() && is_of_events(facts);
                (!later(facts.loaded)).then_some(Seen { gone, new, rate, told, by, unlooked, ..base })
            }
        }
    }

    /// Whether it belongs to tracetui.
    pub(crate) fn own(&self) -> bool {
        self.program.is_some_and(|program| program.own)
    }

    /// The type of the program.
    pub(crate) fn type_name(&self) -> &'static str {
        match self.program {
            _ if self.hidden.is_some() => "HIDDEN",
            Some(program) => names::prog_type(program.prog_type).unwrap_or("unknown"),
            None => "-",
        }
    }

    /// The name of the program.
    pub(crate) fn name(&self) -> &'a [u8] {
        match (self.hidden, self.program) {
            (Some(hidden), _) if !hidden.name.is_empty() => &hidden.name,
            (_, Some(program)) if !program.name.is_empty() => &program.name,
            _ => b"-",
        }
    }

    /// Where it is attached, escaped.
    pub(crate) fn target(&self, charset: Charset) -> String {
        let mut out = Vec::new();
        if let Some(hidden) = self.hidden {
            let Hidden { link, seen_by, missing_in, .. } = Hidden::from(hidden);
            let link = link.map_or_else(String::new, |link| format!("link {}: ", link.id.0));
            return format!("{link}in {}, but not in {}", seen_by.name(), missing_in.name());
        }
        match self.attachment {
            Some(attachment) => place_text(&AttachFacts::from(attachment), charset, &mut out),
            None if let Some(told) = self.told => {
                return format!("{} (event)", text::value_in(&told.place, charset, 4096));
            }
            None if self.gone.is_some() => return "unloaded".to_owned(),
            None => {
                let prog_type = self.program.map_or(0, |program| program.prog_type);
                if self.unlooked {
                    return "not known yet".to_owned();
                }
                return not_attached(prog_type, self.all_seen).to_owned();
            }
        }
        String::from_utf8_lossy(&out).into_owned()
    }

    /// What holds it, escaped, in short: the first process or pin, and how many others there are. Without any, who made it.
    pub(crate) fn owner(&self, charset: Charset) -> String {
        if self.own() {
            return "(tracetui)".to_owned();
        }
        let mut known: FxHashSet<(u32, &[u8])> = FxHashSet::default();
        let holders = self.held.iter().flatten().flat_map(|all| &all.holders);
        let mut others = holders.filter(|holder| known.insert((holder.pid.0, holder.path.as_slice())));
        let escaped = |text: &[u8]| text::value_in(text, charset, 4096);
        let Some(first) = others.next() else {
            let uncounted = self.held.iter().flatten().map(|all| u64::from(all.count)).sum::<u64>();
            if uncounted > 0 {
                return counted(uncounted, ["holder", "holders"]);
            }
            let by = self.by.iter().flatten().next();
            return by.map_or_else(|| "-".to_owned(), |by| format!("by {}[{}]", escaped(&by.comm), by.tgid.0));
        };
        let first = match HeldBy::from(first) {
            HeldBy::Process { pid, comm, .. } | HeldBy::Perf { pid, comm, .. } => {
                format!("{}[{}]", escaped(&comm), pid.0)
            }
            HeldBy::Pin(path) => format!("pin {}", escaped(&path)),
        };
        match others.count() {
            0 => first,
            others => format!("{first} +{others}"),
        }
    }

    /// Whether it writes to the memory of processes; `Err` if that is not known.
    pub(crate) fn write_user(&self) -> Result<bool, NotScanned> {
        self.program.map_or(Err(NotScanned::Vanished), |program| ProgramFacts::from(program).calls.write_user())
    }

    /// The row as one line, escaped, for copying and searching.
    pub(crate) fn line(&self) -> String {
        if let Some(hidden) = self.hidden {
            let mut out = b"HIDDEN ".to_vec();
            report::hidden_text(&Hidden::from(hidden), Charset::Utf8, &mut out);
            return String::from_utf8_lossy(&out).into_owned();
        }
        let name = copy::line(self.name());
        let (target, owner) = (self.target(Charset::Utf8), self.owner(Charset::Utf8));
        let gone = if self.gone.is_some() { " gone" } else { "" };
        format!("{} {} {name} {target} {owner}{gone}", self.id.0, self.type_name())
    }
}

/// The numbers of what is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Tally {
    /// Programs.
    pub programs: usize,
    /// Attachments.
    pub attachments: usize,
    /// Rows that are new.
    pub new: usize,
    /// Rows that are gone.
    pub gone: usize,
    /// Rows that are hidden.
    pub hidden: usize,
}

/// What the rows were made from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Made {
    moment: Option<BootNanos>,
    order: Order,
    reverse: bool,
    hides_gone: bool,
    changes: (u64, Option<BootNanos>),
}

/// By what rows are sorted.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Measure {
    Number(Reverse<u64>),
    Text(Vec<u8>),
}

/// The view.
#[derive(Debug, Default)]
pub(crate) struct Bpf {
    rows: Vec<Key>,
    /// The rows that are new, ascending.
    new_rows: Vec<usize>,
    /// The first of the rows about what is gone.
    first_gone: usize,
    tally: Tally,
    order: Order,
    reverse: bool,
    hides_gone: bool,
    made: Option<Made>,
    /// The selected row; `None` selects the first one.
    cursor: Option<Key>,
    /// Whether it is about something that is gone.
    cursor_gone: bool,
    at: usize,
    top: usize,
    /// Whether the first row was selected: then the list stays at its top, as long as the selected row is on the screen.
    at_start: bool,
    moved: Option<Duration>,
}

impl Bpf {
    /// The memory in use, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.rows.capacity() * size_of::<Key>() + self.new_rows.capacity() * size_of::<usize>()
    }

    /// Makes the rows, if something has changed, for a screen of `height` rows. `open`: the selected row is shown in the pane, so it
    /// stays selected also when it goes. Otherwise what goes leaves the selection to the next row: it moves below what is there.
    pub(crate) fn refresh(
        &mut self,
        moment: Option<Moment>,
        world: &World,
        (height, open): (usize, bool),
        now: Duration,
    ) {
        let moment = moment.map(|moment| moment.time);
        let changes = (world.bpf.changes(), world.bpf.taken().map(|taken| taken.to));
        let made = Made { moment, order: self.order, reverse: self.reverse, hides_gone: self.hides_gone, changes };
        let held = self.order == Order::Runs && self.moved.is_some_and(|moved| now < moved + HELD);
        let same = self.made.is_some_and(|before| before == made || held && Made { changes, ..before } == made);
        if !same {
            self.made = Some(made);
            let offset = self.at.saturating_sub(self.top);
            self.make_rows(moment, world);
            let row = self.cursor.map_or(Some(0), |cursor| self.rows.iter().position(|row| *row == cursor));
            let went = !open && !self.cursor_gone && row.is_some_and(|row| row >= self.first_gone);
            self.at = row.filter(|_| !went).unwrap_or(self.at).min(self.rows.len().saturating_sub(1));
            if went && self.cursor.is_some() {
                self.cursor = self.rows.get(self.at).copied();
            }
            self.cursor_gone = self.at >= self.first_gone;
            self.top = if self.at_start { 0 } else { self.at.saturating_sub(offset) };
        }
        let most = self.rows.len().saturating_sub(height);
        self.top = self.top.min(most).clamp((self.at + 1).saturating_sub(height.max(1)), self.at);
    }

    fn make_rows(&mut self, moment: Option<BootNanos>, world: &World) {
        let bpf = &world.bpf;
        let mut attached = FxHashSet::default();
        let mut was_attached = FxHashSet::default();
        let mut rows = Vec::new();
        let mut tally = Tally::default();
        let (order, hides_gone) = (self.order, self.hides_gone);
        let seen = |key| Seen::of(key, moment, world).map(|seen| (key, seen));
        let mut add = |tally: &mut Tally, key: Key, seen: &Seen<'_>| {
            // What is hidden comes first, then what is there, then what is gone; what belongs to tracetui is the last of both.
            let rank = match seen.hidden.is_some() {
                true => 0,
                false => u8::from(seen.own()) + if seen.gone.is_some() { RANK_GONE } else { 1 },
            };
            let is_new = seen.new && seen.gone.is_none() && !seen.own();
            if seen.gone.is_none() || !hides_gone {
                rows.push((rank, order.measure(seen), Reverse(seen.id), key, is_new));
            }
            tally.new += usize::from(is_new);
            tally.gone += usize::from(seen.gone.is_some());
            tally.hidden += usize::from(seen.hidden.is_some());
        };
        (0..bpf.hidden().len()).map(Key::Hidden).filter_map(seen).for_each(|(key, seen)| add(&mut tally, key, &seen));
        let gone = bpf.gone_attachments().map(|gone| gone.facts.key);
        for (key, seen) in bpf.attachments().map(|a| a.key).chain(gone).map(Key::Attachment).filter_map(seen) {
            add(&mut tally, key, &seen);
            was_attached.insert(seen.id);
            if seen.gone.is_none() {
                attached.insert(seen.id);
                tally.attachments += 1;
            }
        }
        let gone = bpf.gone_programs().map(|gone| gone.facts.id);
        for (key, seen) in bpf.programs().map(|p| p.id).chain(gone).map(Key::Program).filter_map(seen) {
            tally.programs += usize::from(seen.gone.is_none());
            let elsewhere = if seen.gone.is_some() { &was_attached } else { &attached };
            if !elsewhere.contains(&seen.id) {
                add(&mut tally, key, &seen);
            }
        }
        self.tally = tally;
        rows.sort_unstable_by(|a, b| {
            let order = (&a.1, a.2, a.3).cmp(&(&b.1, b.2, b.3));
            a.0.cmp(&b.0).then(if self.reverse { order.reverse() } else { order })
        });
        self.first_gone = rows.partition_point(|(rank, ..)| *rank < RANK_GONE);
        self.new_rows = rows.iter().enumerate().filter(|(_, (.., new))| *new).map(|(at, _)| at).collect();
        self.rows = rows.into_iter().map(|(_, _, _, key, _)| key).collect();
    }

    /// What is known of a row.
    pub(crate) fn seen<'a>(&self, key: Key, world: &'a World) -> Option<Seen<'a>> {
        Seen::of(key, self.made.and_then(|made| made.moment), world)
    }

    /// The rows.
    pub(crate) fn rows(&self) -> &[Key] {
        &self.rows
    }

    /// Their numbers.
    pub(crate) fn tally(&self) -> Tally {
        self.tally
    }

    /// How many of the new rows are above the screen.
    pub(crate) fn new_above(&self) -> usize {
        self.new_rows.partition_point(|row| *row < self.top)
    }

    /// Whether what is gone is hidden.
    pub(crate) fn hides_gone(&self) -> bool {
        self.hides_gone
    }

    /// The order.
    pub(crate) fn order(&self) -> (Order, bool) {
        (self.order, self.reverse)
    }

    /// The selected row.
    pub(crate) fn cursor(&self) -> usize {
        self.at
    }

    /// The first row on the screen.
    pub(crate) fn first_row(&self) -> usize {
        self.top
    }

    /// What is known of the selected row.
    pub(crate) fn selected<'a>(&self, world: &'a World) -> Option<Seen<'a>> {
        self.rows.get(self.at).and_then(|key| self.seen(*key, world))
    }

    /// Selects the first row, now and later.
    pub(crate) fn follow(&mut self) {
        (self.cursor, self.at, self.made) = (None, 0, None);
        self.at_start = true;
    }

    /// Restores the order of the start, and shows what is gone.
    pub(crate) fn reset_order(&mut self) {
        (self.order, self.reverse, self.hides_gone) = Default::default();
    }

    /// Makes the rows again before the next screen.
    pub(crate) fn again(&mut self) {
        self.made = None;
    }

    /// Selects a row, and keeps it selected.
    fn select(&mut self, row: usize, now: Duration) {
        self.at = row.min(self.rows.len().saturating_sub(1));
        self.cursor = self.rows.get(self.at).copied();
        self.cursor_gone = self.at >= self.first_gone;
        self.at_start = self.at == 0;
        self.moved = Some(now);
    }

    /// Keeps the selected row selected.
    pub(crate) fn stay(&mut self, now: Duration) {
        self.select(self.at, now);
    }

    /// Selects a row of the screen, if there is one.
    pub(crate) fn click(&mut self, row: usize, now: Duration) {
        let row = self.top + row;
        if row < self.rows.len() {
            self.select(row, now);
        }
    }

    /// Moves the selection down by `rows`. The first row is then selected whatever it is.
    pub(crate) fn move_by(&mut self, rows: isize, now: Duration) {
        self.select(self.at.saturating_add_signed(rows), now);
        self.cursor = self.cursor.filter(|_| self.at > 0);
    }

    /// Performs an action on a screen of `height` rows; `false` if it is none of the view.
    pub(crate) fn act(&mut self, action: Action, height: usize, now: Duration) -> bool {
        match action {
            Action::BpfSort => self.order = self.order.next(),
            Action::BpfReverse => self.reverse = !self.reverse,
            Action::BpfGone => self.hides_gone = !self.hides_gone,
            _ => match motion(action, height) {
                Some(rows) => self.move_by(rows, now),
                None => return false,
            },
        }
        true
    }

    /// Selects the next row for which `is` holds, round the end; the selected one too if `here`. `false` if there is none.
    pub(crate) fn find(&mut self, down: bool, here: bool, now: Duration, is: impl Fn(&Bpf, Key) -> bool) -> bool {
        let found = next_match(self.rows.len(), self.at, (down, here), |at| {
            self.rows.get(at).is_some_and(|key| is(self, *key))
        });
        found.map(|at| self.select(at, now)).is_some()
    }
}

impl Order {
    fn measure(self, seen: &Seen<'_>) -> Measure {
        match self {
            Order::Id => Measure::Number(Reverse(0)),
            Order::Type => Measure::Text(seen.type_name().as_bytes().to_vec()),
            Order::Name => Measure::Text(seen.name().to_vec()),
            Order::Target => Measure::Text(seen.target(Charset::Utf8).into_bytes()),
            Order::Runs => Measure::Number(Reverse(seen.rate.map_or(0, |rate| rate.milli_runs))),
        }
    }
}
