//! `unix`: a Unix socket was connected to, or the connect failed.

use super::asked::{Asked, FailedCall, Need};
use super::describe::{Field, STACK, Value, Why, field_table, props};
use super::file::{self, File};
use super::redact::Redact;
use super::{Compared, EventContext, Payload, unix};
use crate::text::paint::Look;
use tracetui_shared::header::until_nul;
use tracetui_shared::kind::Kind;
use tracetui_shared::record::file::unix::form;

/// A connect(2), in the record of a call that names a file.
#[derive(Clone, Copy, Debug)]
pub struct Unix<'a>(pub File<'a>);

impl<'a> Payload<'a> for Unix<'a> {
    fn decode(payload: &'a [u8]) -> Option<Unix<'a>> {
        File::decode(payload).map(|file| Unix(File { kind: Kind::Unix, ..file }))
    }

    fn unwritten() -> Vec<Vec<u8>> {
        File::unwritten()
    }

    fn redact(payload: &[u8], with: &mut Redact) -> Option<Vec<u8>> {
        File::redact(payload, with)
    }

    const LOOK: Look = Look::Plain;

    const NOUN: &'static str = "unix connect";

    const COMPARED: Compared = Compared::Results("connected");
    const SERVED: bool = true;

    fn goes_on(&self) -> bool {
        false
    }

    fn is_needless(&self) -> bool {
        self.ret() == Some(-libc::EISCONN)
    }

    fn is_routine(&self) -> bool {
        true
    }

    fn used(&self, subject: &mut Vec<u8>) -> Option<i32> {
        self.subject(subject);
        self.ret()
    }

    fn paths(&self) -> Option<&File<'a>> {
        Some(&self.0)
    }

    /// A recording may say of any record that its call has a descriptor instead of a path. This one never has.
    fn sought(&self) -> Option<&'a [u8]> {
        Some(self.0.texts[0])
    }

    fn asked(&self) -> Option<Asked<'a>> {
        let need = if self.is_abstract() { Need::AbstractSocket } else { Need::Socket };
        let call = FailedCall { dirfd: libc::AT_FDCWD, follow: true, need };
        let path = self.why_no_path().is_none().then_some(self.0.texts[0]);
        Some(Asked { ids: (Some(self.0.record.euid), None), ..Asked::new(call, path, false, self.0.dir()) })
    }

    fn detail(&self, _: &EventContext<'_>, out: &mut Vec<u8>) {
        match self.why_no_path() {
            Some(_) => out.push(b'?'),
            None => out.extend_from_slice(self.0.texts[0]),
        }
        if let Some(peer) = self.peer() {
            out.extend_from_slice(b" of ");
            out.extend_from_slice(peer.comm);
            out.extend_from_slice(format!("[{}]", peer.pid).as_bytes());
        }
    }

    fn title(&self, seen: &EventContext<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"connect ");
        self.detail(seen, out);
    }
}

/// The process that listens.
struct Peer<'a> {
    pid: u32,
    uid: u32,
    /// Empty if it ended before.
    comm: &'a [u8],
}

impl<'a> Unix<'a> {
    fn form(&self) -> u8 {
        (self.0.record.values[0] >> 32) as u8
    }

    fn is_abstract(&self) -> bool {
        self.form() == form::ABSTRACT
    }

    fn why_no_path(&self) -> Option<Why> {
        match self.form() {
            form::PATH | form::ABSTRACT => matches!(self.path(), Value::Unread(_)).then_some(Why::Fault),
            form::OTHER_FAMILY => Some(Why::OtherFamily),
            form::TOO_SHORT => Some(Why::TooShort),
            _ => Some(Why::Fault),
        }
    }

    fn path(&self) -> Value<'a> {
        self.0.text(0)
    }

    fn peer(&self) -> Option<Peer<'a>> {
        let [_, ids] = self.0.record.values;
        (ids != 0).then(|| Peer { pid: ids as u32, uid: (ids >> 32) as u32, comm: until_nul(self.0.texts[2]) })
    }
}

fn of_peer<'a>(s: &EventContext<'a>, get: impl FnOnce(Peer<'a>) -> Value<'a>) -> Value<'a> {
    unix(s, |u| u.peer().map_or(Value::Null, get))
}

const PEER: &[Field] = field_table! {
    pid Number "Process id: sk->sk_peer_pid, the caller of listen(2)."
        |s| of_peer(s, |peer| Value::Uint(peer.pid.into()));
    comm Text "Its name: task_struct.comm; vanished: it ended before."
        |s| of_peer(s, |peer| if peer.comm.is_empty() { Value::Unknown(Why::Vanished) } else { Value::Bytes(peer.comm) }), with(props::LACKS | props::BYTES);
    uid User "Its effective user id at listen(2): sk->sk_peer_cred->euid." |s| of_peer(s, |peer| Value::Uint(peer.uid.into()));
};

pub(crate) const FIELDS: &[Field] = field_table! {
    path Text "Path as passed, or @ and the abstract name, read after the call."
        |s| unix(s, |u| u.why_no_path().map_or_else(|| u.path(), Value::Unknown)), with(props::LEAF | props::LACKS | props::BYTES);
    abstract Bool "Whether it is the name of an abstract socket." |s| unix(s, |u| Value::Bool(u.is_abstract()));
    = file::START;
    abs_path Text "Absolute path: `dir` and then `path`; null of an abstract socket." |s| unix(s, |u| match u.why_no_path() {
        Some(why) => Value::Unknown(why),
        None if u.is_abstract() => Value::Null,
        None => u.0.absolute(0),
    }), with(props::LEAF | props::LACKS | props::BYTES);
    type Text "Type of the socket, sk->sk_type: stream dgram seqpacket." |s| unix(s, |u| {
        Value::Word(match u.0.record.values[0] as u16 {
            1 => "stream",
            2 => "dgram",
            5 => "seqpacket",
            _ => "other",
        })
    }), of(&["stream", "dgram", "seqpacket", "other"]);
    fd Number "Descriptor of the socket, as passed." |s| unix(s, |u| Value::Int(u.0.record.dirfds[1].into()));
    peer Object "Process that listens; null after a failure, and for datagrams."
        |s| of_peer(s, |_| Value::Object), made_of(PEER);
    = file::RET;
    = file::ERR;
    = file::ABI;
    = file::EUID;
    = STACK;
};
