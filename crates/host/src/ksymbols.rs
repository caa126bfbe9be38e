//! The kernel's own stream of loads and unloads of BPF programs, with their symbols. It needs no BPF program.
//!
//! A dummy software event on each CPU, with `ksymbol` (5.1+) and `bpf_event` (5.1+) set, gets a record of each load and
//! unload of a program (PERF_RECORD_BPF_EVENT), and of each of its functions (PERF_RECORD_KSYMBOL), from
//! [`perf_event_bpf_event`](https://elixir.bootlin.com/linux/v6.12/source/kernel/events/core.c). It includes changes
//! that bpf(2) does not show: loads from within the kernel, and unloads when the last reference is dropped.
//!
//! A record is in the ring of the CPU on which the change happened. The records of one CPU are in order. The records of
//! several CPUs must be ordered by their times. A full ring loses records, which the kernel counts
//! ([`ProgramStream::lost`]).
//!
//! A CPU that goes offline takes its event with it, and one that comes online has none until
//! [`ProgramStream::follow_cpus`] is called. Changes on that CPU in between are missed, so the caller must then read
//! all programs again.
//!
//! The constants and layouts are from
//! [include/uapi/linux/perf_event.h](https://elixir.bootlin.com/linux/v6.12/source/include/uapi/linux/perf_event.h).

use crate::bpf::Bytes;
use crate::confine::Spawner;
use crate::machine::parse_cpus;
use crate::mmap::Mapping;
use rustix::param::page_size;
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::Ordering;
use tracetui_shared::header::until_nul;
use tracetui_shared::id::{KernelAddr, ProgId, Tgid, Tid};
use tracetui_shared::time::BootNanos;

const PERF_TYPE_SOFTWARE: u32 = 1;
const PERF_COUNT_SW_DUMMY: u64 = 9;
/// PERF_SAMPLE_TID | PERF_SAMPLE_TIME: the fields that follow each record (`sample_id_all`).
const SAMPLE: u64 = 1 << 1 | 1 << 2;
/// PERF_FORMAT_LOST (6.0+): read(2) also returns the number of records that did not fit.
const FORMAT_LOST: u64 = 1 << 4;
/// The bits `watermark`, `sample_id_all`, `use_clockid`, `ksymbol`, `bpf_event` of `struct perf_event_attr`.
const FLAGS: u64 = 1 << 14 | 1 << 18 | 1 << 25 | 1 << 29 | 1 << 30;
const FLAG_FD_CLOEXEC: u64 = 8;

const RECORD_LOST: u32 = 2;
const RECORD_KSYMBOL: u32 = 17;
const RECORD_BPF_EVENT: u32 = 18;
/// PERF_RECORD_KSYMBOL_TYPE_BPF.
const KSYMBOL_BPF: u16 = 1;
/// PERF_RECORD_KSYMBOL_FLAGS_UNREGISTER.
const UNREGISTER: u16 = 1;
/// PERF_BPF_EVENT_PROG_LOAD, PERF_BPF_EVENT_PROG_UNLOAD.
const LOADED: u16 = 1;
const UNLOADED: u16 = 2;

/// Bytes of `struct perf_event_header`: type, flags, size.
const HEADER: usize = 8;
/// Bytes of the fixed part of each record after its header. In PERF_RECORD_KSYMBOL the name follows, padded to 8 bytes.
const BODY: usize = 16;

