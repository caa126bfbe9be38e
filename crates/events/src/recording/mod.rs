//! Recordings (`.ttr`): the frames of a trace in a file, in the order of arrival.
//!
//! A recording is a file header and blocks, one after another ([`block`]). Frames are recorded before they enter the pipeline, so a
//! replay runs the same pipeline on the same frames. From time to time the state of the pipeline is written too, so that a reader
//! can begin there. `docs/RECORDING.md` specifies the format byte by byte.

pub mod block;
mod block_writer;
pub mod file;
pub mod file_names;
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
