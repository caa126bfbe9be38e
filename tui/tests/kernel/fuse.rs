//! A FUSE server with one file, which answers every ioctl(2) with success
//! ([include/uapi/linux/fuse.h](https://elixir.bootlin.com/linux/v6.12/source/include/uapi/linux/fuse.h)).

use crate::sys;
use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};

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
    let server = sys::fork(|| answer_all(device));
    let file = sys::owned(sys::open_path(&format!("{place}/file")));
    Some(Served { file, server })
}

fn answer_all(mut device: File) {
    const LOOKUP: u32 = 1;
    const FORGET: u32 = 2;
    const GETATTR: u32 = 3;
    const OPEN: u32 = 14;
    const RELEASE: u32 = 18;
    const FLUSH: u32 = 25;
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
            FORGET | BATCH_FORGET => continue,
            // `struct fuse_init_out`: the version, 7.31, and the longest write at 20.
            INIT => (0, words(16, &[(0, 7), (1, 31), (5, 1 << 16)])),
            // `struct fuse_entry_out`: the inode, and its attributes at 40.
            LOOKUP => (0, words(32, &[(0, 2), (10, 2), (25, libc::S_IFREG | 0o666), (26, 1)])),
            // `struct fuse_attr_out`: the attributes at 16, and in these the mode at 60.
            GETATTR => {
                let kind = if word(16) == 1 { libc::S_IFDIR | 0o755 } else { libc::S_IFREG | 0o666 };
                (0, words(26, &[(4, word(16)), (19, kind), (20, 1)]))
            }
            OPEN | IOCTL => (0, words(4, &[])),
            FLUSH | RELEASE => (0, vec![]),
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
