//! The rows of the list: all events that pass the filter, or those that need attention ([`Event::is_quiet`]). The other events count in
//! the newest row of their process.

use super::runs::{At, InRun, Runs};
use foldhash::{HashMap, HashSet};
use tracetui_events::event::process::ProcessKey;
use tracetui_events::event::{Event, EventContext};
use tracetui_events::store::index::{Answer, Index};
use tracetui_events::store::{Id, Store, Stored};
use tracetui_shared::kind::Kind;

/// Which of the events that pass the filter have a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) enum Listing {
    #[default]
    All,
    /// Those that are not quiet.
    Calm,
    /// The failures that nothing answered.
    Unanswered,
}

impl Listing {
    /// Whether an event that passes the filter has a row. `answered`: it needs no answer.
    pub(crate) fn has_row(self, event: &Event<'_>, answered: bool) -> bool {
        match self {
            Listing::All => true,
            Listing::Calm => !event.is_quiet(answered),
            Listing::Unanswered => event.failed() && !answered,
        }
    }
}

/// The events of a process without a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Quiet {
    pub opens: u64,
    /// Its exit.
    pub exit: Option<Id>,
    /// The newest row of the process.
    row: Option<Id>,
    /// Its newest event.
    last: Id,
}

/// The rows, if some events have none.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) listing: Listing,
    pub(super) index: Index,
    quiet: HashMap<ProcessKey, Quiet>,
    /// The processes whose quiet events have rows.
    open: HashSet<ProcessKey>,
    pub(super) runs: Runs,
    /// The number of processes at which those that are no longer kept are dropped.
    most: usize,
}

/// An event that passes the filter, or a gap.
#[derive(Clone, Copy)]
pub(crate) struct Added {
    pub id: Id,
    pub answer: Answer,
    /// Whether a watch matches it. It then has a row.
    pub watched: bool,
    /// Whether it needs no answer.
    pub answered: bool,
}

/// The least number of processes at which those that are no longer kept are dropped.
const PROCESSES: usize = 1 << 12;

impl Rows {
    pub(super) fn new(listing: Listing, folds: bool) -> Rows {
        Rows { listing, runs: Runs::new(folds), most: PROCESSES, ..Rows::default() }
    }

    /// Without rows, to add all events again. The unfolded rows stay unfolded.
    pub(super) fn again(&mut self, store: &Store) {
        let Rows { listing, open, runs, most, .. } = std::mem::take(self);
        *self = Rows { listing, open, runs: runs.again(), most, index: Index::new(store), ..Rows::default() };
    }

    /// Adds an event. `stays`: rows that no other may replace.
    pub(super) fn add(
        &mut self,
        Added { id, answer, watched, answered }: Added,
        seen: &EventContext<'_>,
        at: At,
        store: &Store,
        is_pinned: impl Fn(Id) -> bool,
    ) {
        let (event, key) = (seen.event, seen.process.map(|process| process.key));
        if answer == Answer::Marked {
            return self.put(id, answer, at);
        }
        let open = key.is_some_and(|key| self.open.contains(&key));
        if !open && !watched && !self.listing.has_row(event, answered) {
            return self.keep_quiet(id, event.kind(), key);
        }
        let index = &self.index;
        let is_row = |row: Id| index.get(index.place(row)) == Some(row);
        // Events of a run may be lost in a gap.
        let together = |row: Id| index.marked_before(row) == index.marked_before(id);
        let stays = |row: Id| is_pinned(if at == At::End { row } else { id });
        let (has_row, before, crowding) =
            self.runs.add(id, seen, at, |row| is_row(row) && together(row) && !stays(row));
        for (row, of) in before.into_iter().chain(crowding) {
            self.index.remove(row);
            // The new row is then the newest of its process.
            let replaced = has_row && at == At::End && of == key;
            of.filter(|_| !replaced).into_iter().for_each(|of| self.lost_row(of, row, store));
        }
        if has_row {
            self.put(id, answer, at);
            self.has_row(id, key);
        }
    }

