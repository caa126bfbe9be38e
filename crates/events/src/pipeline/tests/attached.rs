//! Every attachment begins and ends once: a model of a kernel whose programs are attached and detached in all ways, its system calls
//! and its inventories.

use super::*;
use crate::bpf::frames::Described;
use crate::bpf::{Hook, InterfacePart, InterfaceScope, Inventory, Via, XDP};
use proptest::prelude::*;
use tracetui_shared::header::flag;
use tracetui_shared::id::NsInum;
use tracetui_shared::record::bpf::{NetlinkRecord, XdpRecord, attach, call, message, on, option};

/// What happens; numbers select an object.
#[derive(Clone, Copy, Debug)]
enum Act {
    Load,
    Unload { nth: usize },
    Link { nth: usize, place: u32 },
    // BPF_PROG_ATTACH to a cgroup, which replaces the program there, except at [`SHARED`].
    Place { nth: usize, place: u32 },
    // BPF_PROG_ATTACH to [`SHARED`] in place of a program there (`BPF_F_REPLACE`).
    Exchange { nth: usize, by: usize },
    Ioctl { nth: usize, place: u32 },
    // SO_ATTACH_BPF or, at [`GROUP`], SO_ATTACH_REUSEPORT_EBPF, which replaces the program there.
    Socket { nth: usize, place: u32 },
    // A call by netlink attaches a program to an interface, in place of the one that is there. `early`: the inspector reports the
    // change before the call ends.
    Xdp { nth: usize, place: u32, early: bool },
    // The inspector reports the program of an interface.
    Notify { place: u32 },
    // No system call reports it.
    Netlink { nth: usize, place: u32 },
    // By a system call.
    Detach { nth: usize, names: bool },
    // By a system call that names another program, which a cgroup with one program ignores.
    Misname { nth: usize, by: usize },
    // By a system call that does not name the program and unloads it. The report of the unload may be read before or after the call.
    DetachLast { nth: usize, unload_first: bool },
    // Without a system call.
    Close { nth: usize },
    Update { nth: usize, by: usize },
    Begin,
    Take,
    Wait { ms: u64 },
    Batch,
}

fn act() -> impl Strategy<Value = Act> {
    let nth = || 0usize..6;
    let place = || 1u32..4;
    prop_oneof![
        2 => Just(Act::Load),
        1 => nth().prop_map(|nth| Act::Unload { nth }),
        2 => (nth(), place()).prop_map(|(nth, place)| Act::Link { nth, place }),
        4 => (nth(), place()).prop_map(|(nth, place)| Act::Place { nth, place }),
        2 => (nth(), nth()).prop_map(|(nth, by)| Act::Exchange { nth, by }),
        2 => (nth(), place()).prop_map(|(nth, place)| Act::Ioctl { nth, place }),
        2 => (nth(), place()).prop_map(|(nth, place)| Act::Socket { nth, place }),
        1 => (nth(), place()).prop_map(|(nth, place)| Act::Netlink { nth, place }),
        2 => (nth(), place(), any::<bool>()).prop_map(|(nth, place, early)| Act::Xdp { nth, place, early }),
        2 => place().prop_map(|place| Act::Notify { place }),
        4 => (nth(), any::<bool>()).prop_map(|(nth, names)| Act::Detach { nth, names }),
        2 => (nth(), nth()).prop_map(|(nth, by)| Act::Misname { nth, by }),
        2 => (nth(), any::<bool>()).prop_map(|(nth, unload_first)| Act::DetachLast { nth, unload_first }),
        3 => nth().prop_map(|nth| Act::Close { nth }),
        2 => (nth(), nth()).prop_map(|(nth, by)| Act::Update { nth, by }),
        2 => Just(Act::Begin),
        3 => Just(Act::Take),
        3 => (0u64..700).prop_map(|ms| Act::Wait { ms }),
        2 => Just(Act::Batch),
    ]
}

#[derive(Clone, Copy, PartialEq, Debug)]
struct Attachment {
    program: u32,
    link: u32,
    via: Via,
    place: u32,
}

/// The place of BPF_PROG_ATTACH that has several programs (`BPF_F_ALLOW_MULTI`).
const SHARED: u32 = 2;

/// The place of sockets that is a group of them.
const GROUP: u32 = 3;

/// The place of ioctl(2) that is a perf event and no tracepoint.
const EVENT: u32 = 3;

/// The interfaces of XDP programs, among the places of netlink, are above it.
const INTERFACES: u32 = 20;
const NETNS: NsInum = NsInum(7);

#[derive(Default)]
struct Kernel {
    ms: u64,
    seq: u64,
    next: u32,
    programs: Vec<u32>,
    attachments: Vec<Attachment>,
    described: Described,
    begun: Option<(u64, Vec<Attachment>)>,
    links_changed: bool,
    batch: Batch,
    batches: Vec<Batch>,
}

