//! The fields of `bpf` events.

use super::*;

/// A value from the program's kernel object.
fn of_prog<'a>(seen: &EventContext<'a>, get: impl FnOnce(&'a Bpf<'a>) -> Value<'a>) -> Value<'a> {
    bpf(seen, |b| if b.has(has::PROG) { get(b) } else { b.no_program() })
}

/// A value that a program of classic BPF does not have.
fn of_ebpf<'a>(seen: &EventContext<'a>, get: impl FnOnce(&'a Bpf<'a>) -> Value<'a>) -> Value<'a> {
    of_prog(seen, |b| if b.is_classic() { Value::Null } else { get(b) })
}

/// A value that the kernel's own stream of programs does not report.
fn of_call<'a>(seen: &EventContext<'a>, get: impl FnOnce(&'a Bpf<'a>) -> Value<'a>) -> Value<'a> {
    of_ebpf(seen, |b| {
        if b.is_made() && b.record().prog_uid == u32::MAX { Value::Unknown(Why::NotCollected) } else { get(b) }
    })
}

/// A value that only an attachment has; null for a load.
fn of_attach<'a>(seen: &EventContext<'a>, get: impl FnOnce(&'a Bpf<'a>) -> Value<'a>) -> Value<'a> {
    bpf(seen, |b| if b.is_of_program() { Value::Null } else { get(b) })
}

/// The kernel symbol that contained the attach point at the time of the event.
fn symbol<'a>(seen: &EventContext<'a>, bpf: &Bpf<'_>) -> Option<&'a KernelSymbol> {
    let addr = bpf.record().addr;
    if addr == 0 { None } else { seen.world.symbol(addr, seen.event.header.time) }
}

/// The helpers that the program calls.
fn calls(record: &BpfRecord) -> HelperCalls {
    HelperCalls { helpers: record.helpers, unknown: NotScanned::of(unknown_of(record.scan)) }
}

/// A property of the helpers that the program calls. It is unknown if none is known, and others may be missing.
fn of_helpers<'a>(seen: &EventContext<'a>, get: fn(HelperCalls) -> Words) -> Value<'a> {
    bpf(seen, |b| match calls(&b.record()) {
        calls if calls.unknown.is_none() || calls.helpers != 0 => Value::Words(get(calls)),
        _ if !b.has(has::PROG) => b.no_program(),
        _ => Value::Unknown(helpers_why(b)),
    })
}

fn write_user(record: &BpfRecord) -> &'static str {
    calls(record).write_user().map_or("unknown", |writes| if writes { "yes" } else { "no" })
}

/// The reason why the helpers of a program are unknown.
fn helpers_why(b: &Bpf<'_>) -> Why {
    match b.record().scan {
        scan::CUT => Why::Cut,
        scan::NO_ADDRESSES => Why::NotPermitted,
        scan::TAIL_CALL => Why::TailCall,
        _ if !b.has(has::PROG) => b.why_missing(),
        _ => Why::NotCollected,
    }
}

/// The offset of a probe, even if it is 0.
fn offset<'a>(b: &Bpf<'_>) -> Value<'a> {
    let multi = b.on(on::MULTI) && !b.text.is_empty();
    if b.has(has::KPROBE) || b.has(has::UPROBE) || multi { Value::Uint(b.record().offset) } else { Value::Null }
}

