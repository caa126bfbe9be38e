//! The kernel's type information (BTF): the offsets of its fields, its functions and its tracepoints.
//!
//! Rust programs have no CO-RE relocations, so user space resolves the offsets before the load and writes them into the
//! probes' instructions. This module parses BTF. [`resolve`] resolves the offsets.
//!
//! BTF may come from an untrusted file. The parser checks every length, every reference is checked when it is followed,
//! and chains of types are limited.
//!
//! The format is described in
//! [include/uapi/linux/btf.h](https://elixir.bootlin.com/linux/v6.12/source/include/uapi/linux/btf.h) and
//! [Documentation/bpf/btf.rst](https://elixir.bootlin.com/linux/v6.12/source/Documentation/bpf/btf.rst).

mod names;
mod raw;
pub mod resolve;
#[cfg(any(test, feature = "testing"))]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;
use std::sync::OnceLock;

use names::StringTable;
use raw::{BtfType, Member, NamedKind, TypeIndex, TypeKind, check_magic, enumerator_at, header_len, section, word};

/// The BTF of the running kernel (5.4+ with `CONFIG_DEBUG_INFO_BTF`).
pub const RUNNING: &str = "/sys/kernel/btf/vmlinux";

/// The maximum size of a BTF in bytes. A distribution kernel has 4 to 6 MB; the kernel accepts at most 16 MiB.
pub const LARGEST: usize = 64 << 20;

/// The maximum number of typedefs and qualifiers before a type. The kernel allows 32 (`MAX_RESOLVE_DEPTH`,
/// [kernel/bpf/btf.c](https://elixir.bootlin.com/linux/v6.12/source/kernel/bpf/btf.c)).
const LONGEST_CHAIN: usize = 32;

/// The maximum number of bytes copied from a name. Names in the kernel are shorter (`KSYM_NAME_LEN`,
/// [include/linux/kallsyms.h](https://elixir.bootlin.com/linux/v6.12/source/include/linux/kallsyms.h)).
const LONGEST_NAME: usize = 512;

#[derive(Debug, thiserror::Error)]
pub enum BtfError {
    #[error(transparent)]
    Read(#[from] io::Error),
    #[error("{RUNNING} does not exist: this kernel was built without CONFIG_DEBUG_INFO_BTF, or /sys is not mounted")]
    NotInKernel,
    #[error("too large for a kernel's BTF: more than {} MiB", LARGEST >> 20)]
    TooLarge,
    #[error("not a BTF file: the first bytes are {0:02x?}, not [9f, eb]")]
    NotBtf(Vec<u8>),
    /// The BTF is of a big-endian machine. tracetui supports only little-endian ones.
    #[error("big-endian BTF is not supported")]
    BigEndian,
    #[error("unsupported BTF version {0}: expected 1")]
    Version(u8),
    #[error("damaged BTF: header length {0} is too small")]
    Header(u32),
    #[error("damaged BTF: the {part} ends at byte {end}, but the file has {have} bytes")]
    Truncated {
        part: &'static str,
        /// The end of the part, in bytes from the start of the file.
        end: u64,
        have: usize,
    },
    #[error("damaged BTF: the string section does not start and end with a NUL byte")]
    Strings,
    /// A type's name is outside the strings. The BTF of a module looks like this, because it only extends the kernel's.
    #[error("the name of type {id} is outside the string section: damaged BTF, or the BTF of a module")]
    Name { id: u32 },
    /// A type has an unknown kind. Its length is unknown, so the following types cannot be found either.
    #[error("type {id} has the unknown kind {kind}: damaged BTF, or a newer kernel")]
    UnknownKind { id: u32, kind: u32 },
}

/// A reference to a type that does not exist, or a chain or nesting deeper than compilers produce.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("damaged BTF entry")]
pub struct Damaged;

pub struct Btf {
    data: Vec<u8>,
    strings: Range<usize>,
    index: TypeIndex,
    /// See [`Btf::structure`].
    structures: OnceLock<Vec<u32>>,
}

impl Btf {
    pub fn running() -> Result<Btf, BtfError> {
        let error = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => BtfError::NotInKernel,
            _ => BtfError::Read(error),
        };
        Btf::parse(read(Path::new(RUNNING)).map_err(error)?)
    }

