//! The comparison with a recording: the line in which its name is typed, the progress, and the way from a difference to an event.

use super::Running;
use crate::app::keys::keymap::Action;
use crate::app::prompt::Purpose;
use crate::app::views::View;
use crate::app::{App, Compared, Effect, Failures};
use tracetui_events::diff::{DiffLine, Side};
use tracetui_events::event::{Takes, taking};
use tracetui_events::filter;
use tracetui_events::text::command;
use tracetui_shared::id::Tgid;
use tracetui_shared::kind::{Kind, KindSet};

impl App {
    /// Shows the differences, or asks for a recording if they are shown or there are none.
    pub(in crate::app) fn show_diff(&mut self) {
        if self.views.diff.is_open() && self.views.shown != View::Diff {
            self.show(View::Diff);
        } else if self.replay.as_ref().is_some_and(|replay| !replay.facts.seekable) {
            self.notify("a recording from a pipe cannot be read again to compare it");
        } else {
            self.ask(Purpose::Compare, "");
        }
    }

    pub(in crate::app) fn compare_with(&mut self, file: String) {
        self.views.diff.set_running(Some(Running { with: file.clone(), percent: [0; 2] }));
        self.effects.push(Effect::Compare(Some(file)));
        self.show(View::Diff);
    }

    pub(in crate::app) fn comparing(&mut self, percent: [u8; 2]) {
        self.views.diff.running.iter_mut().for_each(|running| running.percent = percent);
    }

    /// Takes the result of the comparison. After an error, the name can be corrected.
    pub(in crate::app) fn compared(&mut self, result: Result<Box<Compared>, String>) {
        let Some(Running { with, .. }) = self.views.diff.set_running(None) else { return };
        let shown = self.views.shown == View::Diff;
        match result {
            Ok(compared) => {
                self.views.diff.set(compared);
                if !shown {
                    self.notify(format!("compared with {with}; {} shows the differences", self.key_of(Action::Diff)));
                }
            }
            Err(why) => {
                if shown && self.views.diff.compared.is_none() {
                    self.leave_diff();
                }
                if shown && !self.is_typing() {
                    self.ask(Purpose::Compare, &with);
                }
                self.notify(why);
            }
        }
    }

    /// Stops a running comparison and returns to the one before. Without one, returns to the view from which it was started.
    pub(in crate::app) fn leave_diff(&mut self) {
        if self.views.diff.set_running(None).is_some() {
            self.effects.push(Effect::Compare(None));
            if self.views.diff.compared.is_some() {
                return;
            }
        }
        self.show(self.views.diff.from);
    }

    /// Shows the events of the process of the selected difference in the trace on the screen, and searches the event of the difference.
    pub(in crate::app) fn show_events_of_difference(&mut self) {
        let diff = &self.views.diff;
        let Some(row) = diff.list.selected() else { return self.notify("nothing is selected") };
        let line = diff.line_of(*row);
        let Some(Tgid(pid)) = line.map(|line| line.pid).filter(|pid| pid.0 != 0) else {
            return self.notify("this row is not about one process");
        };
        let sought = line.and_then(sought);
        let absent = line.is_some_and(|line| line.only == Some(Side::A) && sought.is_none());
        let kinds = sought.as_ref().map_or(self.screen.kinds, |(kinds, _)| self.screen.kinds | *kinds);
        self.screen.kinds = kinds;
        self.screen.failures = Failures::Off;
        self.show_events(|filter, world| filter.replace(&format!("pid={pid}"), world));
        match sought {
            Some((_, text)) => {
                self.search.look_for_first(&text, self.pipeline.world());
                self.work();
            }
            None if absent => self.notify(format!("only A has this; these are the events of process {pid} of B")),
            None => {}
        }
    }
}

