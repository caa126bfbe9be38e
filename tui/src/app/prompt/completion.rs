//! Completion in the filter line: names of fields, and values that are known or occur in events.

use super::line::Line;
use foldhash::HashMap;
use tracetui_events::enrich::World;
use tracetui_events::event::EventContext;
use tracetui_events::event::describe::{self, Shape, Value};
use tracetui_events::filter::complete::{self, Ending, FieldName, Of};
use tracetui_events::store::Store;
use tracetui_shared::id::{Gid, Uid};

/// The number of newest kept events whose values are offered.
const EVENTS: u64 = 8_000;

/// The maximum number of different values that offers are chosen from.
const VALUES: usize = 4_000;

/// The maximum number of offers.
const OFFERED: usize = 100;

/// The maximum length of a value, in bytes.
const LONGEST: usize = 1_024;

/// The texts that can complete a line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Completion {
    /// Where the completed text begins, in bytes.
    pub(crate) start: usize,
    pub(crate) typed: String,
    /// The offers, never empty.
    pub(crate) offers: Vec<Offer>,
    pub(crate) chosen: Option<usize>,
    /// Whether nothing begins with the typed text, and the offers only come near it.
    pub(crate) is_near: bool,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Offer {
    pub(crate) text: String,
    /// How many of the newest events have the value.
    pub(crate) events: u32,
    /// The meaning of the text as raw bytes: for a process id, the process's command; for a command, its file.
    pub(crate) note: Vec<u8>,
}

/// Values, each with the number of its occurrences and its meaning.
type Counts = HashMap<Vec<u8>, (u32, Vec<u8>)>;

impl Completion {
    /// The completions of a text; `None` if there are none.
    pub(crate) fn of(text: &str, store: &Store, world: &World) -> Option<Completion> {
        let Ending { start, typed, of } = complete::ending(text)?;
        let (offers, is_near) = match of {
            Of::Field => {
                let terms = complete::field_terms(std::str::from_utf8(&typed).ok()?);
                (terms.into_iter().map(|text| Offer { text, ..Offer::default() }).collect(), false)
            }
            Of::Value(field) => {
                let offers = values(&field, store, world, |value| field.offers(value, &typed));
                match offers.is_empty() && field.shape() == Shape::Text {
                    true => (near(values(&field, store, world, |_| true), &typed), true),
                    false => (offers, false),
                }
            }
        };
        let typed = text[start..].to_owned();
        (!offers.is_empty()).then_some(Completion { start, typed, offers, chosen: None, is_near })
    }

    /// Inserts the completed text into the line. Returns the completion if there is a choice.
    pub(crate) fn insert(mut self, line: &mut Line) -> Option<Completion> {
        if let [_] = self.offers.as_slice() {
            self.chosen = Some(0);
        }
        line.replace(self.start, self.text());
        Some(self).filter(|completion| completion.offers.len() > 1)
    }

    /// The common start of all offers.
    pub(crate) fn common(&self) -> &str {
        let mut texts = self.offers.iter().map(|offer| offer.text.as_str());
        let first = texts.next().unwrap_or_default();
        texts.fold(first, |common, text| {
            let differ = common.char_indices().zip(text.chars()).find(|((_, one), other)| one != other);
            let end = differ.map_or(common.len().min(text.len()), |((at, _), _)| at);
            &common[..end]
        })
    }

    /// Chooses the next or the previous offer. After the last one comes the first.
    pub(crate) fn step(&mut self, next: bool) {
        let (all, last) = (self.offers.len(), self.offers.len() - 1);
        self.chosen = Some(match (self.chosen, next) {
            (None, true) => 0,
            (None, false) => last,
            (Some(at), true) => (at + 1) % all,
            (Some(at), false) => (at + last) % all,
        });
    }

    /// The completed text as it is in the line now.
    pub(crate) fn text(&self) -> &str {
        match self.chosen.and_then(|at| self.offers.get(at)) {
            Some(offer) => &offer.text,
            None if begins(self.common().as_bytes(), self.typed.as_bytes()) => self.common(),
            None => &self.typed,
        }
    }
}

