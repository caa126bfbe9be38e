//! A row of the event list as raw bytes, by column, for drawing, searching and copying.

use crate::event::describe::{self, Value};
use crate::event::{Body, EventContext};
use crate::text::time;

/// A column of the event list.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Column {
    /// The time.
    Time,
    /// The kind.
    Kind,
    /// The process.
    Pid,
    /// Its parent.
    Ppid,
    /// Its real user.
    User,
    /// The thread's name.
    Comm,
    /// The result.
    Result,
    /// The details.
    Detail,
    /// The working directory.
    Cwd,
    /// The cgroup.
    Cgroup,
}

impl Column {
    /// The columns that a search covers, in order.
    pub(crate) const SEARCHED: [Column; 9] = [
        Column::Kind,
        Column::Pid,
        Column::Ppid,
        Column::User,
        Column::Comm,
        Column::Result,
        Column::Detail,
        Column::Cwd,
        Column::Cgroup,
    ];

    /// The title.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Column::Time => "TIME",
            Column::Kind => "KIND",
            Column::Pid => "PID",
            Column::Ppid => "PPID",
            Column::User => "USER",
            Column::Comm => "COMM",
            Column::Result => "RESULT",
            Column::Detail => "DETAIL",
            Column::Cwd => "CWD",
            Column::Cgroup => "CGROUP",
        }
    }

    /// Appends the content. [`Column::Time`] is written by [`time_text`].
    pub(crate) fn write(self, seen: &EventContext<'_>, out: &mut Vec<u8>) {
        let header = &seen.event.header;
        match self {
            Column::Time => {}
            Column::Kind => out.extend_from_slice(seen.event.kind().name().to_ascii_uppercase().as_bytes()),
            Column::Result => seen.result(out),
            Column::Detail => seen.detail(out),
            _ if seen.process.is_none() => {}
            Column::Pid => out.extend_from_slice(header.tgid.0.to_string().as_bytes()),
            Column::Ppid => out.extend_from_slice(header.ppid.0.to_string().as_bytes()),
            Column::User => user(seen, out),
            Column::Comm => out.extend_from_slice(header.comm()),
            Column::Cwd => cwd(seen, out),
            Column::Cgroup => out.extend_from_slice(&field(seen, "cgroup").text().unwrap_or_default()),
        }
    }
}

fn user(seen: &EventContext<'_>, out: &mut Vec<u8>) {
    let uid = seen.event.header.uid;
    match seen.world.user(uid) {
        Some(name) => out.extend_from_slice(name.as_bytes()),
        None => out.extend_from_slice(uid.0.to_string().as_bytes()),
    }
}

/// Appends the working directory: at the event if known, otherwise at the exec of the process.
fn cwd(seen: &EventContext<'_>, out: &mut Vec<u8>) {
    match (&seen.event.body, seen.process) {
        (Body::Exec(exec), _) if exec.cwd.absent().is_none() => exec.cwd.write(out),
        (_, Some(process)) => out.extend_from_slice(&process.image.cwd),
        _ => {}
    }
}

/// The value of an event's field, by the name of the field in filters.
pub(crate) fn field<'a>(seen: &EventContext<'a>, name: &str) -> Value<'a> {
    describe::fields(seen.event.kind()).find(|field| field.name == name).map_or(Value::Null, |field| (field.get)(seen))
}

/// Appends the columns that a search covers, each followed by a space.
pub(crate) fn searched(seen: &EventContext<'_>, out: &mut Vec<u8>) {
    for column in Column::SEARCHED {
        column.write(seen, out);
        out.push(b' ');
    }
}

/// The format of the TIME column.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum TimeMode {
    /// The wall clock.
    #[default]
    Clock,
    /// Since the first event.
    SinceStart,
    /// Since the row above.
    Delta,
}

impl TimeMode {
    /// The next format in the cycle.
    pub fn next(self) -> TimeMode {
        match self {
            TimeMode::Clock => TimeMode::SinceStart,
            TimeMode::SinceStart => TimeMode::Delta,
            TimeMode::Delta => TimeMode::Clock,
        }
    }

    /// The name.
    pub fn name(self) -> &'static str {
        match self {
            TimeMode::Clock => "clock",
            TimeMode::SinceStart => "since the start",
            TimeMode::Delta => "since the row above",
        }
    }
}

/// The reference of the TIME column.
#[derive(Clone, Copy, Debug, Default)]
pub struct TimeBase {
    /// The format.
    pub mode: TimeMode,
    /// Seconds east of UTC.
    pub zone_s: i32,
    /// CLOCK_BOOTTIME of the first event, ns.
    pub start_ns: u64,
    /// CLOCK_BOOTTIME of the row above, ns.
    pub above_ns: Option<u64>,
}

/// The TIME column: `HH:MM:SS.mmm`, or a count of seconds.
pub(crate) fn time_text(boot_ns: u64, clock_offset: i64, base: &TimeBase) -> String {
    let since = |from: u64| i128::from(boot_ns) - i128::from(from);
    match base.mode {
        TimeMode::Clock => {
            let mut out = Vec::new();
            time::clock_millis(i128::from(boot_ns) + i128::from(clock_offset), base.zone_s, &mut out);
            String::from_utf8(out).unwrap_or_default()
        }
        TimeMode::SinceStart => seconds(since(base.start_ns), 3),
        TimeMode::Delta => base.above_ns.map_or_else(String::new, |above| format!("+{}", seconds(since(above), 6))),
    }
}

/// Nanoseconds as seconds, with `digits` digits after the point.
fn seconds(ns: i128, digits: u32) -> String {
    let unit = 10i128.pow(9 - digits);
    let parts = 10i128.pow(digits);
    let count = ns.max(0) / unit;
    format!("{}.{:0width$}", count / parts, count % parts, width = digits as usize)
}

/// Appends a copied row as one line of raw bytes. The time is that of the wall clock.
pub(crate) fn line(seen: &EventContext<'_>, base: &TimeBase, out: &mut Vec<u8>) {
    let clock = TimeBase { mode: TimeMode::Clock, ..*base };
    out.extend_from_slice(time_text(seen.event.header.time.0, seen.clock_offset, &clock).as_bytes());
    for column in [Column::Kind, Column::Pid, Column::Comm, Column::Result, Column::Detail] {
        out.push(b' ');
        column.write(seen, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_count_from_what_the_mode_says() {
        let base = TimeBase { start_ns: 1_000_000_000, above_ns: Some(3_000_000_000), ..TimeBase::default() };
        let text = |mode| time_text(3_001_500_000, 7_000_000_000, &TimeBase { mode, ..base });
        assert_eq!(text(TimeMode::Clock), "00:00:10.001");
        assert_eq!(text(TimeMode::SinceStart), "2.001");
        assert_eq!(text(TimeMode::Delta), "+0.001500");
    }
}
