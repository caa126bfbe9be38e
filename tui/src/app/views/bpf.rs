//! The BPF programs and their attachments. Each attachment, each unattached program and each hidden program or link has a row. Unloaded
//! programs stay. The rows are built from the inventory of the [`World`] when that has changed, at most once per drawn screen.

use super::detail::Size;
use super::state::{Context, Rows, ViewState, motion, refused};
use crate::app::copy;
use crate::app::input::Handled;
use crate::app::keys::keymap::Action;
use crate::app::named_enum::{named, step};
use crate::app::views::sorted_list::{List, sorted_by};
use foldhash::HashSet;
use regex::bytes::Regex;
use std::cmp::Reverse;
use std::time::Duration;
use tracetui_events::bpf::{HeldBy, NotScanned, may_hide_place};
use tracetui_events::enrich::World;
use tracetui_events::enrich::bpf::Rate;
use tracetui_events::event::names;
use tracetui_events::frame::host::{BpfAttachment, BpfHidden, BpfHolders, BpfProgram};
use tracetui_events::frame::state::BpfDoer;
use tracetui_events::sink::inventory::{self, not_attached, place_text};
use tracetui_events::text::{self, Charset, counted};
use tracetui_shared::id::{LinkId, ProgId};
use tracetui_shared::time::BootNanos;

/// The rank of unloaded programs. Hidden ones have 0, loaded ones 1; tracetui's own have one more.
const RANK_GONE: u8 = 3;

named! {
    #[derive(Default)]
    enum Order name {
        /// Newest program first.
        #[default]
        Id "id",
        Type "type",
        Name "name",
        Target "attach point",
        Runs "runs",
    }
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Key {
    /// A hidden program or link, by its number.
    Hidden(usize),
    Attachment(u32),
    /// A program without an attachment.
    Program(ProgId),
}

#[derive(Clone, Copy, Debug)]
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
    /// The attachment according to an event, if the inventory has none.
    pub reported: Option<&'a BpfDoer>,
    /// Who made the attachment, and who loaded the program, if an event showed that.
    pub by: [Option<&'a BpfDoer>; 2],
    /// Its current run rate, if runs are counted.
    pub rate: Option<Rate>,
    pub all_seen: bool,
    /// Whether it appeared after the last inventory began, or no inventory contained it.
    pub unlooked: bool,
}

/// Whether only events mention a program: no inventory contained it.
fn is_of_events(program: &BpfProgram) -> bool {
    program.xlated_len == 0
}

impl<'a> Seen<'a> {
    /// Whether the program is known only from the events of its load and unload.
    pub(crate) fn is_of_events(&self) -> bool {
        self.gone.is_some() && self.program.is_some_and(is_of_events)
    }

    /// `None` if the subject did not exist yet at the moment, or no longer exists.
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
            let prog_type = program.map_or(0, |program| program.prog_type);
            let all_seen = bpf.unseen().iter().all(|text| !may_hide_place(text, prog_type))
                && bpf.hidden.iter().all(|hidden| hidden.id != id);
            let unlooked =
                bpf.last_inventory().zip(program).is_some_and(|(taken, program)| program.loaded > taken.from);
            let (attachment, hidden, gone, new) = (None, None, None, false);
            let told = None;
            Seen { id, program, attachment, hidden, gone, new, held, reported: told, by, rate, all_seen, unlooked }
        };
        match key {
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
                let new = facts.loaded > world.processes.since();
                let gone = at.filter(|at| !later(*at));
                let base = base(id);
                let rate = base.rate.filter(|_| gone.is_none());
                // If attachments are listed here, the inventory had them at that time.
                let listed = bpf.attachments_of(id).next().is_some();
                let told = if gone.is_some() { bpf.last_reported(id) } else { bpf.reported(id) };
                let told = told.filter(|told| !listed && told.time >= facts.loaded && !later(told.time));
                let by = [told, base.by[1]];
                let unlooked = base.unlooked || at.is_some() && is_of_events(facts);
                (!later(facts.loaded)).then_some(Seen { gone, new, rate, reported: told, by, unlooked, ..base })
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
        let mut out = Vec::new();
        if let Some(hidden) = self.hidden {
            let BpfHidden { link, seen_by, missing_in, .. } = hidden;
            let link = if link.0 == 0 { String::new() } else { format!("link {}: ", link.0) };
            return format!("{link}in {}, but not in {}", seen_by.name(), missing_in.name());
        }
        match self.attachment {
            Some(attachment) => place_text(attachment, charset, &mut out),
            None if let Some(told) = self.reported => {
                return format!("{} (event)", text::value_in(&told.place, charset, 4096));
            }
            None if self.gone.is_some() => return "unloaded".to_owned(),
            None => {
                let prog_type = self.program.map_or(0, |program| program.prog_type);
                if self.unlooked {
                    return "not checked yet".to_owned();
                }
                return not_attached(prog_type, self.all_seen).to_owned();
            }
        }
        String::from_utf8_lossy(&out).into_owned()
    }

    /// The holder in short, escaped: the first process or pin, and the number of others. Without holders, the process that made it.
    pub(crate) fn owner(&self, charset: Charset) -> String {
        if self.own() {
            return "(tracetui)".to_owned();
        }
        let mut known: HashSet<(u32, &[u8])> = HashSet::default();
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
        let first = match first.by {
            HeldBy::Pin => format!("pin {}", escaped(&first.path)),
            _ => format!("{}[{}]", escaped(&first.comm), first.pid.0),
        };
        match others.count() {
            0 => first,
            others => format!("{first} +{others}"),
        }
    }

    /// Whether it writes to the memory of processes; `Err` if unknown.
    pub(crate) fn write_user(&self) -> Result<bool, NotScanned> {
        self.program.map_or(Err(NotScanned::Vanished), |program| program.calls().write_user())
    }

    /// The row as one line, escaped, for copying and searching.
    pub(crate) fn line(&self) -> String {
        if let Some(hidden) = self.hidden {
            let mut out = b"HIDDEN ".to_vec();
            inventory::hidden_text(hidden, Charset::Utf8, &mut out);
            return String::from_utf8_lossy(&out).into_owned();
        }
        let name = copy::line(self.name());
        let (target, owner) = (self.target(Charset::Utf8), self.owner(Charset::Utf8));
        let gone = if self.gone.is_some() { " gone" } else { "" };
        format!("{} {} {name} {target} {owner}{gone}", self.id.0, self.type_name())
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Tally {
    pub programs: usize,
    pub attachments: usize,
    pub new: usize,
    pub gone: usize,
    pub hidden: usize,
}

/// The inputs that the rows were built from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct BuiltFrom {
    moment: Option<BootNanos>,
    order: Order,
    reverse: bool,
    hides_gone: bool,
    changes: (u64, Option<BootNanos>),
}

#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Measure {
    Number(Reverse<u64>),
    Text(Vec<u8>),
}

