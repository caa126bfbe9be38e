//! Resolves the fields that the probes read, for one kernel, and gives the reason of each decision.

use tracetui_shared::calls;
use tracetui_shared::offsets::{ABSENT, CAST_FUNCTION, Const, FARTHEST, FIELD_COUNT, FIELDS, Field, FieldSpec};

use super::raw::BtfType;
use super::{Btf, Damaged};
use crate::arch::{self, Arch};

/// The maximum depth of nested anonymous members; the kernel has 4.
const DEEPEST: usize = 16;

/// The maximum number of members examined in a search; `task_struct` has 300. The limit is for crafted BTFs, in which
/// anonymous members can repeat a large structure or contain themselves.
const MOST_MEMBERS: u32 = 16_384;

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FieldLocation {
    /// The index of the member path ([`FieldSpec::members`]).
    pub alternate: usize,
    /// The members of the path, including anonymous ones, outermost first.
    pub steps: Vec<MemberStep>,
    /// The id of the last member's type, as declared.
    pub type_id: u32,
    /// The offset in bits from the start of the structure.
    pub bit_offset: u32,
    /// The width in bits of a bitfield; `None` for other fields.
    pub width: Option<u8>,
    /// The size of the last member's type in bytes; `None` if it has no size.
    pub size: Option<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemberStep {
    pub structure: u32,
    pub member: usize,
}

impl FieldLocation {
    pub fn byte_offset(&self) -> u32 {
        self.bit_offset / 8
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Absence {
    /// The kernel has no such structure, or only its name (a forward declaration).
    #[error("the kernel has no such structure")]
    NoStructure,
    #[error("the structure has no such member")]
    NoMember,
    /// The member has a size that the probes do not read.
    #[error("it has {} bytes", size.map_or("no".to_owned(), |size| size.to_string()))]
    Width {
        /// The size of its type in bytes. `None` for a bitfield, and for a type without a size.
        size: Option<u32>,
    },
    #[error(transparent)]
    Damaged(#[from] Damaged),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decision {
    pub field: Field,
    pub spec: FieldSpec,
    /// The id of the structure that was searched: the largest of its name.
    pub structure: Option<u32>,
    /// The place of the field, or the reason why it is absent. [`Decision::usable`] checks the width.
    pub place: Result<FieldLocation, Absence>,
}

impl Decision {
    pub fn path(&self) -> Option<&'static str> {
        self.place.as_ref().ok().and_then(|place| self.spec.members.get(place.alternate)).copied()
    }

    /// The place of the field if the probes can read it, otherwise the reason.
    pub fn usable(&self) -> Result<&FieldLocation, Absence> {
        let place = self.place.as_ref().map_err(|absence| *absence)?;
        let size = place.size.filter(|_| place.width.is_none());
        if self.spec.width.fits(size) { Ok(place) } else { Err(Absence::Width { size }) }
    }

    /// The byte offset from the start of the structure, or [`ABSENT`] if the probes cannot read the field.
    pub fn offset(&self) -> u32 {
        self.usable().map_or(ABSENT, FieldLocation::byte_offset)
    }
}

/// The constants from a kernel's BTF, each with its value; `None` if the kernel does not have it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KernelConsts(pub [(Const, Option<u32>); 8]);

impl KernelConsts {
    pub fn get(&self, constant: Const) -> Option<u32> {
        self.0.iter().find(|(known, _)| *known == constant).and_then(|(_, value)| *value)
    }
}

/// The tracepoints whose number of arguments is determined.
pub const EXIT_TRACEPOINT: &str = "sched_process_exit";
pub const URING_TRACEPOINT: &str = "io_uring_complete";

/// The enumerators to find: those of [`KernelConsts`] in its order, then [`TASK_HELPER`].
pub const ENUMERATORS: [&str; 6] = [
    "TRACE_EVENT_FL_TRACEPOINT",
    "TRACE_EVENT_FL_KPROBE",
    "TRACE_EVENT_FL_UPROBE",
    "BPF_LINK_TYPE_PERF_EVENT",
    "BPF_LINK_TYPE_RAW_TRACEPOINT",
    TASK_HELPER,
];

/// The helper that returns the current task as a typed pointer (5.11+).
pub const TASK_HELPER: &str = "BPF_FUNC_get_current_task_btf";

pub const FUNCTIONS: [&str; 1] = [CAST_FUNCTION];

/// The names that programs attach to. A minimal BTF keeps them.
#[derive(Clone, Debug)]
pub struct AttachNames {
    /// Tracepoints that are found by type id.
    pub tracepoints: Vec<&'static str>,
    pub functions: Vec<&'static str>,
}

/// A structure and its member, which exists if the verifier supports the instruction `may_goto` (6.9+).
pub const MAY_GOTO_MEMBER: (&str, &str) = ("bpf_verifier_state", "may_goto_depth");

/// The structures and members whose offsets add up to `NETLINK_CB(skb).portid`, the port of the sender of a netlink
/// message.
pub const NETLINK_SENDER_MEMBERS: [(&str, &str); 2] = [("sk_buff", "cb"), ("netlink_skb_parms", "portid")];

/// A typedef that exists if tracepoints call programs with preemption enabled (7.0+). It is the type of
/// `guard(srcu_fast_notrace)`, under which
/// [`__DECLARE_TRACE`](https://elixir.bootlin.com/linux/v7.0/source/include/linux/tracepoint.h) calls them there. Up to
/// 6.19 the guard was `guard(preempt_notrace)`.
///
/// The guard itself is older: 6.18 declares it. But compilers do not describe unused types, so the BTFs of 6.18 and
/// 6.19 do not contain it. The tracepoints are its first users.
pub const PREEMPTIBLE_TRACEPOINTS_TYPE: &str = "class_srcu_fast_notrace_t";

/// Everything that the probes need to know about a kernel.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Resolved {
    /// Byte offsets for the probes, or [`ABSENT`], indexed by [`Field`].
    pub offsets: [u32; FIELD_COUNT],
    /// The decisions, indexed by [`Field`].
    pub decisions: Vec<Decision>,
    pub consts: KernelConsts,
}

impl Resolved {
    /// The fields in `needed` that the kernel does not have.
    pub fn missing(&self, needed: &[Field]) -> Vec<Field> {
        needed.iter().copied().filter(|field| self.offsets[*field as usize] == ABSENT).collect()
    }

    /// The offsets that the probes can use, and the fields that exist but that they cannot read, each with the reason.
    pub fn usable(&self) -> ([u32; FIELD_COUNT], Vec<(Field, String)>) {
        let mut offsets = self.offsets;
        let widths = self.decisions.iter().filter_map(|decision| match decision.usable() {
            Err(absence @ Absence::Width { .. }) => {
                Some((decision.field, format!("{absence}, expected {}", decision.spec.width)))
            }
            _ => None,
        });
        let mut odd: Vec<_> = widths.collect();
        for (offset, (field, _)) in offsets.iter_mut().zip(FIELDS).filter(|(offset, _)| **offset != ABSENT) {
            if *offset > FARTHEST {
                odd.push((*field, format!("its offset is {offset}, more than {FARTHEST}")));
                *offset = ABSENT;
            }
        }
        (offsets, odd)
    }
}

impl Btf {
    /// The architecture of the kernel, from the function behind openat(2).
    pub fn arch(&self) -> Option<&'static Arch> {
        arch::ALL
            .into_iter()
            .find(|arch| calls::ROWS[0].functions(arch.number).next().is_some_and(|name| self.func(name).is_some()))
    }

    /// Resolves every field of [`FIELDS`] and every constant of [`KernelConsts`].
    pub fn resolve(&self) -> Resolved {
        let decisions: Vec<Decision> = FIELDS.iter().map(|(field, spec)| self.decide(*field, *spec)).collect();
        let mut offsets = [ABSENT; FIELD_COUNT];
        for (offset, decision) in offsets.iter_mut().zip(&decisions) {
            *offset = decision.offset();
        }
        Resolved { offsets, consts: self.consts(&decisions), decisions }
    }

    fn consts(&self, decisions: &[Decision]) -> KernelConsts {
        let inline = decisions[Field::DentryInline as usize].usable().ok();
        let mut values = self.enumerators(&ENUMERATORS).into_iter().map(|value| u32::try_from(value?).ok());
        let mut value = || values.next().flatten();
        KernelConsts([
            // `sched_process_exit` passes a second argument (6.16+).
            (Const::ExitHasGroupDead, self.tracepoint_args(EXIT_TRACEPOINT).map(|args| u32::from(args >= 2))),
            // `io_uring_complete` passes three arguments (6.16+), earlier seven.
            (Const::UringCqe, self.tracepoint_args(URING_TRACEPOINT).map(|args| u32::from(args <= 3))),
            (Const::InlineNameLen, inline.and_then(|place| place.size)),
            (Const::TraceFlagTracepoint, value()),
            (Const::TraceFlagKprobe, value()),
            (Const::TraceFlagUprobe, value()),
            // 5.15+
            (Const::LinkTypePerf, value()),
            (Const::LinkTypeRawTp, value()),
        ])
    }

    fn decide(&self, field: Field, spec: FieldSpec) -> Decision {
        let structure = self.structure(spec.structure);
        let place = structure.ok_or(Absence::NoStructure).and_then(|id| self.first_path(id, spec.members));
        Decision { field, spec, structure, place }
    }

    /// Whether a structure has a member, directly or in anonymous members.
    pub fn has_member(&self, structure: u32, member: &str) -> bool {
        self.first_path(structure, &[member]).is_ok()
    }

    /// The first of the member paths that exists in the structure.
    pub fn first_path(&self, structure: u32, paths: &[&str]) -> Result<FieldLocation, Absence> {
        for (alternate, path) in paths.iter().enumerate() {
            if let Some(place) = self.path(structure, path, alternate)? {
                return Ok(place);
            }
        }
        Err(Absence::NoMember)
    }

    /// The place of a member path. `None` if there is no such member.
    fn path(&self, structure: u32, path: &str, alternate: usize) -> Result<Option<FieldLocation>, Damaged> {
        let mut place =
            FieldLocation { alternate, steps: Vec::new(), type_id: structure, bit_offset: 0, width: None, size: None };
        for name in path.split('.') {
            let structure = self.peel(place.type_id)?;
            let mut search = Search { btf: self, name, budget: MOST_MEMBERS };
            if !search.enter(structure, 0, &mut place)? {
                return Ok(None);
            }
        }
        place.size = self.size_of(place.type_id);
        Ok(Some(place))
    }
}

/// A search for a member, including members of anonymous members. The type of an anonymous member can have a name:
/// `struct ns_tree;` in `struct ns_common` (6.19, built with `-fms-extensions`).
struct Search<'a> {
    btf: &'a Btf,
    name: &'a str,
    /// The number of members that may still be examined.
    budget: u32,
}

