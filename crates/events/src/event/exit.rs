//! `exit`: a process ended.

use super::describe::{Field, STACK, Value, Why, euid_value, field_table, props};
use super::parts::{Parts, Role};
use super::redact::Redact;
use super::session::{LOGIN_UID, SESSION, TTY};
use super::{Compared, EventContext, Payload, Sections, exit, names, session};
use crate::limits;
use crate::text::command::{LONG, named};
use crate::text::paint::Look;
use crate::text::{self, shell, time};
use tracetui_shared::header::until_nul;
use tracetui_shared::record::exit::{Cost, ExitRecord, Sent, fact};
use tracetui_shared::record::session::Session;
use zerocopy::{FromBytes, IntoBytes};

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
        Sections::fixed::<ExitRecord>(payload).map(|(record, _)| Exit {
            record: ExitRecord { session: session::with_terminal_name(record.session), ..record },
        })
    }

    fn unwritten() -> Vec<Vec<u8>> {
        vec![ExitRecord::default().as_bytes().to_vec()]
    }

    fn redact(payload: &[u8], with: &mut Redact) -> Option<Vec<u8>> {
        let (mut record, rest) = ExitRecord::read_from_prefix(payload).ok()?;
        with.fit(&mut record.sent.comm);
        Some([record.as_bytes(), rest].concat())
    }

    const LOOK: Look = Look::Exit;
    const COMPARED: Compared = Compared::ByRule;
    const NOUN: &'static str = "exit";

    fn failed(&self) -> bool {
        self.record.status != 0
    }

    fn is_routine(&self) -> bool {
        true
    }

    fn result(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.ended().to_string().as_bytes());
    }

    fn session(&self) -> Option<&Session> {
        Some(&self.record.session)
    }

    fn before_result(&self) -> &'static str {
        if matches!(self.ended(), Ended::Code(_)) { "exit " } else { "" }
    }

    fn detail(&self, seen: &EventContext<'_>, out: &mut Vec<u8>) {
        if self.by(out) {
            out.extend_from_slice(b", ");
        }
        out.extend_from_slice(b"ran ");
        self.duration(seen, out);
        self.much(out);
        self.by_other(seen, out);
    }

    fn command<'s>(&self, seen: &EventContext<'s>) -> &'s [u8] {
        seen.process.map_or(&[], |process| &process.image.argv)
    }

    /// The command, what ended it, and how long it ran.
    fn show(&self, seen: &EventContext<'_>, out: &mut impl Parts) {
        let argv = self.command(seen);
        if let Some(exe) =
            seen.process.map(|process| &process.image.exe).filter(|exe| !argv.is_empty() || !exe.is_empty())
        {
            // The cause is after it.
            let most = if self.failed() { LONG } else { usize::MAX };
            out.command(&named(&shell::args(argv).collect::<Vec<_>>(), exe), most);
            out.part(Role::Plain, |out| out.extend_from_slice(b"  "));
        }
        let mut by = Vec::new();
        if self.by(&mut by) {
            by.extend_from_slice(b"  ");
            out.part(Role::Failure, |out| out.extend_from_slice(&by));
        }
        out.part(Role::Quiet, |out| {
            self.duration(seen, out);
            self.much(out);
            self.by_other(seen, out);
        });
    }
}

/// The cause of a signal that killed a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A process sent it.
    Kill(Sent),
    Oom,
    /// The processor caused it, with the address if it has one.
    Fault(Option<u64>),
    Seccomp,
    Limit,
    /// The kernel sent it for another reason: a timer, a terminal, a broken pipe.
    Other,
}

impl Cause {
    fn word(self) -> &'static str {
        match self {
            Cause::Kill(_) => "kill",
            Cause::Oom => "oom",
            Cause::Fault(_) => "fault",
            Cause::Seccomp => "seccomp",
            Cause::Limit => "limit",
            Cause::Other => "other",
        }
    }
}

impl Exit {
    /// An exit of which only the status is known.
    pub fn of_status(status: u32) -> Exit {
        Exit { record: ExitRecord { status, ..ExitRecord::default() } }
    }