impl Kernel {
    fn traced() -> Kernel {
        let mut kernel = Kernel { ms: 1000, ..Kernel::default() };
        let trace = Trace { kinds: ALL.bits(), ..Trace::default() };
        HostFrame::Trace(trace).push(BootNanos(0), &mut kernel.batch);
        for place in 1..4 {
            let cgroup = Cgroup { id: CgroupId(place), path: format!("/{place}").into_bytes(), container: None };
            HostFrame::Cgroup(cgroup).push(BootNanos(0), &mut kernel.batch);
        }
        kernel
    }

    fn acts(&mut self, acts: &[Act]) -> &mut Kernel {
        acts.iter().for_each(|act| self.act(*act));
        self
    }

    fn events(&self) -> Vec<(bool, Named)> {
        events_of(&self.batches, |_| true)
    }

    fn call(&mut self, attachment: &Attachment, names: bool, change: impl FnOnce(&mut BpfRecord)) {
        let mut record = BpfRecord::new_zeroed();
        record.has = has::ATTR | if names { has::PROG } else { 0 };
        (record.prog_id, record.prog_type) = (if names { attachment.program } else { 0 }, 5);
        if attachment.link != 0 {
            record.has |= has::LINK;
            (record.link_id, record.link_type) = (attachment.link, 1);
        }
        match attachment.via {
            Via::ProgAttach => {
                (record.on, record.cgroup, record.attach_type) = (on::CGROUP, attachment.place.into(), 1)
            }
            Via::Ioctl => {
                record.has |= has::PERF;
                if attachment.place == EVENT {
                    (record.on, record.object, record.prog_type) = (on::EVENT, EVENT, 7);
                } else {
                    (record.target[0], record.target2[0]) = (b'l', b'0' + attachment.place as u8);
                }
            }
            Via::Setsockopt => {
                (record.call, record.on, record.object) = (call::SETSOCKOPT, on::SOCKET, attachment.place)
            }
            _ => {}
        }
        change(&mut record);
        if attachment.via == Via::Setsockopt && attachment.place == GROUP {
            (record.on, record.perf_config) = (record.on | on::GROUP, GROUP.into());
            let attaches = record.cmd == option::ATTACH_BPF;
            record.cmd = if attaches { option::ATTACH_REUSEPORT_EBPF } else { option::DETACH_REUSEPORT_BPF };
        }
        self.batch.push(header(Slot::Bpf, 0, self.seq, self.ms), record.as_bytes());
        self.seq += 1;
    }

    /// The inspector reports the program of an interface.
    fn notify(&mut self, ifindex: u32) {
        let of = |known: &&Attachment| known.via == Via::Netlink && known.place == ifindex;
        let programs = self.attachments.iter().filter(of).map(|known| self.facts(known)).collect();
        let part = InterfacePart { netns: NETNS, ifindex, scope: InterfaceScope::Xdp, programs };
        self.described.change(&part, BootNanos(self.ms * MS), &mut self.batch);
    }

    /// A call by netlink that made these the programs of an interface.
    fn xdp(&mut self, ifindex: u32, early: bool) {
        if early {
            self.notify(ifindex);
        }
        let of = |known: &&Attachment| known.via == Via::Netlink && known.place == ifindex;
        let mut programs = self.attachments.iter().filter(of).map(|known| known.program);
        let programs = [programs.next().unwrap_or_default(), 0, 0];
        let change = NetlinkRecord { message: message::NEWLINK, first: 1, ifindex, netns: NETNS.0, programs };
        let mut record = XdpRecord::new_zeroed();
        record.change = change;
        let mut header = header(Slot::BpfXdp, 0, 0, self.ms);
        header.flags = flag::REQUEST | flag::BOOKKEEPING;
        self.batch.push(header, record.as_bytes());
    }

    fn program(&self, nth: usize) -> Option<u32> {
        self.programs.get(nth % self.programs.len().max(1)).copied()
    }

    fn attach(&mut self, attachment: Attachment) {
        self.attachments.push(attachment);
        self.links_changed |= attachment.link != 0;
    }

    fn detach(&mut self, nth: usize) -> Option<Attachment> {
        let nth = nth.checked_rem(self.attachments.len())?;
        let attachment = self.attachments.remove(nth);
        self.links_changed |= attachment.link != 0;
        Some(attachment)
    }

    /// A system call that attaches a program, usually in place of the one that is there.
    fn replace(&mut self, via: Via, cmd: u16, nth: usize, place: u32) {
        let Some(program) = self.program(nth) else { return };
        let made = Attachment { program, link: 0, via, place };
        if (via, place) != (Via::ProgAttach, SHARED) {
            self.attachments.retain(|known| known.via != via || known.place != place);
        } else if self.attachments.contains(&made) {
            return;
        }
        self.attach(made);
        let multi = if (via, place) == (Via::ProgAttach, SHARED) { attach::MULTI } else { 0 };
        let flags = if via == Via::ProgAttach { attach::KNOWN | multi } else { 0 };
        self.call(&made, true, |record| (record.cmd, record.hooknum) = (cmd, flags));
    }

