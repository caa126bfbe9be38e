//! The capture filter: which events are wanted.

use crate::maps::{CAPTURE, CAPTURE_CGROUPS, CAPTURE_KIN, CAPTURE_PIDS, CAPTURE_TREE, CAPTURE_UIDS};
use crate::read::get;
use crate::task::{Who, cgroup, start_of};
use tracetui_shared::capture::{Capture, CommGlobs, ProcessKey, TICK_NS, test};
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
            || tests & test::TREE != 0 && CAPTURE_TREE.get(key(capture, tests, who.tgid, start_of(who.task))).is_none()
            || tests & test::CGROUP != 0 && CAPTURE_CGROUPS.get(cgroup(who.task)).is_none()
            || tests & test::UID != 0 && CAPTURE_UIDS.get(who.uid).is_none()
            || tests & test::COMM != 0 && !matches(&raw const (*capture).comm, who.comm))
    }
}

/// The key of a process in the maps of trees.
#[inline(always)]
unsafe fn key(capture: *const Capture, tests: u32, tgid: u32, start: u64) -> ProcessKey {
    // SAFETY: as in `wanted`.
    let offset = unsafe { get(&raw const (*capture).start_offset) };
    ProcessKey::new(tgid, if tests & test::TICKS != 0 { start.wrapping_add(offset) / TICK_NS } else { start })
}

/// Lets a new process into the tree of the process that made it, or of its parent: with `CLONE_PARENT` they differ, and a process
/// must not get its children out of its tree. All are given as process id and start. The order of the two maps matters:
/// user space puts a parent into the tree first and then looks for processes that were born after that, so that a child in
/// neither map belongs to no tree. `false` when a map that it belongs in is full.
#[inline(always)]
pub unsafe fn inherit(maker: (u32, u64), parent: (u32, u64), child: (u32, u64)) -> bool {
    let Some(capture) = CAPTURE.get_ptr(0) else { return true };
    // SAFETY: as in `wanted`; keys and values are on the stack.
    unsafe {
        let tests = get(&raw const (*capture).tests);
        if tests & (test::TREE | test::KIN) == 0 {
            return true;
        }
        let maker = key(capture, tests, maker.0, maker.1);
        let parent = key(capture, tests, parent.0, parent.1);
        let child = key(capture, tests, child.0, child.1);
        let noted = tests & test::KIN == 0 || CAPTURE_KIN.insert(child, maker, 0).is_ok();
        let Some(root) = CAPTURE_TREE.get_ptr(maker).or_else(|| CAPTURE_TREE.get_ptr(parent)) else { return noted };
        let let_in = CAPTURE_TREE.get(child).is_some() || CAPTURE_TREE.insert(child, get(root), 0).is_ok();
        noted && let_in
    }
}

/// Takes a process that ended out of its tree; its children stay.
#[inline(always)]
pub unsafe fn forget(who: &Who) {
    let Some(capture) = CAPTURE.get_ptr(0) else { return };
    // SAFETY: as in `inherit`.
    unsafe {
        let tests = get(&raw const (*capture).tests);
        if tests & (test::TREE | test::KIN) == 0 {
            return;
        }
        let process = key(capture, tests, who.tgid, start_of(who.task));
        if CAPTURE_TREE.get_ptr(process).is_some_and(|root| get(root) != process) {
            let _ = CAPTURE_TREE.remove(process);
        }
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
