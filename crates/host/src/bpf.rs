//! bpf(2) as a raw system call, and the commands that several crates need.

use super::{u32_at, u64_at};
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

/// Zeroed memory of a fixed size for `union bpf_attr` or an information structure. It is larger than the structures
/// that this code knows. The kernel accepts that as long as the rest is zero.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub struct Bytes(pub [u8; SIZE]);

const SIZE: usize = 256;

impl Bytes {
    pub fn zeroed() -> Bytes {
        Bytes([0; SIZE])
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        if let Some(to) = self.0.get_mut(at..at + bytes.len()) {
            to.copy_from_slice(bytes);
        }
    }

    pub fn set32(&mut self, at: usize, value: u32) {
        self.put(at, &value.to_ne_bytes());
    }

    pub fn set64(&mut self, at: usize, value: u64) {
        self.put(at, &value.to_ne_bytes());
    }

    pub fn with32(mut self, at: usize, value: u32) -> Bytes {
        self.set32(at, value);
        self
    }

    pub fn with64(mut self, at: usize, value: u64) -> Bytes {
        self.set64(at, value);
        self
    }

    pub fn u32(&self, at: usize) -> u32 {
        u32_at(&self.0, at)
    }

    pub fn u64(&self, at: usize) -> u64 {
        u64_at(&self.0, at)
    }
}

/// BPF_OBJ_GET_INFO_BY_FD.
///
/// # Safety
/// Addresses in `info` must be those of live memory with the lengths in `info`, which the kernel may write.
pub unsafe fn info_into(fd: impl AsFd, info: &mut Bytes) -> io::Result<()> {
    const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;
    let mut attr = Bytes::zeroed().with32(0, number(fd)).with32(4, SIZE as u32).with64(8, info.0.as_mut_ptr() as u64);
    // SAFETY: `info` is live and has `SIZE` bytes, as `attr` says. The caller guarantees what is in it.
    unsafe { bpf(BPF_OBJ_GET_INFO_BY_FD, &mut attr) }.map(drop)
}

/// The information about an object, without variable parts. Fields that the kernel does not know are 0.
pub fn info(fd: impl AsFd) -> io::Result<Bytes> {
    let mut info = Bytes::zeroed();
    // SAFETY: `info` contains no addresses.
    unsafe { info_into(fd, &mut info) }?;
    Ok(info)
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
    // `union bpf_iter_link_info`.
    let info = [number(map), 0, 0, 0];
    let mut attr = Bytes::zeroed().with32(0, number(program)).with32(8, TRACE_ITER);
    attr.set64(16, info.as_ptr() as u64);
    attr.set32(24, size_of_val(&info) as u32);
    // SAFETY: the member has the address of `info`, which outlives the call.
    unsafe { bpf_fd(BPF_LINK_CREATE, &mut attr) }
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
