//! What keys do: the table of the actions with their default keys. The footer shows the labels in this order.

use super::{BACK_TAB, Binding, ENTER, KeyCode, LEFT, RIGHT, Section, TAB, bind, code, ctrl, f, key};
use tracetui_shared::kind::Kind;

/// For each action: its name in the configuration, its section, its keys, its label in the footer (one or two words; empty if the footer
/// never shows it), its line in the help overlay (bindings with the same text share a line), and what it does.
macro_rules! actions {
    ($($action:ident $name:literal $section:ident $keys:tt $label:literal $help:literal $about:literal,)+) => {
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub(crate) enum Action {
            $($action,)+
            Toggle(Kind),
        }

        /// The bindings, but those of the kinds.
        pub(super) const BINDINGS: &[Binding] =
            &[$(bind(Section::$section, &$keys, Action::$action, $label, $help),)+];

        impl Action {
            /// Whether it is for a trace that runs, and does nothing in a replay.
            pub(crate) fn is_live(self) -> bool {
                matches!(self, Action::Record | Action::Pause)
            }

            /// Whether it changes which events are shown.
            pub(crate) fn filters_events(self) -> bool {
                matches!(
                    self,
                    Action::EditFilter
                        | Action::Failures
                        | Action::OnlyTree
                        | Action::OnlyComm
                        | Action::OnlyDir
                        | Action::NotComm
                        | Action::OnlyUser
                        | Action::Toggle(_)
                )
            }

            /// The line in the help overlay of a replay, where that is another one.
            pub(super) fn help_in_replay(self) -> Option<&'static str> {
                match self {
                    Action::Follow => Some("follow a growing file"),
                    Action::End => Some("go to the end; follow"),
                    _ => None,
                }
            }

            /// The name of the action, by which keys are assigned to it.
            pub(crate) fn name(self) -> String {
                match self {
                    $(Action::$action => $name.to_owned(),)+
                    Action::Toggle(kind) => format!("toggle-{}", kind.name()),
                }
            }

            /// What it does, for lists with a row for each action.
            pub(crate) fn about(self) -> String {
                match self {
                    $(Action::$action => $about.to_owned(),)+
                    Action::Toggle(kind) => format!("show or hide events of kind {}", kind.name()),
                }
            }
        }
    };
}