    fn has_row(&mut self, id: Id, process: Option<ProcessKey>) {
        if let Some(quiet) = process.filter(|_| self.listing == Listing::Calm).map(|key| self.quiet_of(key)) {
            quiet.row = quiet.row.max(Some(id));
            quiet.last = quiet.last.max(id);
        }
    }

    /// Finds the newest row of a process again after one was removed.
    fn lost_row(&mut self, key: ProcessKey, row: Id, store: &Store) {
        let Some(quiet) = self.quiet.get_mut(&key).filter(|quiet| quiet.row == Some(row)) else { return };
        let of_process =
            |row: &Id| store.get(*row).and_then(|stored| stored.process).is_some_and(|process| process.key == key);
        let end = self.index.place(row);
        quiet.row = (end.saturating_sub(BACK)..end).rev().filter_map(|at| self.index.get(at)).find(of_process);
    }

    fn put(&mut self, id: Id, answer: Answer, at: At) {
        match at {
            At::End => self.index.append(id, answer),
            At::Start => self.index.prepend(id, answer),
        }
    }

    fn quiet_of(&mut self, key: ProcessKey) -> &mut Quiet {
        self.quiet.entry(key).or_default()
    }

    fn keep_quiet(&mut self, id: Id, kind: Kind, key: Option<ProcessKey>) {
        if let (Listing::Calm, Some(key)) = (self.listing, key) {
            let quiet = self.quiet_of(key);
            quiet.opens += u64::from(kind == Kind::Open);
            quiet.exit = quiet.exit.or((kind == Kind::Exit).then_some(id));
            quiet.last = quiet.last.max(id);
        }
    }

    /// Removes the row of a failure that was answered.
    pub(super) fn answered(&mut self, stored: &Stored<'_>, store: &Store, stays: bool) {
        let (id, key) = (stored.id, stored.process.map(|process| process.key));
        if stays || key.is_some_and(|key| self.open.contains(&key)) {
            return;
        }
        match self.runs.answered(stored, store) {
            InRun::Row(Some(older)) => {
                self.index.insert(older);
                self.has_row(older, store.get(older).and_then(|stored| stored.process).map(|process| process.key));
            }
            InRun::Row(None) => {}
            InRun::Other => return self.keep_quiet(id, stored.kind, key),
            InRun::No if self.index.get(self.index.place(id)) != Some(id) => return,
            InRun::No => {}
        }
        self.index.remove(id);
        self.keep_quiet(id, stored.kind, key);
        key.into_iter().for_each(|key| self.lost_row(key, id, store));
    }

    /// The events without a row that the row of an event counts.
    pub(super) fn quiet_at(&self, id: Id, key: ProcessKey) -> Option<Quiet> {
        let quiet = self.quiet.get(&key).filter(|quiet| quiet.row == Some(id) && !self.open.contains(&key))?;
        (quiet.opens > 0 || quiet.exit.is_some()).then_some(*quiet)
    }

    /// Gives the quiet events of a process rows, or takes them away. Returns whether that changes the rows.
    pub(super) fn open(&mut self, key: ProcessKey, opens: bool) -> bool {
        if opens { self.open.insert(key) } else { self.open.remove(&key) }
    }

    pub(super) fn fold_all(&mut self, folds: bool) {
        self.runs = Runs::new(folds);
        self.open.clear();
    }

    /// Removes the events that the store evicted.
    pub(super) fn evict(&mut self, store: &Store) {
        self.index.evict(store);
        self.runs.evict(store);
        if self.quiet.len() > self.most {
            let first = store.first_id();
            self.quiet.retain(|_, quiet| quiet.last >= first);
            self.most = PROCESSES.max(2 * self.quiet.len());
            self.quiet.shrink_to(self.most);
        }
    }

