//! stdin, stdout and stderr of a new program, and its other descriptors.

use super::Components;
use super::describe::{Value, address};
use super::redact::{Redact, short};
use libc::{AF_UNIX, O_ACCMODE, O_APPEND, O_RDONLY, O_RDWR, S_IFCHR, S_IFIFO, S_IFMT, S_IFREG, S_IFSOCK};
use std::net::SocketAddr;
use tracetui_shared::record::exec::{Further, STDIO, Stdio, stdio};
use tracetui_shared::record::mark;
use zerocopy::{FromBytes, IntoBytes};

/// The type of the file behind a descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Type {
    File,
    Pipe,
    Tty,
    Socket,
    /// `/dev/null`, whatever its path.
    Null,
    Closed,
    /// A directory, a device, or a file that is only a descriptor.
    Other,
}

impl Type {
    /// The words of the field `type`.
    pub fn word(self) -> &'static str {
        match self {
            Type::File => "file",
            Type::Pipe => "pipe",
            Type::Tty => "tty",
            Type::Socket => "socket",
            Type::Null => "null",
            Type::Closed => "closed",
            Type::Other => "other",
        }
    }
}

/// A descriptor of a new program.
#[derive(Clone, Copy, Debug)]
pub struct Descriptor<'a> {
    record: Stdio,
    pub(super) names: Components<'a>,
    /// The lower descriptor that is the same open file.
    pub same: Option<usize>,
}

/// The records of the standard descriptors; none in recordings of earlier versions.
fn records(bytes: &[u8]) -> Option<[Stdio; STDIO]> {
    FromBytes::read_from_prefix(bytes).ok().map(|(records, _)| records)
}

/// The bytes of the names that these records state.
pub(crate) fn names_len(bytes: &[u8]) -> usize {
    records(bytes).map_or(0, |records| records.iter().map(|of| usize::from(of.names_len)).sum())
}

/// Each record with the names of its file.
fn with_names([records_of, names]: [&[u8]; 2]) -> Option<[(Stdio, &[u8]); STDIO]> {
    let mut rest = names;
    let mut all = records(records_of)?.map(|record| (record, &[][..]));
    for (record, names) in &mut all {
        (*names, rest) = rest.split_at_checked(record.names_len.into())?;
    }
    Some(all)
}

/// The records with redacted names, and these names.
pub(super) fn redacted(stdio: [&[u8]; 2], with: &mut Redact) -> (Vec<u8>, Vec<u8>) {
    let [records, names] = stdio;
    let (Some(all), mut redacted) = (with_names(stdio), Vec::new()) else { return (records.to_vec(), names.to_vec()) };
    let stated = all.map(|(record, names)| {
        let names = redacted_names(&record, names, with);
        redacted.extend_from_slice(&names);
        Stdio { names_len: names.len() as u16, ..record }
    });
    let rest = records.get(size_of_val(&stated)..).unwrap_or_default();
    ([stated.as_bytes(), rest].concat(), redacted)
}

/// The redacted names of a descriptor's file, or the redacted address of a socket's peer.
fn redacted_names(record: &Stdio, names: &[u8], with: &mut Redact) -> Vec<u8> {
    match is_socket(record) {
        true => short(with.of(names)),
        false => with.names_in(names, Components::new(names, record.names_marks)),
    }
}

fn is_socket(record: &Stdio) -> bool {
    u32::from(record.mode) & S_IFMT == S_IFSOCK
}

/// The other descriptors of a new program: records, each with the names of its file.
#[derive(Clone, Copy, Debug, Default)]
pub struct Others<'a>(pub(super) &'a [u8]);

impl<'a> Others<'a> {
    fn records(self) -> impl Iterator<Item = (Further, &'a [u8])> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let (record, after) = Further::read_from_prefix(rest).ok()?;
            let (names, after) = after.split_at_checked(record.file.names_len.into())?;
            rest = after;
            Some((record, names))
        })
    }

    /// Each with its number.
    pub fn each(self) -> impl Iterator<Item = (usize, Descriptor<'a>)> {
        // A descriptor without a file is reserved by another thread.
        let open = self.records().filter(|(record, _)| record.file.state == stdio::OPEN);
        open.map(|(record, names)| {
            let names = Components::new(names, record.file.names_marks);
            (record.number as usize, Descriptor { record: record.file, names, same: None })
        })
    }

    /// `3</etc/hosts`, and a NUL after each.
    pub(crate) fn area(self) -> Box<[u8]> {
        let mut out = Vec::new();
        for (number, of) in self.each() {
            out.extend_from_slice(of.operator(number).as_bytes());
            of.write(&mut out);
            out.push(0);
        }
        out.into()
    }

    pub(super) fn redacted(self, with: &mut Redact) -> Vec<u8> {
        let mut out = Vec::new();
        for (record, names) in self.records() {
            let names = redacted_names(&record.file, names, with);
            let file = Stdio { names_len: names.len() as u16, ..record.file };
            out.extend_from_slice(Further { file, ..record }.as_bytes());
            out.extend_from_slice(&names);
        }
        out
    }
}

