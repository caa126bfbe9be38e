//! Sources of frames.

pub(crate) mod command;
pub(crate) mod feed;
pub mod host;
pub mod live;
