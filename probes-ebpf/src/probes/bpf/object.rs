//! The kernel objects behind the descriptors, and the program among them.

use super::BpfScratch;
use super::target::map;
use crate::call::Call;
use crate::files::{Anonymous, file_at, inode_of, is_anonymous, is_shared, is_tun};
use crate::read::{get, has as exists, ld, offset, rd_field, read_kernel, set};
use crate::scan;
use tracetui_shared::offsets::field;
use tracetui_shared::record::bpf::{NAME_LEN, SYMBOL_LEN, call, cmd, has, on, option, tun};

/// Finds the objects behind the descriptors.
#[inline(always)]
pub(super) fn objects(s: &mut BpfScratch, task: u64) {
    set(&mut s.found.file, file_at(task, get(&s.found.fd)));
    set(&mut s.found.object, private_of(get(&s.found.file)));
    set(&mut s.found.object2, private_of(file_at(task, get(&s.found.fd2))));
}

/// Finds the program, the link and the perf event among the objects.
#[inline(always)]
pub(super) fn find(s: &mut BpfScratch, call: &Call) {
    let record = &mut s.frame.record;
    let succeeded = get(&record.ret) >= 0;
    let (object, object2) = (get(&s.found.object), get(&s.found.object2));
    let (mut prog, mut otherwise) = (0, 0);
    match get(&record.call) {
        call::PERF_IOCTL => {
            otherwise = object2;
            if succeeded && is_anonymous(get(&s.found.file), &Anonymous::PERF_EVENT) {
                // The event keeps its first program. If another one was passed, another thread has exchanged one of
                // the descriptors, and it is unknown which.
                prog = rd_field(object, field::PerfEventProg);
                if prog == object2 || !is_program(object2) {
                    set(&mut s.found.event, object);
                } else {
                    (prog, otherwise) = (0, 0);
                }
            }
        }
        call::SETSOCKOPT => {
            let file: u64 = rd_field(object, field::SocketFile);
            if object != 0 && file == get(&s.found.file) {
                let (sk, option) = (rd_field(object, field::SocketSk), get(&record.cmd));
                if succeeded {
                    prog = filter_of(sk, option);
                }
                record.on = on::SOCKET;
                record.object = inode_of(file) as u32;
                if !matches!(option, option::ATTACH_FILTER | option::DETACH_FILTER | option::ATTACH_BPF) {
                    record.on |= on::GROUP;
                    record.perf_config = rd_field(sk, field::SockReuseport);
                }
            }
        }
        call::TUN_IOCTL => {
            if succeeded && get(&record.cmd) == tun::ATTACH_FILTER && is_tun(get(&s.found.file)) {
                // `struct tun_file` begins with its `struct sock` (drivers/net/tun.c).
                prog = filter_of(object, option::ATTACH_FILTER);
            }
        }
        call::SECCOMP => {
            // The filter that was installed last is the first of the task.
            if succeeded && exists(field::TaskSeccompFilter) {
                let filter: u64 = ld(call.task, field::TaskSeccompFilter);
                prog = rd_field(filter, field::SeccompFilterProg);
            }
        }
        _ => match get(&record.cmd) {
            cmd::PROG_LOAD => {
                // Another thread may have put another program at the new descriptor. That program then has other
                // references.
                if !is_shared(get(&s.found.file)) {
                    prog = object;
                }
            }
            // The same for a new link. Its program is then the one that was passed. A link that a program made was examined.
            cmd::LINK_CREATE | cmd::RAW_TRACEPOINT_OPEN => {
                let is_passed = get(&record.has) & has::ATTR != 0;
                if !is_passed || !is_shared(get(&s.found.file)) {
                    set(&mut s.found.link, object);
                    prog = program_of_link(object);
                }
                otherwise = object2;
            }
            // The link keeps its id and its type.
            cmd::LINK_UPDATE | cmd::LINK_DETACH => {
                set(&mut s.found.link, object);
                prog = program_of_link(object);
                otherwise = object2;
                if get(&record.cmd) == cmd::LINK_UPDATE {
                    (prog, otherwise) = if succeeded { (prog, 0) } else { (object2, prog) };
                }
            }
            cmd::MAP_UPDATE_ELEM | cmd::MAP_DELETE_ELEM => map(s, object),
            _ => prog = object,
        },
    }
    set(&mut s.found.prog, prog);
    set(&mut s.found.otherwise, otherwise);
}

/// The program of a socket that an option of `SOL_SOCKET` attached; 0 if the option detaches.
#[inline(always)]
fn filter_of(sk: u64, option: u16) -> u64 {
    match option {
        option::ATTACH_FILTER | option::ATTACH_BPF => rd_field(rd_field(sk, field::SockFilter), field::SkFilterProg),
        option::ATTACH_REUSEPORT_CBPF | option::ATTACH_REUSEPORT_EBPF => {
            rd_field(rd_field(sk, field::SockReuseport), field::ReuseportProg)
        }
        _ => 0,
    }
}

/// `file->private_data`: the object behind a descriptor.
#[inline(always)]
pub(super) fn private_of(file: u64) -> u64 {
    if file == 0 { 0 } else { rd_field(file, field::FilePrivate) }
}

/// Whether the object behind a descriptor is a `bpf_prog`, which is recognized by `aux->prog`: it points back.
#[inline(always)]
pub(super) fn is_program(prog: u64) -> bool {
    let aux: u64 = rd_field(prog, field::ProgAux);
    prog != 0 && aux != 0 && rd_field::<u64>(aux, field::AuxProg) == prog
}

/// The program of an object that may be a link; 0 if it is not one.
#[inline(always)]
pub(super) fn program_of_link(link: u64) -> u64 {
    if link == 0 { 0 } else { rd_field(link, field::LinkProg) }
}

/// Writes the fields of the program, if there is one.
#[inline(always)]
pub(super) fn program(s: &mut BpfScratch) {
    if !is_program(get(&s.found.prog)) {
        set(&mut s.found.prog, get(&s.found.otherwise));
        if !is_program(get(&s.found.prog)) {
            return;
        }
    }
    let prog = get(&s.found.prog);
    let aux: u64 = rd_field(prog, field::ProgAux);
    let record = &mut s.frame.record;
    set(&mut record.has, get(&record.has) | has::PROG);
    record.prog_type = rd_field(prog, field::ProgType);
    record.expected_attach_type = rd_field(prog, field::ProgExpectedAttachType);
    record.tag = rd_field(prog, field::ProgTag);
    record.prog_id = rd_field(aux, field::AuxId);
    if exists(field::AuxName) {
        read_kernel(&mut record.name, NAME_LEN as u64, aux.wrapping_add(offset(field::AuxName)));
        record.name[NAME_LEN - 1] = 0;
    }
    if exists(field::AuxKsymName) {
        read_kernel(&mut record.symbol, SYMBOL_LEN as u64, aux.wrapping_add(offset(field::AuxKsymName)));
        record.symbol[SYMBOL_LEN - 1] = 0;
    }
    record.attach_btf_id = rd_field(aux, field::AuxAttachBtfId);
    record.instructions = rd_field(prog, field::ProgLen);
    let (helpers, examined) = scan::helpers(prog);
    record.helpers = helpers;
    record.scan = examined;
    let user: u64 = rd_field(aux, field::AuxUser);
    if user != 0 && exists(field::UserUid) {
        record.prog_uid = rd_field(user, field::UserUid);
    }
}
