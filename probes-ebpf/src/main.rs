//! The kernel half: BPF programs that write the records of `tracetui-shared` into a ring buffer.
//!
//! | module | content |
//! |---|---|
//! | [`probes`] | one file per kind of event: the programs at each attach point, and how they fill a record |
//! | [`emit`] | filtering, numbering and sending of events, and their counters |
//! | [`capture`] | the capture filter |
//! | [`task`] | the identity of the calling thread: the header of a record |
//! | [`path`] | names from a dentry up to the root |
//! | [`files`] | open files, from their descriptors |
//! | [`sock`] | sockets, from their open files; calls on them |
//! | [`io_uring`] | requests and completions of io_uring |
//! | [`call`] | system calls that ended: arguments and registers of each architecture |
//! | [`context`] | the context of a program, by the way in which it is attached |
//! | [`functions`] | functions that the verifier checks once |
//! | [`ioctl`] | the requests of ioctl(2) that attach programs |
//! | [`arch`] | other differences between x86-64 and aarch64 |
//! | [`read`] | reads of kernel and user memory; offsets and constants |
//! | [`scan`] | the helpers that a program calls |
//! | [`maps`] | the maps that several modules use |
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod arch;
mod call;
mod capture;
mod context;
mod emit;
mod files;
mod functions;
mod io_uring;
mod ioctl;
mod maps;
mod path;
mod probes;
mod read;
mod scan;
mod session;
mod sock;
mod task;

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
