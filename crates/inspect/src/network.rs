//! Finds the programs at network interfaces and network namespaces, with or without links: XDP, tc, tcx, netkit, flow
//! dissector, sk_lookup. A separate thread enters each namespace.

use super::netlink::{Message, NETLINK_ROUTE, Netlink, Sockets, attribute, attributes, messages, u32_at};
use super::sys::{self, NETKIT_PEER, NETKIT_PRIMARY, ObjectKind, TCX_EGRESS, TCX_INGRESS};
use super::unread_objects::Unlooked;
use foldhash::HashMap;
use libc::{
    RTM_DELLINK, RTM_DELQDISC, RTM_DELTFILTER, RTM_GETLINK, RTM_GETQDISC, RTM_GETTCLASS, RTM_GETTFILTER, RTM_NEWLINK,
    RTM_NEWQDISC, RTM_NEWTFILTER, TCA_KIND, TCA_OPTIONS,
};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::time::Duration;
use tracetui_events::bpf::place::AttachPoint;
use tracetui_events::bpf::{Hook, InterfacePart, InterfaceScope, Via, XDP};
use tracetui_events::frame::host::BpfAttachment;
use tracetui_events::limits;
use tracetui_host::clock::now_thread;
use tracetui_shared::header::until_nul;
use tracetui_shared::id::{LinkId, NsInum, ProgId};
use tracetui_shared::record::bpf::link_type;

/// Bytes of `struct ifinfomsg`: family, type, index at 4, flags at 8, change.
pub(super) const IFINFO: usize = 16;
pub(super) const IFLA_IFNAME: u16 = 3;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_XDP: u16 = 43;
const IFLA_XDP_ATTACHED: u16 = 2;
/// The program of the only mode. If there are several modes, see [`IFLA_XDP_MODES`].
const IFLA_XDP_PROG_ID: u16 = 4;
/// `IFLA_XDP_DRV_PROG_ID`, `IFLA_XDP_SKB_PROG_ID`, `IFLA_XDP_HW_PROG_ID`.
const IFLA_XDP_MODES: [(u16, &[u8]); 3] = [(5, b"native"), (6, b"generic"), (7, b"offloaded")];

/// Bytes of `struct tcmsg`: family, interface at 4, handle at 8, parent at 12, info at 16.
const TC: usize = 20;
const TCA_CHAIN: u16 = 11;
const TCA_INGRESS_BLOCK: u16 = 13;
const TCA_EGRESS_BLOCK: u16 = 14;
const TCA_BPF_ACT: u16 = 1;
const TCA_BPF_FLAGS: u16 = 8;
const TCA_BPF_ID: u16 = 11;
const TCA_ACT_KIND: u16 = 1;
const TCA_ACT_OPTIONS: u16 = 2;
const TCA_ACT_BPF_ID: u16 = 9;
/// `TCM_IFINDEX_MAGIC_BLOCK`: not the index of an interface.
const IFINDEX_OF_BLOCK: u32 = u32::MAX;
/// The parents of the filters of clsact.
const CLSACT: [u32; 2] = [0xffff_fff2, 0xffff_fff3];
/// The parent of the filters of the ingress qdisc.
pub(super) const INGRESS: u32 = 0xffff_0000;

/// BPF_FLOW_DISSECTOR, BPF_SK_LOOKUP.
const OF_NAMESPACES: [u32; 2] = [17, 36];

const INTERFACES: usize = 16_384;

#[derive(Debug)]
pub(super) struct Interface {
    pub(super) namespace: NsInum,
    pub(super) index: u32,
    pub(super) name: Vec<u8>,
    kind: Vec<u8>,
}

/// Where an interface has the filters of a shared block.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Shared {
    namespace: NsInum,
    block: u32,
    index: u32,
    parent: u32,
}

#[derive(Default)]
pub(super) struct Network {
    /// With the links, as far as the kernel reports them.
    pub(super) found: Vec<BpfAttachment>,
    pub(super) interfaces: Vec<Interface>,
    shared: Vec<Shared>,
    /// The processor time of the threads that entered other namespaces.
    pub(super) aside: Duration,
}

