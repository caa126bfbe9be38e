//! Tests of the program.

mod check;
mod common;
mod faults;
mod local;
mod server;
