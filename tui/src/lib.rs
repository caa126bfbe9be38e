//! tracetui as a library: the binary, the tests and the benchmarks are made of it. What they do not use is `pub(crate)`.
//!
//! The modules in the order in which data flows:
//!
//! | module | what it does |
//! |---|---|
//! | [`source`] | brings frames: from the kernel ([`source::live`]), from the host ([`source::host`]), or made by a program ([`source::synthetic`]) |
//! | [`frame`] | frames as bytes: batches, references, host frames |
//! | [`capture`] | what the kernel side is to let through: made by [`filter`], put into force by [`source`] |
//! | [`event`] | decodes a frame into an event; describes every field of every kind |
//! | [`enrich`] | folds events and host frames into what is known of processes, users, cgroups and clocks |
//! | [`filter`] | the filter language, and what of it the kernel decides |
//! | [`pipeline`] | decode → enrich → filter → store or sink: read it first |
//! | `store` | the events that are kept, bounded by bytes |
//! | [`sink`] | events as text, JSON and CSV |
//! | [`app`] | the dashboard's state and what keys do |
//! | [`view`] | draws that state |
//! | `arch` | what differs between architectures |
//! | [`budget`], [`limits`] | how memory is divided, and every other bound |
//! | `text` | how bytes, numbers and times are written: escaping, widths |
//! | [`cli`], [`command`] | arguments, and one file a subcommand |
pub mod account;
pub mod app;
pub(crate) mod arch;
pub mod budget;
pub mod capture;
pub mod cli;
pub mod command;
pub mod enrich;
pub mod event;
pub(crate) mod fifo;
pub mod filter;
pub mod frame;
pub mod limits;
pub mod pipeline;
pub mod sink;
pub mod source;
pub(crate) mod store;
pub(crate) mod text;
pub mod view;
