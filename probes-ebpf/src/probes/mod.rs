//! One file per kind of event: the programs at their attach points, and the body that they share.

use crate::call::Call;
use crate::calls::{self, Calls};
use tracetui_shared::kind::Slot;

pub mod bpf;
pub mod exec;
pub mod exit;
pub mod fork;
pub mod open;
mod sys_exit;
mod tasks;
pub mod tcp;
pub mod uring;

/// The kinds that are made at the end of system calls. Each has a module of [`calls`] and a function `ended`.
macro_rules! of_calls {
    ($($kind:ident)+) => {
        /// The calls of all kinds.
        const OF_CALLS: &[&Calls] = &[$(&calls::$kind::CALLS),+];

        /// Passes a call to the code of its kind.
        #[inline(always)]
        fn ended(call: &Call) {
            $(if call.is_of(&calls::$kind::CALLS) {
                return $kind::ended(call);
            })+
        }
    };
}

of_calls! { open exec bpf tcp }

/// Whether `sys_exit_btf` fills a slot with events.
const fn is_of_sys_exit(slot: Slot) -> bool {
    let (name, program) = (b"sys_exit_btf", slot.program().as_bytes());
    let mut at = 0;
    while at < name.len() && at < program.len() && program[at] == name[at] {
        at += 1;
    }
    at == name.len() && at == program.len() && !slot.is_request()
}

const _: () = {
    let (mut kinds, mut at) = (0, 0);
    while at < Slot::ALL.len() {
        kinds += is_of_sys_exit(Slot::ALL[at]) as usize;
        at += 1;
    }
    assert!(OF_CALLS.len() == calls::ALL.len(), "`of_calls!` has the kinds of `calls::ALL`");
    assert!(kinds == OF_CALLS.len(), "each kind of `of_calls!` has a slot of `sys_exit_btf`, and only those");
};
