//! The programs in the kernel's own lists of cgroups, network namespaces, interfaces (tcx) and maps of sockets, by
//! iterators (6.9+), and the XDP programs of interfaces. BPF_PROG_QUERY and rtnetlink report the same places. An attachment that
//! the lists have and the answers lack is hidden.

use super::answers::Listed;
use super::descriptors::{WORD, follow, offset, read};
use super::lister::{Body, LEAVE, Lister, ON_STACK, asm, field};
use rustc_hash::FxHashMap;
use std::io;
use std::os::fd::BorrowedFd;
use tracetui_events::bpf::View;
use tracetui_host::bpf::{link_cgroup_iterator, link_iterator};
use tracetui_host::btf::Btf;
use tracetui_host::program::Instruction;
use tracetui_shared::id::{NsInum, ProgId};

/// The offset of another word on the stack.
const STATE: i16 = WORD - 8;

/// BPF_MAP_TYPE_SOCKMAP, BPF_MAP_TYPE_SOCKHASH.
const SOCKMAP: i32 = 15;
const SOCKHASH: i32 = 18;

/// The programs of a map of sockets: the first four words of `struct sk_psock_progs`.
const OF_MAP: i32 = 4 * 8;

/// The sizes of the lists of a cgroup without and with BPF_LSM. Other kernels may have attach types that are not queried.
const OF_CGROUP: [u32; 2] = [28 * 8, 38 * 8];

/// An iterator: its view, name, function in the kernel's BTF, and instructions.
type Walk = (View, &'static str, u32, Body);

/// The iterators over attachments, and that over network namespaces.
#[derive(Clone, Debug)]
pub(super) struct AttachedLayout(Vec<Walk>, Option<Walk>);

impl AttachedLayout {
    /// Leaves out iterators that the kernel with this BTF lacks.
    pub(super) fn of(btf: &Btf) -> AttachedLayout {
        let types = Types(btf, btf.structures(&STRUCTURES));
        let functions = btf.funcs(&["bpf_iter_cgroup", "bpf_iter_task", "bpf_iter_bpf_map"]);
        let of = [
            (View::IterCgroup, "tt_cgroups", functions[0], of_cgroup(&types)),
            (View::IterTask, "tt_namespaces", functions[1], of_namespace(&types)),
            (View::IterMap, "tt_sockmaps", functions[2], of_map(&types)),
            (View::IterNetdev, "tt_netdevs", functions[1], of_interfaces(&types)),
        ];
        let all = of.into_iter().filter_map(|(view, name, function, body)| Some((view, name, function?, body?)));
        let namespaces = functions[1].zip(of_all_namespaces(&types));
        let namespaces = namespaces.map(|(function, body)| (View::IterTask, "tt_netns", function, body));
        AttachedLayout(all.collect(), namespaces)
    }
}

/// The structures that the iterators read.
const STRUCTURES: [&str; 12] = [
    "bpf_prog",
    "bpf_prog_aux",
    "bpf_prog_list",
    "cgroup",
    "kernfs_node",
    "task_struct",
    "nsproxy",
    "net",
    "net_device",
    "bpf_map",
    "bpf_stab",
    "bpf_shtab",
];

/// The kernel's types, with the ids of the structures.
struct Types<'b>(&'b Btf, Vec<Option<u32>>);

impl Types<'_> {
    /// The offset of a member, and its size.
    fn member(&self, structure: &str, member: &str) -> Option<(i16, u32)> {
        let index = STRUCTURES.iter().position(|name| *name == structure)?;
        let place = self.0.first_path(self.1[index]?, &[member]).ok()?;
        let size = place.size?;
        Some((offset(place, size)?, size))
    }

    /// The offset of a member with this size.
    fn at(&self, structure: &str, name: &str, size: u32) -> Option<i16> {
        self.member(structure, name).filter(|(_, found)| *found == size).map(|(offset, _)| offset)
    }
}

/// Makes a number of the pointer in register 6, which the verifier then allows to be changed. Changes registers 0 to 5.
fn as_number() -> Vec<Instruction> {
    let mut code = vec![asm::store(asm::U64, 10, 6, STATE), asm::copy(3, 10), asm::add(3, STATE.into())];
    code.extend(read(8));
    code.push(asm::load(asm::U64, 6, 10, WORD));
    code
}

/// The end of a loop that begins at `head`: puts the id of the program whose address is in the word below the record
/// into the record. Without a program, the loop continues.
fn looped(types: &Types<'_>, mut facts: Vec<Instruction>, head: usize, object: i16) -> Option<Body> {
    facts.push(asm::load(asm::U64, 1, 10, WORD));
    facts.extend(follow(1, types.at("bpf_prog", "aux", 8)?.into()));
    facts.extend([asm::load(asm::U64, 3, 10, WORD), asm::add(3, types.at("bpf_prog_aux", "id", 4)?.into())]);
    facts.extend(read(4));
    facts.push(asm::load(asm::U32, 1, 10, WORD));
    facts.push(asm::skip_if(1, 0, back(&facts, head)));
    facts.push(asm::store(asm::U32, 10, 1, ON_STACK + 8));
    Some(Body { object, facts, again: Some(head) })
}