/// Of offers, those that have the typed text in them; otherwise those that share the longest beginning with it, at least half.
fn near(mut offers: Vec<Offer>, typed: &[u8]) -> Vec<Offer> {
    let shared = |offer: &Offer| {
        let text = offer.text.as_bytes();
        match text.windows(typed.len().max(1)).any(|part| part.eq_ignore_ascii_case(typed)) {
            true => typed.len(),
            false => text.iter().zip(typed).take_while(|(one, other)| one.eq_ignore_ascii_case(other)).count(),
        }
    };
    let most = offers.iter().map(shared).max().filter(|most| *most > 0 && 2 * most >= typed.len());
    offers.retain(|offer| Some(shared(offer)) == most);
    offers
}

/// The values of a field that fit: the values of the newest events, most frequent first, then other known values.
fn values(field: &FieldName, store: &Store, world: &World, fits: impl Fn(&[u8]) -> bool) -> Vec<Offer> {
    let mut counts = Counts::default();
    count_events(field, store, world, |value, note| count(value, note, 1, &fits, &mut counts));
    let mut known = |value: &[u8], note: &[u8]| count(value, note, 0, &fits, &mut counts);
    field.words().into_iter().for_each(|word| known(word.as_bytes(), b""));
    match (field.shape(), field.name()) {
        (Shape::User, _) => world.users.values().for_each(|name| known(name.as_bytes(), b"")),
        (Shape::Group, _) => world.groups.values().for_each(|name| known(name.as_bytes(), b"")),
        (_, "comm") => world.processes.entries().for_each(|entry| known(&entry.process.comm, b"")),
        (_, "process") => world.processes.entries().for_each(|entry| known(entry.process.name(), b"")),
        (_, "pid" | "tree") => {
            for entry in world.processes.entries() {
                known(entry.process.key.tgid.0.to_string().as_bytes(), &entry.process.comm);
            }
        }
        _ => {}
    }
    let mut values: Vec<_> = counts.into_iter().collect();
    // Numbers are in numeric order.
    let length = |value: &[u8]| if field.shape() == Shape::Number { value.len() } else { 0 };
    values
        .sort_by(|(one, (often, _)), (other, (less, _))| (less, length(one), one).cmp(&(often, length(other), other)));
    values.truncate(OFFERED);
    values.into_iter().map(|(value, (events, note))| Offer { text: field.written(&value), events, note }).collect()
}

fn count_events(field: &FieldName, store: &Store, world: &World, mut count: impl FnMut(&[u8], &[u8])) {
    if field.shape() == Shape::Duration {
        return;
    }
    let first = store.first_id().max(store.next_id().saturating_sub(EVENTS));
    let mut counted: Vec<Vec<u8>> = Vec::new();
    for stored in (first..store.next_id()).rev().filter_map(|id| store.get(id)) {
        stored.with(world, |seen| {
            let note: &[u8] = match field.name() {
                "pid" => seen.event.header.comm(),
                "comm" => seen.process.map_or(b"", |process| &process.image.exe),
                _ => b"",
            };
            // An event may have a value twice, as a failed open its path.
            counted.clear();
            let mut add = |value: &[u8]| {
                if !counted.iter().any(|known| known == value) {
                    counted.push(value.to_vec());
                    count(value, note);
                }
            };
            for value in field.values(seen) {
                match &value {
                    // A term on a list compares its elements.
                    Value::Args(area) | Value::SomeArgs(area, _) => describe::args(area).for_each(&mut add),
                    Value::Words(words) => words.for_each(|word| add(word.as_bytes())),
                    Value::Time(ns) => add(ns.to_string().as_bytes()),
                    value => match name(field.shape(), value, seen) {
                        Some(name) => add(name.as_bytes()),
                        None => add(&value.text().unwrap_or_default()),
                    },
                }
            }
        });
    }
}

fn name<'a>(shape: Shape, value: &Value<'_>, seen: &EventContext<'a>) -> Option<&'a str> {
    let id = || value.number().and_then(|number| u32::try_from(number).ok());
    match shape {
        Shape::User => seen.user(Uid(id()?)),
        Shape::Group => seen.group(Gid(id()?)),
        _ => None,
    }
}

