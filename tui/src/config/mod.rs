//! The configuration file of the dashboard: checks its text, and turns it into values for the dashboard. [`crate::command::config`]
//! finds and reads the file.
//!
//! Every entry that is unknown or wrong is an error with its place ([`ConfigError`]).

#[cfg(test)]
mod tests;

use crate::app::Preferences;
use crate::app::keys::keymap::{Action, Conflict, KeyError, Keymap, Press};
use crate::app::views::View;
use crate::app::views::columns::{self, Columns};
use crate::app::views::event_list::row::TimeMode;
use crate::app::watch;
use crate::cli::Color;
use crate::cli::size::{ByteSize, SizeError};
use crate::view::palette::{PALETTES, Palette};
use crate::view::theme::{COLOURS, Look, LookError, Looks, PLAIN, Role, WEIGHTS, WrongLook};
use std::borrow::Cow;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};
use tracetui_events::filter::FilterError;
use tracetui_events::filter::error::{did_you_mean, escape, excerpt};

#[derive(Clone, Debug, Default)]
pub(crate) struct Config {
    /// Keys, columns, and the start of the dashboard.
    pub preferences: Preferences,
    pub looks: Looks,
    pub theme: Option<&'static Palette>,
    pub color: Option<Color>,
    pub mouse: bool,
    /// Whether filters are not kept for later sessions.
    pub no_history: bool,
    pub memory: Option<ByteSize>,
    pub filter: Option<Filter>,
    pub watches: Vec<WatchEntry>,
}

#[derive(Clone, Debug)]
pub(crate) struct WatchEntry {
    pub name: String,
    pub filter: Filter,
    pub look: Option<Look>,
    pub rings: bool,
    pub records: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Filter {
    pub text: String,
    /// The place in the file. If nothing in the expression is escaped, each byte of the place is a byte of the expression.
    at: Range<usize>,
    verbatim: bool,
}

/// An entry outside the sections.
pub(crate) struct Entry {
    pub name: &'static str,
    pub values: &'static str,
    pub doc: &'static str,
}

const fn entry(name: &'static str, values: &'static str, doc: &'static str) -> Entry {
    Entry { name, values, doc }
}

pub(crate) const ENTRIES: [Entry; 9] = [
    entry("filter", "a filter", "the display filter at the start; not used if filter options are given"),
    entry("color", "`\"auto\"`, `\"always\"` or `\"never\"`", "as `--color`, which takes precedence"),
    entry("theme", "a name such as `\"nord\"`", "as `--theme`, which takes precedence"),
    entry("memory", "a size such as `\"512MiB\"`", "as `--memory`, which takes precedence"),
    entry("mouse", "`true` or `false`", "as `--mouse`"),
    entry(
        "history",
        "`true` or `false`",
        "whether filters are kept for later sessions, in ~/.local/state/tracetui/filters",
    ),
    entry("fold", "`true` or `false`", "whether repeats and searches are folded at the start"),
    entry(
        "strip",
        "`true` or `false`",
        "whether the side strip is shown at the start, on a screen of 160 columns or more",
    ),
    entry("time", "`\"clock\"`, `\"start\"` or `\"delta\"`", "the time format at the start"),
];

pub(crate) const SECTIONS: [&str; 4] = ["columns", "colors", "watch", "keys"];

/// The tables of columns that can be chosen.
pub(crate) const LISTS: [(&str, View); 4] =
    [("events", View::Events), ("tree", View::Tree), ("top", View::Top), ("bpf", View::Bpf)];

const COLORS: [(&str, Color); 3] = [("auto", Color::Auto), ("always", Color::Always), ("never", Color::Never)];
const TIMES: [(&str, TimeMode); 3] =
    [("clock", TimeMode::Clock), ("start", TimeMode::SinceStart), ("delta", TimeMode::Delta)];

/// An error in the file. Each text is one line, and safe to show on a terminal.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct ConfigError {
    /// The place in the text, in bytes.
    at: Option<Range<usize>>,
    message: String,
    hint: Option<String>,
}

impl ConfigError {
    fn new(at: Range<usize>, message: impl AsRef<str>) -> ConfigError {
        ConfigError { at: Some(at), message: escape(message.as_ref()), hint: None }
    }

    fn hint(mut self, hint: impl AsRef<str>) -> ConfigError {
        self.hint = Some(escape(hint.as_ref())).filter(|hint| !hint.is_empty());
        self
    }

