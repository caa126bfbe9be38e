//! What a trace means: frames in, events out. It needs no privilege, no kernel and no terminal, and does no I/O but to read
//! and write recordings.
//!
//! | module | purpose |
//! |---|---|
//! | [`frame`] | frames as bytes: batches, references, host frames |
//! | [`event`] | decodes a frame into an event; describes every field of every kind |
//! | [`environment`] | which values of environments are kept, and what an exec changes |
//! | [`bpf`] | facts about BPF programs, links and attachments, and the report of them |
//! | [`symbols`] | the symbols of the kernel, through time |
//! | [`terminal`] | the screen of COMMAND's terminal, from the bytes that it writes |
//! | [`enrich`] | maintains processes, users, cgroups and clocks from events and host frames |
//! | [`filter`] | the filter language, and the part that the kernel applies ([`capture`]) |
//! | [`account`] | what was seen, delivered, filtered and lost |
//! | [`pipeline`] | decode → enrich → filter → store or sink: read it first |
//! | [`recording`] | the frames of a trace in a file |
//! | [`playback`] | the events of recordings, in order of time |
//! | [`store`] | the kept events, limited in bytes |
//! | [`search`] | which failed calls a later one answered, and the search that a call belongs to |
//! | [`sink`] | events as text, JSON, CSV, Parquet and Perfetto traces |
//! | [`diff`] | what one run did that another did not |
//! | [`why`] | why an open or an exec failed: the rules |
//! | [`budget`], [`limits`] | the division of memory, and all other limits |
//! | [`text`] | formatting of bytes, numbers and times: escaping, widths |
//! | [`synthetic`] | frames made by a function, for tests and demonstrations |
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
//! use tracetui_events::playback::{AtEnd, Playback, Played, Step};
//! use tracetui_events::sink::{FormatName, to_writer};
//!
//! let files = ["../../assets/failed-build.ttr".into()];
//! let mut playback = Playback::open(&files, &FilterOptions::default(), Budget::default(), AtEnd::Stop)?;
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
pub mod capture;
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
