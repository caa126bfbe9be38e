//! Reads from a disk that fails in places. Unreadable bytes are read as zeros, which are never a block.

use super::block::Damage;
use super::holes::{Hole, Holes};
use rustix::io::Errno;
use std::io::{self, ErrorKind};
use std::sync::{Arc, Mutex, PoisonError};

/// The size of the pieces that are tried separately after a failed read: the unit in which the kernel reads.
const PAGE: u64 = 4096;

/// The parts that the disk could not read. Clones share the list.
#[derive(Clone, Debug, Default)]
pub struct Unreadable(Arc<Mutex<Holes>>);

impl Unreadable {
    /// The unreadable parts so far, in the order of the reads.
    pub fn holes(&self) -> Holes {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn add(&self, offset: u64, bytes: u64) {
        let mut holes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match holes.first.last_mut().filter(|last| last.offset + last.bytes == offset) {
            Some(last) => last.bytes += bytes,
            None => holes.add(Hole { offset, bytes, why: Damage::Disk, frames: true }),
        }
    }
}

/// Reads as many bytes as there are. Unreadable parts become zeros, and their offset and length in bytes are passed to `bad`.
/// Any other error of `read`.
pub(super) fn read_at(
    mut read: impl FnMut(&mut [u8], u64) -> io::Result<usize>,
    at: u64,
    bytes: &mut [u8],
    bad: &mut dyn FnMut(u64, u64),
) -> io::Result<usize> {
    let (mut done, mut by_pages) = (0, false);
    while done < bytes.len() {
        let Some(here) = at.checked_add(done as u64).filter(|here| i64::try_from(*here).is_ok()) else {
            // The kernel refuses an offset this large, and no data can be there.
            break;
        };
        let page = usize::try_from(PAGE - here % PAGE).unwrap_or(usize::MAX);
        let left = bytes.get_mut(done..).unwrap_or_default();
        let piece = if by_pages { left.len().min(page) } else { left.len() };
        let piece = left.get_mut(..piece).unwrap_or_default();
        match read(piece, here) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if is_of_disk(&error) && piece.len() <= page => {
                piece.fill(0);
                bad(here, piece.len() as u64);
                done += piece.len();
            }
            Err(error) if is_of_disk(&error) => by_pages = true,
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Whether the disk failed to read this part but may be able to read others.
fn is_of_disk(error: &io::Error) -> bool {
    let errors = [Errno::IO, Errno::NODATA, Errno::ILSEQ, Errno::REMOTEIO, Errno::UCLEAN, Errno::BADMSG];
    errors.iter().any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(pages: u64, bad: &[u64]) -> impl FnMut(&mut [u8], u64) -> io::Result<usize> {
        move |bytes, at| {
            let end = (at + bytes.len() as u64).min(pages * PAGE);
            let first_bad = bad.iter().map(|page| page * PAGE).find(|start| start + PAGE > at).unwrap_or(u64::MAX);
            if first_bad <= at {
                return Err(Errno::IO.into());
            }
            let end = end.min(first_bad).max(at);
            (at..end).zip(bytes.iter_mut()).for_each(|(at, byte)| *byte = (at / PAGE) as u8 + 1);
            Ok((end - at) as usize)
        }
    }

    #[test]
    fn what_the_disk_cannot_read_is_passed_over_by_pages() {
        for (at, length) in [(0, 40_000), (5000, 30_000), (8192, 4096), (9000, 10), (12_288, 100_000), (36_000, 50)] {
            let (mut bytes, mut found) = (vec![9; length], Vec::new());
            let read = read_at(disk(10, &[2, 3, 7]), at, &mut bytes, &mut |offset, bytes| found.push((offset, bytes)));
            assert_eq!(read.expect("readable"), length.min((10 * PAGE - at) as usize), "{at}");
            let is_bad = |at: u64| [2, 3, 7].contains(&(at / PAGE));
            for (place, byte) in (at..10 * PAGE).zip(&bytes) {
                assert_eq!(*byte, if is_bad(place) { 0 } else { (place / PAGE) as u8 + 1 }, "{place} from {at}");
            }
            let bad = (at..10 * PAGE).take(length).filter(|place| is_bad(*place)).count() as u64;
            assert_eq!(found.iter().map(|(_, bytes)| bytes).sum::<u64>(), bad, "{found:?}");
        }
        // Another error ends the reading.
        let mut bytes = [0; 10];
        let error = read_at(|_, _| Err(Errno::ISDIR.into()), 0, &mut bytes, &mut |_, _| panic!("not bad"));
        assert_eq!(error.err().and_then(|error| error.raw_os_error()), Some(Errno::ISDIR.raw_os_error()));
        assert_eq!(read_at(disk(1, &[]), u64::MAX, &mut bytes, &mut |_, _| panic!("not bad")).ok(), Some(0));
    }
}
