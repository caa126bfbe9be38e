//! The origin of frames: a [`Source`](feed::Source) makes them, a [`Feed`](feed::Feed) runs the source and queues its
//! frames.

pub(crate) mod command;
pub mod feed;
pub mod host;
pub mod live;
pub(crate) mod priority;
pub mod replay;
pub mod synthetic;
pub mod wake;
