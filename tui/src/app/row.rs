//! A row of the event list as raw bytes, by column, for drawing, searching and copying.

use crate::event::bpf::{Bpf, Place};
use crate::event::describe::{self, Value};
use crate::event::exec::Exec;
use crate::event::exit::{Ended, Exit};
use crate::event::open::Open;
use crate::event::{Body, EventContext, Payload, names};
use crate::text::time;
use tracetui_shared::kind::Kind;

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
    /// The columns that a search covers, in order: all but the time.
    pub(crate) const SEARCHED: &[Column] = Column::ALL.split_at(1).1;

    /// All columns.
    pub(crate) const ALL: [Column; 10] = [
        Column::Time,
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

    /// The name in the configuration file.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Column::Time => "time",
            Column::Kind => "kind",
            Column::Pid => "pid",
            Column::Ppid => "ppid",
            Column::User => "user",
            Column::Comm => "comm",
            Column::Result => "result",
            Column::Detail => "detail",
            Column::Cwd => "cwd",
            Column::Cgroup => "cgroup",
        }
    }

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
    pub(crate) fn write(self, seen: &EventContext<'_>, out: &mut impl Parts) {
        let header = &seen.event.header;
        match self {
            Column::Time => {}
            Column::Kind => {
                out.part(Role::Plain, |out| {
                    out.extend(seen.event.kind().name().bytes().map(|byte| byte.to_ascii_uppercase()));
                });
            }
            Column::Result => result(seen, out),
            Column::Detail => detail(seen, out),
            _ if seen.process.is_none() => {}
            Column::Pid => out.part(Role::Plain, |out| number(header.tgid.0, out)),
            Column::Ppid => out.part(Role::Plain, |out| number(header.ppid.0, out)),
            Column::User => out.part(Role::Plain, |out| user(seen, out)),
            Column::Comm => out.part(Role::Plain, |out| out.extend_from_slice(header.comm())),
            Column::Cwd => out.part(Role::Quiet, |out| cwd(seen, out)),
            Column::Cgroup => {
                out.part(Role::Quiet, |out| out.extend_from_slice(&field(seen, "cgroup").text().unwrap_or_default()));
            }
        }
    }
}

/// What a part of a column is, which determines its weight and colour.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Role {
    /// The directories of a path. They are what is cut first.
    Directory,
    /// What is expected.
    Quiet,
    /// The rest.
    Plain,
    /// What the row is about.
    Strong,
    /// A remark.
    Note,
    /// A failure that is part of ordinary work.
    Expected,
    /// Another failure.
    Failure,
}

/// The content of a column: raw bytes in parts that have roles.
pub(crate) trait Parts {
    /// Appends a part.
    fn part(&mut self, role: Role, write: impl FnOnce(&mut Vec<u8>));

    /// Appends a path. The role is that of its last component.
    fn path(&mut self, last: Role, write: impl FnOnce(&mut Vec<u8>));
}

/// Without the roles.
impl Parts for Vec<u8> {
    fn part(&mut self, _: Role, write: impl FnOnce(&mut Vec<u8>)) {
        write(self);
    }

    fn path(&mut self, _: Role, write: impl FnOnce(&mut Vec<u8>)) {
        write(self);
    }
}

/// A column with the roles of its parts.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Cell {
    raw: Vec<u8>,
    /// The ends of the parts in `raw`.
    ends: Vec<(usize, Role)>,
    /// The part that is the last component of a path.
    name: Option<usize>,
}

impl Cell {
    /// All of it.
    pub(crate) fn raw(&self) -> &[u8] {
        &self.raw
    }

    /// The place among the parts of the last component of a path.
    pub(crate) fn name(&self) -> Option<usize> {
        self.name
    }

