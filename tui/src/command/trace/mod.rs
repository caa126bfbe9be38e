//! The common part of all commands that trace.

mod command_output;
mod first_frames;
pub(crate) mod remarks;
pub(crate) mod request;
pub(crate) mod running;
pub(crate) mod start;
