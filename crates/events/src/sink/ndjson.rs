//! Events as JSON, one object per line. The tables of [`describe`] define the keys and their order.
//!
//! Every key is always present, unless its value is [`Value::Omitted`]. If a value applies but is unknown, it is `null`, followed
//! by `<key>_why`. Text that is not UTF-8 contains U+FFFD, and is followed by `<key>_hex`. Characters that [`escape`](crate::text::escape()) would
//! escape on a screen are written as `\uXXXX`, which is equivalent for programs and safe on a terminal.

use super::memo::{CachedLine, Memo, Source, parts};
use super::{Format, Style};
use crate::event::EventContext;
use crate::event::describe::{self, COMMON, Field, STACK, Value, Why, args};
use crate::event::stack::StackCall;
use crate::text::json::{self, Members, Strings, Utf8, hex, object};
use crate::text::time::Rfc3339;
use crate::text::{Charset, integer};
use crate::why::{Answer, Basis};
use tracetui_shared::kind::Kind;

#[derive(Default)]
pub struct Json {
    object: Object,
    memo: Memo,
    /// Whether each object ends with the host and the boot.
    host: bool,
}

/// Writes the objects of events.
#[derive(Debug)]
pub(super) struct Object {
    /// The parts of each kind, by the number of the kind.
    plans: Vec<Vec<(Source, Vec<Step>)>>,
    values: Values,
}

/// A key with the bytes before it, and the getter of its value.
#[derive(Debug)]
struct Step {
    key: String,
    /// The key of the reason why the value is unknown, with the bytes before it.
    why: String,
    field: &'static Field,
    sub: Vec<Step>,
}

impl Json {
    pub(super) fn with(host: bool) -> Json {
        Json { host, ..Json::default() }
    }

    /// Appends the object of the event.
    pub fn object(&mut self, seen: &EventContext<'_>, out: &mut Vec<u8>) {
        let Json { object, memo, host } = self;
        object.write(&mut memo.line(seen), seen, out, |_, _| {});
        if *host {
            let host = seen.world.host();
            out.pop_if(|last| *last == b'}');
            for (key, text) in [(&b",\"host\":"[..], &host.name), (b",\"boot_id\":", &host.boot_id)] {
                out.extend_from_slice(key);
                object.values.strings.write(out, |out| out.extend_from_slice(text.as_bytes()));
            }
            out.push(b'}');
        }
    }
}

fn reason(answer: &Answer) -> Members<'_> {
    let text = |text| String::from_utf8_lossy(text).into_owned();
    let mut reason = object! {
        "text": text(&answer.text),
        "component": answer.component.as_deref().map(text),
        "cause": answer.cause.word(),
        "near": answer.near.as_deref().map(text),
        "place": answer.place.as_deref().map(text),
    };
    reason.push(match answer.basis {
        Basis::Proven => ("proven", true.into()),
        Basis::Checked(after) => ("checked_after_ns", after.into()),
        Basis::Nothing => ("checked_after_ns", json::Value::Null),
    });
    reason
}

impl Format for Json {
    fn line(&mut self, seen: &EventContext<'_>, out: &mut Vec<u8>) {
        self.object(seen, out);
        out.push(b'\n');
    }

    fn reason(&mut self, why: Option<&Answer>, out: &mut Vec<u8>) {
        out.truncate(out.len().saturating_sub(b"}\n".len()));
        out.extend_from_slice(b",\"why\":");
        json::Value::from(why.map(reason)).write(&mut self.object.values.strings, out);
        out.extend_from_slice(b"}\n");
    }

    fn set_style(&mut self, Style { charset, .. }: Style) {
        self.object.set_charset(charset);
        self.memo = Memo::default();
    }
}

impl Default for Object {
    fn default() -> Object {
        let mut plans = Vec::new();
        for kind in Kind::ALL {
            let at = usize::from(kind as u16);
            if plans.len() <= at {
                plans.resize_with(at + 1, Vec::new);
            }
            let source = |(number, step): (usize, Step)| match step.field.name {
                _ if number < COMMON.len() => (Source::of(step.field), step),
                name if name == STACK.name => (Source::Event, step),
                _ => (Source::Kind, step),
            };
            plans[at] = parts(plan(describe::fields(kind)).into_iter().enumerate().map(source));
        }
        Object { plans, values: Values::default() }
    }
}

impl Object {
    pub(super) fn set_charset(&mut self, charset: Charset) {
        self.values.strings.charset = charset;
    }

    /// Appends the object of an event. `done` changes each part once it is appended, given where it begins.
    pub(super) fn write(
        &mut self,
        line: &mut CachedLine<'_>,
        seen: &EventContext<'_>,
        out: &mut Vec<u8>,
        mut done: impl FnMut(&mut Vec<u8>, usize),
    ) {
        let Object { plans, values } = self;
        let parts = plans.get(usize::from(seen.event.kind() as u16)).map_or(&[][..], Vec::as_slice);
        line.write(parts, out, |steps, out| {
            let from = out.len();
            values.members(steps, seen, out);
            if from < out.len() {
                done(out, from);
            }
        });
        out.push(b'}');
    }
}

