//! Where frames come from: a [`Source`](feed::Source) makes them, a [`Feed`](feed::Feed) runs it and hands them on.

pub(crate) mod command;
pub mod feed;
pub mod host;
pub mod live;
pub(crate) mod priority;
pub mod synthetic;
pub mod wake;
