//! A row of the event list as raw bytes by column, for drawing, searching and copying.

use crate::app::named_enum::named;
pub(crate) use crate::app::views::columns::EventColumn as Column;
use tracetui_events::event::describe::{self, Value};
use tracetui_events::event::parts::{Parts, Role};
use tracetui_events::event::{EventContext, names};
use tracetui_events::text::{shell, time};
use tracetui_shared::id::Uid;
use tracetui_shared::kind::Kind;

impl Column {
    /// The columns that a search covers, in order: all except the time.
    pub(crate) const SEARCHED: &[Column] = Column::ALL.split_at(1).1;

    /// Appends the content. [`Column::Time`] is written by [`time_text`].
    pub(crate) fn write(self, seen: &EventContext<'_>, out: &mut impl Parts) {
        let header = &seen.event.header;
        match self {
            Column::Time => {}
            Column::Kind => {
                out.part(Role::Plain, |out| out.extend(seen.event.kind().title()));
            }
            Column::Result => result(seen, out),
            Column::Detail => seen.show(out),
            _ if seen.process.is_none() => {}
            Column::Pid => out.part(Role::Plain, |out| number(header.tgid.0, out)),
            Column::Ppid => out.part(Role::Plain, |out| number(header.ppid.0, out)),
            Column::User => out.part(Role::Plain, |out| user(header.uid, seen, out)),
            Column::Comm => out.part(Role::Plain, |out| out.extend_from_slice(header.comm())),
            Column::Cwd => out.part(Role::Quiet, |out| cwd(seen, out)),
            Column::Cgroup | Column::Unit | Column::Tty => {
                let value = field(seen, self.name()).text();
                out.part(Role::Quiet, |out| out.extend_from_slice(&value.unwrap_or_default()));
            }
            Column::Container => out.part(Role::Quiet, |out| container(seen, out)),
            Column::Pod => out.part(Role::Quiet, |out| pod(seen, out)),
            Column::LoginUid => out.part(Role::Quiet, |out| login(seen, out)),
        }
    }
}

/// The bytes of a column, with the roles of their parts.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Cell {
    pub(crate) raw: Vec<u8>,
    /// The end of each part in `raw`.
    ends: Vec<(usize, Role)>,
    /// The part that holds the last component of a path.
    pub(crate) name: Option<usize>,
}

impl Cell {
    pub(crate) fn parts(&self) -> impl Iterator<Item = (Role, &[u8])> {
        let starts = std::iter::once(0).chain(self.ends.iter().map(|(end, _)| *end));
        starts.zip(&self.ends).map(|(start, (end, role))| (*role, self.raw.get(start..*end).unwrap_or_default()))
    }
}

impl Parts for Cell {
    fn part(&mut self, role: Role, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.raw);
        self.ends.push((self.raw.len(), role));
    }

    fn path(&mut self, last: Role, write: impl FnOnce(&mut Vec<u8>)) {
        let start = self.raw.len();
        write(&mut self.raw);
        let path = self.raw.get(start..).unwrap_or_default();
        let name = path.strip_suffix(b"/").unwrap_or(path);
        if let Some(slash) = name.iter().rposition(|byte| *byte == b'/') {
            self.ends.push((start + slash + 1, Role::Directory));
        }
        self.name = Some(self.ends.len());
        self.ends.push((self.raw.len(), last));
    }
}