    /// Adds the hint to a similar name, or another one without a similar name.
    fn near(self, near: String, other: impl FnOnce() -> String) -> ConfigError {
        self.hint(if near.is_empty() { other() } else { near })
    }

    pub(crate) fn of_filter(filter: &Filter, error: &FilterError) -> ConfigError {
        let within = filter.at.start + error.at.start..filter.at.start + error.at.end;
        let at = if filter.verbatim { within } else { filter.at.clone() };
        ConfigError::new(at, format!("filter: {}", error.message)).hint(error.hint.as_deref().unwrap_or_default())
    }

    /// The whole report: file, line and column, the error and the correction. Lines and columns count from 1, columns in characters.
    pub(crate) fn render(&self, file: &str, text: &str) -> String {
        let mut out = match &self.at {
            None => format!("{file}: {}", self.message),
            Some(at) => {
                let start = (0..=at.start.min(text.len())).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
                let (before, after) = text.split_at(start);
                let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
                let line_end = start + after.find(['\n', '\r']).unwrap_or(after.len());
                let line = &text[line_start..line_end];
                let (number, column) = (before.matches('\n').count() + 1, text[line_start..start].chars().count() + 1);
                let (shown, cells, under) =
                    excerpt(line, &(start - line_start..at.end.min(line_end).max(start) - line_start));
                let marks = format!("{}{}", " ".repeat(cells), "^".repeat(under));
                format!("{file}:{number}:{column}: {}\n    {shown}\n    {marks}", self.message)
            }
        };
        if let Some(hint) = &self.hint {
            out.push_str(&format!("\nhint: {hint}"));
        }
        out
    }
}

type Key<'t> = Spanned<Cow<'t, str>>;
type Value<'t> = Spanned<DeValue<'t>>;

impl Config {
    /// Reads the text of the file. The filter is not checked, which needs the names of users.
    /// Fails at the first entry that is unknown or wrong.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Config, ConfigError> {
        let text = std::str::from_utf8(bytes).map_err(|error| {
            let at = error.valid_up_to();
            ConfigError::new(at..at, "the file is not UTF-8 text").hint("save it as UTF-8")
        })?;
        let table = DeTable::parse(text).map_err(|error| {
            let syntax = ConfigError { at: error.span(), message: escape(error.message()), hint: None };
            // Most are texts without their quotes.
            let hint = match error.message() {
                "duplicate key" => "remove one of the two",
                _ => "the format is TOML: name = \"text\" on a line of its own; strings are in quotes, lists in [ ]",
            };
            syntax.hint(hint)
        })?;
        let mut config = Config::default();
        let reader = Reader { text };
        for (key, value) in in_order(table.get_ref()) {
            match key.get_ref().as_ref() {
                "filter" => config.filter = Some(reader.filter(value)?),
                "theme" => {
                    config.theme = Some(one_of(key, value, &PALETTES.each_ref().map(|theme| (theme.name, theme)))?)
                }
                "color" => config.color = Some(one_of(key, value, &COLORS)?),
                "memory" => config.memory = Some(size(key, value)?),
                "mouse" => config.mouse = flag(key, value)?,
                "history" => config.no_history = !flag(key, value)?,
                "fold" => config.preferences.folds = flag(key, value)?,
                "strip" => config.preferences.strip = flag(key, value)?,
                "time" => config.preferences.time = one_of(key, value, &TIMES)?,
                "keys" => reader.keys(section(key, value)?, &mut config.preferences.keymap)?,
                "colors" => reader.colors(section(key, value)?, &mut config.looks)?,
                "watch" => config.watches = reader.watches(section(key, value)?)?,
                "columns" => config.preferences.columns = choice(section(key, value)?)?,
                _ => return Err(unknown_entry(key, value)),
            }
        }
        Ok(config)
    }
}

