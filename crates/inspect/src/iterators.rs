//! The existing programs and links as BPF programs of tracetui see them in the kernel, through the iterators `bpf_prog`
//! (5.9+) and `bpf_link` (5.19+).
//!
//! The results of bpf(2) and read(2) are in memory that a hostile program can write (`bpf_probe_write_user`). The
//! iterators send their facts through a ring buffer, whose data and whose producer's position are mapped read-only, so
//! such a write fails. Each record has a number that the iterator counts, and the last record of a run is marked as the
//! last. A missing record is therefore noticed, and nothing is concluded from that run.
//!
//! The iterators can be compared with bpf(2) even while objects are loaded and unloaded. An object that is listed
//! before and after a walk over the ids existed all the time. A program or link cannot be unloaded while tracetui holds
//! a descriptor of it.

use super::sys::{self, ObjectKind};
use rustc_hash::FxHashMap;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use rustix::param::page_size;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use tracetui_events::bpf::{Hidden, Inventory, Link, View};
use tracetui_events::limits;
use tracetui_host::bpf::{link_iterator, run_iterator};
use tracetui_host::btf::Btf;
use tracetui_host::maps::{NewMap, freeze};
use tracetui_host::program::{self, Instruction, ProgramKind};
use tracetui_shared::header::until_nul;
use tracetui_shared::id::{LinkId, ProgId};

/// The offsets of the kernel's types that the programs read.
#[derive(Clone, Copy, Debug)]
struct ProgramLayout {
    function: u32,
    prog_type: i16,
    tag: i16,
    aux: i16,
    id: i16,
    load_time: i16,
    name: i16,
}

#[derive(Clone, Copy, Debug)]
struct LinkLayout {
    function: u32,
    id: i16,
    link_type: i16,
    prog: i16,
}

/// The offsets that the iterators read on the running kernel. `None` for an iterator that it lacks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    programs: Option<ProgramLayout>,
    links: Option<LinkLayout>,
}

impl Layout {
    pub(super) fn of_kernel() -> Result<Layout, String> {
        let btf = Btf::running().map_err(|error| format!("cannot read the kernel's BTF: {error}"))?;
        Ok(Layout::of(&btf))
    }

    fn of(btf: &Btf) -> Layout {
        let functions = btf.funcs(&["bpf_iter_bpf_prog", "bpf_iter_bpf_link"]);
        let structures = btf.structures(&["bpf_prog", "bpf_prog_aux", "bpf_link"]);
        let at = |structure: Option<u32>, members: &[&str], size: u32| {
            let place = btf.first_path(structure?, members).ok()?;
            let fits = place.size == Some(size) && place.width.is_none();
            i16::try_from(place.byte_offset()).ok().filter(|_| fits)
        };
        let [prog, aux, link] = [structures[0], structures[1], structures[2]];
        let programs = || {
            Some(ProgramLayout {
                function: functions[0]?,
                prog_type: at(prog, &["type"], 4)?,
                tag: at(prog, &["tag"], 8).or_else(|| at(prog, &["digest"], 32))?,
                aux: at(prog, &["aux"], 8)?,
                id: at(aux, &["id"], 4)?,
                load_time: at(aux, &["load_time"], 8)?,
                name: at(aux, &["name"], NAME as u32)?,
            })
        };
        let links = || {
            Some(LinkLayout {
                function: functions[1]?,
                id: at(link, &["id"], 4)?,
                link_type: at(link, &["type"], 4)?,
                prog: at(link, &["prog"], 8)?,
            })
        };
        Layout { programs: programs(), links: links() }
    }
}

/// The size of a program's name in bytes (`BPF_OBJ_NAME_LEN`).
const NAME: usize = 16;

/// The size of a record: number (8), id (4; 0 in the last record of a run), type (4), load time of a program or program
/// of a link (8), tag (8), name.
const RECORD: usize = 48;

/// The size of a record in the ring, with its header, in bytes.
const ENTRY: usize = RECORD + HEADER;

/// The size of the header of a record in bytes: its length with two flags, and its page (`struct bpf_ringbuf_hdr`).
const HEADER: usize = 8;
/// BPF_RINGBUF_BUSY_BIT, BPF_RINGBUF_DISCARD_BIT.
const FLAGS: u32 = 3 << 30;

mod asm {
    use super::Instruction;