/// stdin (0), stdout (1) or stderr (2), given their records and the names after these. `None` if it is unknown.
pub(super) fn descriptor(parts: [&[u8]; 2], number: usize) -> Option<Descriptor<'_>> {
    let all = with_names(parts)?;
    let of = |number: usize, same: Option<usize>| {
        let (record, names) = *all.get(number)?;
        let known = matches!(record.state, stdio::CLOSED | stdio::OPEN);
        known.then(|| Descriptor { record, names: Components::new(names, record.names_marks), same })
    };
    match all.get(number)?.0.state.checked_sub(stdio::SAME).map(usize::from) {
        None => of(number, None),
        Some(same) if same < number => of(same, Some(same)),
        Some(_) => None,
    }
}

/// Major numbers of terminals: pseudo-terminals (2, 3, 136 to 143), virtual and serial ones (4, 5, and those of USB, ARM and
/// hypervisors), from Documentation/admin-guide/devices.txt.
const TTYS: [u32; 16] = [2, 3, 4, 5, 136, 137, 138, 139, 140, 141, 142, 143, 166, 188, 204, 229];
/// `/dev/null`: 1:3.
const NULL: u32 = 1 << 20 | 3;

impl<'a> Descriptor<'a> {
    pub fn kind(&self) -> Type {
        match u32::from(self.record.mode) & S_IFMT {
            _ if self.record.state == stdio::CLOSED => Type::Closed,
            S_IFREG => Type::File,
            S_IFIFO => Type::Pipe,
            S_IFSOCK => Type::Socket,
            S_IFCHR if self.record.device == NULL => Type::Null,
            S_IFCHR if TTYS.contains(&(self.record.device >> 20)) => Type::Tty,
            _ => Type::Other,
        }
    }

