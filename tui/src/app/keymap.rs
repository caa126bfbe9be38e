//! The table of keys. The footer, the help overlay and the documentation are derived from it.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use tracetui_shared::kind::Kind;

/// What a key asks for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[allow(missing_docs)] // The table's help text says what each one is.
pub(crate) enum Action {
    Up,
    Down,
    PageUp,
    PageDown,
    HalfUp,
    HalfDown,
    Start,
    End,
    Left,
    Right,
    Follow,
    Pause,
    Enter,
    Back,
    Search,
    Next,
    Previous,
    EditFilter,
    OnlyPid,
    OnlyTree,
    OnlyComm,
    OnlyUser,
    NotComm,
    Toggle(Kind),
    Failures,
    NextTab,
    PreviousTab,
    ToParent,
    TimeMode,
    CopyLine,
    CopyCommand,
    LossReport,
    Output,
    Help,
    Reset,
    Redraw,
    Suspend,
    Quit,
}

/// The scope of a key.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Scope {
    /// Everywhere except while text is typed.
    Everywhere,
    /// While the detail pane is open; goes before [`Scope::Everywhere`].
    Detail,
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
}

impl Section {
    /// Every section, in the order of the help overlay.
    pub(crate) const ALL: [Section; 6] =
        [Section::Move, Section::Find, Section::Filter, Section::Selected, Section::Detail, Section::View];

    /// The heading.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Section::Move => "Move",
            Section::Find => "Find",
            Section::Filter => "Filter",
            Section::Selected => "Selected row",
            Section::Detail => "Detail pane",
            Section::View => "View",
        }
    }
}

/// A key, with Ctrl or without. Shift is in the letter.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Press {
    /// The key.
    pub code: KeyCode,
    /// Whether Ctrl is held.
    pub ctrl: bool,
}

/// A line of the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Binding {
    /// The keys; the first one is the one that is shown where room is scarce.
    pub keys: &'static [Press],
    /// What they do.
    pub action: Action,
    /// A word or two for the footer; empty when it never stands there.
    pub label: &'static str,
    /// A line for the help overlay; keys with the same one stand on one line.
    pub help: &'static str,
    /// Under which heading.
    pub section: Section,
    /// Where.
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
    let scope = if matches!(section, Section::Detail) { Scope::Detail } else { Scope::Everywhere };
    Binding { keys, action, label, help, section, scope }
}

/// All keys. The footer takes its labels in this order.
pub(crate) static KEYS: [Binding; BEFORE_KINDS.len() + Kind::PROBED.len() + AFTER_KINDS.len()] = {
    let mut keys = [BEFORE_KINDS[0]; BEFORE_KINDS.len() + Kind::PROBED.len() + AFTER_KINDS.len()];
    let mut at = 0;
    while at < keys.len() {
        keys[at] = match at.checked_sub(BEFORE_KINDS.len()) {
            None => BEFORE_KINDS[at],
            Some(kind) if kind < Kind::PROBED.len() => of_kind(kind),
            Some(after) => AFTER_KINDS[after - Kind::PROBED.len()],
        };
        at += 1;
    }
    keys
};

/// The keys that show and hide kinds, in the order of [`Kind::DEFAULT_FIRST`].
static OF_KINDS: [Press; Kind::PROBED.len()] = {
    let mut keys = [key(' '); Kind::PROBED.len()];
    let mut at = 0;
    while at < keys.len() {
        if let Some(letter) = Kind::DEFAULT_FIRST[at].key() {
            keys[at] = key(letter);
        }
        at += 1;
    }
    keys
};

const fn of_kind(at: usize) -> Binding {
    let keys = std::slice::from_ref(&OF_KINDS[at]);
    bind(Section::Filter, keys, Action::Toggle(Kind::DEFAULT_FIRST[at]), "", "toggle kinds; K forks")
}

const BEFORE_KINDS: &[Binding] = &[
    bind(Section::View, &[key('?'), f(1)], Action::Help, "help", "this help"),
    bind(Section::Find, &[key('/'), f(3)], Action::Search, "find", "search by regex; hides nothing"),
    bind(Section::Find, &[key('n')], Action::Next, "", "next or previous match"),
    bind(Section::Find, &[key('N')], Action::Previous, "", "next or previous match"),
    bind(Section::Filter, &[key('f'), f(4)], Action::EditFilter, "filter", "edit; applies as you type"),
    bind(Section::Selected, &[key('p')], Action::OnlyPid, "pid", "only this pid, comm or user"),
    bind(Section::Selected, &[key('P')], Action::OnlyTree, "", "only its process tree"),
    bind(Section::Selected, &[key('c')], Action::OnlyComm, "comm", "only this pid, comm or user"),
    bind(Section::Selected, &[key('x')], Action::NotComm, "hide", "hide this comm"),
    bind(Section::Detail, &[key('u')], Action::ToParent, "to parent", "to the parent process"),
    bind(Section::Detail, &[code(KeyCode::Tab)], Action::NextTab, "tab", "next or previous tab"),
    bind(Section::Detail, &[code(KeyCode::BackTab)], Action::PreviousTab, "", "next or previous tab"),
    bind(Section::Move, &[code(KeyCode::Enter)], Action::Enter, "detail", "details, then full size"),
    bind(Section::View, &[key(' ')], Action::Pause, "pause", "pause (keeps tracing)"),
    bind(Section::Move, &[key('F')], Action::Follow, "follow", "follow new events"),
    bind(Section::Filter, &[key('e')], Action::Failures, "failed", "only failures"),
    bind(Section::View, &[key('t')], Action::TimeMode, "time", "cycle the time format"),
    bind(Section::Selected, &[key('u')], Action::OnlyUser, "user", "only this pid, comm or user"),
    bind(Section::Selected, &[key('y')], Action::CopyLine, "copy", "copy the line or the command"),
    bind(Section::Selected, &[key('Y')], Action::CopyCommand, "copy command", "copy the line or the command"),
];

