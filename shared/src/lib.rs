//! What crosses the boundary between the kernel probes and user space, and nothing else.
//!
//! Both halves compile this crate: the probes (`probes-ebpf/`, `no_std`, BPF target) write records, user space reads
//! them from the ring buffer, from a recording, or from a test. So there is no allocation, no I/O and no `unsafe`
//! here, every record is `repr(C)` without padding (zerocopy's derives refuse it), and its size is asserted beside it.
//!
//! # Versioning
//! [`header::VERSION`] counts changes of the meaning of any record. Fields are only ever appended to a record's fixed
//! part; a reader takes what it knows of a longer one. A field that changes its meaning takes a new version.
//!
//! # Byte order
//! Native; probes and user space run on the same machine, and recordings are little-endian.
#![no_std]
#![forbid(unsafe_code)]

pub mod capture;
pub mod counters;
pub mod header;
pub mod id;
pub mod kind;
pub mod offsets;
pub mod record;
pub mod time;
