//! The programs and links that the iterators `bpf_prog` (5.9+) and `bpf_link` (5.19+) show.
//!
//! The results of bpf(2) and read(2) are in memory that a hostile program can write (`bpf_probe_write_user`). The
//! iterators send their facts through a ring buffer, whose data and whose producer's position are mapped read-only, so
//! such a write fails. Each record has a number that the iterator counts, and the last record of a run is marked as the
//! last. A missing record is therefore noticed, and nothing is concluded from that run.
//!
//! The iterators can be compared with bpf(2) even while objects are loaded and unloaded. An object that is listed
//! before and after a walk over the ids existed all the time.

use super::descriptors::Descriptors;
use super::lister::{Body, ENTRY, Lister, NAME_AT, ON_STACK, asm, field, id, name, offset};
use super::namespaces;
use super::processes::Held;
use super::programs::Read;
use super::sys::{self, ObjectKind};
use foldhash::{HashMap, HashSet};
use rustix::param::page_size;
use std::fs::File;
use std::io;
use tracetui_events::bpf::{Inventory, Unseen, View};
use tracetui_events::frame::host::BpfHidden;
use tracetui_events::limits;
use tracetui_host::btf::Btf;
use tracetui_host::{u32_at, u64_at};
use tracetui_shared::id::{LinkId, NsInum, ProgId};
use tracetui_shared::record::bpf::link_type;

/// The offset of the program or link in the context of an iterator.
const OBJECT: i16 = 8;

fn of_program(btf: &Btf) -> Option<Body> {
    /// The size of a name in bytes (`BPF_OBJ_NAME_LEN`).
    const NAME: u32 = 16;
    let at = |structure: &str, member: &str, size: u32| offset(btf, structure, &[member], size);
    let tag = at("bpf_prog", "tag", 8).or_else(|| at("bpf_prog", "digest", 32))?;
    let name = at("bpf_prog_aux", "name", NAME)?;
    let mut facts = field(asm::U32, at("bpf_prog", "type", 4)?, 12).to_vec();
    // Not all of these fields are aligned to 8 bytes.
    facts.extend([0, 4].into_iter().flat_map(|part| field(asm::U32, tag + part, 24 + part)));
    facts.push(asm::load(asm::U64, 6, 6, at("bpf_prog", "aux", 8)?));
    facts.extend(field(asm::U32, at("bpf_prog_aux", "id", 4)?, 8));
    facts.extend(field(asm::U64, at("bpf_prog_aux", "load_time", 8)?, 16));
    facts.extend([0, 4, 8, 12].into_iter().flat_map(|part| field(asm::U32, name + part, NAME_AT as i16 + part)));
    Some(Body { function: btf.func("bpf_iter_bpf_prog")?, object: OBJECT, facts, again: None })
}

/// From a link to the id of its perf event (5.15+): the offsets of the file in the link, of the event in the file, of its id.
fn event_of_link(btf: &Btf) -> Option<[i16; 3]> {
    let at = |structure: &str, member: &str| offset(btf, structure, &[member], 8);
    Some([at("bpf_perf_link", "perf_file")?, at("file", "private_data")?, at("perf_event", "id")?])
}