/// The kinds of the event in B that a difference is about, and a search for it. `None` if there may be none.
fn sought(line: &DiffLine) -> Option<(KindSet, String)> {
    let path = || {
        let path = line.subject.first()?;
        let name = Some(command::leaf(path)).filter(|name| !name.is_empty())?;
        Some(filter::ends_in(name))
    };
    let absent = line.only == Some(Side::A);
    let of = |kind: Kind| (kind.into(), format!("kind={}", kind.name()));
    Some(match line.kind {
        // The failed open, or the failed exec of a program.
        "missing" if line.text.starts_with(b"program ") => (Kind::Exec.into(), path()?),
        "missing" => (taking(Takes::Contents), path()?),
        "opened" | "tried" if !absent => (taking(Takes::Contents), path()?),
        "exec" | "argv" | "cwd" | "user" if !absent || !line.programs[1].exe.is_empty() => of(Kind::Exec),
        "exit" => of(Kind::Exit),
        // The others are named for kinds.
        name if !absent => of(Kind::PROBED.into_iter().find(|kind| kind.name() == name)?),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::keys::device::KeyCode;
    use crate::app::prompt::line::Line;
    use crate::app::replay::{Replay, Speed, Target};
    use crate::app::testing::{app, build, differences, feed, keys};
    use crate::app::{Effect, Effects, Input, Tick};
    use crate::view::tests::screen;
    use tracetui_events::playback::timeline::Facts;
    use tracetui_events::synthetic::Maker;

    fn pressed(app: &mut App, code: KeyCode) -> Effects {
        let mut effects = app.update(Input::Key(code.into()));
        effects.retain(|effect| *effect != Effect::Redraw);
        effects
    }

    /// A dashboard with a failed build, and its differences from a good one.
    fn compared() -> App {
        let (mut app, mut made) = (app(80, 24, 64 << 20), Maker::default());
        build(&mut made, false);
        keys(feed(&mut app, &mut made), "Dgood.ttr");
        assert_eq!(pressed(&mut app, KeyCode::Enter), [Effect::Compare(Some("good.ttr".into()))]);
        app.update(Input::Compared(Ok(differences())));
        app
    }

    #[track_caller]
    fn check_selected(app: &mut App, part: &str) {
        let row = app.views.diff.list.at - app.views.diff.list.top;
        let line = screen(app)[3 + row].clone();
        assert!(line.contains(part), "{line} of\n{}", screen(app).join("\n"));
    }

    #[test]
    fn a_name_leads_to_a_comparison_and_that_to_its_event() {
        let mut app = app(80, 24, 64 << 20);
        let line = |app: &App| app.line_for(Purpose::Compare).map(Line::text).unwrap_or_default();
        assert_eq!(line(keys(&mut app, "D/tmp/good-2.ttr")), "/tmp/good-2.ttr");
        assert_eq!(pressed(&mut app, KeyCode::Enter), [Effect::Compare(Some("/tmp/good-2.ttr".into()))]);
        app.update(Input::Compared(Err("/tmp/good-2.ttr: no such recording".into())));
        // The name can be corrected.
        assert_eq!((line(&app).as_str(), app.views.shown), ("/tmp/good-2.ttr", View::Events));
        assert_eq!(line(keys(&mut app, "\x1bD\u{2191}")), "/tmp/good-2.ttr");
        // A pipe is refused before a name is typed.
        let mut app = self::app(80, 24, 64 << 20);
        app.set_replay(Replay::new(Facts::default(), Target::First, Speed::default()));
        let said = keys(&mut app, "D").screen.message().map(str::to_owned);
        assert_eq!(said.as_deref(), Some("a recording from a pipe cannot be read again to compare it"));
        assert!(app.line_for(Purpose::Compare).is_none());
        // The first line is the cause and leads to its event.
        let mut app = compared();
        check_selected(&mut app, "- missing  v.h by cc1 -quiet f1.c");
        let all = app.views.diff.list.rows.len();
        let more = keys(&mut app, "a").views.diff.list.rows.len();
        assert!(more > all, "{more} {all}");
        check_selected(keys(&mut app, "a/-O2\nn"), "~ argv     cc1 -quiet f1.c -O1");
        app.update(Input::Tick(Tick::default()));
        // A difference leads to its event and back.
        let mut app = compared();
        check_selected(keys(&mut app, "/exit \nn"), "exit     ");
        assert_eq!((keys(&mut app, "\x1bp").views.shown, app.filter.text().as_str()), (View::Events, "pid=101"));
        let event = app.selected().and_then(|stored| stored.with(app.world(), |seen| seen.event.kind()));
        assert_eq!(event, Some(Kind::Exit));
        assert_eq!((keys(&mut app, "\x1b").views.shown, app.filter.text().as_str()), (View::Diff, ""));
        assert!(app.search.pattern.is_none());
        // Only A has it: the parent's events.
        assert_eq!(keys(&mut app, "a/ld -o prog\n\x1bp").filter.text(), "pid=100");
        assert!(app.screen.message().is_some_and(|message| message.starts_with("only A has this")));
    }

    #[test]
    fn a_comparison_shows_its_progress_and_can_be_cancelled() {
        let mut app = app(80, 24, 64 << 20);
        keys(&mut app, "2Dgood.ttr\n").update(Input::Comparing([34, 80]));
        let progress = "  comparing with good.ttr: A 34 %, B 80 % read; Esc cancels";
        assert_eq!((screen(&mut app)[3].as_str(), app.views.shown), (progress, View::Diff));
        app.update(Input::Comparing([100, 100]));
        let progress = "  comparing with good.ttr: both are read, looking for differences; Esc cancels";
        assert_eq!(screen(&mut app)[3].as_str(), progress);
        // It goes on while another view is shown.
        assert_eq!((keys(&mut app, "1D").views.shown, app.is_typing()), (View::Diff, false));
        assert_eq!(pressed(&mut app, KeyCode::Esc), [Effect::Compare(None)]);
        assert_eq!((app.views.shown, app.views.diff.is_open()), (View::Events, false));
        // It came too late.
        app.update(Input::Compared(Ok(differences())));
        assert!(!app.views.diff.is_open());
        assert_eq!(keys(&mut app, "\t\t\t\t").views.shown, View::Events, "there is nothing to show");
        // One that fails or is cancelled keeps the one before.
        let mut app = compared();
        let first = |app: &mut App| screen(app)[3].clone();
        let line = first(&mut app);
        // The line for the name begins empty, and Up recalls the last one.
        assert_eq!(pressed(keys(&mut app, "Dnone.ttr"), KeyCode::Enter), [Effect::Compare(Some("none.ttr".into()))]);
        assert!(first(&mut app).contains("comparing with none.ttr"));
        app.update(Input::Compared(Err("none.ttr: no such recording".into())));
        assert_eq!((first(&mut app), app.is_typing()), (line.clone(), true));
        assert_eq!(pressed(keys(&mut app, "\x1bDother.ttr\n"), KeyCode::Esc), [Effect::Compare(None)]);
        assert_eq!((first(&mut app), app.views.shown), (line, View::Diff));
        // Listed lines are not counted as lines that may follow.
        let follow = |app: &mut App| screen(app).iter().any(|line| line.contains("may follow from these"));
        assert!(follow(&mut app));
        assert!(!follow(keys(&mut app, "a")));
    }
}
