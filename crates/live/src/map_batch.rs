//! Reads the elements of a hash map in batches (`BPF_MAP_LOOKUP_BATCH`, Linux 5.6).
//!
//! The kernel returns them bucket by bucket
//! ([`__htab_map_lookup_and_delete_batch`](https://elixir.bootlin.com/linux/v6.12/source/kernel/bpf/hashtab.c)), so an
//! element that stays in the map is read exactly once, despite concurrent changes. Iteration by key
//! (`htab_map_get_next_key` in the same file) needs two calls per element, and restarts if the key was removed. With
//! many forks and exits it may never end.

use aya::Pod;
use aya::maps::{HashMap, IterableMap as _, MapData};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, AsRawFd as _};
use tracetui_host::bpf::bpf;

/// The number of elements per call, unless a bucket has more.
const AT_ONCE: usize = 1024;

/// `BPF_MAP_LOOKUP_BATCH` of `enum bpf_cmd` (UAPI).
const BPF_MAP_LOOKUP_BATCH: libc::c_int = 24;

/// `union bpf_attr` of the batch commands (UAPI).
#[repr(C)]
struct Batch {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map_fd: u32,
    elem_flags: u64,
    flags: u64,
}

/// All elements. An element that is inserted or removed concurrently may be missing.
pub(super) fn elements<K: Pod, V: Pod>(map: &HashMap<MapData, K, V>) -> io::Result<Vec<(K, V)>> {
    let map_fd = map.map().fd().as_fd().as_raw_fd().cast_unsigned();
    let (mut keys, mut values) = (room::<K>(AT_ONCE), room::<V>(AT_ONCE));
    let mut all = Vec::new();
    // The next bucket, as returned by the last call.
    let mut place = None::<u32>;
    loop {
        let mut next = 0u32;
        let mut attr = Batch {
            in_batch: place.as_ref().map_or(0, |place| std::ptr::from_ref(place) as u64),
            out_batch: (&raw mut next) as u64,
            keys: keys.as_mut_ptr() as u64,
            values: values.as_mut_ptr() as u64,
            count: keys.len() as u32,
            map_fd,
            elem_flags: 0,
            flags: 0,
        };
        // SAFETY: `attr` points to buffers for `count` keys and values, and to two numbers; all outlive the call. aya
        // checked that the sizes of `K` and `V` are those of the map.
        let error = unsafe { bpf(BPF_MAP_LOOKUP_BATCH, &mut attr) }.err();
        match error.as_ref().and_then(io::Error::raw_os_error) {
            // The next bucket alone has more elements than fit, so nothing was read.
            Some(libc::ENOSPC) => {
                let more = keys.len() * 2;
                (keys, values) = (room(more), room(more));
                continue;
            }
            None | Some(libc::ENOENT) => {}
            Some(_) => return Err(error.unwrap_or_else(|| io::ErrorKind::Other.into())),
        }
        let read = keys.iter().zip(&values).take(attr.count as usize);
        // SAFETY: the kernel initialized the first `count` keys and values. Both types are `Pod`, so all byte patterns
        // are valid.
        all.extend(read.map(|(key, value)| unsafe { (key.assume_init(), value.assume_init()) }));
        if error.is_some() {
            return Ok(all);
        }
        place = Some(next);
    }
}

fn room<T: Copy>(elements: usize) -> Vec<MaybeUninit<T>> {
    vec![MaybeUninit::uninit(); elements]
}
