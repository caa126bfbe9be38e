//! A closed recording and the names of its objects.

use ring::digest::{Context, SHA256};
use rustix::fs::{FileType, fstat};
use std::ffi::OsString;
use std::fs::File;
use std::io;
use tracetui_events::recording::block::FileHeader;
use tracetui_events::recording::file::RecordingFile;
use tracetui_events::text::json::hex_text;
use tracetui_events::text::time::utc;

/// The latest time that a name can have: the last second of 9999.
const LAST_S: i64 = 253_402_300_799;

/// The most bytes of a recording. It takes minutes to read so many.
pub(crate) const MOST: u64 = 64 << 30;

/// Bytes of a host's name in the name of an object.
const HOST_MOST: usize = 64;

/// The evidence that a file is the same one as before.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Identity {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) bytes: u64,
    /// When its contents changed last: seconds since 1970, and nanoseconds.
    pub(crate) modified: (i64, i64),
}

impl Identity {
    /// `None` if it is no regular file.
    pub(crate) fn of(file: &File) -> io::Result<Option<Identity>> {
        let stat = fstat(file)?;
        let regular = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile;
        Ok(regular.then(|| Identity {
            device: stat.st_dev,
            inode: stat.st_ino,
            bytes: u64::try_from(stat.st_size).unwrap_or_default(),
            modified: (stat.st_mtime, stat.st_mtime_nsec as i64),
        }))
    }
}

/// A file of the spool that nobody is writing.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) name: OsString,
    pub(crate) identity: Identity,
    pub(crate) header: FileHeader,
    /// The trace: 16 hex digits.
    pub(crate) trace: String,
    /// The number of the part in its trace, from 0.
    pub(crate) number: u32,
}

impl Part {
    pub(crate) fn new(name: OsString, identity: Identity, header: FileHeader) -> Part {
        let (trace, number) =
            header.part().map_or_else(|| (id_start(&header), 0), |(run, part)| (hex_text(&run), part));
        Part { name, identity, header, trace, number }
    }

    /// When it was begun, in seconds since 1970.
    pub(crate) fn created_s(&self) -> i64 {
        self.header.created_ns.div_euclid(1_000_000_000).clamp(0, LAST_S)
    }

    /// What identifies its contents: id, size, and the start of its SHA-256. A CRC would not do: blocks end in theirs, so that other
    /// contents can have the same sum.
    pub(crate) fn source(&self, recording: &RecordingFile) -> io::Result<String> {
        let (mut hasher, mut buffer, mut at) = (Context::new(&SHA256), vec![0; 1 << 16], 0);
        while at < self.identity.bytes {
            let most = usize::try_from(self.identity.bytes - at).unwrap_or(usize::MAX).min(buffer.len());
            let piece = buffer.get_mut(..most).unwrap_or_default();
            match recording.read_at(at, piece)? {
                0 => break,
                read => {
                    hasher.update(piece.get(..read).unwrap_or_default());
                    at += read as u64;
                }
            }
        }
        let sum = hasher.finish();
        Ok(format!(
            "{}/{}/{}",
            hex_text(&self.header.id),
            self.identity.bytes,
            hex_text(sum.as_ref().get(..16).unwrap_or_default())
        ))
    }
}

fn id_start(header: &FileHeader) -> String {
    hex_text(header.id.get(..8).unwrap_or_default())
}

/// The directory of an hour: `dt=2026-11-23/hour=18`.
pub(crate) fn hour_of(created_s: i64) -> String {
    let text = utc(i128::from(created_s.clamp(0, LAST_S)) * 1_000_000_000);
    let (day, hour) = (text.get(..10).unwrap_or_default(), text.get(11..13).unwrap_or_default());
    format!("dt={day}/hour={hour}")
}

/// The start of the names of a trace's objects: `HOST-BOOT-TRACE`.
pub(crate) fn stem(host: &str, boot_id: &str, trace: &str) -> String {
    let boot: String = boot_id.chars().filter(char::is_ascii_hexdigit).take(8).collect();
    let boot = if boot.is_empty() { "0".to_owned() } else { boot.to_ascii_lowercase() };
    format!("{}-{boot}-{trace}", safe(host))
}

/// A host's name as part of an object's name: letters, digits, `.`, `_` and `-`.
fn safe(host: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let host: String = host.bytes().take(HOST_MOST).map(|b| if plain(b) { char::from(b) } else { '_' }).collect();
    if host.trim_matches('.').is_empty() { "unknown".to_owned() } else { host }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_objects_have_no_bytes_of_a_host_that_could_lead_elsewhere() {
        assert_eq!(safe("web-1.example"), "web-1.example");
        assert_eq!(safe("../../x y\n\u{e9}"), ".._.._x_y___");
        assert_eq!(safe(".."), "unknown");
        assert_eq!(stem("a", "0F3C-1d2e-77", "00ff"), "a-0f3c1d2e-00ff");
        assert_eq!(stem("a", "", "00ff"), "a-0-00ff");
        assert_eq!(hour_of(1_795_458_000), "dt=2026-11-23/hour=18");
        assert_eq!(hour_of(i64::MIN), "dt=1970-01-01/hour=00");
        assert_eq!(hour_of(i64::MAX), "dt=9999-12-31/hour=23");
    }
}
