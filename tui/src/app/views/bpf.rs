//! The BPF programs and their attachments by owner. An owner with several of them has a row, which unfolds into one for each attachment,
//! each unattached program and each hidden program or link. Unloaded programs stay. The rows are built from the inventory of the [`World`]
//! when that has changed, at most once per drawn screen.

mod seen;

use super::detail::Size;
use super::state::{Context, Rows, ViewState, motion, refused};
use crate::app::keys::keymap::Action;
use crate::app::named_enum::{named, step};
use crate::app::views::sorted_list::{List, sorted_by};
use foldhash::{HashMap, HashSet};
use regex::bytes::Regex;
pub(crate) use seen::{Key, Owned, Owner, Seen, process};
use std::cmp::Reverse;
use std::ops::Range;
use std::time::Duration;
use tracetui_events::bpf::NotScanned;
use tracetui_events::enrich::World;
use tracetui_events::text::{Charset, counted};
use tracetui_shared::id::ProgId;
use tracetui_shared::time::BootNanos;

/// How many of an owner's programs and attachments are examined to name them.
pub(crate) const NAMED: usize = 256;

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
        Cpu "CPU",
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Tally {
    /// The owners of loaded programs.
    pub owners: usize,
    pub programs: usize,
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

/// A program or an attachment before it has a place.
struct Made<'a> {
    key: Key,
    owned: Owned,
    /// What it is sorted by: a number, the largest first, or a text.
    measure: (Reverse<u64>, Vec<u8>),
    new: bool,
    seen: Seen<'a>,
}

impl Made<'_> {
    /// Order: hidden, loaded, unloaded. In the last two groups tracetui's own programs come last.
    fn rank(&self) -> u8 {
        let own = self.owned.by == Owner::This;
        match self.owned {
            Owned { by: Owner::Hidden(_), .. } => 0,
            Owned { gone: false, .. } => 1 + u8::from(own),
            Owned { gone: true, .. } => 3 + u8::from(own),
        }
    }
}

/// The programs and attachments of an owner.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Group {
    pub owned: Owned,
    /// The one that names the owner.
    named_by: Key,
    /// Their positions in `Bpf::members`.
    pub members: Range<usize>,
    pub programs: usize,
    /// The runs of the programs in a thousand seconds, and the nanoseconds of a CPU that they take in a second. `None` if unknown.
    pub load: Option<(u64, u64)>,
    /// When the last of them came, during the trace, or went.
    pub since: Option<BootNanos>,
    pub new: usize,
    /// Whether one of them writes to the memory of processes; `Err` if unknown.
    pub writes: Result<bool, NotScanned>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Row {
    pub key: Key,
    /// The owner, if it is below the row of that.
    pub below: Option<Owned>,
    /// Whether it is of unloaded programs or former attachments.
    gone: bool,
}

#[derive(Debug, Default)]
pub(crate) struct Bpf {
    /// The rows. Without a key, the first one is selected.
    pub(crate) list: List<Row, Key, Order>,
    groups: Vec<Group>,
    /// Programs and attachments.
    members: Vec<Key>,
    unfolded: HashSet<Owned>,
    pub(crate) tally: Tally,
    pub(crate) hides_gone: bool,
    built_from: Option<BuiltFrom>,
    /// Whether the user selected the first row. The list then stays at its top while the selected row is on the screen.
    at_start: bool,
}

