//! What a trace means: frames in, events out. It needs no privilege, no kernel and no terminal, and does no I/O but to read
//! and write recordings.
//!
//! Read [`pipeline`] first: decode → enrich → filter → store or sink.
//!
//! # Example
//!
//! The events of a recording as lines of JSON:
//!
//! ```
//! use std::io::stdout;
//! use tracetui_events::budget::Budget;
//! use tracetui_events::filter::FilterOptions;
//! use tracetui_events::pipeline::Disposition;
//! use tracetui_events::playback::{Playback, Played, Step};
//! use tracetui_events::sink::{FormatName, to_writer};
//!
//! let files = ["../../assets/failed-build.ttr".into()];
//! let mut playback = Playback::open(&files, &FilterOptions::default(), Budget::default())?;
//! let mut lines = to_writer(FormatName::Json, stdout());
//! let mut take = |played: &Played<'_>| lines.event(played.context).map_or(Disposition::Filtered, |()| Disposition::Delivered);
//! while playback.step(&mut take)? == Step::More {}
//! lines.finish()?;
//! # assert!(playback.account().sum().delivered > 100);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

// Some helpers of the tests are also those of other crates.
#[cfg(test)]
extern crate self as tracetui_events;

pub mod account;
pub mod bpf;
pub mod budget;
pub mod diff;
pub mod enrich;
pub mod environment;
pub mod event;
pub mod fifo;
pub mod filter;
pub mod frame;
pub mod limits;
pub mod pipeline;
pub mod playback;
pub mod recording;
pub mod search;
pub mod sink;
pub mod store;
pub mod symbols;
pub mod synthetic;
pub mod terminal;
pub mod text;
pub mod why;
