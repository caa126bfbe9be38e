//! The table of keys. The footer, the help overlay, messages and the documentation are derived from it. The table holds
//! the defaults; a [`Keymap`] is a copy of it in which the keys of each action can be changed.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use std::borrow::Cow;
use std::str::FromStr;
use tracetui_shared::kind::{Kind, KindSet};

macro_rules! actions {
    ($($action:ident $name:literal,)+) => {
        /// The action of a key.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        #[allow(missing_docs)] // The help texts of the table describe them.
        pub(crate) enum Action {
            $($action,)+
            Toggle(Kind),
        }

        impl Action {
            /// Whether it is for a trace that runs, and does nothing in a replay.
            pub(crate) fn is_live(self) -> bool {
                matches!(self, Action::Record | Action::Output | Action::Pause)
            }

            /// The line in the help overlay of a replay, where that is another one.
            fn help_in_replay(self) -> Option<&'static str> {
                match self {
                    Action::LossReport => Some("lost events"),
                    Action::Follow => Some("follow a file that grows"),
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
        }
    };
}

actions! {
    Up "up",
    Down "down",
    PageUp "page-up",
    PageDown "page-down",
    HalfUp "half-up",
    HalfDown "half-down",
    Start "start",
    End "end",
    Left "left",
    Right "right",
    Follow "follow",
    Pause "pause",
    Enter "enter",
    Back "back",
    Search "search",
    Next "next",
    Previous "previous",
    EditFilter "edit-filter",
    OnlyPid "only-pid",
    OnlyTree "only-tree",
    OnlyComm "only-comm",
    OnlyUser "only-user",
    NotComm "not-comm",
    Failures "failures",
    FoldAll "fold-all",
    NextTab "next-tab",
    PreviousTab "previous-tab",
    ToParent "to-parent",
    PaneDown "pane-down",
    PaneUp "pane-up",
    Why "why",
    TimeMode "time-mode",
    CopyLine "copy-line",
    CopyCommand "copy-command",
    CopyJson "copy-json",
    LossReport "loss-report",
    Record "record",
    Output "output",
    Help "help",
    Reset "reset",
    Redraw "redraw",
    Suspend "suspend",
    Quit "quit",
    Play "play",
    Slower "slower",
    Faster "faster",
    EventBack "event-back",
    EventForward "event-forward",
    Back10 "back-10s",
    Forward10 "forward-10s",
    Back60 "back-1min",
    Forward60 "forward-1min",
    GoTo "go-to",
    ShowEvents "events",
    ShowTree "tree",
    ShowTop "top",
    NextView "next-view",
    PreviousView "previous-view",
    Fold "fold",
    Unfold "unfold",
    SubtreeEvents "subtree-events",
    Sort "sort",
    Reverse "reverse",
    Idle "idle",
    TopEvents "top-events",
    TopHide "top-hide",
    NextBy "next-by",
    PreviousBy "previous-by",
    TopSort "top-sort",
    TopReverse "top-reverse",
    ShowBpf "bpf",
    BpfEvents "bpf-events",
    BpfSort "bpf-sort",
    BpfReverse "bpf-reverse",
}

/// The scope of a key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Scope {
    /// Everywhere except while text is typed.
    Everywhere,
    /// While the detail pane is open; takes precedence over the others.
    Detail,
    /// In the process tree; takes precedence over the following.
    Tree,
    /// While the most frequent are shown; takes precedence over the following.
    Top,
    /// While BPF programs are shown; takes precedence over the following.
    Bpf,
    /// In a replay; takes precedence over [`Scope::Everywhere`].
    Replay,
}

/// The headings of the help overlay.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs)] // Named by `title`.
pub(crate) enum Section {
    Move,
    Find,
    Filter,
    Selected,
    Detail,
    View,
    Tree,
    Top,
    Bpf,
    Replay,
}

impl Section {
    /// Every section, in the order of the help overlay.
    pub(crate) const ALL: [Section; 10] = [
        Section::Move,
        Section::Find,
        Section::Filter,
        Section::Selected,
        Section::Detail,
        Section::View,
        Section::Tree,
        Section::Top,
        Section::Bpf,
        Section::Replay,
    ];