#[derive(Debug, Default)]
pub(crate) struct Bpf {
    /// The rows. Without a key, the first one is selected.
    pub(crate) list: List<Key, Key, Order>,
    /// The new rows, ascending.
    new_rows: Vec<usize>,
    /// The first row of an unloaded program or a former attachment.
    first_gone: usize,
    pub(crate) tally: Tally,
    pub(crate) hides_gone: bool,
    built_from: Option<BuiltFrom>,
    /// Whether the subject of the selected row is gone.
    cursor_gone: bool,
    /// Whether the user selected the first row. The list then stays at its top while the selected row is on the screen.
    at_start: bool,
}

impl Bpf {
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(self.list.rows()) + self.new_rows.capacity() * size_of::<usize>()
    }

    /// Rebuilds the rows if something has changed. `open`: the pane shows the selected row, so the row stays selected even when its subject
    /// goes. Otherwise the selection passes to the next row, because rows that go move below the loaded ones.
    fn refresh(&mut self, moment: Option<BootNanos>, world: &World, open: bool, now: Duration) {
        let changes = (world.bpf.changes, world.bpf.last_inventory().map(|taken| taken.to));
        let List { order, reverse, .. } = self.list;
        let made = BuiltFrom { moment, order, reverse, hides_gone: self.hides_gone, changes };
        let held = order == Order::Runs && self.list.is_held(now);
        let same =
            self.built_from.is_some_and(|before| before == made || held && BuiltFrom { changes, ..before } == made);
        if same {
            return;
        }
        self.built_from = Some(made);
        let rows = self.make_rows(moment, world);
        let row = self.list.key().map_or(Some(0), |cursor| rows.iter().position(|row| row == cursor));
        let went = !open && !self.cursor_gone && row.is_some_and(|row| row >= self.first_gone);
        self.list.show(rows, row.filter(|_| !went).unwrap_or(self.list.cursor()));
        if went && self.list.key().is_some() {
            self.list.keep(self.list.selected().copied());
        }
        self.cursor_gone = self.list.cursor() >= self.first_gone;
        if self.at_start {
            self.list.top = 0;
        }
    }

    fn make_rows(&mut self, moment: Option<BootNanos>, world: &World) -> Vec<Key> {
        let bpf = &world.bpf;
        let mut attached = HashSet::default();
        let mut was_attached = HashSet::default();
        let mut rows = Vec::new();
        let mut tally = Tally::default();
        let (order, hides_gone) = (self.list.order, self.hides_gone);
        let seen = |key| Seen::of(key, moment, world).map(|seen| (key, seen));
        let mut add = |tally: &mut Tally, key: Key, seen: &Seen<'_>| {
            // Order: hidden, loaded, unloaded. In the last two groups tracetui's own programs come last.
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
        (0..bpf.hidden.len()).map(Key::Hidden).filter_map(seen).for_each(|(key, seen)| add(&mut tally, key, &seen));
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
            a.0.cmp(&b.0).then(if self.list.reverse { order.reverse() } else { order })
        });
        self.first_gone = rows.partition_point(|(rank, ..)| *rank < RANK_GONE);
        self.new_rows = rows.iter().enumerate().filter(|(_, (.., new))| *new).map(|(at, _)| at).collect();
        rows.into_iter().map(|(_, _, _, key, _)| key).collect()
    }

    pub(crate) fn seen<'a>(&self, key: Key, world: &'a World) -> Option<Seen<'a>> {
        Seen::of(key, self.built_from.and_then(|made| made.moment), world)
    }

    pub(crate) fn new_above(&self) -> usize {
        self.new_rows.partition_point(|row| *row < self.list.top)
    }

    pub(crate) fn selected<'a>(&self, world: &'a World) -> Option<Seen<'a>> {
        self.list.selected().and_then(|key| self.seen(*key, world))
    }

    /// Selects the first row, from now on.
    fn follow(&mut self) {
        self.list.unselect();
        self.built_from = None;
        self.at_start = true;
    }

    /// Restores the initial order, shows unloaded programs, and selects the first row.
    pub(crate) fn reset(&mut self) {
        self.list.reset_order();
        self.hides_gone = false;
        self.follow();
    }

    /// Rebuilds the rows before the next screen.
    pub(crate) fn again(&mut self) {
        self.built_from = None;
    }

    pub(crate) fn stay(&mut self, now: Duration) {
        self.select(self.list.cursor(), now);
    }
}

