//! One file per kind of event: the programs at their attach points, and the body that they share.

pub mod bpf;
pub mod exec;
pub mod exit;
pub mod fork;
pub mod open;
mod sys_exit;
mod tasks;
pub mod uring;