    /// The heading.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Section::Move => "Move",
            Section::Find => "Find",
            Section::Filter => "Filter",
            Section::Selected => "Selected row",
            Section::Detail => "Detail pane",
            Section::View => "View",
            Section::Tree => "Process tree",
            Section::Top => "Top",
            Section::Bpf => "BPF programs",
            Section::Replay => "Replay",
        }
    }
}

/// A key with or without Ctrl. Shift is part of the letter.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Press {
    /// The key.
    pub code: KeyCode,
    /// Whether Ctrl is held.
    pub ctrl: bool,
}

/// A line of the table.
#[derive(Clone, Debug)]
pub(crate) struct Binding {
    /// The keys. The first one is shown where there is room for only one.
    pub keys: Cow<'static, [Press]>,
    /// The action of the keys.
    pub action: Action,
    /// The label in the footer, one or two words; empty if the footer never shows the action.
    pub label: &'static str,
    /// The line in the help overlay. Bindings with the same text share a line.
    pub help: Cow<'static, str>,
    /// The section of the help overlay.
    pub section: Section,
    /// The scope of the keys.
    pub scope: Scope,
}

const fn key(letter: char) -> Press {
    Press { code: KeyCode::Char(letter), ctrl: false }
}

const fn ctrl(letter: char) -> Press {
    Press { code: KeyCode::Char(letter), ctrl: true }
}

const fn code(code: KeyCode) -> Press {
    Press { code, ctrl: false }
}

const fn f(n: u8) -> Press {
    code(KeyCode::F(n))
}

const fn bind(
    section: Section,
    keys: &'static [Press],
    action: Action,
    label: &'static str,
    help: &'static str,
) -> Binding {
    let scope = match section {
        Section::Detail => Scope::Detail,
        Section::Tree => Scope::Tree,
        Section::Top => Scope::Top,
        Section::Bpf => Scope::Bpf,
        Section::Replay => Scope::Replay,
        _ => Scope::Everywhere,
    };
    Binding { keys: Cow::Borrowed(keys), action, label, help: Cow::Borrowed(help), section, scope }
}

/// The key that toggles a kind. The help names the kinds that are hidden by default.
fn of_kind(kind: Kind) -> Binding {
    let hidden = KindSet::ON_REQUEST.iter().filter_map(|kind| Some(format!("; {} {}s", kind.key()?, kind.name())));
    let help = format!("toggle kinds{}", hidden.collect::<String>());
    let keys = kind.key().map(key).into_iter().collect();
    Binding { keys, help: help.into(), ..bind(Section::Filter, &[], Action::Toggle(kind), "", "") }
}

const OF_TREE: &[Binding] = &[
    bind(
        Section::Tree,
        &[code(KeyCode::Enter)],
        Action::SubtreeEvents,
        "events",
        "the events of the process and those below",
    ),
    bind(
        Section::Tree,
        &[code(KeyCode::Left), key('h'), key('-')],
        Action::Fold,
        "",
        "fold or unfold; fold again: to the parent",
    ),
    bind(
        Section::Tree,
        &[code(KeyCode::Right), key('l'), key('+')],
        Action::Unfold,
        "unfold",
        "fold or unfold; fold again: to the parent",
    ),
    bind(Section::Tree, &[key('s'), f(6)], Action::Sort, "sort", "sort by the next column; reverse"),
    bind(Section::Tree, &[key('S')], Action::Reverse, "", "sort by the next column; reverse"),
    bind(Section::Tree, &[key('i')], Action::Idle, "idle", "show or hide processes without events"),
];

const OF_TOP: &[Binding] = &[
    bind(Section::Top, &[code(KeyCode::Enter)], Action::TopEvents, "these", "show the events of the row"),
    bind(Section::Top, &[key('x')], Action::TopHide, "hide", "hide the events of the row"),
    bind(Section::Top, &[code(KeyCode::Right), key('l')], Action::NextBy, "by", "count by something else"),
    bind(Section::Top, &[code(KeyCode::Left), key('h')], Action::PreviousBy, "", "count by something else"),
    bind(Section::Top, &[key('s'), f(6)], Action::TopSort, "sort", "sort by the next column; reverse"),
    bind(Section::Top, &[key('S')], Action::TopReverse, "", "sort by the next column; reverse"),
];

const OF_BPF: &[Binding] = &[
    bind(Section::Bpf, &[key('p')], Action::BpfEvents, "events", "the events of the program"),
    bind(Section::Bpf, &[key('s'), f(6)], Action::BpfSort, "sort", "sort by the next column; reverse"),
    bind(Section::Bpf, &[key('S')], Action::BpfReverse, "", "sort by the next column; reverse"),
];

