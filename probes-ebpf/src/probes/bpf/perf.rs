//! Perf events: tracepoints, kprobes and uprobes.

use super::BpfScratch;
use super::target::{name_of_tracepoint, string};
use crate::read::{get, has as exists, konst, offset, rd_field, set};
use tracetui_shared::offsets::field;
use tracetui_shared::record::bpf::{has, on};

/// Writes the fields of the perf event, if there is one, and finds its target: the system of the event's class, and the
/// event's name.
#[inline(always)]
pub(super) fn perf_event(s: &mut BpfScratch) {
    let event = get(&s.found.event);
    if event == 0 {
        return;
    }
    let record = &mut s.frame.record;
    set(&mut record.has, get(&record.has) | has::PERF);
    record.perf_type = rd_field(event, field::PerfEventAttrType);
    record.perf_config = rd_field(event, field::PerfEventAttrConfig);
    let tp_event: u64 = rd_field(event, field::PerfEventTpEvent);
    if tp_event == 0 {
        record.on |= on::EVENT;
        record.object = rd_field::<u64>(event, field::PerfEventId) as u32;
        set(&mut s.found.name, rd_field(rd_field(event, field::PerfEventPmu), field::PmuName));
        return;
    }
    set(&mut record.call_flags, rd_field(tp_event, field::TraceCallFlags));
    let flags = &record.call_flags;
    let is = |flag| u64::from(get(flags)) & flag != 0;
    let class: u64 = rd_field(tp_event, field::TraceCallClass);
    set(&mut s.found.name, rd_field(class, field::TraceClassSystem));
    // A union (`struct trace_event_call`, include/linux/trace_events.h): the tracepoint, or the event's own name.
    let mut name: u64 = rd_field(tp_event, field::TraceCallName);
    if is(konst!(TraceFlagTracepoint)) {
        name = name_of_tracepoint(name);
    }
    string(&mut record.target2, name);
    if is(konst!(TraceFlagKprobe)) {
        kprobe(s, tp_event);
    } else if is(konst!(TraceFlagUprobe)) {
        uprobe(s, tp_event);
    }
}

/// The `trace_probe` of a probe event: the first of those that share the event
/// ([kernel/trace/trace_probe.h](https://elixir.bootlin.com/linux/v6.12/source/kernel/trace/trace_probe.h)).
#[inline(always)]
fn trace_probe(tp_event: u64) -> u64 {
    let event = tp_event.wrapping_sub(offset(field::TraceProbeEventCall));
    let list: u64 = rd_field(event, field::TraceProbeEventProbes);
    list.wrapping_sub(offset(field::TraceProbeList))
}

/// Writes function, offset and address of a kprobe. One by address has no name.
#[inline(always)]
fn kprobe(s: &mut BpfScratch, tp_event: u64) {
    if !exists(field::TraceKprobeTp) || !exists(field::TraceProbeEventCall) || !exists(field::TraceProbeList) {
        return;
    }
    let record = &mut s.frame.record;
    let probe = trace_probe(tp_event).wrapping_sub(offset(field::TraceKprobeTp));
    record.has |= has::KPROBE;
    if rd_field::<u64>(probe, field::TraceKprobeHandler) != 0 {
        record.has |= has::RETURNS;
    }
    record.addr = rd_field(probe, field::TraceKprobeAddr);
    record.offset = u64::from(rd_field::<u32>(probe, field::TraceKprobeOffset));
    set(&mut s.found.text, rd_field(probe, field::TraceKprobeSymbol));
}

/// Writes file and offset of a uprobe.
#[inline(always)]
fn uprobe(s: &mut BpfScratch, tp_event: u64) {
    if !exists(field::TraceUprobeTp) || !exists(field::TraceProbeEventCall) || !exists(field::TraceProbeList) {
        return;
    }
    let record = &mut s.frame.record;
    let probe = trace_probe(tp_event).wrapping_sub(offset(field::TraceUprobeTp));
    record.has |= has::UPROBE;
    if rd_field::<u64>(probe, field::TraceUprobeRet) != 0 {
        record.has |= has::RETURNS;
    }
    record.offset = rd_field(probe, field::TraceUprobeOffset);
    set(&mut s.found.text, rd_field(probe, field::TraceUprobeFilename));
}