/// The length of a jump from the next instruction to `head`.
fn back(code: &[Instruction], head: usize) -> i16 {
    head as i16 - code.len() as i16 - 1
}

/// The programs that are attached to a cgroup without a link: their id, the cgroup's id at 16.
fn of_cgroup(types: &Types<'_>) -> Option<Body> {
    const CGROUP: i16 = 8;
    let (lists, size) = types.member("cgroup", "bpf.progs").filter(|(_, size)| OF_CGROUP.contains(size))?;
    // Each list has an `hlist_head`.
    let node = types.at("bpf_prog_list", "node", 16)?;
    let program = i32::from(types.at("bpf_prog_list", "prog", 8)?) - i32::from(node);
    let mut facts = vec![asm::load(asm::U64, 1, 6, types.at("cgroup", "kn", 8)?)];
    facts.push(asm::load(asm::U64, 1, 1, types.at("kernfs_node", "id", 8)?));
    facts.push(asm::store(asm::U64, 10, 1, ON_STACK + 16));
    facts.extend(as_number());
    facts.extend([asm::add(6, lists.into()), asm::copy(9, 6), asm::add(9, size.cast_signed()), asm::set(8, 0)]);
    // Register 6 has the address of the next list, 9 that of the end of the lists, 8 the next node or 0.
    let head = facts.len();
    facts.push(asm::bounded(LEAVE));
    let mut next_list = vec![asm::skip_if_same(6, 9, LEAVE)];
    next_list.extend(follow(6, 0));
    next_list.extend([asm::load(asm::U64, 8, 10, WORD), asm::add(6, 8)]);
    facts.push(asm::skip_unless(8, 0, next_list.len() as i16 + 1));
    facts.extend(next_list);
    facts.push(asm::skip(back(&facts, head)));
    facts.extend(follow(8, 0));
    facts.extend([asm::load(asm::U64, 1, 10, WORD), asm::store(asm::U64, 10, 1, STATE)]);
    facts.extend(follow(8, program));
    facts.push(asm::load(asm::U64, 8, 10, STATE));
    looped(types, facts, head, CGROUP)
}

/// The flow dissector and the tcx programs of a thread's network namespace: their id, the interface at 12, the namespace
/// at 16, the thread at 24. Not for a thread with the namespace of the one before it.
fn of_namespace(types: &Types<'_>) -> Option<Body> {
    const TASK: i16 = 8;
    let (flow_dissector, _) = types.member("net", "bpf.progs")?;
    let interfaces = types.at("net", "dev_base_head", 16)?;
    let node = i32::from(types.at("net_device", "dev_list", 16)?);
    let of_interface = |name, size| Some(i32::from(types.at("net_device", name, size)?) - node);
    let (index, ingress, egress) =
        (of_interface("ifindex", 4)?, of_interface("tcx_ingress", 8)?, of_interface("tcx_egress", 8)?);
    let mut facts = namespace(types)?;
    facts.extend([asm::copy(9, 6), asm::add(9, flow_dissector.into()), asm::add(6, interfaces.into())]);
    facts.extend([asm::copy(8, 6), asm::set(1, 0), asm::store(asm::U64, 10, 1, STATE)]);
    // Register 9 has the address of the next program in an array that ends with 0, or 0; 6 the address of the list of
    // interfaces, 8 that of an interface's node. The state is 1 before the egress of an interface.
    let head = facts.len();
    facts.push(asm::bounded(LEAVE));
    let mut program = follow(9, 0);
    program.extend([asm::add(9, 8), asm::load(asm::U64, 1, 10, WORD)]);
    let mut interface = follow(8, 0);
    interface.extend([asm::load(asm::U64, 8, 10, WORD), asm::skip_if_same(8, 6, LEAVE), asm::skip_if(8, 0, LEAVE)]);
    interface.extend(follow(8, index));
    interface.extend([asm::load(asm::U32, 1, 10, WORD), asm::store(asm::U32, 10, 1, ON_STACK + 12)]);
    interface.extend([asm::set(1, 1), asm::store(asm::U64, 10, 1, STATE)]);
    interface.extend([asm::copy(3, 8), asm::add(3, ingress)]);
    let to_egress = [asm::set(1, 0), asm::store(asm::U64, 10, 1, STATE), asm::copy(3, 8), asm::add(3, egress)];
    interface.push(asm::skip(to_egress.len() as i16));
    let mut array = read(8).to_vec();
    array.push(asm::load(asm::U64, 9, 10, WORD));
    let next = 2 + interface.len() + to_egress.len() + array.len() + 1;
    program.push(asm::skip_unless(1, 0, next as i16));
    facts.push(asm::skip_if(9, 0, program.len() as i16));
    facts.extend(program);
    facts.extend([asm::load(asm::U64, 1, 10, STATE), asm::skip_unless(1, 0, interface.len() as i16)]);
    facts.extend(interface);
    facts.extend(to_egress);
    facts.extend(array);
    facts.push(asm::skip(back(&facts, head)));
    looped(types, facts, head, TASK)
}