    pub(super) const fn load(size: u8, to: u8, from: u8, at: i16) -> Instruction {
        (0x61 | size, from << 4 | to, at, 0)
    }

    pub(super) const fn store(size: u8, to: u8, from: u8, at: i16) -> Instruction {
        (0x63 | size, from << 4 | to, at, 0)
    }

    /// Sizes: 4 and 8 bytes.
    pub(super) const U32: u8 = 0;
    pub(super) const U64: u8 = 0x18;

    pub(super) const fn set(to: u8, value: i32) -> Instruction {
        (0xb7, to, 0, value)
    }

    pub(super) const fn copy(to: u8, from: u8) -> Instruction {
        (0xbf, from << 4 | to, 0, 0)
    }

    pub(super) const fn add(to: u8, value: i32) -> Instruction {
        (0x07, to, 0, value)
    }

    /// Loads a map (1), or the address of its first value (2). Takes two instructions.
    pub(super) const fn map(to: u8, what: u8, fd: i32) -> [Instruction; 2] {
        [(0x18, what << 4 | to, 0, fd), (0, 0, 0, 0)]
    }

    /// Skips `count` instructions if the register is 0.
    pub(super) const fn skip_if_zero(register: u8, count: i16) -> Instruction {
        (0x15, register, count, 0)
    }
}

/// The offset of a record on the stack.
const ON_STACK: i16 = -(RECORD as i16);

/// Copies 4 or 8 bytes from the memory that register 6 points to into the record.
fn field(size: u8, from: i16, to: i16) -> [Instruction; 2] {
    [asm::load(size, 1, 6, from), asm::store(size, 10, 1, ON_STACK + to)]
}

fn of_program(layout: &ProgramLayout) -> Vec<Instruction> {
    let mut body = Vec::new();
    body.extend(field(asm::U32, layout.prog_type, 12));
    // Not all of these fields are aligned to 8 bytes.
    for part in [0, 4] {
        body.extend(field(asm::U32, layout.tag + part, 24 + part));
    }
    body.push(asm::load(asm::U64, 6, 6, layout.aux));
    body.extend(field(asm::U32, layout.id, 8));
    body.extend(field(asm::U64, layout.load_time, 16));
    for part in [0, 4, 8, 12] {
        body.extend(field(asm::U32, layout.name + part, 32 + part));
    }
    body
}

/// The facts of a link. If it has no program, a load through a null pointer yields 0 as the program's id.
fn of_link(layout: &LinkLayout, program: &ProgramLayout) -> Vec<Instruction> {
    let mut body = Vec::new();
    body.extend(field(asm::U32, layout.id, 8));
    body.extend(field(asm::U32, layout.link_type, 12));
    body.push(asm::load(asm::U64, 6, 6, layout.prog));
    body.push(asm::load(asm::U64, 6, 6, program.aux));
    body.extend(field(asm::U32, program.id, 16));
    body
}

/// The whole program. It sends a record with the next number, and the facts that `body` puts into it. Without an
/// object, at the end, it sends no facts. `count` holds the number, `ring` takes the record.
fn whole(body: &[Instruction], count: i32, ring: i32) -> Vec<Instruction> {
    const RINGBUF_OUTPUT: i32 = 130;
    const OBJECT: i16 = 8;
    let mut program = vec![asm::load(asm::U64, 6, 1, OBJECT)];
    program.extend(asm::map(7, 2, count));
    program.extend([asm::load(asm::U64, 8, 7, 0), asm::add(8, 1), asm::store(asm::U64, 7, 8, 0)]);
    program.extend([asm::store(asm::U64, 10, 8, ON_STACK), asm::set(1, 0)]);
    program.extend((8..RECORD as i16).step_by(8).map(|at| asm::store(asm::U64, 10, 1, ON_STACK + at)));
    program.push(asm::skip_if_zero(6, body.len() as i16));
    program.extend_from_slice(body);
    program.extend(asm::map(1, 1, ring));
    program.extend([asm::copy(2, 10), asm::add(2, ON_STACK.into()), asm::set(3, RECORD as i32), asm::set(4, 0)]);
    program.extend([(0x85, 0, 0, RINGBUF_OUTPUT), asm::set(0, 0), (0x95, 0, 0, 0)]);
    program
}

/// A program or link, according to the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Object {
    object_type: u32,
    /// The load time of a program, or the program of a link. Together with the id, it identifies the object.
    other: u64,
    tag: u64,
    name: Vec<u8>,
}

