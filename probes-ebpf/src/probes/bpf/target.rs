//! The target of an attachment: a map, a network interface, a network namespace, or a name.

use super::BpfScratch;
use crate::read::{get, has as exists, offset, rd_field, read_kernel, read_kernel_str, set};
use tracetui_shared::offsets::field;
use tracetui_shared::record::bpf::{NAME_LEN, TARGET_LEN, TEXT_LEN, on};

/// Writes a map as the target.
#[inline(always)]
pub(super) fn map(s: &mut BpfScratch, map: u64) {
    if map == 0 || !exists(field::MapId) {
        return;
    }
    let record = &mut s.frame.record;
    record.on |= on::MAP;
    record.object = rd_field(map, field::MapId);
    if exists(field::MapName) {
        read_kernel(&mut record.target, NAME_LEN as u64, map.wrapping_add(offset(field::MapName)));
    }
}

/// Writes a network interface as the target.
#[inline(always)]
pub(super) fn device(s: &mut BpfScratch, device: u64) {
    if device == 0 || !exists(field::NetDeviceIfindex) {
        return;
    }
    let record = &mut s.frame.record;
    record.on |= on::DEVICE;
    record.object = rd_field(device, field::NetDeviceIfindex);
    if exists(field::NetDeviceName) {
        let name = device.wrapping_add(offset(field::NetDeviceName));
        read_kernel(&mut record.target, NAME_LEN as u64, name);
    }
}

/// Writes a network namespace as the target.
#[inline(always)]
pub(super) fn net(s: &mut BpfScratch, net: u64) {
    if net != 0 && exists(field::NetInum) {
        let record = &mut s.frame.record;
        record.on |= on::NETNS;
        record.object = rd_field(net, field::NetInum);
    }
}

/// Writes the name of the target and the text after the record.
#[inline(always)]
pub(super) fn names(s: &mut BpfScratch) {
    let record = &mut s.frame.record;
    if string(&mut record.target, get(&s.found.name)) {
        let (has, on) = (get(&s.found.name_has), get(&s.found.name_on));
        set(&mut record.has, get(&record.has) | has as u8);
        set(&mut record.on, get(&record.on) | on as u16);
    }
    let text = get(&s.found.text);
    if text != 0 {
        let length = read_kernel_str(&mut s.text, TEXT_LEN as u64, text);
        record.text_len = if length > 0 { length as u32 } else { 0 };
    }
}

/// The address of `tracepoint->name`; 0 if there is no tracepoint.
#[inline(always)]
pub(super) fn name_of_tracepoint(tracepoint: u64) -> u64 {
    if tracepoint == 0 { 0 } else { rd_field(tracepoint, field::TracepointName) }
}

/// Writes a kernel string. Returns whether there is one. `to` is never the first byte of a map value
/// ([`read_kernel_str`]).
#[inline(always)]
pub(super) fn string(to: &mut [u8; TARGET_LEN], from: u64) -> bool {
    from != 0 && read_kernel_str(to, TARGET_LEN as u64, from) > 1
}
