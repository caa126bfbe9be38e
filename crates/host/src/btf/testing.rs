//! Writes the part of a BTF that the resolution needs. It has some KiB instead of some MB. That is small enough to keep
//! one per kernel for the tests.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::iter;

use super::Btf;
use super::raw::{BtfType, HEADER, MAGIC, TypeKind, enumerator_at};
use super::resolve::{
    AttachNames, ENUMERATORS, FUNCTIONS, MAY_GOTO_MEMBER, NETLINK_SENDER_MEMBERS, PREEMPTIBLE_TRACEPOINTS_TYPE,
    Resolved,
};
use tracetui_shared::offsets::TYPES;

impl Btf {
    /// A smaller BTF with the same resolution.
    ///
    /// Structures keep their size, and the members that lead to a field, with their bit offsets. Enumerations keep the
    /// requested enumerators. Functions and tracepoints keep the number of their arguments. Typedefs and qualifiers
    /// before members are dropped. The target of a pointer becomes `void` unless it is kept itself. Types keep their
    /// order but not their ids, so this BTF cannot be used where the kernel looks up types by id.
    pub fn minimal(&self, resolved: &Resolved, attach: &AttachNames) -> Vec<u8> {
        let mut kept = Kept { btf: self, types: BTreeMap::new() };
        kept.fields(resolved);
        kept.enumerators();
        kept.structures();
        attach.tracepoints.iter().for_each(|name| kept.tracepoint(name));
        // Only the existence of this typedef matters, so the type that it names becomes `void`.
        self.typedef(PREEMPTIBLE_TRACEPOINTS_TYPE).into_iter().for_each(|id| _ = kept.types.entry(id).or_default());
        for names in [&FUNCTIONS[..], &attach.functions] {
            self.funcs(names).into_iter().flatten().for_each(|id| kept.function(id));
        }
        kept.write()
    }
}

/// The kept types by id, each with the indices of its kept members or enumerators.
struct Kept<'a> {
    btf: &'a Btf,
    types: BTreeMap<u32, BTreeSet<usize>>,
}

impl Kept<'_> {
    fn fields(&mut self, resolved: &Resolved) {
        for decision in &resolved.decisions {
            // A structure without the member is kept too, so that the resolution still reports a missing member.
            decision.structure.into_iter().for_each(|id| self.add(id));
            let Ok(place) = &decision.place else { continue };
            for step in &place.steps {
                self.types.entry(step.structure).or_default().insert(step.member);
            }
            self.add(place.type_id);
        }
    }

    fn enumerators(&mut self) {
        let mut found = [None; ENUMERATORS.len()];
        self.btf.each_enumerator(&ENUMERATORS, |wanted, id, _, index| _ = found[wanted].get_or_insert((id, index)));
        for (id, index) in found.into_iter().flatten() {
            self.types.entry(id).or_default().insert(index);
        }
    }

    /// Keeps the structures that are needed for more than offsets.
    fn structures(&mut self) {
        TYPES.iter().filter_map(|name| self.btf.structure(name)).for_each(|id| self.add(id));
        iter::once(MAY_GOTO_MEMBER)
            .chain(NETLINK_SENDER_MEMBERS)
            .for_each(|(structure, member)| self.member(structure, member));
    }

    fn member(&mut self, structure: &str, member: &str) {
        let Some(id) = self.btf.structure(structure) else { return };
        self.add(id);
        let Ok(place) = self.btf.first_path(id, &[member]) else { return };
        for step in &place.steps {
            self.types.entry(step.structure).or_default().insert(step.member);
        }
        self.add(place.type_id);
    }

    fn function(&mut self, id: u32) {
        self.types.entry(id).or_default();
        let proto = self.btf.get(id).and_then(|ty| self.shape(ty.word));
        proto.into_iter().for_each(|proto| self.proto(proto));
    }

    fn tracepoint(&mut self, name: &str) {
        let Some(typedef) = self.btf.typedef(&format!("btf_trace_{name}")) else { return };
        self.types.entry(typedef).or_default();
        let Some(pointer) = self.btf.get(typedef).and_then(|ty| self.shape(ty.word)) else { return };
        self.types.entry(pointer).or_default();
        let proto = self.btf.get(pointer).and_then(|ty| self.shape(ty.word));
        proto.into_iter().for_each(|proto| self.proto(proto));
    }

    fn proto(&mut self, proto: u32) {
        let Some(ty) = self.btf.get(proto).filter(|ty| ty.kind == TypeKind::FuncProto) else { return };
        self.types.entry(proto).or_default();
        (0..ty.count).for_each(|index| self.add(self.btf.word(ty.tail + 8 * index + 4)));
    }

    /// Keeps a type for its size: an array with its element type, a structure without members.
    fn add(&mut self, id: u32) {
        let mut waiting = vec![id];
        while let Some(id) = waiting.pop() {
            let Some(id) = self.shape(id).filter(|id| !self.types.contains_key(id)) else { continue };
            self.types.entry(id).or_default();
            let array = self.btf.get(id).filter(|ty| ty.kind == TypeKind::Array);
            // The element type and the index type.
            waiting.extend(array.iter().flat_map(|ty| [self.btf.word(ty.tail), self.btf.word(ty.tail + 4)]));
        }
    }

    /// The id without typedefs and qualifiers; `None` for types that are not kept.
    fn shape(&self, id: u32) -> Option<u32> {
        let id = self.btf.peel(id).ok()?;
        // A declaration tag is the type of nothing, whatever a damaged BTF says.
        let left_out = |kind| {
            matches!(kind, TypeKind::Func | TypeKind::Fwd | TypeKind::Var | TypeKind::Datasec | TypeKind::DeclTag)
        };
        self.btf.get(id).filter(|ty| !left_out(ty.kind)).map(|_| id)
    }

    fn write(&self) -> Vec<u8> {
        let ids: BTreeMap<u32, u32> = self.types.keys().copied().zip(1..).collect();
        let new = |id: u32| self.shape(id).and_then(|id| ids.get(&id)).copied().unwrap_or(0);
        let mut writer = Writer::new();
        for (id, indices) in &self.types {
            let Some(ty) = self.btf.get(*id) else { continue };
            let (count, tail) = self.tail(&mut writer, ty, indices, &new);
            let word = if matches!(ty.kind, TypeKind::Ptr | TypeKind::Typedef | TypeKind::Func | TypeKind::FuncProto) {
                new(ty.word)
            } else {
                ty.word
            };
            writer.push(Head { name: self.btf.string(ty.name), kind: ty.kind, flag: ty.flag, word }, count, &tail);
        }
        writer.finish()
    }

    /// The number of kept members, enumerators or parameters of a type, and the words after its head.
    fn tail(
        &self,
        writer: &mut Writer,
        ty: BtfType,
        indices: &BTreeSet<usize>,
        new: &impl Fn(u32) -> u32,
    ) -> (usize, Vec<u32>) {
        let word = |at: usize| self.btf.word(ty.tail + at);
        let mut renamed = |at: usize| writer.string(self.btf.string(self.btf.word(at)));
        match ty.kind {
            TypeKind::Int => (0, vec![word(0)]),
            TypeKind::Array => (0, vec![new(word(0)), new(word(4)), word(8)]),
            TypeKind::Struct | TypeKind::Union => {
                let member =
                    |index: &usize| [renamed(ty.tail + 12 * index), new(word(12 * index + 4)), word(12 * index + 8)];
                (indices.len(), indices.iter().flat_map(member).collect())
            }
            TypeKind::Enum | TypeKind::Enum64 => {
                let wide = ty.kind == TypeKind::Enum64;
                let enumerator = |index: &usize| {
                    let at = enumerator_at(ty, *index);
                    [Some(renamed(at)), Some(self.btf.word(at + 4)), wide.then(|| self.btf.word(at + 8))]
                };
                (indices.len(), indices.iter().flat_map(enumerator).flatten().collect())
            }
            TypeKind::FuncProto => {
                let parameter = |index| [0, new(word(8 * index + 4))];
                (ty.count, (0..ty.count).flat_map(parameter).collect())
            }
            // For a function, this field is not a count but the linkage.
            TypeKind::Func => (ty.count, Vec::new()),
            _ => (0, Vec::new()),
        }
    }
}

