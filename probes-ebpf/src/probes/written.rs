//! `file`, operation `write`: the last reference to a file that was open for writing goes away, and the file has changed since it was opened.

use crate::arch::native_abi;
use crate::capture;
use crate::context::{self, Context};
use crate::emit::{Event, Frame, count_dropped, is_own};
use crate::functions::in_pieces;
use crate::maps::per_cpu;
use crate::path::{self, NAME_SLACK, NAMES_MAX, Place, Walk};
use crate::read::{any, ld};
use crate::task::{Who, current};
use aya_ebpf::macros::{fexit, map};
use aya_ebpf::maps::HashMap;
use aya_ebpf::programs::FExitContext;
use tracetui_shared::counters::Reason;
use tracetui_shared::kind::{Kind, Slot};
use tracetui_shared::offsets::{field, sum};
use tracetui_shared::record::file::{FileRecord, WRITTEN, start};

/// Highest offset in the buffer at which a name may start.
const MASK: u64 = NAMES_MAX - 1;
// Of `file.f_mode` (include/linux/fs.h).
const FMODE_READ: u32 = 1;
const FMODE_WRITE: u32 = 2;
/// `FMODE_NOACCOUNT`: a file that a file system opened for itself, as overlayfs does below each of its own.
const FMODE_INTERNAL: u32 = 1 << 29;
/// The type of a file in its mode, and that of a regular one (include/uapi/linux/stat.h).
const S_IFMT: u16 = 0o17_0000;
const S_IFREG: u16 = 0o10_0000;

/// The buffers in which a record is assembled.
#[repr(C)]
struct WrittenScratch {
    frame: Frame<FileRecord>,
    buf: [u8; NAMES_MAX as usize + NAME_SLACK],
    walk: Walk,
}

per_cpu! {
    /// Records of `file_closed`.
    WRITTEN_SCRATCH: WrittenScratch;
}

in_pieces! {
    /// Walks from a file that was closed.
    closed_walk, closed_walk_pieces, closed_walk_piece: path::climb::<_, MASK>(&WRITTEN_SCRATCH, |s| (&mut s.walk, s.buf.as_mut_ptr()))
}

/// What a file was like.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
struct State {
    size: u64,
    /// The time of the last change of its content.
    changed: u64,
    changed_ns: u64,
}

impl State {
    #[inline(always)]
    fn of(inode: u64) -> State {
        let changed_ns = any::<u32>(inode, field::InodeMtimeNs).into();
        State { size: any(inode, field::InodeSize), changed: any(inode, field::InodeMtime), changed_ns }
    }
}

/// A file that is open for writing.
#[repr(C)]
#[derive(Clone, Copy)]
struct Writer {
    /// Its inode. An open that fails after [`file_opened`] leaves an entry until [`file_freed`].
    inode: u64,
    state: State,
    /// Whether the capture filter passes the events of the process that opened it. One that ends is in no tree any more when its files
    /// are closed.
    wanted: u64,
    /// The root and the first mount of the process that opened it. A process that ends has none any more when its files are closed.
    root_mnt: u64,
    root_dentry: u64,
    top: u64,
}

/// The regular files that are open for writing, by the address of `struct file`.
#[map]
static WRITERS: HashMap<u64, Writer> = HashMap::with_max_entries(16_384, 0);

/// Return or entry of `int security_file_open(struct file *file)`
/// ([`security_file_open`](https://elixir.bootlin.com/linux/v6.12/source/security/security.c)), which every open calls before it truncates
/// the file.
#[fexit]
#[inline(always)]
pub fn file_opened(ctx: FExitContext) -> i32 {
    let file = subject(Context::of(&ctx));
    let inode = written_by(file);
    if inode == 0 {
        return 0;
    }
    let who = Who::of(current());
    let root = path::root_of(ld(who.task, field::TaskFs));
    let writer = Writer {
        inode,
        state: State::of(inode),
        wanted: (!is_own(&who) && capture::wanted(Kind::File, &who, false)).into(),
        root_mnt: root.mnt,
        root_dentry: root.dentry,
        top: path::top_of(who.task),
    };
    if WRITERS.insert(file, writer, 0).is_err() {
        count_dropped(Slot::FileWritten, Reason::NoRoom, 1);
    }
    0
}