    fn act(&mut self, act: Act) {
        self.ms += 1;
        let id = |next: &mut u32| {
            *next += 1;
            *next
        };
        match act {
            Act::Load => {
                let new = id(&mut self.next);
                self.programs.push(new);
                load_call(&mut self.batch, self.seq, new, self.ms);
                self.seq += 1;
            }
            Act::Unload { nth } => {
                let Some(program) = self.program(nth) else { return };
                self.programs.retain(|known| *known != program);
                self.links_changed |= self.attachments.iter().any(|known| known.program == program && known.link != 0);
                self.attachments.retain(|known| known.program != program);
                change(&mut self.batch, false, program, self.ms);
            }
            Act::Link { nth, place } => {
                let Some(program) = self.program(nth) else { return };
                // An interface has either a link or a program by netlink.
                if self.attachments.iter().any(|known| known.via == Via::Netlink && known.place == place) {
                    return;
                }
                let made = Attachment { program, link: id(&mut self.next), via: Via::Link, place };
                self.attach(made);
                self.call(&made, true, |record| record.cmd = cmd::LINK_CREATE);
            }
            Act::Place { nth, place } => self.replace(Via::ProgAttach, cmd::PROG_ATTACH, nth, place),
            Act::Exchange { nth, by } => {
                let Some(program) = self.program(by) else { return };
                let made = Attachment { program, link: 0, via: Via::ProgAttach, place: SHARED };
                let is_there = |n: &usize| self.attachments[*n].via == made.via && self.attachments[*n].place == SHARED;
                let there: Vec<usize> = (0..self.attachments.len()).filter(is_there).collect();
                let Some(nth) = nth.checked_rem(there.len()).filter(|_| !self.attachments.contains(&made)) else {
                    return;
                };
                let gone = std::mem::replace(&mut self.attachments[there[nth]], made);
                let flags = attach::KNOWN | attach::MULTI | attach::REPLACE;
                self.call(&made, true, |record| {
                    (record.cmd, record.hooknum) = (cmd::PROG_ATTACH, flags);
                    record.priority = gone.program.cast_signed();
                });
            }
            Act::Ioctl { nth, place } => {
                let Some(program) = self.program(nth) else { return };
                let made = Attachment { program, link: 0, via: Via::Ioctl, place };
                // Only once for each tracepoint.
                if !self.attachments.contains(&made) {
                    self.attach(made);
                    self.call(&made, true, |record| record.call = call::PERF_IOCTL);
                }
            }
            Act::Socket { nth, place } => self.replace(Via::Setsockopt, option::ATTACH_BPF, nth, place),
            Act::Netlink { nth, place } => {
                let Some(program) = self.program(nth) else { return };
                let made = Attachment { program, link: 0, via: Via::Netlink, place };
                let has_link = self.attachments.iter().any(|known| known.link != 0 && known.place == place);
                if !has_link && !self.attachments.contains(&made) {
                    self.attach(made);
                }
            }
            Act::Notify { place } => self.notify(INTERFACES + place),
            Act::Xdp { nth, place, early } => {
                let Some(program) = self.program(nth) else { return };
                let made = Attachment { program, link: 0, via: Via::Netlink, place: INTERFACES + place };
                if !self.attachments.contains(&made) {
                    self.attachments.retain(|known| known.via != made.via || known.place != made.place);
                    self.attach(made);
                }
                self.xdp(made.place, early);
            }
            Act::Detach { nth, names } => {
                let Some(nth) = nth.checked_rem(self.attachments.len()) else { return };
                if self.attachments[nth].via == Via::Netlink && self.attachments[nth].place > INTERFACES {
                    let gone = self.detach(nth).expect("it is there");
                    return self.xdp(gone.place, names);
                }
                let (cmd, names) = match self.attachments[nth].via {
                    Via::Link => (cmd::LINK_DETACH, names),
                    Via::ProgAttach => (cmd::PROG_DETACH, names || self.attachments[nth].place == SHARED),
                    Via::Setsockopt => (option::DETACH_FILTER, false),
                    _ => return,
                };
                let Some(gone) = self.detach(nth) else { return };
                self.call(&gone, names, |record| record.cmd = cmd);
            }
            Act::Misname { nth, by } => {
                let Some(nth) = nth.checked_rem(self.attachments.len()) else { return };
                let Attachment { via, place, .. } = self.attachments[nth];
                let Some(program) = self.program(by).filter(|_| via == Via::ProgAttach && place != SHARED) else {
                    return;
                };
                let Some(gone) = self.detach(nth) else { return };
                self.call(&Attachment { program, ..gone }, true, |record| record.cmd = cmd::PROG_DETACH);
            }
            Act::DetachLast { nth, unload_first } => {
                let Some(nth) = nth.checked_rem(self.attachments.len()) else { return };
                let Attachment { program, via, place, .. } = self.attachments[nth];
                let cmd = match (via, place) {
                    (Via::ProgAttach, SHARED) => return,
                    (Via::ProgAttach, _) => cmd::PROG_DETACH,
                    (Via::Setsockopt, GROUP) => option::DETACH_FILTER,
                    _ => return,
                };
                if self.attachments.iter().filter(|known| known.program == program).count() > 1 {
                    return;
                }
                let Some(gone) = self.detach(nth) else { return };
                self.programs.retain(|known| *known != program);
                let unloaded = self.ms;
                self.ms += 1;
                if unload_first {
                    change(&mut self.batch, false, program, unloaded);
                }
                self.call(&gone, false, |record| record.cmd = cmd);
                if !unload_first {
                    change(&mut self.batch, false, program, unloaded);
                }
            }
            Act::Close { nth } => _ = self.detach(nth),
            Act::Update { nth, by } => {
                let Some(program) = self.program(by) else { return };
                let links: Vec<usize> =
                    (0..self.attachments.len()).filter(|n| self.attachments[*n].link != 0).collect();
                let Some(nth) = nth.checked_rem(links.len()) else { return };
                let former = std::mem::replace(&mut self.attachments[links[nth]].program, program);
                let updated = self.attachments[links[nth]];
                // The link may hold the last reference to the former program, which is then unloaded within the call.
                if by % 2 == 0 && self.attachments.iter().all(|known| known.program != former) {
                    self.programs.retain(|known| *known != former);
                    change(&mut self.batch, false, former, self.ms);
                    self.ms += 1;
                }
                self.call(&updated, true, |record| record.cmd = cmd::LINK_UPDATE);
            }
            Act::Begin if self.begun.is_none() => {
                self.begun = Some((self.ms, self.attachments.clone()));
                self.links_changed = false;
            }
            Act::Take => {
                // The inventory was read at its beginning or at its end.
                let (from, listed) = self.begun.take().unwrap_or((self.ms, self.attachments.clone()));
                self.take(from, &listed, !self.links_changed);
            }
            Act::Wait { ms } => self.ms += ms,
            Act::Batch => {
                self.batch.set_drained_at(BootNanos(self.ms * MS));
                self.batches.push(std::mem::take(&mut self.batch));
            }
            Act::Begin => {}
        }
    }