type Objects = FxHashMap<u32, Object>;

/// An iterator, ready to run.
struct Lister {
    link: OwnedFd,
    ids: (ProgId, LinkId),
    ring: Ring,
    /// The number of the last record.
    number: u64,
    _count: OwnedFd,
}

impl Lister {
    fn load(name: &str, function: u32, body: &[Instruction], ring_size: u32) -> io::Result<Lister> {
        let count = NewMap::array(8).create()?;
        // Only the program may change the count.
        freeze(count.as_fd())?;
        let ring = Ring::new(ring_size)?;
        let code = whole(body, count.as_raw_fd(), ring.map.as_raw_fd());
        let program = program::load_as(name, &code, ProgramKind::Iterator(function))?;
        let link = link_iterator(program.as_fd())?;
        let ids = (ProgId(sys::info(program.as_fd())?.u32(4)), LinkId(sys::info(link.as_fd())?.u32(4)));
        // The link holds the program.
        Ok(Lister { link, ids, ring, number: 0, _count: count })
    }

    /// All objects. An error if some of their records were not delivered. The lister must then be loaded again.
    fn list(&mut self) -> Result<Objects, String> {
        run_iterator(&self.link).map_err(|error| error.to_string())?;
        let mut objects = Objects::default();
        let mut ended = false;
        let mut missing = false;
        let whole = self.ring.drain(|record| {
            let u32_at = |at: usize| u32::from_ne_bytes([record[at], record[at + 1], record[at + 2], record[at + 3]]);
            let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
            missing |= u64_at(0) != self.number + 1;
            self.number = u64_at(0);
            ended = u32_at(8) == 0;
            if !ended {
                let (object_type, other, tag) = (u32_at(12), u64_at(16), u64_at(24).swap_bytes());
                objects.insert(u32_at(8), Object { object_type, other, tag, name: until_nul(&record[32..]).to_vec() });
            }
        });
        match whole && ended && !missing {
            true => Ok(objects),
            false => Err("the iterator lost records".to_owned()),
        }
    }
}

pub(super) struct Iterators {
    programs: Lister,
    links: Option<Lister>,
}

/// The differences between bpf(2) and an iterator.
struct Compared {
    /// Objects that the iterator lists before and after the walk, but that are not in the walk.
    not_walked: Vec<(u32, Object)>,
    /// Objects in the inventory that tracetui holds, but that the iterator does not list.
    not_listed: Vec<u32>,
}

impl Iterators {
    /// Loads the iterators. `None` if this kernel lacks them. `most` is the approximate number of objects of a kind.
    pub(super) fn load(layout: &Layout, most: usize) -> Result<Option<Iterators>, String> {
        let Some(of_programs) = &layout.programs else { return Ok(None) };
        tracetui_host::program::raise_memlock();
        let entries = 2 * most.clamp(LEAST, limits::BPF_PROGRAMS) + SPARE;
        let ring_size = (entries * ENTRY).next_power_of_two().max(page_size()) as u32;
        let refused = |error: io::Error| format!("the kernel rejects the iterators: {error}");
        let programs = Lister::load("tt_programs", of_programs.function, &of_program(of_programs), ring_size);
        let links = layout.links.as_ref();
        let links = links
            .map(|of_links| Lister::load("tt_links", of_links.function, &of_link(of_links, of_programs), ring_size));
        Ok(Some(Iterators { programs: programs.map_err(refused)?, links: links.transpose().map_err(refused)? }))
    }

    /// Whether a program belongs to these iterators.
    pub(super) fn has(&self, id: ProgId) -> bool {
        self.programs.ids.0 == id || self.links.as_ref().is_some_and(|links| links.ids.0 == id)
    }