actions! {
    SubtreeEvents "subtree-events" Tree [ENTER] "events" "events of the process and its descendants"
        "show the events of the process and its descendants",
    Fold "fold" Tree [LEFT, key('h'), key('-')] "" "fold or unfold; fold again: to the parent"
        "fold the branch; again: go to the parent",
    Unfold "unfold" Tree [RIGHT, key('l'), key('+')] "unfold" "fold or unfold; fold again: to the parent"
        "unfold the branch",
    Sort "sort" Tree [key('s'), f(6)] "sort" "sort by the next column; reverse" "sort by the next column",
    Reverse "reverse" Tree [key('S')] "" "sort by the next column; reverse" "reverse the order",
    Gantt "gantt" Tree [key('V')] "chart" "chart: what ran when, what waited"
        "show a Gantt chart of the process and its descendants; Enter goes to the process of a bar",
    Idle "idle" Tree [key('i')] "idle" "show or hide processes without events" "show or hide processes without events",
    TopEvents "top-events" Top [ENTER] "these" "show the events of the row" "show the events of the row",
    TopHide "top-hide" Top [key('x')] "hide" "hide the events of the row" "hide the events of the row",
    NextBy "next-by" Top [RIGHT, key('l')] "by" "count by another property" "count by the next property",
    PreviousBy "previous-by" Top [LEFT, key('h')] "" "count by another property" "count by the previous property",
    TopSort "top-sort" Top [key('s'), f(6)] "sort" "sort by the next column; reverse" "sort by the next column",
    TopReverse "top-reverse" Top [key('S')] "" "sort by the next column; reverse" "reverse the order",
    TopWindow "top-window" Top [key('W')] "60 s" "the last 60 s; from now on" "count the last 60 s, or all",
    TopZero "top-zero" Top [key('z')] "zero" "the last 60 s; from now on" "count from now on, or all",
    BpfEvents "bpf-events" Bpf [key('p')] "events" "events of the program" "show the events of the program",
    BpfSort "bpf-sort" Bpf [key('s'), f(6)] "sort" "sort by the next column; reverse" "sort by the next column",
    BpfReverse "bpf-reverse" Bpf [key('S')] "" "sort by the next column; reverse" "reverse the order",
    BpfGone "bpf-gone" Bpf [key('a')] "gone" "hide or show unloaded programs" "hide or show unloaded programs",
    DiffEvents "diff-events" Diff [key('p')] "events" "events of the process"
        "show the events of the process in the trace, at the event of the difference",
    DiffAll "diff-all" Diff [key('a')] "all" "show or hide what follows"
        "show or hide differences that follow from others",
    Play "play" Replay [key(' ')] "play" "play or pause" "play or pause",
    Slower "slower" Replay [key('<')] "" "slower or faster" "play slower",
    Faster "faster" Replay [key('>')] "speed" "slower or faster" "play faster",
    EventBack "event-back" Replay [key(',')] "" "previous or next event" "go to the previous event",
    EventForward "event-forward" Replay [key('.')] "event" "previous or next event" "go to the next event",
    // Ways through time, live and in a replay.
    Back10 "back-10s" Move [key('[')] "" "go by time; marks a-z" "go 10 s back",
    Forward10 "forward-10s" Move [key(']')] "10 s" "go by time; marks a-z" "go 10 s forward",
    Back60 "back-1min" Move [key('{')] "" "go by time; marks a-z" "go 1 min back",
    Forward60 "forward-1min" Move [key('}')] "1 min" "go by time; marks a-z" "go 1 min forward",
    GoTo "go-to" Move [key('T')] "go to time" "go by time; marks a-z" "go to a time",
    Mark "mark" Move [key('m')] "" "go by time; marks a-z" "set a mark, named by the next letter",
    GoToMark "go-to-mark" Move [key('\'')] "" "go by time; marks a-z"
        "go to the mark named by the next letter; twice: to the place before",
    Help "help" View [key('?'), f(1)] "help" "this help" "show the keys",
    ShowEvents "events" View [key('1')] "" "events tree top BPF" "show the events",
    ShowTree "tree" View [key('2'), f(5)] "" "events tree top BPF" "show the process tree",
    ShowTop "top" View [key('3'), f(8)] "" "events tree top BPF" "show the most frequent values",
    ShowBpf "bpf" View [key('4')] "" "events tree top BPF" "show the BPF programs",
    NextView "next-view" Move [TAB] "" "next or previous view" "show the next view",
    PreviousView "previous-view" Move [BACK_TAB] "" "next or previous view" "show the previous view",
    Search "search" Find [key('/'), f(3)] "find" "a regex or comm=cc1; next"
        "find a regular expression or a filter in all columns; hides nothing",
    Next "next" Find [key('n')] "" "a regex or comm=cc1; next" "go to the next match",
    Previous "previous" Find [key('N')] "" "a regex or comm=cc1; next" "go to the previous match",
    EditFilter "edit-filter" Filter [key('f'), f(4)] "filter" "edit; Tab completes" "edit the filter; Tab completes",
    OnlyPid "only-pid" Selected [key('p')] "pid" "pid tree comm dir user" "filter: the process of the row",
    OnlyTree "only-tree" Selected [key('P')] "" "pid tree comm dir user"
        "filter: the process of the row and its descendants",
    OnlyComm "only-comm" Selected [key('c')] "comm" "pid tree comm dir user" "filter: the command name of the row",
    OnlyDir "only-dir" Selected [key('d')] "" "pid tree comm dir user" "filter: the directory of the row's file",
    NotComm "not-comm" Selected [key('x')] "hide" "hide; why; watch" "filter: hide the command name of the row",
    ToParent "to-parent" Detail [key('u')] "to parent" "to the parent; tabs" "go to the parent process",
    NextTab "next-tab" Detail [TAB] "tab" "to the parent; tabs" "next tab of the pane",
    PreviousTab "previous-tab" Detail [BACK_TAB] "" "to the parent; tabs" "previous tab of the pane",
    Enter "enter" Move [ENTER] "detail" "details, full; go there"
        "open the detail pane; again: full size, or go to the selected row of the pane",
    PaneDown "pane-down" Detail [key('J')] "row" "select row; scroll" "select the next row of the pane, or scroll down",
    PaneUp "pane-up" Detail [key('K')] "" "select row; scroll" "select the previous row of the pane, or scroll up",
    Pause "pause" View [key(' ')] "pause" "pause (keeps tracing)" "pause or resume the list; tracing continues",
    Follow "follow" Move [key('F')] "follow" "go to the newest; follow" "go to the newest event, and follow",
    Failures "failures" Filter [key('e')] "failed" "failures; repeats"
        "show only failures that nothing answered; again: all failures; again: all events",
    FoldAll "fold-all" Filter [key('a')] "unfold" "failures; repeats"
        "fold repeats, runs and searches, or show each event",
    TimeMode "time-mode" View [key('t')] "time" "time; columns; reset"
        "next time format: clock, since the start, since the row above",
    Columns "columns" View [key('C')] "" "time; columns; reset" "choose the columns of the view",
    Strip "strip" View [key('v')] "strip" "side strip; its rows" "show or hide the side strip",
    StripDown "strip-down" View [key(')')] "" "side strip; its rows" "select the next row of the side strip",
    StripUp "strip-up" View [key('(')] "" "side strip; its rows" "select the previous row of the side strip",
    Why "why" Selected [key('W')] "why" "hide; why; watch" "show why the row failed",
    Watch "watch" Selected [key('A')] "" "hide; why; watch"
        "watch what the row is about: its matches are counted and marked; again: end the watch",
    OnlyUser "only-user" Selected [key('u')] "user" "pid tree comm dir user" "filter: the user of the row",
    CopyLine "copy-line" Selected [key('y')] "copy" "copy in four formats" "copy the row as text",
    CopyCommand "copy-command" Selected [key('Y')] "copy command" "copy in four formats"
        "copy the row as a shell command",
    CopyJson "copy-json" Selected [ctrl('y')] "" "copy in four formats" "copy the row as JSON",
    CopyCall "copy-call" Selected [key('L')] "" "copy in four formats" "copy the row as strace writes it",
    LossReport "loss-report" View [key('!')] "loss" "loss diff output run" "show the lost events",
    Record "record" View [key('w'), f(7)] "record" "record on or off"
        "record everything, or save what is shown; again: stop",
    Diff "diff" View [key('D')] "" "loss diff output run"
        "compare the trace with a recording: show the differences; again: choose another recording",
    Output "output" View [key('o')] "" "loss diff output run"
        "show COMMAND's terminal; Enter gives it the keys, Ctrl-] takes them back",
    RunAgain "run-again" View [key('r')] "" "loss diff output run" "run COMMAND again, after it ended",
    Quit "quit" View [key('q'), f(10), ctrl('c')] "quit" "quit" "quit",
    Back "back" Move [code(KeyCode::Esc)] "back" "go back; remove filters"
        "go back: close the pane, or remove the newest filter",
    Down "down" Move [key('j'), code(KeyCode::Down)] "" "down or up" "go a row down",
    Up "up" Move [key('k'), code(KeyCode::Up)] "" "down or up" "go a row up",
    PageDown "page-down" Move [code(KeyCode::PageDown)] "" "page down or up" "go a page down",
    PageUp "page-up" Move [code(KeyCode::PageUp)] "" "page down or up" "go a page up",
    HalfDown "half-down" Move [ctrl('d')] "" "half page down or up" "go half a page down",
    HalfUp "half-up" Move [ctrl('u')] "" "half page down or up" "go half a page up",
    Start "start" Move [key('g'), code(KeyCode::Home)] "" "go to the oldest" "go to the oldest event",
    End "end" Move [key('G'), code(KeyCode::End)] "" "go to the newest; follow" "go to the newest event, and follow",
    Left "left" Move [key('h'), LEFT] "" "fold or unfold; scroll" "fold the row; otherwise scroll its text back",
    Right "right" Move [key('l'), RIGHT] "" "fold or unfold; scroll" "unfold the row; otherwise scroll its text",
    Reset "reset" View [ctrl('r')] "" "time; columns; reset"
        "remove all filters, and restore orders, kinds and formats",
    Redraw "redraw" View [ctrl('l')] "" "redraw; suspend" "redraw the screen",
    Suspend "suspend" View [ctrl('z')] "" "redraw; suspend" "suspend to the shell",
}