const OF_REPLAY: &[Binding] = &[
    bind(Section::Replay, &[key(' ')], Action::Play, "play", "play or pause"),
    bind(Section::Replay, &[key('<')], Action::Slower, "", "slower or faster"),
    bind(Section::Replay, &[key('>')], Action::Faster, "speed", "slower or faster"),
    bind(Section::Replay, &[key(',')], Action::EventBack, "", "previous or next event"),
    bind(Section::Replay, &[key('.')], Action::EventForward, "event", "previous or next event"),
    bind(Section::Replay, &[key('[')], Action::Back10, "", "10 s back or forward"),
    bind(Section::Replay, &[key(']')], Action::Forward10, "10 s", "10 s back or forward"),
    bind(Section::Replay, &[key('{')], Action::Back60, "", "1 min back or forward"),
    bind(Section::Replay, &[key('}')], Action::Forward60, "1 min", "1 min back or forward"),
    bind(Section::Replay, &[key('T')], Action::GoTo, "go to time", "go to a time"),
];

const BEFORE_KINDS: &[Binding] = &[
    bind(Section::View, &[key('?'), f(1)], Action::Help, "help", "this help"),
    bind(Section::View, &[key('1')], Action::ShowEvents, "", "events tree top BPF"),
    bind(Section::View, &[key('2'), f(5)], Action::ShowTree, "", "events tree top BPF"),
    bind(Section::View, &[key('3'), f(8)], Action::ShowTop, "", "events tree top BPF"),
    bind(Section::View, &[key('4')], Action::ShowBpf, "", "events tree top BPF"),
    bind(Section::Move, &[code(KeyCode::Tab)], Action::NextView, "", "next or previous view"),
    bind(Section::Move, &[code(KeyCode::BackTab)], Action::PreviousView, "", "next or previous view"),
    bind(Section::Find, &[key('/'), f(3)], Action::Search, "find", "a regex or comm=cc1; hides nothing"),
    bind(Section::Find, &[key('n')], Action::Next, "", "next or previous match"),
    bind(Section::Find, &[key('N')], Action::Previous, "", "next or previous match"),
    bind(Section::Filter, &[key('f'), f(4)], Action::EditFilter, "filter", "edit; Tab completes"),
    bind(Section::Selected, &[key('p')], Action::OnlyPid, "pid", "only pid tree comm user"),
    bind(Section::Selected, &[key('P')], Action::OnlyTree, "", "only pid tree comm user"),
    bind(Section::Selected, &[key('c')], Action::OnlyComm, "comm", "only pid tree comm user"),
    bind(Section::Selected, &[key('x')], Action::NotComm, "hide", "hide comm; why it failed"),
    bind(Section::Detail, &[key('u')], Action::ToParent, "to parent", "to the parent; tabs"),
    bind(Section::Detail, &[code(KeyCode::Tab)], Action::NextTab, "tab", "to the parent; tabs"),
    bind(Section::Detail, &[code(KeyCode::BackTab)], Action::PreviousTab, "", "to the parent; tabs"),
    bind(Section::Move, &[code(KeyCode::Enter)], Action::Enter, "detail", "details, full; go there"),
    bind(Section::Detail, &[key('J')], Action::PaneDown, "row", "select row; scroll"),
    bind(Section::Detail, &[key('K')], Action::PaneUp, "", "select row; scroll"),
    bind(Section::View, &[key(' ')], Action::Pause, "pause", "pause (keeps tracing)"),
    bind(Section::Move, &[key('F')], Action::Follow, "follow", "go to the newest; follow"),
    bind(Section::Filter, &[key('e')], Action::Failures, "failed", "only failed; fold repeats"),
    bind(Section::Filter, &[key('a')], Action::FoldAll, "unfold", "only failed; fold repeats"),
    bind(Section::View, &[key('t')], Action::TimeMode, "time", "cycle the time format"),
    bind(Section::Selected, &[key('W')], Action::Why, "why", "hide comm; why it failed"),
    bind(Section::Selected, &[key('u')], Action::OnlyUser, "user", "only pid tree comm user"),
    bind(Section::Selected, &[key('y')], Action::CopyLine, "copy", "copy line, command, JSON"),
    bind(Section::Selected, &[key('Y')], Action::CopyCommand, "copy command", "copy line, command, JSON"),
    bind(Section::Selected, &[ctrl('y')], Action::CopyJson, "", "copy line, command, JSON"),
];