    fn facts(&self, of: &Attachment) -> BpfAttachment {
        BpfAttachment {
            program: ProgId(of.program),
            link: LinkId(of.link),
            link_type: u32::from(of.link != 0),
            via: of.via,
            hook: match of.via {
                Via::ProgAttach => Hook::Type(1),
                Via::Ioctl if of.place == EVENT => Hook::PerfEvent,
                Via::Ioctl => Hook::Tracepoint,
                Via::Netlink if of.place > INTERFACES => Hook::Type(XDP),
                Via::Setsockopt if of.place == GROUP => Hook::Reuseport,
                Via::Setsockopt => Hook::SocketFilter,
                _ => Hook::Unknown,
            },
            target: match of.via {
                Via::ProgAttach => format!("/{}", of.place),
                Via::Ioctl => format!("l:{}", of.place),
                Via::Setsockopt if of.place == GROUP => String::new(),
                Via::Setsockopt => format!("socket:{}", of.place),
                _ => of.place.to_string(),
            }
            .into_bytes(),
            addr: KernelAddr(if of.via == Via::Setsockopt && of.place == GROUP { GROUP.into() } else { 0 }),
            event: if of.via == Via::Ioctl && of.place == EVENT { EVENT } else { 0 },
            ifindex: Some(of.place).filter(|_| of.via == Via::Netlink && of.place > INTERFACES),
            netns: Some(NETNS).filter(|_| of.via == Via::Netlink && of.place > INTERFACES),
            cgroup: CgroupId(if of.via == Via::ProgAttach { of.place.into() } else { 0 }),
            ..BpfAttachment::default()
        }
    }

    fn take(&mut self, from: u64, listed: &[Attachment], steady: bool) {
        let mut ids: Vec<u32> =
            listed.iter().map(|listed| listed.program).chain(self.programs.iter().copied()).collect();
        ids.sort_unstable();
        ids.dedup();
        let inventory = Inventory {
            programs: ids.iter().map(|id| BpfProgram { id: ProgId(*id), ..BpfProgram::default() }).collect(),
            attachments: listed.iter().map(|known| self.facts(known)).collect(),
            ..Inventory::default()
        };
        let times = (BootNanos(from * MS), BootNanos(self.ms * MS));
        self.described.update(&inventory, steady, times, &mut self.batch);
    }
}

/// An attachment in an event: the program and the cgroup or socket, or the link.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Named {
    program: u32,
    link: u32,
    place: u32,
}

/// The first socket in [`Named::place`]. Lower numbers are cgroups.
const SOCKET: u32 = 10;

impl Named {
    fn new(program: u32, link: u32, place: u32) -> Named {
        if link == 0 { Named { program, link, place } } else { Named { program: 0, link, place: 0 } }
    }

