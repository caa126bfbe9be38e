//! The table of keys. The footer, the help overlay, messages and the documentation are derived from it. The table holds
//! the defaults; a [`Keymap`] is a copy of it in which the keys of each action can be changed.

mod action;

use crate::app::device::{KeyCode, KeyEvent, KeyModifiers};
use crate::app::named::named;
pub(crate) use action::Action;
use std::borrow::Cow;
use std::str::FromStr;
use tracetui_events::text::is_hostile;
use tracetui_shared::kind::{Kind, KindSet};
use unicode_width::UnicodeWidthChar;

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
    /// While the differences from a recording are shown; takes precedence over the following.
    Diff,
    /// In a replay; takes precedence over [`Scope::Everywhere`].
    Replay,
}

impl Scope {
    /// Where it applies, for messages.
    fn place(self) -> &'static str {
        match self {
            Scope::Everywhere => "everywhere",
            Scope::Detail => "in the detail pane",
            Scope::Tree => "in the tree",
            Scope::Top => "in Top",
            Scope::Bpf => "in BPF",
            Scope::Diff => "in Diff",
            Scope::Replay => "in a replay",
        }
    }
}

named! {
    enum Section title {
        Move "Move",
        Find "Find",
        Filter "Filter",
        Selected "Selected row",
        Detail "Detail pane",
        View "View",
        Tree "Process tree",
        Top "Top",
        Bpf "BPF programs",
        Diff "Differences",
        Replay "Replay",
    }
}

/// A key with or without Ctrl. Shift is part of the letter.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Press {
    pub code: KeyCode,
    pub ctrl: bool,
}

/// A line of the table.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Binding {
    /// The keys. The first one is shown where there is room for only one.
    pub keys: Cow<'static, [Press]>,
    pub action: Action,
    /// The label in the footer, one or two words; empty if the footer never shows the action.
    pub label: &'static str,
    /// The line in the help overlay. Bindings with the same text share a line. [`Action::about`] says what each does.
    pub help: Cow<'static, str>,
    pub section: Section,
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

const ENTER: Press = code(KeyCode::Enter);
const LEFT: Press = code(KeyCode::Left);
const RIGHT: Press = code(KeyCode::Right);
const TAB: Press = code(KeyCode::Tab);
const BACK_TAB: Press = code(KeyCode::BackTab);

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
        Section::Diff => Scope::Diff,
        Section::Replay => Scope::Replay,
        _ => Scope::Everywhere,
    };
    Binding { keys: Cow::Borrowed(keys), action, label, help: Cow::Borrowed(help), section, scope }
}

fn of_kind(kind: Kind) -> Binding {
    Binding {
        keys: kind.key().map(key).into_iter().collect(),
        ..bind(Section::Filter, &[], Action::Toggle(kind), "", "")
    }
}

const OF_TREE: &[Binding] = &[
    bind(Section::Tree, &[ENTER], Action::SubtreeEvents, "events", "events of the process and its descendants"),
    bind(Section::Tree, &[LEFT, key('h'), key('-')], Action::Fold, "", "fold or unfold; fold again: to the parent"),
    bind(
        Section::Tree,
        &[RIGHT, key('l'), key('+')],
        Action::Unfold,
        "unfold",
        "fold or unfold; fold again: to the parent",
    ),
    bind(Section::Tree, &[key('s'), f(6)], Action::Sort, "sort", "sort by the next column; reverse"),
    bind(Section::Tree, &[key('S')], Action::Reverse, "", "sort by the next column; reverse"),
    bind(Section::Tree, &[key('V')], Action::Gantt, "chart", "chart: what ran when, what waited"),
    bind(Section::Tree, &[key('i')], Action::Idle, "idle", "show or hide processes without events"),
];

const OF_TOP: &[Binding] = &[
    bind(Section::Top, &[ENTER], Action::TopEvents, "these", "show the events of the row"),
    bind(Section::Top, &[key('x')], Action::TopHide, "hide", "hide the events of the row"),
    bind(Section::Top, &[RIGHT, key('l')], Action::NextBy, "by", "count by another property"),
    bind(Section::Top, &[LEFT, key('h')], Action::PreviousBy, "", "count by another property"),
    bind(Section::Top, &[key('s'), f(6)], Action::TopSort, "sort", "sort by the next column; reverse"),
    bind(Section::Top, &[key('S')], Action::TopReverse, "", "sort by the next column; reverse"),
    bind(Section::Top, &[key('W')], Action::TopWindow, "60 s", "the last 60 s; from now on"),
    bind(Section::Top, &[key('z')], Action::TopZero, "zero", "the last 60 s; from now on"),
];

