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
use tracetui_host::bpf::{Bytes, bpf, number};

/// The number of elements per call, unless a bucket has more.
const AT_ONCE: usize = 1024;

/// `BPF_MAP_LOOKUP_BATCH` of `enum bpf_cmd` (UAPI).
const BPF_MAP_LOOKUP_BATCH: libc::c_int = 24;

/// All elements. An element that is inserted or removed concurrently may be missing.
pub(super) fn elements<K: Pod, V: Pod>(map: &HashMap<MapData, K, V>) -> io::Result<Vec<(K, V)>> {
    let map_fd = number(map.map().fd());
    let (mut keys, mut values) = (room::<K>(AT_ONCE), room::<V>(AT_ONCE));
    let mut all = Vec::new();
    // The next bucket, as returned by the last call.
    let mut place = None::<u32>;
    loop {
        let mut next = 0u32;
        let mut attr = Bytes::zeroed().with64(0, place.as_ref().map_or(0, |place| std::ptr::from_ref(place) as u64));
        attr = attr.with64(8, (&raw mut next) as u64).with64(16, keys.as_mut_ptr() as u64);
        attr = attr.with64(24, values.as_mut_ptr() as u64).with32(32, keys.len() as u32).with32(36, map_fd);
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
        let read = keys.iter().zip(&values).take(attr.u32(32) as usize);
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