    fn of(record: &BpfRecord) -> Named {
        let place = match record.on {
            _ if record.on & on::GROUP != 0 => SOCKET + record.perf_config as u32,
            on::CGROUP => record.cgroup as u32,
            on::SOCKET => SOCKET + record.object,
            _ => 0,
        };
        Named::new(record.prog_id, record.link_id, place)
    }

    fn of_attachment(attachment: &Attachment) -> Named {
        let Attachment { program, link, via, place } = *attachment;
        let place = match via {
            Via::ProgAttach => place,
            Via::Setsockopt => SOCKET + place,
            _ => 0,
        };
        Named::new(program, link, place)
    }
}

/// The begins less the ends of each attachment, in the order of time. An end before its begin fails, and so does a second program of a
/// socket.
fn balances(events: &[(bool, Named)], at_start: &[Attachment]) -> std::collections::BTreeMap<Named, i64> {
    let mut balances = std::collections::BTreeMap::new();
    for known in at_start {
        *balances.entry(Named::of_attachment(known)).or_default() += 1;
    }
    for (n, (begins, named)) in events.iter().enumerate() {
        let balance: &mut i64 = balances.entry(*named).or_default();
        *balance += if *begins { 1 } else { -1 };
        assert!(*balance >= 0, "an end without a begin: event {n} of {events:?}");
        let here: i64 = balances.iter().filter(|(key, _)| key.place == named.place).map(|(_, balance)| *balance).sum();
        let alone = named.place > SOCKET && named.place != SOCKET + GROUP;
        assert!(!alone || here < 2, "two programs of a socket: event {n} of {events:?}");
    }
    balances
}

/// The begins and ends: whether it begins, and what. `delivers` says after which batches events are delivered.
fn events_of(batches: &[Batch], delivers: impl Fn(usize) -> bool) -> Vec<(bool, Named)> {
    let (mut pipeline, mut events) = (Pipeline::default(), Vec::new());
    for (at, batch) in batches.iter().enumerate() {
        pipeline.feed(batch.clone());
        if at + 1 == batches.len() {
            pipeline.end();
        }
        if !delivers(at) {
            continue;
        }
        pipeline.next(None, &mut |seen, _| {
            let Body::Bpf(bpf) = &seen.event.body else { return Disposition::Delivered };
            match bpf.op() {
                "attach" => events.push((true, Named::of(&bpf.record()))),
                "detach" => events.push((false, Named::of(&bpf.record()))),
                _ => {}
            }
            Disposition::Delivered
        });
    }
    events
}

fn check(at_start: &[Act], acts: &[Act]) {
    let mut kernel = Kernel::traced();
    let options = std::mem::take(&mut kernel.batch);
    kernel.acts(at_start);
    // Before the trace.
    (kernel.batch, kernel.batches, kernel.begun, kernel.seq) = (options, Vec::new(), None, 0);
    kernel.described = Described::since(LinkId(kernel.next), ProgId(kernel.next));
    kernel.links_changed = false;
    let started = kernel.attachments.clone();
    kernel.act(Act::Take);
    kernel.acts(acts);
    // Two inventories: a change may wait for the second.
    kernel.begun = None;
    for _ in 0..2 {
        kernel.links_changed = false;
        kernel.act(Act::Take);
    }
    kernel.act(Act::Batch);
    let events = kernel.events();
    assert_eq!(events, events_of(&kernel.batches, |at| at + 1 == kernel.batches.len()), "whenever they are delivered");
    // A call that does not name the program is counted for the one that it detached; the model knows only the sum.
    let names = events.iter().all(|(_, named)| named.program != 0 || named.link != 0);
    let begun = events.iter().filter(|(begins, ..)| *begins).count() + started.len();
    let ended = events.len() + started.len() - begun;
    assert_eq!(begun as i64 - ended as i64, kernel.attachments.len() as i64, "{events:?}");
    if names {
        let balances = balances(&events, &started);
        for (key, balance) in balances {
            let left = kernel.attachments.iter().filter(|known| Named::of_attachment(known) == key).count();
            assert_eq!(balance, left as i64, "{key:?}: {events:?}");
        }
    }
}

proptest! {
    #[test]
    fn every_attachment_begins_and_ends_once(
        at_start in prop::collection::vec(act(), 0..8),
        acts in prop::collection::vec(act(), 0..60),
    ) {
        check(&at_start, &acts);
    }
}

