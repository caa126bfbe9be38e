//! Recordings (`.ttr`): the frames of a trace in a file, in the order of arrival.
//!
//! A recording is a file header and blocks, one after another ([`block`]). Frames are recorded before they enter the pipeline, so a
//! replay runs the same pipeline on the same frames. From time to time the state of the pipeline is written too, so that a reader
//! can begin there. `docs/RECORDING.md` specifies the format byte by byte.
//!
//! | module | purpose |
//! |---|---|
//! | [`block`] | headers and checksums |
//! | `frame_codec`, `planes` | the form in which frames compress well |
//! | [`index`] | the contents of each block |
//! | `block_writer`, [`writer`] | frames into blocks |
//! | [`map`] | finding places in a file by its index |
//! | [`reader`] | blocks from a file or a pipe, even if parts are damaged or missing |
//! | [`follow`] | a recording file: whether it is still being written, and how to follow it |
//! | [`holes`] | the unreadable parts |
//! | [`disk`] | reads of a disk that fails in places |
//! | [`frames`] | the output of the reader, in the form that the pipeline takes |

pub mod block;
mod block_writer;
pub mod disk;
pub mod file_names;
pub mod follow;
mod frame_codec;
pub mod frames;
pub mod holes;
pub mod index;
pub mod map;
mod planes;
pub mod reader;
#[cfg(test)]
mod tests;
pub mod writer;

pub use map::Map;
pub use reader::{Item, Reader};
pub use writer::Writer;
