//! `struct bpf_map_info`.

use super::sys::{self, Bytes, ObjectKind};
use std::os::fd::AsFd as _;
use tracetui_events::frame::host::BpfMap;
use tracetui_shared::header::until_nul;

/// The offsets.
pub(super) mod at {
    pub(crate) const TYPE: usize = 0;
    pub(crate) const VALUE_SIZE: usize = 12;
    pub(crate) const MAX_ENTRIES: usize = 16;
    pub(crate) const NAME: usize = 24;
    pub(crate) const VALUE_TYPE: usize = 44;
}

/// The maximum length of a name in bytes, with the final NUL (`BPF_OBJ_NAME_LEN`).
const NAME_LEN: usize = 16;

pub(super) fn described(info: &Bytes, id: u32) -> BpfMap {
    BpfMap { id, map_type: info.u32(at::TYPE), name: name(info), max_entries: info.u32(at::MAX_ENTRIES) }
}

/// The name and the id of a map, or the id alone.
pub(super) fn map_name(id: u32) -> Vec<u8> {
    let info = sys::open(ObjectKind::Map, id).ok().flatten().and_then(|fd| sys::info(fd.as_fd()).ok());
    let mut text = info.map(|info| name(&info)).unwrap_or_default();
    text.extend_from_slice(format!("{}map {id}", if text.is_empty() { "" } else { " " }).as_bytes());
    text
}

fn name(info: &Bytes) -> Vec<u8> {
    until_nul(&info.0[at::NAME..at::NAME + NAME_LEN]).to_vec()
}