impl ViewState for Bpf {
    fn prepare(&mut self, context: &Context<'_>) {
        let moment = context.moment.map(|moment| moment.time);
        self.refresh(moment, context.world, context.detail.size().is_some(), context.now);
        self.list.reveal(context.height);
    }

    fn act(&mut self, action: Action, context: &mut Context<'_>) -> Handled {
        match action {
            Action::Enter if self.list.rows().is_empty() => context.notify("nothing is selected"),
            Action::Enter => {
                self.stay(context.now);
                context.detail.open();
            }
            _ if refused(action, context) => {}
            Action::PageUp | Action::PageDown | Action::HalfUp | Action::HalfDown
                if context.detail.size() == Some(Size::Full) =>
            {
                return Handled::No;
            }
            Action::Follow => {
                // The list of events also follows.
                self.follow();
                return Handled::No;
            }
            Action::BpfSort | Action::BpfReverse => {
                match action {
                    Action::BpfSort => self.list.order = step(Order::ALL, self.list.order, 1),
                    _ => self.list.reverse = !self.list.reverse,
                }
                context.notify(sorted_by(self.list.order.name(), self.list.reverse));
            }
            Action::BpfGone => {
                self.hides_gone = !self.hides_gone;
                let how = if self.hides_gone { "hidden" } else { "listed after loaded ones" };
                context.notify(format!("unloaded programs are {how}"));
            }
            _ => {
                let Some(rows) = motion(action, context.height) else { return Handled::No };
                self.move_by(rows, context.now);
                if context.detail.size().is_some() {
                    self.stay(context.now);
                }
                context.detail.scroll = 0;
            }
        }
        Handled::Redraw
    }

    fn rows(&self) -> Rows {
        Rows::of(&self.list)
    }

    fn select(&mut self, row: usize, now: Duration) {
        self.list.select(row, now, |key| Some(*key));
        self.cursor_gone = self.list.cursor() >= self.first_gone;
        self.at_start = self.list.cursor() == 0;
    }

    /// After this, the first row stays selected, whatever it is.
    fn move_by(&mut self, rows: isize, now: Duration) {
        self.select(self.list.cursor().saturating_add_signed(rows), now);
        if self.at_start {
            self.list.keep(None);
        }
    }

    fn searched(&self) -> &'static str {
        "search here for text: an id, a name or part of the attach point"
    }

    fn is_match(&self, row: usize, pattern: &Regex, context: &Context<'_>) -> bool {
        let seen = self.list.rows().get(row).and_then(|key| self.seen(*key, context.world));
        seen.is_some_and(|seen| pattern.is_match(seen.line().as_bytes()))
    }

    fn copied(&self, context: &Context<'_>) -> (Option<String>, &'static str) {
        (self.selected(context.world).map(|seen| seen.line()), "line")
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
