//! Colours and weights: by default the 16 colours of the terminal, bold, dim and reverse. Colour alone conveys no information.
//! A named theme ([`Palette`]) has colours of its own. The configuration file can change the look of each role ([`Looks`]).

use super::palette::{Hues, Palette};
use ratatui::style::{Color, Modifier, Style};
use std::fmt;
use std::str::FromStr;
use tracetui_events::event::parts;
use tracetui_events::text::Charset;
use tracetui_shared::kind::Kind;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Theme {
    pub colours: Colours,
    pub charset: Charset,
}

/// Which colours are used. Weights are always used.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Colours {
    /// The 16 colours of the terminal.
    #[default]
    Sixteen,
    /// No colours: NO_COLOR or `--color never`.
    None,
    /// A named theme, or the looks of the configuration file.
    Own(&'static Styles),
}

macro_rules! roles {
    ($($role:ident $name:literal $doc:literal,)+) => {
        /// The roles of what is drawn. Each has one look.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub(crate) enum Role {
            $($role,)+
        }

        impl Role {
            pub(crate) const ALL: &[Role] = &[$(Role::$role,)+];

            pub(crate) fn name(self) -> &'static str {
                match self {
                    $(Role::$role => $name,)+
                }
            }

            pub(crate) fn doc(self) -> &'static str {
                match self {
                    $(Role::$role => $doc,)+
                }
            }
        }
    };
}

roles! {
    Quiet "quiet" "expected values: directories, `fd 3`, `exit 0`, labels",
    Strong "strong" "the command of an exec, headings, keys in the footer",
    Exec "exec" "the kind EXEC",
    Exit "exit" "the kind EXIT",
    Open "open" "the kind OPEN",
    Bpf "bpf" "the kind BPF",
    Fork "fork" "the kind FORK",
    Tcp "tcp" "the kind TCP",
    File "file" "the kind FILE",
    Lookup "lookup" "the kind LOOKUP",
    Unix "unix" "the kind UNIX",
    Expected "expected" "common failures: ENOENT, EEXIST, EAGAIN",
    Failure "failure" "other failures: EACCES, signals, an exit code other than 0",
    Loss "loss" "lost events, hidden BPF programs; reversed in alarms",
    Live "live" "the state LIVE",
    Paused "paused" "the state PAUSED, and new events not yet shown",
    Replay "replay" "the state REPLAY",
    Ended "ended" "the state ENDED",
    Note "note" "remarks such as `x3`, names of fields",
    Selection "selection" "the selected row",
    Found "found" "the text that a search matched",
    Tab "tab" "the active tab or choice",
}

const ROLES: usize = Role::ALL.len();

/// The style of the screen and of each role.
#[derive(PartialEq, Eq, Debug)]
pub struct Styles {
    base: Style,
    roles: [Style; ROLES],
}

const BOLD: Modifier = Modifier::BOLD;
const DIM: Modifier = Modifier::DIM;
const REVERSED: Modifier = Modifier::REVERSED;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Look {
    foreground: Option<Color>,
    background: Option<Color>,
    weight: Modifier,
}

impl Look {
    const fn weight(weight: Modifier) -> Look {
        Look { foreground: None, background: None, weight }
    }

    const fn colour(colour: Color, weight: Modifier) -> Look {
        Look { foreground: Some(colour), background: None, weight }
    }

    const fn black_on(background: Color) -> Look {
        Look { foreground: Some(Color::Black), background: Some(background), weight: Modifier::empty() }
    }

    /// The look of a role by default.
    pub(crate) const fn of(role: Role) -> Look {
        match role {
            Role::Quiet | Role::Open | Role::Lookup => Look::weight(DIM),
            Role::Strong => Look::weight(BOLD),
            Role::Exec => Look::colour(Color::Green, BOLD),
            Role::Exit => Look::colour(Color::Magenta, Modifier::empty()),
            Role::Bpf | Role::Expected => Look::colour(Color::Yellow, Modifier::empty()),
            Role::Fork | Role::Tcp | Role::File | Role::Unix | Role::Note => {
                Look::colour(Color::Cyan, Modifier::empty())
            }
            Role::Failure | Role::Loss => Look::colour(Color::Red, BOLD),
            Role::Live => Look::black_on(Color::Green),
            Role::Paused => Look::black_on(Color::Yellow),
            Role::Replay | Role::Tab => Look::black_on(Color::Cyan),
            Role::Ended | Role::Selection => Look::weight(REVERSED),
            Role::Found => Look::weight(Modifier::UNDERLINED.union(BOLD)),
        }
    }

