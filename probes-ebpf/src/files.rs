//! Open files: from a descriptor to `struct file`, and what is asked of one.

use crate::path::{Place, SCRATCH, Walk};
use crate::read::{any, casts, has, ld, offset, rd, read_kernel, typed, typed_as};
use tracetui_shared::offsets::{Field, Type};

/// Bytes of a file that one read takes when path and flags lie close enough.
const FILE: usize = 64;
const _: () = assert!(FILE <= SCRATCH);

/// What is asked of an open file.
#[derive(Clone, Copy)]
pub struct FileView {
    /// `f_path`.
    pub path: Place,
    /// `f_flags`.
    pub flags: u32,
}

/// Reads path and flags of `struct file` at any address: one helper call where they lie close together, as everywhere.
#[inline(always)]
pub unsafe fn view_file(file: u64, w: *mut Walk) -> FileView {
    let (path, flags) = (offset(Field::FilePath), offset(Field::FileFlags));
    let (mnt, dentry) = (path + offset(Field::PathMnt), path + offset(Field::PathDentry));
    let low = if path < flags { path } else { flags };
    // SAFETY: `w` is ours; the distances are constants to the verifier, which checks them against the scratch.
    unsafe {
        if casts() {
            let file = typed_as(file, Type::File);
            return FileView {
                path: Place { mnt: typed(file, mnt), dentry: typed(file, dentry) },
                flags: typed(file, flags),
            };
        }
        let bytes = Walk::scratch(w);
        if mnt - low <= FILE as u64 - 8 && dentry - low <= FILE as u64 - 8 && flags - low <= FILE as u64 - 4 {
            read_kernel(bytes, FILE as u64, file.wrapping_add(low));
            let place = Place { mnt: typed(bytes as u64, mnt - low), dentry: typed(bytes as u64, dentry - low) };
            return FileView { path: place, flags: typed(bytes as u64, flags - low) };
        }
        let place = Place { mnt: rd(file.wrapping_add(mnt)), dentry: rd(file.wrapping_add(dentry)) };
        FileView { path: place, flags: rd(file.wrapping_add(flags)) }
    }
}

/// Whether a file is referred to more than once. One that was just opened is not, unless another thread was at its
/// descriptor already: then it may as well have been put there from elsewhere.
#[inline(always)]
pub unsafe fn is_shared(file: u64) -> bool {
    // SAFETY: cast pointers may be loaded from, and helpers fail softly. `f_ref` (6.13) counts from 0, `f_count` from 1.
    unsafe {
        if has(Field::FileRef) {
            any::<u64>(file, Type::File, offset(Field::FileRef)) != 0
        } else {
            has(Field::FileCount) && any::<u64>(file, Type::File, offset(Field::FileCount)) > 1
        }
    }
}

/// The file behind a descriptor of the current task; 0 when there is none.
#[inline(always)]
pub unsafe fn file_at(task: u64, fd: u64) -> u64 {
    // SAFETY: see `slot_of`.
    unsafe { at_slot(slot_of(task, fd)) }
}

/// Whether a descriptor may be one that the current call just made: there is a file that nothing else refers to.
#[inline(always)]
pub unsafe fn is_fresh(task: u64, fd: i64) -> bool {
    if fd < 0 {
        return false;
    }
    // SAFETY: see `slot_of`.
    unsafe {
        let file = file_at(task, fd as u64);
        file != 0 && !is_shared(file)
    }
}

/// Where the descriptor table of the current task holds the file of a descriptor; 0 beyond its end.
#[inline(always)]
pub unsafe fn slot_of(task: u64, fd: u64) -> u64 {
    // SAFETY: `task` is the current task, typed where the kernel can.
    unsafe {
        let table: u64 = ld(ld(task, Field::TaskFiles), Field::FilesFdt);
        if fd >= u64::from(ld::<u32>(table, Field::FdtableMaxFds)) {
            return 0;
        }
        let slots: u64 = ld(table, Field::FdtableFd);
        slots.wrapping_add(fd << 3)
    }
}

/// The file at a place of a descriptor table; 0 when there is none.
#[inline(always)]
pub unsafe fn at_slot(slot: u64) -> u64 {
    if slot == 0 {
        return 0;
    }
    // SAFETY: loads through cast pointers and by helpers fail softly. Any structure that starts with a pointer will do for
    // the cast.
    unsafe { any(slot, Type::Path, offset(Field::PathMnt)) }
}
