//! The common part of all commands that trace.
//!
//! | module | purpose |
//! |---|---|
//! | `command_output` | the output of COMMAND in a recording |
//! | [`request`] | the options, and the COMMAND, which is held until the probes are attached |
//! | [`start`] | attaches the probes and starts the threads |
//! | `first_frames` | the frames before the first event: the options, the machine, the running processes |
//! | [`running`] | the frames, the COMMAND, the signals and the recording of a running trace |
//! | [`remarks`] | the messages about a trace |

mod command_output;
mod first_frames;
pub(crate) mod remarks;
pub(crate) mod request;
pub(crate) mod running;
pub(crate) mod start;
