//! What another process, also one of root, could make the probes believe: that a program was attached, or that nothing
//! happened.

use crate::attachments::TUNATTACHFILTER;
use crate::bpf::{
    Attr, BPF_PROG_TYPE_TRACEPOINT, PERF_EVENT_IOC_SET_BPF, check_prog, id_and_tag, info, perf_event, program, set_bpf,
    tracepoint_id,
};
use crate::prelude::*;

/// The kernel copies the argument of the ioctl of a FUSE file, so its lower half is the descriptor and the whole is an
/// address.
const READABLE: usize = 1 << 32;

fn forge(file: &OwnedFd, command: u64, prog: &OwnedFd) -> i64 {
    let argument = READABLE as u64 + sys::raw(prog) as u64;
    call(libc::SYS_ioctl, &[sys::raw(file) as u64, command, argument])
}

/// A FUSE server answers any ioctl(2) with success. If another thread might have put the file at the descriptor in place
/// of a perf event, the call is shown, without a target.
#[test]
fn an_ioctl_that_a_fuse_server_answers_is_no_attachment() {
    let dir = Dir::alone();
    if !Path::new("/dev/fuse").exists() {
        return not_checked("an ioctl of a FUSE file: there is no /dev/fuse");
    }
    let (tracefs, place) = (dir.dir("tracefs"), dir.dir("fuse"));
    let acted = trace("bpf", move || {
        let event = perf_event(tracepoint_id(&tracefs, "sched/sched_process_exit"));
        let Some(served) = fuse::serve(&place) else { return vec![] };
        let _readable = Pages::map(READABLE, sys::page(), 0, libc::MAP_FIXED_NOREPLACE);
        let [forged, real, shared] =
            ["tt_forged", "tt_real", "tt_shared"].map(|name| program(BPF_PROG_TYPE_TRACEPOINT, name));
        let alone = forge(&served.file, PERF_EVENT_IOC_SET_BPF, &forged);
        let as_of_tun = forge(&served.file, TUNATTACHFILTER, &forged);
        let attached = set_bpf(&real, &event);
        let thread = std::thread::spawn(std::thread::park);
        let with_a_thread = forge(&served.file, PERF_EVENT_IOC_SET_BPF, &shared);
        thread.thread().unpark();
        thread.join().expect("no panic");
        sys::umount(&place);
        [&[alone, as_of_tun, attached, with_a_thread][..], &id_and_tag(&real)].concat()
    });
    let Some((run, pid, numbers)) = acted else { return };
    if numbers.is_empty() {
        return not_checked("an ioctl of a FUSE file: /dev/fuse has no device");
    }
    assert_eq!(numbers[..4], [0; 4], "the calls themselves");
    let by_ioctl = |name: &'static str| move |e: &Value| e["attach"]["via"] == "ioctl" && e["prog"]["name"] == name;
    let events = run.kind_of("bpf", pid);
    let shown: Vec<_> = events.iter().filter(|e| e["attach"]["via"] == "ioctl").map(|e| &e["prog"]["name"]).collect();
    assert_eq!(shown, ["tt_real", "tt_shared"], "{events:#?}");
    let real = run.one("bpf", pid, by_ioctl("tt_real"));
    check_prog(&real, "tt_real", "tracepoint", &numbers[4..]);
    assert_eq!(real["attach"]["target"], "sched:sched_process_exit", "{real}");
    let attach = &run.one("bpf", pid, by_ioctl("tt_shared"))["attach"];
    check_has(attach, json!({"target": null, "target_why": "raced", "type": null}));
}