    /// In the colours of a named theme. What is dim has a colour of its own there.
    fn among(self, hues: Hues) -> Look {
        let (foreground, weight) = match self.foreground {
            None if self.weight.contains(DIM) => (Some(hues.quiet()), self.weight - DIM),
            foreground => (foreground.map(|colour| hues.of(colour)), self.weight),
        };
        Look { foreground, background: self.background.map(|colour| hues.of(colour)), weight }
    }

    fn coloured(self) -> Style {
        Style { fg: self.foreground, bg: self.background, ..Style::new().add_modifier(self.weight) }
    }

    /// Without colours. What has a background is reversed.
    fn plain(self) -> Style {
        let reversed = if self.background.is_some() { REVERSED } else { Modifier::empty() };
        Style::new().add_modifier(self.weight | reversed)
    }
}

/// As it is written in the configuration file.
impl fmt::Display for Look {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = |colour: &Color| COLOURS.iter().find(|(_, known)| known == colour).map_or("", |(name, _)| *name);
        let mut words: Vec<&str> = self.foreground.iter().map(name).collect();
        words.extend(self.background.iter().flat_map(|colour| ["on", name(colour)]));
        words.extend(WEIGHTS.iter().filter(|(_, weight)| self.weight.contains(*weight)).map(|(name, _)| *name));
        f.write_str(&if words.is_empty() { PLAIN.to_owned() } else { words.join(" ") })
    }
}

pub(crate) const WEIGHTS: [(&str, Modifier); 5] = [
    ("bold", BOLD),
    ("dim", DIM),
    ("italic", Modifier::ITALIC),
    ("underlined", Modifier::UNDERLINED),
    ("reversed", REVERSED),
];

/// The names of colours in the configuration file: those of the 16 that a terminal has.
pub(crate) const COLOURS: [(&str, Color); 16] = [
    ("black", Color::Black),
    ("red", Color::Red),
    ("green", Color::Green),
    ("yellow", Color::Yellow),
    ("blue", Color::Blue),
    ("magenta", Color::Magenta),
    ("cyan", Color::Cyan),
    ("white", Color::Gray),
    ("bright-black", Color::DarkGray),
    ("bright-red", Color::LightRed),
    ("bright-green", Color::LightGreen),
    ("bright-yellow", Color::LightYellow),
    ("bright-blue", Color::LightBlue),
    ("bright-magenta", Color::LightMagenta),
    ("bright-cyan", Color::LightCyan),
    ("bright-white", Color::White),
];

/// The look of what has neither colour nor weight.
const PLAIN: &str = "plain";

impl FromStr for Look {
    type Err = String;

    /// Reads weights, the colour of the text, and `on` with the colour of the background.
    fn from_str(text: &str) -> Result<Look, String> {
        let mut look = Look::default();
        let mut words = text.split_whitespace();
        if text.trim() == PLAIN {
            return Ok(look);
        }
        while let Some(word) = words.next() {
            if let Some((_, weight)) = WEIGHTS.iter().find(|(name, _)| *name == word) {
                look.weight |= *weight;
                continue;
            }
            let (word, part) = match word {
                "on" => (words.next().unwrap_or_default(), &mut look.background),
                word => (word, &mut look.foreground),
            };
            let colour = colour(word).ok_or_else(|| format!("unknown colour or weight `{word}`"))?;
            if part.replace(colour).is_some() {
                return Err(format!("second colour `{word}`"));
            }
        }
        if look == Look::default() { Err("no colour and no weight".to_owned()) } else { Ok(look) }
    }
}

