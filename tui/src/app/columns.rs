//! Which columns the views show: those for which there is room, unless the configuration file or the user chose some.

use super::views::View;
use super::{App, OverlayKind};

/// The columns of a view that can be chosen, in their usual order. The command of the tree and the value of Top are always shown.
pub(crate) fn all(view: View) -> &'static [&'static str] {
    match view {
        View::Events => &["time", "kind", "pid", "ppid", "user", "comm", "result", "detail", "cwd", "cgroup"],
        View::Tree => &["pid", "ppid", "user", "state", "started", "lived", "execs", "opens", "failed", "cgroup"],
        View::Top => &["events", "share", "rate", "peak", "exec", "exit", "open", "bpf", "failed", "last", "history"],
        View::Bpf => &["id", "type", "name", "writes", "target", "owner", "loaded", "runs", "mean", "jited", "tag"],
    }
}

/// The column that is always among the chosen ones.
pub(crate) fn needed(view: View) -> Option<&'static str> {
    match view {
        View::Events => Some("detail"),
        View::Bpf => Some("target"),
        View::Tree | View::Top => None,
    }
}

/// The columns of a screen of this width without a choice. A view omits columns that are the same, or empty, in all of its rows.
pub(crate) fn automatic(view: View, width: u16) -> Vec<&'static str> {
    let from = |name: &str| match (view, name) {
        (View::Events, "time" | "kind" | "comm" | "detail") => 0,
        (View::Events, "pid" | "result") => 60,
        (View::Tree, "pid" | "state") => 0,
        (View::Tree, "lived" | "opens" | "failed") => 72,
        (View::Tree, "cgroup") => 160,
        (View::Top, "events" | "failed") => 0,
        (View::Top, "share" | "rate" | "exec" | "open") => 60,
        (View::Top, "last") => 100,
        (View::Bpf, "id" | "name" | "target") => 0,
        (View::Bpf, "type" | "writes" | "owner") => 60,
        (View::Bpf, "runs") => 100,
        (View::Bpf, "mean") => 120,
        (View::Bpf, "jited" | "tag") => 150,
        _ => 130,
    };
    all(view).iter().copied().filter(|name| from(name) <= width).collect()
}

/// The chosen columns of each view, in order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Columns([Option<Vec<&'static str>>; View::ALL.len()]);

impl Columns {
    /// Those of a view; `None` if none were chosen.
    pub(crate) fn of(&self, view: View) -> Option<&[&'static str]> {
        self.0[view as usize].as_deref()
    }

    /// Takes the choice for a view from `others`.
    pub(crate) fn reset(&mut self, view: View, others: &Columns) {
        self.0[view as usize].clone_from(&others.0[view as usize]);
    }

    /// Chooses those of a view.
    pub(crate) fn choose(&mut self, view: View, columns: Vec<&'static str>) {
        self.0[view as usize] = Some(columns);
    }
}

impl App {
    /// The chosen columns of the view that is shown; `None` if none were chosen.
    pub(crate) fn columns(&self) -> Option<&[&'static str]> {
        self.view.columns.of(self.view.current)
    }

    /// The columns of the overlay, and whether they are shown: those that are, in order, and then the others.
    pub(crate) fn listed_columns(&self) -> Vec<(&'static str, bool)> {
        let view = self.view.current;
        let shown = self.columns().map_or_else(|| automatic(view, self.view.width), <[_]>::to_vec);
        let others: Vec<_> = all(view).iter().copied().filter(|name| !shown.contains(name)).collect();
        shown.into_iter().map(|name| (name, true)).chain(others.into_iter().map(|name| (name, false))).collect()
    }