/// The offsets in `struct perf_event_mmap_page`.
mod page {
    pub(super) const DATA_HEAD: usize = 1024;
    pub(super) const DATA_TAIL: usize = 1032;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamEvent<'a> {
    pub time: BootNanos,
    /// The process that caused the change. An unload can happen in any process, or in a kernel thread.
    pub tgid: Tgid,
    pub tid: Tid,
    pub cpu: u32,
    pub what: StreamChange<'a>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamChange<'a> {
    Loaded {
        id: ProgId,
        /// The hash of the instructions, as a big-endian number.
        tag: u64,
    },
    Unloaded {
        id: ProgId,
        tag: u64,
    },
    /// A function of a program, a trampoline or a dispatcher got or lost its symbol.
    Symbol {
        addr: KernelAddr,
        /// The length of the symbol in bytes.
        len: u32,
        /// The name as in /proc/kallsyms: `bpf_prog_TAG_NAME`.
        name: &'a [u8],
        /// Whether the symbol was added; otherwise it was removed.
        added: bool,
    },
}

/// The stream: an event and a ring for each CPU.
#[derive(Debug)]
pub struct ProgramStream {
    rings: Vec<Ring>,
    pages: usize,
    /// The number of records lost in rings that are closed now.
    lost: u64,
    /// The number of records since the start that could not be decoded. The rest of the ring was skipped with each of
    /// them.
    pub broken: u64,
    record: Vec<u8>,
    /// The thread that opens rings. If `None`, the caller does.
    pub opener: Option<Spawner>,
}

impl ProgramStream {
    /// Begins to follow changes. `pages` is the size of each CPU's ring, a power of two.
    /// Fails without CAP_PERFMON, and before 5.1.
    pub fn open(pages: usize) -> io::Result<ProgramStream> {
        let mut stream =
            ProgramStream { rings: Vec::new(), pages, lost: 0, broken: 0, record: Vec::new(), opener: None };
        stream.follow_cpus()?;
        if stream.rings.is_empty() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "no CPU is online"));
        }
        Ok(stream)
    }

    /// Opens rings for CPUs that came online. Closes the rings of CPUs that went offline, after the caller drained
    /// them. Returns `true` if there were any, because changes may have been missed.
    /// If one CPU has no event, the others are still followed.
    pub fn follow_cpus(&mut self) -> io::Result<bool> {
        let online = online_cpus()?;
        let before = self.rings.len();
        for ring in self.rings.extract_if(.., |ring| !online.contains(&ring.cpu)) {
            self.lost += ring.lost();
        }
        let mut changed = self.rings.len() != before;
        for cpu in online {
            if self.rings.iter().any(|ring| ring.cpu == cpu) {
                continue;
            }
            let pages = self.pages;
            let open = move || Ring::open(cpu, pages);
            match self.opener.as_ref().map_or_else(open, |opener| opener.ask("streams", open)) {
                Ok(ring) => self.rings.push(ring),
                // The CPU went offline meanwhile.
                Err(error) if error.raw_os_error() == Some(libc::ENODEV) => {}
                Err(error) => return Err(error),
            }
            changed = true;
        }
        Ok(changed)
    }

    pub fn drain(&mut self, take: &mut dyn FnMut(StreamEvent<'_>)) {
        for ring in &mut self.rings {
            self.broken += ring.drain(&mut self.record, take);
        }
    }

    /// The number of records since the start that did not fit into the rings. Before 6.0, the count of a ring is only
    /// known when a later record fits.
    pub fn lost(&self) -> u64 {
        self.lost + self.rings.iter().map(Ring::lost).sum::<u64>()
    }

    /// The events of all CPUs. An event is readable when its ring has new records.
    pub fn events(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.rings.iter().map(AsFd::as_fd)
    }
}

pub fn online_cpus() -> io::Result<Vec<u32>> {
    parse_cpus(&fs::read("/sys/devices/system/cpu/online")?).ok_or(io::ErrorKind::InvalidData.into())
}

/// The event of a CPU and its ring: a page for the positions, then the data.
#[derive(Debug)]
struct Ring {
    cpu: u32,
    event: OwnedFd,
    memory: Mapping,
    /// The size of the data in bytes, a power of two.
    size: usize,
    counts_lost: bool,
    /// The number of lost records according to the records in the ring.
    said_lost: u64,
}

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

impl Ring {
    fn open(cpu: u32, pages: usize) -> io::Result<Ring> {
        let (event, counts_lost) = match open_event(cpu, FORMAT_LOST) {
            // Before 6.0, the kernel does not know FORMAT_LOST.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => (open_event(cpu, 0)?, false),
            other => (other?, true),
        };
        let size = pages * page_size();
        let memory = Mapping::new(event.as_fd(), 0, page_size() + size, true)?;
        Ok(Ring { cpu, event, memory, size, counts_lost, said_lost: 0 })
    }

    /// Copies `into.len()` bytes of the data at a position, which may wrap around.
    fn copy(&self, position: u64, into: &mut [u8]) {
        let at = position as usize & (self.size - 1);
        let (first, rest) = into.split_at_mut(into.len().min(self.size - at));
        // SAFETY: the kernel does not write what has not been released yet.
        unsafe {
            first.copy_from_slice(self.memory.bytes(page_size() + at, first.len()));
            rest.copy_from_slice(self.memory.bytes(page_size(), rest.len()));
        }
    }

