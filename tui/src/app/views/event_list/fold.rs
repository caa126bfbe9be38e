//! Folding: consecutive rows that say the same, or belong to one search, share a line of the list.
//!
//! Whether two neighbours belong together depends only on these two. Lines are therefore found around any row without a scan of the list,
//! and without stored state. A line shows its last row, which is the result of a search.

use std::sync::Arc;
use tracetui_events::event::file_identity::identity;
use tracetui_events::event::open::Open;
use tracetui_events::event::{Body, names};
use tracetui_events::search::{looks_further, missed, names_descriptor};
use tracetui_events::store::Stored;
use tracetui_shared::header::FrameHeader;
use tracetui_shared::kind::Kind;

/// At each multiple of MOST rows, a line with more than [`LONG`] rows is ended. A line is therefore shorter than MOST + LONG rows. This
/// bounds the work per screen, however long the same event repeats.
pub(crate) const MOST: usize = 128;

/// The length at which such a multiple ends a line.
pub(crate) const LONG: usize = 64;

/// What the rows of a line have in common.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Fold {
    /// Equal events at different times.
    Repeats,
    /// Equal events that did not find a name: a directory may be in PATH twice. Part of a search that continues elsewhere.
    Misses,
    /// A process looked for a name in one directory after another. Every call but the last missed.
    Search,
}

impl Fold {
    /// Whether two neighbours continue the fold of the upper one with the row above it.
    pub(super) fn continues(self, above: Fold) -> bool {
        (self == Fold::Repeats) == (above == Fold::Repeats)
    }

    /// Joins the folds of further rows.
    pub(super) fn with(self, more: Option<Fold>) -> Fold {
        more.filter(|more| *more == Fold::Search).unwrap_or(self)
    }
}

/// A line of the list: a row, or several that are folded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Line {
    /// The position of the oldest row.
    pub(crate) first: usize,
    /// The position of the newest row, which the line shows.
    pub(crate) last: usize,
    /// Why the rows share a line; `None` for a single row.
    pub(crate) fold: Option<Fold>,
    /// Whether it is not the line of the row but the one above it, for the events without a row in a long time before it.
    pub(crate) quiet: bool,
}

impl Line {
    pub(super) fn of(at: usize) -> Line {
        Line { first: at, last: at, fold: None, quiet: false }
    }

    /// The line above a row, for the events without a row before it.
    pub(super) fn quiet(at: usize) -> Line {
        Line { quiet: true, ..Line::of(at) }
    }

    /// The line without the rows before `first` and after `last`.
    pub(super) fn cut(self, first: usize, last: usize) -> Line {
        let (first, last) = (self.first.max(first), self.last.min(last));
        Line { first, last, fold: self.fold.filter(|_| first < last), ..self }
    }

    pub(super) fn has(&self, at: usize) -> bool {
        !self.quiet && (self.first..=self.last).contains(&at)
    }

    /// The remark on the folded rows, with their total number. Empty for a single row.
    pub(crate) fn remark(&self) -> String {
        let rows = self.last - self.first + 1;
        match self.fold {
            None => String::new(),
            Some(Fold::Repeats | Fold::Misses) => format!("x{rows}"),
            Some(Fold::Search) => format!("searched {rows}"),
        }
    }

    /// The texts beside the line, longest first: the remark, and where its search found the name if that row is not in the list.
    pub(crate) fn remarks(&self, found: Option<&str>) -> Vec<String> {
        let (remark, rows) = (self.remark(), self.last - self.first + 1);
        match found {
            Some(dir) => {
                let all =
                    |outcome: &str| if remark.is_empty() { outcome.to_owned() } else { format!("{remark}, {outcome}") };
                let place = format!("found in {dir}");
                vec![all(&place), all("found later"), place, "found later".to_owned(), "found".to_owned()]
            }
            None if remark.is_empty() => Vec::new(),
            None if self.fold == Some(Fold::Search) => vec![remark, format!("x{rows}")],
            None => vec![remark],
        }
    }
}