/// Reads all namespaces, `own` without entering it. `sockets` opens the sockets, if the caller may not do so itself.
pub(super) fn read(
    namespaces: &HashMap<NsInum, File>,
    own: NsInum,
    sockets: Option<&Sockets>,
    unlooked: &mut Unlooked,
) -> Network {
    let mut network = Network::default();
    let route = |namespace| route(namespace, sockets);
    let mut others: Vec<_> = namespaces.iter().filter(|(inum, _)| **inum != own).collect();
    others.sort_unstable_by_key(|(inum, _)| **inum);
    let looked = route(None).and_then(|route| network.namespace(own, namespaces.get(&own), route));
    unlooked.note("network interfaces", looked);
    for (inum, file) in others {
        let entered = std::thread::scope(|scope| {
            let enter = || {
                move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))?;
                let done = route(Some(file)).and_then(|route| network.namespace(*inum, Some(file), route));
                network.aside += now_thread();
                done
            };
            let thread = std::thread::Builder::new().name("netns".to_owned()).spawn_scoped(scope, enter)?;
            thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread failed")))
        });
        unlooked.note("other network namespaces", entered);
    }
    if namespaces.len() >= limits::BPF_NAMESPACES {
        unlooked.cut("network namespaces", limits::BPF_NAMESPACES);
    }
    network
}

/// Reads `own` alone, without what is attached to it as a whole.
pub(super) fn of_own(own: NsInum, sockets: Option<&Sockets>) -> io::Result<Network> {
    let mut network = Network::default();
    network.namespace(own, None, route(None, sockets)?)?;
    Ok(network)
}

fn route(namespace: Option<&File>, sockets: Option<&Sockets>) -> io::Result<Netlink> {
    match sockets {
        Some(sockets) => sockets.netlink(namespace, NETLINK_ROUTE),
        None => Netlink::open(NETLINK_ROUTE),
    }
}

/// The interfaces of tracetui's namespace in the last inventory, for notifications, which do not name them.
#[derive(Default)]
pub(super) struct Interfaces {
    own: NsInum,
    names: HashMap<u32, Vec<u8>>,
    shared: Vec<Shared>,
}

impl Interfaces {
    pub(super) fn of(network: &mut Network, own: NsInum) -> Interfaces {
        let names = network.interfaces.iter().filter(|interface| interface.namespace == own);
        let names = names.map(|interface| (interface.index, interface.name.clone())).collect();
        network.shared.retain(|shared| shared.namespace == own);
        Interfaces { own, names, shared: std::mem::take(&mut network.shared) }
    }

    /// Reads a datagram of notifications. Returns `false` if it is of a program in a block that is not known yet.
    pub(super) fn changes(&mut self, datagram: &[u8], changes: &mut Vec<InterfacePart>) -> bool {
        let (netns, mut is_known) = (self.own, true);
        for message in messages(datagram) {
            let (body, ifindex) = (message.body, u32_at(message.body, 4));
            let mut network = Network::default();
            let scope = match message.kind {
                // As a port of a bridge.
                RTM_NEWLINK | RTM_DELLINK if body.first() == Some(&(libc::AF_BRIDGE as u8)) => continue,
                RTM_NEWLINK => {
                    network.interface(netns, body);
                    let name = network.interfaces.first().map(|interface| interface.name.clone());
                    self.names.extend(name.map(|name| (ifindex, name)));
                    if attribute(body.get(IFINFO..).unwrap_or_default(), IFLA_XDP).is_none() {
                        continue;
                    }
                    InterfaceScope::Xdp
                }
                RTM_DELLINK => {
                    self.names.remove(&ifindex);
                    self.shared.retain(|shared| shared.index != ifindex);
                    InterfaceScope::All
                }
                RTM_NEWQDISC => {
                    let new = shared(netns, body).filter(|new| !self.shared.contains(new));
                    let new: Vec<_> = new.collect();
                    self.shared.extend(new);
                    continue;
                }
                RTM_DELQDISC => {
                    let places = match u32_at(body, 8) >> 16 {
                        0xffff => {
                            self.shared.retain(|shared| shared.index != ifindex);
                            vec![place(INGRESS), place(CLSACT[1])]
                        }
                        major => vec![format!("parent {major:x}:").into_bytes()],
                    };
                    // Without a handle, the message is about all filters.
                    InterfaceScope::Filters { places, number: None, any_handle: u32_at(body, 8) == 0 }
                }
                RTM_NEWTFILTER | RTM_DELTFILTER if ifindex != IFINDEX_OF_BLOCK => {
                    changes.push(self.filters((ifindex, u32_at(body, 12)), &message));
                    continue;
                }
                RTM_NEWTFILTER | RTM_DELTFILTER => {
                    let is_of = |shared: &&Shared| shared.block == u32_at(body, 12);
                    let before = changes.len();
                    let ends = self.shared.iter().filter(is_of).map(|shared| (shared.index, shared.parent));
                    changes.extend(ends.map(|end| self.filters(end, &message)));
                    let nowhere = || self.filters((ifindex, INGRESS), &message);
                    is_known &= changes.len() > before || nowhere().programs.is_empty();
                    continue;
                }
                _ => continue,
            };
            changes.push(InterfacePart { netns, ifindex, scope, programs: network.found });
        }
        is_known
    }