impl Bpf {
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&*self.list.rows)
            + self.members.capacity() * size_of::<Key>()
            + self.groups.capacity() * size_of::<Group>()
    }

    /// Rebuilds the rows if something has changed. `open`: the pane shows the selected row, so the row stays selected even when its subject
    /// goes. Otherwise the selection passes to the next row, because rows that go move below the loaded ones.
    fn refresh(&mut self, moment: Option<BootNanos>, world: &World, open: bool, now: Duration) {
        let changes = (world.bpf.changes, world.bpf.last_inventory().map(|taken| taken.to));
        let List { order, reverse, .. } = self.list;
        let made = BuiltFrom { moment, order, reverse, hides_gone: self.hides_gone, changes };
        let held = matches!(order, Order::Runs | Order::Cpu) && self.list.is_held(now);
        let same =
            self.built_from.is_some_and(|before| before == made || held && BuiltFrom { changes, ..before } == made);
        if same {
            return;
        }
        self.built_from = Some(made);
        let all = self.make_all(moment, world);
        self.make_groups(all);
        let cursor = self.list.key;
        let group = cursor.filter(|key| open && !matches!(key, Key::Owner(_))).and_then(|key| self.group_of(key));
        if let Some(owned) = group.map(|group| group.owned) {
            self.unfolded.insert(owned);
        }
        let rows = self.make_rows();
        let row = cursor.map_or(Some(0), |cursor| self.row_of(cursor, &rows));
        let is_gone = |row: Option<&Row>| row.is_some_and(|row| row.gone);
        let went = !open && !is_gone(self.list.selected()) && is_gone(row.and_then(|row| rows.get(row)));
        self.list.show(rows, row.filter(|_| !went).unwrap_or(self.list.at));
        if went && cursor.is_some() {
            self.list.key = self.list.selected().map(|row| row.key);
        }
        if self.at_start {
            self.list.top = 0;
        }
    }

    /// The programs and attachments at a moment, in their order.
    fn make_all<'a>(&mut self, moment: Option<BootNanos>, world: &'a World) -> Vec<Made<'a>> {
        let bpf = &world.bpf;
        let mut attached = HashSet::default();
        let mut was_attached = HashSet::default();
        let mut all = Vec::new();
        let mut tally = Tally::default();
        let (order, hides_gone) = (self.list.order, self.hides_gone);
        let seen = |key| Seen::of(key, moment, world).map(|seen| (key, seen));
        let mut add = |tally: &mut Tally, key: Key, seen: Seen<'a>| {
            let new = seen.new && seen.gone.is_none() && !seen.own();
            if seen.gone.is_none() || !hides_gone {
                all.push(Made { key, owned: seen.owned(key), measure: order.measure(&seen), new, seen });
            }
            tally.new += usize::from(new);
            tally.gone += usize::from(seen.gone.is_some());
            tally.hidden += usize::from(seen.hidden.is_some());
        };
        (0..bpf.hidden.len()).map(Key::Hidden).filter_map(seen).for_each(|(key, seen)| add(&mut tally, key, seen));
        let gone = bpf.gone_attachments().map(|gone| gone.facts.key);
        for (key, seen) in bpf.attachments().map(|a| a.key).chain(gone).map(Key::Attachment).filter_map(seen) {
            add(&mut tally, key, seen);
            was_attached.insert(seen.id);
            if seen.gone.is_none() {
                attached.insert(seen.id);
            }
        }
        let gone = bpf.gone_programs().map(|gone| gone.facts.id);
        for (key, seen) in bpf.programs().map(|p| p.id).chain(gone).map(Key::Program).filter_map(seen) {
            tally.programs += usize::from(seen.gone.is_none());
            let elsewhere = if seen.gone.is_some() { &was_attached } else { &attached };
            if !elsewhere.contains(&seen.id) {
                add(&mut tally, key, seen);
            }
        }
        self.tally = tally;
        all.sort_unstable_by(|a, b| {
            let order = (&a.measure, Reverse(a.seen.id), a.key).cmp(&(&b.measure, Reverse(b.seen.id), b.key));
            a.rank().cmp(&b.rank()).then(if self.list.reverse { order.reverse() } else { order })
        });
        all
    }

    /// Groups programs and attachments by owner, the owners in the order of their first ones. Attachments of a program that look alike are
    /// one.
    fn make_groups(&mut self, all: Vec<Made<'_>>) {
        let mut places = HashMap::default();
        let mut groups: Vec<Vec<Made<'_>>> = Vec::new();
        for made in all {
            let at = *places.entry(made.owned).or_insert(groups.len());
            if at == groups.len() {
                groups.push(Vec::new());
            }
            groups[at].push(made);
        }
        self.members.clear();
        self.groups.clear();
        for mut group in groups {
            // A new program has no known holder yet. The inspector is a child of tracetui.
            let named_by = group.iter().min_by_key(|made| made.seen.holder_id()).map(|made| (made.owned, made.key));
            let Some((owned, named_by)) = named_by else { continue };
            let since = group.iter().filter_map(|made| made.seen.since()).max();
            let new = group.iter().filter(|made| made.new).count();
            let writes =
                |is: fn(&Result<bool, NotScanned>) -> bool| group.iter().map(|made| made.seen.write_user()).find(is);
            let writes = writes(|writes| *writes == Ok(true)).or(writes(Result::is_err)).unwrap_or(Ok(false));
            let mut programs: HashMap<ProgId, (usize, Option<(u64, u64)>)> = HashMap::default();
            group.iter().for_each(|made| programs.entry(made.seen.id).or_insert((0, made.seen.load())).0 += 1);
            let mut known = HashSet::default();
            group.retain(|made| {
                let is_only = programs.get(&made.seen.id).is_some_and(|(attachments, _)| *attachments == 1);
                is_only || known.insert((made.seen.id, made.seen.target(Charset::Utf8)))
            });
            let loads = programs.values().filter_map(|(_, load)| *load);
            let load = loads.reduce(|(runs, ns), (more, time)| (runs.saturating_add(more), ns.saturating_add(time)));
            let members = self.members.len()..self.members.len() + group.len();
            self.groups.push(Group { owned, named_by, members, programs: programs.len(), load, since, new, writes });
            self.members.extend(group.iter().map(|made| made.key));
        }
        let busiest = |group: &Group| {
            let (runs, ns) = group.load.unwrap_or_default();
            let most = if self.list.order == Order::Runs { runs } else { ns };
            (group.owned.gone, group.owned.by == Owner::This, if self.list.reverse { most } else { u64::MAX - most })
        };
        if matches!(self.list.order, Order::Runs | Order::Cpu) {
            let hidden = self.groups.partition_point(|group| matches!(group.owned.by, Owner::Hidden(_)));
            self.groups[hidden..].sort_by_key(busiest);
        }
        let owners =
            self.groups.iter().filter(|group| !group.owned.gone && !matches!(group.owned.by, Owner::Hidden(_)));
        self.tally.owners = owners.count();
    }

    fn make_rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for group in &self.groups {
            let (owned, gone) = (group.owned, group.owned.gone);
            let below = Some(owned).filter(|_| group.members.len() > 1);
            let folds = below.is_some() && !self.unfolded.contains(&owned);
            rows.extend(below.map(|owned| Row { key: Key::Owner(owned), below: None, gone }));
            let shown = self.members.get(group.members.clone()).filter(|_| !folds).unwrap_or_default();
            rows.extend(shown.iter().map(|key| Row { key: *key, below, gone }));
        }
        rows
    }

    pub(crate) fn group(&self, owned: Owned) -> Option<&Group> {
        self.groups.iter().find(|group| group.owned == owned)
    }

    /// The group of a program or an attachment if it has several, or that of an owner, gone or not.
    pub(crate) fn group_of(&self, key: Key) -> Option<&Group> {
        if let Key::Owner(owned) = key {
            return self.group(owned).or_else(|| self.groups.iter().find(|group| group.owned.by == owned.by));
        }
        let at = self.members.iter().position(|member| *member == key)?;
        self.groups.iter().find(|group| group.members.contains(&at) && group.members.len() > 1)
    }

    /// The row with a key, otherwise that of the owner.
    fn row_of(&self, key: Key, rows: &[Row]) -> Option<usize> {
        let of = |key: Key| rows.iter().position(|row| row.key == key);
        of(key).or_else(|| {
            let group = self.group_of(key)?;
            of(Key::Owner(group.owned)).or_else(|| of(*self.members.get(group.members.start)?))
        })
    }

    pub(crate) fn is_unfolded(&self, owned: Owned) -> bool {
        self.unfolded.contains(&owned)
    }

    /// The programs and attachments of a row.
    pub(crate) fn seen_in<'a>(&self, key: Key, world: &'a World) -> impl Iterator<Item = Seen<'a>> {
        let group = if let Key::Owner(owned) = key { self.group(owned) } else { None };
        let members = group.map_or(&[][..], |group| self.members.get(group.members.clone()).unwrap_or_default());
        let own = Some(key).filter(|_| group.is_none());
        own.into_iter().chain(members.iter().copied()).filter_map(|key| self.seen(key, world))
    }

    /// The name of an owner, escaped.
    pub(crate) fn owner(&self, owned: Owned, world: &World, charset: Charset) -> String {
        let seen = self.group(owned).filter(|_| owned.by != Owner::NoProcess);
        let seen = seen.and_then(|group| self.seen(group.named_by, world));
        seen.map_or_else(|| "no process".to_owned(), |seen| seen.owner(charset))
    }

    /// Folds the owner of the selected row, or goes to it from a row below.
    fn fold(&mut self, now: Duration) {
        match self.list.selected() {
            Some(Row { below: Some(_), .. }) => {
                let above = self.list.rows.iter().take(self.list.at).rposition(|row| row.below.is_none());
                self.select(above.unwrap_or_default(), now);
            }
            Some(Row { key: Key::Owner(owned), .. }) => _ = self.unfolded.remove(owned),
            _ => {}
        }
        self.again();
    }

    fn unfold(&mut self, now: Duration) {
        if let Some(Row { key: Key::Owner(owned), .. }) = self.list.selected().copied()
            && !self.unfolded.insert(owned)
        {
            self.move_by(1, now);
        }
        self.again();
    }

    pub(crate) fn seen<'a>(&self, key: Key, world: &'a World) -> Option<Seen<'a>> {
        Seen::of(key, self.built_from.and_then(|made| made.moment), world)
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
        self.select(self.list.at, now);
    }
}