    /// Reads a file of raw BTF: a copy of [`RUNNING`] from any machine.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Btf, BtfError> {
        Btf::parse(read(path.as_ref())?)
    }

    pub fn from_reader(reader: impl Read) -> Result<Btf, BtfError> {
        let mut data = Vec::new();
        reader.take(LARGEST as u64 + 1).read_to_end(&mut data)?;
        Btf::parse(data)
    }

    /// Parses BTF and checks the headers of all types. Makes one pass, and uses at most 8 bytes of memory per type.
    pub fn parse(data: Vec<u8>) -> Result<Btf, BtfError> {
        check_magic(&data)?;
        let header = header_len(&data)?;
        let types = section("type section", &data, header, 8)?;
        let strings = section("string section", &data, header, 16)?;
        if !matches!(data[strings.clone()], [0] | [0, .., 0]) {
            return Err(BtfError::Strings);
        }
        let index = TypeIndex::new(&data, types, strings.len())?;
        Ok(Btf { index, data, strings, structures: OnceLock::new() })
    }

    /// The number of types including `void`. All ids are below it.
    pub fn len(&self) -> usize {
        self.index.starts.len()
    }

    /// Whether there is no type except `void`.
    pub fn is_empty(&self) -> bool {
        self.len() <= 1
    }

    /// The id of the function `name`. Such a function can still be inlined or not traceable. The search reads the names
    /// of all functions. [`Btf::funcs`] finds ten in the same time.
    pub fn func(&self, name: &str) -> Option<u32> {
        self.funcs(&[name])[0]
    }

    pub fn funcs(&self, names: &[&str]) -> Vec<Option<u32>> {
        self.first_of(NamedKind::Funcs, names)
    }

    /// The name of a type. `None` if it has none, or does not exist. Longer names are cut to 512 bytes.
    pub fn name_of(&self, id: u32) -> Option<&[u8]> {
        self.get(id).map(|ty| self.string(ty.name)).filter(|name| !name.is_empty())
    }

    /// The ids of the typedefs of tracepoints, one per element of `names`. Programs with typed arguments attach to them.
    pub fn tracepoints(&self, names: &[&str]) -> Vec<Option<u32>> {
        let typedefs: Vec<String> = names.iter().map(|name| format!("btf_trace_{name}")).collect();
        self.first_of(NamedKind::Typedefs, &typedefs.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Each tracepoint `X` has the typedef `btf_trace_X`.
    pub fn typedef(&self, name: &str) -> Option<u32> {
        self.first_of(NamedKind::Typedefs, &[name])[0]
    }

    /// The number of arguments that the tracepoint `name` passes. `None` if the kernel does not have it.
    ///
    /// `btf_trace_<name>` is a pointer to a function. The first argument of this function is the private data of the
    /// attached probe.
    pub fn tracepoint_args(&self, name: &str) -> Option<usize> {
        let typedef = self.typedef(&format!("btf_trace_{name}"))?;
        let pointer = self.get(self.peel(typedef).ok()?).filter(|t| t.kind == TypeKind::Ptr)?;
        let proto = self.get(self.peel(pointer.word).ok()?).filter(|t| t.kind == TypeKind::FuncProto)?;
        proto.count.checked_sub(1)
    }

    /// The value of an enumerator, in the first enumeration that contains it, including anonymous ones.
    pub fn enumerator(&self, name: &str) -> Option<i64> {
        self.enumerators(&[name])[0]
    }

    pub fn enumerators(&self, names: &[&str]) -> Vec<Option<i64>> {
        let mut found = vec![None; names.len()];
        self.each_enumerator(names, |wanted, _, ty, index| {
            found[wanted].get_or_insert_with(|| self.enumerator_value(ty, index));
        });
        found
    }

    /// The size in bytes of a value of type `id`; `None` if the type has no size or the BTF is damaged.
    pub fn size_of(&self, id: u32) -> Option<u32> {
        let (mut id, mut elements) = (id, 1u32);
        for _ in 0..LONGEST_CHAIN {
            id = self.peel(id).ok()?;
            let ty = self.get(id)?;
            match ty.kind {
                TypeKind::Array => {
                    elements = elements.checked_mul(self.word(ty.tail + 8))?;
                    id = self.word(ty.tail);
                }
                TypeKind::Ptr => return elements.checked_mul(8),
                TypeKind::Int
                | TypeKind::Struct
                | TypeKind::Union
                | TypeKind::Enum
                | TypeKind::Enum64
                | TypeKind::Float => {
                    return elements.checked_mul(ty.word);
                }
                _ => return None,
            }
        }
        None
    }

    /// The pointers to functions in the member `data` of a structure: their offsets in the structure in bytes, and their names.
    pub fn callbacks(&self, structure_id: u32) -> Vec<(u32, &[u8])> {
        let members = |ty: BtfType| (0..ty.count).map(move |index| self.member(ty, index));
        let of = |id: u32| self.get(self.peel(id).ok()?);
        let structure = |id: u32| of(id).filter(|ty| ty.kind == TypeKind::Struct);
        let is_function = |member: &Member| {
            let pointer = of(member.ty).filter(|ty| ty.kind == TypeKind::Ptr);
            pointer.and_then(|pointer| of(pointer.word)).is_some_and(|ty| ty.kind == TypeKind::FuncProto)
        };
        let mut data = structure(structure_id).into_iter().flat_map(members);
        let Some(data) = data.find(|member| self.is_named(member.name, "data")) else { return Vec::new() };
        let table = structure(data.ty).into_iter().flat_map(members).filter(is_function);
        table.map(|member| ((data.bit_offset + member.bit_offset) / 8, self.string(member.name))).collect()
    }

    /// The largest `struct` or `union` of a name, the first of equal ones. A kernel may have several structures of one
    /// name (in headers of drivers), and the core's are the large ones. Forward declarations have another kind.
    /// The first call sorts all structures by their names.
    pub fn structure(&self, name: &str) -> Option<u32> {
        let sorted = self.structures.get_or_init(|| {
            let mut ids = self.index.groups[NamedKind::Structures as usize].clone();
            ids.sort_by_cached_key(|id| (self.name_of(*id), Reverse(self.get(*id).map(|ty| ty.word))));
            ids
        });
        let first = sorted.partition_point(|id| self.name_of(*id) < Some(name.as_bytes()));
        sorted.get(first).copied().filter(|id| self.name_of(*id) == Some(name.as_bytes()))
    }

    fn first_of(&self, group: NamedKind, names: &[&str]) -> Vec<Option<u32>> {
        let mut found = vec![None; names.len()];
        let names = StringTable::new(names);
        for (id, ty) in self.group(group) {
            names.find(self.strings(), ty.name, |index| _ = found[index].get_or_insert(id));
        }
        found
    }

    /// Calls `hit(index of the name, id of the enumeration, the enumeration, index in it)` for each enumerator that has one of the
    /// names.
    fn each_enumerator(&self, names: &[&str], mut hit: impl FnMut(usize, u32, BtfType, usize)) {
        let names = StringTable::new(names);
        for (id, ty) in self.group(NamedKind::Enums) {
            for index in 0..ty.count {
                let name = self.word(enumerator_at(ty, index));
                names.find(self.strings(), name, |wanted| hit(wanted, id, ty, index));
            }
        }
    }

    fn enumerator_value(&self, ty: BtfType, index: usize) -> i64 {
        let at = enumerator_at(ty, index);
        let low = self.word(at + 4);
        match (ty.kind, ty.flag) {
            (TypeKind::Enum64, _) => (u64::from(self.word(at + 8)) << 32 | u64::from(low)).cast_signed(),
            (_, true) => i64::from(low.cast_signed()),
            (_, false) => i64::from(low),
        }
    }

    fn group(&self, group: NamedKind) -> impl Iterator<Item = (u32, BtfType)> {
        self.index.groups[group as usize].iter().filter_map(|id| Some((*id, self.get(*id)?)))
    }

    /// The type `id`; `None` for `void` and for ids that do not exist.
    fn get(&self, id: u32) -> Option<BtfType> {
        let at = *self.index.starts.get(id as usize).filter(|_| id != 0)?;
        Some(BtfType::at(&self.data, at as usize))
    }

    /// The id of the type behind typedefs and qualifiers; 0 is `void`.
    fn peel(&self, mut id: u32) -> Result<u32, Damaged> {
        for _ in 0..LONGEST_CHAIN {
            match self.get(id) {
                Some(ty) if ty.kind.is_modifier() => id = ty.word,
                Some(_) => return Ok(id),
                None if id == 0 => return Ok(0),
                None => break,
            }
        }
        Err(Damaged)
    }

    /// Member `index` (below `ty.count`) of the structure `ty`.
    fn member(&self, ty: BtfType, index: usize) -> Member {
        let at = ty.tail + 12 * index;
        let place = self.word(at + 8);
        // With the flag set, the top byte is the width of a bitfield (0: not a bitfield).
        let (bit_offset, width) = if ty.flag { (place & 0xff_ffff, (place >> 24) as u8) } else { (place, 0) };
        Member { name: self.word(at), ty: self.word(at + 4), bit_offset, width: (width != 0).then_some(width) }
    }

    /// Whether the string at `offset` is `name`. `false` if the offset is outside of the strings.
    fn is_named(&self, offset: u32, name: &str) -> bool {
        let rest = self.strings().get(offset as usize..).and_then(|rest| rest.strip_prefix(name.as_bytes()));
        rest.is_some_and(|rest| rest.first() == Some(&0))
    }

    /// The string at `offset` without its NUL, truncated to [`LONGEST_NAME`].
    fn string(&self, offset: u32) -> &[u8] {
        let rest = self.strings().get(offset as usize..).unwrap_or_default();
        let rest = &rest[..rest.len().min(LONGEST_NAME)];
        rest.split(|byte| *byte == 0).next().unwrap_or_default()
    }

    fn strings(&self) -> &[u8] {
        &self.data[self.strings.clone()]
    }

    fn word(&self, at: usize) -> u32 {
        word(&self.data, at)
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let expected = file.metadata()?.len().min(LARGEST as u64) as usize;
    let mut data = Vec::with_capacity(expected + 1);
    // Reads one byte more than allowed, to detect a file that is too large even if it reports no size (a device).
    file.take(LARGEST as u64 + 1).read_to_end(&mut data)?;
    Ok(data)
}