    /// Bytes in use, without the index.
    pub(super) fn bytes(&self) -> usize {
        self.quiet.capacity() * size_of::<(ProcessKey, Quiet)>() + self.runs.bytes()
    }
}

/// How many rows are examined for an older row of a process.
const BACK: usize = 1 << 10;

#[cfg(test)]
mod tests {
    use crate::app::testing::{app, feed, keys};
    use crate::app::{App, Failures};
    use proptest::prelude::*;
    use tracetui_events::store::Id;
    use tracetui_events::synthetic::{Maker, payload};
    use tracetui_shared::id::Tgid;
    use tracetui_shared::kind::{Kind, Slot};
    use tracetui_shared::record::bpf::{BpfRecord, call, cmd};
    use tracetui_shared::record::exec::ExecRecord;
    use tracetui_shared::record::identity::Identity;
    use tracetui_shared::record::open::{CREATED, OpenRecord};
    use zerocopy::{FromZeros as _, IntoBytes as _};

    fn calm(made: &mut Maker) -> App {
        let mut app = app(100, 24, 64 << 20);
        app.set_calm(true);
        feed(&mut app, made);
        app
    }

    /// The rows, each with the number of its events and the number of quiet opens that it counts.
    fn rows(app: &App) -> Vec<(Id, u64, u64)> {
        let row = |id: Id| {
            let stored = app.store().get(id).expect("kept");
            let quiet = stored.process.and_then(|process| app.events().quiet(id, process.key));
            let run = app.events().run_of(id).map_or(1, |run| run.events);
            (id, run, quiet.map_or(0, |quiet| quiet.opens))
        };
        (0..app.events().rows()).filter_map(|at| app.events().row(at)).map(row).collect()
    }

    /// Feeds the events at once, one by one, and filters them again: the rows are the same.
    #[track_caller]
    fn check(make: impl Fn(&mut Maker), want: &[(Id, u64, u64)]) {
        let mut made = Maker::default();
        make(&mut made);
        let mut app = calm(&mut made);
        assert_eq!(rows(&app), want);
        app.refilter();
        assert_eq!(rows(keys(&mut app, "")), want, "filtered again");
    }

    #[test]
    fn quiet_opens_are_counted_in_the_newest_row_of_their_process() {
        let make = |made: &mut Maker| {
            made.exec(7, "cat", &["cat", "a"], 0);
            made.open(7, "cat", "/etc/ld.so.cache", 3);
            made.open(8, "dog", "/etc/x", 3);
            made.open_all(7, "cat", "/usr/share/locale/C/LC_MESSAGES/x.mo:-2 /a:-13 /b");
            made.exit(7, "cat", 0);
        };
        check(make, &[(0, 1, 0), (4, 1, 3)]);
        let mut made = Maker::default();
        make(&mut made);
        let mut app = calm(&mut made);
        keys(&mut app, "l");
        assert_eq!(rows(&app).iter().map(|row| row.0).collect::<Vec<_>>(), [0, 1, 3, 4, 5, 6], "all of the process");
        assert_eq!(app.events().selected(), Some(4));
        assert_eq!(rows(keys(&mut app, "h")), [(0, 1, 0), (4, 1, 3)]);
        assert_eq!(keys(&mut app, "O").events().rows(), 7);
        assert_eq!(keys(&mut app, "Op").events().rows(), 6, "a filter for a process lists its opens");
    }

    #[test]
    fn a_failure_goes_when_it_is_answered() {
        let search = |made: &mut Maker| {
            made.exec(7, "cc1", &["cc1"], 0);
            ["/a", "/b", "/c"].iter().for_each(|dir| made.open(7, "cc1", &format!("{dir}/x.h"), -2));
        };
        check(search, &[(0, 1, 0), (3, 3, 0)]);
        let found = |made: &mut Maker| {
            search(made);
            made.open(7, "cc1", "/d/x.h", 3);
        };
        check(found, &[(0, 1, 4)]);
        let mut made = Maker::default();
        search(&mut made);
        let mut app = calm(&mut made);
        made.open(7, "cc1", "/d/x.h", 3);
        assert_eq!(rows(feed(&mut app, &mut made)), [(0, 1, 4)], "answered later");
    }