/// Entries in the order of the file, so that the first error is reported.
fn in_order<'a, 't>(table: &'a DeTable<'t>) -> Vec<(&'a Key<'t>, &'a Value<'t>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

fn unknown_entry(key: &Key<'_>, value: &Value<'_>) -> ConfigError {
    let name = key.get_ref().as_ref();
    let error = ConfigError::new(key.span(), format!("unknown entry `{name}`"));
    let names = || ENTRIES.iter().map(|entry| entry.name);
    if let Some(section) = section_of(name) {
        return error.hint(format!("put it below [{section}]"));
    }
    // A user who wrote a section meant a section.
    let near = match value.get_ref() {
        DeValue::Table(_) => did_you_mean(name, SECTIONS.into_iter()),
        _ => did_you_mean(name, names()),
    };
    let near = if near.is_empty() { did_you_mean(name, names().chain(SECTIONS)) } else { near };
    let all =
        || format!("valid entries: {}; sections: [{}]", names().collect::<Vec<_>>().join(", "), SECTIONS.join("], ["));
    error.near(near, all)
}

/// The section that an entry outside the sections belongs to.
fn section_of(name: &str) -> Option<&'static str> {
    match name {
        _ if LISTS.iter().any(|(list, _)| *list == name) => Some("columns"),
        _ if Role::ALL.iter().any(|role| role.name() == name) => Some("colors"),
        _ if Keymap::default().action(name).is_some() => Some("keys"),
        _ => None,
    }
}

fn unknown_in<'n>(
    section: &str,
    what: &str,
    key: &Key<'_>,
    names: impl Iterator<Item = &'n str> + Clone,
) -> ConfigError {
    let name = key.get_ref().as_ref();
    let error = ConfigError::new(key.span(), format!("unknown {what} `{name}`"));
    if ENTRIES.iter().any(|entry| entry.name == name) {
        return error.hint(format!("put the entry `{name}` before the first section, not below [{section}]"));
    }
    let near = did_you_mean(name, names.clone());
    let all = || match section {
        // There are too many actions for a message.
        "keys" => "docs/KEYS.md and the manual page (tracetui man) list the actions".to_owned(),
        _ => format!("valid in [{section}]: {}", names.clone().collect::<Vec<_>>().join(", ")),
    };
    error.near(near, all)
}

/// The name of the type of a value, for messages.
fn type_of(value: &Value<'_>) -> &'static str {
    match value.get_ref() {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) | DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a section",
    }
}

fn wrong_type(key: &Key<'_>, value: &Value<'_>, wanted: &str) -> ConfigError {
    ConfigError::new(value.span(), format!("`{}` must be {wanted}, not {}", key.get_ref(), type_of(value)))
}

/// The advice with the correct line.
fn write(name: &str, value: &str) -> String {
    format!("write {name} = {value}")
}

fn section<'a, 't>(key: &Key<'t>, value: &'a Value<'t>) -> Result<&'a DeTable<'t>, ConfigError> {
    let wanted = || {
        let error = wrong_type(key, value, "a section");
        ConfigError { at: Some(key.span()), ..error }.hint(format!("write [{}] on a line of its own", key.get_ref()))
    };
    value.get_ref().as_table().ok_or_else(wanted)
}

fn flag(key: &Key<'_>, value: &Value<'_>) -> Result<bool, ConfigError> {
    let wrong = || wrong_type(key, value, "true or false").hint(write(key.get_ref(), "true") + ", without quotes");
    value.get_ref().as_bool().ok_or_else(wrong)
}

fn size(key: &Key<'_>, value: &Value<'_>) -> Result<ByteSize, ConfigError> {
    let remedy = |example: &str| write(key.get_ref(), &format!("\"{example}\""));
    let wrong = || {
        let number = value.get_ref().as_integer().and_then(|number| number.as_str().parse::<u64>().ok());
        let number = number.filter(|number| *number > 0).unwrap_or(512);
        wrong_type(key, value, "a size such as \"512MiB\"").hint(remedy(&format!("{number}MiB")))
    };
    let text = value.get_ref().as_str().ok_or_else(wrong)?;
    text.parse().map_err(|error: SizeError| {
        ConfigError::new(value.span(), format!("`{}`: {error}", key.get_ref())).hint(remedy("512MiB"))
    })
}

fn one_of<T: Copy>(key: &Key<'_>, value: &Value<'_>, all: &[(&str, T)]) -> Result<T, ConfigError> {
    let names: Vec<String> = all.iter().map(|(name, _)| format!("\"{name}\"")).collect();
    let names = names.join(", ");
    let first = all.first().map_or("", |(name, _)| *name);
    let remedy = || write(key.get_ref(), &format!("\"{first}\""));
    let wrong = || wrong_type(key, value, &format!("one of {names}")).hint(remedy());
    let text = value.get_ref().as_str().ok_or_else(wrong)?;
    let found = all.iter().find(|(name, _)| *name == text).map(|(_, value)| *value);
    found.ok_or_else(|| {
        let near = did_you_mean(text, all.iter().map(|(name, _)| *name));
        let error =
            ConfigError::new(value.span(), format!("`{}` must be one of {names}, not \"{text}\"", key.get_ref()));
        error.near(near, remedy)
    })
}