impl Search<'_> {
    /// Searches `structure`. If it finds the member, advances `place` to it. Otherwise `place` stays unchanged.
    fn enter(&mut self, structure: u32, depth: usize, place: &mut FieldLocation) -> Result<bool, Damaged> {
        let Some(ty) = self.btf.get(structure).filter(|ty| ty.kind.is_composite()) else { return Ok(false) };
        if depth > DEEPEST {
            return Err(Damaged);
        }
        for index in 0..ty.count {
            if self.try_member(MemberStep { structure, member: index }, ty, depth, place)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn try_member(
        &mut self,
        step: MemberStep,
        ty: BtfType,
        depth: usize,
        place: &mut FieldLocation,
    ) -> Result<bool, Damaged> {
        self.budget = self.budget.checked_sub(1).ok_or(Damaged)?;
        let member = self.btf.member(ty, step.member);
        let anonymous = self.btf.is_named(member.name, "");
        if !anonymous && !self.btf.is_named(member.name, self.name) {
            return Ok(false);
        }
        let before = (place.steps.len(), place.bit_offset);
        place.steps.push(step);
        place.bit_offset = place.bit_offset.checked_add(member.bit_offset).ok_or(Damaged)?;
        if !anonymous {
            (place.type_id, place.width) = (member.ty, member.width);
            return Ok(true);
        }
        let found = self.enter(self.btf.peel(member.ty)?, depth + 1, place)?;
        if !found {
            place.steps.truncate(before.0);
            place.bit_offset = before.1;
        }
        Ok(found)
    }
}