/// Return or entry of `void locks_remove_file(struct file *filp)`
/// ([`__fput`](https://elixir.bootlin.com/linux/v6.12/source/fs/file_table.c)), which the end of the last reference to a file calls, while its
/// path is whole.
#[fexit]
#[inline(always)]
pub fn file_closed(ctx: FExitContext) -> i32 {
    let file = subject(Context::of(&ctx));
    let inode = written_by(file);
    if inode != 0 {
        closed(file, inode);
    }
    0
}

/// Return or entry of `void security_file_free(struct file *file)`
/// ([`file_free`](https://elixir.bootlin.com/linux/v6.12/source/fs/file_table.c)), which also frees a file whose open failed.
#[fexit]
#[inline(always)]
pub fn file_freed(ctx: FExitContext) -> i32 {
    let file = subject(Context::of(&ctx));
    if any::<u32>(file, field::FileMode) & FMODE_WRITE != 0 {
        let _ = WRITERS.remove(file);
    }
    0
}

/// Reports the end of a file if it has changed.
#[inline(always)]
fn closed(file: u64, inode: u64) {
    let Some(writer) = WRITERS.get_ptr(file) else { return };
    // SAFETY: the verifier checks the load.
    let Writer { inode: opened, state, wanted, root_mnt, root_dentry, top } = unsafe { *writer };
    let _ = WRITERS.remove(file);
    if opened != inode {
        return;
    }
    let now = State::of(inode);
    // A time has the granularity of the file system: a write soon after the previous change may leave it as it was.
    let moved = any::<u32>(file, field::FileMode) & FMODE_READ == 0 && any::<u64>(file, field::FilePos) != 0;
    if now == state && !moved {
        return;
    }
    let who = Who::of(current());
    let event = match wanted {
        0 => Event::begin(Slot::FileWritten, Context::NONE, &who, false),
        _ => Event::decided(Slot::FileWritten, true),
    };
    let Some(event) = event else { return };
    let Some(s) = event.place(&WRITTEN_SCRATCH) else { return };
    event.head(&mut s.frame.header, &who);
    let from = Place { mnt: any(file, sum::FileMnt), dentry: any(file, sum::FileDentry) };
    let root = Place { mnt: root_mnt, dentry: root_dentry };
    let names = path::walk::<MASK>(&mut s.walk, 0, from, root, top, closed_walk);
    s.frame.record = FileRecord {
        values: [now.size, state.size],
        ret: 0,
        euid: ld(who.cred, field::CredEuid),
        flags: 0,
        dirfds: [-1; 2],
        op: WRITTEN,
        abi: native_abi(),
        starts: start::FILE,
        dir_marks: [names.marks, 0],
        text_marks: [0; 3],
        dir_lens: [names.end as u16, 0],
        text_lens: [0; 3],
        reserved: [0; 2],
    };
    const FIXED: u64 = size_of::<Frame<FileRecord>>() as u64;
    event.send(&mut s.frame.header, FIXED + names.end, FIXED + NAMES_MAX);
}

/// The file that the function is called for.
#[inline(always)]
fn subject(ctx: Context) -> u64 {
    if context::is_typed() { ctx.argument::<0>() } else { ctx.first_argument() }
}

/// The inode of a regular file that is open for writing; 0 for another file.
#[inline(always)]
fn written_by(file: u64) -> u64 {
    if any::<u32>(file, field::FileMode) & (FMODE_WRITE | FMODE_INTERNAL) != FMODE_WRITE {
        return 0;
    }
    let inode: u64 = any(any::<u64>(file, sum::FileDentry), field::DentryInode);
    if any::<u16>(inode, field::InodeMode) & S_IFMT == S_IFREG { inode } else { 0 }
}
