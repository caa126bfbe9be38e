//! The BTF format: headers and types in the file, and the pass that checks them.

use std::ops::Range;

use super::{BtfError, LARGEST};

pub(super) const MAGIC: [u8; 2] = [0x9f, 0xeb];
pub(super) const HEADER: usize = 24;

/// The kind of a type. The numbers are `BTF_KIND_*` of
/// [include/uapi/linux/btf.h](https://elixir.bootlin.com/linux/v6.12/source/include/uapi/linux/btf.h).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub(super) enum TypeKind {
    Int = 1,
    Ptr = 2,
    Array = 3,
    Struct = 4,
    Union = 5,
    Enum = 6,
    Fwd = 7,
    Typedef = 8,
    Volatile = 9,
    Const = 10,
    Restrict = 11,
    Func = 12,
    FuncProto = 13,
    Var = 14,
    Datasec = 15,
    Float = 16,
    DeclTag = 17,
    TypeTag = 18,
    Enum64 = 19,
}

/// All kinds, in the order of their numbers from 1.
const KINDS: [TypeKind; 19] = {
    use TypeKind::*;
    [
        Int, Ptr, Array, Struct, Union, Enum, Fwd, Typedef, Volatile, Const, Restrict, Func, FuncProto, Var, Datasec,
        Float, DeclTag, TypeTag, Enum64,
    ]
};

impl TryFrom<u32> for TypeKind {
    type Error = u32;
    fn try_from(number: u32) -> Result<TypeKind, u32> {
        (number as usize).checked_sub(1).and_then(|i| KINDS.get(i)).copied().ok_or(number)
    }
}

impl TypeKind {
    /// The number of bytes after the three words of a type with `count` members, enumerators or parameters.
    fn tail(self, count: usize) -> usize {
        match self {
            TypeKind::Int | TypeKind::Var | TypeKind::DeclTag => 4,
            TypeKind::Array => 12,
            TypeKind::Struct | TypeKind::Union | TypeKind::Datasec | TypeKind::Enum64 => 12 * count,
            TypeKind::Enum | TypeKind::FuncProto => 8 * count,
            _ => 0,
        }
    }

    pub(super) fn is_composite(self) -> bool {
        matches!(self, TypeKind::Struct | TypeKind::Union)
    }