impl ViewState for Bpf {
    fn prepare(&mut self, context: &Context<'_>) {
        let moment = context.moment.map(|moment| moment.time);
        self.refresh(moment, context.world, context.detail.size.is_some(), context.now);
        self.list.reveal(context.height);
    }

    fn act(&mut self, action: Action, context: &mut Context<'_>) -> bool {
        match action {
            Action::Enter if self.list.rows.is_empty() => context.notify("nothing is selected"),
            Action::Enter => {
                self.stay(context.now);
                context.detail.open();
            }
            _ if refused(action, context) => {}
            Action::PageUp | Action::PageDown | Action::HalfUp | Action::HalfDown
                if context.detail.size == Some(Size::Full) =>
            {
                return false;
            }
            Action::Follow => {
                // The list of events also follows.
                self.follow();
                return false;
            }
            Action::Left | Action::Right => {
                match action {
                    Action::Left => self.fold(context.now),
                    _ => self.unfold(context.now),
                }
                context.detail.scroll = 0;
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
                let Some(rows) = motion(action, context.height) else { return false };
                self.move_by(rows, context.now);
                if context.detail.size.is_some() {
                    self.stay(context.now);
                }
                context.detail.scroll = 0;
            }
        }
        true
    }

    fn rows(&self) -> Rows {
        Rows::of(&self.list)
    }

