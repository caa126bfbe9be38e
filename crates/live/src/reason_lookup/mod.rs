//! Looks up why a call of a path or a connect (`tcp`) failed. For a path, it walks the path as the kernel does, in the root and with the ids of the
//! caller, and reports the step that refuses. An answer is given only if the step refuses with the error of the event.
//!
//! The lookup opens nothing that has effects. Each step opens one name with `O_PATH | O_NOFOLLOW`. This code follows
//! the links, so that none leads out of the caller's root. The lookup only reads directories, for the nearest name, and
//! the first bytes of regular files. A file system may not answer, so the lookup runs on a separate thread
//! ([`crate::command`]), which nobody waits for.

mod file_node;
mod path_walk;
mod subject;
mod tcp;
#[cfg(test)]
mod tests;

use super::clock;
use path_walk::{Stop, Walk};
use std::io;
use std::sync::OnceLock;
use std::time::Instant;
use subject::Subject;
use tracetui_events::search::split;
use tracetui_events::why::similar_name::distance;
use tracetui_events::why::{Answer, Basis, Cause, Lookup, Question, SearchDir, error_text};
use tracetui_host::confine::{Role, Spawner};
use tracetui_host::priority::give_up_raised;
use tracetui_host::users::AccountNames;
use tracetui_inspect::Sockets;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Refusal {
    /// The errno, positive.
    errno: i32,
    cause: Cause,
    /// The refused part of the path.
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

    /// A refusal of a path. The text continues after the path.
    fn at(path: &[u8], errno: i32, cause: Cause, text: &str) -> Refusal {
        Refusal::new(errno, cause, path, [path, text.as_bytes()].concat())
    }
}

/// The names of users and groups, read once, like the names in events.
static NAMES: OnceLock<AccountNames> = OnceLock::new();

#[derive(Clone, Debug)]
pub struct Threads {
    spawner: Spawner,
    sockets: Option<Sockets>,
}

impl Threads {
    /// `sockets` opens the sockets that lookups of connections need. `None` if no connections are traced.
    pub fn start(sockets: Option<Sockets>) -> io::Result<Threads> {
        Ok(Threads { spawner: Spawner::start("lookups", Role::Reader)?, sockets })
    }

    /// Starts a thread, and passes it a function that looks up why a call failed. That function may block.
    pub fn spawn(&self, run: impl FnOnce(&dyn Fn(&Lookup) -> Answer) + Send + 'static) -> io::Result<()> {
        let sockets = self.sockets.clone();
        self.spawner.spawn("why", move || {
            give_up_raised();
            run(&|lookup| match (lookup, &sockets) {
                (Lookup::Path(question), _) => look(question),
                (Lookup::Connect(connect), Some(sockets)) => tcp::look(connect, sockets),
                (Lookup::Connect(_), None) => Answer::unknown(b"connections are not traced".to_vec(), 0),
            });
        })
    }
}

fn look(question: &Question) -> Answer {
    let begun = Instant::now();
    let mut place = None;
    let mut found = match Subject::find(question) {
        Ok(subject) => {
            place.clone_from(&subject.note);
            Walk::new(question, &subject, NAMES.get_or_init(AccountNames::read), begun).run()
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
        Cause::Unknown if let Some(next) = &question.next => look(next),
        // The general reason is better than none.
        Cause::Unknown => question.proven.clone().unwrap_or(Answer { place, ..answer }),
        _ => Answer { place, ..answer },
    }
}

/// Reports in the refusal the nearest name of all places of the search, or else where the search began. Each directory is read once.
/// Returns a note on where the lookup took place.
fn look_elsewhere(question: &Question, refusal: &mut Refusal, begun: Instant) -> Option<Vec<u8>> {
    let (dir, name) = split(&question.path)?;
    let own = SearchDir { dir: dir.to_vec(), start: question.start.clone().filter(|_| !dir.starts_with(b"/")) };
    let mut places = question.others.clone();
    if !places.contains(&own) {
        places.push(own.clone());
    }
    // The distance of the nearest name, its refusal and its directory. Among equal distances, the first is the nearest.
    let mut best: Option<((usize, bool), Refusal, Vec<u8>)> = None;
    let (mut first, mut checked, mut note) = (None, 0, None);
    for (at, place) in places.iter().enumerate() {
        let missing = match *place == own {
            true => refusal.clone(),
            false => {
                let (path, start) = (place.path(name), place.start.clone());
                let other = Question { path, start, others: Vec::new(), ..question.clone() };
                let Ok(subject) = Subject::find(&other) else { continue };
                let found = Walk::new(&other, &subject, NAMES.get_or_init(AccountNames::read), begun).run();
                note = note.or(subject.note);
                match found {
                    Err(Stop::Refused(missing)) if missing.errno == libc::ENOENT => *missing,
                    _ => continue,
                }
            }
        };
        checked += 1;
        let slash = missing.component.iter().rposition(|byte| *byte == b'/');
        let (above, wanted) = missing.component.split_at(slash.map_or(0, |slash| slash + 1));
        let dir = if missing.last { place.dir.as_slice() } else { above.strip_suffix(b"/").unwrap_or(above) };
        let near = missing.near.as_deref().and_then(|near| distance(wanted, near));
        if let Some(near) = near
            && best.as_ref().is_none_or(|(nearest, ..)| near < *nearest)
        {
            best = Some((near, missing.clone(), dir.to_vec()));
        }
        first = first.or((at == 0).then_some(missing));
    }
    let all = match checked {
        all if all >= question.places => all.to_string(),
        some => format!("{some} of {}", question.places),
    };
    let mut text = [b"no ", name, format!(" in {all} places").as_bytes()].concat();
    let began = places.first().filter(|_| first.is_none());
    let chosen = match (best, first) {
        (Some((_, missing, dir)), _) => {
            let near = missing.near.as_deref().unwrap_or_default();
            text.extend_from_slice(&[b"; the nearest name is ", near, b" in ", &dir].concat());
            Some(missing)
        }
        (None, Some(missing)) if !missing.last => {
            text.extend_from_slice(&[b"; ", missing.text.as_slice(), b", where the search began"].concat());
            Some(missing)
        }
        (None, first) => first,
    };
    if let Some(place) = began {
        text.extend_from_slice(&[b"; the search began in ", place.dir.as_slice()].concat());
    }
    let chosen = chosen.unwrap_or_else(|| refusal.clone());
    *refusal = Refusal { text, near: chosen.near, component: chosen.component, ..refusal.clone() };
    note
}

/// The answer, from all steps that refuse, in the order in which the kernel takes them.
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
        Some(other) => [b"now fails differently: ", error_text(other.errno).as_bytes(), b": ", &other.text].concat(),
        None if matches!(question.errno, libc::ENOENT | libc::ENOTDIR | libc::ELOOP) => {
            [&question.path, b" can be opened now".as_slice()].concat()
        }
        None if matches!(question.errno, libc::EACCES | libc::EPERM) => {
            b"modes and ACLs permit it now; a security module or a filter may have refused it".to_vec()
        }
        None => b"no reason found".to_vec(),
    };
    Answer::unknown(text, after)
}