/// The texts of a list, each with its place.
fn texts<'a>(key: &Key<'_>, value: &'a Value<'_>, wanted: &str) -> Result<Vec<(&'a str, Range<usize>)>, ConfigError> {
    let text = |item: &'a Value<'_>| item.get_ref().as_str().map(|text| (text, item.span()));
    match value.get_ref() {
        DeValue::Array(list) => {
            let texts = list.iter().map(|item| text(item).ok_or_else(|| wrong_type(key, item, wanted)));
            texts.collect()
        }
        _ => Err(wrong_type(key, value, wanted)),
    }
}

fn choice(table: &DeTable<'_>) -> Result<Columns, ConfigError> {
    let mut chosen = Columns::default();
    for (key, value) in in_order(table) {
        let Some((_, view)) = LISTS.into_iter().find(|(list, _)| *list == key.get_ref().as_ref()) else {
            return Err(unknown_in("columns", "list", key, LISTS.into_iter().map(|(list, _)| list)));
        };
        let (all, needed) = (columns::all(view), columns::needed(view));
        let mut list = Vec::new();
        let example = || all.iter().take(2).copied().chain(needed).collect::<Vec<_>>();
        let remedy = || write(key.get_ref(), &format!("{:?}", example()));
        let named = texts(key, value, "a list of column names").map_err(|error| error.hint(remedy()))?;
        for (name, at) in named {
            let Some(column) = all.iter().copied().find(|column| *column == name) else {
                let near = did_you_mean(name, all.iter().copied());
                let error = ConfigError::new(at, format!("unknown column `{name}`"));
                return Err(error.near(near, || format!("valid columns: {}", all.join(", "))));
            };
            if list.contains(&column) {
                return Err(
                    ConfigError::new(at, format!("the column `{name}` is listed twice")).hint("remove one of them")
                );
            }
            list.push(column);
        }
        match needed.filter(|needed| !list.contains(needed)) {
            Some(needed) => {
                let error = ConfigError::new(value.span(), format!("the column `{needed}` is missing"));
                return Err(error.hint(format!("add \"{needed}\" to the list")));
            }
            None if list.is_empty() => {
                return Err(ConfigError::new(value.span(), "the list is empty").hint(remedy()));
            }
            None => chosen.choose(view, list),
        }
    }
    Ok(chosen)
}

/// Reads values whose errors are at a place within.
struct Reader<'t> {
    text: &'t str,
}

