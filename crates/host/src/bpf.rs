//! bpf(2) as a raw system call, and the commands that several crates need.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

/// BPF_TRACE_ITER, an attach type.
pub const TRACE_ITER: u32 = 28;

/// bpf(2). Returns 0 or a descriptor. Makes only one system call, so it is safe after a fork.
///
/// # Safety
/// `attr` must have the layout of the start of the command's member of `union bpf_attr`. Its pointers must be valid for the command.
pub unsafe fn bpf<T: ?Sized>(command: libc::c_int, attr: &mut T) -> io::Result<libc::c_int> {
    let (size, attr) = (size_of_val(attr), std::ptr::from_mut(attr).cast::<u8>());
    // SAFETY: `attr` is live, writable and has `size` bytes. The caller guarantees that it is valid for the command.
    let done = unsafe { libc::syscall(libc::SYS_bpf, command, attr, size) };
    libc::c_int::try_from(done).ok().filter(|done| *done >= 0).ok_or_else(io::Error::last_os_error)
}

/// Like [`bpf`], with a command that returns a descriptor.
///
/// # Safety
/// See [`bpf`].
pub unsafe fn bpf_fd<T: ?Sized>(command: libc::c_int, attr: &mut T) -> io::Result<OwnedFd> {
    // SAFETY: the caller guarantees that `attr` is valid. The kernel just returned this descriptor, and nothing else owns it.
    unsafe { bpf(command, attr).map(|fd| OwnedFd::from_raw_fd(fd)) }
}

/// The number of a descriptor in `union bpf_attr`.
pub fn number(fd: impl AsFd) -> u32 {
    fd.as_fd().as_raw_fd().cast_unsigned()
}

/// Creates the link of an iterator's program. The link holds the program.
pub fn link_iterator(program: impl AsFd) -> io::Result<OwnedFd> {
    const BPF_LINK_CREATE: libc::c_int = 28;
    // SAFETY: the member begins with program, target, attach type and flags, and has no pointers.
    unsafe { bpf_fd(BPF_LINK_CREATE, &mut [number(program), 0, TRACE_ITER, 0]) }
}

/// The same, of an iterator over the elements of a map.
pub fn link_map_iterator(program: impl AsFd, map: impl AsFd) -> io::Result<OwnedFd> {
    const BPF_LINK_CREATE: libc::c_int = 28;
    /// The `link_create` member of `union bpf_attr`.
    #[repr(C)]
    struct Link {
        numbers: [u32; 4],
        info: u64,
        info_len: u32,
        reserved: u32,
    }
    // `union bpf_iter_link_info`.
    let info = [number(map), 0, 0, 0];
    let info_len = size_of_val(&info) as u32;
    let numbers = [number(program), 0, TRACE_ITER, 0];
    // SAFETY: the member has the address of `info`, which outlives the call.
    unsafe { bpf_fd(BPF_LINK_CREATE, &mut Link { numbers, info: info.as_ptr() as u64, info_len, reserved: 0 }) }
}

/// Runs an iterator whose program writes nothing to its file.
pub fn run_iterator(link: impl AsFd) -> io::Result<()> {
    /// The maximum number of interrupted reads.
    const TURNS: u32 = 1000;
    let mut file = open_iterator(link)?;
    for _ in 0..TURNS {
        match file.read(&mut [0; 64]) {
            Ok(0) => return Ok(()),
            // After many elements without a record, the kernel returns EAGAIN
            // ([`bpf_seq_read`](https://elixir.bootlin.com/linux/v6.12/source/kernel/bpf/bpf_iter.c)).
            Err(error) if !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return Err(error),
            _ => {}
        }
    }
    Err(io::Error::other("the iterator does not end"))
}

/// A file that runs an iterator when it is read.
pub fn open_iterator(link: impl AsFd) -> io::Result<File> {
    const BPF_ITER_CREATE: libc::c_int = 33;
    // SAFETY: the member has link and flags, and no pointers.
    unsafe { bpf_fd(BPF_ITER_CREATE, &mut [number(link), 0]) }.map(File::from)
}