    /// The cause of the signal that killed the process; `None` if unknown or if no signal did.
    pub fn cause(&self) -> Option<Cause> {
        use fact::*;
        let Ended::Signal(signal) = self.ended() else { return None };
        let (facts, sent) = (self.record.facts, self.record.sent);
        let has = |fact: u32| facts & fact != 0;
        let is = |name: &str| names::signal(signal) == Some(name);
        if !has(SENT) {
            // A forbidden call ends the process without a signal in strict mode, and up to 5.15 in filter mode.
            let strict = matches!(self.record.seccomp, STRICT | DEAD);
            let forbidden = is("SIGSYS") && self.record.seccomp != 0 || is("SIGKILL") && strict;
            let oom = is("SIGKILL") && has(OOM);
            return forbidden.then_some(Cause::Seccomp).or(oom.then_some(Cause::Oom));
        }
        Some(match sent.code {
            // A file made it (fcntl(2), O_ASYNC): the current process may have used the file, or been interrupted.
            _ if has(PRIVILEGED) && is("SIGIO") => return None,
            _ if has(PRIVILEGED) => match () {
                () if is("SIGKILL") && has(OOM) => Cause::Oom,
                // The init of a pid namespace ends its processes; a tracer, its tracees; a session leader, its session.
                () if (is("SIGKILL") || is("SIGHUP")) && has(ENDING) && !has(SELF) => Cause::Kill(sent),
                () if is("SIGXCPU") || is("SIGKILL") && has(SELF) && has(CPU_LIMIT) => Cause::Limit,
                () => Cause::Other,
            },
            _ if has(UNNAMED) && has(SELF) => match () {
                () if is("SIGXFSZ") => Cause::Limit,
                () => Cause::Other,
            },
            // Any process can queue a signal with these codes.
            SI_SIGIO..=SI_TIMER => return None,
            // Only its delivery was seen.
            ..=0 if sent.tgid.0 == 0 => return None,
            ..=0 => Cause::Kill(sent),
            SYS_SECCOMP if is("SIGSYS") => match has(FILTER) || self.record.seccomp != 0 {
                true => Cause::Seccomp,
                // A process can queue itself any signal.
                false => return None,
            },
            code if ["SIGSEGV", "SIGBUS", "SIGILL", "SIGFPE", "SIGTRAP"].into_iter().any(is) => {
                Cause::Fault((code != SI_KERNEL).then_some(sent.address))
            }
            _ if is("SIGKILL") && has(OOM) => Cause::Oom,
            // A file made it (F_SETSIG), or the process queued it itself.
            _ => return None,
        })
    }

    /// Writes what sent the signal. Returns whether it wrote anything. Raw bytes, not escaped.
    pub fn by(&self, out: &mut Vec<u8>) -> bool {
        let Some(cause) = self.cause() else { return false };
        let text = match cause {
            Cause::Kill(_) if self.record.facts & fact::SELF != 0 => "by itself".to_owned(),
            Cause::Kill(sent) => {
                out.extend_from_slice(b"by ");
                out.extend_from_slice(until_nul(&sent.comm));
                format!("[{}]", sent.tgid.0)
            }
            Cause::Oom => "by the OOM killer".to_owned(),
            Cause::Fault(Some(address)) => format!("at {address:#x}"),
            Cause::Fault(None) => "by a fault".to_owned(),
            Cause::Seccomp => "by seccomp".to_owned(),
            Cause::Limit => "by a limit".to_owned(),
            Cause::Other => "by the kernel".to_owned(),
        };
        out.extend_from_slice(text.as_bytes());
        true
    }

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

    /// What the process used; `None` if unknown.
    pub fn cost(&self) -> Option<&Cost> {
        (self.record.facts & fact::COST != 0).then_some(&self.record.cost)
    }

    /// CPU time in user mode and in the kernel, in nanoseconds: the exact time, divided like the ticks, as the kernel does
    /// for wait4(2) ([`cputime_adjust`](https://elixir.bootlin.com/linux/v6.12/source/kernel/sched/cputime.c)).
    pub fn cpu(&self) -> Option<(u64, u64)> {
        self.cost().map(|cost| {
            let (user, system, all) = (cost.user_ticks, cost.system_ticks, cost.runtime);
            let ticks = u128::from(user) + u128::from(system);
            let system = (u128::from(system) * u128::from(all)).checked_div(ticks).unwrap_or_default() as u64;
            (all - system.min(all), system.min(all))
        })
    }