#[test]
fn a_program_ends_with_the_call_that_names_or_replaces_it() {
    // A program is detached and attached again between inventories, and detached from another place while one is taken.
    let (link, unnamed) = (Act::Link { nth: 0, place: 1 }, |nth| Act::Detach { nth, names: false });
    let [here, there] = [1, 3].map(|place| Act::Place { nth: 0, place });
    let again = [Act::Ioctl { nth: 0, place: 1 }, unnamed(0), unnamed(0), there, link, here, Act::Take];
    let rest = [unnamed(1), Act::Begin, link, unnamed(2), Act::Take, Act::Take];
    check(&[Act::Load, link, there], &[&again[..], &rest].concat());
    // Of several programs at one place, a call ends the one that it names.
    let attach = |nth| [Act::Load, Act::Place { nth, place: SHARED }];
    let ends = [Act::Take, Act::Detach { nth: 1, names: true }, Act::Take];
    check(&[], &[&attach(0)[..], &attach(1), &ends].concat());
    // A program ends with the call that replaces it.
    let [one, multi] = [attach::KNOWN, attach::KNOWN | attach::MULTI];
    let (by_name, whole) = (multi | attach::REPLACE, ["attach 1", "detach 1", "attach 2"]);
    let cases = [
        (on::CGROUP, one, &whole[..]),
        (on::CGROUP, multi, &["attach 1", "attach 2"]),
        (on::CGROUP, by_name, &whole),
        // Not recorded by an earlier version.
        (on::CGROUP, 0, &["attach 1", "attach 2"]),
        (on::MAP, one, &whole),
        (on::NETNS, one, &whole),
        (on::DEVICE, one, &["attach 1", "attach 2"]),
        (on::DEVICE, attach::KNOWN | attach::REPLACE, &whole),
    ];
    for (at, flags, expected) in cases {
        let (mut pipeline, mut batch) = (asked(ALL, 0), Batch::default());
        for (seq, program) in (0..).zip([1, 2]) {
            let mut record = BpfRecord::new_zeroed();
            (record.cmd, record.has, record.prog_id) = (cmd::PROG_ATTACH, has::ATTR | has::PROG, program);
            (record.on, record.cgroup, record.object, record.attach_type) = (at, 7, 7, 5);
            let by_name = program == 2 && flags & attach::REPLACE != 0;
            record.hooknum = if by_name { flags } else { flags & !attach::REPLACE };
            record.priority = i32::from(by_name);
            batch.push(header(Slot::Bpf, 0, seq, 1000 + seq), record.as_bytes());
        }
        pipeline.feed(batch);
        let lines = json_of(&mut pipeline);
        assert!(lines.iter().all(|line| line["pid"] == 100), "{lines:?}");
        let shown =
            lines.iter().map(|line| format!("{} {}", line["op"].as_str().unwrap_or_default(), line["prog"]["id"]));
        assert_eq!(shown.collect::<Vec<_>>(), expected, "{at} {flags:#x}");
    }
}

#[test]
fn a_call_ends_what_it_detached_once() {
    for listed in [&[][..], &[Act::Take]] {
        for ends in [Act::Detach { nth: 0, names: false }, Act::Misname { nth: 0, by: 1 }] {
            let begins = [Act::Take, Act::Load, Act::Load, Act::Place { nth: 0, place: 1 }];
            let mut kernel = Kernel::traced();
            kernel.acts(&begins).acts(listed).acts(&[ends, Act::Take, Act::Batch]);
            let named = Named::new(1, 0, 1);
            assert_eq!(kernel.events(), [(true, named), (false, named)], "{listed:?} {ends:?}");
        }
    }
    // A call ends once what only the inventory saw begin.
    for waited in [100, 900] {
        let mut kernel = Kernel::traced();
        kernel.acts(&[Act::Take, Act::Load]);
        kernel.attach(Attachment { program: 1, link: 0, via: Via::Setsockopt, place: 1 });
        let detach = Act::Detach { nth: 0, names: false };
        kernel.acts(&[Act::Take, Act::Wait { ms: waited }, Act::Batch, detach, Act::Take, Act::Take, Act::Batch]);
        let named = Named::new(1, 0, SOCKET + 1);
        assert_eq!(kernel.events(), [(true, named), (false, named)], "{waited} ms");
    }
    // A group does not take the end of another one at its address.
    let make = [Act::Load, Act::Socket { nth: 0, place: GROUP }, Act::Wait { ms: 10 }];
    let ends = [Act::Detach { nth: 0, names: false }, Act::DetachLast { nth: 0, unload_first: true }];
    for (end, listed) in ends.into_iter().flat_map(|end| [(end, false), (end, true)]) {
        let between = if listed { [Act::Take, Act::Batch] } else { [Act::Batch; 2] };
        let mut kernel = Kernel::traced();
        kernel.acts(&[Act::Take]).acts(&make).acts(&[Act::Unload { nth: 0 }, Act::Wait { ms: 10 }]).acts(&make);
        kernel.acts(&between).acts(&[end, Act::Wait { ms: 10 }, Act::Take, Act::Take, Act::Batch]);
        let programs: Vec<_> = kernel.events().iter().map(|(begins, named)| (*begins, named.program)).collect();
        let first = programs[0].1;
        let expected = [(true, first), (false, first), (true, first + 1), (false, first + 1)];
        assert_eq!(programs, expected, "{end:?}, listed: {listed}");
    }
}

