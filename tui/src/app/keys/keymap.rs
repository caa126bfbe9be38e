//! The table of keys. The footer, the help overlay, messages and the documentation are derived from it. The table holds
//! the defaults; a [`Keymap`] is a copy of it in which the keys of each action can be changed.

mod bindings;

use crate::app::keys::device::{KeyCode, KeyEvent, KeyModifiers};
use crate::app::named_enum::named;
pub(crate) use bindings::Action;
use std::borrow::Cow;
use std::collections::HashMap;
use std::str::FromStr;
use tracetui_events::text::is_hostile;
use tracetui_shared::kind::Kind;
use unicode_width::UnicodeWidthChar;

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

/// The section whose keys have this meaning only in a part of the screen. `None`: everywhere except while text is typed.
pub(crate) type Scope = Option<Section>;

impl Section {
    pub(crate) fn scope(self) -> Scope {
        use Section::{Bpf, Detail, Diff, Replay, Top, Tree};
        matches!(self, Detail | Tree | Top | Bpf | Diff | Replay).then_some(self)
    }
}

/// A key with or without Ctrl. Shift is part of the letter.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Press {
    pub code: KeyCode,
    pub ctrl: bool,
}

#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Binding {
    /// The keys. The first one is shown where there is room for only one.
    pub keys: Cow<'static, [Press]>,
    pub action: Action,
    /// The label in the footer, one or two words; empty if the footer never shows the action.
    pub label: &'static str,
    pub section: Section,
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

const fn bind(section: Section, keys: &'static [Press], action: Action, label: &'static str) -> Binding {
    Binding { keys: Cow::Borrowed(keys), action, label, section }
}

fn of_kind(kind: Kind) -> Binding {
    Binding { keys: kind.key().map(key).into_iter().collect(), ..bind(Section::Filter, &[], Action::Toggle(kind), "") }
}

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
        let mut bindings = bindings::BINDINGS.to_vec();
        let after = bindings.iter().position(|binding| binding.action == Action::LossReport).unwrap_or_default();
        bindings.splice(after..after, Kind::DEFAULT_FIRST.map(of_kind));
        Keymap { bindings }
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
    pub message: String,
}

/// The actions that must have a key that has no other meaning in any view.
const NEEDED: [Action; 2] = [Action::Quit, Action::Help];

impl Keymap {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Binding> {
        self.bindings.iter()
    }

    fn binding(&self, action: Action) -> Option<&Binding> {
        self.iter().find(|binding| binding.action == action)
    }

    /// The action of a key in the first of these scopes in which it has one.
    pub(crate) fn lookup(&self, press: Press, scopes: &[Scope]) -> Option<Action> {
        let find =
            |scope| self.iter().find(|b| b.section.scope() == scope && b.keys.contains(&press)).map(|b| b.action);
        scopes.iter().find_map(|scope| find(*scope))
    }

    /// The name of the first key of an action, for messages; `-` if it has none.
    pub(crate) fn first(&self, action: Action) -> String {
        self.binding(action).and_then(|binding| binding.keys.first()).map_or_else(|| "-".to_owned(), |key| key.name())
    }

    /// Assigns keys to actions, in place of their previous keys. Another action of the same scope loses a key that is assigned.
    /// Fails if two actions of a scope have the same key, or no key would be left to quit or for help.
    pub(crate) fn assign(&mut self, assigned: &[(Action, Vec<Press>)]) -> Result<(), Conflict> {
        let mut changed = self.clone();
        // The numbers of the assignments.
        let mut taken: HashMap<(Scope, Press), usize> = HashMap::new();
        for (at, (action, keys)) in assigned.iter().enumerate() {
            let Some(binding) = changed.bindings.iter_mut().find(|binding| binding.action == *action) else { continue };
            for press in keys {
                let Some(other) = taken.insert((binding.section.scope(), *press), at) else { continue };
                let (key, name, other) = (press.name(), action.name(), assigned[other].0.name());
                let twice = format!("`{key}` is listed twice");
                let both = format!("`{key}` is assigned to both `{other}` and `{name}`");
                return Err(Conflict { at, message: if name == other { twice } else { both } });
            }
            binding.keys = keys.clone().into();
        }
        for binding in changed.bindings.iter_mut().filter(|b| assigned.iter().all(|(one, _)| *one != b.action)) {
            let scope = binding.section.scope();
            binding.keys = binding.keys.iter().copied().filter(|press| !taken.contains_key(&(scope, *press))).collect();
        }
        let alone = |action, press: &Press| changed.iter().all(|b| b.action == action || !b.keys.contains(press));
        let keys = |keymap: &Keymap, action| keymap.binding(action).map_or_else(Vec::new, |b| b.keys.to_vec());
        if let Some(action) = NEEDED.into_iter().find(|a| !keys(&changed, *a).iter().any(|press| alone(*a, press))) {
            let (name, lost) = (action.name(), keys(self, action));
            let own = assigned.iter().position(|(one, _)| *one == action);
            let taker = || assigned.iter().position(|(_, keys)| keys.iter().any(|press| lost.contains(press)));
            let why = "it needs a key that has no other meaning in any view";
            let message = format!("no key would be left for `{name}`: {why}");
            return Err(Conflict { at: own.or_else(taker).unwrap_or_default(), message });
        }
        *self = changed;
        Ok(())
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
mod tests;