    /// Shows or hides the column under the cursor.
    pub(super) fn toggle_column(&mut self) {
        let Some((name, is_shown)) = self.listed_columns().get(self.column_cursor()).copied() else { return };
        let view = self.view.current;
        let mut shown = self.shown_columns();
        if is_shown {
            if needed(view) == Some(name) || shown.len() == 1 {
                return self.say(format!("the column {name} is always shown"));
            }
            shown.retain(|column| *column != name);
        } else {
            // After those that usually stand before it.
            let place = |name: &str| all(view).iter().position(|column| *column == name);
            let before = shown.iter().rposition(|column| place(column) < place(name));
            shown.insert(before.map_or(0, |at| at + 1), name);
        }
        self.choose_columns(shown, name);
    }

    /// Moves the column under the cursor one place to the left or to the right.
    pub(super) fn move_column(&mut self, right: bool) {
        let at = self.column_cursor();
        let mut shown = self.shown_columns();
        let to = if right { at + 1 } else { at.wrapping_sub(1) };
        if let Some(name) = shown.get(at).copied().filter(|_| to < shown.len()) {
            shown.swap(at, to);
            self.choose_columns(shown, name);
        }
    }

    fn column_cursor(&self) -> usize {
        self.view.overlay.filter(|overlay| overlay.kind == OverlayKind::Columns).map_or(0, |overlay| overlay.scroll)
    }

    fn shown_columns(&self) -> Vec<&'static str> {
        self.listed_columns().into_iter().filter(|(_, shown)| *shown).map(|(name, _)| name).collect()
    }

    /// Chooses columns; the cursor stays on this one.
    fn choose_columns(&mut self, columns: Vec<&'static str>, cursor: &str) {
        self.view.columns.choose(self.view.current, columns);
        let at = self.listed_columns().iter().position(|(name, _)| *name == cursor);
        if let (Some(overlay), Some(at)) = (&mut self.view.overlay, at) {
            overlay.scroll = at;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::row::Column;
    use crate::app::testing::{app, keys};

    #[test]
    fn the_names_are_those_of_the_titles() {
        assert_eq!(all(View::Events), Column::ALL.map(Column::name));
        for view in View::ALL {
            assert!(needed(view).is_none_or(|name| all(view).contains(&name)));
            assert!(automatic(view, 0).len() < automatic(view, 80).len());
            assert_eq!(automatic(view, 160), all(view));
        }
    }

    #[test]
    fn columns_are_shown_hidden_and_moved() {
        let mut app = app(80, 24, 64 << 20);
        let shown = |app: &App| {
            app.listed_columns().into_iter().filter(|column| column.1).map(|column| column.0).collect::<Vec<_>>()
        };
        keys(&mut app, "C");
        assert_eq!(shown(&app), ["time", "kind", "pid", "comm", "result", "detail"]);
        // The second one is hidden and moves to the others.
        keys(&mut app, "j ");
        assert_eq!(shown(&app), ["time", "pid", "comm", "result", "detail"]);
        keys(&mut app, "\n");
        assert_eq!(shown(&app), ["time", "kind", "pid", "comm", "result", "detail"]);
        keys(&mut app, "ll");
        assert_eq!(shown(&app), ["time", "pid", "comm", "kind", "result", "detail"]);
        keys(&mut app, "hhhhhh");
        assert_eq!(shown(&app), ["kind", "time", "pid", "comm", "result", "detail"]);
        // What is always shown stays, and the end of the list is the end.
        keys(&mut app, "jjjjj ");
        assert!(shown(&app).contains(&"detail") && app.message().is_some());
        keys(&mut app, "jjjjjjjjj ");
        assert_eq!(shown(&app), ["kind", "time", "pid", "comm", "result", "detail", "cgroup"]);
        // The other views keep theirs.
        keys(&mut app, "\x1b2");
        assert_eq!(app.columns(), None);
        keys(&mut app, "C ");
        assert_eq!(shown(&app), ["state", "lived", "opens", "failed"]);
        keys(&mut app, "\x1b1");
        assert_eq!(app.columns().map(<[_]>::len), Some(7));
        app.update(crate::app::Input::Key(crossterm::event::KeyEvent::new(
            crossterm::event::KeyCode::Char('r'),
            crossterm::event::KeyModifiers::CONTROL,
        )));
        assert_eq!(app.columns(), None);
    }
}