#[test]
fn a_program_of_a_socket_ends_with_the_call_that_replaces_it() {
    let mut pipeline = asked(ALL, 0);
    let mut batch = Batch::default();
    let calls = [(option::ATTACH_BPF, 1), (option::ATTACH_BPF, 1), (option::ATTACH_BPF, 2), (option::ATTACH_FILTER, 0)];
    for (seq, (cmd, prog_id)) in (0..).zip(calls.into_iter().chain([(option::DETACH_FILTER, 0)])) {
        let mut record = BpfRecord::new_zeroed();
        (record.call, record.cmd, record.on, record.object) = (call::SETSOCKOPT, cmd, on::SOCKET, 7);
        (record.has, record.prog_id) = (if cmd == option::DETACH_FILTER { 0 } else { has::PROG }, prog_id);
        batch.push(header(Slot::Bpf, 0, seq, 1000 + seq), record.as_bytes());
    }
    pipeline.feed(batch);
    let lines = json_of(&mut pipeline);
    let shown =
        lines.iter().map(|line| format!("{} {} {} {}", line["ns"], line["op"], line["prog"]["id"], line["pid"]));
    let events = [
        "1000000000 \"attach\" 1 100",
        "1000999999 \"detach\" 1 100",
        "1001000000 \"attach\" 1 100",
        "1001999999 \"detach\" 1 100",
        "1002000000 \"attach\" 2 100",
        "1002999999 \"detach\" 2 100",
        "1003000000 \"attach\" null 100",
        "1004000000 \"detach\" null 100",
    ];
    assert_eq!(shown.collect::<Vec<_>>(), events);
    // Ends that did not fit are counted.
    let (mut pipeline, mut batch) = (asked(ALL, 0), Batch::default());
    for program in 1..=9000 {
        let mut record = BpfRecord::new_zeroed();
        (record.cmd, record.has, record.prog_id) = (cmd::PROG_ATTACH, has::ATTR | has::PROG, program);
        (record.on, record.cgroup, record.attach_type) = (on::CGROUP, program.into(), 1);
        batch.push(header(Slot::Bpf, 0, (program - 1).into(), 1000 + u64::from(program)), record.as_bytes());
    }
    for program in 1..=9000 {
        change(&mut batch, false, program, 20_000);
    }
    pipeline.feed(batch);
    let lines = json_of(&mut pipeline);
    let of = |op: &str| lines.iter().filter(|line| line["op"] == op).count() as u64;
    let (begun, ended, missing) = (of("attach"), of("detach"), pipeline.account().bpf_left_out);
    assert!(begun == 9000 && missing > 0 && ended + missing == begun, "{begun} {ended} {missing}");
}

/// The report of an unload within a call may be read first. The event of the call is then the only end. Without one, the end has the
/// time of the unload. A restored pipeline does the same.
#[test]
fn a_call_that_unloads_the_program_is_its_end() {
    for called in [true, false] {
        let group = |batch: &mut Batch, cmd: u16, prog_id: u32, seq: u64, ms: u64| {
            let mut record = BpfRecord::new_zeroed();
            (record.call, record.cmd, record.has) = (call::SETSOCKOPT, cmd, if prog_id == 0 { 0 } else { has::PROG });
            (record.on, record.object, record.perf_config) = (on::SOCKET | on::GROUP, 7, 9);
            record.prog_id = prog_id;
            batch.push(header(Slot::Bpf, 0, seq, ms), record.as_bytes());
        };
        let (mut pipeline, mut batch) = (asked(ALL, 0), Batch::default());
        group(&mut batch, option::ATTACH_REUSEPORT_EBPF, 1, 0, 1000);
        change(&mut batch, false, 1, 1010);
        batch.set_drained_at(BootNanos(1011 * MS));
        pipeline.feed(batch);
        let mut restored = Pipeline::default();
        restored.restore(&pipeline.state());
        for mut pipeline in [pipeline, restored] {
            let mut batch = Batch::default();
            if called {
                group(&mut batch, option::DETACH_REUSEPORT_BPF, 0, 1, 1012);
            }
            change(&mut batch, false, 2, 1020);
            batch.set_drained_at(BootNanos(2000 * MS));
            pipeline.feed(batch);
            let shown = json_of(&mut pipeline).into_iter().map(|line| {
                let word = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
                format!("{} {} by {} at {}", word("op"), line["prog"]["id"], word("seen_by"), &line["ns"])
            });
            let unload = "unload 1 by stream at 1010000000";
            let rest = match called {
                true => [unload, "detach 1 by call at 1012000000"],
                false => ["detach 1 by inventory at 1010000000", unload],
            };
            let events = ["attach 1 by call at 1000000000", rest[0], rest[1], "unload 2 by stream at 1020000000"];
            assert_eq!(shown.collect::<Vec<_>>(), events);
        }
    }
}

