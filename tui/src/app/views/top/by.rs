//! The properties by which Top counts events.

use crate::app::named_enum::named;
use crate::app::views::event_list::row;
use tracetui_events::event::{EventContext, Tables, connection, connects};
use tracetui_events::filter;
use tracetui_events::store::Stored;
use tracetui_shared::header::FrameHeader;
use tracetui_shared::kind::{Kind, KindSet};

named! {
    /// The property by which events are counted.
    #[derive(Default)]
    enum By name {
        #[default]
        Comm "comm",
        Path "path",
        Dir "dir",
        Uid "uid",
        Cgroup "cgroup",
        Unit "unit",
        /// Its name, or its id where the name is not known.
        Container "container",
        /// Of execs and exits, as [`By::LoginUid`].
        Tty "tty",
        LoginUid "login_uid",
        Errno "error",
        Kind "kind",
        /// The remote address and port of a client's connection, the local port of a server's.
        Peer "peer",
    }
}

impl By {
    /// Whether it hardly changes while a process lives.
    pub(super) fn is_of_process(self) -> bool {
        matches!(self, By::Cgroup | By::Unit | By::Container)
    }

    pub(super) fn is_user(self) -> bool {
        matches!(self, By::Uid | By::LoginUid)
    }

    /// Appends the value of a kept event, and decodes the event only if necessary. `false` if it has no value.
    pub(super) fn of_stored(self, stored: &Stored<'_>, world: &dyn Tables, out: &mut Vec<u8>) -> bool {
        let may_have = match self {
            By::Comm | By::Uid | By::Kind => return self.of_header(stored.kind, &stored.header(), out),
            By::Errno => stored.failed,
            By::Path | By::Dir | By::Cgroup | By::Unit | By::Container => true,
            By::Peer => connects(stored.kind),
            By::Tty | By::LoginUid => KindSet::OF_PROGRAMS.contains(stored.kind),
        };
        may_have && stored.with(world, |seen| self.of(seen, out)).unwrap_or_default()
    }

    /// Appends the value of an event. `false` if it has no value.
    pub(crate) fn of(self, seen: &EventContext<'_>, out: &mut Vec<u8>) -> bool {
        match self {
            By::Comm | By::Uid | By::Kind => return self.of_header(seen.event.kind(), &seen.event.header, out),
            By::Errno => {
                if !KindSet::CALLS.contains(seen.event.kind()) || !seen.event.failed() {
                    return false;
                }
                seen.result(out);
            }
            By::Cgroup | By::Unit | By::Tty | By::LoginUid => {
                out.extend_from_slice(&row::field(seen, self.name()).text().unwrap_or_default())
            }
            By::Container => row::container(seen, out),
            By::Path | By::Dir => match seen.event.body.file() {
                Some(file) => file.write(out),
                None => return false,
            },
            By::Peer => return seen.event.body.socket().is_some_and(|socket| socket.service(out)),
        }
        self.of_path(out)
    }

    /// Cuts a path to its directory if the property is the directory. `false` if nothing is left.
    fn of_path(self, out: &mut Vec<u8>) -> bool {
        if self == By::Dir {
            match memchr::memrchr(b'/', out) {
                Some(slash) => out.truncate(slash.max(1)),
                None => return false,
            }
        }
        !out.is_empty()
    }

    /// Appends a value that the header of an event contains. `false` if the property is not in the header.
    fn of_header(self, kind: Kind, header: &FrameHeader, out: &mut Vec<u8>) -> bool {
        match self {
            By::Comm => out.extend_from_slice(header.comm()),
            By::Uid => out.extend_from_slice(itoa::Buffer::new().format(header.uid.0).as_bytes()),
            By::Kind => out.extend_from_slice(kind.name().as_bytes()),
            _ => {}
        }
        !out.is_empty()
    }

    /// The filter term that matches the events with this value.
    pub(crate) fn term(self, value: &[u8]) -> String {
        match self {
            By::Dir => filter::directly_in(value),
            By::Errno => filter::exactly("err", value),
            By::Peer => connection::of_service(value),
            _ => filter::exactly(self.name(), value),
        }
    }
}
