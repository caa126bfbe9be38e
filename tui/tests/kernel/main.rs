//! The output of the program on a running kernel, compared with the results of the system calls. Nothing is mocked.
//!
//! Every test acts itself or by children whose ids it knows, and looks for exactly their events in the output. Other
//! processes may run on the machine at the same time. The tests need root and a kernel that accepts the BPF programs.
//! Otherwise they report the reason, and fail if `TRACETUI_REQUIRE_KERNEL=1`.

#![allow(clippy::print_stdout, reason = "figures and what was not checked go to whoever runs the tests")]

mod arch;
mod around;
mod attached;
mod attachments;
mod bpf;
mod bpf_ends;
mod bpf_helpers;
mod bpf_inventory;
mod bpf_maps;
mod bpf_mounts;
mod bpf_ways;
mod cases;
mod command;
mod command_terminal;
mod confine;
mod crowd;
mod cut;
mod diff;
mod doctor;
mod endings;
mod environment;
mod execs;
mod exhaustion;
mod exits;
mod export;
mod files;
mod filters;
mod flood;
mod forged;
mod formats;
mod fuse;
mod hostile;
mod identity;
mod inspector;
mod killers;
mod lies;
mod live;
mod lookups;
mod narrow;
mod outputs;
mod paths;
mod prelude;
#[path = "../pty/mod.rs"]
mod pty;
mod races;
mod recording;
mod rootkit;
mod rotation;
#[path = "../schema/mod.rs"]
mod schema;
mod session;
mod stacks;
mod stdio;
mod storm;
mod stream;
mod symbols;
mod sys;
#[cfg(target_arch = "aarch64")]
mod tagged;
mod tcp;
mod traced;
mod trees;
mod unfinished;
mod unfit;
mod unix;
mod uring;
mod why;
