//! Events as aligned columns, one line per event, with the columns of the dashboard: time, kind, pid, comm, result,
//! detail.
//!
//! Lines are never truncated, and each line is one event: names are escaped (see [`escape`](crate::text::escape())).
//! The time is in the zone set by the caller.

use super::memo::{Memo, Source};
use super::{Format, Style};
use crate::event::lost::Lost;
use crate::event::{self, Body, EventContext, names};
use crate::limits;
use crate::text::paint::{Look, Paint};
use crate::text::time::LocalClock;
use crate::text::{Charset, escape, integer, width};
use crate::why::{Answer, Cause};

/// The widths of the padded columns, in cells.
mod cells {
    pub(super) const KIND: usize = tracetui_shared::kind::Kind::TITLE_LEN;
    pub(super) const PID: usize = 7;
    pub(super) const COMM: usize = 15;
    pub(super) const RESULT: usize = 7;
    /// A row about lost events is filled with dashes to this width.
    pub(super) const LOST: usize = 80;
}

#[derive(Default)]
pub struct Text {
    row: Row,
    memo: Memo,
}

/// Appends a part of a row.
type RowPart = fn(&mut Row, &EventContext<'_>, &mut Vec<u8>);

/// Writes rows.
#[derive(Debug, Default)]
struct Row {
    clock: LocalClock,
    charset: Charset,
    paint: Paint,
    raw: Vec<u8>,
    /// The result of the event, not escaped.
    result: Vec<u8>,
}

impl Row {
    fn escaped(&mut self, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        self.raw.clear();
        write(&mut self.raw);
        escape(&self.raw, self.charset.reversible(), out);
        self.raw.clear();
        self.raw.shrink_to(limits::SCRATCH);
    }

    fn start(&mut self, seen: &EventContext<'_>, out: &mut Vec<u8>) {
        let kind = seen.event.kind();
        let alarm = |look| if seen.event.body.is_alarm() { Look::Bad } else { look };
        self.paint.put(alarm(Look::Quiet), out, |out| self.clock.write(seen.unix_nanos(), out));
        out.push(b' ');
        let name = |out: &mut Vec<u8>| out.extend(kind.title());
        column(cells::KIND, (self.paint, alarm(event::look(kind))), out, name);
    }

    fn process(&mut self, seen: &EventContext<'_>, out: &mut Vec<u8>) {
        match seen.process {
            Some(_) => pid(seen.event.header.tgid.0, out),
            // The event has no process, or its process is unknown.
            None => out.resize(out.len() + cells::PID + 1, b' '),
        }
        let look = match event::look(seen.event.kind()) {
            _ if seen.event.body.is_alarm() => Look::Bad,
            Look::Quiet => Look::Quiet,
            _ => Look::Plain,
        };
        let mode = self.charset.reversible();
        column(cells::COMM, (self.paint, look), out, |out| escape(seen.event.header.comm(), mode, out));
    }

    fn outcome(&mut self, seen: &EventContext<'_>, out: &mut Vec<u8>) {
        self.result.clear();
        seen.result(&mut self.result);
        let (paint, mode) = (self.paint, self.charset.reversible());
        let look = result_look(seen, &self.result);
        column(cells::RESULT, (paint, look), out, |out| escape(&self.result, mode, out));
        let detail = out.len();
        match seen.event.body.is_alarm() {
            true => paint.put(Look::Bad, out, |out| self.escaped(out, |raw| seen.detail(raw))),
            false => self.escaped(out, |raw| seen.detail(raw)),
        }
        if out.len() == detail {
            let end = out.iter().rposition(|b| *b != b' ').map_or(0, |last| last + 1);
            out.truncate(end);
        }
    }

    fn lost(&self, seen: &EventContext<'_>, lost: &Lost, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(b"-------- ");
        lost.sentence(out);
        out.extend_from_slice(b", ");
        if lost.record.from_ns != 0 {
            self.clock.write(unix(lost.record.from_ns, seen), out);
            out.push(b' ');
        }
        out.extend_from_slice(b".. ");
        self.clock.write(unix(lost.record.to_ns, seen), out);
        out.push(b' ');
        let end = (start + cells::LOST).max(out.len() + 6);
        out.resize(end, b'-');
    }
}

impl Format for Text {
    fn line(&mut self, seen: &EventContext<'_>, out: &mut Vec<u8>) {
        let Text { row, memo } = self;
        // The look of a comm depends on the kind.
        let process = if row.paint == Paint::On { Source::Event } else { Source::Thread };
        let parts: [(_, RowPart); 3] =
            [(Source::Event, Row::start), (process, Row::process), (Source::Kind, Row::outcome)];
        match &seen.event.body {
            Body::Lost(lost) => row.paint.put(Look::Bad, out, |out| row.lost(seen, lost, out)),
            _ => memo.line(seen).write(&parts, out, |part, out| part(row, seen, out)),
        }
        out.push(b'\n');
    }

    fn reason(&mut self, why: Option<&Answer>, out: &mut Vec<u8>) {
        let Some(answer) = why else { return };
        let label = if answer.cause == Cause::Unknown { "why unknown:" } else { "why:" };
        out.pop_if(|last| *last == b'\n');
        out.extend_from_slice(b"  ");
        self.row.paint.put(Look::Note, out, |out| out.extend_from_slice(label.as_bytes()));
        out.push(b' ');
        escape(&answer.text, self.row.charset.reversible(), out);
        out.push(b'\n');
    }

    fn set_style(&mut self, Style { zone, charset, paint }: Style) {
        self.row = Row { clock: LocalClock::new(zone), charset, paint, ..Row::default() };
        self.memo = Memo::default();
    }
}

fn unix(boot_ns: u64, seen: &EventContext<'_>) -> i128 {
    i128::from(boot_ns) + i128::from(seen.clock_offset)
}

/// The look of a result, as in the dashboard.
fn result_look(seen: &EventContext<'_>, result: &[u8]) -> Look {
    match (seen.event.failed(), event::look(seen.event.kind())) {
        _ if seen.event.body.is_alarm() => Look::Bad,
        (true, _) if names::is_expected(result) => Look::Notice,
        (true, _) => Look::Bad,
        (false, Look::Quiet | Look::Exit) => Look::Quiet,
        (false, _) => Look::Plain,
    }
}

/// Appends a column with a look, padded to `cells`, and a space.
fn column(cells: usize, (paint, look): (Paint, Look), out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let mut taken = 0;
    paint.put(look, out, |out| {
        let start = out.len();
        write(out);
        taken = out.get(start..).and_then(|text| str::from_utf8(text).ok()).map_or(0, width);
    });
    out.resize(out.len() + cells.saturating_sub(taken) + 1, b' ');
}

/// Appends a process id, right-aligned in its column.
fn pid(pid: u32, out: &mut Vec<u8>) {
    let digits = pid.checked_ilog10().map_or(1, |log| log as usize + 1);
    out.resize(out.len() + cells::PID.saturating_sub(digits), b' ');
    integer(pid, out);
    out.push(b' ');
}

#[cfg(test)]
mod tests;
