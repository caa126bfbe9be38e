//! `exit`: a process ended.

use super::describe::{Field, STACK, Shape, Value};
use super::parts::{Parts, Role};
use super::redact::Redact;
use super::{EventContext, Payload, Sections, exit, names};
use crate::text::paint::Look;
use crate::text::time;
use tracetui_shared::record::exit::ExitRecord;
use zerocopy::IntoBytes;

#[derive(Clone, Copy, Debug)]
pub struct Exit {
    pub record: ExitRecord,
}

/// How a process ended, as reported by wait(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By exit(2) with this code.
    Code(u8),
    Signal(u32),
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Ended::Code(code) => write!(f, "{code}"),
            Ended::Signal(signal) => match names::signal(*signal) {
                Some(name) => f.write_str(name),
                None => write!(f, "signal {signal}"),
            },
        }
    }
}

impl Payload<'_> for Exit {
    fn decode(payload: &[u8]) -> Option<Exit> {
        Sections::fixed::<ExitRecord>(payload).map(|(record, _)| Exit { record })
    }

    fn unwritten() -> Vec<Vec<u8>> {
        vec![ExitRecord::default().as_bytes().to_vec()]
    }

    fn redact(_: &[u8], _: &mut Redact) -> Option<Vec<u8>> {
        None
    }

    const LOOK: Look = Look::Exit;

    fn failed(&self) -> bool {
        self.record.status != 0
    }

    fn is_routine(&self) -> bool {
        true
    }

    fn result(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.ended().to_string().as_bytes());
    }

    fn before_result(&self) -> &'static str {
        if matches!(self.ended(), Ended::Code(_)) { "exit " } else { "" }
    }

    fn detail(&self, seen: &EventContext<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"ran ");
        self.duration(seen, out);
    }

    /// How long the process ran, and its command.
    fn show(&self, seen: &EventContext<'_>, out: &mut impl Parts) {
        let failed = self.failed();
        out.part(if failed { Role::Failure } else { Role::Quiet }, |out| self.duration(seen, out));
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
}

impl Exit {
    /// How the process ended: WIFEXITED, WEXITSTATUS, WTERMSIG.
    pub fn ended(&self) -> Ended {
        match self.record.status & 0x7f {
            0 => Ended::Code((self.record.status >> 8) as u8),
            signal => Ended::Signal(signal),
        }
    }

    fn duration(&self, seen: &EventContext<'_>, out: &mut Vec<u8>) {
        time::short_duration(seen.ran_ns(), out);
        if self.core() {
            out.extend_from_slice(b", core dumped");
        }
    }

    /// Whether a core was dumped: WCOREDUMP.
    pub fn core(&self) -> bool {
        self.record.status & 0x80 != 0
    }
}

pub(crate) const FIELDS: &[Field] = &[
    Field::new(
        "exit_code",
        Shape::Number,
        "The exit code as wait(2) reports it; null if the process was killed by a signal.",
        |s| {
            exit(s, |e| match e.ended() {
                Ended::Code(code) => Value::Uint(code.into()),
                Ended::Signal(_) => Value::Null,
            })
        },
    ),
    Field::new("signal", Shape::Text, "The signal that killed the process; null if it exited.", |s| {
        exit(s, |e| match e.ended() {
            Ended::Code(_) => Value::Null,
            Ended::Signal(signal) => Value::Word(names::signal(signal).unwrap_or("SIGUNKNOWN")),
        })
    }),
    Field::new("core", Shape::Bool, "Whether the process dumped core: WCOREDUMP.", |s| {
        exit(s, |e| Value::Bool(e.core()))
    }),
    Field::new(
        "dur_ns",
        Shape::Duration,
        "The lifetime of the process, in nanoseconds: ns − start_ns. For COMMAND, counted from its first exec: until then tracetui holds it.",
        |s| exit(s, |_| Value::Uint(s.ran_ns())),
    ),
    STACK,
];