impl Reader<'_> {
    /// The place of a text in the file, and whether the text appears there verbatim.
    fn inside(&self, text: &str, at: Range<usize>) -> (Range<usize>, bool) {
        let within = at.start + 1..at.end.saturating_sub(1);
        match self.text.get(within.clone()) == Some(text) {
            true => (within, true),
            false => (at, false),
        }
    }

    fn filter(&self, value: &Value<'_>) -> Result<Filter, ConfigError> {
        let wrong = || {
            let error = ConfigError::new(value.span(), format!("`filter` must be a string, not {}", type_of(value)));
            error.hint(write("filter", "\"comm=make err\""))
        };
        let text = value.get_ref().as_str().ok_or_else(wrong)?;
        let (at, verbatim) = self.inside(text, value.span());
        Ok(Filter { text: text.to_owned(), at, verbatim })
    }

    fn colors(&self, table: &DeTable<'_>, looks: &mut Looks) -> Result<(), ConfigError> {
        for (key, value) in in_order(table) {
            let Some(role) = Role::ALL.iter().find(|role| role.name() == key.get_ref().as_ref()) else {
                return Err(unknown_in("colors", "role", key, Role::ALL.iter().map(|role| role.name())));
            };
            looks.set(*role, self.look(key, value)?);
        }
        Ok(())
    }

    fn look(&self, key: &Key<'_>, value: &Value<'_>) -> Result<Look, ConfigError> {
        let wrong = || wrong_type(key, value, "a string such as \"black on green\" or \"red bold\"");
        let text = value.get_ref().as_str().ok_or_else(wrong)?;
        text.parse().map_err(|error| self.wrong_look(&error, text, value.span()))
    }

    /// Each watch is a filter, or a table with a filter.
    fn watches(&self, table: &DeTable<'_>) -> Result<Vec<WatchEntry>, ConfigError> {
        const NAMES: [&str; 4] = ["filter", "color", "bell", "record"];
        let mut watches = Vec::new();
        for (key, value) in in_order(table) {
            let name = key.get_ref().to_string();
            if watches.len() == watch::MOST {
                return Err(ConfigError::new(key.span(), format!("more than {} watches", watch::MOST)));
            }
            let Some(table) = value.get_ref().as_table() else {
                let filter = self.filter(value)?;
                watches.push(WatchEntry { name, filter, look: None, rings: false, records: false });
                continue;
            };
            let (mut filter, mut look, mut rings, mut records) = (None, None, false, false);
            for (key, value) in in_order(table) {
                match key.get_ref().as_ref() {
                    "filter" => filter = Some(self.filter(value)?),
                    "color" => look = Some(self.look(key, value)?),
                    "bell" => rings = flag(key, value)?,
                    "record" => records = flag(key, value)?,
                    _ => return Err(unknown_in("watch", "entry of a watch", key, NAMES.into_iter())),
                }
            }
            let missing = || {
                ConfigError::new(key.span(), format!("watch `{name}` has no filter"))
                    .hint(write("filter", "\"path~/[.]ssh/\""))
            };
            let filter = filter.ok_or_else(missing)?;
            watches.push(WatchEntry { name, filter, look, rings, records });
        }
        Ok(watches)
    }

    fn wrong_look(&self, error: &LookError, text: &str, span: Range<usize>) -> ConfigError {
        let (whole, verbatim) = self.inside(text, span);
        let at = if verbatim { whole.start + error.at.start..whole.start + error.at.end } else { whole };
        let names = || WEIGHTS.iter().map(|(name, _)| *name).chain(COLOURS.iter().map(|(name, _)| *name));
        let all = || format!("valid: {}, colours from 0 to 255 and #rrggbb", names().collect::<Vec<_>>().join(", "));
        match &error.wrong {
            WrongLook::Word(word) => {
                let near = did_you_mean(word, names().chain([PLAIN]));
                ConfigError::new(at, format!("unknown colour or weight `{word}`")).near(near, all)
            }
            WrongLook::Second(word) => ConfigError::new(at, format!("second colour `{word}`"))
                .hint("write the background colour after `on`: \"black on green\""),
            WrongLook::On => ConfigError::new(at, "missing background colour after `on`"),
            WrongLook::Plain => ConfigError::new(at, format!("`{PLAIN}` cannot be combined with a colour or a weight")),
        }
    }

    fn keys(&self, table: &DeTable<'_>, keymap: &mut Keymap) -> Result<(), ConfigError> {
        let mut assigned: Vec<(Action, Vec<Press>)> = Vec::new();
        // The place of each entry, and of its keys.
        let mut places: Vec<(Range<usize>, Vec<Range<usize>>)> = Vec::new();
        for (key, value) in in_order(table) {
            let Some(action) = keymap.action(key.get_ref()) else {
                let names: Vec<String> = keymap.iter().map(|binding| binding.action.name()).collect();
                return Err(unknown_in("keys", "action", key, names.iter().map(String::as_str)));
            };
            let named = match value.get_ref().as_str() {
                Some(name) => vec![(name, value.span())],
                None => texts(key, value, "a key such as \"Ctrl-F\", or a list of keys")?,
            };
            let mut keys = Vec::new();
            for (name, at) in &named {
                let wrong = |error: KeyError| ConfigError::new(at.clone(), error.to_string());
                keys.push(name.parse::<Press>().map_err(wrong)?);
            }
            assigned.push((action, keys));
            places.push((key.span(), named.into_iter().map(|(_, at)| at).collect()));
        }
        keymap.assign(&assigned).map_err(|Conflict { at, press, message }| {
            let (entry, keys) = places.get(at).cloned().unwrap_or_default();
            // The last one, where a key stands twice.
            let of_key = assigned.get(at).and_then(|(_, all)| all.iter().rposition(|key| Some(*key) == press));
            ConfigError::new(of_key.and_then(|at| keys.get(at).cloned()).unwrap_or(entry), message)
        })
    }
}
