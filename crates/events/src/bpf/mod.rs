//! Facts about BPF programs, links and attachments, without I/O.
//!
//! The crate `tracetui-inspect` collects an [`Inventory`] from the running kernel.
//!
//! Facts hold the numbers of the kernel and bytes; [`frames`] makes host frames of them. Names are added where
//! they are shown.

pub mod frames;
pub mod place;

pub use crate::frame::bpf::{HeldBy, Hook, NotScanned, Via, View};
use crate::frame::host::{BpfAttachment, BpfHidden, BpfHolder, BpfProgram, BpfRuns};
use foldhash::{HashMap, HashSet};
use tracetui_shared::helper::{Changes, HELPERS, PROBE_WRITE_USER};
use tracetui_shared::id::{KernelAddr, LinkId, NsInum, ProgId, Tgid};
use tracetui_shared::record::bpf::link_type;

/// All BPF programs and where they are attached, at one time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inventory {
    /// The programs, ascending by id.
    pub programs: Vec<BpfProgram>,
    /// The counted runs of each program.
    pub runs: HashMap<ProgId, BpfRuns>,
    /// The links, ascending by id, then the attachments without a link.
    pub attachments: Vec<BpfAttachment>,
    /// The holders that keep programs and links in the kernel.
    pub holders: Vec<Holder>,
    /// Programs that one view of the kernel shows and another does not.
    pub hidden: Vec<BpfHidden>,
    /// Attachments whose program the kernel does not name.
    pub unresolved: Vec<UnresolvedAttachment>,
    /// The places that could not be examined.
    pub unseen: Vec<Unseen>,
    /// Programs, links and other objects that were removed while they were being read.
    pub vanished: u64,
    /// The links among them: each was removed, or was being made. The kernel lists a link before it can be opened (`bpf_link_prime`
    /// to `bpf_link_settle`; tcx waits for RCU in between, after the program was attached).
    pub unopened_links: Vec<LinkId>,
    /// The links that exist and could not be read.
    pub unread_links: HashSet<LinkId>,
}

impl Inventory {
    /// Leaves out tracetui's programs, and their links and holders.
    pub fn without_own(mut self) -> Inventory {
        let mut own: HashSet<Object> = HashSet::default();
        own.extend(self.programs.extract_if(.., |program| program.own).map(|program| Object::Program(program.id)));
        let links = self.attachments.extract_if(.., |facts| own.contains(&Object::Program(facts.program)));
        let links: Vec<_> = links.filter_map(|facts| facts.linked()).map(Object::Link).collect();
        own.extend(links);
        self.holders.retain(|holder| !own.contains(&holder.object));
        self
    }

    pub fn program(&self, id: ProgId) -> Option<&BpfProgram> {
        self.programs.binary_search_by_key(&id, |program| program.id).ok().and_then(|at| self.programs.get(at))
    }

    pub fn runs_of(&self, id: ProgId) -> BpfRuns {
        self.runs.get(&id).copied().unwrap_or(BpfRuns { id, ..BpfRuns::default() })
    }
}

impl BpfProgram {
    /// What it calls.
    pub fn calls(&self) -> HelperCalls {
        let unknown = (self.unknown != 0).then(|| NotScanned::of(self.unknown).unwrap_or_default());
        HelperCalls { helpers: self.helpers, unknown }
    }
}

impl BpfAttachment {
    /// The link; `None` without one.
    pub fn linked(&self) -> Option<LinkId> {
        Some(self.link).filter(|link| link.0 != 0)
    }

    /// The address of the function; `None` for a group of sockets, which an address only identifies.
    pub fn function(&self) -> Option<KernelAddr> {
        Some(self.addr).filter(|addr| addr.0 != 0 && self.hook != Hook::Reuseport)
    }

    /// Whether it is a function of a table that has a link. Then the link makes the events.
    pub(crate) fn is_part(&self) -> bool {
        (self.link.0, self.link_type) == (0, link_type::STRUCT_OPS)
    }
}

impl BpfHolder {
    /// The holder by a descriptor of a process.
    pub fn process(by: HeldBy, pid: Tgid, comm: Vec<u8>, fd: u32) -> BpfHolder {
        BpfHolder { by, pid, comm, fd, ..BpfHolder::default() }
    }

    pub fn pin(path: Vec<u8>) -> BpfHolder {
        BpfHolder { by: HeldBy::Pin, path, ..BpfHolder::default() }
    }
}

/// The result of a scan of a program's instructions. A scan in the kernel gives the same facts as one in user space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HelperCalls {
    /// The helpers of [`HELPERS`] that it calls, as bits.
    pub helpers: u64,
    /// Why other calls may be missing here; `None` if all were seen.
    pub unknown: Option<NotScanned>,
}

