//! The terminal, the session and the login of a process.

use crate::read::{at, has, ld, ld_word, set};
use tracetui_shared::offsets::{field, sum};
use tracetui_shared::record::session::{Session, known};

/// `PIDTYPE_SID` (include/linux/pid.h).
const SID: usize = 3;

/// Describes the session of a process.
#[inline(always)]
pub fn describe(task: u64, signal: u64, out: &mut Session) {
    let mut seen = known::SEEN;
    let (mut name, mut id, mut login_uid) = ([0, 0], 0, 0);
    if has(field::SignalTty) && has(field::TtyName) {
        let tty: u64 = ld(signal, field::SignalTty);
        name = [ld_word::<0>(tty, field::TtyName), ld_word::<1>(tty, field::TtyName)];
        seen |= known::TTY;
    }
    if has(field::SignalPids) {
        id = ld(ld_word::<SID>(signal, field::SignalPids), sum::PidNr);
        seen |= known::ID;
    }
    if has(field::TaskLoginuid) {
        login_uid = ld(task, field::TaskLoginuid);
        seen |= known::LOGIN;
    }
    let words = out.tty.as_mut_ptr().cast();
    set(words, name[0]);
    set(at(words, 1), name[1]);
    out.known = seen;
    out.id.0 = id;
    out.login_uid.0 = login_uid;
}