const PROG: &[Field] = field_table! {
    id Number "bpf_prog_aux.id; null for a classic BPF program." |s| of_ebpf(s, |b| match b.record().prog_id {
        0 if b.is_hidden() => Value::Unknown(Why::NotCollected),
        0 => Value::Unknown(Why::Vanished),
        id => Value::Uint(id.into()),
    }), with(props::LACKS);
    name Text "bpf_prog_aux.ksym.name, or bpf_prog_aux.name (15 bytes); of a failed load, as passed."
        |s| bpf(s, |b| match b.has(has::PROG) || !b.name.is_empty() {
            true if b.is_classic() => Value::Null,
            true if b.is_unread() => Value::Unknown(Why::NotCollected),
            true => Value::Bytes(b.name()),
            false => b.no_program(),
        }), with(props::LACKS | props::BYTES);
    type Text "bpf_prog.type; of a failed load, as passed; classic for classic BPF." |s| bpf(s, |b| {
        if b.is_classic() {
            Value::Word("classic")
        } else if b.is_made() && b.record().prog_uid == u32::MAX {
            Value::Unknown(Why::NotCollected)
        } else if b.has(has::PROG) || b.op() == "load" && b.has(has::ATTR) {
            Value::Word(names::prog_type(b.record().prog_type).unwrap_or("unknown"))
        } else if b.record().call == call::BPF && !b.has(has::ATTR) {
            Value::Unknown(Why::Fault)
        } else {
            b.no_program()
        }
    }), with(props::LACKS);
    attach_type Text "bpf_prog.expected_attach_type; null if 0."
        |s| of_call(s, |b| match (b.record().expected_attach_type, b.record().prog_type) {
            // bpf(2) does not report it.
            (0, _) if b.is_made() => Value::Unknown(Why::NotCollected),
            (0, prog_type) if prog_type != prog::CGROUP_SKB => Value::Null,
            (attach_type, _) => names::attach_type(attach_type).map_or(Value::Null, Value::Word),
        }), with(props::LACKS);
    tag Text "bpf_prog.tag, 16 hex digits." |s| of_ebpf(s, |b| {
        if b.is_hidden() || b.is_unread() { Value::Unknown(Why::NotCollected) } else { Value::Tag(b.record().tag) }
    }), with(props::LACKS);
    uid User "User who loaded it: bpf_prog_aux.user->uid." |s| of_call(s, |b| {
        if b.record().prog_uid == u32::MAX {
            Value::Unknown(Why::NoField)
        } else {
            Value::Uint(b.record().prog_uid.into())
        }
    }), with(props::LACKS);
    write_user Text "Whether its instructions (bpf_prog.insnsi) call bpf_probe_write_user: yes no unknown."
        |s| bpf(s, |b| match b.no_program() {
            Value::Null if !b.has(has::PROG) => Value::Null,
            _ => Value::Word(write_user(&b.record())),
        });
    write_user_why Text "Reason for unknown." |s| bpf(s, |b| {
        if !b.has(has::PROG) && matches!(b.no_program(), Value::Null) {
            Value::Null
        } else if write_user(&b.record()) == "unknown" {
            Value::Word(helpers_why(b).word())
        } else {
            Value::Null
        }
    });
    helpers List "Helpers it calls that change something beyond its maps."
        |s| of_helpers(s, HelperCalls::names), with(props::LACKS);
    changes List "What they change: user_memory processes return_value kernel packet socket."
        |s| of_helpers(s, HelperCalls::changes), with(props::LACKS);
};