const AFTER_KINDS: &[Binding] = &[
    bind(Section::View, &[key('!')], Action::LossReport, "loss", "lost events; output"),
    bind(Section::View, &[key('w'), f(7)], Action::Record, "record", "record, with what is kept"),
    bind(Section::View, &[key('o')], Action::Output, "", "lost events; output"),
    bind(Section::View, &[key('q'), f(10), ctrl('c')], Action::Quit, "quit", "quit"),
    bind(Section::Move, &[code(KeyCode::Esc)], Action::Back, "back", "go back; remove filters"),
    bind(Section::Move, &[key('j'), code(KeyCode::Down)], Action::Down, "", "down or up"),
    bind(Section::Move, &[key('k'), code(KeyCode::Up)], Action::Up, "", "down or up"),
    bind(Section::Move, &[code(KeyCode::PageDown)], Action::PageDown, "", "page down or up"),
    bind(Section::Move, &[code(KeyCode::PageUp)], Action::PageUp, "", "page down or up"),
    bind(Section::Move, &[ctrl('d')], Action::HalfDown, "", "half page down or up"),
    bind(Section::Move, &[ctrl('u')], Action::HalfUp, "", "half page down or up"),
    bind(Section::Move, &[key('g'), code(KeyCode::Home)], Action::Start, "", "go to the oldest"),
    bind(Section::Move, &[key('G'), code(KeyCode::End)], Action::End, "", "go to the newest; follow"),
    bind(Section::Move, &[key('h'), code(KeyCode::Left)], Action::Left, "", "fold or unfold; scroll"),
    bind(Section::Move, &[key('l'), code(KeyCode::Right)], Action::Right, "", "fold or unfold; scroll"),
    bind(Section::View, &[ctrl('r')], Action::Reset, "", "reset the view"),
    bind(Section::View, &[ctrl('l')], Action::Redraw, "", "redraw; suspend"),
    bind(Section::View, &[ctrl('z')], Action::Suspend, "", "redraw; suspend"),
];

/// The pressed key, in the form of the table.
pub(crate) fn pressed(event: &KeyEvent) -> Press {
    Press { code: event.code, ctrl: event.modifiers.contains(KeyModifiers::CONTROL) }
}

/// The bindings of keys to actions. The footer shows the labels in this order.
#[derive(Clone, Debug)]
pub struct Keymap {
    bindings: Vec<Binding>,
}

impl Default for Keymap {
    /// The keys of the table.
    fn default() -> Keymap {
        let kinds = Kind::DEFAULT_FIRST.map(of_kind);
        Keymap { bindings: [OF_TREE, OF_TOP, OF_BPF, OF_REPLAY, BEFORE_KINDS, &kinds, AFTER_KINDS].concat() }
    }
}

/// The error for keys that cannot be assigned.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeyError {
    /// There is no such action.
    #[error("unknown action \"{0}\"")]
    Action(String),
    /// There is no such key.
    #[error("unknown key \"{0}\"; keys are written as in the help: q, Ctrl-C, F1, Space, PgDn, Shift-Tab")]
    Key(String),
    /// No key would be left to quit.
    #[error("no key would be left for \"quit\"")]
    Quit,
}

