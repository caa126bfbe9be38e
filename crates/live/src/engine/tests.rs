use super::*;
use tracetui_events::enrich::World;
use tracetui_events::event::Tables as _;
use tracetui_events::frame::host::Cgroup;
use tracetui_events::synthetic;
use tracetui_shared::header::FrameHeader;
use tracetui_shared::record::bpf::BpfRecord;
use tracetui_shared::time::BootNanos;
use zerocopy::{FromZeros, IntoBytes as _};

#[test]
fn records_ask_for_what_they_need_and_cgroups_are_forgotten_together() {
    let header = |slot: Slot, cgroup: u64, flags: u16| FrameHeader {
        cgroup: CgroupId(cgroup),
        flags,
        ..synthetic::header(slot)
    };
    let attached = BpfRecord { cgroup: 9, ..FromZeros::new_zeroed() };
    let function = BpfRecord { addr: 8, ..FromZeros::new_zeroed() };
    let mut last = CgroupId(1);
    let mut asked = |frames: &[(FrameHeader, &[u8])]| {
        let mut batch = Batch::default();
        frames.iter().for_each(|(header, payload)| batch.push(*header, payload));
        Asked::by(batch.frames(), &mut last)
    };
    let ids = |ids: &[u64]| ids.iter().map(|id| CgroupId(*id)).collect::<Vec<_>>();
    let opens = [1, 1, 0, 2, 2, 1].map(|cgroup| (header(Slot::Open, cgroup, 0), &[][..]));
    assert_eq!(asked(&opens), Asked { cgroups: ids(&[2, 1]), ..Asked::default() });
    let stack = asked(&[(header(Slot::Open, 1, flag::STACK), &[])]);
    assert_eq!(stack, Asked { addresses: true, ..Asked::default() }, "the cgroup before is that of the last call");
    let bpf = asked(&[(header(Slot::Bpf, 1, 0), attached.as_bytes())]);
    assert_eq!(bpf, Asked { listed: true, cgroups: ids(&[9]), ..Asked::default() });
    let bpf = asked(&[(header(Slot::Bpf, 0, 0), function.as_bytes())]);
    assert_eq!(bpf, Asked { listed: true, addresses: true, ..Asked::default() });
    // The feed and the world forget the same cgroups.
    let budget = Budget::new(1 << 20);
    let mut world = World::new(budget);
    let mut batch = Batch::default();
    for id in 0..1000u64 {
        let path = "/p".repeat(1 + id as usize * 7 % 50).into_bytes();
        HostFrame::Cgroup(Cgroup { id: CgroupId(id), path, container: None }).push(BootNanos(1), &mut batch);
    }
    let batches = [batch];
    let known = known_cgroups(&batches, budget);
    batches[0]
        .frames()
        .filter_map(|frame| HostFrame::decode(&frame))
        .for_each(|frame| world.apply_host(frame, BootNanos(1)));
    let both = |id: u64| (known.contains(&CgroupId(id)), world.cgroup_of_id(CgroupId(id)).is_some());
    assert!((0..1000).all(|id| both(id).0 == both(id).1));
    assert_eq!((both(0), both(999)), ((false, false), (true, true)));
    let kept = (0..1000).filter(|id| both(*id).0).count() as u64;
    assert_eq!(world.cgroups_evicted, 1000 - kept);
}
