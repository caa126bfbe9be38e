//! The configuration file of the dashboard: checks its text, and turns it into values for the dashboard. [`crate::command::config`]
//! finds and reads the file.
//!
//! Every entry that is unknown or wrong is an error with its place ([`ConfigError`]).

#[cfg(test)]
mod tests;

use crate::app::Preferences;
use crate::app::keys::keymap::{Conflict, KeyError, Keymap, Press};
use crate::app::views::View;
use crate::app::views::columns::{self, Columns};
use crate::app::views::event_list::row::TimeMode;
use crate::app::watch;
use crate::cli::Color;
use crate::cli::size::{ByteSize, SizeError};
use crate::view::palette::{PALETTES, Palette};
use crate::view::theme::{Looks, Role};
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
    pub memory: Option<ByteSize>,
    pub filter: Option<Filter>,
    pub watches: Vec<WatchEntry>,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct WatchEntry {
    pub name: String,
    pub filter: Filter,
    pub rings: bool,
    pub records: bool,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Filter {
    pub text: String,
    /// The place in the file.
    at: Range<usize>,
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

pub(crate) const ENTRIES: [Entry; 8] = [
    entry("filter", "a filter", "the display filter at the start; not used if filter options are given"),
    entry("color", "`\"auto\"`, `\"always\"` or `\"never\"`", "as `--color`, which takes precedence"),
    entry("theme", "a name such as `\"nord\"`", "as `--theme`, which takes precedence"),
    entry("memory", "a size such as `\"512MiB\"`", "as `--memory`, which takes precedence"),
    entry("mouse", "`true` or `false`", "as `--mouse`"),
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
    hint: String,
}

impl ConfigError {
    fn new(at: Range<usize>, message: impl AsRef<str>) -> ConfigError {
        ConfigError { at: Some(at), message: escape(message.as_ref()), hint: String::new() }
    }

    fn hint(self, hint: impl AsRef<str>) -> ConfigError {
        ConfigError { hint: escape(hint.as_ref()), ..self }
    }

    pub(crate) fn of_filter(filter: &Filter, error: &FilterError) -> ConfigError {
        let hint = error.hint.as_deref().unwrap_or_default();
        ConfigError::new(filter.at.clone(), format!("filter: {}", error.message)).hint(hint)
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
        if !self.hint.is_empty() {
            out.push_str(&format!("\nhint: {}", self.hint));
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
            ConfigError::new(at..at, "the file is not UTF-8 text")
        })?;
        let table = DeTable::parse(text).map_err(|error| {
            let syntax = ConfigError { at: error.span(), message: escape(error.message()), hint: String::new() };
            // Most are texts without their quotes.
            syntax.hint("the format is TOML: name = \"text\" on a line of its own; strings are in quotes, lists in [ ]")
        })?;
        let mut config = Config::default();
        let names = ENTRIES.iter().map(|entry| entry.name).chain(SECTIONS).map(|name| (name, name));
        for (key, value) in in_order(table.get_ref()) {
            match named("entry", key, names.clone())? {
                "filter" => config.filter = Some(filter(value)?),
                "theme" => config.theme = Some(one_of(value, PALETTES.iter().map(|theme| (theme.name, theme)))?),
                "color" => config.color = Some(one_of(value, COLORS.into_iter())?),
                "memory" => config.memory = Some(size(value)?),
                "mouse" => config.mouse = flag(value)?,
                "fold" => config.preferences.folds = flag(value)?,
                "strip" => config.preferences.strip = flag(value)?,
                "time" => config.preferences.time = one_of(value, TIMES.into_iter())?,
                "keys" => keys(section(value)?, &mut config.preferences.keymap)?,
                "colors" => colors(section(value)?, &mut config.looks)?,
                "watch" => config.watches = watches(section(value)?)?,
                _ => config.preferences.columns = choice(section(value)?)?,
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

/// What a name at this place means. `what` names such things.
fn found<'n, T>(
    what: &str,
    name: &str,
    at: Range<usize>,
    all: impl Iterator<Item = (&'n str, T)> + Clone,
) -> Result<T, ConfigError> {
    all.clone().find(|(known, _)| *known == name).map(|(_, meant)| meant).ok_or_else(|| {
        let names = all.map(|(name, _)| name);
        let near = did_you_mean(name, names.clone());
        let hint = if near.is_empty() { format!("valid: {}", names.collect::<Vec<_>>().join(", ")) } else { near };
        ConfigError::new(at, format!("unknown {what} `{name}`")).hint(hint)
    })
}

fn named<'n, T>(what: &str, key: &Key<'_>, all: impl Iterator<Item = (&'n str, T)> + Clone) -> Result<T, ConfigError> {
    found(what, key.get_ref(), key.span(), all)
}

fn one_of<'n, T>(value: &Value<'_>, all: impl Iterator<Item = (&'n str, T)> + Clone) -> Result<T, ConfigError> {
    found("value", string(value)?, value.span(), all)
}

/// The error for a value of another type.
fn expected(value: &Value<'_>, what: &str) -> ConfigError {
    ConfigError::new(value.span(), format!("this must be {what}"))
}

fn section<'a, 't>(value: &'a Value<'t>) -> Result<&'a DeTable<'t>, ConfigError> {
    value.get_ref().as_table().ok_or_else(|| expected(value, "a section: write its name in [ ] on a line of its own"))
}

fn flag(value: &Value<'_>) -> Result<bool, ConfigError> {
    value.get_ref().as_bool().ok_or_else(|| expected(value, "true or false, without quotes"))
}

fn string<'a>(value: &'a Value<'_>) -> Result<&'a str, ConfigError> {
    value.get_ref().as_str().ok_or_else(|| expected(value, "a string in quotes"))
}

fn size(value: &Value<'_>) -> Result<ByteSize, ConfigError> {
    let text = value.get_ref().as_str().ok_or_else(|| expected(value, "a size such as \"512MiB\""))?;
    text.parse().map_err(|error: SizeError| ConfigError::new(value.span(), error.to_string()))
}

fn filter(value: &Value<'_>) -> Result<Filter, ConfigError> {
    Ok(Filter { text: string(value)?.to_owned(), at: value.span() })
}

/// The texts of a list, each with its place.
fn texts<'a>(value: &'a Value<'_>) -> Result<Vec<(&'a str, Range<usize>)>, ConfigError> {
    let list = value.get_ref().as_array().ok_or_else(|| expected(value, "a list of strings"))?;
    list.iter().map(|item| Ok((string(item)?, item.span()))).collect()
}

fn choice(table: &DeTable<'_>) -> Result<Columns, ConfigError> {
    let mut chosen = Columns::default();
    for (key, value) in in_order(table) {
        let view = named("list", key, LISTS.into_iter())?;
        let (all, needed) = (columns::all(view), columns::needed(view));
        let mut list = Vec::new();
        for (name, at) in texts(value)? {
            let column = found("column", name, at.clone(), all.iter().map(|name| (*name, *name)))?;
            if list.contains(&column) {
                return Err(ConfigError::new(at, format!("the column `{name}` is listed twice")));
            }
            list.push(column);
        }
        match needed.filter(|needed| !list.contains(needed)) {
            Some(needed) => return Err(ConfigError::new(value.span(), format!("the column `{needed}` is missing"))),
            None if list.is_empty() => return Err(ConfigError::new(value.span(), "the list is empty")),
            None => chosen.choose(view, list),
        }
    }
    Ok(chosen)
}

fn colors(table: &DeTable<'_>, looks: &mut Looks) -> Result<(), ConfigError> {
    for (key, value) in in_order(table) {
        let role = named("role", key, Role::ALL.iter().map(|role| (role.name(), *role)))?;
        let wrong = |why: String| ConfigError::new(value.span(), why).hint("write for example \"bold red on 17\"");
        looks.set(role, string(value)?.parse().map_err(wrong)?);
    }
    Ok(())
}

/// Each watch is a filter, or a table with a filter.
fn watches(table: &DeTable<'_>) -> Result<Vec<WatchEntry>, ConfigError> {
    const NAMES: [&str; 3] = ["filter", "bell", "record"];
    let mut watches = Vec::new();
    for (key, value) in in_order(table) {
        let mut watch = WatchEntry { name: key.get_ref().to_string(), ..WatchEntry::default() };
        if watches.len() == watch::MOST {
            return Err(ConfigError::new(key.span(), format!("more than {} watches", watch::MOST)));
        }
        match value.get_ref().as_table() {
            None => watch.filter = filter(value)?,
            Some(table) => {
                for (key, value) in in_order(table) {
                    match named("entry of a watch", key, NAMES.into_iter().map(|name| (name, name)))? {
                        "filter" => watch.filter = filter(value)?,
                        "bell" => watch.rings = flag(value)?,
                        _ => watch.records = flag(value)?,
                    }
                }
            }
        }
        if watch.filter == Filter::default() {
            return Err(ConfigError::new(key.span(), format!("watch `{}` has no filter", watch.name)));
        }
        watches.push(watch);
    }
    Ok(watches)
}

fn keys(table: &DeTable<'_>, keymap: &mut Keymap) -> Result<(), ConfigError> {
    let actions: Vec<_> = keymap.iter().map(|binding| (binding.action.name(), binding.action)).collect();
    let (mut assigned, mut places) = (Vec::new(), Vec::new());
    for (key, value) in in_order(table) {
        let action = named("action", key, actions.iter().map(|(name, action)| (name.as_str(), *action)))?;
        let named = match value.get_ref().as_str() {
            Some(name) => vec![(name, value.span())],
            None => texts(value)?,
        };
        let press = |(name, at): (&str, Range<usize>)| {
            name.parse::<Press>().map_err(|error: KeyError| ConfigError::new(at, error.to_string()))
        };
        assigned.push((action, named.into_iter().map(press).collect::<Result<Vec<_>, _>>()?));
        places.push(key.span());
    }
    keymap
        .assign(&assigned)
        .map_err(|Conflict { at, message }| ConfigError::new(places.get(at).cloned().unwrap_or_default(), message))
}