const OF_BPF: &[Binding] = &[
    bind(Section::Bpf, &[key('p')], Action::BpfEvents, "events", "events of the program"),
    bind(Section::Bpf, &[key('s'), f(6)], Action::BpfSort, "sort", "sort by the next column; reverse"),
    bind(Section::Bpf, &[key('S')], Action::BpfReverse, "", "sort by the next column; reverse"),
    bind(Section::Bpf, &[key('a')], Action::BpfGone, "gone", "hide or show unloaded programs"),
];

const OF_DIFF: &[Binding] = &[
    bind(Section::Diff, &[key('p')], Action::DiffEvents, "events", "events of the process"),
    bind(Section::Diff, &[key('a')], Action::DiffAll, "all", "show or hide what follows"),
];

const OF_REPLAY: &[Binding] = &[
    bind(Section::Replay, &[key(' ')], Action::Play, "play", "play or pause"),
    bind(Section::Replay, &[key('<')], Action::Slower, "", "slower or faster"),
    bind(Section::Replay, &[key('>')], Action::Faster, "speed", "slower or faster"),
    bind(Section::Replay, &[key(',')], Action::EventBack, "", "previous or next event"),
    bind(Section::Replay, &[key('.')], Action::EventForward, "event", "previous or next event"),
];

/// Ways through time, live and in a replay.
const OF_TIME: &[Binding] = &[
    bind(Section::Move, &[key('[')], Action::Back10, "", "go by time; marks a-z"),
    bind(Section::Move, &[key(']')], Action::Forward10, "10 s", "go by time; marks a-z"),
    bind(Section::Move, &[key('{')], Action::Back60, "", "go by time; marks a-z"),
    bind(Section::Move, &[key('}')], Action::Forward60, "1 min", "go by time; marks a-z"),
    bind(Section::Move, &[key('T')], Action::GoTo, "go to time", "go by time; marks a-z"),
    bind(Section::Move, &[key('m')], Action::Mark, "", "go by time; marks a-z"),
    bind(Section::Move, &[key('\'')], Action::GoToMark, "", "go by time; marks a-z"),
];

const BEFORE_KINDS: &[Binding] = &[
    bind(Section::View, &[key('?'), f(1)], Action::Help, "help", "this help"),
    bind(Section::View, &[key('1')], Action::ShowEvents, "", "events tree top BPF"),
    bind(Section::View, &[key('2'), f(5)], Action::ShowTree, "", "events tree top BPF"),
    bind(Section::View, &[key('3'), f(8)], Action::ShowTop, "", "events tree top BPF"),
    bind(Section::View, &[key('4')], Action::ShowBpf, "", "events tree top BPF"),
    bind(Section::Move, &[TAB], Action::NextView, "", "next or previous view"),
    bind(Section::Move, &[BACK_TAB], Action::PreviousView, "", "next or previous view"),
    bind(Section::Find, &[key('/'), f(3)], Action::Search, "find", "a regex or comm=cc1; next"),
    bind(Section::Find, &[key('n')], Action::Next, "", "a regex or comm=cc1; next"),
    bind(Section::Find, &[key('N')], Action::Previous, "", "a regex or comm=cc1; next"),
    bind(Section::Filter, &[key('f'), f(4)], Action::EditFilter, "filter", "edit; Tab completes"),
    bind(Section::Selected, &[key('p')], Action::OnlyPid, "pid", "pid tree comm dir user"),
    bind(Section::Selected, &[key('P')], Action::OnlyTree, "", "pid tree comm dir user"),
    bind(Section::Selected, &[key('c')], Action::OnlyComm, "comm", "pid tree comm dir user"),
    bind(Section::Selected, &[key('d')], Action::OnlyDir, "", "pid tree comm dir user"),
    bind(Section::Selected, &[key('x')], Action::NotComm, "hide", "hide; why; watch"),
    bind(Section::Detail, &[key('u')], Action::ToParent, "to parent", "to the parent; tabs"),
    bind(Section::Detail, &[TAB], Action::NextTab, "tab", "to the parent; tabs"),
    bind(Section::Detail, &[BACK_TAB], Action::PreviousTab, "", "to the parent; tabs"),
    bind(Section::Move, &[ENTER], Action::Enter, "detail", "details, full; go there"),
    bind(Section::Detail, &[key('J')], Action::PaneDown, "row", "select row; scroll"),
    bind(Section::Detail, &[key('K')], Action::PaneUp, "", "select row; scroll"),
    bind(Section::View, &[key(' ')], Action::Pause, "pause", "pause (keeps tracing)"),
    bind(Section::Move, &[key('F')], Action::Follow, "follow", "go to the newest; follow"),
    bind(Section::Filter, &[key('e')], Action::Failures, "failed", "only failures; fold repeats"),
    bind(Section::Filter, &[key('a')], Action::FoldAll, "unfold", "only failures; fold repeats"),
    bind(Section::View, &[key('t')], Action::TimeMode, "time", "time; columns; reset"),
    bind(Section::View, &[key('C')], Action::Columns, "", "time; columns; reset"),
    bind(Section::View, &[key('v')], Action::Strip, "strip", "side strip; its rows"),
    bind(Section::View, &[key(')')], Action::StripDown, "", "side strip; its rows"),
    bind(Section::View, &[key('(')], Action::StripUp, "", "side strip; its rows"),
    bind(Section::Selected, &[key('W')], Action::Why, "why", "hide; why; watch"),
    bind(Section::Selected, &[key('A')], Action::Watch, "", "hide; why; watch"),
    bind(Section::Selected, &[key('u')], Action::OnlyUser, "user", "pid tree comm dir user"),
    bind(Section::Selected, &[key('y')], Action::CopyLine, "copy", "copy in four formats"),
    bind(Section::Selected, &[key('Y')], Action::CopyCommand, "copy command", "copy in four formats"),
    bind(Section::Selected, &[ctrl('y')], Action::CopyJson, "", "copy in four formats"),
    bind(Section::Selected, &[key('L')], Action::CopyCall, "", "copy in four formats"),
];