    fn filters(&self, (ifindex, parent): (u32, u32), message: &Message<'_>) -> InterfacePart {
        let (netns, body, mut network) = (self.own, message.body, Network::default());
        if message.kind == RTM_NEWTFILTER {
            let name = self.names.get(&ifindex).cloned();
            let name = name.unwrap_or_else(|| format!("interface {ifindex}").into_bytes());
            network.interfaces.push(Interface { namespace: netns, index: ifindex, name, kind: Vec::new() });
            network.filter(netns, (ifindex, parent), body);
        }
        let scope = InterfaceScope::Filters {
            places: vec![place_of(body, parent)],
            number: Some(number(body, body.get(TC..).unwrap_or_default())),
            // Without a handle, the message is about all filters with its priority.
            any_handle: u32_at(body, 8) == 0,
        };
        InterfacePart { netns, ifindex, scope, programs: network.found }
    }
}

/// The programs that links attach to XDP hooks, with the numbers of the interfaces, and how many links do. A link that is being made
/// exists before its program is attached, but cannot be opened yet.
pub fn xdp_links() -> HashMap<(ProgId, u32), usize> {
    let kind = ObjectKind::Link;
    let (ids, _) = sys::ids(kind, limits::BPF_PROGRAMS).unwrap_or_default();
    let program = |id: u32| {
        let is_listed = || sys::next_id(kind, id - 1).is_ok_and(|next| next == Some(id));
        let opened = (0..LINK_TRIES).find_map(|_| match sys::open(kind, id) {
            Ok(None) if is_listed() => {
                std::thread::sleep(Duration::from_millis(1));
                None
            }
            opened => Some(opened.ok().flatten()),
        });
        let info = sys::info(opened.flatten()?.as_fd()).ok()?;
        (info.u32(0) == link_type::XDP).then(|| (ProgId(info.u32(8)), info.u32(16)))
    };
    let mut links = HashMap::default();
    ids.into_iter().filter_map(program).for_each(|place| *links.entry(place).or_default() += 1);
    links
}

/// How often a link that cannot be opened yet is tried, 1 ms apart.
const LINK_TRIES: usize = 20;

impl Network {
    /// Names the interfaces of links. Adds the programs at interfaces and in namespaces that have no link.
    pub(super) fn join(self, links: &mut [BpfAttachment], rest: &mut Vec<BpfAttachment>) {
        for facts in self.found {
            let link = facts.link;
            let same = |known: &&mut BpfAttachment| match known.linked() {
                Some(known) if link.0 != 0 => known == link,
                Some(_) => {
                    let at_place = match facts.ifindex {
                        Some(_) => known.ifindex == facts.ifindex && known.target.is_empty(),
                        None => known.netns == facts.netns,
                    };
                    (known.program, known.hook) == (facts.program, facts.hook) && at_place
                }
                None => false,
            };
            match links.iter_mut().find(same) {
                Some(known) => {
                    (known.target, known.ifindex, known.netns) = (facts.target, facts.ifindex, facts.netns);
                    known.flags = facts.flags;
                }
                None => rest.push(BpfAttachment { link: LinkId(0), ..facts }),
            }
        }
        // The interface is in a namespace that was not found. In this namespace, the index belongs to another interface.
        for link in links.iter_mut().filter(|link| link.target.is_empty()) {
            let Some(index) = link.ifindex else { continue };
            link.target = format!("interface {index}").into_bytes();
        }
    }