    #[test]
    fn a_run_is_one_row_whatever_is_between() {
        let alternating = |made: &mut Maker| {
            (0..6).for_each(|number| made.open(7, "sh", ["/m", "/f"][number % 2], -13));
        };
        check(alternating, &[(4, 3, 0), (5, 3, 0)]);
        let processes = |made: &mut Maker| {
            for pid in 10..40 {
                made.exit(pid, "uhide", 3 << 8);
                made.exec(50, "ls", &["ls", &pid.to_string()], -13);
            }
        };
        let mut made = Maker::default();
        processes(&mut made);
        assert!(rows(&calm(&mut made)).contains(&(58, 30, 0)));
        // Events may be missing.
        let gap = |made: &mut Maker| {
            made.open(7, "sh", "/m", -13);
            made.lost(5);
            made.open_all(7, "sh", "/m:-13 /m:-13");
        };
        let mut made = Maker::default();
        gap(&mut made);
        let runs: Vec<_> = rows(&calm(&mut made)).iter().map(|row| row.1).collect();
        assert_eq!(runs, [1, 1, 2]);
    }

    #[test]
    fn a_poll_stays_one_row_among_many_other_rows() {
        let mut made = Maker::default();
        for second in 0..6 {
            made.open(7, "poll", "/run/key", -13);
            (0..4000).for_each(|number| made.open(8, "guess", &format!("/srv/{second}/{number}"), -13));
            made.ns += 1_000_000_000;
        }
        let app = calm(&mut made);
        let polls = rows(&app).into_iter().filter(|(_, events, _)| *events > 1).collect::<Vec<_>>();
        assert_eq!(polls.iter().map(|poll| poll.1).collect::<Vec<_>>(), [6]);
    }

    #[test]
    fn many_names_that_are_not_in_a_directory_share_a_row() {
        let guess = |made: &mut Maker| {
            (0..100).for_each(|number| made.open(8, "guess", &format!("/srv/{number}"), -2));
        };
        let mut made = Maker::default();
        guess(&mut made);
        made.open(8, "guess", "/etc/x", -2);
        made.open(9, "other", "/srv/x", -2);
        let mut app = calm(&mut made);
        let all = rows(&app);
        assert_eq!((all.len(), all[0]), (3, (99, 100, 0)));
        // One of them is answered.
        made.open(8, "guess", "/opt/50", 3);
        assert_eq!(rows(feed(&mut app, &mut made))[0].1, 99);
        let remark = app.events().run_of(99).map(|run| run.remarks()[0].clone());
        assert_eq!(remark.as_deref(), Some("x99 in this directory"));
        app.events.select(99, 20, &app.store);
        assert_eq!(keys(&mut app, "l").events().rows(), 101, "unfolded");
    }

    #[test]
    fn a_storm_of_programs_shares_rows() {
        let mut made = Maker::default();
        made.exec(7, "cat", &["cat"], 0);
        let program = |made: &mut Maker, pid: u32, command: u16| {
            let record =
                BpfRecord { call: call::BPF, cmd: command, prog_id: made.ns as u32, ..BpfRecord::new_zeroed() };
            made.event(Slot::Bpf, pid, "loader", record.as_bytes());
        };
        for pid in 0..100 {
            program(&mut made, 100 + pid % 2, cmd::PROG_LOAD);
            program(&mut made, 100 + pid % 2, cmd::LINK_CREATE);
        }
        let mut app = calm(&mut made);
        let storm = [(0, 1, 0), (199, 100, 0), (200, 100, 0)];
        assert_eq!(rows(&app), storm);
        assert_eq!(app.events().run_of(200).map(|run| run.remarks()[0].clone()).as_deref(), Some("x100 like this"));
        app.refilter();
        assert_eq!(rows(keys(&mut app, "")), storm, "filtered again");
    }

