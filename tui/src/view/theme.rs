//! Colours and weights: the 16 colours of the terminal, bold, dim and reverse. Colour alone conveys no information.

use crate::app::row;
use crate::text::Charset;
use ratatui::style::{Color, Modifier, Style};
use tracetui_shared::kind::Kind;

/// The theme of the screen.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Theme {
    /// Whether colours are used.
    pub colours: Colours,
    /// The charset of the terminal.
    pub charset: Charset,
}

/// Whether colours are used. Bold, dim and reverse are always used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Colours {
    /// The 16 colours of the terminal.
    #[default]
    Sixteen,
    /// No colours: NO_COLOR or `--color never`.
    None,
}

/// The roles of what is drawn. Each has one look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Role {
    Quiet,
    Strong,
    Exec,
    Exit,
    Open,
    Bpf,
    Fork,
    Expected,
    Failure,
    Loss,
    Live,
    Paused,
    Replay,
    Ended,
    Note,
    Selection,
    Found,
    Tab,
}

const BOLD: Modifier = Modifier::BOLD;
const DIM: Modifier = Modifier::DIM;
const REVERSED: Modifier = Modifier::REVERSED;

impl Role {
    /// The foreground, the background, and the weight. What has a background is reversed where there are no colours.
    const fn look(self) -> (Option<Color>, Option<Color>, Modifier) {
        match self {
            Role::Quiet | Role::Open => (None, None, DIM),
            Role::Strong => (None, None, BOLD),
            Role::Exec => (Some(Color::Green), None, BOLD),
            Role::Exit => (Some(Color::Magenta), None, Modifier::empty()),
            Role::Bpf | Role::Expected => (Some(Color::Yellow), None, Modifier::empty()),
            Role::Fork | Role::Note => (Some(Color::Cyan), None, Modifier::empty()),
            Role::Failure | Role::Loss => (Some(Color::Red), None, BOLD),
            Role::Live => (Some(Color::Black), Some(Color::Green), Modifier::empty()),
            Role::Paused => (Some(Color::Black), Some(Color::Yellow), Modifier::empty()),
            Role::Replay | Role::Tab => (Some(Color::Black), Some(Color::Cyan), Modifier::empty()),
            Role::Ended | Role::Selection => (None, None, REVERSED),
            Role::Found => (None, None, Modifier::UNDERLINED.union(BOLD)),
        }
    }
}

impl Theme {
    fn of(self, role: Role) -> Style {
        let (foreground, background, weight) = role.look();
        let style = Style::new().add_modifier(weight);
        match (self.colours, background) {
            (Colours::None, None) => style,
            (Colours::None, Some(_)) => style.add_modifier(REVERSED),
            (Colours::Sixteen, _) => Style { fg: foreground, bg: background, ..style },
        }
    }

    /// What separates parts of a line.
    pub(crate) fn dot(self) -> &'static str {
        if self.charset == Charset::Utf8 { "·" } else { "-" }
    }

    /// The sign of text that is cut off.
    pub(crate) fn cut_sign(self) -> &'static str {
        if self.charset == Charset::Utf8 { "…" } else { "." }
    }

    /// What stands before the number of lines below.
    pub(crate) fn down(self) -> &'static str {
        if self.charset == Charset::Utf8 { "▼" } else { "v" }
    }

    /// A horizontal line.
    pub(crate) fn line(self) -> &'static str {
        if self.charset == Charset::Utf8 { "─" } else { "-" }
    }

    /// A vertical line.
    pub(crate) fn border(self) -> &'static str {
        if self.charset == Charset::Utf8 { "│" } else { "|" }
    }

    /// A dashed horizontal line.
    pub(crate) fn dash(self) -> &'static str {
        if self.charset == Charset::Utf8 { "╌" } else { "-" }
    }

    /// A part of a column.
    pub(crate) fn part(self, role: row::Role) -> Style {
        match role {
            row::Role::Directory | row::Role::Quiet => self.quiet(),
            row::Role::Plain => Style::new(),
            row::Role::Strong => self.strong(),
            row::Role::Note => self.note(),
            row::Role::Expected => self.of(Role::Expected),
            row::Role::Failure => self.failure(),
        }
    }

    /// What is expected: it is there to be read, not to be noticed.
    pub fn quiet(self) -> Style {
        self.of(Role::Quiet)
    }

    /// What a line is about, headings, and keys in the footer.
    pub fn strong(self) -> Style {
        self.of(Role::Strong)
    }

    /// Remarks, and names of fields.
    pub fn note(self) -> Style {
        self.of(Role::Note)
    }

    /// Alarms.
    pub fn alarm(self) -> Style {
        self.of(Role::Loss).add_modifier(REVERSED)
    }

    /// The selected row.
    pub fn selected(self) -> Style {
        self.of(Role::Selection)
    }

    /// Failures that are no part of ordinary work.
    pub fn failure(self) -> Style {
        self.of(Role::Failure)
    }

    /// What is wrong in a typed text.
    pub fn wrong(self) -> Style {
        self.failure().add_modifier(Modifier::UNDERLINED)
    }

    /// Losses, and what is hidden.
    pub fn loss(self) -> Style {
        self.of(Role::Loss)
    }

    /// The text that a search matched. Not dim, also where the rest is: terminals show dim and bold together as they like.
    pub fn found(self) -> Style {
        self.of(Role::Found).remove_modifier(DIM)
    }

    /// The state of a live source.
    pub fn live(self) -> Style {
        self.of(Role::Live)
    }

    /// The state of a paused view, and events that wait to be seen.
    pub fn paused(self) -> Style {
        self.of(Role::Paused)
    }

    /// The state of a replay.
    pub fn replay(self) -> Style {
        self.of(Role::Replay)
    }

    /// The state of a source that has ended.
    pub fn ended(self) -> Style {
        self.of(Role::Ended)
    }

    /// What is chosen among others: a tab, the kinds that are shown.
    pub fn tab(self) -> Style {
        self.of(Role::Tab)
    }

    /// The name of a kind.
    pub fn kind(self, kind: Kind) -> Style {
        self.of(match kind {
            Kind::Exec => Role::Exec,
            Kind::Exit => Role::Exit,
            Kind::Open => Role::Open,
            Kind::Bpf => Role::Bpf,
            Kind::Fork => Role::Fork,
            Kind::Lost => Role::Loss,
        })
    }
}
