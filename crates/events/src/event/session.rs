//! The terminal, the session and the login of a process.

use super::EventContext;
use super::describe::{Field, Value, Why, field, props};
use tracetui_shared::header::until_nul;
use tracetui_shared::record::session::{Session, known};

/// The session of an exec or an exit. `None` if nothing looked at it, as in recordings of earlier versions.
pub fn of<'a>(seen: &EventContext<'a>) -> Option<&'a Session> {
    seen.event.body.session().filter(|session| session.known & known::SEEN != 0)
}

/// The session with the terminal's name as ps(1) has it: `pts/3` instead of `pts3`.
pub(super) fn with_terminal_name(mut session: Session) -> Session {
    if let [b'p', b't', b's', number @ ..] = &mut session.tty
        && number[0].is_ascii_digit()
    {
        number.rotate_right(1);
        number[0] = b'/';
    }
    session
}

/// The name of the terminal; `None` without one.
pub fn tty(session: &Session) -> Option<&[u8]> {
    Some(until_nul(&session.tty)).filter(|name| !name.is_empty())
}

fn value<'a>(seen: &EventContext<'a>, field: u8, get: impl FnOnce(&'a Session) -> Value<'a>) -> Value<'a> {
    match of(seen) {
        None => Value::Unknown(Why::NotCollected),
        Some(session) if session.known & field == 0 => Value::Unknown(Why::NoField),
        Some(session) => get(session),
    }
}

const LATER: u16 = props::LACKS | props::LATER;

pub(crate) const TTY: Field = field! {
    tty Text "Controlling terminal, such as pts/3: signal_struct.tty->name; null without one. A container may have a pts/3 of its own (mnt_ns)."
        |s| value(s, known::TTY, |session| tty(session).map_or(Value::Null, Value::Bytes)), with(LATER | props::BYTES)
};
pub(crate) const SESSION: Field = field! {
    session Number "Process id of the session's leader: signal_struct.pids[PIDTYPE_SID]; 0 for processes started by the kernel."
        |s| value(s, known::ID, |session| Value::Uint(session.id.0.into())), with(LATER)
};
pub(crate) const LOGIN_UID: Field = field! {
    login_uid User "User who logged in, unchanged by su(1) and sudo(8): task_struct.loginuid; null if nobody did. A process without a login and with CAP_AUDIT_CONTROL can set any (/proc/self/loginuid), even 0."
        |s| value(s, known::LOGIN, |session| match session.login_uid.0 {
            u32::MAX => Value::Null,
            uid => Value::Uint(uid.into()),
        }), with(LATER)
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminal_has_the_name_of_its_file() {
        let name = |kernel: &[u8]| {
            let mut session = Session::default();
            session.tty[..kernel.len()].copy_from_slice(kernel);
            let once = with_terminal_name(session);
            assert_eq!(with_terminal_name(once), once);
            String::from_utf8_lossy(tty(&once).unwrap_or_default()).into_owned()
        };
        let names: [&[u8]; 6] = [b"pts0", b"pts1048575", b"ttyS0", b"ptsx", b"pts12345678901", b""];
        assert_eq!(names.map(name), ["pts/0", "pts/1048575", "ttyS0", "ptsx", "pts/12345678901", ""]);
    }
}
