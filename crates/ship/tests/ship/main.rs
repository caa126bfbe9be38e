//! Tests of the program.

mod common;
mod local;
mod server;
