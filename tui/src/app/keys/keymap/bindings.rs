//! What keys do: the table of the actions with their default keys. The footer shows the labels in this order.

use super::{BACK_TAB, Binding, ENTER, KeyCode, LEFT, RIGHT, Section, TAB, bind, code, ctrl, f, key};
use tracetui_shared::kind::Kind;

/// For each action: its name in the configuration, its section, its keys, its label in the footer (one or two words; empty if the footer
/// never shows it), and what it does.
macro_rules! actions {
    ($($action:ident $name:literal $section:ident $keys:tt $label:literal $about:literal,)+) => {
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub(crate) enum Action {
            $($action,)+
            Toggle(Kind),
        }

        /// The bindings, but those of the kinds.
        pub(super) const BINDINGS: &[Binding] =
            &[$(bind(Section::$section, &$keys, Action::$action, $label),)+];

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
    SubtreeEvents "subtree-events" Tree [ENTER] "events" "show the events of the process and its descendants",
    Fold "fold" Tree [LEFT, key('h'), key('-')] "" "fold the branch, or go to the parent; on ancestors: show each",
    Unfold "unfold" Tree [RIGHT, key('l'), key('+')] "unfold" "unfold the branch, or the processes that ended",
    Sort "sort" Tree [key('s'), f(6)] "sort" "sort by the next column",
    Reverse "reverse" Tree [key('S')] "" "reverse the order",
    Gantt "gantt" Tree [key('V')] "chart" "chart what ran when; Enter goes to the process of a bar",
    Idle "idle" Tree [key('i')] "idle" "show or hide processes without events",
    TopEvents "top-events" Top [ENTER] "these" "show the events of the row",
    TopHide "top-hide" Top [key('x')] "hide" "hide the events of the row",
    NextBy "next-by" Top [RIGHT, key('l')] "by" "count by the next property",
    PreviousBy "previous-by" Top [LEFT, key('h')] "" "count by the previous property",
    TopSort "top-sort" Top [key('s'), f(6)] "sort" "sort by the next column",
    TopReverse "top-reverse" Top [key('S')] "" "reverse the order",
    TopWindow "top-window" Top [key('W')] "60 s" "count the last 60 s, or all",
    TopZero "top-zero" Top [key('z')] "zero" "count from now on, or all",
    BpfEvents "bpf-events" Bpf [key('p')] "events" "show the events of the program",
    BpfSort "bpf-sort" Bpf [key('s'), f(6)] "sort" "sort by the next column",
    BpfReverse "bpf-reverse" Bpf [key('S')] "" "reverse the order",
    BpfGone "bpf-gone" Bpf [key('a')] "gone" "hide or show unloaded programs",
    DiffEvents "diff-events" Diff [key('p')] "events" "show the events of the process in the trace",
    DiffAll "diff-all" Diff [key('a')] "all" "show or hide differences that follow from others",
    Play "play" Replay [key(' ')] "play" "play or pause",
    Slower "slower" Replay [key('<')] "" "play slower",
    Faster "faster" Replay [key('>')] "speed" "play faster",
    EventBack "event-back" Replay [key(',')] "" "go to the previous event",
    EventForward "event-forward" Replay [key('.')] "event" "go to the next event",
    // Ways through time, live and in a replay.
    Back10 "back-10s" Move [key('[')] "" "go 10 s back",
    Forward10 "forward-10s" Move [key(']')] "10 s" "go 10 s forward",
    Back60 "back-1min" Move [key('{')] "" "go 1 min back",
    Forward60 "forward-1min" Move [key('}')] "1 min" "go 1 min forward",
    GoTo "go-to" Move [key('T')] "go to time" "go to a time",
    Mark "mark" Move [key('m')] "" "set a mark, named by the next letter",
    GoToMark "go-to-mark" Move [key('\'')] "" "go to the mark named by the next letter; twice: to the place before",
    Help "help" View [key('?'), f(1)] "help" "show the keys",
    ShowEvents "events" View [key('1')] "" "show the events",
    ShowTree "tree" View [key('2'), f(5)] "" "show the process tree",
    ShowTop "top" View [key('3'), f(8)] "" "show the most frequent values",
    ShowBpf "bpf" View [key('4')] "" "show the BPF programs",
    NextView "next-view" Move [TAB] "" "show the next view",
    PreviousView "previous-view" Move [BACK_TAB] "" "show the previous view",
    Search "search" Find [key('/'), f(3)] "find" "find a regular expression or a filter in all columns; hides nothing",
    Next "next" Find [key('n')] "" "go to the next match",
    Previous "previous" Find [key('N')] "" "go to the previous match",
    EditFilter "edit-filter" Filter [key('f'), f(4)] "filter" "edit the filter; Tab completes",
    OnlyPid "only-pid" Selected [key('p')] "pid" "filter: the process of the row",
    OnlyTree "only-tree" Selected [key('P')] "" "filter: the process of the row and its descendants",
    OnlyComm "only-comm" Selected [key('c')] "comm" "filter: the command name of the row",
    OnlyDir "only-dir" Selected [key('d')] "" "filter: the directory of the row's file",
    NotComm "not-comm" Selected [key('x')] "hide" "filter: hide the command name of the row",
    ToParent "to-parent" Detail [key('u')] "to parent" "go to the parent process",
    NextTab "next-tab" Detail [TAB] "tab" "next tab of the pane",
    PreviousTab "previous-tab" Detail [BACK_TAB] "" "previous tab of the pane",
    Enter "enter" Move [ENTER] "detail" "open the detail pane; again: full size, or go to the selected row of the pane",
    PaneDown "pane-down" Detail [key('J')] "row" "select the next row of the pane, or scroll down",
    PaneUp "pane-up" Detail [key('K')] "" "select the previous row of the pane, or scroll up",
    Pause "pause" View [key(' ')] "pause" "pause or resume the list; tracing continues",
    Follow "follow" Move [key('F')] "follow" "go to the newest event, and follow",
    Failures "failures" Filter [key('e')] "failed" "show what failed, unanswered; again: all failures; again: all",
    FoldAll "fold-all" Filter [key('a')] "unfold" "fold repeats, runs and searches, or show each event",
    TimeMode "time-mode" View [key('t')] "time" "next time format: clock, since the start, since the row above",
    Columns "columns" View [key('C')] "" "choose the columns of the view",
    Strip "strip" View [key('v')] "strip" "show or hide the side strip",
    StripDown "strip-down" View [key(')')] "" "select the next row of the side strip",
    StripUp "strip-up" View [key('(')] "" "select the previous row of the side strip",
    Why "why" Selected [key('W')] "why" "show why the row failed",
    Watch "watch" Selected [key('A')] "" "watch what the row is about: mark and count it; again: end the watch",
    OnlyUser "only-user" Selected [key('u')] "user" "filter: the user of the row",
    CopyLine "copy-line" Selected [key('y')] "copy" "copy the row as text",
    CopyCommand "copy-command" Selected [key('Y')] "copy command" "copy the row as a shell command",
    CopyJson "copy-json" Selected [ctrl('y')] "" "copy the row as JSON",
    LossReport "loss-report" View [key('!')] "loss" "show the lost events",
    Record "record" View [key('w'), f(7)] "record" "record, kept events included; again: stop",
    Diff "diff" View [key('D')] "" "compare the trace with a recording; again: with another recording",
    Output "output" View [key('o')] "" "show COMMAND's terminal; Enter gives it the keys, Ctrl-] takes them back",
    RunAgain "run-again" View [key('r')] "" "run COMMAND again, after it ended",
    Quit "quit" View [key('q'), f(10), ctrl('c')] "quit" "quit",
    Back "back" Move [code(KeyCode::Esc)] "back" "go back: close the pane, remove a filter, show all events",
    Down "down" Move [key('j'), code(KeyCode::Down)] "" "go a row down",
    Up "up" Move [key('k'), code(KeyCode::Up)] "" "go a row up",
    PageDown "page-down" Move [code(KeyCode::PageDown)] "" "go a page down",
    PageUp "page-up" Move [code(KeyCode::PageUp)] "" "go a page up",
    HalfDown "half-down" Move [ctrl('d')] "" "go half a page down",
    HalfUp "half-up" Move [ctrl('u')] "" "go half a page up",
    Start "start" Move [key('g'), code(KeyCode::Home)] "" "go to the oldest event",
    End "end" Move [key('G'), code(KeyCode::End)] "" "go to the newest event, and follow",
    Left "left" Move [key('h'), LEFT] "" "fold the row; otherwise scroll its text back",
    Right "right" Move [key('l'), RIGHT] "" "unfold the row; otherwise scroll its text",
    Reset "reset" View [ctrl('r')] "" "remove all filters, and restore orders, kinds and formats",
    Redraw "redraw" View [ctrl('l')] "" "redraw the screen",
    Suspend "suspend" View [ctrl('z')] "" "suspend to the shell",
}
