//! The columns that the views show: as many as fit, unless the configuration file or the user chose some.

use super::kind::View;
use crate::app::named_enum::named;

/// Defines the columns of a view in their usual order: each with its name in the configuration file, its title, its cells, and the side
/// at which its text is. In some views, columns get more cells if there is room.
macro_rules! columns {
    (@is_right left) => { false };
    (@is_right right) => { true };
    ($($type:ident { $($(#[$of_column:meta])* $column:ident $name:literal $title:literal $cells:literal $side:ident,)+ })+) => {
        $(
            named! {
                enum $type name { $($(#[$of_column])* $column $name,)+ }
            }

            impl $type {
                pub(crate) const NAMES: &[&str] = &[$($name),+];

                pub(crate) fn from_name(name: &str) -> Option<$type> {
                    $type::ALL.into_iter().find(|column| column.name() == name)
                }

                pub(crate) fn title(self) -> &'static str {
                    match self {
                        $($type::$column => $title,)+
                    }
                }

                pub(crate) fn cells(self) -> usize {
                    match self {
                        $($type::$column => $cells,)+
                    }
                }

                pub(crate) fn is_right(self) -> bool {
                    match self {
                        $($type::$column => columns!(@is_right $side),)+
                    }
                }
            }
        )+
    };
}

columns! {
    EventColumn {
        Time "time" "TIME" 9 right,
        Kind "kind" "KIND" 4 left,
        Pid "pid" "PID" 5 right,
        Ppid "ppid" "PPID" 5 right,
        User "user" "USER" 8 left,
        Comm "comm" "COMM" 8 left,
        Result "result" "RESULT" 7 left,
        Detail "detail" "DETAIL" 0 left,
        Cwd "cwd" "CWD" 20 left,
        Cgroup "cgroup" "CGROUP" 20 left,
        Unit "unit" "UNIT" 20 left,
        Container "container" "CONTAINER" 20 left,
        Pod "pod" "POD" 20 left,
        /// Of execs and exits.
        Tty "tty" "TTY" 9 left,
        /// Of execs and exits.
        LoginUid "login_uid" "LOGIN_UID" 9 left,
    }
    // The command follows, in any choice.
    TreeColumn {
        Pid "pid" "PID" 5 right,
        State "state" "STATE" 8 left,
        Lived "lived" "LIVED" 7 right,
        Cpu "cpu" "CPU" 7 right,
        Opens "opens" "OPENS" 5 right,
        Memory "memory" "MEMORY" 10 right,
    }
    // The value comes first, in any choice.
    TopColumn {
        Events "events" "EVENTS" 6 right,
        Share "share" "" 10 left,
        Rate "rate" "NOW/s" 5 right,
        Peak "peak" "PEAK" 5 right,
        Exec "exec" "EXEC" 5 right,
        Exit "exit" "EXIT" 5 right,
        Open "open" "OPEN" 5 right,
        Bpf "bpf" "BPF" 5 right,
        Tcp "tcp" "TCP" 5 right,
        File "file" "FILE" 5 right,
        Unix "unix" "UNIX" 5 right,
        /// Of the processes that ended.
        Cpu "cpu" "CPU" 7 right,
        /// The largest resident set of a process that ended.
        Memory "memory" "MEMORY" 10 right,
        Failed "failed" "FAILED" 6 right,
        Last "last" "LAST" 7 right,
        /// A sparkline of the last seconds, three seconds per cell.
        History "history" "LAST 60 s" 20 left,
    }
    // The owner, or the program below it, comes first in any choice.
    BpfColumn {
        Programs "programs" "PROGRAMS" 8 right,
        Cpu "cpu" "CPU" 7 right,
        /// Whether it writes to the memory of processes.
        Writes "writes" "W" 1 left,
        /// Takes the remaining width.
        Target "target" "ATTACHED TO" 0 left,
        /// When it came or went during the trace.
        Since "since" "SINCE" 8 right,
        Runs "runs" "RUNS/s" 6 right,
        Mean "mean" "MEAN" 7 right,
    }
}

/// The names of the columns that the user can choose.
pub(crate) fn all(view: View) -> &'static [&'static str] {
    match view {
        View::Events => EventColumn::NAMES,
        View::Tree => TreeColumn::NAMES,
        View::Top => TopColumn::NAMES,
        View::Bpf => BpfColumn::NAMES,
        View::Diff => &[],
    }
}

/// The column that is part of every choice.
pub(crate) fn needed(view: View) -> Option<&'static str> {
    match view {
        View::Events => Some("detail"),
        View::Bpf => Some("target"),
        View::Tree | View::Top | View::Diff => None,
    }
}

/// The columns for a screen of this width without a choice. A view omits columns that are the same, or empty, in all of its rows.
pub(crate) fn automatic(view: View, width: u16) -> Vec<&'static str> {
    let fits = |name: &str| {
        width
            >= match (view, name) {
                (View::Events, "time" | "kind" | "comm" | "detail") => 0,
                (View::Events, "pid" | "result") => 60,
                (View::Events, "unit" | "container" | "pod" | "tty" | "login_uid") => return false,
                (View::Tree, "pid" | "state") => 0,
                (View::Tree, "lived" | "cpu" | "opens") => 72,
                (View::Tree, _) => return false,
                (View::Top, "events" | "failed") => 0,
                (View::Top, "share" | "rate" | "exec" | "open") => 60,
                (View::Top, "last" | "cpu") => 100,
                (View::Top, "memory") => 150,
                (View::Bpf, "target") => 0,
                (View::Bpf, "programs" | "cpu" | "writes" | "since") => 60,
                _ => 130,
            }
    };
    all(view).iter().copied().filter(|name| fits(name)).collect()
}

/// The chosen columns of each view, in order.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Columns([Option<Vec<&'static str>>; View::ALL.len()]);

impl Columns {
    /// The chosen columns of a view; `None` if none were chosen.
    pub(crate) fn of(&self, view: View) -> Option<&[&'static str]> {
        self.0[view as usize].as_deref()
    }

    /// Takes the choice for a view from `others`.
    pub(crate) fn reset(&mut self, view: View, others: &Columns) {
        self.0[view as usize].clone_from(&others.0[view as usize]);
    }

    pub(crate) fn choose(&mut self, view: View, columns: Vec<&'static str>) {
        self.0[view as usize] = Some(columns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::App;
    use crate::app::testing::{app, keys};
    use crate::app::views::event_list::row::Column;
    use tracetui_shared::kind::Kind;

    #[test]
    fn columns_are_shown_hidden_and_moved() {
        let mut app = app(80, 24, 64 << 20);
        let shown = |app: &App| {
            app.screen
                .listed_columns(app.views.shown)
                .into_iter()
                .filter(|column| column.1)
                .map(|column| column.0)
                .collect::<Vec<_>>()
        };
        assert_eq!(shown(keys(&mut app, "C")), ["time", "kind", "pid", "comm", "result", "detail"]);
        // Hides the second column, which moves to the hidden ones.
        assert_eq!(shown(keys(&mut app, "j ")), ["time", "pid", "comm", "result", "detail"]);
        assert_eq!(shown(keys(&mut app, "\n")), ["time", "kind", "pid", "comm", "result", "detail"]);
        assert_eq!(shown(keys(&mut app, "ll")), ["time", "pid", "comm", "kind", "result", "detail"]);
        assert_eq!(shown(keys(&mut app, "hhhhhh")), ["kind", "time", "pid", "comm", "result", "detail"]);
        // A fixed column stays, and the cursor stops at the end of the list.
        assert!(shown(keys(&mut app, "jjjjj ")).contains(&"detail") && app.screen.message().is_some());
        keys(&mut app, "jjjjjjjjjjj ");
        assert_eq!(shown(&app), ["kind", "time", "pid", "comm", "result", "detail", "login_uid"]);
        // The other views keep their columns.
        keys(&mut app, "\x1b2");
        assert_eq!(app.screen.columns.of(app.views.shown), None);
        assert_eq!(shown(keys(&mut app, "C ")), ["state", "lived", "cpu", "opens"]);
        keys(&mut app, "\x1b1");
        assert_eq!(app.screen.columns.of(app.views.shown).map(<[_]>::len), Some(7));
        app.update(crate::app::Input::Key(crate::app::keys::device::KeyEvent::new(
            crate::app::keys::device::KeyCode::Char('r'),
            crate::app::keys::device::KeyModifiers::CONTROL,
        )));
        assert_eq!(app.screen.columns.of(app.views.shown), None);
        // The names are the titles'.
        assert_eq!(all(View::Events), Column::ALL.map(Column::name));
        assert!(all(View::Diff).is_empty());
        let counted = Kind::PROBED.into_iter().filter(|kind| kind.on_by_default());
        assert!(counted.map(Kind::name).all(|kind| all(View::Top).contains(&kind)));
        for view in View::ALL.into_iter().filter(|view| *view != View::Diff) {
            assert!(needed(view).is_none_or(|name| all(view).contains(&name)));
            assert!(automatic(view, 0).len() < automatic(view, 80).len());
            assert!(matches!(view, View::Events | View::Tree) || automatic(view, 160) == all(view));
        }
    }
}
