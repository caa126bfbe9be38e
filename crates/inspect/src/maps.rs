//! The programs in maps: of sockets, of programs, of interfaces and processors, and of functions that the kernel calls.

use super::links::Types;
use super::places::attached;
use super::programs::{Read, map_at as at, map_name};
use super::sys::{self, Bytes, ObjectKind};
use super::unread_objects::Unlooked;
use foldhash::HashMap;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use tracetui_events::bpf::{Hook, SOCKMAPS, Via};
use tracetui_events::frame::host::BpfAttachment;
use tracetui_events::limits;
use tracetui_shared::id::ProgId;
use tracetui_shared::record::bpf::link_type;

/// BPF_SK_SKB_STREAM_PARSER, BPF_SK_SKB_STREAM_VERDICT, BPF_SK_MSG_VERDICT, BPF_SK_SKB_VERDICT.
const OF_SOCKET_MAPS: [u32; 4] = [4, 5, 7, 38];

const STREAM_VERDICT: u32 = 5;

/// `enum bpf_map_type`.
mod map_type {
    pub(super) const PROG_ARRAY: u32 = 3;
    pub(super) const DEVMAP: u32 = 14;
    pub(super) const SOCKMAP: u32 = 15;
    pub(super) const CPUMAP: u32 = 16;
    pub(super) const SOCKHASH: u32 = 18;
    pub(super) const DEVMAP_HASH: u32 = 25;
    pub(super) const STRUCT_OPS: u32 = 26;
}

/// The size of `struct bpf_devmap_val` and `struct bpf_cpumap_val` with a program, whose id is their second half (5.8, 5.9).
const WITH_PROGRAM: usize = 8;

/// BPF_STRUCT_OPS_STATE_INUSE of `enum bpf_struct_ops_state`, and the offset of the state in the value of a map.
const IN_USE: u32 = 1;
const STATE: usize = 4;

/// The maximum size of a table of functions in bytes. The kernel allows a page.
const TABLE: usize = 64 << 10;

pub(super) fn programs(
    links: &[BpfAttachment],
    programs: &HashMap<u32, Read>,
    types: &mut Types,
    unlooked: &mut Unlooked,
) -> Vec<BpfAttachment> {
    let mut found = Vec::new();
    let (ids, all) = unlooked.note("maps", sys::ids(ObjectKind::Map, limits::BPF_PROGRAMS)).unwrap_or_default();
    if !all && !ids.is_empty() {
        unlooked.cut("maps", limits::BPF_PROGRAMS);
    }
    let mut left = limits::BPF_MAP_ENTRIES;
    for id in ids {
        let Some(Some(map)) = unlooked.note("maps", sys::open(ObjectKind::Map, id)) else { continue };
        let Ok(info) = sys::info(map.as_fd()) else { continue };
        let before = found.len();
        let at_index = |hook, programs: Vec<(u32, u32)>| {
            let name = map_name(id);
            programs.into_iter().map(move |(index, program)| BpfAttachment {
                program: ProgId(program),
                via: Via::Map,
                hook,
                target: [&name, format!("[{index}]").as_bytes()].concat(),
                index: Some(index),
                ..BpfAttachment::default()
            })
        };
        match info.u32(at::TYPE) {
            map_type::SOCKMAP | map_type::SOCKHASH => {
                for attach_type in OF_SOCKET_MAPS {
                    let programs = sys::query(map.as_raw_fd().cast_unsigned(), attach_type);
                    let is_refused = |error: &io::Error| error.raw_os_error() == Some(libc::EINVAL);
                    if attach_type == STREAM_VERDICT && programs.as_ref().is_err_and(is_refused) {
                        unlooked.add(SOCKMAPS, "BPF_PROG_QUERY shows them from 5.15 on".to_owned(), "");
                    }
                    let programs = programs.unwrap_or_default();
                    found.extend(programs.into_iter().map(|queried| attached(queried, attach_type, &map_name(id))));
                }
            }
            map_type::PROG_ARRAY => found.extend(at_index(Hook::ProgArray, elements(&map, &info, &mut left))),
            map_type::DEVMAP | map_type::DEVMAP_HASH => {
                found.extend(at_index(Hook::Devmap, elements(&map, &info, &mut left)));
            }
            map_type::CPUMAP => found.extend(at_index(Hook::Cpumap, elements(&map, &info, &mut left))),
            map_type::STRUCT_OPS => {
                let mut of_map = links.iter().filter(|link| link.map == Some(id) && !link.detached);
                let linked = of_map.any(|link| link.link_type == link_type::STRUCT_OPS);
                let functions = called_by_kernel(&map, &info, linked, types);
                let listed = functions.into_iter().filter(|(program, _)| programs.contains_key(program));
                found.extend(listed.map(|(program, function)| BpfAttachment {
                    program: ProgId(program),
                    via: Via::Map,
                    hook: Hook::StructOps,
                    target: map_name(id),
                    symbol: function,
                    ..BpfAttachment::default()
                }));
            }
            _ => {}
        }
        found.iter_mut().skip(before).for_each(|facts| facts.map = Some(id));
    }
    if left == 0 {
        unlooked.cut("programs in maps", limits::BPF_MAP_ENTRIES);
    }
    found
}

/// The programs in the elements, each with its index or key. `left`: the number of elements that may be read.
fn elements(map: &OwnedFd, info: &Bytes, left: &mut usize) -> Vec<(u32, u32)> {
    let (map_type, size) = (info.u32(at::TYPE), info.u32(at::VALUE_SIZE) as usize);
    let of_programs = map_type == map_type::PROG_ARRAY;
    let (mut found, mut last) = (Vec::new(), None::<u32>);
    if size > WITH_PROGRAM || !of_programs && size != WITH_PROGRAM {
        return found;
    }
    let next = |last: Option<u32>| match map_type {
        map_type::DEVMAP_HASH => sys::next_key(map.as_fd(), last),
        _ => Some(last.map_or(0, |last| last + 1)).filter(|index| *index < info.u32(at::MAX_ENTRIES)),
    };
    while *left > 0
        && let Some(key) = next(last)
    {
        (*left, last) = (*left - 1, Some(key));
        let mut value = [0; WITH_PROGRAM];
        let read = sys::lookup(map.as_fd(), &key.to_ne_bytes(), &mut value[..size]);
        let [a, b, c, d, second @ ..] = value;
        let program = u32::from_ne_bytes(if of_programs { [a, b, c, d] } else { second });
        found.extend(read.ok().filter(|()| program != 0).map(|()| (key, program)));
    }
    found
}

/// The programs in a table of functions that the kernel uses, each with its member. `linked`: a link refers to it.
fn called_by_kernel(map: &OwnedFd, info: &Bytes, linked: bool, types: &mut Types) -> Vec<(u32, Vec<u8>)> {
    let mut value = vec![0; (info.u32(at::VALUE_SIZE) as usize).min(TABLE)];
    if sys::lookup(map.as_fd(), &[0; 4], &mut value).is_err() {
        return Vec::new();
    }
    let word = |at: usize| Some(u32::from_ne_bytes(value.get(at..at + 4)?.try_into().ok()?));
    if !linked && word(STATE) != Some(IN_USE) {
        return Vec::new();
    }
    // The kernel shows the id of a program in place of the pointer to it.
    let program = |(at, member): (u32, Vec<u8>)| Some((word(at as usize).filter(|id| *id != 0)?, member));
    types.callbacks(info.u32(at::VALUE_TYPE)).into_iter().filter_map(program).collect()
}