/// A call can detach a program from an interface by its position among others. It then names none: the unload within the call does, or
/// the program was alone.
#[test]
fn a_detachment_by_position_has_its_program() {
    let at = |batch: &mut Batch, cmd: u16, program: u32, ms: u64| {
        let mut record = BpfRecord { call: call::BPF, cmd, prog_id: program, ..BpfRecord::new_zeroed() };
        (record.has, record.on) = (if program == 0 { 0 } else { has::PROG }, on::DEVICE);
        (record.object, record.attach_type, record.target[0]) = (4, 46, b'e');
        batch.push(header(Slot::Bpf, 0, ms - 1000, ms), record.as_bytes());
    };
    let unload = |batch: &mut Batch, program, ms| change(batch, false, program, ms);
    let (attach, detach) = (cmd::PROG_ATTACH, cmd::PROG_DETACH);
    let told = |act: &dyn Fn(&mut Batch)| {
        let (mut pipeline, mut batch) = (asked(ALL, 0), Batch::default());
        act(&mut batch);
        batch.set_drained_at(BootNanos(9000 * MS));
        pipeline.feed(batch);
        let lines = json_of(&mut pipeline).into_iter().filter(|line| line["op"] == "detach");
        let word = |line: &serde_json::Value| line["seen_by"].as_str().unwrap_or_default().to_owned();
        lines.map(|line| format!("{} by {} at {}", line["prog"]["id"], word(&line), &line["ns"])).collect::<Vec<_>>()
    };
    let unloaded = told(&|batch| {
        [1, 2].into_iter().for_each(|program| at(batch, attach, program, 999 + u64::from(program)));
        unload(batch, 1, 1010);
        at(batch, detach, 0, 1011);
        unload(batch, 2, 1020);
        at(batch, detach, 0, 1021);
    });
    assert_eq!(unloaded, ["1 by call at 1011000000", "2 by call at 1021000000"]);
    let alone = told(&|batch| {
        at(batch, attach, 1, 1000);
        at(batch, detach, 0, 1001);
        unload(batch, 1, 2000);
    });
    assert_eq!(alone, ["1 by call at 1001000000"]);
    let unknown = told(&|batch| {
        [1, 2].into_iter().for_each(|program| at(batch, attach, program, 999 + u64::from(program)));
        at(batch, detach, 0, 1002);
        [1, 2].into_iter().for_each(|program| unload(batch, program, 2000));
    });
    let by_unload = ["1 by inventory at 2000000000", "2 by inventory at 2000000000"];
    assert_eq!(unknown, [&["null by call at 1002000000"][..], &by_unload].concat());
}

/// The events as JSON without the time, and what is the same in the event of a begin and of its end.
#[test]
fn an_end_has_the_place_of_the_begin() {
    let mut pipeline = asked(ALL, 0);
    let mut batch = Batch::default();
    let mut attach = |seq: u64, change: &dyn Fn(&mut BpfRecord)| {
        let mut record = BpfRecord::new_zeroed();
        (record.has, record.prog_id, record.prog_type) = (has::PROG | has::ATTR, 1, 5);
        (record.cmd, record.name[0]) = (cmd::PROG_ATTACH, b'p');
        change(&mut record);
        batch.push(header(Slot::Bpf, 0, seq, 1000 + seq), record.as_bytes());
    };
    attach(0, &|record| (record.on, record.cgroup, record.attach_type) = (on::CGROUP, 7, 1));
    attach(1, &|record| {
        (record.call, record.has) = (call::PERF_IOCTL, record.has | has::PERF);
        (record.target[0], record.target2[0]) = (b'a', b'b');
    });
    attach(2, &|record| {
        (record.cmd, record.has) = (cmd::LINK_CREATE, record.has | has::LINK);
        (record.link_id, record.link_type, record.expected_attach_type) = (9, 10, 45);
        (record.on, record.pf, record.hooknum, record.priority) = (on::NETFILTER, 2, 3, -5);
    });
    attach(3, &|record| {
        (record.cmd, record.has) = (cmd::LINK_CREATE, record.has | has::LINK);
        (record.link_id, record.link_type, record.attach_type) = (10, 6, 37);
        (record.on, record.object, record.target[0]) = (on::DEVICE, 4, b'e');
    });
    change(&mut batch, false, 1, 1010);
    pipeline.feed(batch);
    let mut lines = json_of(&mut pipeline);
    assert_eq!(lines.pop().map(|line| line["op"].clone()), Some("unload".into()));
    let ends = lines.split_off(4);
    for begin in lines {
        let same = |end: &&serde_json::Value| {
            end["attach"]["via"] == begin["attach"]["via"] && end["attach"] == begin["attach"]
        };
        let end = ends.iter().find(same);
        assert!(end.is_some(), "{begin}\n{ends:#?}");
        let of = |line: &serde_json::Value| ["id", "type", "name", "tag"].map(|key| line["prog"][key].clone());
        assert_eq!(end.map(of), Some(of(&begin)));
    }
    assert_eq!(ends.len(), 4);
}