    #[test]
    fn a_poll_is_no_crowd() {
        let mut made = Maker::default();
        for number in 0..50 {
            made.open(8, "poll", "/srv/key", -2);
            if number % 10 == 0 {
                made.open(8, "poll", &format!("/srv/{number}"), -2);
            }
        }
        assert_eq!(rows(&calm(&mut made)).len(), 6);
    }

    #[test]
    fn names_that_are_looked_for_again_and_again_share_a_row() {
        let mut made = Maker::default();
        for _ in 0..5 {
            (0..100).for_each(|number| made.open(8, "guess", &format!("/srv/{number}"), -2));
        }
        let mut app = calm(&mut made);
        for _ in 0..5 {
            (0..100).for_each(|number| made.open(8, "guess", &format!("/srv/{number}"), -2));
            feed(&mut app, &mut made);
        }
        assert_eq!(rows(&app), [(999, 1000, 0)]);
    }

    #[test]
    fn a_search_counts_what_has_no_row() {
        let mut made = Maker::default();
        made.exec(7, "cat", &["cat", "/etc/motd"], 0);
        (0..3).for_each(|number| made.open(7, "cat", &format!("/etc/{number}"), 3));
        let mut app = calm(&mut made);
        keys(&mut app, "/etc\n");
        let place = |app: &App| {
            let place = app.search.place(app.events(), app.store()).expect("counted");
            (place.at, place.all, place.unlisted)
        };
        assert_eq!(place(&app), (Some(1), 1, 3));
        made.open_all(7, "cat", "/etc/x /etc/y:-13");
        assert_eq!(place(feed(&mut app, &mut made)).1..=place(&app).2, 2..=4);
        assert_eq!((place(keys(&mut app, "O")).1, place(&app).2), (6, 0));
        assert_eq!(place(keys(&mut app, "O/etc/1\n")), (None, 0, 1));
        assert_eq!(app.screen.message(), Some("no match in the list; O lists all opens"));
    }

    #[test]
    fn a_long_time_without_rows_is_a_line() {
        let mut made = Maker::default();
        made.exec(7, "cat", &["cat"], 0);
        made.open(7, "cat", "/a", 3);
        made.ns += 41_000_000_000;
        made.open(7, "cat", "/b", 3);
        made.exec(8, "dog", &["dog"], 0);
        made.ns += 41_000_000_000;
        made.exec(9, "cow", &["cow"], 0);
        let mut app = calm(&mut made);
        let quiet: Vec<_> = app.events().screen(9, app.store()).iter().map(|line| line.quiet).collect();
        assert_eq!(quiet, [false, true, false, false], "without events there is no line");
        assert_eq!(app.events().pause_before(1, app.store()), Some(41_003_000_000));
        for (typed, selected) in [("k", 3), ("k", 0), ("j", 3), ("g", 0), ("G", 4)] {
            assert_eq!(keys(&mut app, typed).events().selected(), Some(selected), "{typed}");
        }
    }

    #[test]
    fn created_files_of_a_directory_are_a_run_and_so_are_many_execs_of_a_program() {
        let create = |made: &mut Maker, number: u32| {
            let record = OpenRecord { ret: 3, how_marks: CREATED, ..OpenRecord::default() };
            made.event(Slot::Open, 7, "opt", &payload::open(record, b"", format!("/tmp/{number}.o").as_bytes()));
        };
        check(|made| (0..5).for_each(|number| create(made, number)), &[(4, 5, 0)]);
        let mut made = Maker::default();
        let exec = |made: &mut Maker, pid: u32| made.exec(100 + pid, "cc1", &["cc1", &format!("{pid}.c")], 0);
        (0..16).for_each(|pid| exec(&mut made, pid));
        made.exec(50, "as", &["as"], 0);
        let mut app = calm(&mut made);
        assert_eq!(rows(&app).iter().map(|row| row.1).collect::<Vec<_>>(), [1; 17]);
        (16..30).for_each(|pid| exec(&mut made, pid));
        assert_eq!(rows(feed(&mut app, &mut made)), [(16, 1, 0), (30, 30, 0)]);
        let remark = app.events().run_of(30).map(|run| run.remarks()[0].clone());
        assert_eq!(remark.as_deref(), Some("x30, other arguments"));
    }

