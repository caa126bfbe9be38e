//! The terminal, the session and the login of a process.

use crate::read::{has, ld, ld_word, set};
use tracetui_shared::offsets::{field, sum};
use tracetui_shared::record::session::{Session, known};

/// `PIDTYPE_SID` (include/linux/pid.h).
const SID: usize = 3;

/// Describes the session of a process.
#[inline(always)]
pub unsafe fn describe(task: u64, signal: u64, out: *mut Session) {
    // SAFETY: `task` is the current task and `signal` its `signal_struct`, BTF pointers where the kernel has them. A null
    // pointer reads as zeros. `out` points into a map value.
    unsafe {
        let (words, mut seen) = (out.cast::<u64>(), known::SEEN);
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
        set(words, name[0]);
        set(words.add(1), name[1]);
        (*out).known = seen;
        (*out).id.0 = id;
        (*out).login_uid.0 = login_uid;
    }
}
