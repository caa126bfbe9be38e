//! The capture filter: which events are wanted.

use crate::maps::{CAPTURE, CAPTURE_PIDS, CAPTURE_UIDS};
use crate::read::get;
use crate::task::Who;
use tracetui_shared::capture::{Capture, CommGlobs, test};
use tracetui_shared::header::COMM_LEN;
use tracetui_shared::kind::Kind;

/// Whether an event of this kind, by this thread, is wanted.
#[inline(always)]
pub unsafe fn wanted(kind: Kind, who: &Who, failed: bool) -> bool {
    let Some(capture) = CAPTURE.get_ptr(0) else { return false };
    // SAFETY: `capture` is an element of the map; volatile because user space may write to it at any time.
    unsafe {
        if get(&raw const (*capture).kinds) & kind.bit() == 0 {
            return false;
        }
        let tests = get(&raw const (*capture).tests);
        tests == 0 || passes(capture, tests, who, failed)
    }
}

#[inline(always)]
unsafe fn passes(capture: *const Capture, tests: u32, who: &Who, failed: bool) -> bool {
    // SAFETY: as in `wanted`; keys are on the stack.
    unsafe {
        !(tests & test::FAILED != 0 && !failed
            || tests & test::PID != 0 && CAPTURE_PIDS.get(who.tgid).is_none()
            || tests & test::UID != 0 && CAPTURE_UIDS.get(who.uid).is_none()
            || tests & test::COMM != 0 && !matches(&raw const (*capture).comm, who.comm))
    }
}

/// Runs the automaton that [`CommGlobs`] describes over a name.
#[inline(always)]
unsafe fn matches(globs: *const CommGlobs, comm: [u64; 2]) -> bool {
    // SAFETY: `globs` is in the map's element and a byte indexes its 256 entries.
    unsafe {
        let mut states = get(&raw const (*globs).start);
        let stay = get(&raw const (*globs).stay);
        let skip = get(&raw const (*globs).skip);
        let (mut low, mut high) = (comm[0], comm[1]);
        let mut i = 0;
        while i < COMM_LEN {
            let byte = low & 0xff;
            if byte == 0 {
                break;
            }
            (low, high) = (low >> 8 | high << 56, high >> 8);
            let advance = get((&raw const (*globs).advance).cast::<u64>().add(byte as usize));
            states = (states & advance) << 1 | states & stay;
            states |= (states & skip) << 1;
            i += 1;
        }
        states & get(&raw const (*globs).accept) != 0
    }
}