impl HelperCalls {
    /// Whether the program calls `bpf_probe_write_user`; `Err` if unknown.
    pub fn write_user(self) -> Result<bool, NotScanned> {
        match self.unknown {
            _ if self.helpers & PROBE_WRITE_USER != 0 => Ok(true),
            None => Ok(false),
            Some(why) => Err(why),
        }
    }

    /// The names of the helpers that it calls.
    pub fn names(self) -> Words {
        Words::new(self.helpers, |bit| HELPERS.get(bit).map_or("unknown", |helper| helper.name))
    }

    /// The names of the helpers that change this.
    pub fn that_change(self, what: Changes) -> Words {
        HelperCalls { helpers: self.helpers & changing(what), ..self }.names()
    }

    /// What the helpers change that it calls.
    pub fn changes(self) -> Words {
        let calls = Changes::ALL.into_iter().enumerate().filter(|(_, what)| self.helpers & changing(*what) != 0);
        let bits = calls.fold(0, |bits, (index, _)| bits | 1 << index);
        Words::new(bits, |bit| Changes::ALL.get(bit).map_or("unknown", |what| what.name()))
    }
}

/// The bits of the helpers that change this.
fn changing(what: Changes) -> u64 {
    let set = HELPERS.iter().enumerate().filter(|(_, helper)| helper.changes == what);
    set.fold(0, |bits, (index, _)| bits | 1 << index)
}

/// A set of words.
#[derive(Clone, Copy, Debug)]
pub struct Words {
    bits: u64,
    /// The word of a bit.
    word: fn(usize) -> &'static str,
}

impl Words {
    pub fn new(bits: u64, word: fn(usize) -> &'static str) -> Words {
        Words { bits, word }
    }
}

impl Iterator for Words {
    type Item = &'static str;

    fn next(&mut self) -> Option<&'static str> {
        let bit = self.bits.trailing_zeros();
        self.bits &= self.bits.checked_sub(1)?;
        Some((self.word)(bit as usize))
    }
}

/// The programs at a part of a network interface without links, as a notification of the kernel shows them.
#[derive(Clone, Debug, PartialEq)]
pub struct InterfacePart {
    pub netns: NsInum,
    pub ifindex: u32,
    pub scope: InterfaceScope,
    /// All programs that are attached there now.
    pub programs: Vec<BpfAttachment>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum InterfaceScope {
    /// The interface is gone, or is in another namespace now.
    All,
    Xdp,
    /// The filters at places that begin so, in [`BpfAttachment::flags`]. `number`: only those with this priority, chain and handle.
    /// `any_handle`: those with any handle.
    Filters {
        places: Vec<Vec<u8>>,
        number: Option<Vec<u8>>,
        any_handle: bool,
    },
}

impl InterfacePart {
    /// Whether an attachment in the frames of an inventory belongs to this part.
    fn covers(&self, known: &BpfAttachment) -> bool {
        let is_there = (known.link.0, known.ifindex, known.netns) == (0, Some(self.ifindex), Some(self.netns));
        is_there
            && match &self.scope {
                InterfaceScope::All => true,
                InterfaceScope::Xdp => known.hook == Hook::Type(XDP),
                InterfaceScope::Filters { places, number, any_handle } => {
                    let mut rests = places.iter().filter_map(|place| known.flags.strip_prefix(place.as_slice()));
                    let is_numbered = |rest: &[u8]| {
                        let Some(number) = number else { return true };
                        let words = [&b" direct-action"[..], b" action"];
                        let rest = words.iter().find_map(|word| rest.strip_prefix(*word)).unwrap_or(rest);
                        let rest = rest.strip_prefix(number.as_slice());
                        rest.is_some_and(|rest| rest.is_empty() || *any_handle && rest.starts_with(b" handle "))
                    };
                    known.hook == Hook::Tc && rests.any(is_numbered)
                }
            }
    }
}

/// BPF_XDP, an attach type.
pub const XDP: u32 = 37;

/// A program or link, and its holder, which keeps it in the kernel.
#[derive(Clone, Debug, PartialEq)]
pub struct Holder {
    pub object: Object,
    pub by: BpfHolder,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Object {
    Program(ProgId),
    Link(LinkId),
}

/// What [`Unseen`] says of the programs of sockets.
pub const SOCKETS: &str = "programs of sockets";

/// What [`Unseen`] says of the programs of maps of sockets.
pub const SOCKMAPS: &str = "programs of maps of sockets";

/// What [`Unseen`] says of perf_event programs that ioctl(2) attached.
pub const EVENTS: &str = "programs of perf events";

/// What [`Unseen`] says of links. A link that cannot be read explains no place, so it hides no attachment without a link.
pub const LINKS: &str = "links";

/// What [`Unseen`] says of pins, which attach nothing.
pub const PINS: &str = "pinned programs and links";

/// Whether what could not be read, as [`Unseen`] says it, may be where a program of this type is attached.
pub fn may_hide_place(unseen: &str, prog_type: u32) -> bool {
    const PERF_EVENT: u32 = 7;
    const SK_SKB: u32 = 14;
    const SK_MSG: u32 = 16;
    let only = [(SOCKMAPS, matches!(prog_type, SK_SKB | SK_MSG)), (EVENTS, prog_type == PERF_EVENT)];
    // Programs of sockets are never said to be attached nowhere.
    ![VIEWS, SOCKETS, PINS].iter().any(|what| unseen.starts_with(what))
        && only.iter().all(|(what, is_of_them)| *is_of_them || !unseen.starts_with(what))
}

/// An attachment whose program the kernel does not name.
#[derive(Clone, Debug, PartialEq)]
pub struct UnresolvedAttachment {
    pub hook: Hook,
    /// The socket as text; empty for a perf event.
    pub target: Vec<u8>,
    pub by: BpfHolder,
}

/// What [`Unseen`] says if views could not be compared. All attachments are known in that case.
pub const VIEWS: &str = "hidden programs";

impl Unseen {
    /// `network namespaces: there are more than 1024`, and the remedy.
    pub fn text(&self) -> String {
        let remedy = if self.remedy.is_empty() { "" } else { ": " };
        format!("{}: {}{remedy}{}", self.what, self.why, self.remedy)
    }
}

/// A place that could not be examined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unseen {
    /// The place, as a phrase.
    pub what: &'static str,
    pub why: String,
    /// The remedy; empty if there is none.
    pub remedy: &'static str,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Batch;
    use crate::frame::host::{BpfHolders, HostFrame};