    /// Writes the CPU time and the memory if they are large.
    fn much(&self, out: &mut Vec<u8>) {
        let Some(cost) = self.cost() else { return };
        if cost.runtime >= MUCH_CPU {
            out.extend_from_slice(b", cpu ");
            time::short_duration(cost.runtime, out);
        }
        if cost.max_rss >= MUCH_MEMORY {
            out.extend_from_slice(b", ");
            out.extend_from_slice(text::size(cost.max_rss).as_bytes());
        }
    }

    /// Writes the effective user if it is not the real one.
    fn by_other(&self, seen: &EventContext<'_>, out: &mut Vec<u8>) {
        if let Some(euid) = self.euid().filter(|euid| *euid != seen.event.header.uid.0) {
            out.extend_from_slice(format!(", euid {euid}").as_bytes());
        }
    }

    /// The effective user id. `None` if it was not collected.
    fn euid(&self) -> Option<u32> {
        (self.record.facts & fact::EUID != 0).then_some(self.record.euid)
    }

    /// Whether a core was dumped: WCOREDUMP.
    pub fn core(&self) -> bool {
        self.record.status & 0x80 != 0
    }
}

/// `SI_KERNEL`, `SI_TIMER`, `SI_SIGIO` and `SYS_SECCOMP`, of `si_code` (include/uapi/asm-generic/siginfo.h).
const SI_KERNEL: i32 = 0x80;
const SI_TIMER: i32 = -2;
const SI_SIGIO: i32 = -5;
const SYS_SECCOMP: i32 = 1;
/// `SECCOMP_MODE_STRICT` (include/uapi/linux/seccomp.h) and `SECCOMP_MODE_DEAD` (kernel/seccomp.c).
const STRICT: u32 = 1;
const DEAD: u32 = 3;

/// CPU time that rows show: 0.1 s.
pub const MUCH_CPU: u64 = 100_000_000;
/// Memory that rows show: 100 MiB.
const MUCH_MEMORY: u64 = 100 << 20;

/// A cost. Recordings of earlier versions have none.
fn of_cost<'a>(seen: &EventContext<'a>, get: impl FnOnce(&Exit, &Cost) -> Value<'a>) -> Value<'a> {
    exit(seen, |e| e.cost().map_or(Value::Unknown(Why::NotCollected), |cost| get(e, cost)))
}

/// Bytes of storage, if the kernel counts them.
fn of_storage<'a>(seen: &EventContext<'a>, get: impl FnOnce(&Cost) -> u64) -> Value<'a> {
    of_cost(seen, |e, cost| match e.record.facts & fact::IO {
        0 => Value::Unknown(Why::NoField),
        _ => Value::Uint(get(cost)),
    })
}

/// A field of the sender; null if no process sent the signal.
fn of_sender<'a>(seen: &EventContext<'a>, get: impl FnOnce(&'a Sent) -> Value<'a>) -> Value<'a> {
    exit(seen, |e| match e.cause() {
        Some(Cause::Kill(_)) => get(&e.record.sent),
        _ => Value::Null,
    })
}

const KILLER: &[Field] = field_table! {
    pid Number "Process id of the sender; null unless cause is kill."
        |s| of_sender(s, |sent| Value::Uint(sent.tgid.0.into()));
    comm Text "Name of the sender: task_struct.group_leader->comm."
        |s| of_sender(s, |sent| Value::Bytes(until_nul(&sent.comm))), with(props::BYTES);
    uid User "Real user id of the sender." |s| of_sender(s, |sent| Value::Uint(sent.uid.0.into()));
    cause Text "kill (a process, perhaps itself) oom (the OOM killer) fault (the processor; a process can fake it for itself) seccomp limit (of CPU time or file size) other (the kernel: an alarm, a terminal, a broken pipe)."
        |s| exit(s, |e| e.cause().map_or(Value::Null, |cause| Value::Word(cause.word())));
};

