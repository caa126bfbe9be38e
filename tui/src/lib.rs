//! The library behind the binary, the tests and the benchmarks. Items that none of them uses are `pub(crate)`.
pub mod app;
pub mod bpf_report;
pub mod cli;
pub mod command;
pub mod config;
#[cfg(any(fuzzing, test))]
#[doc(hidden)]
pub mod fuzz;
pub mod recorder;
pub mod view;