    #[test]
    fn another_program_has_a_row_of_its_own() {
        let exec = |made: &mut Maker, pid: u32, path: &[u8], exe: &[u8], file: (u64, i64, u32)| {
            let exec = payload::Exec { filename: path, exe, argv: b"update\0", ..payload::Exec::default() };
            let file = Identity { ino: file.0, changed: file.1, changed_ns: file.2, ..Identity::default() };
            let record = ExecRecord { file, ..ExecRecord::default() };
            made.event(Slot::Exec, pid, "update", &exec.with(record, Default::default(), Default::default()));
        };
        // The other one has another inode, another time of the last change, or another path.
        let (same, exe) = ((7, 1, 5), &b"update\0srv\0"[..]);
        for (other, path) in [((8, 1, 5), exe), ((7, 2, 5), exe), (same, &b"other\0srv\0"[..])] {
            for asked in [&b"./update"[..], b"/proc/self/fd/3"] {
                let mut made = Maker::default();
                for pid in 100..120 {
                    match pid == 107 {
                        true => exec(&mut made, pid, asked, path, other),
                        false => exec(&mut made, pid, asked, exe, same),
                    }
                }
                let rows = rows(&calm(&mut made));
                assert_eq!(rows.iter().map(|row| row.1).collect::<Vec<_>>(), [1, 19], "{rows:?}");
            }
        }
        // What stat(2) leaves in the time is no change.
        let mut made = Maker::default();
        exec(&mut made, 100, b"./update", exe, same);
        exec(&mut made, 101, b"./update", exe, (7, 1, 5 | 1 << 31));
        assert_eq!(rows(&calm(&mut made)).len(), 1);
        // The file of a script is not known. The event has that of its interpreter.
        for (filename, runs) in [(&b"./update.sh"[..], 20), (b"/srv/update.sh", 20), (b"/usr/bin/ldd", 1)] {
            let mut made = Maker::default();
            for pid in 100..120 {
                let exec =
                    payload::Exec { filename, interp: b"/bin/sh", exe: b"sh\0bin\0", ..payload::Exec::default() };
                made.event(Slot::Exec, pid, "update.sh", &exec.bytes());
            }
            assert_eq!(rows(&calm(&mut made)).len(), runs);
        }
        // Which file the descriptor is is not known.
        let mut made = Maker::default();
        (100..103).for_each(|pid| made.open(pid, "cat", "/proc/self/fd/3", -13));
        assert_eq!(rows(&calm(&mut made)).len(), 3);
    }

    #[test]
    fn a_storm_of_processes_that_fail_alike_shares_rows() {
        let mut made = Maker::default();
        made.exec(7, "sh", &["sh"], 0);
        for pid in 100..140 {
            made.fork(7, "sh", pid);
            made.exec(pid, "cat", &["cat", &pid.to_string()], 0);
            made.open(pid, "cat", &format!("/srv/{pid}"), -2);
            made.exit(pid, "cat", 1 << 8);
        }
        let app = calm(&mut made);
        let all = rows(&app);
        assert_eq!(all.iter().map(|row| row.1).collect::<Vec<_>>(), [1, 40, 40, 40]);
        let remarks = all.iter().skip(1).map(|row| app.events().run_of(row.0).expect("a run").remarks()[0].clone());
        let alike = ["x40, other arguments", "x40 in this directory", "x40, other arguments"];
        assert_eq!(remarks.collect::<Vec<_>>(), alike);
    }

