use crate::call::Call;
use crate::capture::is_requested;
use crate::io_uring::Completion;
use crate::read::{offset, rd};
use crate::task::{Who, current};
use tracetui_shared::kind::Kind;
use tracetui_shared::offsets::field;

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
mod written;

/// Passes a call to the code of its kind.
#[inline(always)]
fn ended(call: &Call) {
    let is = |kind: Kind| is_requested(kind) && call.is_of(kind);
    if is(Kind::Open) {
        open::ended(call);
    } else if is(Kind::Exec) {
        exec::ended(call);
    } else if is(Kind::Bpf) {
        bpf::ended(call);
    } else if is(Kind::Tcp) && tcp::ended(call) {
    } else if file::serves(call) {
        file::ended(call);
    }
}

/// Passes a submitted request of io_uring to the code of its kind.
#[inline(always)]
fn submitted(req: u64, opcode: u8) {
    tcp::uring::submitted(req, opcode);
    unix::submitted(req, opcode, current());
}

/// Passes a completion of io_uring to the code of its kind. `submitter`: the task that submitted the request.
#[inline(always)]
fn completed(req: u64, opcode: u8, completion: impl FnOnce() -> Completion, submitter: impl Fn() -> u64) {
    let ret = rd(req.wrapping_add(offset(field::KiocbCqeRes)));
    if let Some(slot) = file::uring_slot(opcode) {
        file::missed(slot, &Who::of(submitter()), ret);
    } else if !unix::missed(req, opcode, || Who::of(submitter()), ret) {
        tcp::uring::ended(req, opcode, completion, submitter);
    }
}
