//! A FUSE server with a file, which answers every ioctl(2) with success, and no read, and the directory `dir`
//! ([include/uapi/linux/fuse.h](https://elixir.bootlin.com/linux/v6.12/source/include/uapi/linux/fuse.h)).

use crate::prelude::*;
use std::io::{ErrorKind, PipeReader, PipeWriter};
use std::sync::Barrier;

/// The file, and the process that serves it. It ends with the mount, or with this.
pub(crate) struct Served {
    pub(crate) file: OwnedFd,
    server: i32,
}

impl Drop for Served {
    fn drop(&mut self) {
        sys::kill(self.server, libc::SIGKILL);
        sys::wait(self.server);
    }
}

/// Mounts the file system in the caller's own mount namespace; `None` without its device. The server is another
/// process, so that the caller remains without threads.
pub(crate) fn serve(place: &str) -> Option<Served> {
    let device = File::options().read(true).write(true).open("/dev/fuse").ok()?;
    let data = format!("fd={},rootmode=40000,user_id=0,group_id=0", device.as_raw_fd());
    sys::mount_with("fuse", place, "fuse", 0, &data);
    let server = fork(|| {
        sys::end_with_the_parent();
        answer_all(device);
    });
    let file = sys::owned(sys::open_path(&format!("{place}/file")));
    // The server knows no FLUSH. After the first one, the end of a process that inherited the file does not ask.
    drop(file.try_clone());
    Some(Served { file, server })
}

/// Locks the memory of this process for ever: a thread reads a page of the file by /proc/self/mem, which holds the lock for
/// reading, and then another thread waits for it to write. After that, no other reader gets the lock. Writes the ids of the
/// second thread, which waits for a byte, and of the first one.
pub(crate) fn lock_memory(served: &Served, mut tell: PipeWriter, mut go: PipeReader) {
    let len = sys::page();
    let map = move |fd| {
        let flags = if fd < 0 { libc::MAP_PRIVATE | libc::MAP_ANONYMOUS } else { libc::MAP_PRIVATE };
        // SAFETY: the kernel chooses the place of a new mapping.
        unsafe { libc::mmap(std::ptr::null_mut(), len, libc::PROT_READ, flags, fd, 0) }
    };
    let page = map(served.file.as_raw_fd()) as u64;
    let memory = File::open("/proc/self/mem").expect("our own");
    let mut tell_one = tell.try_clone().expect("a descriptor");
    // Nothing starts or ends while the memory is locked.
    let up = Arc::new(Barrier::new(2));
    let up_there = Arc::clone(&up);
    std::thread::spawn(move || {
        tell_one.write_all(&sys::tid().to_le_bytes()).expect("the test listens");
        up_there.wait();
        go.read_exact(&mut [0]).expect("the test tells");
        map(-1);
    });
    up.wait();
    std::thread::spawn(move || {
        tell.write_all(&sys::tid().to_le_bytes()).expect("the test listens");
        let _ = memory.read_at(&mut [0], page);
    });
    loop {
        // Nothing here may need memory.
        std::thread::park();
    }
}

/// Waits until a thread is in a system call with this number, and sleeps there.
pub(crate) fn wait_for_call(pid: i32, tid: i32, number: libc::c_long) {
    let calls = || fs::read_to_string(format!("/proc/{pid}/task/{tid}/syscall")).expect("it lives");
    while !calls().starts_with(&format!("{number} ")) {
        std::thread::yield_now();
    }
}

/// Makes the server answer nothing more. Returns a process that waits for it until it ends, whatever kills that process.
pub(crate) fn silence(place: &str) -> i32 {
    let path = format!("{place}/silence");
    let waits = fork(|| _ = sys::open_path(&path));
    wait_for_call(waits, waits, libc::SYS_openat);
    waits
}

fn answer_all(mut device: File) {
    const SIZE: u32 = 1 << 16;
    const LOOKUP: u32 = 1;
    const FORGET: u32 = 2;
    const GETATTR: u32 = 3;
    const OPEN: u32 = 14;
    const READ: u32 = 15;
    const RELEASE: u32 = 18;
    const INIT: u32 = 26;
    const IOCTL: u32 = 39;
    const BATCH_FORGET: u32 = 42;
    let mut request = vec![0; 1 << 17];
    loop {
        match device.read(&mut request) {
            Ok(1..) => {}
            Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::NotFound) => continue,
            // Unmounted.
            Ok(0) | Err(_) => return,
        }
        let word = |at: usize| u32::from_le_bytes(request[at..at + 4].try_into().expect("four bytes"));
        // `struct fuse_in_header`: the operation at 4, the number of the request at 8, the inode at 16.
        let (error, body) = match word(4) {
            FORGET | BATCH_FORGET | READ => continue,
            // `struct fuse_init_out`: the version, 7.31, at 8 how much is read ahead, at 12 that reads may wait, so that who
            // waits can be killed, and the longest write at 20.
            INIT => (0, words(16, &[(0, 7), (1, 31), (2, 1 << 16), (3, 1), (5, 1 << 16)])),
            LOOKUP if request[40..].starts_with(b"silence\0") => loop {
                // Requests that were read cannot be interrupted.
                let _ = device.read(&mut request);
            },
            // `struct fuse_entry_out`: the inode, and its attributes at 40.
            LOOKUP => {
                let is_dir = request[40..].starts_with(b"dir\0");
                let (inode, kind) = if is_dir { (3, libc::S_IFDIR | 0o755) } else { (2, libc::S_IFREG | 0o666) };
                (0, words(32, &[(0, inode), (10, inode), (12, SIZE), (25, kind), (26, 1)]))
            }
            // `struct fuse_attr_out`: the attributes at 16, and in these the size at 8 and the mode at 60.
            GETATTR => {
                let kind = if word(16) == 2 { libc::S_IFREG | 0o666 } else { libc::S_IFDIR | 0o755 };
                (0, words(26, &[(4, word(16)), (6, SIZE), (19, kind), (20, 1)]))
            }
            OPEN | IOCTL => (0, words(4, &[])),
            RELEASE => (0, vec![]),
            _ => (-libc::ENOSYS, vec![]),
        };
        let header = [&(16 + body.len() as u32).to_le_bytes()[..], &error.to_le_bytes(), &request[8..16]].concat();
        // The caller may have been killed meanwhile.
        let _ = device.write(&[header, body].concat());
    }
}

/// Words of 4 bytes, all 0 except for those at these places.
fn words(count: usize, set: &[(usize, u32)]) -> Vec<u8> {
    let value = |at| set.iter().find(|(place, _)| *place == at).map_or(0, |(_, value)| *value);
    (0..count).flat_map(|at| value(at).to_le_bytes()).collect()
}