    fn select(&mut self, row: usize, now: Duration) {
        self.list.select(row, now, |row| Some(row.key));
        self.at_start = self.list.at == 0;
    }

    /// After this, the first row stays selected, whatever it is.
    fn move_by(&mut self, rows: isize, now: Duration) {
        self.select(self.list.at.saturating_add_signed(rows), now);
        if self.at_start {
            self.list.key = None;
        }
    }

    fn searched(&self) -> &'static str {
        "search here for text: an id, a name or part of the attach point"
    }

    /// Finds what is folded too.
    fn find(&mut self, pattern: &Regex, down: bool, here: bool, context: &mut Context<'_>) {
        let selected = self.list.selected().and_then(|row| match row.key {
            Key::Owner(owned) => self.group(owned).map(|group| group.members.start),
            key => self.members.iter().position(|member| *member == key),
        });
        let rows = Rows { count: self.members.len(), at: selected.unwrap_or_default(), top: 0 };
        let found = rows.next((down, here), |at| self.is_match(at, pattern, context));
        let Some(key) = found.and_then(|at| self.members.get(at).copied()) else {
            return context.notify("no match");
        };
        if let Some(owned) = self.group_of(key).map(|group| group.owned) {
            self.unfolded.insert(owned);
        }
        self.at_start = false;
        self.list.key = Some(key);
        self.again();
    }

    /// `at`: the position of a program or an attachment among all of them.
    fn is_match(&self, at: usize, pattern: &Regex, context: &Context<'_>) -> bool {
        let seen = self.members.get(at).and_then(|key| self.seen(*key, context.world));
        seen.is_some_and(|seen| pattern.is_match(seen.line().as_bytes()))
    }

    fn copied(&self, context: &Context<'_>) -> (Option<String>, &'static str) {
        let Some(Row { key, .. }) = self.list.selected().copied() else { return (None, "line") };
        let mut lines = self.seen_in(key, context.world).map(|seen| seen.line());
        let Key::Owner(owned) = key else { return (lines.next(), "line") };
        let programs = self.group(owned).map_or(0, |group| group.programs as u64);
        let owner = self.owner(owned, context.world, Charset::Utf8);
        let lines = lines.collect::<Vec<_>>().join("; ");
        (Some(format!("{owner} {}: {lines}", counted(programs, ["program", "programs"]))), "line")
    }
}

impl Order {
    fn measure(self, seen: &Seen<'_>) -> (Reverse<u64>, Vec<u8>) {
        let (runs, ns) = seen.load().unwrap_or_default();
        match self {
            Order::Id => (Reverse(0), Vec::new()),
            Order::Type => (Reverse(0), seen.type_name().into()),
            Order::Name => (Reverse(0), seen.name().to_vec()),
            Order::Target => (Reverse(0), seen.target(Charset::Utf8).into_bytes()),
            Order::Runs => (Reverse(runs), Vec::new()),
            Order::Cpu => (Reverse(ns), Vec::new()),
        }
    }
}