const AFTER_KINDS: &[Binding] = &[
    bind(Section::View, &[key('!')], Action::LossReport, "loss", "loss diff output run"),
    bind(Section::View, &[key('w'), f(7)], Action::Record, "record", "record on or off"),
    bind(Section::View, &[key('D')], Action::Diff, "", "loss diff output run"),
    bind(Section::View, &[key('o')], Action::Output, "", "loss diff output run"),
    bind(Section::View, &[key('r')], Action::RunAgain, "", "loss diff output run"),
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
    bind(Section::Move, &[key('h'), LEFT], Action::Left, "", "fold or unfold; scroll"),
    bind(Section::Move, &[key('l'), RIGHT], Action::Right, "", "fold or unfold; scroll"),
    bind(Section::View, &[ctrl('r')], Action::Reset, "", "time; columns; reset"),
    bind(Section::View, &[ctrl('l')], Action::Redraw, "", "redraw; suspend"),
    bind(Section::View, &[ctrl('z')], Action::Suspend, "", "redraw; suspend"),
];

pub(crate) fn pressed(event: &KeyEvent) -> Press {
    Press { code: event.code, ctrl: event.modifiers.contains(KeyModifiers::CONTROL) }
}

/// The bindings of keys to actions. The footer shows the labels in this order.
#[derive(Clone, PartialEq, Debug)]
pub struct Keymap {
    bindings: Vec<Binding>,
}

impl Default for Keymap {
    fn default() -> Keymap {
        let kinds = Kind::DEFAULT_FIRST.map(of_kind);
        let mut keymap = Keymap {
            bindings: [OF_TREE, OF_TOP, OF_BPF, OF_DIFF, OF_REPLAY, OF_TIME, BEFORE_KINDS, &kinds, AFTER_KINDS]
                .concat(),
        };
        keymap.name_hidden_kinds();
        keymap
    }
}

#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeyError {
    #[error("unknown key `{0}`; keys are written as in the help: q, Ctrl-C, F1, Space, PgDn, Shift-Tab")]
    Unknown(String),
    /// Terminals have no such key: it is another one.
    #[error("terminals send `{0}` as `{1}`: write `{1}`")]
    Same(String, &'static str),
}

/// Keys that cannot be assigned together.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Conflict {
    /// The number of the assignment.
    pub at: usize,
    /// The key of that assignment; `None` if it is about all.
    pub press: Option<Press>,
    pub message: String,
}

/// The actions that must have a key that has no other meaning in any view.
const NEEDED: [Action; 2] = [Action::Quit, Action::Help];

impl Keymap {
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

