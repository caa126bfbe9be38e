//! Tests of the program.

mod common;
mod faults;
mod local;
mod server;