impl Keymap {
    /// All bindings.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Binding> {
        self.bindings.iter()
    }

    /// The action of a key in the first of these scopes in which it has one.
    pub(crate) fn lookup(&self, press: Press, scopes: &[Scope]) -> Option<Action> {
        let find = |scope| self.iter().find(|b| b.scope == scope && b.keys.contains(&press)).map(|b| b.action);
        scopes.iter().find_map(|scope| find(*scope))
    }

    /// The name of the first key of an action, for messages; `-` if it has none.
    pub(crate) fn first(&self, action: Action) -> String {
        let key = self.iter().find(|binding| binding.action == action).and_then(|binding| binding.keys.first());
        key.map_or_else(|| "-".to_owned(), |key| key.name())
    }

    /// Assigns keys to the action with this name, in place of its previous keys. Other actions of the same scope lose
    /// these keys.
    ///
    /// # Errors
    /// If there is no such action or key, or no key would be left to quit.
    pub fn assign(&mut self, action: &str, keys: &[&str]) -> Result<(), KeyError> {
        let keys = keys.iter().map(|key| key.parse()).collect::<Result<Vec<Press>, KeyError>>()?;
        let at = self.bindings.iter().position(|binding| binding.action.name() == action);
        let at = at.ok_or_else(|| KeyError::Action(action.to_owned()))?;
        let mut changed = self.clone();
        let scope = changed.bindings[at].scope;
        for binding in changed.bindings.iter_mut().filter(|binding| binding.scope == scope) {
            binding.keys = binding.keys.iter().copied().filter(|key| !keys.contains(key)).collect();
        }
        changed.bindings[at].keys = keys.into();
        if changed.first(Action::Quit) == "-" {
            return Err(KeyError::Quit);
        }
        *self = changed;
        Ok(())
    }

    /// The keys of a section with their help; keys with the same help are merged. In a replay, without those that have nothing
    /// to do there.
    pub(crate) fn rows(&self, section: Section, replay: bool) -> Vec<(String, &str)> {
        let mut rows: Vec<(String, &str)> = Vec::new();
        let shown = |binding: &&Binding| binding.section == section && !(replay && binding.action.is_live());
        for binding in self.iter().filter(shown) {
            let help = binding.action.help_in_replay().filter(|_| replay).unwrap_or(&binding.help);
            match rows.iter_mut().find(|(_, known)| *known == help) {
                Some((keys, _)) => *keys = format!("{keys} {}", binding.names()),
                None => rows.push((binding.names(), help)),
            }
        }
        rows
    }
}

/// Keys with a name that differs from crossterm's.
const NAMED: [(KeyCode, &str); 4] = [
    (KeyCode::Char(' '), "Space"),
    (KeyCode::PageDown, "PgDn"),
    (KeyCode::PageUp, "PgUp"),
    (KeyCode::BackTab, "Shift-Tab"),
];

/// Other keys with a name.
const OTHERS: [KeyCode; 11] = [
    KeyCode::Enter,
    KeyCode::Esc,
    KeyCode::Tab,
    KeyCode::Up,
    KeyCode::Down,
    KeyCode::Left,
    KeyCode::Right,
    KeyCode::Home,
    KeyCode::End,
    KeyCode::Insert,
    KeyCode::Delete,
];

impl Press {
    /// The name of the key.
    pub fn name(self) -> String {
        let named = NAMED.iter().find(|(code, _)| *code == self.code).map(|(_, name)| (*name).to_owned());
        let name = named.unwrap_or_else(|| match self.code {
            KeyCode::Char(letter) if self.ctrl => letter.to_ascii_uppercase().to_string(),
            other => other.to_string(),
        });
        if self.ctrl { format!("Ctrl-{name}") } else { name }
    }
}

impl FromStr for Press {
    type Err = KeyError;

    /// Reads a key by its [name](Press::name).
    fn from_str(name: &str) -> Result<Press, KeyError> {
        let (ctrl, rest) = name.strip_prefix("Ctrl-").map_or((false, name), |rest| (true, rest));
        let code = code_of(rest).ok_or_else(|| KeyError::Key(name.to_owned()))?;
        Ok(match code {
            KeyCode::Char(letter) if ctrl => Press { code: KeyCode::Char(letter.to_ascii_lowercase()), ctrl },
            code => Press { code, ctrl },
        })
    }
}

fn code_of(name: &str) -> Option<KeyCode> {
    let mut letters = name.chars();
    if let (Some(letter), None) = (letters.next(), letters.next()) {
        return (!letter.is_control() && letter != ' ').then_some(KeyCode::Char(letter));
    }
    let named = NAMED.iter().find(|(_, known)| *known == name).map(|(code, _)| *code);
    let other = || OTHERS.into_iter().find(|code| code.to_string() == name);
    let function = || (1..=12).map(KeyCode::F).find(|code| code.to_string() == name);
    named.or_else(other).or_else(function)
}