    pub(crate) fn action(&self, name: &str) -> Option<Action> {
        self.iter().map(|binding| binding.action).find(|action| action.name() == name)
    }

    /// Assigns keys to actions, in place of their previous keys. Another action of the same scope loses a key that is assigned,
    /// unless it is its last one.
    /// Fails if two actions of a scope have the same key, one would lose its last key unsaid, or no key would be left to quit or for help.
    pub(crate) fn assign(&mut self, assigned: &[(Action, Vec<Press>)]) -> Result<(), Conflict> {
        let mut changed = self.clone();
        // The keys that were assigned, with their scope and the number of the assignment.
        let mut taken: Vec<(Scope, Press, usize)> = Vec::new();
        for (at, (action, keys)) in assigned.iter().enumerate() {
            let Some(binding) = changed.bindings.iter_mut().find(|binding| binding.action == *action) else { continue };
            for press in keys {
                let other = taken.iter().find(|(scope, key, _)| *scope == binding.scope && key == press);
                if let Some((_, _, other)) = other {
                    let (key, other) = (press.name(), assigned[*other].0.name());
                    let message = match action.name() {
                        name if name == other => format!("`{key}` is listed twice"),
                        name => format!("`{key}` is assigned to both `{other}` and `{name}`"),
                    };
                    return Err(Conflict { at, press: Some(*press), message });
                }
                taken.push((binding.scope, *press, at));
            }
            binding.keys = keys.clone().into();
        }
        let mut robbed = None;
        for binding in changed.bindings.iter_mut().filter(|b| assigned.iter().all(|(action, _)| *action != b.action)) {
            let taker = |press: &Press| taken.iter().find(|(scope, key, _)| *scope == binding.scope && key == press);
            let by = binding.keys.iter().find_map(taker);
            binding.keys = binding.keys.iter().copied().filter(|press| taker(press).is_none()).collect();
            robbed = robbed.or(by.filter(|_| binding.keys.is_empty()).map(|by| (*by, binding.action)));
        }
        changed.check_needed(self, assigned)?;
        if let Some(((_, press, at), action)) = robbed {
            let (key, name) = (press.name(), action.name());
            let message = format!("`{key}` is the only key of `{name}`: assign that another key, or write {name} = []");
            return Err(Conflict { at, press: Some(press), message });
        }
        changed.check_precedence(self, assigned)?;
        changed.name_hidden_kinds();
        *self = changed;
        Ok(())
    }

    /// Checks that a key newly assigned for everywhere has no other meaning in one view, unless that was assigned too.
    fn check_precedence(&self, before: &Keymap, assigned: &[(Action, Vec<Press>)]) -> Result<(), Conflict> {
        let of = |keymap: &Keymap, action| keymap.bindings.iter().find(|binding| binding.action == action).cloned();
        for (at, (action, keys)) in assigned.iter().enumerate() {
            let was = of(before, *action).filter(|binding| binding.scope == Scope::Everywhere);
            let Some(was) = was else { continue };
            for press in keys.iter().filter(|press| !was.keys.contains(press)) {
                let narrower = self.iter().find(|binding| {
                    binding.scope != Scope::Everywhere
                        && binding.keys.contains(press)
                        && assigned.iter().all(|(action, _)| *action != binding.action)
                });
                if let Some(other) = narrower {
                    let (key, name, place) = (press.name(), other.action.name(), other.scope.place());
                    let message = format!(
                        "`{key}` is the key of `{name}` {place}: assign that another key, or write {name} = \"{key}\" to keep both"
                    );
                    return Err(Conflict { at, press: Some(*press), message });
                }
            }
        }
        Ok(())
    }

    /// Checks that there are keys to quit and for help everywhere. `before`: without the assignments.
    fn check_needed(&self, before: &Keymap, assigned: &[(Action, Vec<Press>)]) -> Result<(), Conflict> {
        let keys = |keymap: &Keymap, action| -> Vec<Press> {
            keymap
                .iter()
                .filter(|binding| binding.action == action)
                .flat_map(|binding| binding.keys.iter().copied())
                .collect()
        };
        let only = |press: &Press, action| self.iter().all(|b| b.action == action || !b.keys.contains(press));
        let Some(action) = NEEDED.into_iter().find(|a| !keys(self, *a).iter().any(|press| only(press, *a))) else {
            return Ok(());
        };
        let own = assigned.iter().position(|(assigned, _)| *assigned == action);
        let lost = keys(before, action);
        let taker = || assigned.iter().position(|(_, keys)| keys.iter().any(|press| lost.contains(press)));
        let message = format!(
            "no key would be left for `{}`: it needs a key that has no other meaning in any view",
            action.name()
        );
        Err(Conflict { at: own.or_else(taker).unwrap_or_default(), press: None, message })
    }