/// The XDP programs of the interfaces of a thread's network namespace, without links: their id, the interface at 12, the namespace at
/// 16, the thread at 24.
fn of_interfaces(types: &Types<'_>) -> Option<Body> {
    const TASK: i16 = 8;
    let interfaces = types.at("net", "dev_base_head", 16)?;
    let node = i32::from(types.at("net_device", "dev_list", 16)?);
    let index = i32::from(types.at("net_device", "ifindex", 4)?) - node;
    // `struct bpf_xdp_entity` for each mode: the program, the link.
    let modes = i32::from(types.at("net_device", "xdp_state", MODES as u32 * ENTITY as u32)?) - node;
    let mut facts = namespace(types)?;
    facts.extend([asm::add(6, interfaces.into()), asm::copy(8, 6), asm::set(9, 0)]);
    facts.extend([asm::set(1, 0), asm::store(asm::U64, 10, 1, STATE)]);
    // Register 6 has the address of the list of interfaces, 8 that of an interface's node, 9 that of its next mode. The state is the
    // number of its modes that are left.
    let head = facts.len();
    facts.push(asm::bounded(LEAVE));
    let mut interface = follow(8, 0);
    interface.extend([asm::load(asm::U64, 8, 10, WORD), asm::skip_if_same(8, 6, LEAVE), asm::skip_if(8, 0, LEAVE)]);
    interface.extend(follow(8, index));
    interface.extend([asm::load(asm::U32, 1, 10, WORD), asm::store(asm::U32, 10, 1, ON_STACK + 12)]);
    interface.extend([asm::copy(9, 8), asm::add(9, modes), asm::set(1, MODES), asm::store(asm::U64, 10, 1, STATE)]);
    facts.extend([asm::load(asm::U64, 1, 10, STATE), asm::skip_unless(1, 0, interface.len() as i16)]);
    facts.extend(interface);
    facts.extend([asm::load(asm::U64, 1, 10, STATE), asm::add(1, -1), asm::store(asm::U64, 10, 1, STATE)]);
    facts.extend(follow(9, 0));
    facts.push(asm::add(9, ENTITY));
    looped(types, facts, head, TASK)
}

/// The number of XDP modes, and the size of `struct bpf_xdp_entity` (5.9+).
const MODES: i32 = 3;
const ENTITY: i32 = 16;

/// The network namespace of a thread to register 6, as a number. It is not that of the thread before it.
fn namespace(types: &Types<'_>) -> Option<Vec<Instruction>> {
    let mut facts = vec![];
    facts.extend(field(asm::U32, types.at("task_struct", "pid", 4)?, 24));
    facts.extend([
        asm::load(asm::U64, 6, 6, types.at("task_struct", "nsproxy", 8)?),
        asm::load(asm::U64, 6, 6, types.at("nsproxy", "net_ns", 8)?),
        asm::load(asm::U32, 1, 6, types.at("net", "ns.inum", 4)?),
        asm::skip_if(1, 0, LEAVE),
        asm::load(asm::U64, 2, 7, 8),
        asm::skip_if_same(1, 2, LEAVE),
        asm::store(asm::U64, 7, 1, 8),
        asm::store(asm::U64, 10, 1, ON_STACK + 16),
    ]);
    facts.extend(as_number());
    Some(facts)
}

