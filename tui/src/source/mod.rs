//! Where frames come from.

pub mod command;
pub mod feed;
pub mod host;
pub mod live;
