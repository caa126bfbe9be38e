//! Iterators of tracetui: programs that send a record for each object in the kernel through a ring buffer.

use super::sys;
use rustix::param::page_size;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::sync::atomic::Ordering;
use tracetui_host::bpf::{link_iterator, run_iterator};
use tracetui_host::btf::Btf;
use tracetui_host::maps::{NewMap, freeze};
use tracetui_host::mmap::Mapping;
use tracetui_host::program::{self, Instruction, ProgramKind};
use tracetui_host::{u32_at, u64_at};
use tracetui_shared::header::until_nul;
use tracetui_shared::id::{LinkId, ProgId};

/// The size of a record: number (8), id (4; 0 in the last record of a run), type (4), load time of a program or program
/// of a link (8), tag (8), name. Other iterators have other facts after the id.
const RECORD: usize = 48;

pub(super) const NAME_AT: usize = 32;

/// The size of a record in the ring, with its header, in bytes.
pub(super) const ENTRY: usize = RECORD + HEADER;

/// The size of the header of a record in bytes: its length with two flags, and its page (`struct bpf_ringbuf_hdr`).
const HEADER: usize = 8;

pub(super) mod asm {
    use super::{Instruction, WORD};

    pub(crate) const fn load(size: u8, to: u8, from: u8, at: i16) -> Instruction {
        (0x61 | size, from << 4 | to, at, 0)
    }

    pub(crate) const fn store(size: u8, to: u8, from: u8, at: i16) -> Instruction {
        (0x63 | size, from << 4 | to, at, 0)
    }

    /// Sizes: 4 and 8 bytes.
    pub(crate) const U32: u8 = 0;
    pub(crate) const U64: u8 = 0x18;

    pub(crate) const fn set(to: u8, value: i32) -> Instruction {
        (0xb7, to, 0, value)
    }

    pub(crate) const fn copy(to: u8, from: u8) -> Instruction {
        (0xbf, from << 4 | to, 0, 0)
    }

    pub(crate) const fn add(to: u8, value: i32) -> Instruction {
        (0x07, to, 0, value)
    }

    /// Loads a map (1), or the address of its first value (2). Takes two instructions.
    pub(crate) const fn map(to: u8, what: u8, fd: i32) -> [Instruction; 2] {
        [(0x18, what << 4 | to, 0, fd), (0, 0, 0, 0)]
    }

    /// Loads a number of 64 bits. Takes two instructions.
    pub(crate) const fn set64(to: u8, value: u64) -> [Instruction; 2] {
        [(0x18, to, 0, value as i32), (0, 0, 0, (value >> 32) as i32)]
    }

    /// The head of a loop (`may_goto`, 6.9+). The kernel jumps over `count` instructions when the loop has run too long.
    pub(crate) const fn bounded(count: i16) -> Instruction {
        (0xe5, 0, count, 0)
    }

    /// Jumps over `count` instructions.
    pub(crate) const fn skip(count: i16) -> Instruction {
        (0x05, 0, count, 0)
    }