/// A colour by its name, as `#rrggbb`, or by its number from 0 to 255.
fn colour(word: &str) -> Option<Color> {
    let named = COLOURS.iter().find(|(name, _)| *name == word).map(|(_, colour)| *colour);
    let number = || word.parse().ok().filter(|_| word.bytes().all(|byte| byte.is_ascii_digit())).map(Color::Indexed);
    let rgb = || {
        let digits = word.strip_prefix('#').filter(|digits| digits.len() == 6)?;
        let all = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let [_, r, g, b] = u32::from_str_radix(digits, 16).ok().filter(|_| all)?.to_be_bytes();
        Some(Color::Rgb(r, g, b))
    };
    named.or_else(number).or_else(rgb)
}

/// The looks that the configuration file sets.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Looks([Option<Look>; ROLES]);

impl Looks {
    pub(crate) fn set(&mut self, role: Role, look: Look) {
        self.0[role as usize] = Some(look);
    }

    /// These looks over those of a theme, with or without colours. Call it once: looks that differ from the default stay in memory, so that
    /// a theme can be copied.
    pub(crate) fn colours(&self, palette: &Palette, plain: bool) -> Colours {
        let hues = palette.colours.filter(|_| !plain);
        if hues.is_none() && *self == Looks::default() {
            return if plain { Colours::None } else { Colours::Sixteen };
        }
        let base = hues.map(|hues| Style::new().fg(hues.text()).bg(hues.background())).unwrap_or_default();
        let roles = std::array::from_fn(|at| {
            let default = Look::of(Role::ALL[at]);
            let look = self.0[at].unwrap_or_else(|| hues.map_or(default, |hues| default.among(hues)));
            if plain { look.plain() } else { look.coloured() }
        });
        Colours::Own(Box::leak(Box::new(Styles { base, roles })))
    }
}

/// Functions of a theme that return the style of a role.
macro_rules! styles {
    ($($style:ident $role:ident,)+) => {
        impl Theme {
            $(
                pub(crate) fn $style(self) -> Style {
                    self.of(Role::$role)
                }
            )+
        }
    };
}

styles! {
    quiet Quiet,
    strong Strong,
    note Note,
    selected Selection,
    failure Failure,
    loss Loss,
    live Live,
    paused Paused,
    replay Replay,
    ended Ended,
    tab Tab,
}

