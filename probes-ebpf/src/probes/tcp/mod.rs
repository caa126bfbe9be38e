//! `tcp`: a connection was requested, accepted or closed.
//!
//! The changes of a connection's state ([`state`]) show all but the process: they run in whatever task the softirq
//! interrupts. So the process is taken when it asks, at the first SYN ([`requested`](state)) or at the end of accept(2)
//! ([`call`]), and kept by the address of the socket ([`conn`]).
//!
//! A request is reported once. Its call may end before its outcome is known, or after. [`Conn::called`] and
//! [`Conn::decided`] show which of the two happened. Each side writes its own word and then reads the other's. The side that
//! removes the socket from `WAITING` reports the request. Without a call or a completion (Fast Open, the kernel itself), the
//! change of state reports it.
//!
//! Any of these programs may be skipped (see [`emit`](crate::emit)). The old state that the kernel passes shows what was
//! missed; such an event has the flag [`REPAIRED`](tracetui_shared::record::tcp::flag::REPAIRED). `tcp_destroy_sock` and
//! [`list`] find the rest.
//!
//! [`Conn::called`]: conn::Conn
//! [`Conn::decided`]: conn::Conn

mod call;
mod conn;
mod list;
mod state;
pub mod uring;

pub use call::call_ended as ended;