    /// Passes all records to `take`. Returns the number of times that the rest was unreadable.
    fn drain(&mut self, record: &mut Vec<u8>, take: &mut dyn FnMut(StreamEvent<'_>)) -> u64 {
        // Pairs with the release of the kernel after it wrote the records (`perf_output_put_handle`).
        let head = self.memory.word(page::DATA_HEAD).load(Ordering::Acquire);
        let mut tail = self.memory.word(page::DATA_TAIL).load(Ordering::Relaxed);
        let mut broken = 0;
        while head != tail {
            let there = head.wrapping_sub(tail);
            let mut header = [0; HEADER];
            let size = match there {
                // More than the ring can hold, so the positions are invalid.
                there if there < HEADER as u64 || there > self.size as u64 => 0,
                _ => {
                    self.copy(tail, &mut header);
                    usize::from(u16::from_ne_bytes([header[6], header[7]]))
                }
            };
            if size < HEADER || size as u64 > there {
                broken += 1;
                tail = head;
                break;
            }
            record.resize(size, 0);
            self.copy(tail, record);
            match decode(record, self.cpu) {
                Some(StreamRecord::Event(event)) => take(event),
                Some(StreamRecord::Lost(count)) => self.said_lost = self.said_lost.saturating_add(count),
                None => {}
            }
            tail = tail.wrapping_add(size as u64);
        }
        // Pairs with the acquire of the kernel before it writes into this space.
        self.memory.word(page::DATA_TAIL).store(tail, Ordering::Release);
        broken
    }

    fn lost(&self) -> u64 {
        let mut counts = [0u64; 2];
        // SAFETY: the buffer has as many bytes as are asked for: the count of events, and the lost records.
        let read = unsafe { libc::read(self.event.as_raw_fd(), counts.as_mut_ptr().cast(), 16) };
        if self.counts_lost && read == 16 { counts[1].max(self.said_lost) } else { self.said_lost }
    }
}

fn open_event(cpu: u32, read_format: u64) -> io::Result<OwnedFd> {
    let attr = attr_of(PERF_TYPE_SOFTWARE, PERF_COUNT_SW_DUMMY).with64(24, SAMPLE).with64(32, read_format);
    open_on(cpu, &attr.with64(40, FLAGS).with32(48, 1).with32(92, libc::CLOCK_BOOTTIME.cast_unsigned()))
}

/// `struct perf_event_attr` up to `sample_max_stack` (PERF_ATTR_SIZE_VER5). The caller sets at fixed offsets: `sample_type`,
/// `read_format`, the bits, `wakeup_watermark`, `clockid`.
fn attr_of(event_type: u32, config: u64) -> Bytes {
    Bytes::zeroed().with32(0, event_type).with32(4, 112).with64(8, config)
}

/// Opens an event of tracefs. Its count is not read. A program attached to such an event runs on all CPUs.
pub fn open_tracepoint(id: u64) -> io::Result<OwnedFd> {
    const PERF_TYPE_TRACEPOINT: u32 = 2;
    open_on(0, &attr_of(PERF_TYPE_TRACEPOINT, id))
}

fn open_on(cpu: u32, attr: &Bytes) -> io::Result<OwnedFd> {
    let attr = std::ptr::from_ref(attr);
    // SAFETY: `attr` is live, has the layout of `struct perf_event_attr`, and says its own size. The event is for all
    // processes (−1) on one CPU, in no group (−1).
    let fd = unsafe { libc::syscall(libc::SYS_perf_event_open, attr, -1, cpu, -1, FLAG_FD_CLOEXEC) };
    match i32::try_from(fd) {
        // SAFETY: perf_event_open(2) returned this descriptor, and nothing else owns it.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

#[derive(Debug, PartialEq, Eq)]
pub enum StreamRecord<'a> {
    Event(StreamEvent<'a>),
    Lost(u64),
}

/// Decodes a whole record of a CPU, with its header. The fields after it ([`SAMPLE`]) are located from the front,
/// because other bytes may follow them. The kernel adds the size of these fields once for each event on the CPU that
/// gets the same record
/// ([`perf_event_bpf_output`](https://elixir.bootlin.com/linux/v6.12/source/kernel/events/core.c)). `None` if the
/// record is of another kind, or too short for its kind.
pub fn decode(record: &[u8], cpu: u32) -> Option<StreamRecord<'_>> {
    let kind = u32_at(record, 0)?;
    let body = record.get(HEADER..)?;
    let mut sample = body.get(BODY..)?;
    let what = match kind {
        RECORD_LOST => return u64_at(body, 8).map(StreamRecord::Lost),
        RECORD_KSYMBOL if u16_at(body, 12)? == KSYMBOL_BPF => {
            let name = until_nul(sample);
            sample = sample.get((name.len() + 1).next_multiple_of(8)..)?;
            let (addr, len) = (KernelAddr(u64_at(body, 0)?), u32_at(body, 8)?);
            StreamChange::Symbol { addr, len, name, added: u16_at(body, 14)? & UNREGISTER == 0 }
        }
        RECORD_BPF_EVENT => {
            let (id, tag) = (ProgId(u32_at(body, 4)?), u64::from_be_bytes(*body.get(8..)?.first_chunk()?));
            match u16_at(body, 0)? {
                LOADED => StreamChange::Loaded { id, tag },
                UNLOADED => StreamChange::Unloaded { id, tag },
                _ => return None,
            }
        }
        _ => return None,
    };
    let (tgid, tid) = (Tgid(u32_at(sample, 0)?), Tid(u32_at(sample, 4)?));
    Some(StreamRecord::Event(StreamEvent { time: BootNanos(u64_at(sample, 8)?), tgid, tid, cpu, what }))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_ne_bytes(*bytes))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_ne_bytes(*bytes))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|bytes| u64::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn record(kind: u32, body: &[u8]) -> Vec<u8> {
        let size = (HEADER + body.len() + 16) as u16;
        let sample = [&7u32.to_ne_bytes()[..], &8u32.to_ne_bytes(), &9u64.to_ne_bytes()].concat();
        [&kind.to_ne_bytes()[..], &[0; 2], &size.to_ne_bytes(), body, &sample].concat()
    }