    /// Lets the help of the keys of kinds name the kinds that are hidden by default.
    fn name_hidden_kinds(&mut self) {
        let hidden = KindSet::ON_REQUEST.iter().map(|kind| (self.first(Action::Toggle(kind)), kind.name()));
        let help = format!("toggle kinds{}", hidden.map(|(key, name)| format!("; {key} {name}s")).collect::<String>());
        for binding in self.bindings.iter_mut().filter(|binding| matches!(binding.action, Action::Toggle(_))) {
            binding.help = help.clone().into();
        }
    }

    /// The keys of a section with their help, `-` if none; equal helps are merged. A replay omits keys without a use there.
    pub(crate) fn rows(&self, section: Section, replay: bool) -> Vec<(String, &str)> {
        let mut rows: Vec<(String, &str)> = Vec::new();
        let shown = |binding: &&Binding| binding.section == section && !(replay && binding.action.is_live());
        for binding in self.iter().filter(shown) {
            let help = binding.action.help_in_replay().filter(|_| replay).unwrap_or(&binding.help);
            match rows.iter_mut().find(|(_, known)| *known == help) {
                Some((keys, _)) => *keys = format!("{keys} {}", binding.names()).trim().to_owned(),
                None => rows.push((binding.names(), help)),
            }
        }
        rows.iter_mut().filter(|(keys, _)| keys.is_empty()).for_each(|(keys, _)| keys.push('-'));
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
    /// Whether the key types a character where text is typed.
    pub(crate) fn is_text(self) -> bool {
        matches!(self.code, KeyCode::Char(_)) && !self.ctrl
    }

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

    fn from_str(name: &str) -> Result<Press, KeyError> {
        let (ctrl, rest) = name.strip_prefix("Ctrl-").map_or((false, name), |rest| (true, rest));
        let code = code_of(rest).ok_or_else(|| KeyError::Unknown(name.to_owned()))?;
        match code {
            KeyCode::Char(letter) if ctrl => match letter.to_ascii_lowercase() {
                // Their control characters are those of other keys.
                'i' => Err(KeyError::Same(name.to_owned(), "Tab")),
                'm' => Err(KeyError::Same(name.to_owned(), "Enter")),
                '[' => Err(KeyError::Same(name.to_owned(), "Esc")),
                letter @ ('a'..='z' | ' ') => Ok(Press { code: KeyCode::Char(letter), ctrl }),
                _ => Err(KeyError::Unknown(name.to_owned())),
            },
            code => Ok(Press { code, ctrl }),
        }
    }
}

fn code_of(name: &str) -> Option<KeyCode> {
    let mut letters = name.chars();
    if let (Some(letter), None) = (letters.next(), letters.next()) {
        // Its name is shown as it is.
        let visible = !is_hostile(letter) && letter != ' ' && letter.width().is_some_and(|cells| cells > 0);
        return visible.then_some(KeyCode::Char(letter));
    }
    let named = NAMED.iter().find(|(_, known)| *known == name).map(|(code, _)| *code);
    let other = || OTHERS.into_iter().find(|code| code.to_string() == name);
    let function = || (1..=12).map(KeyCode::F).find(|code| code.to_string() == name);
    named.or_else(other).or_else(function)
}

impl Binding {
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
        for scope in [Scope::Everywhere, Scope::Detail, Scope::Tree, Scope::Top, Scope::Bpf, Scope::Diff, Scope::Replay]
        {
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
        for unknown in [
            "",
            "Ctrl-",
            "Meta-x",
            "F0",
            "F13",
            "space",
            " ",
            "\u{1b}",
            "qq",
            "Ctrl-1",
            "Ctrl-\u{e4}",
            "\u{202e}",
            "\u{301}",
        ] {
            assert_eq!(unknown.parse::<Press>(), Err(KeyError::Unknown(unknown.to_owned())));
        }
        for (same, as_key) in [("Ctrl-I", "Tab"), ("Ctrl-m", "Enter"), ("Ctrl-[", "Esc")] {
            assert_eq!(same.parse::<Press>(), Err(KeyError::Same(same.to_owned(), as_key)));
        }
    }

