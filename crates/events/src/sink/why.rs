//! Lines with the reasons of failed opens, execs and connects (`print --why`).

use super::ndjson::Json;
use super::text::Text;
use super::{Format, integer};
use crate::event::EventContext;
use crate::text::json::Strings;
use crate::text::paint::{Look, Paint};
use crate::text::time::{Zone, short_duration};
use crate::text::{Charset, escape};
use crate::why::{Answer, Basis, Cause, explains};

/// Explains why an event failed; `None` for other events.
pub type Explain = Box<dyn FnMut(&EventContext<'_>) -> Option<Answer>>;

/// Text with the reason at the end of the line.
pub(crate) struct ExplainedText {
    text: Text,
    explain: Explain,
    charset: Charset,
    paint: Paint,
}

impl ExplainedText {
    pub(crate) fn new(explain: Explain) -> ExplainedText {
        ExplainedText { text: Text::default(), explain, charset: Charset::default(), paint: Paint::Off }
    }
}

impl Format for ExplainedText {
    fn line(&mut self, seen: &EventContext<'_>, out: &mut Vec<u8>) {
        self.text.line(seen, out);
        let Some(answer) = (self.explain)(seen) else { return };
        out.pop_if(|last| *last == b'\n');
        let label = if answer.cause == Cause::Unknown { "why unknown:" } else { "why:" };
        out.extend_from_slice(b"  ");
        self.paint.put(Look::Note, out, |out| out.extend_from_slice(label.as_bytes()));
        out.push(b' ');
        escape(&answer.text, self.charset.reversible(), out);
        match answer.basis {
            Basis::Proven => out.extend_from_slice(b" (proven"),
            Basis::Checked(after) => {
                out.extend_from_slice(b" (checked ");
                short_duration(after, out);
                out.extend_from_slice(b" later");
            }
            Basis::Nothing => return out.push(b'\n'),
        }
        if let Some(place) = &answer.place {
            out.extend_from_slice(b"; ");
            escape(place, self.charset.reversible(), out);
        }
        out.extend_from_slice(b")\n");
    }

    fn set_zone(&mut self, zone: Zone) {
        self.text.set_zone(zone);
    }

    fn set_charset(&mut self, charset: Charset) {
        self.charset = charset;
        self.text.set_charset(charset);
    }

    fn set_paint(&mut self, paint: Paint) {
        self.paint = paint;
        self.text.set_paint(paint);
    }
}

/// JSON with the key `why` in opens, execs and `tcp`.
pub(crate) struct ExplainedJson {
    json: Json,
    explain: Explain,
    strings: Strings,
}

impl ExplainedJson {
    /// `several`: whether the events are of several recordings.
    pub(crate) fn new(explain: Explain, several: bool) -> ExplainedJson {
        let json = if several { Json::new().with_host() } else { Json::new() };
        ExplainedJson { json, explain, strings: Strings::default() }
    }

    fn answer(&mut self, answer: &Answer, out: &mut Vec<u8>) {
        let mut member = |name: &str, value: Option<&[u8]>, out: &mut Vec<u8>| {
            out.extend_from_slice(name.as_bytes());
            match value {
                Some(value) => drop(self.strings.write(out, |out| out.extend_from_slice(value))),
                None => out.extend_from_slice(b"null"),
            }
        };
        member("{\"text\":", Some(&answer.text), out);
        member(",\"component\":", answer.component.as_deref(), out);
        member(",\"cause\":", Some(answer.cause.word().as_bytes()), out);
        member(",\"near\":", answer.near.as_deref(), out);
        member(",\"place\":", answer.place.as_deref(), out);
        match answer.basis {
            Basis::Proven => out.extend_from_slice(b",\"proven\":true"),
            Basis::Checked(after) => {
                out.extend_from_slice(b",\"checked_after_ns\":");
                integer(after, out);
            }
            Basis::Nothing => out.extend_from_slice(b",\"checked_after_ns\":null"),
        }
        out.push(b'}');
    }
}

impl Format for ExplainedJson {
    fn line(&mut self, seen: &EventContext<'_>, out: &mut Vec<u8>) {
        self.json.object(seen, out);
        if explains(&seen.event.body) {
            out.pop_if(|last| *last == b'}');
            out.extend_from_slice(b",\"why\":");
            match (self.explain)(seen) {
                Some(answer) => self.answer(&answer, out),
                None => out.extend_from_slice(b"null"),
            }
            out.push(b'}');
        }
        out.push(b'\n');
    }

    fn set_charset(&mut self, charset: Charset) {
        self.strings.set_charset(charset);
        self.json.set_charset(charset);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::sample;
    use serde_json::Value;

    fn explain(basis: Basis) -> Explain {
        Box::new(move |seen| {
            seen.event.failed().then(|| Answer {
                text: b"no \x1b\xff in /a".to_vec(),
                component: Some(b"/a/\xff".to_vec()),
                cause: Cause::Missing,
                near: None,
                place: Some(b"it ended".to_vec()),
                basis,
            })
        })
    }

    #[test]
    fn opens_and_execs_have_a_reason_and_others_have_none() {
        let mut json = ExplainedJson::new(explain(Basis::Checked(400)), false);
        let mut reasons = 0;
        for (header, payload) in sample::all() {
            sample::with_seen(header, &payload, |seen| {
                let mut out = Vec::new();
                json.line(seen, &mut out);
                let object: Value = serde_json::from_slice(&out).expect("one object");
                let asked = explains(&seen.event.body);
                assert_eq!(object.get("why").is_some(), asked, "{object}");
                let why = object.get("why").filter(|why| !why.is_null());
                assert_eq!(why.is_some(), asked && seen.event.failed(), "{object}");
                if let Some(why) = why {
                    reasons += 1;
                    assert_eq!((&why["cause"], &why["checked_after_ns"]), (&"missing".into(), &400.into()));
                    assert_eq!((&why["near"], &why["proven"]), (&Value::Null, &Value::Null));
                }
                assert!(out.iter().all(|byte| *byte >= b' ' || *byte == b'\n'), "{out:?}");
            });
        }
        assert!(reasons > 0);
    }

    #[test]
    fn a_line_of_text_ends_with_the_reason() {
        let mut text = ExplainedText::new(explain(Basis::Proven));
        for (header, payload) in sample::all() {
            sample::with_seen(header, &payload, |seen| {
                let mut out = Vec::new();
                text.line(seen, &mut out);
                let line = String::from_utf8(out).expect("escaped");
                assert_eq!(line.matches('\n').count(), 1, "{line:?}");
                let why = "  why: no \\x1b\\xff in /a (proven; it ended)\n";
                assert_eq!(line.ends_with(why), seen.event.failed(), "{line:?}");
            });
        }
    }
}
