use crate::call::Call;
use crate::read::konst;
use tracetui_shared::kind::{Kind, KindSet};

pub mod bpf;
pub mod exec;
pub mod exit;
pub mod file;
pub mod fork;
pub mod open;
mod sys_exit;
mod tasks;
pub mod tcp;
pub mod unix;
pub mod uring;

/// The kinds with the records of `file`.
const WITH_PATHS: KindSet = KindSet::of(&[Kind::File, Kind::Lookup, Kind::Unix]);

/// Passes a call to the code of its kind. The verifier removes the code of kinds that are not requested.
#[inline(always)]
fn ended(call: &Call) {
    let is = |kind: Kind| konst!(Kinds) & u64::from(kind.bit()) != 0 && call.is_of(kind);
    let has_paths = || call.is_of(Kind::File) || call.is_of(Kind::Lookup) || file::connects(call);
    if is(Kind::Open) {
        open::ended(call);
    } else if is(Kind::Exec) {
        exec::ended(call);
    } else if is(Kind::Bpf) {
        bpf::ended(call);
    } else if is(Kind::Tcp) && tcp::ended(call) {
    } else if konst!(Kinds) & u64::from(WITH_PATHS.bits()) != 0 && has_paths() {
        file::ended(call);
    }
}
