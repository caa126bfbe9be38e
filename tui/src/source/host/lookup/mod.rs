//! Looks up why an open or an exec failed: walks the path as the kernel does, in the root and with the ids of the caller, and
//! says which step refuses. An answer is given only if the step refuses with the error of the event.
//!
//! Nothing is opened that has effects. Each step opens one name with `O_PATH | O_NOFOLLOW`; links are followed here, so that
//! none leads out of the caller's root. Only directories, for the nearest name, and the first bytes of regular files are read.
//! A file system may not answer: this runs on a thread of its own ([`crate::command`]), which nobody waits for.

mod file;
mod subject;
#[cfg(test)]
mod tests;
mod walk;

use super::clock;
use super::users::AccountNames;
use crate::why::access::Credentials;
use crate::why::name::distance;
use crate::why::{Answer, Basis, Call, Cause, Question, error_text};
use std::sync::OnceLock;
use std::time::Instant;
use subject::Subject;
use walk::{Stop, Walk};

/// A step that refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Refusal {
    /// The error, positive.
    errno: i32,
    cause: Cause,
    /// The part of the path.
    component: Vec<u8>,
    near: Option<Vec<u8>>,
    text: Vec<u8>,
    /// Whether the last name of the path does not exist in its directory.
    last: bool,
}

impl Refusal {
    fn new(errno: i32, cause: Cause, component: &[u8], text: impl Into<Vec<u8>>) -> Refusal {
        Refusal { errno, cause, component: component.to_vec(), near: None, text: text.into(), last: false }
    }
}

/// The names of users and groups, read once, as those of events are.
static NAMES: OnceLock<Names> = OnceLock::new();

/// See [`NAMES`].
struct Names {
    users: Vec<(u32, String)>,
    groups: Vec<(u32, String)>,
}

impl Names {
    fn read() -> Names {
        let names = AccountNames::read();
        Names {
            users: names.users().into_iter().map(|user| (user.uid.0, user.name)).collect(),
            groups: names.groups().into_iter().map(|group| (group.gid.0, group.name)).collect(),
        }
    }

    fn user(&self, id: u32) -> String {
        name_of(&self.users, id)
    }

    fn group(&self, id: u32) -> String {
        name_of(&self.groups, id)
    }
}

fn name_of(names: &[(u32, String)], id: u32) -> String {
    names.iter().find(|(known, _)| *known == id).map_or_else(|| id.to_string(), |(_, name)| name.clone())
}

/// Looks up why a call failed. It may block.
pub(crate) fn look(question: &Question) -> Answer {
    let begun = Instant::now();
    let mut place = None;
    let mut found = match Subject::find(question) {
        Ok(subject) => {
            place = subject.note().map(<[u8]>::to_vec);
            Walk::new(question, &subject, NAMES.get_or_init(Names::read), begun).run()
        }
        Err(why) => Err(Stop::Unsure(why)),
    };
    if let Err(Stop::Refused(refusal)) = &mut found
        && refusal.errno == question.errno
        && refusal.cause == Cause::Missing
        && !question.others.is_empty()
    {
        let elsewhere = look_elsewhere(question, refusal, begun);
        place = place.or(elsewhere);
    }
    let after = clock::now_boot().since(question.time);
    let answer = answer(question, found, after);
    match answer.cause {
        // The general reason is better than none.
        Cause::Unknown => question.proven.clone().unwrap_or(Answer { place, ..answer }),
        _ => Answer { place, ..answer },
    }
}

/// Looks for the nearest name in the other places of the search too, and says it in the refusal. Each directory is read once. Returns
/// what is to be said of where it was looked up.
fn look_elsewhere(question: &Question, refusal: &mut Refusal, begun: Instant) -> Option<Vec<u8>> {
    let name = question.path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
    let own = question.path.strip_suffix(name).unwrap_or_default();
    let own = own.strip_suffix(b"/").filter(|dir| !dir.is_empty()).unwrap_or(if own.is_empty() { b"." } else { own });
    let rank = |near: &[u8]| distance(name, near);
    // The name, its distance, and the directory as passed. Of equal ones, the first is the nearest.
    let mut best =
        refusal.near.clone().filter(|_| refusal.last).and_then(|near| Some((rank(&near)?, near, own.to_vec())));
    let (mut checked, mut note) = (0, None);
    for place in &question.others {
        let call = match question.call {
            Call::Open { flags, resolve, .. } => Call::Open { flags, resolve, dirfd: place.dirfd },
            Call::Exec => Call::Exec,
        };
        let other = Question { path: place.path(name), call, others: Vec::new(), ..question.clone() };
        let Ok(subject) = Subject::find(&other) else { continue };
        let found = Walk::new(&other, &subject, NAMES.get_or_init(Names::read), begun).run();
        let Err(Stop::Refused(missing)) = found else { continue };
        if missing.errno != libc::ENOENT {
            continue;
        }
        checked += 1;
        note = note.or(subject.note().map(<[u8]>::to_vec));
        if let Some(near) = missing.near.filter(|_| missing.last)
            && let Some(distance) = rank(&near)
            && best.as_ref().is_none_or(|(nearest, ..)| distance < *nearest)
        {
            best = Some((distance, near, place.dir.clone()));
        }
    }
    let nearest = best.as_ref().map(|(_, near, dir)| [b"the nearest name is ", near.as_slice(), b" in ", dir].concat());
    match (refusal.last, nearest) {
        (true, nearest) => {
            let all = match checked + 1 {
                all if all >= question.places => all.to_string(),
                some => format!("{some} of {}", question.places),
            };
            refusal.text = [b"no ", name, format!(" in {all} places").as_bytes()].concat();
            nearest.into_iter().for_each(|text| refusal.text.extend_from_slice(&[b"; ", text.as_slice()].concat()));
        }
        (false, Some(nearest)) => {
            let places = if checked == 1 { "place" } else { "places" };
            refusal.text.extend_from_slice(format!("; in {checked} other {places}, ").as_bytes());
            refusal.text.extend_from_slice(&nearest);
        }
        (false, None) => {}
    }
    if let Some((_, near, _)) = best.filter(|_| refusal.last) {
        refusal.near = Some(near);
    }
    note
}

/// The answer from all steps that refuse, in the order in which the kernel takes them.
fn answer(question: &Question, found: Result<Vec<Refusal>, Stop>, after: u64) -> Answer {
    let refusals = match found {
        Ok(refusals) => refusals,
        Err(Stop::Refused(refusal)) => vec![*refusal],
        Err(Stop::Unsure(why)) => return Answer::unknown(why, after),
    };
    if let Some(refusal) = refusals.iter().find(|refusal| refusal.errno == question.errno) {
        return Answer {
            text: refusal.text.clone(),
            component: Some(refusal.component.clone()),
            cause: refusal.cause,
            near: refusal.near.clone(),
            place: None,
            basis: Basis::Checked(after),
        };
    }
    let text = match refusals.first() {
        Some(other) => [error_text(other.errno).as_bytes(), b" by now: ", &other.text].concat(),
        None if matches!(question.errno, libc::ENOENT | libc::ENOTDIR | libc::ELOOP) => {
            [&question.path, b" can be opened by now".as_slice()].concat()
        }
        None if matches!(question.errno, libc::EACCES | libc::EPERM) => {
            b"modes and ACLs permit it by now; a security module or a filter may have refused it".to_vec()
        }
        None => b"nothing is seen that refuses it".to_vec(),
    };
    Answer::unknown(text, after)
}

/// `nobody`, or its number.
fn who(names: &Names, credentials: &Credentials) -> String {
    names.user(credentials.uid)
}
