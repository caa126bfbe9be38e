//! One file a kind: thin programs at tracepoints, and the body that they share.

pub mod bpf;
pub mod exec;
pub mod exit;
pub mod fork;
pub mod open;
mod sys_exit;
mod tasks;
pub mod uring;
