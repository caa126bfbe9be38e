//! The capture filter: selects the events that are wanted.

use crate::maps::{CAPTURE, CAPTURE_CGROUPS, CAPTURE_KIN, CAPTURE_PIDS, CAPTURE_TREE, CAPTURE_UIDS, Pointer};
use crate::read::{get, konst, may_turn};
use crate::task::{Who, cgroup, start_of};
use tracetui_shared::capture::{Capture, CommGlobs, ProcessKey, TICK_NS, test};
use tracetui_shared::header::COMM_LEN;
use tracetui_shared::kind::Kind;

/// The capture filter. Its words are read by [`get`], because user space may write to it at any time.
#[inline(always)]
fn filter() -> Option<Pointer<Capture>> {
    CAPTURE.get_ptr_mut(0).map(Pointer::to)
}

/// Whether a kind is requested. If not, the verifier removes the code.
#[inline(always)]
pub fn is_requested(kind: Kind) -> bool {
    konst!(Kinds) & u64::from(kind.bit()) != 0
}

/// Whether the capture filter passes an event of this kind, by this thread, that failed or succeeded.
#[inline(always)]
pub fn wanted(kind: Kind, who: &Who, failed: bool) -> bool {
    let Some(capture) = filter() else { return false };
    if get(&capture.kinds) & kind.bit() == 0 {
        return false;
    }
    let tests = get(&capture.tests);
    tests == 0 || passes(capture, tests, who, failed)
}

/// A verdict: the capture filter passes all events of a kind by a thread.
pub const ALL: u32 = 1;
/// A verdict: it passes those that failed.
pub const FAILED: u32 = 2;

/// What the capture filter passes of a kind by a thread: [`ALL`], [`FAILED`] or 0.
#[inline(always)]
pub fn verdict(kind: Kind, who: &Who) -> u32 {
    let Some(capture) = filter() else { return 0 };
    if !wanted(kind, who, true) {
        0
    } else if get(&capture.tests) & test::FAILED != 0 {
        FAILED
    } else {
        ALL
    }
}

#[inline(always)]
fn passes(capture: Pointer<Capture>, tests: u32, who: &Who, failed: bool) -> bool {
    !(tests & test::FAILED != 0 && !failed
        || tests & test::PID != 0 && CAPTURE_PIDS.get_ptr(who.tgid).is_none()
        || tests & test::TREE != 0 && CAPTURE_TREE.get_ptr(key(capture, tests, who.tgid, start_of(who.task))).is_none()
        || tests & test::CGROUP != 0 && CAPTURE_CGROUPS.get_ptr(cgroup(who.task)).is_none()
        || tests & test::UID != 0 && CAPTURE_UIDS.get_ptr(who.uid).is_none()
        || tests & test::COMM != 0 && !matches(&capture.comm, who.comm))
}

/// Whether a process is in no tree that the capture filter passes. No process in such a tree can then descend from it.
#[inline(always)]
pub fn is_outside(who: &Who) -> bool {
    let Some(capture) = filter() else { return true };
    let tests = get(&capture.tests);
    tests & (test::TREE | test::KIN) == test::TREE
        && CAPTURE_TREE.get_ptr(key(capture, tests, who.tgid, start_of(who.task))).is_none()
}

/// The key of a process in the maps of trees.
#[inline(always)]
fn key(capture: Pointer<Capture>, tests: u32, tgid: u32, start: u64) -> ProcessKey {
    let offset = get(&capture.start_offset);
    ProcessKey::new(tgid, if tests & test::TICKS != 0 { start.wrapping_add(offset) / TICK_NS } else { start })
}

/// Adds a new process to the tree of the process that made it, or of its parent. They differ with `CLONE_PARENT`, and a
/// process must not be able to move its children out of its tree. Each process is given as its id and its start.
/// Returns `false` if a map to which the process should be added is full.
///
/// The order of the two maps matters. User space first adds a parent to the tree, and then looks for processes that
/// were created after that. So a child that is in neither map belongs to no tree.
#[inline(always)]
pub fn inherit(maker: (u32, u64), parent: (u32, u64), child: (u32, u64)) -> bool {
    let Some(capture) = filter() else { return true };
    let tests = get(&capture.tests);
    if tests & (test::TREE | test::KIN) == 0 {
        return true;
    }
    let maker = key(capture, tests, maker.0, maker.1);
    let parent = key(capture, tests, parent.0, parent.1);
    let child = key(capture, tests, child.0, child.1);
    let noted = tests & test::KIN == 0 || CAPTURE_KIN.insert(child, maker, 0).is_ok();
    let Some(root) = CAPTURE_TREE.get_ptr(maker).or_else(|| CAPTURE_TREE.get_ptr(parent)) else { return noted };
    let let_in = CAPTURE_TREE.get_ptr(child).is_some() || CAPTURE_TREE.insert(child, get(root), 0).is_ok();
    noted && let_in
}

/// Removes a process that ended from its tree; its children stay.
#[inline(always)]
pub fn forget(who: &Who) {
    let Some(capture) = filter() else { return };
    let tests = get(&capture.tests);
    if tests & (test::TREE | test::KIN) == 0 {
        return;
    }
    let process = key(capture, tests, who.tgid, start_of(who.task));
    if CAPTURE_TREE.get_ptr(process).is_some_and(|root| get(root) != process) {
        let _ = CAPTURE_TREE.remove(process);
    }
}

/// Runs the automaton that [`CommGlobs`] describes over a name.
#[inline(always)]
fn matches(globs: &CommGlobs, comm: [u64; 2]) -> bool {
    let mut states = get(&globs.start);
    let stay = get(&globs.stay);
    let skip = get(&globs.skip);
    let (mut low, mut high) = (comm[0], comm[1]);
    let mut turn = 0u32;
    // After all bytes of the name come zeros.
    loop {
        may_turn!(turn, COMM_LEN as u32);
        let byte = low & 0xff;
        if byte == 0 {
            break;
        }
        (low, high) = (low >> 8 | high << 56, high >> 8);
        let advance = get(&globs.advance[byte as usize]);
        states = (states & advance) << 1 | states & stay;
        states |= (states & skip) << 1;
    }
    states & get(&globs.accept) != 0
}