pub(crate) const FIELDS: &[Field] = field_table! {
    exit_code Number "Exit code, as in wait(2); null if a signal killed the process."
        |s| exit(s, |e| match e.ended() {
            Ended::Code(code) => Value::Uint(code.into()),
            Ended::Signal(_) => Value::Null,
        });
    signal Text "Signal that killed the process; null if it exited." |s| exit(s, |e| match e.ended() {
        Ended::Code(_) => Value::Null,
        Ended::Signal(signal) => Value::Word(names::signal(signal).unwrap_or("SIGUNKNOWN")),
    });
    killed_by Object "What sent the signal: signal_generate; null if the process exited. Unknown if the signal is older than the trace, was changed by a tracer, was one of several pending, came from a file (O_ASYNC), or has a code that any process can queue (sigqueue(3))."
        |s| exit(s, |e| match (e.ended(), e.cause()) {
            (Ended::Code(_), _) => Value::Null,
            (_, None) => Value::Unknown(Why::NotCollected),
            (_, Some(_)) => Value::Object,
        }), made_of(KILLER), with(props::LACKS | props::LATER);
    core Bool "Whether the process dumped core: WCOREDUMP." |s| exit(s, |e| Value::Bool(e.core()));
    dur_ns Duration "Lifetime in nanoseconds: ns − start_ns; of COMMAND, from its first exec."
        |s| exit(s, |_| Value::Uint(s.ran_ns()));
    cpu_user_ns Duration "User CPU time of all threads, without children: utime, stime and se.sum_exec_runtime. Up to a tick (4 ms) less than wait4(2) if other processes end rarely; without the rest of the exit (from 6.16 on, nor the release of memory)."
        |s| of_cost(s, |e, _| Value::Uint(e.cpu().unwrap_or_default().0)), with(props::LACKS | props::LATER);
    cpu_system_ns Duration "Kernel CPU time, likewise."
        |s| of_cost(s, |e, _| Value::Uint(e.cpu().unwrap_or_default().1)), with(props::LACKS | props::LATER);
    max_rss_bytes Number "Largest resident set, also before an exec: signal_struct.maxrss."
        |s| of_cost(s, |_, cost| Value::Uint(cost.max_rss)), with(props::LACKS | props::LATER);
    read_bytes Number "Bytes fetched from storage, not from the page cache: ioac.read_bytes."
        |s| of_storage(s, |cost| cost.read), with(props::LACKS | props::LATER);
    written_bytes Number "Bytes for storage, written at once or later: ioac.write_bytes."
        |s| of_storage(s, |cost| cost.written), with(props::LACKS | props::LATER);
    argv List "Arguments of the process's last exec; without one, of its parent's."
        |s| exit(s, |e| match e.command(s) {
            [] => Value::SomeArgs(&[], Why::NotCollected),
            argv if argv.len() >= limits::KEPT_ARGV => Value::SomeArgs(argv, Why::Cut),
            argv => Value::Args(argv),
        }), with(props::LACKS | props::BYTES | props::LATER);
    = TTY;
    = SESSION;
    = LOGIN_UID;
    euid User "Effective user id at the exit: cred->euid." |s| exit(s, |e| euid_value(e.euid())), with(props::LACKS_LATER);
    = STACK;
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::testing;
    use serde_json::{Value as Json, json};
    use tracetui_shared::id::{Tgid, Uid};
    use tracetui_shared::kind::Kind;

    const HUP: u32 = 1;
    const TRAP: u32 = 5;
    const KILL: u32 = 9;
    const SEGV: u32 = 11;
    const PIPE: u32 = 13;
    const ALRM: u32 = 14;
    const TERM: u32 = 15;
    const XCPU: u32 = 24;
    const XFSZ: u32 = 25;
    const POLL: u32 = 29;
    const SYS: u32 = 31;

    fn record(status: u32, code: i32, facts: u32) -> ExitRecord {
        let sent =
            Sent { address: 16, comm: *b"oomd\0\0\0\0\0\0\0\0\0\0\0\0", tgid: Tgid(812), uid: Uid(5), code, facts };
        ExitRecord { status, sent, facts, ..ExitRecord::default() }
    }

    fn cause(record: ExitRecord) -> (&'static str, String) {
        let (exit, mut text) = (Exit { record }, Vec::new());
        exit.by(&mut text);
        (exit.cause().map_or("", Cause::word), String::from_utf8(text).expect("ASCII"))
    }

    #[test]
    fn the_sending_decides_the_cause() {
        use fact::*;
        let cases = [
            ((KILL, 0, SENT), "kill", "by oomd[812]"),
            ((KILL, 0, SENT | OOM), "kill", "by oomd[812]"),
            ((KILL, 0, SENT | UNNAMED), "kill", "by oomd[812]"),
            ((TERM, -6, SENT | SELF), "kill", "by itself"),
            ((TERM, -1, SENT | ENDING), "kill", "by oomd[812]"),
            ((KILL, SI_KERNEL, SENT | PRIVILEGED | OOM), "oom", "by the OOM killer"),
            ((KILL, 0, OOM), "oom", "by the OOM killer"),
            ((KILL, SI_KERNEL, SENT | PRIVILEGED | ENDING), "kill", "by oomd[812]"),
            ((HUP, SI_KERNEL, SENT | PRIVILEGED | ENDING), "kill", "by oomd[812]"),
            ((HUP, SI_KERNEL, SENT | PRIVILEGED), "other", "by the kernel"),
            // A timer interrupts any process, also one that is ending.
            ((ALRM, SI_KERNEL, SENT | PRIVILEGED | ENDING), "other", "by the kernel"),
            ((ALRM, SI_TIMER, SENT), "", ""),
            ((TERM, -3, SENT), "", ""),
            ((TERM, SI_KERNEL, SENT | SELF), "", ""),
            ((PIPE, 0, SENT | UNNAMED | SELF), "other", "by the kernel"),
            ((XFSZ, 0, SENT | UNNAMED | SELF), "limit", "by a limit"),
            ((XFSZ, 0, SENT | SELF), "kill", "by itself"),
            ((XCPU, SI_KERNEL, SENT | PRIVILEGED | SELF), "limit", "by a limit"),
            ((KILL, SI_KERNEL, SENT | PRIVILEGED | SELF | CPU_LIMIT), "limit", "by a limit"),
            ((KILL, SI_KERNEL, SENT | PRIVILEGED | SELF), "other", "by the kernel"),
            ((SEGV, 1, SENT | SELF), "fault", "at 0x10"),
            ((SEGV | 0x80, SI_KERNEL, SENT | SELF), "fault", "by a fault"),
            ((TRAP, 1, SENT | SELF), "fault", "at 0x10"),
            ((SEGV, 0, SENT), "kill", "by oomd[812]"),
            ((SYS, SYS_SECCOMP, SENT | SELF | FILTER), "seccomp", "by seccomp"),
            ((SYS, SYS_SECCOMP, SENT | SELF), "", ""),
            // F_SETSIG.
            ((KILL, 1, SENT), "", ""),
            ((TERM, 6, SENT | SELF), "", ""),
            ((SEGV, SI_SIGIO, SENT), "", ""),
            // Without it.
            ((POLL, SI_KERNEL, SENT | PRIVILEGED), "", ""),
            ((POLL, SI_KERNEL, SENT | PRIVILEGED | SELF), "", ""),
            ((POLL, 0, SENT), "kill", "by oomd[812]"),
            ((SYS, 2, SENT | SELF), "", ""),
            ((TERM, 0, 0), "", ""),
            ((0, 0, SENT), "", ""),
        ];
        for ((status, code, facts), word, text) in cases {
            assert_eq!(cause(record(status, code, facts)), (word, text.to_owned()), "{status} {code} {facts:b}");
        }
    }

    #[test]
    fn only_a_signal_of_a_process_has_a_sender() {
        let object = |record: ExitRecord| -> Json {
            let line = testing::line(crate::sink::FormatName::Json, testing::header(Kind::Exit), record.as_bytes());
            serde_json::from_slice(&line).expect("JSON")
        };
        let killed = object(record(KILL, 0, fact::SENT));
        assert_eq!(killed["killed_by"], json!({ "pid": 812, "comm": "oomd", "uid": 5, "cause": "kill" }));
        let fault = object(record(SEGV, 1, fact::SENT | fact::SELF));
        assert_eq!(fault["killed_by"], json!({ "pid": null, "comm": null, "uid": null, "cause": "fault" }));
        let unseen = object(record(KILL, 0, 0));
        assert_eq!((&unseen["killed_by"], &unseen["killed_by_why"]), (&Json::Null, &"not_collected".into()));
        let exited = object(record(0x100, 0, 0));
        assert_eq!((&exited["killed_by"], exited.get("killed_by_why")), (&Json::Null, None));
        // A forbidden call may end a process without a signal.
        let of = |status, seccomp| cause(ExitRecord { seccomp, ..record(status, 0, 0) }).0;
        assert_eq!([of(SYS, 2), of(SYS, DEAD), of(KILL, STRICT), of(KILL, DEAD)], ["seccomp"; 4]);
        assert_eq!([of(SYS, 0), of(KILL, 2), of(KILL, 0), of(TERM, 2)], [""; 4]);
        // Of a SIGSYS whose sending is forgotten, the delivery has the code.
        let delivered = |code| {
            let sent = Sent { code, ..Sent::default() };
            cause(ExitRecord { seccomp: 2, sent, ..record(SYS, code, fact::SENT) }).0
        };
        assert_eq!([0, -6, SYS_SECCOMP].map(delivered), ["", "", "seccomp"]);
    }

    #[test]
    fn costs_are_divided_by_ticks_and_unknown_where_nothing_counted_them() {
        let cpu = |user_ticks, system_ticks, runtime| {
            let cost = Cost { user_ticks, system_ticks, runtime, ..Cost::default() };
            Exit { record: ExitRecord { facts: fact::COST, cost, ..ExitRecord::default() } }.cpu()
        };
        assert_eq!(cpu(0, 0, 1_000_001), Some((1_000_001, 0)));
        assert_eq!(cpu(0, 4_000_000, 3_999), Some((0, 3_999)));
        assert_eq!(cpu(8_000_000, 4_000_000, 12_000_001), Some((8_000_001, 4_000_000)));
        let centuries = u64::MAX / 3;
        assert_eq!(cpu(centuries, centuries, 2 * centuries), Some((centuries, centuries)));
        assert_eq!(Exit::of_status(0).cpu(), None);
        let text = |runtime, max_rss| {
            let cost = Cost { runtime, max_rss, ..Cost::default() };
            let (mut out, facts) = (Vec::new(), fact::COST);
            Exit { record: ExitRecord { facts, cost, ..ExitRecord::default() } }.much(&mut out);
            String::from_utf8(out).expect("ASCII")
        };
        assert_eq!(text(99_999_999, (100 << 20) - 1), "");
        assert_eq!(text(1_240_000_000, 310 << 20), ", cpu 1.2 s, 310.0 MiB");
        // Costs are unknown where nothing counted them.
        let cost = Cost { runtime: 5, max_rss: 6, read: 7, written: 8, ..Cost::default() };
        let object = |facts| -> Json {
            let record = ExitRecord { facts, cost, ..ExitRecord::default() };
            let line = testing::line(crate::sink::FormatName::Json, testing::header(Kind::Exit), record.as_bytes());
            serde_json::from_slice(&line).expect("JSON")
        };
        let names = ["cpu_user_ns", "cpu_system_ns", "max_rss_bytes", "read_bytes", "written_bytes"];
        let of = |facts| names.map(|name| object(facts)[name].as_u64());
        let why = |facts| names.map(|name| object(facts)[format!("{name}_why")].as_str().map(str::to_owned));
        let word = |word: &str| Some(word.to_owned());
        assert_eq!(of(fact::COST | fact::IO), [Some(5), Some(0), Some(6), Some(7), Some(8)]);
        assert_eq!(of(fact::COST), [Some(5), Some(0), Some(6), None, None]);
        assert_eq!(why(fact::COST), [None, None, None, word("no_field"), word("no_field")]);
        assert_eq!((of(0), why(0)), ([None; 5], [(); 5].map(|()| word("not_collected"))));
    }
}
