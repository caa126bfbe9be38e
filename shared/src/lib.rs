//! The data that crosses the boundary between the kernel probes and user space, and nothing else.
//!
//! Both sides compile this crate. The probes (`probes-ebpf/`, `no_std`, BPF target) write records; user space reads
//! them from the ring buffer, from a recording, or from a test. So there is no allocation, no I/O and no `unsafe` here.
//! Every record is `repr(C)` without padding, which zerocopy's derives enforce, and its size is asserted next to it.
//!
//! # Versioning
//! [`header::VERSION`] counts changes of the meaning of any record. Fields are only appended to a record's fixed part;
//! a reader uses the part of a longer one that it knows. A change of a field's meaning requires a new version.
//!
//! # Byte order
//! Native. Probes and user space run on the same machine, and recordings are little-endian.
#![no_std]
#![forbid(unsafe_code)]

pub mod calls;
pub mod capture;
pub mod counters;
pub mod header;
pub mod helper;
pub mod id;
pub mod kind;
pub mod offsets;
pub mod record;
pub mod time;
