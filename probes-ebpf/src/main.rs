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
//! | [`call`] | system calls that ended: arguments and registers of each architecture |
//! | [`calls`] | the numbers of the system calls at whose end events are made |
//! | [`further`] | long loops on kernels before 6.9 |
//! | [`arch`] | other differences between x86-64 and aarch64 |
//! | [`read`] | reads of kernel and user memory; offsets and constants |
//! | [`scan`] | the helpers that a program calls |
//! | [`maps`] | the maps that several modules use |
#![no_std]
#![no_main]
#![feature(asm_experimental_arch)]

mod arch;
mod call;
mod calls;
mod capture;
mod emit;
mod files;
mod further;
mod maps;
mod path;
mod probes;
mod read;
mod scan;
mod session;
mod task;

#[cfg(not(test))]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