const AFTER_KINDS: &[Binding] = &[
    bind(Section::View, &[key('!')], Action::LossReport, "loss", "losses; command output"),
    bind(Section::View, &[key('o')], Action::Output, "", "losses; command output"),
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
    bind(Section::Move, &[key('h'), code(KeyCode::Left)], Action::Left, "", "scroll DETAIL sideways"),
    bind(Section::Move, &[key('l'), code(KeyCode::Right)], Action::Right, "", "scroll DETAIL sideways"),
    bind(Section::View, &[ctrl('r')], Action::Reset, "", "reset the view"),
    bind(Section::View, &[ctrl('l')], Action::Redraw, "", "redraw the screen"),
    bind(Section::View, &[ctrl('z')], Action::Suspend, "", "suspend"),
];

/// The key that was pressed, as the table writes it.
pub(crate) fn pressed(event: &KeyEvent) -> Press {
    Press { code: event.code, ctrl: event.modifiers.contains(KeyModifiers::CONTROL) }
}

/// What a key does; keys of the detail pane go first while it is open.
pub(crate) fn lookup(press: Press, detail: bool) -> Option<Action> {
    let find = |scope| KEYS.iter().find(|b| b.scope == scope && b.keys.contains(&press)).map(|b| b.action);
    let of_detail = if detail { find(Scope::Detail) } else { None };
    of_detail.or_else(|| find(Scope::Everywhere))
}

impl Press {
    /// The name of the key.
    pub fn name(self) -> String {
        match self.code {
            KeyCode::Char(' ') => "Space".to_owned(),
            KeyCode::Char(letter) if self.ctrl => format!("Ctrl-{}", letter.to_ascii_uppercase()),
            KeyCode::Char(letter) => letter.to_string(),
            KeyCode::PageDown => "PgDn".to_owned(),
            KeyCode::PageUp => "PgUp".to_owned(),
            KeyCode::BackTab => "Shift-Tab".to_owned(),
            other => other.to_string(),
        }
    }
}

impl Binding {
    /// Its keys' names, separated by spaces.
    pub(crate) fn names(&self) -> String {
        self.keys.iter().map(|key| key.name()).collect::<Vec<_>>().join(" ")
    }
}

/// The keys of a section with their help; keys with the same help are merged.
pub(crate) fn rows(section: Section) -> Vec<(String, &'static str)> {
    let mut rows: Vec<(String, &'static str)> = Vec::new();
    for Binding { help, .. } in KEYS.iter().filter(|binding| binding.section == section) {
        if rows.iter().all(|(_, known)| known != help) {
            let same = KEYS.iter().filter(|other| other.section == section && other.help == *help);
            rows.push((same.map(Binding::names).collect::<Vec<_>>().join(" "), help));
        }
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_key_means_two_things_in_one_place() {
        for scope in [Scope::Everywhere, Scope::Detail] {
            let keys: Vec<_> = KEYS.iter().filter(|b| b.scope == scope).flat_map(|b| b.keys).collect();
            assert_eq!(keys.len(), keys.iter().collect::<HashSet<_>>().len());
        }
    }

    #[test]
    fn keys_of_the_detail_pane_go_first_while_it_is_open() {
        assert_eq!(lookup(key('u'), false), Some(Action::OnlyUser));
        assert_eq!(lookup(key('u'), true), Some(Action::ToParent));
        assert_eq!(lookup(key('j'), true), Some(Action::Down));
        assert_eq!(lookup(f(2), false), None);
        assert_eq!(lookup(f(9), false), None);
    }

    #[test]
    fn the_help_names_the_kinds_that_are_not_on_by_default() {
        for kind in Kind::PROBED {
            let binding = KEYS.iter().find(|b| b.action == Action::Toggle(kind)).expect("every kind has a key");
            let named = format!("{} {}s", binding.names(), kind.name());
            assert_eq!(binding.help.contains(&named), !kind.on_by_default(), "{named}: {}", binding.help);
        }
    }

    #[test]
    fn keys_have_the_names_that_are_printed_on_them() {
        let names = |action| KEYS.iter().find(|b| b.action == action).map(Binding::names);
        assert_eq!(names(Action::Quit).as_deref(), Some("q F10 Ctrl-C"));
        assert_eq!(names(Action::PageDown).as_deref(), Some("PgDn"));
        assert_eq!(names(Action::Pause).as_deref(), Some("Space"));
    }
}