/// Functions of a theme that return a sign of its charset: in UTF-8, and in ASCII.
macro_rules! signs {
    ($($(#[$about:meta])* $sign:ident $utf8:literal $ascii:literal,)+) => {
        impl Theme {
            $(
                $(#[$about])*
                pub(crate) fn $sign(self) -> &'static str {
                    if self.charset == Charset::Utf8 { $utf8 } else { $ascii }
                }
            )+
        }
    };
}

signs! {
    /// Separates parts of a line.
    dot "·" "-",
    /// Between a process and its child.
    arrow " › " " > ",
    /// Between a process and the one that reads its stdout.
    pipe " ┃ " " | ",
    /// Between a process and its parent.
    back "  ‹ " "  < ",
    /// Between a number and what it is of.
    times "×" "x",
    folded "▸" ">",
    unfolded "▾" "v",
    /// Marks text that is cut off.
    cut_sign "…" ".",
    /// Precedes the number of lines below.
    down "▼" "v",
    line "─" "-",
    border "│" "|",
    dash "╌" "-",
}

impl Theme {
    /// The style of text that chose its own.
    pub(super) fn foreign(self, style: Style) -> Style {
        if self.colours == Colours::None { Style { fg: None, bg: None, ..style } } else { style }
    }

    fn of(self, role: Role) -> Style {
        match self.colours {
            Colours::Sixteen => Look::of(role).coloured(),
            Colours::None => Look::of(role).plain(),
            Colours::Own(styles) => styles.roles[role as usize],
        }
    }

    /// The style of the whole screen, under everything else.
    pub(crate) fn base(self) -> Style {
        match self.colours {
            Colours::Own(styles) => styles.base,
            Colours::Sixteen | Colours::None => Style::new(),
        }
    }

    /// A part of a column.
    pub(crate) fn part(self, role: parts::Role) -> Style {
        match role {
            parts::Role::Directory | parts::Role::Quiet => self.quiet(),
            parts::Role::Plain => Style::new(),
            parts::Role::Strong => self.strong(),
            parts::Role::Note => self.note(),
            parts::Role::Expected => self.of(Role::Expected),
            parts::Role::Failure => self.failure(),
        }
    }

    pub(crate) fn alarm(self) -> Style {
        self.loss().add_modifier(REVERSED)
    }

    /// What is wrong in a typed text.
    pub(crate) fn wrong(self) -> Style {
        self.failure().add_modifier(Modifier::UNDERLINED)
    }

    /// The text that a search matched. Not dim, also where the rest is: terminals show dim and bold together as they like.
    pub(crate) fn found(self) -> Style {
        self.of(Role::Found).remove_modifier(DIM)
    }

    /// The name of a kind. Not each has a role of its own.
    pub fn kind(self, kind: Kind) -> Style {
        let named = Role::ALL.iter().find(|role| role.name() == kind.name()).copied();
        self.of(named.unwrap_or(if kind == Kind::Lost { Role::Loss } else { Role::Note }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::palette::PALETTES;

    #[test]
    fn a_look_is_read_from_words_and_written_as_it_is_read() {
        let look = |text: &str| text.parse::<Look>();
        let on = |foreground, background, weight| Ok(Look { foreground, background, weight });
        assert_eq!(look("green bold"), on(Some(Color::Green), None, BOLD));
        assert_eq!(look(" bold  dim green "), on(Some(Color::Green), None, BOLD | DIM));
        assert_eq!(look("black on bright-white"), on(Some(Color::Black), Some(Color::White), Modifier::empty()));
        let expected = on(Some(Color::Rgb(160, 176, 192)), Some(Color::Indexed(236)), Modifier::empty());
        assert_eq!(look("on 236 #a0B0c0"), expected);
        assert_eq!(look("plain"), Ok(Look::default()));
        for (text, word) in [
            ("greem", "greem"),
            ("bold 256", "256"),
            ("+7", "+7"),
            ("#12345", "#12345"),
            ("#+12345", "#+12345"),
            ("red on", ""),
            ("on bold red", "bold"),
            ("on on red", "on"),
            ("plain red", "plain"),
        ] {
            assert_eq!(look(text), Err(format!("unknown colour or weight `{word}`")), "{text}");
        }
        assert_eq!(["red blue", "on red on blue"].map(look), [(); 2].map(|()| Err("second colour `blue`".to_owned())));
        assert!(look("").is_err());
        // The look of each role is written as it is read.
        for role in Role::ALL {
            assert_eq!(Look::of(*role).to_string().parse(), Ok(Look::of(*role)), "{role:?}");
        }
        assert_eq!(Look::of(Role::Live).to_string(), "black on green");
        assert_eq!(Look::default().to_string(), "plain");
    }

    #[test]
    fn own_looks_have_the_styles_that_were_set_and_the_others_as_before() {
        let [terminal, .., light] = &PALETTES;
        let mut looks = Looks::default();
        let colours = [looks.colours(terminal, false), looks.colours(terminal, true), looks.colours(light, true)];
        assert_eq!(colours, [Colours::Sixteen, Colours::None, Colours::None]);
        looks.set(Role::Selection, "black on 214".parse().expect("a look"));
        let theme = |palette, plain| Theme { colours: looks.colours(palette, plain), ..Theme::default() };
        let selected = Style::new().fg(Color::Black).bg(Color::Indexed(214));
        assert_eq!([terminal, light].map(|palette| theme(palette, false).selected()), [selected; 2]);
        assert_eq!(theme(light, true).selected(), Style::new().add_modifier(REVERSED), "a background without colours");
        for role in Role::ALL.iter().filter(|role| **role != Role::Selection) {
            assert_eq!(theme(terminal, false).of(*role), Theme::default().of(*role), "{role:?}");
        }
        assert_eq!(theme(terminal, false).base(), Style::new());
        let rgb = |r, g, b| Style::new().fg(Color::Rgb(r, g, b));
        assert_eq!(theme(light, false).base(), rgb(0x07, 0x36, 0x42).bg(Color::Rgb(0xfd, 0xf6, 0xe3)));
        assert_eq!(theme(light, false).quiet(), rgb(0x65, 0x7b, 0x83), "a colour instead of dim");
        assert_eq!(theme(light, false).live(), rgb(0xfd, 0xf6, 0xe3).bg(Color::Rgb(0x73, 0x8a, 0x00)));
    }
}
