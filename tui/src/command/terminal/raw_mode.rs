//! The modes of the user's terminal while it is raw.

use rustix::stdio::stdin;
use rustix::termios::{OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use std::ptr::null_mut;
use std::sync::Once;
use std::sync::atomic::{AtomicPtr, Ordering};
use tracetui_live::command::in_foreground;

/// The modes to restore; null unless the terminal is raw. They are never freed: a signal handler may be reading them.
static COOKED: AtomicPtr<Termios> = AtomicPtr::new(null_mut());

/// Whether the terminal is raw. A line then ends with CR LF.
pub(in crate::command) fn is_raw() -> bool {
    !COOKED.load(Ordering::Acquire).is_null()
}

/// Makes the terminal's input raw, and its output too if only this job writes to it. Returns `false` if the terminal is gone.
pub(in crate::command) fn make_raw(alone: bool) -> bool {
    let Ok(now) = tcgetattr(stdin()) else { return false };
    let cooked = COOKED.load(Ordering::Acquire);
    // SAFETY: a non-null pointer comes from `Box::into_raw` and is never freed.
    let cooked = unsafe { cooked.as_ref() }.unwrap_or(&now);
    let mut raw = cooked.clone();
    raw.make_raw();
    if !alone {
        raw.output_modes = cooked.output_modes;
    }
    raw.special_codes[SpecialCodeIndex::VMIN] = 0;
    raw.special_codes[SpecialCodeIndex::VTIME] = 0;
    if !is_raw() {
        COOKED.store(Box::into_raw(Box::new(now)), Ordering::Release);
    }
    tcsetattr(stdin(), OptionalActions::Now, &raw).is_ok()
}

/// Restores the modes of the terminal, if they were changed and the terminal is still this job's. Safe in a signal handler.
pub(in crate::command) fn restore() {
    let cooked = COOKED.swap(null_mut(), Ordering::AcqRel);
    // SAFETY: a non-null pointer comes from `Box::into_raw` and is never freed.
    if let Some(cooked) = unsafe { cooked.as_ref() }
        && in_foreground()
    {
        let _ = tcsetattr(stdin(), OptionalActions::Now, cooked);
    }
}

/// Makes a panic restore the terminal before its message. `once`: whether that is done already.
pub(in crate::command) fn restore_on_panic(once: &Once, restore: fn()) {
    once.call_once(|| {
        let report = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            restore();
            report(info);
        }));
    });
}