const ATTACH: &[Field] = field_table! {
    type Text "Type of the attach point, regardless of the mechanism."
        |s| of_attach(s, |b| b.attach_kind().map_or(Value::Unknown(b.why_missing()), Value::Word)), with(props::LACKS);
    via Text "Mechanism: link ioctl prog_attach netlink setsockopt map seccomp."
        |s| of_attach(s, |b| b.via().map_or(Value::Null, Value::Word));
    target Text "Attach point: trace_event_class.system and event name, tracepoint name, trace_kprobe.symbol, trace_uprobe.filename, \
        bpf_prog_aux.attach_func_name, path of the cgroup, net_device.name, bpf_map.name, bpf_iter_reg.target, or pmu.name; \
        tun for a filter of a tun device; socket:INODE for the option of a socket. For a refused attempt: the interface or the descriptor as passed."
        |s| of_attach(s, |b| match (b.target(b.cgroup_path(s.world)), symbol(s, b)) {
            (Value::Addr(_), Some(symbol)) => Value::Bytes(&symbol.name),
            (target, _) => target,
        }), with(props::LACKS | props::BYTES);
    symbol Text "Kernel function: trace_kprobe.symbol; for a probe by address, the symbol that then contained it."
        |s| of_attach(s, |b| match (b.has(has::KPROBE), symbol(s, b)) {
            (true, _) if !b.text.is_empty() => Value::Bytes(b.text),
            (_, Some(symbol)) => Value::Bytes(&symbol.name),
            (true, None) => Value::Unknown(Why::NotCollected),
            (false, None) => Value::Null,
        }), with(props::LACKS | props::BYTES);
    offset Number "Offset in the function (trace_kprobe.rp.kp.offset) or in the file (trace_uprobe.offset, bpf_uprobe.offset), in bytes."
        |s| of_attach(s, |b| match symbol(s, b) {
            Some(symbol) if b.text.is_empty() => Value::Uint(b.record().addr - symbol.addr.0),
            _ => offset(b),
        }), with(props::LACKS);
    addr Text "Address: trace_kprobe.rp.kp.addr, bpf_kprobe_multi_link.addrs[0]."
        |s| of_attach(s, |b| if b.record().addr == 0 { Value::Null } else { Value::Addr(b.record().addr) }), with(props::LACKS);
    module Text "Kernel module of the function." |s| of_attach(s, |b| match symbol(s, b) {
        _ if b.record().addr == 0 => Value::Null,
        Some(symbol) if symbol.owner.is_empty() => Value::Null,
        Some(symbol) => Value::Bytes(&symbol.owner),
        None => Value::Unknown(Why::NotCollected),
    }), with(props::LACKS);
    multi Number "Number of the link's attach points; null if its type allows one only."
        |s| of_attach(s, |b| if b.on(on::MULTI) { Value::Uint(b.record().count.into()) } else { Value::Null }), with(props::LACKS);
    link_id Number "bpf_link.id; null without a link."
        |s| of_attach(s, |b| if b.has(has::LINK) { Value::Uint(b.record().link_id.into()) } else { Value::Null });
    cookie Number "bpf_cookie as passed; null if 0 or passed by a program."
        |s| of_attach(s, |b| if b.record().cookie == 0 { Value::Null } else { Value::Uint(b.record().cookie) }), with(props::UNSIGNED);
    ifindex Number "Network interface: net_device.ifindex, or as passed."
        |s| of_attach(s, |b| b.device().map_or(Value::Null, Value::Uint));
};

pub(crate) const FIELDS: &[Field] = field_table! {
    op Text "Operation: load attach update detach unload hidden." |s| bpf(s, |b| Value::Word(b.op()));
    ret Number "Descriptor or 0; −errno on error; null if no system call reports it."
        |s| bpf(s, |b| match (b.is_made(), b.op()) {
            (false, _) => Value::Int(b.record().ret.into()),
            (true, "load" | "attach") => Value::Unknown(Why::NotCollected),
            (true, _) => Value::Null,
        }), with(props::LACKS);
    err Text "Name of the error; null on success." |s| bpf(s, |b| err_value(b.record().ret));
    prog Object "Program, read from the kernel object of the descriptor." |s| bpf(s, |_| Value::Object), made_of(PROG);
    attach Object "Attachment; null for loads, unloads and hidden programs. Of a hidden link, its id and type."
        |s| of_attach(s, |_| Value::Object), made_of(ATTACH);
    = STACK;
    seen_by Text "Source: call, stream (the process is looked up by id, as of its last event), inventory; for hidden, the view that shows it."
        |s| bpf(s, |b| Value::Word(b.seen_by()));
    missing_in Text "For hidden, the view that lacks it; otherwise null." |s| bpf(s, |b| match b.op() {
        "hidden" => Value::Word(view_name(b.record().priority.into())),
        _ => Value::Null,
    });
};