    /// The programs and links that only one of bpf(2) and the iterators shows.
    /// After an error, the iterators must be loaded again.
    pub(super) fn hidden(&mut self, inventory: &Inventory) -> Result<Vec<Hidden>, String> {
        let ids = inventory.programs.iter().map(|program| program.id.0);
        let programs = compare(&mut self.programs, ObjectKind::Program, ids)?;
        let (seen_by, missing_in) = (View::IterProg, View::NextId);
        let of_program = |(id, object): (u32, Object)| {
            let underscore = if object.name.is_empty() { "" } else { "_" };
            let name = [format!("bpf_prog_{:016x}{underscore}", object.tag).as_bytes(), &object.name].concat();
            Hidden { id: Some(ProgId(id)), name, seen_by, missing_in, ..Hidden::default() }
        };
        let mut found: Vec<_> = programs.not_walked.into_iter().map(of_program).collect();
        found.extend(programs.not_listed.into_iter().map(|id| Hidden {
            id: Some(ProgId(id)),
            seen_by: View::NextId,
            missing_in: View::IterProg,
            ..Hidden::default()
        }));
        let Some(lister) = &mut self.links else { return Ok(found) };
        let known = inventory.attachments.iter().filter_map(|attachment| Some((attachment.link?, attachment.program)));
        let known: Vec<(Link, ProgId)> = known.collect();
        let links = compare(lister, ObjectKind::Link, known.iter().map(|(link, _)| link.id.0))?;
        let hidden = |link, program: u32| Hidden {
            id: (program != 0).then_some(ProgId(program)),
            link: Some(link),
            ..Hidden::default()
        };
        found.extend(links.not_walked.into_iter().map(|(id, object)| Hidden {
            seen_by: View::IterLink,
            missing_in: View::NextId,
            ..hidden(Link { id: LinkId(id), link_type: object.object_type }, object.other as u32)
        }));
        let not_listed = known.iter().filter(|(link, _)| links.not_listed.contains(&link.id.0));
        found.extend(not_listed.map(|(link, program)| Hidden {
            seen_by: View::NextId,
            missing_in: View::IterLink,
            ..hidden(*link, program.0)
        }));
        Ok(found)
    }
}

/// The minimum number of objects for which the ring has room, in 512 KiB. It must suffice because a trace loads no
/// other program later ([`Role::Inventory`]).
///
/// [`Role::Inventory`]: tracetui_host::confine::Role::Inventory
const LEAST: usize = 4096;

/// Room beyond the expected number, for objects that are loaded meanwhile or that nobody knows of.
const SPARE: usize = 1024;

fn compare(lister: &mut Lister, kind: ObjectKind, known: impl Iterator<Item = u32>) -> Result<Compared, String> {
    let before = lister.list()?;
    // A held object cannot be unloaded, so the next run lists it.
    let hold = |id: u32| Some((id, sys::open(kind, id).ok().flatten()?));
    let held: Vec<(u32, OwnedFd)> = known.filter(|id| !before.contains_key(id)).filter_map(hold).collect();
    let (walked, all) = sys::ids(kind, limits::BPF_PROGRAMS).map_err(|error| error.to_string())?;
    let after = lister.list()?;
    // A walk that ends early because ids do not ascend is falsified. A walk that ends because of too many ids is only
    // incomplete.
    let is_walked = |id: &u32| walked.binary_search(id).is_ok() || !all && walked.len() >= limits::BPF_PROGRAMS;
    let not_listed = held.iter().map(|(id, _)| *id).filter(|id| !after.contains_key(id)).collect();
    let stayed = before.into_iter().filter(|(id, object)| after.get(id) == Some(object));
    let mut not_walked: Vec<_> = stayed.filter(|(id, _)| !is_walked(id)).collect();
    not_walked.sort_unstable_by_key(|(id, _)| *id);
    Ok(Compared { not_walked, not_listed })
}

/// A ring buffer whose data are mapped read-only.
struct Ring {
    map: OwnedFd,
    /// The page with the position of the producer, then the data twice in a row.
    memory: NonNull<u8>,
    /// The page with the position of the consumer.
    consumer: NonNull<AtomicU64>,
    size: usize,
    position: u64,
}

// SAFETY: the mappings belong to this value alone, and no thread but the one that has it reads them.
unsafe impl Send for Ring {}

impl Ring {
    fn new(size: u32) -> io::Result<Ring> {
        let map = NewMap::ring(size).create()?;
        let (size, page) = (size as usize, page_size());
        let null = std::ptr::null_mut();
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the mapping is new, and replaces no other one.
        let consumer = unsafe { mmap(null, page, protection, MapFlags::SHARED, &map, 0) }?;
        // SAFETY: as above.
        let memory = unsafe { mmap(null, page + 2 * size, ProtFlags::READ, MapFlags::SHARED, &map, page as u64) };
        let memory = memory.inspect_err(|_| {
            // SAFETY: nothing refers to the mapping of one page.
            let _ = unsafe { munmap(consumer, page) };
        })?;
        match (NonNull::new(memory.cast()), NonNull::new(consumer.cast())) {
            (Some(memory), Some(consumer)) => Ok(Ring { map, memory, consumer, size, position: 0 }),
            _ => Err(ErrorKind::InvalidData.into()),
        }
    }

