//! What a call asks for, and whether programs can do without it.

use super::places::SEARCHED;
use super::{common_name, names_descriptor, place};
use crate::event::describe::Value;
use crate::event::process::Process;
use crate::event::{Body, Event, Takes, describe, takes};
use crate::text::command::leaf;
use crate::text::shell::SHELLS;
use foldhash::fast::RandomState;
use memchr::memmem;
use std::hash::BuildHasher;

/// How many directories a header is named with.
pub(super) const WITHIN: usize = 3;

/// The target of a call, as hashes.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Wanted {
    /// The mount namespace. For a connect, the network namespace.
    pub(super) ns: u32,
    /// The whole path, with the directory at which it starts. For a BPF call, the program or place that it loads or attaches; for a
    /// connect, the address and port.
    pub(super) whole: u64,
    /// Whether it starts at a descriptor.
    pub(super) at_descriptor: bool,
    /// The same as `whole`, for the script that a shell runs.
    pub(super) script: Option<u64>,
    /// For a connect, whether the address is a loopback address.
    pub(super) dir: u64,
    /// The last components of the directory, the last one first, up to one that programs search ([`SEARCHED`]): then 0.
    pub(super) within: [u64; WITHIN],
    /// Whether the directory is one of programs, such as those of PATH.
    pub(super) of_programs: bool,
    /// The directory above. For a connect, the family of the address.
    pub(super) above: u64,
    /// The name that a search can find elsewhere.
    pub(super) name: Option<u64>,
    /// What its spellings share.
    pub(super) spelling: Option<u64>,
    /// What it asks of its file ([`Payload::rights`](crate::event::Payload::rights)).
    pub(super) rights: u8,
}

/// The target of a call. A call that may create its file has no name to find.
pub(super) fn wanted(hasher: &RandomState, event: &Event<'_>, process: &Process) -> Wanted {
    let (header, body) = (&event.header, &event.body);
    let hash = |bytes: &[u8]| hasher.hash_one(bytes);
    let mut wanted =
        Wanted { ns: header.mnt_ns.0, name: common_name(body).map(hash), rights: body.rights(), ..Wanted::default() };
    match (body.connection(), body.sought()) {
        (Some(connection), _) => {
            let (peer, port) = (connection.raddr(), connection.record.rport);
            wanted.ns = connection.record.net_ns.0;
            wanted.whole = hasher.hash_one((peer, port));
            wanted.name = connection.is_request().then(|| hasher.hash_one(port));
            wanted.dir = peer.is_some_and(|peer| peer.is_loopback()).into();
            wanted.above = peer.is_some_and(|peer| peer.is_ipv6()).into();
        }
        (_, Some(path)) => {
            let relative = !path.starts_with(b"/");
            wanted.at_descriptor = relative && body.dirfd() != libc::AT_FDCWD || names_descriptor(path);
            // The event of a failure shows where it starts, and so does that of a file found there.
            let opens = takes(event.kind()) == Takes::Contents;
            let start = match body {
                _ if opens && wanted.at_descriptor => Vec::new(),
                _ if let Value::Path(dir) = body.dir() => dir.to_vec(),
                _ if opens && !event.failed() => body.base().unwrap_or_default(),
                Body::Exec(exec) => exec.cwd.to_vec(),
                _ => process.image.cwd.to_vec(),
            };
            let whole = |path: &[u8]| match path.starts_with(b"/") {
                true => hash(path),
                false => hasher.hash_one((body.dirfd(), &start, path)),
            };
            (wanted.script, wanted.whole) = (script(body).map(whole), whole(path));
        }
        (_, None) => {
            let mut subject = Vec::new();
            body.subject(&mut subject);
            wanted.whole = hash(&subject);
            // A server that cannot bind one port may take the next one.
            wanted.name = body.socket().map(|_| hash(b"listen"));
        }
    }
    if let Some((dir, name)) = place(body) {
        let above = dir.iter().rposition(|byte| *byte == b'/').and_then(|slash| dir.get(..slash.max(1)));
        (wanted.dir, wanted.above) = (hash(dir), above.map_or(0, hash));
        let within = dir.rsplit(|byte| *byte == b'/').take_while(|name| !name.is_empty() && !SEARCHED.contains(name));
        wanted.of_programs = matches!(leaf(dir), b"bin" | b"sbin");
        wanted.within.iter_mut().zip(within).for_each(|(known, name)| *known = hash(name));
        wanted.spelling = Some(spelling(name)).filter(|word| !word.is_empty()).map(|word| hash(&word));
    }
    wanted
}

/// The script that a started shell runs: its first argument, or the first word after `-c`.
fn script<'a>(body: &Body<'a>) -> Option<&'a [u8]> {
    let Body::Exec(exec) = body else { return None };
    let mut args =
        Some(leaf(exec.filename)).filter(|name| SHELLS.contains(name)).map(|_| describe::args(exec.argv))?.skip(1);
    match args.next()? {
        b"-c" => args.next()?.split(u8::is_ascii_whitespace).find(|word| !word.is_empty()),
        first => Some(first),
    }
}

/// Whether programs ask for this file but can do without it: message catalogs and other files of a locale, the files that the
/// loader reads first, the user's preferences, the files that Python looks for beside itself, those that shells run at their end, and
/// debug information. Also true for paths that are not files.
pub(super) fn is_optional(path: &[u8]) -> bool {
    let within = [&b"/LC_MESSAGES/"[..], b"/locale/", b"/gconv/"].iter().any(|dir| memmem::find(path, dir).is_some());
    let below = [&b"/proc/"[..], b"/dev/", b"/etc/gcrypt/", b"/etc/ld.so.", b"/usr/lib/debug/"]
        .iter()
        .any(|start| path.starts_with(start));
    // Services of the C library, without which it does the work itself.
    let below = below || path.ends_with(b"/nscd/socket") || path.starts_with(b"/run/systemd/userdb/io.");
    let last =
        [&b"logout"[..], b"._pth", b"/pyvenv.cfg", b"/pybuilddir.txt", b".dwp"].iter().any(|end| path.ends_with(end));
    within || below || last || is_hidden(path)
}

/// Whether the last name of a path, or the one before it, begins with a dot.
pub(super) fn is_hidden(path: &[u8]) -> bool {
    let hidden = |name: &[u8]| name.first() == Some(&b'.') && !matches!(name, b"." | b"..");
    path.rsplit(|byte| *byte == b'/').take(2).any(hidden)
}

/// Whether a process can fail for want of an optional file: a device, except the terminal, which every shell asks for, and the socket of the log; and a dot file
/// of the working directory, such as `.env`. A name that ends in `rc` is that of preferences.
pub(super) fn can_matter(path: &[u8], cwd: &[u8]) -> bool {
    let is_below = |dir: &[u8]| path.strip_prefix(dir).is_some_and(|rest| dir.len() > 1 && rest.starts_with(b"/"));
    let is_device = path.starts_with(b"/dev/") && !matches!(path, b"/dev/tty" | b"/dev/log");
    is_device || is_hidden(path) && !path.ends_with(b"rc") && (!path.starts_with(b"/") || is_below(cwd))
}

/// What the spellings of a name share, its first word: `GNUmakefile` and `Makefile`, `zlib-uninstalled.pc` and `zlib.pc`.
fn spelling(name: &[u8]) -> Vec<u8> {
    let name = name.strip_prefix(b"GNU").unwrap_or(name);
    name.iter().take_while(|byte| byte.is_ascii_alphabetic()).map(u8::to_ascii_lowercase).collect()
}
