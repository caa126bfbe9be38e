//! The library behind the binary, the tests and the benchmarks. Items that they do not use are `pub(crate)`.
//!
//! The modules, in the order of the data flow:
//!
//! | module | purpose |
//! |---|---|
//! | [`source`] | the sources of frames: the kernel ([`source::live`]), the host ([`source::host`]), synthetic frames ([`source::synthetic`]) |
//! | [`bpf`] | facts about BPF programs, links and attachments, and the report of them |
//! | [`frame`] | frames as bytes: batches, references, host frames |
//! | [`capture`] | the capture filter of the kernel side: compiled by [`filter`], installed by [`source`] |
//! | [`event`] | decodes a frame into an event; describes every field of every kind |
//! | [`symbols`] | the symbols of the kernel, through time |
//! | `terminal` | the screen of COMMAND's terminal, from the bytes that it writes; keys as bytes for it |
//! | [`enrich`] | maintains processes, users, cgroups and clocks from events and host frames |
//! | [`filter`] | the filter language, and the part that the kernel applies |
//! | [`pipeline`] | decode → enrich → filter → store or sink: read it first |
//! | [`recording`] | the frames of a trace in a file |
//! | `store` | the kept events, limited in bytes |
//! | [`sink`] | events as text, JSON, CSV, Parquet and Perfetto traces |
//! | [`diff`] | what one run did that another did not
//! | `why` | why an open or an exec failed: the rules; `source::host::lookup` looks up what they need |
//! | [`app`] | the state of the dashboard, and the keys |
//! | [`view`] | draws that state |
//! | [`config`] | the configuration file: keys, colours, columns and the filter of the dashboard |
//! | `arch` | the differences between architectures |
//! | [`budget`], [`limits`] | the division of memory, and all other limits |
//! | `text` | formatting of bytes, numbers and times: escaping, widths |
//! | `fuzz` | the parsers of bytes from outside, for the fuzz targets in `fuzz/` |
//! | [`cli`], [`command`] | the command line, and one file per subcommand |
pub mod account;
pub mod app;
pub(crate) mod arch;
pub mod bpf;
pub mod budget;
pub mod capture;
pub mod cli;
pub mod command;
pub mod config;
pub mod diff;
pub mod enrich;
pub mod event;
pub(crate) mod fifo;
pub mod filter;
pub mod frame;
#[cfg(any(fuzzing, test))]
#[doc(hidden)]
pub mod fuzz;
pub mod limits;
pub mod pipeline;
pub mod recording;
pub mod sink;
pub mod source;
pub(crate) mod store;
pub mod symbols;
pub(crate) mod terminal;
pub(crate) mod text;
pub mod view;
pub mod why;

/// Reports what the running test does not check here, and why. The message bypasses the output capture of the harness.
#[cfg(test)]
fn not_checked(why: &str) {
    let thread = std::thread::current();
    let line = format!("not checked: {}: {why}\n", thread.name().unwrap_or("a thread"));
    let _ = std::io::Write::write_all(&mut std::io::stderr(), line.as_bytes());
}
