//! Recordings (`.ttr`): the frames of a trace in a file, as they came.
//!
//! A recording is a file header and blocks, one after another ([`block`]). Frames are taken at the head of the pipeline,
//! so a replay runs the same pipeline on the same frames. From time to time the state of the pipeline is written too, so
//! that a reader can begin there. `docs/RECORDING.md` specifies the format byte by byte.
//!
//! | module | purpose |
//! |---|---|
//! | [`block`] | headers and checksums |
//! | [`columns`] | the order of bytes in which frames compress well |
//! | [`index`] | what each block contains |
//! | [`writer`] | frames into blocks |
//! | [`recorder`] | a writer on a thread, with a bounded queue |
//! | [`map`] | the way in a file, by its index |
//! | [`reader`] | blocks from a file or a pipe, whatever is damaged or missing |
//! | [`follow`] | a recording file: whether it is still written, and reading on as it grows |
//! | [`disk`] | reads of a disk that fails in places |
//! | [`frames`] | what the reader gives, as the pipeline takes it |

pub mod block;
mod columns;
pub mod disk;
pub mod follow;
pub mod frames;
pub mod index;
pub mod map;
pub mod reader;
pub mod recorder;
#[cfg(test)]
mod tests;
pub mod writer;

pub use map::Map;
pub use reader::{Item, Reader};
pub use recorder::Recorder;
pub use writer::Writer;