    /// Reads the namespace of the calling thread, to which the socket belongs too.
    fn namespace(&mut self, inum: NsInum, file: Option<&File>, mut route: Netlink) -> io::Result<()> {
        if let Some(file) = file {
            self.of_namespace(inum, file);
        }
        let first = self.interfaces.len();
        route.dump(RTM_GETLINK, &[0; IFINFO], |message| {
            if self.interfaces.len() - first < INTERFACES {
                self.interface(inum, message);
            }
        })?;
        for at in first..self.interfaces.len() {
            self.queries(at);
        }
        let mut parents = parents(&mut route, |qdisc| self.shared.extend(shared(inum, qdisc)))?;
        parents.sort_unstable();
        parents.dedup();
        for (index, parent) in parents {
            let body = tc_message(index, parent);
            // EOPNOTSUPP, EINVAL: a qdisc or class without filters.
            let _ = route.dump(RTM_GETTFILTER, &body, |message| self.filter(inum, (index, parent), message));
        }
        Ok(())
    }

    fn of_namespace(&mut self, inum: NsInum, file: &File) {
        for attach_type in OF_NAMESPACES {
            let programs = sys::query(file.as_raw_fd().cast_unsigned(), attach_type);
            for queried in programs.unwrap_or_default() {
                let facts = BpfAttachment {
                    program: ProgId(queried.program),
                    via: Via::ProgAttach,
                    hook: Hook::Type(attach_type),
                    target: AttachPoint::Netns(inum.0).to_string().into_bytes(),
                    netns: Some(inum),
                    link: LinkId(queried.link),
                    ..BpfAttachment::default()
                };
                self.found.push(facts);
            }
        }
    }