/// Builds a BTF type by type.
#[derive(Default)]
pub(super) struct Writer {
    types: Vec<u8>,
    count: u32,
    strings: Vec<u8>,
    known: HashMap<Vec<u8>, u32>,
}

/// The common part of a type: the three words before its members, enumerators or parameters.
#[derive(Clone, Copy)]
pub(super) struct Head<'a> {
    pub(super) name: &'a [u8],
    pub(super) kind: TypeKind,
    pub(super) flag: bool,
    /// The size in bytes, or the id of the referenced type.
    pub(super) word: u32,
}

impl Writer {
    pub(super) fn new() -> Writer {
        let mut writer = Writer::default();
        writer.string(b"");
        writer
    }

    /// The offset of `text` in the string section. Each text is stored once.
    pub(super) fn string(&mut self, text: &[u8]) -> u32 {
        if let Some(offset) = self.known.get(text) {
            return *offset;
        }
        let offset = self.strings.len() as u32;
        self.strings.extend_from_slice(text);
        self.strings.push(0);
        self.known.insert(text.to_vec(), offset);
        offset
    }

    /// Appends a type and returns its id. `tail` is the encoding of its `count` members, enumerators or parameters.
    pub(super) fn push(&mut self, head: Head<'_>, count: usize, tail: &[u32]) -> u32 {
        let info = u32::from(head.flag) << 31 | (head.kind as u32) << 24 | count as u32;
        let name = self.string(head.name);
        for word in [name, info, head.word].iter().chain(tail) {
            self.types.extend_from_slice(&word.to_le_bytes());
        }
        self.count += 1;
        self.count
    }

    pub(super) fn finish(self) -> Vec<u8> {
        let (types, strings) = (self.types.len() as u32, self.strings.len() as u32);
        let mut data = Vec::with_capacity(HEADER + self.types.len() + self.strings.len());
        data.extend_from_slice(&MAGIC);
        data.extend_from_slice(&[1, 0]);
        for word in [HEADER as u32, 0, types, types, strings] {
            data.extend_from_slice(&word.to_le_bytes());
        }
        data.extend_from_slice(&self.types);
        data.extend_from_slice(&self.strings);
        data
    }
}