    #[test]
    fn a_poll_is_one_row_with_its_interval() {
        let mut made = Maker::default();
        for number in 0..312 {
            made.ns += 999_000_000;
            made.open(7, "collectd", "/etc/ssl/app.key", -13);
            if number % 50 == 0 {
                made.exec(100 + number, "date", &["date", &number.to_string()], 0);
            }
        }
        let mut app = calm(&mut made);
        let poll = app.events().selected().expect("the newest row");
        assert_eq!(app.events().run_of(poll).expect("a run").remarks()[0], "every 1.0 s, x312");
        assert_eq!(rows(&app).len(), 8);
        assert_eq!(rows(keys(&mut app, "l")).len(), 7 + 312);
        assert_eq!(rows(keys(&mut app, "h")).len(), 8);
        // What is selected is not replaced.
        keys(keys(&mut app, "k"), "j");
        made.ns += 999_000_000;
        made.open(7, "collectd", "/etc/ssl/app.key", -13);
        assert_eq!((feed(&mut app, &mut made).events().selected(), rows(&app).len()), (Some(poll), 9));
        assert_eq!(rows(keys(&mut app, "a")).len(), 7 + 313, "nothing is folded");
    }

    #[test]
    fn the_failures_are_first_those_that_nothing_answered() {
        let mut made = Maker::default();
        made.open_all(7, "cc1", "/a/x.h:-2 /b/x.h /b/y.h:-2");
        made.exit(7, "cc1", 1 << 8);
        made.exit(8, "true", 0);
        let mut app = calm(&mut made);
        let mut listed = |typed: &str| {
            keys(&mut app, typed);
            (rows(&app).iter().map(|row| row.0).collect::<Vec<_>>(), app.screen.failures)
        };
        assert_eq!(listed("e"), (vec![2, 3], Failures::Unanswered));
        assert_eq!(listed("e"), (vec![0, 2, 3], Failures::All));
        assert_eq!(listed("e"), (vec![2, 3], Failures::Off), "calm");
    }

    fn make(made: &mut Maker, number: u32) {
        let pid = 7 + number % 3;
        let path = format!("{}/{}", ["/a", "/b"][(number / 3 % 2) as usize], ["x", "y"][(number / 6 % 2) as usize]);
        made.like.ppid = Tgid(1);
        match number / 12 {
            0 => made.lost(3),
            1 => made.exec(pid, "sh", &["ld"], [0, -2][(number % 2) as usize]),
            2 => made.exit(pid, "sh", (number % 2) << 8),
            3 => made.ns += 20_000_000_000,
            4 | 5 => made.open(pid, "sh", &path, 3),
            _ => made.open(pid, "sh", &path, [-2, -13][(number % 2) as usize]),
        }
    }

    proptest! {
        #[test]
        fn every_event_is_counted_once(numbers in prop::collection::vec(0u32..108, 1..80)) {
            let (mut app, mut made) = (app(80, 12, 64 << 20), Maker::default());
            app.set_calm(true);
            for part in numbers.chunks(5) {
                part.iter().for_each(|number| make(&mut made, *number));
                let listed: u64 = rows(feed(&mut app, &mut made)).iter().map(|row| row.1).sum();
                let quiet = (app.store().first_id()..app.store().next_id()).filter_map(|id| app.store().get(id));
                let quiet = quiet.filter(|stored| {
                    stored.kind != Kind::Lost && stored.event().is_ok_and(|event| event.is_quiet(stored.answered))
                });
                prop_assert_eq!(listed + quiet.count() as u64, app.store().next_id());
            }
            let before = rows(&app);
            let counted = |rows: &[(Id, u64, u64)]| {
                (rows.iter().map(|row| row.1).sum::<u64>(), rows.iter().map(|row| row.2).sum::<u64>())
            };
            app.refilter();
            prop_assert_eq!(counted(&rows(keys(&mut app, ""))), counted(&before));
        }
    }
}