    /// Adds an interface and its XDP programs. The same interface may come twice.
    pub(super) fn interface(&mut self, namespace: NsInum, message: &[u8]) {
        let (index, rest) = (u32_at(message, 4), message.get(IFINFO..).unwrap_or_default());
        if self.interfaces.iter().rev().any(|known| known.index == index && known.namespace == namespace) {
            return;
        }
        let name = until_nul(attribute(rest, IFLA_IFNAME).unwrap_or_default()).to_vec();
        let kind = attribute(rest, IFLA_LINKINFO).and_then(|info| attribute(info, IFLA_INFO_KIND));
        let kind = until_nul(kind.unwrap_or_default()).to_vec();
        let at = self.interfaces.len();
        self.interfaces.push(Interface { namespace, index, name, kind });
        let xdp = attribute(rest, IFLA_XDP).unwrap_or_default();
        let program = |wanted: u16| attribute(xdp, wanted).map(|value| ProgId(u32_at(value, 0))).filter(|id| id.0 != 0);
        let of_mode = |(wanted, mode): &(u16, &'static [u8])| Some((program(*wanted)?, *mode));
        let mut found: Vec<_> = IFLA_XDP_MODES.iter().filter_map(of_mode).collect();
        if found.is_empty()
            && let Some(only) = program(IFLA_XDP_PROG_ID)
        {
            // `XDP_ATTACHED_DRV` is 1.
            let mode = attribute(xdp, IFLA_XDP_ATTACHED).and_then(|value| value.first());
            let mode = mode.and_then(|mode| IFLA_XDP_MODES.get(usize::from(*mode).wrapping_sub(1)));
            found.push((only, mode.map_or(b"", |(_, mode)| *mode)));
        }
        for (program, mode) in found {
            self.push(at, program, Via::Netlink, Hook::Type(XDP), mode, LinkId(0));
        }
    }

    fn push(&mut self, at: usize, program: ProgId, via: Via, hook: Hook, flags: &[u8], link: LinkId) {
        let Some(interface) = self.interfaces.get(at) else { return };
        let facts = BpfAttachment {
            program,
            via,
            hook,
            target: interface.name.clone(),
            ifindex: Some(interface.index),
            netns: Some(interface.namespace),
            flags: flags.to_vec(),
            link,
            ..BpfAttachment::default()
        };
        self.found.push(facts);
    }

    /// Queries tcx and netkit (6.6+ and 6.7+; EINVAL before).
    fn queries(&mut self, at: usize) {
        let Some(interface) = self.interfaces.get(at) else { return };
        let is_netkit = interface.kind == b"netkit";
        let index = interface.index;
        let types = [TCX_INGRESS, TCX_EGRESS, NETKIT_PRIMARY, NETKIT_PEER];
        for attach_type in types.into_iter().take(if is_netkit { 4 } else { 2 }) {
            for queried in sys::query(index, attach_type).unwrap_or_default() {
                let (program, link) = (ProgId(queried.program), LinkId(queried.link));
                self.push(at, program, Via::ProgAttach, Hook::Type(attach_type), b"", link);
            }
        }
    }

    /// Adds a tc filter, if it or one of its actions is a program. `asked` is the interface and the parent of the
    /// request.
    pub(super) fn filter(&mut self, namespace: NsInum, asked: (u32, u32), message: &[u8]) {
        let of_block = u32_at(message, 4) == IFINDEX_OF_BLOCK;
        let (index, parent) = if of_block { asked } else { (u32_at(message, 4), u32_at(message, 12)) };
        let rest = message.get(TC..).unwrap_or_default();
        let kind = until_nul(attribute(rest, TCA_KIND).unwrap_or_default());
        let options = attribute(rest, TCA_OPTIONS).unwrap_or_default();
        let Some(at) = self.interfaces.iter().position(|i| i.index == index && i.namespace == namespace) else {
            return;
        };
        let place = place_of(message, parent);
        let number = number(message, rest);
        let words = |more: &[u8]| [place.as_slice(), more, &number].concat();
        if kind == b"bpf" {
            if let Some(id) = attribute(options, TCA_BPF_ID) {
                let direct = attribute(options, TCA_BPF_FLAGS).is_some_and(|flags| u32_at(flags, 0) & 1 != 0);
                self.push_once(at, ProgId(u32_at(id, 0)), &words(if direct { b" direct-action" } else { b"" }));
            }
            for program in attribute(options, TCA_BPF_ACT).map(actions).unwrap_or_default() {
                self.push_once(at, program, &words(b" action"));
            }
        } else {
            // The place of the actions depends on the kind of filter. So this accepts any nested list with an action
            // named bpf.
            for (_, value) in attributes(options) {
                for program in actions(value) {
                    self.push_once(at, program, &words(b" action"));
                }
            }
        }
    }

    /// Adds a filter once, because dumps of several parents may contain it.
    fn push_once(&mut self, at: usize, program: ProgId, flags: &[u8]) {
        let Some(interface) = self.interfaces.get(at) else { return };
        let (index, namespace) = (Some(interface.index), Some(interface.namespace));
        let same = |facts: &BpfAttachment| {
            facts.hook == Hook::Tc
                && (facts.program, facts.ifindex, facts.netns) == (program, index, namespace)
                && facts.flags == flags
        };
        if !self.found.iter().any(same) {
            self.push(at, program, Via::Netlink, Hook::Tc, flags, LinkId(0));
        }
    }
}

/// Each interface with the parents of filters: its qdiscs, and their classes. Passes on the messages of the qdiscs.
fn parents(route: &mut Netlink, mut each: impl FnMut(&[u8])) -> io::Result<Vec<(u32, u32)>> {
    let mut parents = Vec::new();
    let mut classful = Vec::new();
    route.dump(RTM_GETQDISC, &[0; TC], |message| {
        each(message);
        let (index, handle) = (u32_at(message, 4), u32_at(message, 8));
        match kind_of(message) {
            b"noqueue" | b"pfifo_fast" | b"mq" => {}
            b"clsact" => parents.extend(CLSACT.map(|parent| (index, parent))),
            b"ingress" => parents.push((index, INGRESS)),
            _ => {
                parents.push((index, handle));
                if !matches!(kind_of(message), b"fq" | b"fq_codel" | b"pfifo" | b"bfifo" | b"cake" | b"sfq" | b"netem")
                {
                    classful.push(index);
                }
            }
        }
    })?;
    classful.sort_unstable();
    classful.dedup();
    for index in classful {
        let add = |message: &[u8]| parents.push((index, u32_at(message, 8)));
        let _ = route.dump(RTM_GETTCLASS, &tc_message(index, 0), add);
    }
    Ok(parents)
}

fn kind_of(qdisc: &[u8]) -> &[u8] {
    until_nul(attribute(qdisc.get(TC..).unwrap_or_default(), TCA_KIND).unwrap_or_default())
}

/// Where a qdisc has the filters of shared blocks.
fn shared(namespace: NsInum, qdisc: &[u8]) -> impl Iterator<Item = Shared> {
    let parents = if kind_of(qdisc) == b"clsact" { CLSACT } else { [INGRESS; 2] };
    let (index, rest) = (u32_at(qdisc, 4), qdisc.get(TC..).unwrap_or_default());
    [TCA_INGRESS_BLOCK, TCA_EGRESS_BLOCK].into_iter().zip(parents).filter_map(move |(which, parent)| {
        Some(Shared { namespace, block: u32_at(attribute(rest, which)?, 0), index, parent })
    })
}

fn tc_message(index: u32, parent: u32) -> [u8; TC] {
    let mut message = [0; TC];
    message[4..8].copy_from_slice(&index.to_ne_bytes());
    message[12..16].copy_from_slice(&parent.to_ne_bytes());
    message
}

/// The programs among the actions of a filter. The actions are a numbered list, each with a kind and options.
fn actions(list: &[u8]) -> Vec<ProgId> {
    let program = |action: &[u8]| {
        let is_bpf = until_nul(attribute(action, TCA_ACT_KIND)?) == b"bpf";
        let id = attribute(attribute(action, TCA_ACT_OPTIONS).filter(|_| is_bpf)?, TCA_ACT_BPF_ID)?;
        (id.len() == 4).then(|| ProgId(u32_at(id, 0)))
    };
    attributes(list).filter_map(|(_, action)| program(action)).collect()
}

/// The priority, chain and handle of a filter: ` prio N chain N handle 0xN`, without the chain 0 and the first handle.
fn number(message: &[u8], attributes: &[u8]) -> Vec<u8> {
    let mut text = format!(" prio {}", u32_at(message, 16) >> 16);
    let chain = attribute(attributes, TCA_CHAIN).map_or(0, |chain| u32_at(chain, 0));
    if chain != 0 {
        text += &format!(" chain {chain}");
    }
    let handle = u32_at(message, 8);
    if handle > 1 {
        text += &format!(" handle {handle:#x}");
    }
    text.into_bytes()
}

/// The place of a filter. One of a block belongs to no interface: the number of the block is in place of its parent.
fn place_of(filter: &[u8], parent: u32) -> Vec<u8> {
    let block =
        if u32_at(filter, 4) == IFINDEX_OF_BLOCK { format!(" block {}", u32_at(filter, 12)) } else { String::new() };
    [place(parent).as_slice(), block.as_bytes()].concat()
}

/// The direction, or the parent as tc(8) writes it.
fn place(parent: u32) -> Vec<u8> {
    match parent {
        0xffff_fff2 | INGRESS => b"ingress".to_vec(),
        0xffff_fff3 => b"egress".to_vec(),
        parent => format!("parent {:x}:{:x}", parent >> 16, parent & 0xffff).into_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let header = [(4 + value.len()) as u16, kind].map(u16::to_ne_bytes).concat();
        let mut bytes = [header.as_slice(), value].concat();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut bytes = (16 + body.len() as u32).to_ne_bytes().to_vec();
        bytes.extend_from_slice(&kind.to_ne_bytes());
        bytes.resize(16, 0);
        bytes.extend_from_slice(body);
        bytes
    }

    /// `struct ifinfomsg` of an interface, with the program of its XDP hook.
    fn link(family: u8, ifindex: u32, program: u32) -> Vec<u8> {
        let mut body = vec![0; IFINFO];
        body[0] = family;
        body[4..8].copy_from_slice(&ifindex.to_ne_bytes());
        let xdp = [attribute(IFLA_XDP_ATTACHED, &[2]), attribute(IFLA_XDP_PROG_ID, &program.to_ne_bytes())].concat();
        [body, attribute(IFLA_IFNAME, b"eth0\0"), attribute(IFLA_XDP, &xdp)].concat()
    }

    #[test]
    fn notifications_show_the_programs_at_interfaces() {
        let mut known = Interfaces { own: NsInum(1), ..Interfaces::default() };
        let mut read = |kind, body: &[u8]| {
            let mut changes = Vec::new();
            known.changes(&message(kind, body), &mut changes);
            let show = |change: InterfacePart| {
                let programs = change.programs.iter().map(|facts| {
                    let [target, flags] =
                        [&facts.target, &facts.flags].map(|text| String::from_utf8_lossy(text).into_owned());
                    format!(" {} {target} {flags}", facts.program.0)
                });
                format!("{}:{} {:?}{}", change.netns.0, change.ifindex, change.scope, programs.collect::<String>())
            };
            changes.into_iter().map(show).collect::<Vec<_>>()
        };
        assert_eq!(read(RTM_NEWLINK, &link(0, 3, 7)), ["1:3 Xdp 7 eth0 generic"]);
        assert_eq!(read(RTM_NEWLINK, &link(0, 3, 0)), ["1:3 Xdp"], "no program");
        assert_eq!(read(RTM_NEWLINK, &link(libc::AF_BRIDGE as u8, 3, 0)), [""; 0], "a port of a bridge");
        let mut filter = tc_message(3, CLSACT[1]).to_vec();
        filter[16..20].copy_from_slice(&(4u32 << 16).to_ne_bytes());
        let options = attribute(TCA_BPF_ID, &9u32.to_ne_bytes());
        let bpf = [filter.clone(), attribute(TCA_KIND, b"bpf\0"), attribute(TCA_OPTIONS, &options)].concat();
        let part = |number: &str| InterfaceScope::Filters {
            places: vec![b"egress".to_vec()],
            number: Some(number.into()),
            any_handle: true,
        };
        let expected = format!("1:3 {:?} 9 eth0 egress prio 4", part(" prio 4"));
        assert_eq!(read(RTM_NEWTFILTER, &bpf), [expected]);
        assert_eq!(read(RTM_DELTFILTER, &bpf), [format!("1:3 {:?}", part(" prio 4"))]);
        let mut qdisc = tc_message(3, 0xffff_fff1).to_vec();
        qdisc[8..12].copy_from_slice(&0xffff_0000u32.to_ne_bytes());
        let places = vec![b"ingress".to_vec(), b"egress".to_vec()];
        let both = InterfaceScope::Filters { places, number: None, any_handle: false };
        assert_eq!(read(RTM_DELQDISC, &qdisc), [format!("1:3 {both:?}")]);
        // A filter of a block, at the ingress of two interfaces.
        let with_block = |ifindex: u32, kind: &[u8], block: u32| {
            let head = tc_message(ifindex, 0xffff_fff1);
            [&head[..], &attribute(TCA_KIND, kind), &attribute(TCA_INGRESS_BLOCK, &block.to_ne_bytes())].concat()
        };
        assert_eq!(read(RTM_NEWQDISC, &with_block(3, b"clsact\0", 22)), [""; 0]);
        assert_eq!(read(RTM_NEWQDISC, &with_block(4, b"ingress\0", 22)), [""; 0]);
        let with_number =
            |bytes: &[u8], at: usize, number: u32| [&bytes[..at], &number.to_ne_bytes(), &bytes[at + 4..]].concat();
        let of_block = with_number(&with_number(&bpf, 4, u32::MAX), 12, 22);
        let places = vec![b"ingress block 22".to_vec()];
        let part = InterfaceScope::Filters { places, number: Some(b" prio 4".to_vec()), any_handle: true };
        let expected = [(3, "eth0"), (4, "interface 4")];
        let expected = expected.map(|(index, name)| format!("1:{index} {part:?} 9 {name} ingress block 22 prio 4"));
        assert_eq!(read(RTM_NEWTFILTER, &of_block), expected);
        assert_eq!(read(RTM_DELTFILTER, &of_block), [3, 4].map(|index| format!("1:{index} {part:?}")));
        assert_eq!(read(RTM_DELLINK, &link(0, 3, 7)), ["1:3 All"]);
        assert_eq!(read(RTM_DELTFILTER, &of_block), [format!("1:4 {part:?}")]);
        assert_eq!(read(RTM_NEWLINK, &[0; 3]), [""; 0]);
        let mut changes = Vec::new();
        let unknown = message(RTM_NEWTFILTER, &with_number(&of_block, 12, 23));
        assert!(!known.changes(&unknown, &mut changes) && changes.is_empty(), "an unknown block");
    }
}