/// The fold of a row and the next one.
pub(super) fn common(row: &Stored<'_>, next: &Stored<'_>) -> Option<Fold> {
    let (process, its) = (row.process?, next.process?);
    if row.kind != next.kind || row.kind == Kind::Lost || process.key != its.key {
        return None;
    }
    let (one, other) = (row.event().ok()?, next.event().ok()?);
    let who = |header: &FrameHeader| {
        (header.comm, header.uid, header.gid, header.ppid, header.cgroup, header.mnt_ns, header.pid_ns)
    };
    let same = who(&one.header) == who(&other.header) && Arc::ptr_eq(&process.image, &its.image);
    if same && repeats(row, &one.body, next, &other.body) {
        return Some(if missed(&one.body) == Some(true) { Fold::Misses } else { Fold::Repeats });
    }
    looks_further(&one.body, &other.body).then_some(Fold::Search)
}

/// Whether the second event has the same result and details.
fn repeats(row: &Stored<'_>, body: &Body<'_>, next: &Stored<'_>, next_body: &Body<'_>) -> bool {
    match (body, next_body) {
        // Flags without an effect on the file may differ.
        (Body::Open(one), Body::Open(other)) => {
            let truncates = |open: &Open<'_>| open.flags() & names::O_TRUNC != 0;
            let shown = |open: &Open<'_>| {
                (open.record.ret, open.remark(), open.euid(), names::access_letters(open.flags()), truncates(open))
            };
            let inode = |body| identity(body).and_then(Result::ok).map(|file| (file.device, file.ino));
            let same_file = one.path == other.path
                && (one.names.bytes, one.names.fs) == (other.names.bytes, other.names.fs)
                && inode(body) == inode(next_body);
            shown(one) == shown(other) && same_file && (is_placed(one) || missed(body) == Some(true))
        }
        (Body::Exec(exec), _) if names_descriptor(exec.filename) && missed(body) != Some(true) => false,
        _ => row.frame().payload == next.frame().payload,
    }
}

