//! How both runs used a file that each found: reading, writing, creating it, and the mode of a new file.

use super::uses::{Did, HAS_MODE, did};

const ACCESS: u8 = did::READS | did::WRITES;
pub(super) const ORIGIN: u8 = did::CREATED | did::EXISTED;

/// The parts of two uses that differ; `None` if they are the same.
pub(super) fn apart(a: Did, b: Did) -> Option<[Did; 2]> {
    let created = (a.bits | b.bits) & ORIGIN == ORIGIN && a.bits & ORIGIN != ORIGIN && b.bits & ORIGIN != ORIGIN;
    let bits = if (a.bits ^ b.bits) & ACCESS != 0 { ACCESS } else { 0 } | if created { ORIGIN } else { 0 };
    let mode = if a.mode & b.mode & HAS_MODE != 0 && a.mode != b.mode { u16::MAX } else { 0 };
    let part = |of: Did| Did { bits: of.bits & bits, errno: 0, mode: of.mode & mode };
    (bits != 0 || mode != 0).then(|| [a, b].map(part))
}

/// One of the two parts as words.
pub(super) fn describe(this: Did, other: Did) -> Vec<u8> {
    let differs = |bits: u8| (this.bits | other.bits) & bits != 0;
    let mut words = Vec::new();
    if differs(ACCESS) {
        let access = match this.bits & ACCESS {
            0 => "opened with O_PATH",
            did::READS => "opened for reading",
            did::WRITES => "opened for writing",
            _ => "opened for reading and writing",
        };
        words.push(access.to_owned());
    }
    if differs(ORIGIN) {
        words.push(if this.has(did::CREATED) { "created" } else { "existed" }.to_owned());
    }
    if this.mode != 0 {
        words.push(format!("mode {:04o}", this.mode & !HAS_MODE));
    }
    words.join(", ").into_bytes()
}