impl Binding {
    /// Its keys' names, separated by spaces.
    pub(crate) fn names(&self) -> String {
        self.keys.iter().map(|key| key.name()).collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    const LIVE: &[Scope] = &[Scope::Everywhere];

    #[test]
    fn no_key_means_two_things_in_one_place() {
        let keymap = Keymap::default();
        for scope in [Scope::Everywhere, Scope::Detail, Scope::Tree, Scope::Top, Scope::Bpf, Scope::Replay] {
            let keys: Vec<_> = keymap.iter().filter(|b| b.scope == scope).flat_map(|b| b.keys.iter()).collect();
            assert_eq!(keys.len(), keys.iter().collect::<HashSet<_>>().len());
        }
    }

    #[test]
    fn keys_of_the_detail_pane_go_first_while_it_is_open() {
        let keymap = Keymap::default();
        assert_eq!(keymap.lookup(key('u'), LIVE), Some(Action::OnlyUser));
        assert_eq!(keymap.lookup(key('u'), &[Scope::Detail, Scope::Everywhere]), Some(Action::ToParent));
        assert_eq!(keymap.lookup(key('j'), &[Scope::Detail, Scope::Everywhere]), Some(Action::Down));
        assert_eq!(keymap.lookup(f(2), LIVE), None);
        assert_eq!(keymap.lookup(f(9), LIVE), None);
    }

    #[test]
    fn keys_have_the_names_that_are_printed_on_them() {
        let keymap = Keymap::default();
        let names = |action| keymap.iter().find(|b| b.action == action).map(Binding::names);
        assert_eq!(names(Action::Quit).as_deref(), Some("q F10 Ctrl-C"));
        assert_eq!(names(Action::PageDown).as_deref(), Some("PgDn"));
        assert_eq!(names(Action::Pause).as_deref(), Some("Space"));
    }

    #[test]
    fn the_name_of_a_key_is_read_as_that_key() {
        for press in Keymap::default().iter().flat_map(|binding| binding.keys.iter()) {
            assert_eq!(press.name().parse(), Ok(*press), "{press:?}");
        }
        assert_eq!("Ctrl-d".parse(), Ok(ctrl('d')));
        assert_eq!("Ctrl-Space".parse(), Ok(ctrl(' ')));
        for unknown in ["", "Ctrl-", "Meta-x", "F0", "F13", "space", " ", "\u{1b}", "qq"] {
            assert_eq!(unknown.parse::<Press>(), Err(KeyError::Key(unknown.to_owned())));
        }
    }

    #[test]
    fn keys_can_be_assigned() {
        let mut keymap = Keymap::default();
        keymap.assign("follow", &["Ctrl-F", "j"]).expect("an action and keys");
        assert_eq!(keymap.lookup(ctrl('f'), LIVE), Some(Action::Follow));
        assert_eq!(keymap.lookup(key('j'), LIVE), Some(Action::Follow));
        assert_eq!(keymap.lookup(key('F'), LIVE), None);
        assert_eq!(keymap.lookup(code(KeyCode::Down), LIVE), Some(Action::Down));
        assert_eq!((keymap.first(Action::Follow), keymap.first(Action::Down)), ("Ctrl-F".into(), "Down".into()));
        keymap.assign("toggle-open", &["P"]).expect("a kind");
        assert_eq!(keymap.lookup(key('P'), LIVE), Some(Action::Toggle(Kind::Open)));
        assert!(keymap.rows(Section::Move, false).iter().any(|(keys, _)| keys.starts_with("Ctrl-F j ")));
    }

    #[test]
    fn a_refused_assignment_changes_nothing() {
        let mut keymap = Keymap::default();
        assert_eq!(keymap.assign("fly", &["q"]), Err(KeyError::Action("fly".into())));
        assert_eq!(keymap.assign("help", &["x", "Meta-x"]), Err(KeyError::Key("Meta-x".into())));
        assert_eq!(keymap.assign("quit", &[]), Err(KeyError::Quit));
        assert_eq!(keymap.assign("help", &["q", "F10", "Ctrl-C"]), Err(KeyError::Quit));
        assert_eq!(keymap.lookup(key('q'), LIVE), Some(Action::Quit));
    }

    #[test]
    fn every_action_has_a_name_of_its_own_and_a_key() {
        let keymap = Keymap::default();
        let names: Vec<_> = keymap.iter().map(|binding| binding.action.name()).collect();
        assert_eq!(names.len(), names.iter().collect::<HashSet<_>>().len(), "{names:?}");
        assert!(keymap.iter().all(|binding| !binding.keys.is_empty()));
    }
}