/// The facts of a link: its id, its type, the id of its program (16), the id of its perf event (24). If it has no program, a load
/// through a null pointer yields 0 as the program's id.
fn of_link(btf: &Btf, event: Option<[i16; 3]>) -> Option<Body> {
    let at = |structure: &str, member: &str, size: u32| offset(btf, structure, &[member], size);
    let mut facts = field(asm::U32, at("bpf_link", "id", 4)?, 8).to_vec();
    facts.extend(field(asm::U32, at("bpf_link", "type", 4)?, 12));
    if let Some(steps) = event {
        let mut event = vec![asm::copy(3, 6)];
        steps.into_iter().for_each(|offset| event.extend(asm::read(asm::U64, 3, 3, offset.into())));
        event.push(asm::store(asm::U64, 10, 3, ON_STACK + 24));
        facts.push(asm::load(asm::U32, 1, 10, ON_STACK + 12));
        facts.push(asm::skip_unless(1, link_type::PERF_EVENT.cast_signed(), event.len() as i16));
        facts.extend(event);
    }
    facts.push(asm::load(asm::U64, 6, 6, at("bpf_link", "prog", 8)?));
    facts.push(asm::load(asm::U64, 6, 6, at("bpf_prog", "aux", 8)?));
    facts.extend(field(asm::U32, at("bpf_prog_aux", "id", 4)?, 16));
    Some(Body { function: btf.func("bpf_iter_bpf_link")?, object: OBJECT, facts, again: None })
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Object {
    object_type: u32,
    /// The load time of a program, or the program of a link. Together with the id, it identifies the object.
    other: u64,
    tag: u64,
    name: Vec<u8>,
}

impl Object {
    /// Whether BPF_OBJ_GET_INFO_BY_FD reports the same about this program.
    fn matches(&self, Read { facts, loaded_as, .. }: &Read) -> bool {
        (self.object_type, self.other, self.tag) == (facts.prog_type, facts.loaded.0, facts.tag)
            && self.name == *loaded_as
    }
}

type Objects = HashMap<u32, Object>;

pub(super) struct Iterators {
    programs: Lister,
    links: Option<Lister>,
    /// Whether `links` shows the perf event of each link, or there are no such links.
    knows_events: bool,
    descriptors: Option<Descriptors>,
    /// The network namespaces. `None` if the kernel refuses the iterator, as before 6.9.
    namespaces: Option<Lister>,
}

struct Compared {
    /// Objects that the iterator lists before and after the walk, and that are in the walk.
    walked: Vec<(u32, Object)>,
    /// The others that it lists before and after.
    not_walked: Vec<(u32, Object)>,
    /// Those in the walk that could not be opened between the two runs, although nothing can have removed them.
    not_opened: Vec<(u32, Object)>,
}

impl Iterators {
    /// Loads the iterators. `None` if this kernel lacks them. `most` is the approximate number of objects of a kind.
    pub(super) fn load(most: usize) -> Result<Option<Iterators>, String> {
        let btf = Btf::running().map_err(|error| format!("cannot read the kernel's BTF: {error}"))?;
        let Some(of_programs) = of_program(&btf) else { return Ok(None) };
        tracetui_host::program::raise_memlock();
        let entries = 2 * most.clamp(LEAST, limits::BPF_PROGRAMS) + SPARE;
        let ring_size = (entries * ENTRY).next_power_of_two().max(page_size()) as u32;
        let refused = |error: io::Error| format!("the kernel rejects the iterators: {error}");
        let event = event_of_link(&btf);
        let links = of_link(&btf, event).map(|body| Lister::load("tt_links", &body, ring_size));
        let has_event_links = btf.structure("bpf_perf_link").is_some();
        Ok(Some(Iterators {
            programs: Lister::load("tt_programs", &of_programs, ring_size).map_err(refused)?,
            knows_events: !has_event_links || links.is_some() && event.is_some(),
            links: links.transpose().map_err(refused)?,
            descriptors: Descriptors::load(&btf, ring_size),
            namespaces: namespaces::of(&btf).and_then(|body| Lister::load("tt_netns", &body, ring_size / 4).ok()),
        }))
    }

    pub(super) fn has(&self, id: ProgId) -> bool {
        let own = [Some(&self.programs), self.links.as_ref(), self.namespaces.as_ref()].into_iter().flatten();
        own.chain(self.descriptors.iter().flat_map(|all| [&all.files, &all.tasks])).any(|lister| lister.ids.0 == id)
    }

    /// What the descriptors of all processes refer to. `None` if the kernel lacks an iterator, if there are too many, and for process
    /// ids of another pid namespace than the initial one.
    pub(super) fn held(&mut self) -> Option<Held> {
        self.descriptors.as_mut()?.read().ok()
    }

    pub(super) fn linked_events(&mut self) -> Option<HashSet<u32>> {
        let mut events = HashSet::default();
        if let Some(links) = self.links.as_mut().filter(|_| self.knows_events) {
            links.run(|record| _ = events.insert(u32_at(record, 24))).ok()?;
        }
        self.knows_events.then_some(events)
    }

    /// All network namespaces but that of the first process. Empty if the kernel lacks the iterator, or records were lost.
    pub(super) fn namespaces(&mut self) -> Vec<NsInum> {
        let mut found = Vec::new();
        let run = self.namespaces.as_mut().map(|lister| lister.run(|record| found.push(NsInum(id(record)))));
        if run.is_some_and(|run| run.is_ok()) { found } else { Vec::new() }
    }

    /// The network namespaces that cannot be entered: those that existed before the others were found, and still do. `None` if there
    /// are none.
    pub(super) fn unreachable(&mut self, before: Vec<NsInum>, reachable: &HashMap<NsInum, File>) -> Option<Unseen> {
        let missing: Vec<_> = before.into_iter().filter(|inum| !reachable.contains_key(inum)).collect();
        let after = if missing.is_empty() { Vec::new() } else { self.namespaces() };
        let count = missing.iter().filter(|inum| after.contains(inum)).count();
        let why = format!("only sockets or descriptors refer to {count} of them, so they cannot be entered");
        (count > 0).then_some(Unseen { what: "network namespaces", why, remedy: "" })
    }

    /// The programs and links that the iterators show and bpf(2) does not, and programs of `known` with other facts.
    pub(super) fn hidden(
        &mut self,
        inventory: &Inventory,
        known: &HashMap<u32, Read>,
    ) -> Result<Vec<BpfHidden>, String> {
        let ids = inventory.programs.iter().map(|program| program.id.0);
        let programs = compare(&mut self.programs, ObjectKind::Program, ids)?;
        let of_program = |missing_in| {
            move |(id, object): (u32, Object)| {
                let underscore = if object.name.is_empty() { "" } else { "_" };
                let name = [format!("bpf_prog_{:016x}{underscore}", object.tag).as_bytes(), &object.name].concat();
                BpfHidden { id: ProgId(id), name, seen_by: View::IterProg, missing_in, ..BpfHidden::default() }
            }
        };
        // The name, tag, type and load time of a program never change.
        let differs = |(id, object): &(u32, Object)| known.get(id).is_some_and(|read| !object.matches(read));
        let differ = programs.walked.into_iter().filter(differs).map(of_program(View::ObjInfo));
        let not_opened = programs.not_opened.into_iter().map(of_program(View::FdById));
        let not_walked = programs.not_walked.into_iter().map(of_program(View::NextId));
        let mut found: Vec<_> = not_walked.chain(not_opened).chain(differ).collect();
        let Some(lister) = &mut self.links else { return Ok(found) };
        let known = inventory.attachments.iter().filter_map(|attachment| Some(attachment.linked()?.0));
        let links = compare(lister, ObjectKind::Link, known)?;
        for (objects, missing_in) in [(links.not_walked, View::NextId), (links.not_opened, View::FdById)] {
            found.extend(objects.into_iter().map(|(id, object)| BpfHidden {
                id: ProgId(object.other as u32),
                link: LinkId(id),
                link_type: object.object_type,
                seen_by: View::IterLink,
                missing_in,
                ..BpfHidden::default()
            }));
        }
        Ok(found)
    }
}

/// The minimum number of objects for which the ring has room, in 512 KiB. It must suffice because a trace loads no
/// other program later ([`Role::Inspector`]).
///
/// [`Role::Inspector`]: tracetui_host::confine::Role::Inspector
const LEAST: usize = 4096;

/// Room beyond the expected number, for objects that are loaded meanwhile or that nobody knows of.
const SPARE: usize = 1024;

fn list(lister: &mut Lister) -> Result<Objects, String> {
    let mut objects = Objects::default();
    lister.run(|record| {
        let (object_type, other, tag) = (u32_at(record, 12), u64_at(record, 16), u64_at(record, 24).swap_bytes());
        objects.insert(id(record), Object { object_type, other, tag, name: name(record).to_vec() });
    })?;
    Ok(objects)
}

fn compare(lister: &mut Lister, kind: ObjectKind, known: impl Iterator<Item = u32>) -> Result<Compared, String> {
    let before = list(lister)?;
    let known: HashSet<u32> = known.collect();
    let (walked, all) = sys::ids(kind, limits::BPF_PROGRAMS).map_err(|error| error.to_string())?;
    let is_refused = |id: &u32| matches!(sys::open(kind, *id), Ok(None));
    let refused: HashSet<u32> = walked.iter().copied().filter(|id| !known.contains(id)).filter(is_refused).collect();
    let after = list(lister)?;
    // A walk that ends early because ids do not ascend is falsified. A walk that ends because of too many ids is only
    // incomplete.
    let is_walked = |id: &u32| walked.binary_search(id).is_ok() || !all && walked.len() >= limits::BPF_PROGRAMS;
    let stayed = before.into_iter().filter(|(id, object)| after.get(id) == Some(object));
    let mut stayed: Vec<_> = stayed.collect();
    stayed.sort_unstable_by_key(|(id, _)| *id);
    let (walked, not_walked): (Vec<_>, Vec<_>) = stayed.into_iter().partition(|(id, _)| is_walked(id));
    let not_opened = walked.iter().filter(|(id, _)| refused.contains(id)).cloned().collect();
    Ok(Compared { walked, not_walked, not_opened })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Collector;

    fn iterators(most: usize) -> Option<Iterators> {
        match Iterators::load(most) {
            Ok(Some(iterators)) => Some(iterators),
            other => {
                tracetui_host::not_checked(&format!("no iterators: {:?}", other.err()));
                None
            }
        }
    }

    #[test]
    fn the_iterators_have_what_bpf_lists() {
        let _alone = crate::alone();
        let Some(mut iterators) = iterators(100) else { return };
        let inventory = Collector::default().take_inventory(&HashSet::default()).expect("it may list programs");
        let listed = list(&mut iterators.programs).expect("all records");
        let (mut same, mut ours) = (0, 0);
        for program in &inventory.programs {
            // Other programs may have been unloaded since.
            let Some(object) = listed.get(&program.id.0) else { continue };
            assert_eq!((object.object_type, object.tag), (program.prog_type, program.tag));
            assert_eq!(object.other, program.loaded.0, "{object:?} {program:?}");
            assert!(program.name.starts_with(&object.name), "{object:?} {program:?}");
            same += 1;
            ours += usize::from(iterators.has(program.id));
        }
        assert!(same > 0 && ours > 0);
        let Some(links) = &mut iterators.links else { return };
        let listed = list(links).expect("all records");
        let own = inventory.attachments.iter().find(|attachment| attachment.link == links.ids.1);
        let (own, object) = (own.expect("the link of the iterator"), &listed[&links.ids.1.0]);
        assert_eq!((object.other, object.object_type), (own.program.0.into(), own.link_type));
    }

    #[test]
    fn a_namespace_that_only_a_socket_keeps_is_found() {
        let _alone = crate::alone();
        let Some(mut iterators) = iterators(100) else { return };
        if iterators.namespaces.is_none() {
            return tracetui_host::not_checked("no iterator over network namespaces");
        }
        let other = || {
            // SAFETY: unshare(2) takes a number, and changes the calling thread alone.
            assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0);
            let inum = tracetui_host::procfs::namespace("/proc/thread-self", "net");
            (inum.expect("a number"), std::net::UdpSocket::bind("0.0.0.0:0").expect("a socket"))
        };
        let (inum, socket) = std::thread::spawn(other).join().expect("no panic");
        let mut exists = |expected| {
            // The kernel removes a namespace some time after its last reference.
            (0..50).any(|_| {
                std::thread::sleep(std::time::Duration::from_millis(20));
                iterators.namespaces().contains(&inum) == expected
            })
        };
        assert!(exists(true));
        let mut collector = Collector::default();
        let mut unseen = || {
            let inventory = collector.take_inventory(&HashSet::default()).expect("it may list programs");
            inventory.unseen.iter().any(|unseen| unseen.what == "network namespaces")
        };
        assert!(unseen());
        drop(socket);
        assert!(exists(false) && !unseen());
    }

    /// Shows how the kernel acts if the ring is full, or another program changed its position.
    #[test]
    fn what_did_not_arrive_is_noticed() {
        let _alone = crate::alone();
        let Some(mut iterators) = iterators(0) else { return };
        let full = iterators.programs.ring.size as u64;
        // The kernel takes any position, and finds no room.
        iterators.programs.ring.consumer.word(0).store(full.wrapping_neg(), std::sync::atomic::Ordering::Release);
        let lost = list(&mut iterators.programs);
        assert!(lost.is_err(), "{lost:?}");
        let lost = list(&mut iterators.programs);
        assert!(lost.is_err(), "the numbers have a gap: {lost:?}");
    }

    /// The list of another process is not falsified.
    #[test]
    fn both_views_have_the_same_objects() {
        let _alone = crate::alone();
        let Some(mut iterators) = iterators(100) else { return };
        let mut collector = Collector::default();
        let inventory = collector.take_inventory(&HashSet::default()).expect("it may list programs");
        assert_eq!(iterators.hidden(&inventory, &collector.known), Ok(vec![]));
    }
}