/// Whether the file is certain. A relative path alone may name a different file each time, because the working directory may change; so
/// may a descriptor.
fn is_placed(open: &Open<'_>) -> bool {
    let fixed = open.path.first() == Some(&b'/') && !names_descriptor(open.path);
    fixed || open.record.ret >= 0 && open.names.is_known()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::App;
    use crate::app::testing::{self, app, feed, keys, press, work};
    use proptest::prelude::*;
    use tracetui_events::store::Id;
    use tracetui_events::synthetic::{Maker, payload};
    use tracetui_shared::id::{Gid, NsInum};
    use tracetui_shared::kind::Slot;
    use tracetui_shared::record::mark;
    use tracetui_shared::record::open::OpenRecord;

    const MEMORY: u64 = 64 << 20;

    /// All lines, oldest first.
    fn lines(app: &App) -> Vec<Line> {
        app.events().lines_down(0, app.store()).collect()
    }

    /// The event that each line shows, with its remark.
    fn said(app: &App) -> Vec<(Id, String)> {
        let said = lines(app).into_iter().map(|line| (app.events().row(line.last).expect("a row"), line.remark()));
        said.collect()
    }

    #[track_caller]
    fn check(app: &App, want: &[(Id, &str)]) {
        let said = said(app);
        let said: Vec<_> = said.iter().map(|(id, remark)| (*id, remark.as_str())).collect();
        assert_eq!(said, want);
    }

    fn of(made: &mut Maker) -> App {
        let mut app = app(80, 24, MEMORY);
        feed(&mut app, made);
        app
    }

    /// A header search, with the calls before and after.
    fn searched() -> Maker {
        let mut made = Maker::default();
        made.open(7, "cc1", "/etc/x", 3);
        for dir in ["/a", "/b", "/c"] {
            made.open(7, "cc1", &format!("{dir}/stdio.h"), -2);
        }
        made.open_all(7, "cc1", "/d/stdio.h:4 /a/stdio.h:4");
        made
    }

    #[test]
    fn equal_rows_are_one_line_with_their_number() {
        let mut made = Maker::default();
        for _ in 0..3 {
            made.open(7, "cat", "/a", 3);
        }
        made.open_all(7, "cat", "/a:4 /a:-2 /a:-2");
        made.open(8, "cat", "/a", -2);
        made.open(8, "dog", "/a", -2);
        made.exec(8, "dog", &["sh", "-c", "x"], 0);
        made.exec(8, "dog", &["sh", "-c", "x"], 0);
        let app = of(&mut made);
        // An exec starts another program, even if it has the same path.
        check(&app, &[(2, "x3"), (3, ""), (5, "x2"), (6, ""), (7, ""), (8, ""), (9, "")]);
        assert_eq!((app.events().rows(), app.events().events()), (10, 10), "nothing that is counted changes");
    }

    #[test]
    fn what_may_be_another_file_is_not_folded() {
        let mut made = Maker::default();
        let open = |made: &mut Maker, flags: i32, path: &str, ret: i32| {
            let flags = flags.cast_unsigned().into();
            let record = OpenRecord { ret, flags, names_marks: mark::RACED, ..OpenRecord::default() };
            made.event(Slot::Open, 7, "sh", &payload::open(record, b"", path.as_bytes()));
        };
        // Refused in an unknown working directory, and opened in one.
        (0..2).for_each(|_| open(&mut made, 0, "shadow", -libc::EACCES));
        (0..2).for_each(|_| open(&mut made, 0, "shadow", 3));
        // Truncated in between.
        for flags in [libc::O_WRONLY, libc::O_WRONLY | libc::O_TRUNC, libc::O_WRONLY] {
            open(&mut made, flags, "/var/log/auth.log", 3);
        }
        // In other mount namespaces, and with another group id.
        for (mnt_ns, gid) in [(1, 0), (2, 0), (2, 5)] {
            made.like = FrameHeader { mnt_ns: NsInum(mnt_ns), gid: Gid(gid), ..made.like };
            open(&mut made, 0, "/etc/hostname", 3);
        }
        // A missing file is no file, wherever a process looks for it.
        (0..3).for_each(|_| open(&mut made, 0, "none", -libc::ENOENT));
        let app = of(&mut made);
        check(&app, &(0..10).map(|id| (id, "")).chain([(12, "x3")]).collect::<Vec<_>>());
    }

    #[test]
    fn a_search_is_the_line_of_what_was_found_or_of_the_last_failure() {
        let mut made = searched();
        made.exec(9, "sh", &["ld"], -2);
        let app = of(&mut made);
        check(&app, &[(0, ""), (4, "searched 4"), (5, ""), (6, "")]);
        let mut made = Maker::default();
        for dir in ["/a", "/b", "/c"] {
            made.open(7, "env", &format!("{dir}/x"), -2);
        }
        let mut app = of(&mut made);
        check(&app, &[(2, "searched 3")]);
        // A directory that is twice in PATH.
        made.open_all(7, "env", "/c/x:-2 /d/x:-20 /d/y:-2 /d/y:-2 /e/y /e/y /e/y");
        check(feed(&mut app, &mut made), &[(4, "searched 5"), (7, "searched 3"), (9, "x2")]);
    }

    #[test]
    fn what_refused_stays_in_a_row_of_its_own() {
        let mut made = Maker::default();
        made.open_all(7, "a", "/a/x:-2 /b/x:-13 /c/x:-2 /d/x");
        // The same directory again is not a search, and neither are other processes or names.
        made.open_all(7, "a", "/e/x:-2 /e/x /f/x:-2");
        made.open_all(8, "a", "/g/x /g/..:-2 /h/..:-2");
        let app = of(&mut made);
        check(&app, &[(0, ""), (1, ""), (3, "searched 2"), (4, ""), (5, ""), (6, ""), (7, ""), (8, ""), (9, "")]);
    }

    #[test]
    fn a_gap_is_never_folded_and_no_line_spans_it() {
        let mut made = Maker::default();
        for _ in 0..3 {
            made.open_all(7, "cat", "/a /a");
            made.lost(5);
        }
        let mut app = of(&mut made);
        check(&app, &[(1, "x2"), (2, ""), (4, "x2"), (5, ""), (7, "x2"), (8, "")]);
        assert_eq!(keys(&mut app, "!n").events().selected(), Some(2));
    }

    #[test]
    fn other_rows_end_a_line_unless_they_are_filtered() {
        let mut made = Maker::default();
        for _ in 0..3 {
            made.open(7, "cat", "/a", 3);
            made.open(8, "dog", "/b", 3);
        }
        let mut app = of(&mut made);
        assert_eq!(lines(&app).len(), 6);
        check(keys(&mut app, "kp"), &[(4, "x3")]);
    }

    #[test]
    fn the_selected_event_ends_its_line() {
        let mut made = searched();
        let mut app = of(&mut made);
        // A text search lands on events inside folds.
        assert_eq!(keys(&mut app, "g/b.stdio\n").events().selected(), Some(2));
        check(&app, &[(0, ""), (2, "searched 2"), (4, "searched 2"), (5, "")]);
        // New rows of the selected line do not move the selection.
        keys(&mut app, "G");
        let mut made = Maker { ns: made.ns, ..Maker::default() };
        made.open(7, "cc1", "/z", 3);
        keys(feed(&mut app, &mut made), "k");
        keys(&mut app, "j");
        made.open_all(7, "cc1", "/z /z");
        assert_eq!(feed(&mut app, &mut made).events().selected(), Some(6));
        check(&app, &[(0, ""), (4, "searched 4"), (5, ""), (6, ""), (8, "x2")]);
        check(keys(&mut app, "j"), &[(0, ""), (4, "searched 4"), (5, ""), (8, "x3")]);
        // Turning folding on does not move the selection.
        assert_eq!(keys(&mut app, "akka").events().selected(), Some(6));
        check(&app, &[(0, ""), (4, "searched 4"), (5, ""), (6, ""), (8, "x2")]);
    }

    #[test]
    fn a_line_is_unfolded_and_folded() {
        let mut made = searched();
        let folded = [(0, ""), (4, "searched 4"), (5, "")];
        let all = [(0, ""), (1, ""), (2, ""), (3, ""), (4, ""), (5, "")];
        let mut app = of(&mut made);
        // The newest row is not folded, so it scrolls.
        check(keys(&mut app, "l"), &folded);
        assert_eq!(app.events().sideways, 8);
        keys(keys(&mut app, "hk"), "l");
        check(&app, &all);
        assert_eq!((app.events().selected(), app.events().sideways), (Some(4), 0));
        assert_eq!(keys(&mut app, "l").events().sideways, 8);
        check(keys(&mut app, "hkkh"), &folded);
        assert_eq!(app.events().selected(), Some(4));
        check(keys(&mut app, "a"), &all);
        assert_eq!(keys(&mut app, "l").events().sideways, 8, "nothing is folded");
        check(keys(&mut app, "\x12"), &folded);
    }

    #[test]
    fn moving_goes_by_lines_and_following_goes_on() {
        let mut made = searched();
        let mut app = of(&mut made);
        assert!(app.events().follows());
        assert_eq!(keys(&mut app, "k").events().selected(), Some(4));
        assert_eq!(keys(&mut app, "k").events().selected(), Some(0));
        assert_eq!(keys(&mut app, "kj").events().selected(), Some(4));
        assert_eq!(keys(&mut app, "g").events().selected(), Some(0));
        keys(&mut app, "G");
        made.open(7, "cc1", "/a/stdio.h", 4);
        assert!(feed(&mut app, &mut made).events().follows());
        check(&app, &[(0, ""), (4, "searched 4"), (6, "x2")]);
    }

    #[test]
    fn copying_copies_the_shown_event() {
        let mut made = searched();
        let mut app = of(&mut made);
        keys(&mut app, "k");
        let copied = |app: &mut App, typed: &str| {
            keys(app, typed);
            testing::copied(press(app, 'y')).unwrap_or_default()
        };
        let line = copied(&mut app, "");
        assert!(line.ends_with("fd 4 r  /d/stdio.h  searched 4"), "what one sees: {line}");
        // Names where the search found the name if that row is hidden. Beside a single row it names nothing.
        let line = copied(&mut app, "ee");
        assert!(line.ends_with("ENOENT r  /c/stdio.h  searched 3, found in /d"), "{line}");
        let line = copied(&mut app, "eaGk");
        assert!(line.ends_with("fd 4 r  /d/stdio.h"), "{line}");
    }

    #[test]
    fn a_search_is_one_line_at_every_row() {
        let mut made = Maker::default();
        // Five rows each, so that a search spans the 128th row.
        for number in 0..60 {
            for dir in ["/a", "/b", "/c", "/d"] {
                made.open(7, "cc1", &format!("{dir}/{number}.h"), -2);
            }
            made.open(7, "cc1", &format!("/e/{number}.h"), 4);
        }
        let app = of(&mut made);
        assert!(lines(&app).iter().all(|line| line.last - line.first == 4), "{:?}", lines(&app));
    }

    #[test]
    fn long_repeats_are_several_lines_wherever_the_list_begins() {
        let mut made = Maker::default();
        for _ in 0..3 * MOST + 104 {
            made.open(7, "cat", "/a", 3);
        }
        let mut app = of(&mut made);
        let numbers = |app: &App| lines(app).iter().map(|line| line.last + 1 - line.first).collect::<Vec<_>>();
        assert_eq!(numbers(&app), [128, 128, 128, 104]);
        // After a new filter, the multiples count from the newest row.
        work(keys(&mut app, "fkind=open\n"));
        assert_eq!(numbers(&app), [104, 128, 128, 128]);
        for _ in 0..5 {
            made.open(7, "cat", "/a", 3);
        }
        assert_eq!(numbers(feed(&mut app, &mut made)), [104, 128, 128, 128, 5]);
    }

    /// An event made from a number. There are few processes, names and results, so that much is folded.
    fn make(made: &mut Maker, number: u32) {
        let pid = 7 + number % 2;
        let dir = ["/a", "/b"][(number / 2 % 2) as usize];
        let ret = [3, -2, -2, -13][(number / 4 % 4) as usize];
        match number / 16 {
            0 => made.lost(3),
            1 => made.exec(pid, "sh", &["ld"], ret.min(0)),
            2 => made.exit(pid, "sh", 0),
            at => made.open(pid, "sh", &format!("{dir}/{}", ["x", "y"][(at % 2) as usize]), ret),
        }
    }

    #[track_caller]
    fn check_whole(app: &App) {
        let (list, store, rows) = (app.events(), app.store(), app.events().rows());
        let lines = lines(app);
        let mut up: Vec<_> = list.lines_up(rows.checked_sub(1), store).collect();
        up.reverse();
        assert_eq!(lines, up, "from above and from below");
        let mut next = 0;
        for line in &lines {
            assert_eq!(line.first, next);
            next = line.last + 1;
            let stored = |at| list.row(at).and_then(|id| store.get(id)).expect("a row");
            let shown = stored(line.last);
            assert_eq!(line.fold.is_some(), line.last > line.first);
            for at in line.first..line.last {
                let folded = stored(at);
                assert!(folded.kind == shown.kind && folded.kind != Kind::Lost);
                let hides = folded.failed && !shown.failed;
                assert!(!hides || line.remark() == format!("searched {}", line.last - line.first + 1), "{line:?}");
                assert_ne!(list.cursor(), Some(at), "the selected one is shown");
            }
        }
        assert_eq!(next, rows, "the counts add up");
    }

    proptest! {
        #[test]
        fn lines_hide_nothing(numbers in prop::collection::vec(0u32..96, 1..60), pressed in "[jkgGhlae]{0,12}") {
            let (mut app, mut made) = (app(80, 12, MEMORY), Maker::default());
            for part in numbers.chunks(7) {
                part.iter().for_each(|number| make(&mut made, *number));
                feed(&mut app, &mut made);
            }
            check_whole(&app);
            for key in pressed.chars() {
                let before = app.events().selected();
                check_whole(keys(&mut app, &key.to_string()));
                prop_assert!(key != 'a' || app.events().selected() == before);
                let screen = app.events().screen(app.list_height(), app.store());
                prop_assert!(app.events().cursor().is_none_or(|at| screen.iter().any(|line| line.last == at)));
            }
            // Unfolding line by line gives the same rows as turning folding off.
            keys(&mut app, "\x12");
            let all: Vec<Line> = (0..app.events().rows()).map(Line::of).collect();
            keys(&mut app, "g");
            for _ in 0..all.len() {
                keys(&mut app, "lhlj").events.scroll_sideways(isize::MIN);
            }
            let one_by_one = lines(&app);
            prop_assert_eq!(lines(keys(&mut app, "\x12a")), all.clone());
            prop_assert_eq!(one_by_one, all);
        }
    }
}