/// All network namespaces but that of the first thread: their number.
fn of_all_namespaces(types: &Types<'_>) -> Option<Body> {
    const TASK: i16 = 8;
    let list = types.at("net", "list", 16)?;
    let ops = types.at("net", "ns.ops", 8)?;
    let count = types.at("net", "ns.count", 4).or_else(|| types.at("net", "ns.__ns_ref", 4))?;
    let of_node = |member: i16| i32::from(member) - i32::from(list);
    let mut facts = vec![
        asm::load(asm::U64, 1, 7, 8),
        asm::skip_unless(1, 0, LEAVE),
        asm::load(asm::U64, 6, 6, types.at("task_struct", "nsproxy", 8)?),
        asm::load(asm::U64, 6, 6, types.at("nsproxy", "net_ns", 8)?),
        // A thread that exits has none.
        asm::load(asm::U64, 1, 6, ops),
        asm::skip_if(1, 0, LEAVE),
        asm::store(asm::U64, 7, 1, 8),
    ];
    facts.extend(as_number());
    facts.extend([asm::copy(9, 6), asm::add(9, list.into()), asm::copy(8, 9)]);
    // Register 9 has the address of the node of the first namespace, 8 that of the next. The head of the list is in no namespace: what
    // is read there are not the operations of a namespace.
    let head = facts.len();
    facts.push(asm::bounded(LEAVE));
    facts.extend(follow(8, 0));
    facts.extend([asm::load(asm::U64, 8, 10, WORD), asm::skip_if_same(8, 9, LEAVE), asm::skip_if(8, 0, LEAVE)]);
    facts.extend(follow(8, of_node(ops)));
    facts.extend([asm::load(asm::U64, 1, 10, WORD), asm::load(asm::U64, 2, 7, 8), asm::skip_if_same(1, 2, 1)]);
    facts.push(asm::skip(back(&facts, head)));
    // Without references, it is being removed.
    for (member, to) in [(count, 12), (types.at("net", "ns.inum", 4)?, 8)] {
        facts.extend([asm::copy(3, 8), asm::add(3, of_node(member))]);
        facts.extend(read(4));
        facts.push(asm::load(asm::U32, 1, 10, WORD));
        facts.push(asm::skip_if(1, 0, back(&facts, head)));
        facts.push(asm::store(asm::U32, 10, 1, ON_STACK + to));
    }
    Some(Body { object: TASK, facts, again: Some(head) })
}

/// The programs of a map of sockets: their id, the map's id at 16.
fn of_map(types: &Types<'_>) -> Option<Body> {
    const MAP: i16 = 8;
    let mut facts = vec![];
    facts.extend(field(asm::U32, types.at("bpf_map", "id", 4)?, 16));
    facts.extend([
        asm::load(asm::U32, 1, 6, types.at("bpf_map", "map_type", 4)?),
        asm::set(8, types.member("bpf_stab", "progs")?.0.into()),
        asm::skip_if(1, SOCKMAP, 2),
        asm::set(8, types.member("bpf_shtab", "progs")?.0.into()),
        asm::skip_unless(1, SOCKHASH, LEAVE),
    ]);
    facts.extend(as_number());
    facts.extend([asm::add_register(6, 8), asm::copy(9, 6), asm::add(9, OF_MAP)]);
    let head = facts.len();
    facts.extend([asm::bounded(LEAVE), asm::skip_if_same(6, 9, LEAVE)]);
    facts.extend(follow(6, 0));
    facts.push(asm::add(6, 8));
    looped(types, facts, head, MAP)
}

/// The iterators, ready to run.
pub(super) struct Attached {
    places: Vec<(View, Lister)>,
    namespaces: Option<Lister>,
}

impl Attached {
    pub(super) fn load(layout: &AttachedLayout, ring_size: u32) -> io::Result<Attached> {
        let load = |(view, name, function, body): &Walk| {
            let of_cgroups = *view == View::IterCgroup;
            let link: fn(BorrowedFd<'_>) -> _ =
                if of_cgroups { link_cgroup_iterator } else { |program| link_iterator(program) };
            Ok::<_, io::Error>((*view, Lister::link(name, *function, body, ring_size, link)?))
        };
        let places = layout.0.iter().map(load).collect::<io::Result<_>>()?;
        let namespaces = layout.1.as_ref().and_then(|layout| load(layout).ok()).map(|(_, lister)| lister);
        Ok(Attached { places, namespaces })
    }

    /// All network namespaces but that of the first process. `None` if the kernel lacks the iterator, or records were lost.
    pub(super) fn namespaces(&mut self) -> Option<Vec<NsInum>> {
        let mut found = Vec::new();
        self.namespaces.as_mut()?.run(|record| found.push(NsInum(record.id()))).ok()?;
        Some(found)
    }

    /// Whether a program belongs to these iterators.
    pub(super) fn has(&self, id: ProgId) -> bool {
        self.places.iter().map(|(_, lister)| lister).chain(&self.namespaces).any(|lister| lister.ids.0 == id)
    }

    /// Reads all lists. After an error, the iterators must be loaded again.
    pub(super) fn read(&mut self) -> Result<Listed, String> {
        let mut listed = Listed::default();
        for (view, lister) in &mut self.places {
            // Threads of several processes lead to the same namespace. The first of them counts.
            let mut threads = FxHashMap::default();
            lister.run(|record| {
                let place = (*view, record.u64_at(16), record.u32_at(12));
                let thread = record.u32_at(24);
                if *threads.entry(place.1).or_insert(thread) == thread {
                    *listed.entry((place, ProgId(record.id()))).or_default() += 1;
                }
            })?;
        }
        Ok(listed)
    }
}