    macro_rules! skips {
        ($($(#[$doc:meta])* $name:ident = $code:literal;)*) => {
            $($(#[$doc])* pub(crate) const fn $name(register: u8, value: i32, count: i16) -> Instruction {
                ($code, register, count, value)
            })*
        };
    }
    skips! {
        /// The same if the register has this value.
        skip_if = 0x15;
        /// The same if the register does not have this value.
        skip_unless = 0x55;
        /// The same if the register is greater.
        skip_if_greater = 0x25;
        /// The same if its lower half is greater.
        skip_if_low_greater = 0x26;
    }

    /// The same if both registers are equal.
    pub(crate) const fn skip_if_same(one: u8, other: u8, count: i16) -> Instruction {
        (0x1d, other << 4 | one, count, 0)
    }

    pub(crate) const fn call(helper: i32) -> Instruction {
        (0x85, 0, 0, helper)
    }

    /// Reads kernel memory, at the address in a register plus an offset, to a register. Changes registers 0 to 5.
    pub(crate) fn read(size: u8, to: u8, from: u8, offset: i32) -> Vec<Instruction> {
        const PROBE_READ_KERNEL: i32 = 113;
        let bytes = if size == U64 { 8 } else { 4 };
        let arguments = [copy(3, from), add(3, offset), copy(1, 10), add(1, WORD.into()), set(2, bytes)];
        [&arguments[..], &[call(PROBE_READ_KERNEL), load(size, to, 10, WORD)]].concat()
    }
}

/// The offset of a member with this size, the first that the structure has. `None` for another size, and for bits.
pub(super) fn offset(btf: &Btf, structure: &str, members: &[&str], size: u32) -> Option<i16> {
    let place = btf.first_path(btf.structure(structure)?, members).ok()?;
    let fits = place.size == Some(size) && place.width.is_none();
    i16::try_from(place.byte_offset()).ok().filter(|_| fits)
}

const JUMP: u8 = 5;

/// The length of a jump to the end, which sends no record for the object.
pub(super) const LEAVE: i16 = i16::MAX;

/// The offset of a record on the stack, and of a word below it.
pub(super) const ON_STACK: i16 = -(RECORD as i16);
pub(super) const WORD: i16 = ON_STACK - 8;

/// Copies 4 or 8 bytes from the memory that register 6 points to into the record.
pub(super) fn field(size: u8, from: i16, to: i16) -> [Instruction; 2] {
    [asm::load(size, 1, 6, from), asm::store(size, 10, 1, ON_STACK + to)]
}

/// What an iterator does with an object, as instructions.
#[derive(Clone, Debug)]
pub(super) struct Body {
    pub(super) function: u32,
    /// The offset of the object in the context.
    pub(super) object: i16,
    /// Puts the facts of the object in register 6 into the record. Register 9 has the context, 7 the address of the number and of a
    /// word that is 0 when a run begins, and 1 to 5 and 8 are free. A jump of [`LEAVE`] ends it without a record.
    pub(super) facts: Vec<Instruction>,
    /// The index in `facts` at which it continues after a record, for the next record of the object. Register 6 is then
    /// not 0. `None` if an object has one record.
    pub(super) again: Option<usize>,
}

/// The whole program. It sends a record with the next number and the facts. At the end, when there is no object, it sends no facts.
/// `count` holds the number, `ring` takes the record.
fn whole(body: &Body, count: i32, ring: i32) -> Vec<Instruction> {
    const RINGBUF_OUTPUT: i32 = 130;
    let mut program = vec![asm::copy(9, 1), asm::load(asm::U64, 6, 1, body.object)];
    program.extend(asm::map(7, 2, count));
    program.push(asm::set(1, 0));
    program.extend((0..RECORD as i16).step_by(8).map(|at| asm::store(asm::U64, 10, 1, ON_STACK + at)));
    program.push(asm::skip_unless(6, 0, 2));
    program.extend([asm::store(asm::U64, 7, 1, 8), asm::skip(body.facts.len() as i16)]);
    let facts = program.len();
    program.extend_from_slice(&body.facts);
    program.extend([asm::load(asm::U64, 1, 7, 0), asm::add(1, 1), asm::store(asm::U64, 7, 1, 0)]);
    program.push(asm::store(asm::U64, 10, 1, ON_STACK));
    program.extend(asm::map(1, 1, ring));
    program.extend([asm::copy(2, 10), asm::add(2, ON_STACK.into()), asm::set(3, RECORD as i32), asm::set(4, 0)]);
    program.push(asm::call(RINGBUF_OUTPUT));
    if let Some(again) = body.again {
        program.push(asm::skip_unless(6, 0, (facts + again) as i16 - program.len() as i16 - 1));
    }
    let end = program.len();
    for (at, (_, _, to, _)) in
        program.iter_mut().enumerate().filter(|(_, (code, _, to, _))| code & 7 == JUMP && *to == LEAVE)
    {
        *to = (end - at - 1) as i16;
    }
    program.extend([asm::set(0, 0), (0x95, 0, 0, 0)]);
    program
}

pub(super) struct Lister {
    pub(super) link: OwnedFd,
    pub(super) ids: (ProgId, LinkId),
    pub(super) ring: Ring,
    number: u64,
    _count: OwnedFd,
}

impl Lister {
    pub(super) fn load(name: &str, body: &Body, ring_size: u32) -> io::Result<Lister> {
        let count = NewMap::array(16).create()?;
        // Only the program may change the count.
        freeze(count.as_fd())?;
        let ring = Ring::new(ring_size)?;
        let code = whole(body, count.as_raw_fd(), ring.map.as_raw_fd());
        let program = program::load_as(name, &code, ProgramKind::Iterator(body.function))?;
        let link = link_iterator(program.as_fd())?;
        let ids = (ProgId(sys::info(program.as_fd())?.u32(4)), LinkId(sys::info(link.as_fd())?.u32(4)));
        // The link holds the program.
        Ok(Lister { link, ids, ring, number: 0, _count: count })
    }

    /// Runs it, and passes each record to `take`. An error if some records were not delivered.
    pub(super) fn run(&mut self, mut take: impl FnMut(&Record)) -> Result<(), String> {
        run_iterator(&self.link).map_err(|error| error.to_string())?;
        let mut ended = false;
        let mut missing = false;
        let whole = self.ring.drain(|record| {
            missing |= u64_at(record, 0) != self.number + 1;
            self.number = u64_at(record, 0);
            ended = id(record) == 0;
            if !ended {
                take(record);
            }
        });
        if whole && ended && !missing { Ok(()) } else { Err("the iterator lost records".to_owned()) }
    }
}

pub(super) type Record = [u8; RECORD];

pub(super) fn id(record: &Record) -> u32 {
    u32_at(record, 8)
}

pub(super) fn name(record: &Record) -> &[u8] {
    until_nul(&record[NAME_AT..])
}

/// A ring buffer whose data are mapped read-only.
pub(super) struct Ring {
    map: OwnedFd,
    /// The page with the position of the producer, then the data twice in a row.
    memory: Mapping,
    /// The page with the position of the consumer.
    pub(super) consumer: Mapping,
    pub(super) size: usize,
    position: u64,
}

impl Ring {
    fn new(size: u32) -> io::Result<Ring> {
        let map = NewMap::ring(size).create()?;
        let (size, page) = (size as usize, page_size());
        let consumer = Mapping::new(map.as_fd(), 0, page, true)?;
        let memory = Mapping::new(map.as_fd(), page, page + 2 * size, false)?;
        Ok(Ring { map, memory, consumer, size, position: 0 })
    }

    /// Passes all records to `take`. Returns `false` if it found anything else; the rest was then not read.
    fn drain(&mut self, mut take: impl FnMut(&Record)) -> bool {
        let produced = self.memory.word(0).load(Ordering::Acquire);
        // The position is beyond the ring's size, so another process changed the position of the consumer.
        let mut whole = produced.wrapping_sub(self.position) <= self.size as u64;
        while whole && self.position != produced {
            let at = page_size() + (self.position as usize & (self.size - 1));
            let is_aligned = self.position.is_multiple_of(HEADER as u64);
            whole = is_aligned && self.memory.half(at).load(Ordering::Acquire) == RECORD as u32;
            if whole {
                // SAFETY: without flags, the record is complete. The kernel does not write it again until it is released.
                let record = unsafe { self.memory.bytes(at + HEADER, RECORD) };
                record.first_chunk().into_iter().for_each(&mut take);
                self.position += ENTRY as u64;
            }
        }
        self.position = produced;
        self.consumer.word(0).store(produced, Ordering::Release);
        whole
    }
}
