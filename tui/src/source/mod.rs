//! Where frames come from.

pub(crate) mod command;
pub(crate) mod feed;
pub mod host;
pub mod live;
