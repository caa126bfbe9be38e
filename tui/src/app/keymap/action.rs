//! What keys do.

use tracetui_shared::kind::Kind;

macro_rules! actions {
    ($($action:ident $name:literal $about:literal,)+) => {
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub(crate) enum Action {
            $($action,)+
            Toggle(Kind),
        }

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
    Up "up" "go a row up",
    Down "down" "go a row down",
    PageUp "page-up" "go a page up",
    PageDown "page-down" "go a page down",
    HalfUp "half-up" "go half a page up",
    HalfDown "half-down" "go half a page down",
    Start "start" "go to the oldest event",
    End "end" "go to the newest event, and follow",
    Left "left" "fold the row; otherwise scroll its text back",
    Right "right" "unfold the row; otherwise scroll its text",
    Follow "follow" "go to the newest event, and follow",
    Pause "pause" "pause or resume the list; tracing continues",
    Enter "enter" "open the detail pane; again: full size, or go to the selected row of the pane",
    Back "back" "go back: close the pane, or remove the newest filter",
    Search "search" "find a regular expression or a filter in all columns; hides nothing",
    Next "next" "go to the next match",
    Previous "previous" "go to the previous match",
    EditFilter "edit-filter" "edit the filter; Tab completes",
    OnlyPid "only-pid" "filter: the process of the row",
    OnlyTree "only-tree" "filter: the process of the row and its descendants",
    OnlyComm "only-comm" "filter: the command name of the row",
    OnlyUser "only-user" "filter: the user of the row",
    NotComm "not-comm" "filter: hide the command name of the row",
    Failures "failures" "show only failures that nothing answered; again: all failures; again: all events",
    Strip "strip" "show or hide the side strip",
    StripDown "strip-down" "select the next row of the side strip",
    Gantt "gantt" "show a Gantt chart of the process and its descendants; Enter goes to the process of a bar",
    StripUp "strip-up" "select the previous row of the side strip",
    FoldAll "fold-all" "fold repeats, runs and searches, or show each event",
    NextTab "next-tab" "next tab of the pane",
    PreviousTab "previous-tab" "previous tab of the pane",
    ToParent "to-parent" "go to the parent process",
    PaneDown "pane-down" "select the next row of the pane, or scroll down",
    PaneUp "pane-up" "select the previous row of the pane, or scroll up",
    Why "why" "show why the row failed",
    TimeMode "time-mode" "next time format: clock, since the start, since the row above",
    CopyLine "copy-line" "copy the row as text",
    CopyCommand "copy-command" "copy the row as a shell command",
    CopyJson "copy-json" "copy the row as JSON",
    Watch "watch" "watch what the row is about: its matches are counted and marked; again: end the watch",
    CopyCall "copy-call" "copy the row as strace writes it",
    LossReport "loss-report" "show the lost events",
    Record "record" "record everything, or save what is shown; again: stop",
    Output "output" "show COMMAND's terminal; Enter gives it the keys, Ctrl-] takes them back",
    RunAgain "run-again" "run COMMAND again, after it ended",
    Help "help" "show the keys",
    Reset "reset" "remove all filters, and restore orders, kinds and formats",
    Redraw "redraw" "redraw the screen",
    Suspend "suspend" "suspend to the shell",
    Quit "quit" "quit",
    Play "play" "play or pause",
    Slower "slower" "play slower",
    Faster "faster" "play faster",
    EventBack "event-back" "go to the previous event",
    EventForward "event-forward" "go to the next event",
    Back10 "back-10s" "go 10 s back",
    Forward10 "forward-10s" "go 10 s forward",
    Back60 "back-1min" "go 1 min back",
    Forward60 "forward-1min" "go 1 min forward",
    GoTo "go-to" "go to a time",
    Mark "mark" "set a mark, named by the next letter",
    GoToMark "go-to-mark" "go to the mark named by the next letter; twice: to the place before",
    ShowEvents "events" "show the events",
    ShowTree "tree" "show the process tree",
    ShowTop "top" "show the most frequent values",
    NextView "next-view" "show the next view",
    PreviousView "previous-view" "show the previous view",
    Fold "fold" "fold the branch; again: go to the parent",
    Unfold "unfold" "unfold the branch",
    SubtreeEvents "subtree-events" "show the events of the process and its descendants",
    Sort "sort" "sort by the next column",
    Reverse "reverse" "reverse the order",
    Idle "idle" "show or hide processes without events",
    TopEvents "top-events" "show the events of the row",
    TopHide "top-hide" "hide the events of the row",
    NextBy "next-by" "count by the next property",
    PreviousBy "previous-by" "count by the previous property",
    TopSort "top-sort" "sort by the next column",
    TopReverse "top-reverse" "reverse the order",
    TopWindow "top-window" "count the last 60 s, or all",
    TopZero "top-zero" "count from now on, or all",
    OnlyDir "only-dir" "filter: the directory of the row's file",
    ShowBpf "bpf" "show the BPF programs",
    BpfEvents "bpf-events" "show the events of the program",
    BpfSort "bpf-sort" "sort by the next column",
    BpfReverse "bpf-reverse" "reverse the order",
    BpfGone "bpf-gone" "hide or show unloaded programs",
    Columns "columns" "choose the columns of the view",
    Diff "diff" "compare the trace with a recording: show the differences; again: choose another recording",
    DiffEvents "diff-events" "show the events of the process in the trace, at the event of the difference",
    DiffAll "diff-all" "show or hide differences that follow from others",
}