    /// Passes all records to `take`. Returns `false` if it found anything else; the rest was then not read.
    fn drain(&mut self, mut take: impl FnMut(&[u8; RECORD])) -> bool {
        // SAFETY: the position is the first word of the mapping, which lives as long as this value.
        let produced = unsafe { self.memory.cast::<AtomicU64>().as_ref() }.load(Ordering::Acquire);
        // The position is beyond the ring's size, so another process changed the position of the consumer.
        let mut whole = produced.wrapping_sub(self.position) <= self.size as u64;
        while whole && self.position != produced {
            let at = page_size() + (self.position as usize & (self.size - 1));
            // SAFETY: positions are multiples of 8, and the data are mapped twice in a row, so a header and a record that
            // begin within the first are mapped. The kernel writes the header as a word.
            let header = unsafe { self.memory.add(at).cast::<AtomicU32>().as_ref() }.load(Ordering::Acquire);
            whole = self.position.is_multiple_of(HEADER as u64) && header & FLAGS == 0 && header as usize == RECORD;
            if whole {
                // SAFETY: as above. The kernel does not write a record that was not released.
                take(unsafe { self.memory.add(at + HEADER).cast().as_ref() });
                self.position += ENTRY as u64;
            }
        }
        self.position = produced;
        // SAFETY: the page lives as long as this value; the kernel only reads it.
        unsafe { self.consumer.as_ref() }.store(produced, Ordering::Release);
        whole
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        let page = page_size();
        // SAFETY: this value owns both mappings, which have these lengths, and nothing refers to them any more.
        unsafe {
            let _ = munmap(self.memory.as_ptr().cast(), page + 2 * self.size);
            let _ = munmap(self.consumer.as_ptr().cast(), page);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Collector;
    use rustc_hash::FxHashSet;

    fn iterators(most: usize) -> Option<Iterators> {
        let loaded = Layout::of_kernel().and_then(|layout| Iterators::load(&layout, most));
        match loaded {
            Ok(Some(iterators)) => Some(iterators),
            other => {
                tracetui_host::not_checked(&format!("no iterators: {:?}", other.err()));
                None
            }
        }
    }

    #[test]
    fn the_iterators_have_what_bpf_lists() {
        let Some(mut iterators) = iterators(100) else { return };
        let inventory = Collector::default().take(&FxHashSet::default()).expect("it may list programs");
        let listed = iterators.programs.list().expect("all records");
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
        let listed = links.list().expect("all records");
        let own = inventory.attachments.iter().find(|attachment| attachment.link.is_some_and(|l| l.id == links.ids.1));
        let (own, object) = (own.expect("the link of the iterator"), &listed[&links.ids.1.0]);
        assert_eq!((object.other, object.object_type), (own.program.0.into(), own.link.unwrap_or_default().link_type));
    }

    /// Shows how the kernel acts if the ring is full, or another program changed its position.
    #[test]
    fn what_did_not_arrive_is_noticed() {
        let Some(mut iterators) = iterators(0) else { return };
        let full = iterators.programs.ring.size as u64;
        // SAFETY: the page is mapped; the kernel takes any position, and finds no room.
        unsafe { iterators.programs.ring.consumer.as_ref() }.store(full.wrapping_neg(), Ordering::Release);
        let lost = iterators.programs.list();
        assert!(lost.is_err(), "{lost:?}");
        let lost = iterators.programs.list();
        assert!(lost.is_err(), "the numbers have a gap: {lost:?}");
    }

    #[test]
    fn what_one_of_both_lacks_is_found() {
        let Some(mut iterators) = iterators(100) else { return };
        let mut inventory = Collector::default().take(&FxHashSet::default()).expect("it may list programs");
        assert_eq!(iterators.hidden(&inventory), Ok(vec![]));
        // These programs are in the walk and only missing in the inventory, which has other explanations.
        inventory.programs.retain(|program| !iterators.has(program.id));
        assert_eq!(iterators.hidden(&inventory), Ok(vec![]));
    }
}
