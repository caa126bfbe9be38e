//! Requests of io_uring (`struct io_kiocb`, include/linux/io_uring_types.h), and their completions.

use crate::context::{self, Context};
use crate::read::{konst, rd};

/// `REQ_F_CQE_SKIP`, the same bit as `IOSQE_CQE_SKIP_SUCCESS`: no completion on success. The kernel clears the flag on failure
/// ([`req_set_fail`](https://elixir.bootlin.com/linux/v6.12/source/io_uring/io_uring.h)).
pub const CQE_SKIP: u32 = 1 << 6;

/// A completion.
pub struct Completion {
    /// Address of the ring's context.
    pub ring: u64,
    /// The number that the user of the ring chose.
    pub user_data: u64,
    pub res: i32,
    /// `IORING_CQE_F_*`.
    pub flags: u32,
}

/// The completion that is posted at `io_uring_complete`.
#[inline(always)]
pub fn completion(ctx: Context) -> Completion {
    if !context::is_typed() {
        let (res, flags) = (ctx.load::<i32, 32>(), ctx.load::<u32, 36>());
        Completion { ring: ctx.load::<u64, 8>(), user_data: ctx.load::<u64, 24>(), res, flags }
    } else if konst!(UringCqe) != 0 {
        let [user_data, rest] = rd::<[u64; 2]>(ctx.argument::<2>());
        Completion { ring: ctx.argument::<0>(), user_data, res: rest as i32, flags: (rest >> 32) as u32 }
    } else {
        let (res, flags) = (ctx.argument::<3>() as i32, ctx.argument::<4>() as u32);
        Completion { ring: ctx.argument::<0>(), user_data: ctx.argument::<2>(), res, flags }
    }
}