    /// Whether the type only names or qualifies another type.
    pub(super) fn is_modifier(self) -> bool {
        matches!(
            self,
            TypeKind::Typedef | TypeKind::Volatile | TypeKind::Const | TypeKind::Restrict | TypeKind::TypeTag
        )
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct BtfType {
    /// The offset of the name in the strings.
    pub(super) name: u32,
    pub(super) kind: TypeKind,
    /// The number of members, enumerators or parameters.
    pub(super) count: usize,
    /// For structures: members can be bitfields. For enumerations: the values are signed.
    pub(super) flag: bool,
    /// The size in bytes, or the id of the referenced type.
    pub(super) word: u32,
    /// The offset in the file of the bytes after the three words.
    pub(super) tail: usize,
}

impl BtfType {
    /// The type at offset `at`, which [`TypeIndex::new`] has checked. It is within the data and has a known kind.
    pub(super) fn at(data: &[u8], at: usize) -> BtfType {
        let info = word(data, at + 4);
        let kind = TypeKind::try_from(kind_of(info)).unwrap_or(TypeKind::Fwd);
        let (name, word) = (word(data, at), word(data, at + 8));
        BtfType { name, kind, count: count_of(info), flag: info >> 31 != 0, word, tail: at + 12 }
    }
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    /// The offset of the name in the strings; the name is empty for an anonymous member.
    pub(super) name: u32,
    pub(super) ty: u32,
    /// The offset in bits from the start of the structure.
    pub(super) bit_offset: u32,
    /// The width in bits of a bitfield; `None` for other members.
    pub(super) width: Option<u8>,
}

pub(super) struct TypeIndex {
    /// The offset in the data of each type, by id. Id 0 is `void`, which has no data.
    pub(super) starts: Vec<u32>,
    /// The ids of the types that are looked up by name, ascending.
    pub(super) groups: [Vec<u32>; NamedKind::Enums as usize + 1],
}

/// Kinds that are looked up by name.
#[derive(Clone, Copy)]
pub(super) enum NamedKind {
    Structures,
    Typedefs,
    Funcs,
    Enums,
}

impl NamedKind {
    fn of(kind: TypeKind) -> Option<NamedKind> {
        match kind {
            TypeKind::Struct | TypeKind::Union => Some(NamedKind::Structures),
            TypeKind::Typedef => Some(NamedKind::Typedefs),
            TypeKind::Func => Some(NamedKind::Funcs),
            TypeKind::Enum | TypeKind::Enum64 => Some(NamedKind::Enums),
            _ => None,
        }
    }
}

impl TypeIndex {
    /// Reads the types in `section` of the data. Their names must be within `strings` bytes.
    pub(super) fn new(data: &[u8], section: Range<usize>, strings: usize) -> Result<TypeIndex, BtfError> {
        // A type has at least 12 bytes, about 24 on average, so the vector rarely grows.
        let mut index = TypeIndex { starts: Vec::with_capacity(section.len() / 20 + 1), groups: Default::default() };
        index.starts.push(0);
        let (types, mut at) = (&data[..section.end], section.start);
        while at < types.len() {
            at = index.add(types, at, strings)?;
        }
        Ok(index)
    }

    /// Adds the type at `at`. Returns the offset of the next one.
    fn add(&mut self, types: &[u8], at: usize, strings: usize) -> Result<usize, BtfError> {
        let truncated = |end: usize| BtfError::Truncated { part: "last type", end: end as u64, have: types.len() };
        let id = self.starts.len() as u32;
        let head: &[u8; 12] = types[at..].first_chunk().ok_or_else(|| truncated(at + 12))?;
        let (name, info) = (word(head, 0), word(head, 4));
        let kind = TypeKind::try_from(kind_of(info)).map_err(|kind| BtfError::UnknownKind { id, kind })?;
        let end = at + head.len() + kind.tail(count_of(info));
        if end > types.len() {
            return Err(truncated(end));
        }
        if name as usize >= strings {
            return Err(BtfError::Name { id });
        }
        self.starts.push(at as u32);
        if let Some(group) = NamedKind::of(kind) {
            self.groups[group as usize].push(id);
        }
        Ok(end)
    }
}

pub(super) fn check_magic(data: &[u8]) -> Result<(), BtfError> {
    let (have, end) = (data.len(), HEADER as u64);
    match data {
        _ if have > LARGEST => Err(BtfError::TooLarge),
        [0xeb, 0x9f, ..] => Err(BtfError::BigEndian),
        _ if !data.starts_with(&MAGIC) => Err(BtfError::NotBtf(data[..have.min(2)].to_vec())),
        _ if have < HEADER => Err(BtfError::Truncated { part: "header", end, have }),
        [_, _, 1, ..] => Ok(()),
        _ => Err(BtfError::Version(data[2])),
    }
}

/// The length of the header in bytes. Later kernels may append to the header.
pub(super) fn header_len(data: &[u8]) -> Result<usize, BtfError> {
    let len = word(data, 4);
    if (len as usize) < HEADER { Err(BtfError::Header(len)) } else { Ok(len as usize) }
}

/// The section whose offset (from the end of the header) and length are in the words at `at` of the header.
pub(super) fn section(part: &'static str, data: &[u8], header: usize, at: usize) -> Result<Range<usize>, BtfError> {
    let start = header as u64 + u64::from(word(data, at));
    let end = start + u64::from(word(data, at + 4));
    if end > data.len() as u64 {
        return Err(BtfError::Truncated { part, end, have: data.len() });
    }
    Ok(start as usize..end as usize)
}

/// The kind of a type. Bits 29 and 30 are unused. They are read as part of the kind, so that a future use of them is
/// rejected instead of misread.
fn kind_of(info: u32) -> u32 {
    info >> 24 & 0x7f
}

/// The number of members of a type. Bits 16 to 23 are unused. They are read as part of the count, so that a future use
/// of them is rejected instead of misread.
fn count_of(info: u32) -> usize {
    (info & 0xff_ffff) as usize
}

pub(super) fn enumerator_at(ty: BtfType, index: usize) -> usize {
    ty.tail + index * if ty.kind == TypeKind::Enum64 { 12 } else { 8 }
}

/// The little-endian word at `at`. The caller has checked that it exists.
pub(super) fn word(data: &[u8], at: usize) -> u32 {
    data.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u32::from_le_bytes(*bytes))
}