    fn assign(keymap: &mut Keymap, assigned: &[(&str, &[&str])]) -> Result<(), (usize, Option<String>, String)> {
        let read = |(action, keys): &(&str, &[&str])| {
            let keys = keys.iter().map(|key| key.parse().expect("a key")).collect();
            (keymap.action(action).expect("an action"), keys)
        };
        let assigned: Vec<_> = assigned.iter().map(read).collect();
        keymap.assign(&assigned).map_err(|error| (error.at, error.press.map(Press::name), error.message))
    }

    #[test]
    fn keys_can_be_assigned() {
        let mut keymap = Keymap::default();
        assert_eq!(assign(&mut keymap, &[("follow", &["Ctrl-F", "j"])]), Ok(()));
        assert_eq!(keymap.lookup(ctrl('f'), LIVE), Some(Action::Follow));
        assert_eq!(keymap.lookup(key('j'), LIVE), Some(Action::Follow));
        assert_eq!(keymap.lookup(key('F'), LIVE), None);
        assert_eq!(keymap.lookup(code(KeyCode::Down), LIVE), Some(Action::Down));
        assert_eq!((keymap.first(Action::Follow), keymap.first(Action::Down)), ("Ctrl-F".into(), "Down".into()));
        // Two that change places, and one that gives its key away.
        assert_eq!(assign(&mut keymap, &[("toggle-open", &["P"]), ("only-tree", &["O"])]), Ok(()));
        assert_eq!(keymap.lookup(key('P'), LIVE), Some(Action::Toggle(Kind::Open)));
        assert_eq!(keymap.lookup(key('O'), LIVE), Some(Action::OnlyTree));
        assert_eq!(
            assign(&mut keymap, &[("time-mode", &[]), ("pause", &[]), ("play", &["t"]), ("toggle-fork", &["F2"])]),
            Ok(())
        );
        assert_eq!(keymap.first(Action::TimeMode), "-");
        assert!(keymap.rows(Section::Move, false).iter().any(|(keys, _)| keys.starts_with("Ctrl-F j ")));
        assert!(keymap.rows(Section::View, false).contains(&("C Ctrl-R".to_owned(), "time; columns; reset")));
        assert!(keymap.rows(Section::View, false).contains(&("-".to_owned(), "pause (keeps tracing)")));
        assert!(keymap.rows(Section::Filter, false).iter().any(|(_, help)| help.starts_with("toggle kinds; F2 forks")));
    }

    #[test]
    fn a_refused_assignment_changes_nothing() {
        let mut keymap = Keymap::default();
        for (assigned, at, press, message) in [
            (
                &[("help", &["x"][..]), ("pause", &["x"])][..],
                1,
                Some("x"),
                "`x` is assigned to both `help` and `pause`",
            ),
            (&[("pause", &["F2", "F2"])], 0, Some("F2"), "`F2` is listed twice"),
            (
                &[("pause", &["p"])],
                0,
                Some("p"),
                "`p` is the only key of `only-pid`: assign that another key, or write only-pid = []",
            ),
            (&[("up", &["F2"]), ("quit", &[])], 1, None, "no key would be left for `quit`"),
            (&[("pause", &["q", "F10", "Ctrl-C"])], 0, None, "no key would be left for `quit`"),
            (&[("help", &["s"])], 0, None, "no key would be left for `help`"),
            (&[("up", &["F2"]), ("play", &["F1", "?"])], 1, None, "no key would be left for `help`"),
        ] {
            let error = assign(&mut keymap, assigned).expect_err(message);
            assert_eq!((error.0, error.1.as_deref()), (at, press), "{message}");
            assert!(error.2.starts_with(message), "{}", error.2);
        }
        assert_eq!(keymap.lookup(key('q'), LIVE), Some(Action::Quit));
        assert_eq!(keymap.lookup(key('p'), LIVE), Some(Action::OnlyPid));
        // A view may give a key of them another meaning as long as one is left.
        assert_eq!(assign(&mut keymap, &[("play", &["q"])]), Ok(()));
    }

    #[test]
    fn every_action_has_a_name_of_its_own_and_a_key() {
        let keymap = Keymap::default();
        let names: Vec<_> = keymap.iter().map(|binding| binding.action.name()).collect();
        assert_eq!(names.len(), names.iter().collect::<HashSet<_>>().len(), "{names:?}");
        assert!(keymap.iter().all(|binding| !binding.keys.is_empty()));
    }
}