    /// The path, if the file has one.
    pub fn path(&self) -> Option<Components<'a>> {
        Some(self.names).filter(|names| names.is_known() && !self.is_unnamed())
    }

    /// Whether the file has no path: a socket, or a pipe that is not a FIFO.
    fn is_unnamed(&self) -> bool {
        let pseudo = self.names.marks & mark::PSEUDO != 0;
        matches!(self.kind(), Type::Socket | Type::Closed) || self.kind() == Type::Pipe && pseudo
    }

    /// The inode of a pipe or a socket.
    pub fn ino(&self) -> Option<u64> {
        matches!(self.kind(), Type::Pipe | Type::Socket).then_some(self.record.ino)
    }

    /// The address of the peer of a Unix socket: the sort, and a path or the name of an abstract socket (unix(7)).
    pub fn unix_peer(&self) -> Option<(&'static str, &'a [u8])> {
        match self.names.bytes {
            _ if self.kind() != Type::Socket || i32::from(self.record.family) != AF_UNIX => None,
            [0, name @ ..] => Some(("abstract", name)),
            [] => None,
            path => Some(("unix", path.split(|byte| *byte == 0).next().unwrap_or_default())),
        }
    }

    /// The inode of the peer of a Unix socket.
    pub fn peer_ino(&self) -> Option<u64> {
        let of_unix = self.kind() == Type::Socket && i32::from(self.record.family) == AF_UNIX;
        let [ino, _]: [u64; 2] = zerocopy::transmute!(self.record.address);
        (of_unix && ino != 0).then_some(ino)
    }

    /// The path, or what a descriptor without one leads to.
    pub fn write(&self, out: &mut Vec<u8>) {
        let unix = self.unix_peer();
        match (self.path(), self.peer(), self.kind()) {
            (Some(path), ..) => path.write(out),
            (_, Some(peer), _) => out.extend_from_slice(format!("socket {peer}").as_bytes()),
            (_, _, Type::Socket) if unix.is_some() => {
                let (sort, address) = unix.unwrap_or_default();
                out.extend_from_slice(&[b"socket ", sort.as_bytes(), b":"].concat());
                // An abstract address may contain NUL, which ends an entry of the list.
                out.extend(address.iter().map(|byte| if *byte == 0 { b'@' } else { *byte }));
            }
            (_, _, kind) => {
                out.extend_from_slice(kind.word().as_bytes());
                if let Some(ino) = self.ino() {
                    out.extend_from_slice(format!(":[{ino}]").as_bytes());
                }
            }
        }
    }

    /// The peer of an IP socket.
    pub fn peer(&self) -> Option<SocketAddr> {
        let is_socket = self.kind() == Type::Socket && self.record.port != 0;
        let address = address(self.record.family, self.record.address).filter(|_| is_socket)?;
        Some(SocketAddr::new(address.to_canonical(), self.record.port))
    }

    /// The operator with which a shell opens the file for the descriptor `number`: `<`, `>>`, `2>`.
    pub fn operator(&self, number: usize) -> String {
        let (flags, input) = (i32::from(self.record.flags), number == 0);
        let (operator, plain) = match flags & O_ACCMODE {
            O_RDONLY => ("<", input),
            O_RDWR => ("<>", input),
            _ if flags & O_APPEND != 0 => (">>", number == 1),
            _ => (">", number == 1),
        };
        if plain { operator.to_owned() } else { format!("{number}{operator}") }
    }

    pub(super) fn peer_value(&self) -> Value<'a> {
        match (self.peer(), self.unix_peer()) {
            (Some(peer), _) => Value::Peer(peer),
            (None, Some((sort, address))) => Value::Pair(sort.as_bytes(), address),
            (None, None) => Value::Null,
        }
    }

    pub(super) fn path_value(&self) -> Value<'a> {
        match self.names.absent() {
            _ if self.is_unnamed() => Value::Null,
            Some(why) => Value::Unknown(why),
            None => Value::Path(self.names),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Payload;
    use crate::event::exec::Exec;
    use crate::sink::{FormatName, testing};
    use crate::synthetic::payload;
    use serde_json::{Value as Json, json};
    use tracetui_shared::kind::Kind;
    use tracetui_shared::record::exec::ExecRecord;

    fn opened(mode: u32, device: u32) -> Stdio {
        Stdio { state: stdio::OPEN, mode: mode as u16, device, ino: 77, ..Stdio::default() }
    }

    fn same(as_number: u8) -> Stdio {
        Stdio { state: stdio::SAME + as_number, ..Stdio::default() }
    }

    fn payload_of(stdio: [Stdio; STDIO], files: [&[u8]; STDIO]) -> Vec<u8> {
        let made = payload::Exec { argv: b"x\0", ..payload::Exec::default() };
        made.with(ExecRecord::default(), stdio, files)
    }

    fn json_of(payload: &[u8]) -> Json {
        let line = testing::line(FormatName::Json, testing::header(Kind::Exec), payload);
        serde_json::from_slice(&line).expect("JSON")
    }

    const FILE: u32 = S_IFREG | 0o644;
    const TTY: u32 = 136 << 20 | 3;

    #[test]
    fn each_type_has_its_fields() {
        let named =
            |kind: &str, path: &str| json!({"type": kind, "path": path, "ino": null, "peer": null, "peer_ino": null});
        let pipe = Stdio { names_marks: mark::PSEUDO, ..opened(S_IFIFO, 0) };
        let got = json_of(&payload_of([opened(S_IFCHR, TTY), pipe, same(1)], [b"3\0pts\0dev\0", b"", b""]));
        let unnamed = json!({"type": "pipe", "path": null, "ino": 77, "peer": null, "peer_ino": null});
        assert_eq!([&got["stdin"], &got["stdout"], &got["stderr"]], [&named("tty", "/dev/pts/3"), &unnamed, &unnamed]);
        assert_eq!(got["argv"], json!(["x"]));
        let v4 = Stdio {
            family: libc::AF_INET as u16,
            port: 443,
            address: [10, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            ..opened(S_IFSOCK, 0)
        };
        let v6 = Stdio { family: libc::AF_INET6 as u16, ..v4 };
        let unix = Stdio { family: libc::AF_UNIX as u16, port: 0, address: [0; 16], ..v4 };
        let got = json_of(&payload_of([v4, v6, unix], [b""; 3]));
        let peers = ["stdin", "stdout", "stderr"].map(|name| got[name]["peer"].clone());
        assert_eq!(peers, [json!("10.0.0.7:443"), json!("[a00:7::]:443"), Json::Null]);
        let mut address = [0; 16];
        address[0] = 9;
        let of_unix = |path: &[u8]| Stdio { names_len: path.len() as u16, address, ..unix };
        let (path, name) = (b"/run/s\0", b"\0name");
        let got = json_of(&payload_of([of_unix(path), of_unix(name), of_unix(b"")], [path, name, b""]));
        let peers =
            ["stdin", "stdout", "stderr"].map(|name| [got[name]["peer"].clone(), got[name]["peer_ino"].clone()]);
        let expected = [[json!("unix:/run/s"), json!(9)], [json!("abstract:name"), json!(9)], [Json::Null, json!(9)]];
        assert_eq!(peers, expected);
        let forged = Further { number: 5, file: of_unix(b"\0a\x007</etc/shadow") };
        let listed = Others(&[forged.as_bytes(), b"\0a\x007</etc/shadow"].concat()).area();
        assert_eq!(&*listed, b"5<socket abstract:a@7</etc/shadow\0");
        let closed = Stdio { state: stdio::CLOSED, ..Stdio::default() };
        let got =
            json_of(&payload_of([opened(S_IFCHR, NULL), closed, opened(FILE, 0)], [b"null\0dev\0", b"", b"log\0"]));
        assert_eq!([&got["stdin"], &got["stderr"]], [&named("null", "/dev/null"), &named("file", "/log")]);
        assert_eq!(got["stdout"], json!({"type": "closed", "path": null, "ino": null, "peer": null, "peer_ino": null}));
        // A FIFO has a path, and an inode that is not unique.
        let fifo = payload_of([opened(S_IFIFO, 0); 3], [b"fifo\0"; 3]);
        let of = Exec::decode(&fifo).and_then(|exec| exec.descriptor(0)).expect("known");
        assert_eq!((of.ino(), of.path().is_some()), (Some(77), true));
    }

    #[test]
    fn a_script_has_its_file_and_unknown_descriptors_a_reason() {
        let (sh, names) = (b"/bin/sh", b"memfd:x\0");
        for (filename, interp, number, wanted) in [
            (&b"/dev/fd/5"[..], &sh[..], 5, json!("memfd:x")),
            (b"/proc/self/fd/300", sh, 300, json!("memfd:x")),
            (b"/dev/fd/5", sh, 6, Json::Null),
            (b"/dev/fd/5/x", sh, 5, Json::Null),
            (b"/dev/fd/5", b"", 5, Json::Null),
            (b"/proc/7/fd/5", sh, 5, Json::Null),
        ] {
            let file = Stdio { names_len: names.len() as u16, names_marks: mark::PSEUDO, ..opened(FILE, 0) };
            let record = ExecRecord {
                filename_len: filename.len() as u16,
                interp_len: interp.len() as u16,
                fds_len: (size_of::<Further>() + names.len()) as u32,
                fds_marks: mark::NOT_COLLECTED.into(),
                ..ExecRecord::default()
            };
            let further = Further { number, file };
            let got = json_of(&[record.as_bytes(), filename, interp, further.as_bytes(), names].concat());
            assert_eq!((&got["script"], got.get("fds")), (&wanted, None), "{got}");
        }
        // Unknown descriptors have a reason and paths are redacted.
        let failed = payload::Exec { ret: -2, ..payload::Exec::default() }.bytes();
        let why = |payload: &[u8]| json_of(payload)["stdin_why"].clone();
        assert_eq!(why(&failed), json!("failed"));
        // A recording of an earlier version, and descriptors that refer to themselves, to a later one, or to none.
        for state in [[0, 0, 0], [3, 3, 5], [4, 4, 4], [9, 255, 255]] {
            let forged = payload_of(state.map(|state| Stdio { state, ..Stdio::default() }), [b""; 3]);
            assert_eq!(why(&forged), json!("not_collected"));
            let exec = Exec::decode(&forged).expect("an exec");
            assert!((0..4).all(|number| exec.descriptor(number).is_none()), "{state:?}");
        }
        let payload = payload_of([opened(FILE, 0); 3], [b"SECRET\0a\0", b"b\0", b"SECRET\0"]);
        let mut with = Redact::new(vec![regex::bytes::Regex::new("SECRET").expect("a regex")]);
        let got = json_of(&Exec::redact(&payload, &mut with).expect("an exec"));
        let paths = ["stdin", "stdout", "stderr"].map(|name| got[name]["path"].clone());
        assert_eq!((paths, &got["argv"]), ([json!("/a/…"), json!("/b"), json!("/…")], &json!(["x"])));
        assert_eq!(with.count, 2);
    }
}