fn number(number: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Whether an event failed, and how.
pub(crate) fn severity(seen: &EventContext<'_>) -> Role {
    if !seen.event.failed() {
        return Role::Plain;
    }
    let mut name = Vec::new();
    seen.result(&mut name);
    if names::is_expected(&name) { Role::Expected } else { Role::Failure }
}

fn result(seen: &EventContext<'_>, out: &mut impl Parts) {
    let role = match severity(seen) {
        _ if seen.event.is_alarm() => Role::Failure,
        // These are on every call of the kind: `fd 3`, `exit 0`.
        Role::Plain if !seen.event.body.before_result().is_empty() => Role::Quiet,
        role => role,
    };
    out.part(role, |out| {
        out.extend_from_slice(seen.event.body.before_result().as_bytes());
        seen.result(out);
    });
}

fn user(uid: Uid, seen: &EventContext<'_>, out: &mut Vec<u8>) {
    match seen.user(uid) {
        Some(name) => out.extend_from_slice(name.as_bytes()),
        None => number(uid.0, out),
    }
}

/// Appends the working directory: the event's if known, otherwise the one at the process's exec.
fn cwd(seen: &EventContext<'_>, out: &mut Vec<u8>) {
    match (seen.event.body.cwd().filter(|cwd| cwd.is_known()), seen.process) {
        (Some(cwd), _) => cwd.write(out),
        (None, Some(process)) => out.extend_from_slice(&process.image.cwd),
        (None, None) => {}
    }
}

/// Appends the name of the container, or the id if the name is not known.
pub(crate) fn container(seen: &EventContext<'_>, out: &mut Vec<u8>) {
    if let (Value::Object, Some(found)) = (field(seen, "container"), seen.world.container(seen.event.header.cgroup)) {
        out.extend_from_slice(if found.name.is_empty() { &found.id } else { &found.name });
    }
}

/// Appends the name of the user who logged in.
fn login(seen: &EventContext<'_>, out: &mut Vec<u8>) {
    if let Value::Uint(uid) = field(seen, "login_uid") {
        user(Uid(uid as u32), seen, out);
    }
}

/// Appends `NAMESPACE/NAME` of the pod, or its uid.
fn pod(seen: &EventContext<'_>, out: &mut Vec<u8>) {
    if let (Value::Object, Some(found)) = (field(seen, "pod"), seen.world.container(seen.event.header.cgroup)) {
        match found.pod_name.is_empty() {
            true => out.extend_from_slice(&found.pod_uid),
            false => out.extend_from_slice(&[&found.pod_namespace, b"/".as_slice(), &found.pod_name].concat()),
        }
    }
}

/// The value of an event's field, by the field's name in filters.
pub(crate) fn field<'a>(seen: &EventContext<'a>, name: &str) -> Value<'a> {
    describe::fields(seen.event.kind()).find(|field| field.name == name).map_or(Value::Null, |field| (field.get)(seen))
}

/// Appends the columns that a search covers, each followed by a space, and the arguments that DETAIL omits.
pub(crate) fn searched(seen: &EventContext<'_>, out: &mut Vec<u8>) {
    for column in Column::SEARCHED {
        column.write(seen, out);
        out.push(b' ');
    }
    if let Some(process) = seen.process.filter(|_| matches!(seen.event.kind(), Kind::Exec | Kind::Exit)) {
        shell::words(&process.image.argv, out);
    }
}

named! {
    #[derive(Default)]
    enum TimeMode name {
        #[default]
        Clock "clock",
        /// Since the first event.
        SinceStart "since the start",
        Delta "since the row above",
    }
}

/// The reference of the TIME column.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TimeBase {
    pub mode: TimeMode,
    pub zone: time::Zone,
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
            time::clock_millis(i128::from(boot_ns) + i128::from(clock_offset), base.zone, &mut out);
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

/// Appends a copied row as one line of raw bytes. The time is wall-clock time.
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
    fn every_column_is_a_field_of_filters_and_times_count_by_mode() {
        for column in Column::SEARCHED.iter().chain([&Column::Time]) {
            assert!(tracetui_events::filter::fields::field_named(column.title()).is_some(), "{}", column.title());
        }
        let base = TimeBase { start_ns: 1_000_000_000, above_ns: Some(3_000_000_000), ..TimeBase::default() };
        let text = |mode| time_text(3_001_500_000, 7_000_000_000, &TimeBase { mode, ..base });
        assert_eq!(text(TimeMode::Clock), "00:00:10.001");
        assert_eq!(text(TimeMode::SinceStart), "2.001");
        assert_eq!(text(TimeMode::Delta), "+0.001500");
    }
}