fn plan(fields: impl Iterator<Item = &'static Field>) -> Vec<Step> {
    let step = |(i, field): (usize, &'static Field)| {
        let before = if i == 0 { '{' } else { ',' };
        let (key, why) = (format!("{before}\"{}\":", field.name), format!(",\"{}_why\":\"", field.name));
        Step { key, why, field, sub: plan(field.sub.iter()) }
    };
    fields.enumerate().map(step).collect()
}

/// Writes values, with caches.
#[derive(Debug, Default)]
struct Values {
    time: Rfc3339,
    strings: Strings,
}

impl Values {
    fn object(&mut self, steps: &[Step], seen: &EventContext<'_>, out: &mut Vec<u8>) {
        self.members(steps, seen, out);
        out.push(b'}');
    }

    fn members(&mut self, steps: &[Step], seen: &EventContext<'_>, out: &mut Vec<u8>) {
        for step in steps {
            let value = (step.field.get)(seen);
            if matches!(value, Value::Omitted) {
                continue;
            }
            out.extend_from_slice(step.key.as_bytes());
            self.value(step, &value, seen, out);
        }
    }

    fn value(&mut self, step: &Step, value: &Value<'_>, seen: &EventContext<'_>, out: &mut Vec<u8>) {
        let name = step.field.name;
        match *value {
            Value::Omitted | Value::Null => out.extend_from_slice(b"null"),
            Value::Unknown(why) => {
                out.extend_from_slice(b"null");
                because(step, why, out);
            }
            Value::Unread(why) => {
                out.extend_from_slice(b"\"\"");
                because(step, why, out);
            }
            Value::Int(n) => integer(n, out),
            Value::Uint(n) => integer(n, out),
            Value::Bool(b) => out.extend_from_slice(if b { b"true" } else { b"false" }),
            Value::Word(word) => word_in_quotes(word, out),
            Value::Cut(_) => {
                self.text(name, out, |out| value.write(out));
                because(step, Why::Cut, out);
            }
            Value::Args(area) => self.args(name, area, out),
            Value::SomeArgs(area, why) => {
                self.args(name, area, out);
                because(step, why, out);
            }
            Value::Time(ns) => {
                out.push(b'"');
                self.time.write(ns, out);
                out.push(b'"');
            }
            Value::Words(words) => list(words, out, word_in_quotes),
            Value::Stack(stack) => {
                list(stack.calls(), out, |call, out| self.call(&call, out));
                if stack.is_cut() {
                    because(step, Why::Cut, out);
                }
            }
            Value::Object => self.object(&step.sub, seen, out),
            _ => self.text(name, out, |out| value.write(out)),
        }
    }

    /// Appends a call of a stack.
    fn call(&mut self, call: &StackCall<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"addr\":\"0x");
        hex(&call.address.to_be_bytes(), out);
        out.extend_from_slice(b"\",\"symbol\":");
        let Some(symbol) = call.symbol else {
            return out.extend_from_slice(b"null,\"offset\":null,\"size\":null,\"module\":null}");
        };
        self.text("symbol", out, |out| out.extend_from_slice(&symbol.name));
        out.extend_from_slice(b",\"offset\":");
        integer(call.offset(), out);
        out.extend_from_slice(b",\"size\":");
        integer(symbol.size, out);
        out.extend_from_slice(b",\"module\":");
        match symbol.owner.is_empty() {
            true => out.extend_from_slice(b"null"),
            false => self.text("module", out, |out| out.extend_from_slice(&symbol.owner)),
        }
        out.push(b'}');
    }

    /// Appends a text, and its bytes in hex if it is not valid UTF-8.
    fn text(&mut self, name: &str, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        if self.strings.write(out, write) == Utf8::Invalid {
            member(name, "_hex", out);
            out.push(b'"');
            hex(&self.strings.aside, out);
            out.push(b'"');
        }
    }

    fn args(&mut self, name: &str, area: &[u8], out: &mut Vec<u8>) {
        let mut utf8 = Utf8::Valid;
        list(args(area), out, |arg, out| {
            if self.strings.write(out, |out| out.extend_from_slice(arg)) == Utf8::Invalid {
                utf8 = Utf8::Invalid;
            }
        });
        if utf8 == Utf8::Invalid {
            member(name, "_hex", out);
            list(args(area), out, |arg, out| match str::from_utf8(arg) {
                Ok(_) => out.extend_from_slice(b"null"),
                Err(_) => {
                    out.push(b'"');
                    hex(arg, out);
                    out.push(b'"');
                }
            });
        }
    }
}

fn list<T>(elements: impl IntoIterator<Item = T>, out: &mut Vec<u8>, mut write: impl FnMut(T, &mut Vec<u8>)) {
    out.push(b'[');
    for (i, element) in elements.into_iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write(element, out);
    }
    out.push(b']');
}

/// Appends `,"<name><suffix>":`.
fn member(name: &str, suffix: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(suffix.as_bytes());
    out.extend_from_slice(b"\":");
}

/// Appends the reason why the value of a step is unknown.
fn because(step: &Step, why: Why, out: &mut Vec<u8>) {
    out.extend_from_slice(step.why.as_bytes());
    out.extend_from_slice(why.word().as_bytes());
    out.push(b'"');
}

fn word_in_quotes(word: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(word.as_bytes());
    out.push(b'"');
}

#[cfg(test)]
mod tests;
