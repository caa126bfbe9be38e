//! The library behind the binary, the tests and the benchmarks. Items that none of them uses are `pub(crate)`.
//!
//! The modules, in the order of the data flow:
//!
//! | module | purpose |
//! |---|---|
//! | [`recorder`] | writes a recording on a thread, with a bounded queue |
//! | [`app`] | the state of the dashboard, and the keys |
//! | [`view`] | draws that state |
//! | [`config`] | the configuration file: keys, colours, columns and the filter of the dashboard |
//! | `fuzz` | the parsers of untrusted bytes, for the fuzz targets in `fuzz/` |
//! | [`cli`], [`command`] | the command line, and one file per subcommand |
pub mod app;
pub mod cli;
pub mod command;
pub mod config;
#[cfg(any(fuzzing, test))]
#[doc(hidden)]
pub mod fuzz;
pub mod recorder;
pub mod view;
