//! Creates and freezes maps. Also tests, by creating a map, whether ring buffers exist.

use super::bpf::{bpf, bpf_fd, number};
use rustix::param::page_size;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

/// Whether the kernel has the BPF ring buffer (5.8+). `None` if no map can be created at all.
pub(crate) fn ring_buffer() -> Option<bool> {
    match NewMap::ring(u32::try_from(page_size()).unwrap_or(4096)).create() {
        Ok(_) => Some(true),
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => Some(false),
        Err(_) => None,
    }
}

/// A map to create: the used start of the `BPF_MAP_CREATE` member of `union bpf_attr`.
#[repr(C)]
#[derive(Clone, Default)]
pub struct NewMap {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
    map_flags: u32,
    /// The descriptor of a map like the elements of an array of maps.
    inner_map_fd: u32,
    numa_node: u32,
    name: [u8; 16],
}

impl NewMap {
    /// A map of a type (`enum bpf_map_type`) with `max_entries` elements.
    pub fn new(map_type: u32, (key_size, value_size): (u32, u32), max_entries: u32) -> NewMap {
        NewMap { map_type, key_size, value_size, max_entries, ..NewMap::default() }
    }

    /// An array with one value of `value_size` bytes.
    pub fn array(value_size: u32) -> NewMap {
        const BPF_MAP_TYPE_ARRAY: u32 = 2;
        NewMap::new(BPF_MAP_TYPE_ARRAY, (4, value_size), 1)
    }

    pub fn ring(bytes: u32) -> NewMap {
        const BPF_MAP_TYPE_RINGBUF: u32 = 27;
        NewMap::new(BPF_MAP_TYPE_RINGBUF, (0, 0), bytes)
    }

    /// An array of `max_entries` maps of the type of `inner`.
    pub fn array_of(inner: BorrowedFd<'_>, max_entries: u32) -> NewMap {
        const BPF_MAP_TYPE_ARRAY_OF_MAPS: u32 = 12;
        NewMap { inner_map_fd: number(inner), ..NewMap::new(BPF_MAP_TYPE_ARRAY_OF_MAPS, (4, 4), max_entries) }
    }

    /// The same map with flags `BPF_F_*`.
    pub fn flags(self, map_flags: u32) -> NewMap {
        NewMap { map_flags, ..self }
    }

    /// The same map with a name, of which the kernel keeps at most 15 bytes.
    pub fn with_name(mut self, name: &str) -> NewMap {
        self.name[..15].iter_mut().zip(name.bytes()).for_each(|(to, byte)| *to = byte);
        self
    }

    pub fn create(&self) -> io::Result<OwnedFd> {
        const BPF_MAP_CREATE: libc::c_int = 0;
        // SAFETY: this has the layout of the `BPF_MAP_CREATE` member, and no pointers.
        unsafe { bpf_fd(BPF_MAP_CREATE, &mut self.clone()) }
    }
}

/// Sets an element of an array.
///
/// # Safety
/// `value` must have the size of the map's values.
pub unsafe fn set(map: BorrowedFd<'_>, key: u32, value: &[u8]) -> io::Result<()> {
    const BPF_MAP_UPDATE_ELEM: libc::c_int = 2;
    let mut attr = [u64::from(number(map)), (&raw const key) as u64, value.as_ptr() as u64, 0];
    // SAFETY: `attr` has the layout of the `BPF_MAP_UPDATE_ELEM` member of `union bpf_attr`. The key and the value outlive the
    // call, and have the sizes of those of the map, as the caller guarantees.
    unsafe { bpf(BPF_MAP_UPDATE_ELEM, &mut attr) }.map(drop)
}

/// Freezes a map. No process, including this one, can change it by bpf(2) any more. Programs still can
/// ([`map_freeze`](https://elixir.bootlin.com/linux/v6.12/source/kernel/bpf/syscall.c), 5.2+).
/// EBUSY: another process is changing the map, or has frozen it.
pub fn freeze(map: BorrowedFd<'_>) -> io::Result<()> {
    const BPF_MAP_FREEZE: libc::c_int = 22;
    const TRIES: u32 = 50;
    // SAFETY: the `map_fd` of `union bpf_attr` is its first word. The descriptor is open during the call.
    let freeze = || unsafe { bpf(BPF_MAP_FREEZE, &mut number(map)) }.map(drop);
    let mut frozen = freeze();
    for _ in 0..TRIES {
        if !frozen.as_ref().is_err_and(|error| error.raw_os_error() == Some(libc::EBUSY)) {
            break;
        }
        std::thread::sleep(Duration::from_millis(1));
        frozen = freeze();
    }
    frozen
}