    fn check_comes_back(frame: HostFrame) {
        let mut batch = Batch::default();
        frame.push(tracetui_shared::time::BootNanos(1), &mut batch);
        assert_eq!(batch.frames().next().and_then(|read| HostFrame::decode(&read)), Some(frame));
    }

    #[test]
    fn words_come_back_and_helpers_are_grouped_by_what_they_change() {
        for unknown in [None, Some(NotScanned::NotPermitted), Some(NotScanned::Withheld), Some(NotScanned::TailCall)] {
            let program = BpfProgram { unknown: unknown.map_or(0, |why| why as u8), ..BpfProgram::default() };
            assert_eq!(program.calls().unknown, unknown);
        }
        let hooks = [Hook::Unknown, Hook::Type(0), Hook::Kprobe, Hook::Kretprobe, Hook::Uprobe, Hook::Uretprobe];
        let others = [Hook::Tracepoint, Hook::RawTracepoint, Hook::PerfEvent, Hook::Freplace, Hook::Tc];
        for hook in hooks.into_iter().chain(others).chain([Hook::StructOps, Hook::Netfilter, Hook::ProgArray]) {
            for via in (0..=u8::MAX).filter_map(Via::of) {
                check_comes_back(HostFrame::BpfAttachment(BpfAttachment { via, hook, ..BpfAttachment::default() }));
            }
        }
        let by = (0..=u8::MAX).filter_map(HeldBy::of);
        let holders: Vec<_> = by.map(|by| BpfHolder { by, ..BpfHolder::default() }).collect();
        assert_eq!(holders.len(), 4);
        check_comes_back(HostFrame::BpfHolders(BpfHolders { holders, ..BpfHolders::default() }));
        for seen_by in (0..=u8::MAX).filter_map(View::of) {
            let hidden = BpfHidden { id: ProgId(7), seen_by, missing_in: View::FdById, ..BpfHidden::default() };
            check_comes_back(HostFrame::BpfHidden(hidden));
        }
        // Helpers are grouped by what they change.
        let all = HelperCalls { helpers: (1 << HELPERS.len()) - 1, unknown: None };
        assert_eq!(all.names().count(), HELPERS.len());
        let grouped: usize = Changes::ALL.map(|what| all.that_change(what).count()).iter().sum();
        assert_eq!((grouped, all.changes().count()), (HELPERS.len(), Changes::ALL.len()));
        let of = |name| 1 << HELPERS.iter().position(|helper| helper.name == name).expect("a helper");
        let calls = HelperCalls { helpers: of("redirect_map") | of("bind") | of("xdp_adjust_tail"), unknown: None };
        assert_eq!(calls.changes().collect::<Vec<_>>(), ["packet", "socket"]);
        assert_eq!(calls.that_change(Changes::Packet).collect::<Vec<_>>(), ["xdp_adjust_tail", "redirect_map"]);
        assert_eq!(HelperCalls { helpers: u64::MAX, unknown: None }.names().last(), Some("unknown"), "a later version");
        // A program that was not scanned does not count as harmless.
        let unknown = HelperCalls { helpers: 0, unknown: Some(NotScanned::Withheld) };
        assert_eq!(unknown.write_user(), Err(NotScanned::Withheld));
        assert_eq!(HelperCalls { helpers: 1, ..unknown }.write_user(), Ok(true));
        assert_eq!(HelperCalls { helpers: 2, unknown: None }.write_user(), Ok(false));
    }
}