    /// The parts.
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

/// Appends a text.
fn text(text: &str) -> impl FnOnce(&mut Vec<u8>) {
    move |out| out.extend_from_slice(text.as_bytes())
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
    let role = match (severity(seen), seen.event.kind()) {
        (Role::Plain, Kind::Open | Kind::Exit) => Role::Quiet,
        _ if seen.event.is_alarm() => Role::Failure,
        (role, _) => role,
    };
    out.part(role, |out| {
        let word = match &seen.event.body {
            Body::Open(open) if !seen.event.failed() && open.record.ret >= 0 => "fd ",
            Body::Exit(exit) if matches!(exit.ended(), Ended::Code(_)) => "exit ",
            _ => "",
        };
        out.extend_from_slice(word.as_bytes());
        seen.result(out);
    });
}

fn detail(seen: &EventContext<'_>, out: &mut impl Parts) {
    match &seen.event.body {
        Body::Exec(exec) => exec_detail(exec, out),
        Body::Open(open) => open_detail(open, out),
        Body::Exit(exit) => exit_detail(exit, seen, out),
        Body::Bpf(bpf) => bpf_detail(bpf, bpf.cgroup_path(seen.world), out),
        Body::Fork(_) | Body::Lost(_) => out.part(Role::Quiet, |out| seen.detail(out)),
    }
}

/// The path that was executed, and the arguments after the first one.
fn exec_detail(exec: &Exec<'_>, out: &mut impl Parts) {
    let mut arguments = exec.argv.splitn(2, |byte| *byte == 0);
    let (first, rest) = (arguments.next().unwrap_or_default(), arguments.next().unwrap_or_default());
    let base = |path: &[u8]| path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    match exec.filename {
        b"" => out.part(Role::Strong, |out| out.extend_from_slice(first)),
        path => {
            out.path(Role::Strong, |out| out.extend_from_slice(path));
            if !exec.argv.is_empty() && first.get(base(first)..) != path.get(base(path)..) {
                out.part(Role::Quiet, |out| out.extend_from_slice(&[b" (", first, b")"].concat()));
            }
        }
    }
    if !rest.is_empty() {
        out.part(Role::Plain, |out| {
            out.push(b' ');
            out.extend_from_slice(&Value::Args(rest).text().unwrap_or_default());
        });
    }
    if exec.cut() {
        out.part(Role::Note, text(" ..."));
    }
}

fn open_detail(open: &Open<'_>, out: &mut impl Parts) {
    let access = names::access_letters(open.flags());
    out.part(if access == "r" { Role::Quiet } else { Role::Plain }, |out| {
        out.extend_from_slice(access.as_bytes());
        out.extend_from_slice(if access.len() == 1 { b"  " } else { b" " });
    });
    out.path(Role::Plain, |out| open.file().write(out));
    if let Some(remark) = open.remark() {
        out.part(Role::Note, text(remark));
    }
}

/// How long the process ran, and its command.
fn exit_detail(exit: &Exit, seen: &EventContext<'_>, out: &mut impl Parts) {
    let failed = seen.event.failed();
    out.part(if failed { Role::Failure } else { Role::Quiet }, |out| {
        time::short_duration(seen.ran_ns(), out);
        if exit.core() {
            out.extend_from_slice(b", core dumped");
        }
    });
    let Some(process) = seen.process else { return };
    let argv = &process.image.argv;
    if argv.is_empty() && process.image.exe.is_empty() {
        return;
    }
    out.part(if failed { Role::Plain } else { Role::Quiet }, |out| {
        out.extend_from_slice(b"  ");
        match argv.is_empty() {
            true => out.extend_from_slice(&process.image.exe),
            false => out.extend_from_slice(&Value::Args(argv).text().unwrap_or_default()),
        }
    });
}

fn bpf_detail(bpf: &Bpf<'_>, cgroup: Option<&[u8]>, out: &mut impl Parts) {
    bpf.write_place(cgroup, |part, bytes| {
        let role = match part {
            Place::Op => Role::Plain,
            Place::Via => Role::Note,
            Place::Target => Role::Strong,
        };
        out.part(role, |out| out.extend_from_slice(bytes));
    });
    out.part(Role::Quiet, |out| bpf.write_program(out));
}

fn user(seen: &EventContext<'_>, out: &mut Vec<u8>) {
    let uid = seen.event.header.uid;
    match seen.world.user(uid) {
        Some(name) => out.extend_from_slice(name.as_bytes()),
        None => number(uid.0, out),
    }
}

/// Appends the working directory: at the event if known, otherwise at the exec of the process.
fn cwd(seen: &EventContext<'_>, out: &mut Vec<u8>) {
    match (&seen.event.body, seen.process) {
        (Body::Exec(exec), _) if exec.cwd.is_known() => exec.cwd.write(out),
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
