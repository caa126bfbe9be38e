//! Where frames come from.
pub mod host;
