//! Links, and what each type of them is attached to.

use super::BpfScratch;
use super::object::{is_program, private_of, program_of_link};
use super::target::{device, map, name_of_tracepoint, net};
use crate::files::{Anonymous, is_anonymous};
use crate::read::{get, has as exists, konst, offset, rd, rd_field, set};
use tracetui_shared::offsets::field;
use tracetui_shared::record::bpf::{has, link_type, on};

/// Writes the fields of the link, if there is one, and finds its target. A link is recognized by its program, or, because one to struct_ops
/// has none, by its file.
#[inline(always)]
pub(super) fn link(s: &mut BpfScratch) {
    let link = get(&s.found.link);
    let prog = program_of_link(link);
    let is_link = link != 0 && prog == 0 && is_anonymous(get(&s.found.file), &Anonymous::BPF_LINK);
    if !is_link && !is_program(prog) {
        return;
    }
    let record = &mut s.frame.record;
    set(&mut record.has, get(&record.has) | has::LINK);
    record.link_id = rd_field(link, field::LinkId);
    set(&mut record.link_type, rd_field(link, field::LinkType));
    let kind = get(&record.link_type);
    if u64::from(kind) == konst!(LinkTypePerf) {
        set(&mut s.found.event, private_of(rd_field(link, field::PerfLinkFile)));
    } else if u64::from(kind) == konst!(LinkTypeRawTp) {
        let btp: u64 = rd_field(link, field::RawTpLinkBtp);
        set(&mut s.found.name, name_of_tracepoint(rd_field(btp, field::RawEventMapTp)));
        set(&mut s.found.name_has, u64::from(has::RAW_TP));
    } else {
        target_of_link(s, link, prog, kind);
    }
}

/// Writes the target of a link of one of the other types. Each is a structure that begins with the `bpf_link`, except for
/// `bpf_uprobe_multi_link`.
#[inline(always)]
fn target_of_link(s: &mut BpfScratch, link: u64, prog: u64, kind: u32) {
    let record = &mut s.frame.record;
    match kind {
        link_type::CGROUP => {
            let cgroup: u64 = rd_field(link, field::CgroupLinkCgroup);
            if cgroup != 0 {
                record.on |= on::CGROUP;
                record.cgroup = rd_field(rd_field(cgroup, field::CgroupKn), field::KernfsNodeId);
            }
        }
        link_type::ITER => {
            let target: u64 = rd_field(rd_field(link, field::IterLinkTinfo), field::IterTargetRegInfo);
            set(&mut s.found.name, rd_field(target, field::IterRegTarget));
            set(&mut s.found.name_on, u64::from(on::ITER));
        }
        link_type::NETNS => net(s, rd_field(link, field::NetnsLinkNet)),
        link_type::XDP | link_type::TCX | link_type::NETKIT => {
            let to: u64 = match kind {
                link_type::XDP => rd_field(link, field::XdpLinkDev),
                link_type::TCX => rd_field(link, field::TcxLinkDev),
                _ => rd_field(link, field::NetkitLinkDev),
            };
            device(s, to);
        }
        link_type::STRUCT_OPS | link_type::SOCKMAP => {
            let to: u64 = match kind {
                link_type::STRUCT_OPS => rd_field(link, field::StructOpsLinkMap),
                _ => rd_field(link, field::SockmapLinkMap),
            };
            map(s, to);
        }
        link_type::NETFILTER if exists(field::NfLinkPf) => {
            record.on |= on::NETFILTER;
            record.pf = rd_field(link, field::NfLinkPf);
            record.hooknum = rd_field(link, field::NfLinkHooknum);
            record.priority = rd_field(link, field::NfLinkPriority);
        }
        link_type::KPROBE_MULTI if exists(field::KprobeMultiAddrs) => {
            record.on |= on::MULTI;
            record.count = rd_field(link, field::KprobeMultiCnt);
            record.addr = rd(rd_field(link, field::KprobeMultiAddrs));
        }
        link_type::UPROBE_MULTI if exists(field::UprobeMultiLink) => {
            let link = link.wrapping_sub(offset(field::UprobeMultiLink));
            record.on |= on::MULTI;
            record.count = rd_field(link, field::UprobeMultiCnt);
            record.offset = rd_field(rd_field(link, field::UprobeMultiUprobes), field::UprobeOffset);
        }
        _ => {
            let aux: u64 = rd_field(prog, field::ProgAux);
            set(&mut s.found.name, rd_field(aux, field::AuxAttachFuncName));
            if kind == link_type::TRACING {
                let target: u64 = rd_field(link, field::TracingLinkTgtProg);
                if target != 0 {
                    record.on |= on::PROG;
                    record.object = rd_field(rd_field(target, field::ProgAux), field::AuxId);
                }
            }
        }
    }
}