fn count(value: &[u8], note: &[u8], by: u32, fits: &impl Fn(&[u8]) -> bool, counts: &mut Counts) {
    if value.is_empty() || value.len() > LONGEST || !fits(value) {
        return;
    }
    if let Some((often, _)) = counts.get_mut(value) {
        *often = often.saturating_add(by);
    } else if counts.len() < VALUES {
        counts.insert(value.to_vec(), (by, note.to_vec()));
    }
}

/// Whether a value begins with the typed text, ignoring case.
fn begins(value: &[u8], typed: &[u8]) -> bool {
    value.get(..typed.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(typed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::App;
    use crate::app::prompt::Purpose;
    use crate::app::testing::{app, feed, keys};
    use tracetui_events::frame::host::{HostFrame, User};
    use tracetui_events::synthetic::Maker;

    /// A dashboard with events of a few processes.
    fn some() -> App {
        let (mut app, mut made) = (app(80, 24, 64 << 20), Maker::default());
        made.host(&HostFrame::User(User { uid: Uid(1000), name: "ana".to_owned() }));
        made.host(&HostFrame::User(User { uid: Uid(33), name: "www data".to_owned() }));
        made.acts("48213 make exec make all; 48214 cc1 open /usr/include/stdio.h");
        made.open(48_214, "cc1", "/usr/include/a b,c*", 3);
        made.open(48_214, "cc1", "/usr/local/\x1b[31m", -2);
        made.open(48_215, "collect2", "/etc/ld.so.cache", -13);
        feed(&mut app, &mut made);
        app
    }

    fn offers(text: &str) -> Vec<String> {
        let app = some();
        let completion = Completion::of(text, app.store(), app.world());
        completion.map_or_else(Vec::new, |completion| completion.offers.into_iter().map(|offer| offer.text).collect())
    }

    #[test]
    fn fields_and_values_are_offered_where_they_can_stand() {
        for (text, want) in [
            ("kin", &["kind="][..]),
            ("not (KIN", &["kind="]),
            ("comm=x && kin", &["kind="]),
            ("comm=x !kin", &["kind="]),
            ("dur", &["dur>", "dur_ns>"]),
            ("kind=ex", &["exec", "exit"]),
            ("kind!=ex", &["exec", "exit"]),
            ("kind == ex", &["exec", "exit"]),
            ("kind=open,b", &["bpf"]),
            ("not kind=F", &["file", "fork"]),
            // Values that occur in events come first.
            ("err=eac", &["EACCES"]),
            ("err=EN", &["ENOENT"]),
            ("signal=SIGK", &["SIGKILL"]),
            ("comm=", &["cc1", "collect2", "make"]),
            ("comm=c", &["cc1", "collect2"]),
            ("name=c", &["cc1", "collect2"]),
            ("pid=", &["48214", "48213", "48215"]),
            ("tree=48", &["48213", "48214", "48215"]),
            ("user=", &["ana", "\"www data\""]),
            // Special characters are escaped, so that the value matches only itself.
            ("path=/usr/inc", &["\"/usr/include/a b,c\\\\*\"", "/usr/include/stdio.h"]),
            ("path=\"/usr/include/a b", &["\"/usr/include/a b,c\\\\*\""]),
            ("path=/usr/lo", &["\"/usr/local/\\x1b\\\\[31m\""]),
            ("arg=al", &["all"]),
            ("created=t", &["true"]),
            // In a pattern, the typed text may be anywhere in the value.
            ("comm~c", &["cc1", "collect2"]),
            ("comm!~LL", &["collect2"]),
            ("path~stdio", &[r"/usr/include/stdio\.h"]),
            ("path~\"a b", &[r#""/usr/include/a b,c\\*""#]),
            ("path~\"local/", &["\"/usr/local/\\x1b\\\\[31m\""]),
            ("pid>4", &["48214", "48213", "48215"]),
            ("dur>", &["100ms", "10ms", "10s", "1ms", "1s"]),
            // No value is known, or the operator does not fit here.
            ("", &[]),
            ("dur=1", &[]),
            ("pid~4", &[]),
            ("comm<c", &[]),
            ("nofield=x ki", &[]),
            ("comm=zz", &[]),
            // Nothing begins with the text.
            ("comm=ollect", &["collect2"]),
            ("comm=cz", &["cc1", "collect2"]),
            ("\"kin", &[]),
            ("ki)", &[]),
        ] {
            let offers = offers(text);
            match text {
                "" => assert!(offers.len() > 20 && offers[0] == "comm=", "all fields: {offers:?}"),
                "err=EN" => assert_eq!(offers[0], "ENOENT", "{offers:?}"),
                _ => assert_eq!(offers, want, "{text}"),
            }
        }
    }

    #[test]
    fn tab_completes_offers_that_are_read_as_what_they_are() {
        let app = some();
        for text in [
            "", "kind=", "comm=", "user=", "path=", "err=", "pid=", "arg=", "signal=", "path~", "comm!~", "arg~",
            "pid<=", "uid>", "dur>", "dur_ns<",
        ] {
            let completion = Completion::of(text, app.store(), app.world()).unwrap_or_else(|| panic!("{text}"));
            for Offer { text: offer, .. } in completion.offers {
                let whole = format!("{}{offer}", &text[..completion.start]);
                let whole = if text.is_empty() { whole.trim_end_matches(['=', '>']) } else { &whole };
                assert!(tracetui_events::filter::Filter::parse(whole, app.world()).is_ok(), "{whole}");
            }
        }
        // An event is counted once.
        let (app, all) = (some(), |completion: Completion| completion.offers);
        for (text, events) in [("path=/usr/lo", 1), ("path=/etc/ld", 1), ("err=EACCES", 1), ("comm=cc1", 3)] {
            let offers = Completion::of(text, app.store(), app.world()).map(all).unwrap_or_default();
            assert_eq!(offers.iter().map(|offer| offer.events).collect::<Vec<_>>(), [events], "{text}");
        }
        // Many values are counted in bounds.
        let (mut app, mut made) = (self::app(80, 24, 64 << 20), Maker::default());
        for i in 0..VALUES + 500 {
            made.open(7, "cat", &format!("/f/{i}"), 3);
        }
        made.open(7, "cat", &format!("/g/{}", "x".repeat(LONGEST)), 3);
        feed(&mut app, &mut made);
        let offers = |text| Completion::of(text, app.store(), app.world()).map_or(0, |all| all.offers.len());
        assert_eq!((offers("path=/f/"), offers("path=/g/")), (OFFERED, 0));
        // Tab completes then shows then goes round.
        let mut app = some();
        let line = |app: &App| app.line_for(Purpose::Filter).map(|line| line.text()).unwrap_or_default();
        assert_eq!(line(keys(&mut app, "fkin\t")), "kind=");
        assert_eq!((line(keys(&mut app, "ex\t")).as_str(), app.completion().is_some()), ("kind=ex", true));
        assert_eq!((line(keys(&mut app, "\t")).as_str(), app.events().events()), ("kind=exec", 1), "it is applied");
        assert_eq!(line(keys(&mut app, "\t")), "kind=exit");
        assert_eq!(line(keys(&mut app, "\t")), "kind=exec");
        // Esc restores the typed text, and goes no further.
        assert_eq!((line(keys(&mut app, "\x1b")).as_str(), app.completion().is_none()), ("kind=ex", true));
        assert_eq!(line(keys(&mut app, "\t\t,op\t")), "kind=exec,open");
        // Typing continues after a completion.
        assert_eq!(line(keys(&mut app, " co\t")), "kind=exec,open co", "comm, core");
        keys(&mut app, "mm=c\t\t\n");
        assert_eq!(
            (app.filter.text().as_str(), app.line_for(Purpose::Filter).is_none()),
            ("kind=exec,open comm=cc1", true)
        );
        assert!(keys(&mut app, "fzzz\t").screen.message().is_some_and(|message| message.contains("no completions")));
    }
}