    #[track_caller]
    fn check_change(record: &[u8], what: StreamChange<'_>) {
        let event = StreamEvent { time: BootNanos(9), tgid: Tgid(7), tid: Tid(8), cpu: 3, what };
        assert_eq!(decode(record, 3), Some(StreamRecord::Event(event)));
    }

    #[test]
    fn records_are_decoded() {
        let load =
            |what: u16| [&what.to_ne_bytes()[..], &[0; 2], &5u32.to_ne_bytes(), &[1, 2, 3, 4, 5, 6, 7, 8]].concat();
        let (id, tag) = (ProgId(5), 0x0102_0304_0506_0708);
        check_change(&record(RECORD_BPF_EVENT, &load(1)), StreamChange::Loaded { id, tag });
        check_change(&record(RECORD_BPF_EVENT, &load(2)), StreamChange::Unloaded { id, tag });
        assert_eq!(decode(&record(RECORD_BPF_EVENT, &load(3)), 3), None);
        let symbol = |flags: u16, kind: u16| {
            let numbers = [&0xffff_ffff_c000_0000u64.to_ne_bytes()[..], &64u32.to_ne_bytes()].concat();
            [&numbers[..], &kind.to_ne_bytes(), &flags.to_ne_bytes(), b"bpf_prog_x\0\0\0\0\0\0"].concat()
        };
        let there = |added| StreamChange::Symbol {
            addr: KernelAddr(0xffff_ffff_c000_0000),
            len: 64,
            name: b"bpf_prog_x",
            added,
        };
        check_change(&record(RECORD_KSYMBOL, &symbol(0, 1)), there(true));
        check_change(&record(RECORD_KSYMBOL, &symbol(1, 1)), there(false));
        assert_eq!(decode(&record(RECORD_KSYMBOL, &symbol(0, 2)), 3), None, "a symbol of something else");
        for of in [record(RECORD_BPF_EVENT, &load(1)), record(RECORD_KSYMBOL, &symbol(0, 1))] {
            let longer = [&of[..], &[0xee; 16]].concat();
            assert_eq!(decode(&longer, 3), decode(&of, 3), "another event got the record before");
            assert!(decode(&of, 3).is_some() && decode(&of[..of.len() - 1], 3).is_none());
        }
        let lost = [0u64.to_ne_bytes(), 3u64.to_ne_bytes()].concat();
        assert_eq!(decode(&record(RECORD_LOST, &lost), 3), Some(StreamRecord::Lost(3)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_decoded_or_not(kind in 0u32..20, body in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = decode(&record(kind, &body), 3);
            let _ = decode(&body, 3);
        }
    }

    /// A CPU without a ring gets one, and an offline CPU loses its ring. Nothing else changes.
    #[test]
    fn cpus_are_followed() {
        let Ok(mut stream) = ProgramStream::open(1) else {
            return crate::not_checked("no privileges");
        };
        let cpus = |stream: &ProgramStream| stream.rings.iter().map(|ring| ring.cpu).collect::<Vec<_>>();
        let all = cpus(&stream);
        assert!(!stream.follow_cpus().expect("a list"));
        let mut first = stream.rings.remove(0);
        assert!(stream.follow_cpus().expect("a list"), "it came back");
        assert_eq!(cpus(&stream).len(), all.len());
        first.cpu = 100_000;
        stream.rings.push(first);
        assert!(stream.follow_cpus().expect("a list"), "there is no such CPU");
        assert!(!cpus(&stream).contains(&100_000));
    }
}
