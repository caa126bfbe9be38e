//! Where frames come from.
pub mod host;
pub mod live;