/// The ids of the maps that a process holds, and those that its programs use.
fn maps_of(pid: i32) -> Vec<u32> {
    let infos = fs::read_dir(format!("/proc/{pid}/fdinfo")).expect("procfs").flatten();
    let texts: Vec<String> = infos.filter_map(|info| fs::read_to_string(info.path()).ok()).collect();
    let ids = |key| {
        let lines = texts.iter().flat_map(|text| text.lines());
        lines.filter_map(move |line| line.strip_prefix(key)?.trim().parse::<u32>().ok())
    };
    let mut maps: Vec<u32> = ids("map_id:").chain(ids("prog_id:").flat_map(maps_of_program)).collect();
    maps.sort_unstable();
    maps.dedup();
    maps
}

/// `BPF_PROG_GET_FD_BY_ID`, `BPF_MAP_GET_FD_BY_ID` (UAPI).
pub(crate) const PROG: u64 = 13;
const MAP: u64 = 14;

pub(crate) fn by_id(command: u64, id: u32) -> OwnedFd {
    sys::owned(Attr::new().u32(0, id).call(command))
}

fn maps_of_program(id: u32) -> Vec<u32> {
    const BPF_OBJ_GET_INFO_BY_FD: u64 = 15;
    let mut ids = [0_u32; 64];
    // `nr_map_ids` and `map_ids` of `struct bpf_prog_info` are at 52 and 56.
    let mut info = Attr::new().u32(52, ids.len() as u32).u64(56, ids.as_mut_ptr() as u64);
    let prog = by_id(PROG, id);
    let mut attr = Attr::new().u32(0, sys::raw(&prog) as u32).u32(4, 128).u64(8, info.0.as_mut_ptr() as u64);
    assert_eq!(attr.call(BPF_OBJ_GET_INFO_BY_FD), 0);
    let count = u32::from_le_bytes(info.0[52..56].try_into().expect("four bytes"));
    ids[..count as usize].to_vec()
}

/// Another process of root can open every map by its id. If it could change them, it could turn tracing off, or falsify
/// the counters, without a trace in the account.
#[test]
fn no_other_process_can_change_the_maps_of_the_probes() {
    const BPF_MAP_UPDATE_ELEM: u64 = 2;
    const BPF_MAP_DELETE_ELEM: u64 = 3;
    let dir = Dir::alone();
    let (decoy, path) = (dir.file("decoy"), dir.file("opened"));
    let Some(traced) = Traced::start(&["--kind", "open,bpf,exit"]) else { return };
    let actor = Actor::new(move || {
        sys::open_path(&decoy);
        vec![sys::open_path(&path)]
    });
    let maps = maps_of(traced.pid());
    let mut names = Vec::new();
    for id in maps {
        let map = by_id(MAP, id);
        // `struct bpf_map_info`: the type at 0, the name at 24.
        let about = info(&map);
        let name = about.0[24..40].split(|byte| *byte == 0).next().expect("a part");
        let name = String::from_utf8_lossy(name).into_owned();
        // Ring buffers: user space moves the position by memory that it shares.
        const RINGBUF: u8 = 27;
        if about.0[0] == RINGBUF {
            continue;
        }
        let (key, value) = ([0_u8; 64], vec![0_u8; 1 << 20]);
        let attr = || Attr::new().u32(0, sys::raw(&map) as u32).u64(8, key.as_ptr() as u64);
        let set = attr().u64(16, value.as_ptr() as u64).call(BPF_MAP_UPDATE_ELEM);
        let removed = attr().call(BPF_MAP_DELETE_ELEM);
        let denied = -i64::from(libc::EPERM);
        assert_eq!((set, removed), (denied, denied), "{name} can be changed");
        names.push(name);
    }
    for name in ["CAPTURE", "CAPTURE_PIDS", "CAPTURE_UIDS", "CAPTURE_TREE", "CAPTURE_CGROUPS", "CPUS", "HELPER_CALLS"] {
        assert!(names.iter().any(|found| found == name), "{name}: {names:?}");
    }
    let pid = actor.pid;
    actor.run();
    let run = traced.stop_and_check();
    assert_eq!(run.kind_of("open", pid).iter().filter(|e| e["err"] == Value::Null).count(), 2, "{}", run.account());
}
