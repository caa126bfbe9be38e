//! The environments of roles, in comparable form.

use super::names::NameRules;
use super::strings::{StringTable, each};
use crate::environment;
use foldhash::HashMap;
use foldhash::fast::RandomState;
use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::sync::Arc;

/// Variables by name: `NAME=VALUE`. If the recording does not have the value, the name again; [`VARIES`] if it is not the same in all
/// processes of a role.
pub(super) type Variables = Arc<BTreeMap<u32, u32>>;

pub(super) const VARIES: u32 = u32::MAX;

/// Variables that differ between shells, terminals and logins, and those that shells set for each command.
const VOLATILE: &str = "_ PWD OLDPWD SHLVL COLUMNS LINES TERM COLORTERM TERM_PROGRAM TERM_SESSION_ID WINDOWID DISPLAY \
    XAUTHORITY STY TMUX TMUX_PANE GPG_TTY SSH_AUTH_SOCK SSH_AGENT_PID SSH_CLIENT SSH_CONNECTION \
    SSH_TTY XDG_SESSION_ID DBUS_SESSION_BUS_ADDRESS INVOCATION_ID JOURNAL_STREAM SYSTEMD_EXEC_PID \
    MEMORY_PRESSURE_WATCH MEMORY_PRESSURE_WRITE SUDO_COMMAND";

/// Bytes of a place in the tables of known and merged environments, which may be less than half full.
const KNOWN: usize = 32;

/// Bytes of a variable in a tree that may be half full.
const VARIABLE: usize = 16;

fn is_volatile(name: &[u8]) -> bool {
    VOLATILE.split(' ').any(|volatile| volatile.as_bytes() == name)
}

/// The environments of a run. Each is kept once.
#[derive(Debug, Default)]
pub(super) struct Environments {
    lists: Vec<Variables>,
    ids: HashMap<Variables, u32>,
    /// The numbers of the lists by the hash of the environment that the recording has.
    known: HashMap<u64, u32>,
    hasher: RandomState,
    merged: HashMap<[u32; 2], u32>,
    /// Bytes in use.
    pub(super) bytes: usize,
    /// Whether the recording has values, and not only names.
    pub(super) values: bool,
}

impl Environments {
    /// The number of an environment.
    pub(super) fn id(&mut self, raw: &[u8], names: &NameRules, strings: &mut StringTable) -> u32 {
        let hash = self.hasher.hash_one(raw);
        if let Some(id) = self.known.get(&hash) {
            return *id;
        }
        let mut text = Vec::new();
        let mut all: Vec<_> =
            environment::names_and_values(raw).filter(|(name, _)| !name.is_empty() && !is_volatile(name)).collect();
        all.sort_by_key(|(name, _)| *name);
        let repeated = all.chunk_by(|(one, _), (other, _)| one == other).flat_map(|named| named.iter().zip(1u32..));
        let variables = repeated
            .map(|((name, value), number)| {
                // The loader takes the last of a name, and getenv(3) the first.
                let name = if number == 1 { name.to_vec() } else { [name, format!("#{number}").as_bytes()].concat() };
                text.clear();
                if let Some(value) = value {
                    self.values = true;
                    names.word(&[&name, b"=".as_slice(), value].concat(), &mut text);
                }
                let name = strings.id(&name);
                (name, if text.is_empty() { name } else { strings.id(&text) })
            })
            .collect();
        let id = self.intern(variables);
        self.bytes += KNOWN;
        self.known.insert(hash, id);
        id
    }

    /// The number of the environment of a role whose processes have these two.
    pub(super) fn merged(&mut self, one: u32, other: u32) -> u32 {
        if one == other {
            return one;
        }
        if let Some(id) = self.merged.get(&[one, other]) {
            return *id;
        }
        let of = |id: u32| self.lists.get(id as usize).cloned().unwrap_or_default();
        let id = self.intern(merge(&of(one), &of(other)));
        self.bytes += KNOWN;
        self.merged.insert([one, other], id);
        id
    }

    fn intern(&mut self, variables: BTreeMap<u32, u32>) -> u32 {
        *self.ids.entry(variables.into()).or_insert_with_key(|variables| {
            self.bytes += 128 + VARIABLE * variables.len();
            self.lists.push(Arc::clone(variables));
            u32::try_from(self.lists.len() - 1).unwrap_or(u32::MAX)
        })
    }

    /// Removes the data that only [`id`](Self::id) and [`merged`](Self::merged) need.
    pub(super) fn close(&mut self) {
        (self.ids, self.known, self.merged) = Default::default();
    }

    /// The lists, with common numbers.
    pub(super) fn renumbered(self, common: impl Fn(u32) -> u32) -> Vec<Variables> {
        let of = |(name, text): (&u32, &u32)| (common(*name), if *text == VARIES { VARIES } else { common(*text) });
        self.lists.iter().map(|list| list.iter().map(of).collect::<BTreeMap<_, _>>().into()).collect()
    }
}

/// A variable that differs: the name, and its text in A and in B.
pub(super) type Differing = (u32, [Option<u32>; 2]);

/// The variables of two environments of one role.
pub(super) fn merge(one: &BTreeMap<u32, u32>, other: &BTreeMap<u32, u32>) -> BTreeMap<u32, u32> {
    let mut all = BTreeMap::new();
    each([one, other], |name, a, b| _ = all.insert(name, a.filter(|text| b == Some(*text)).unwrap_or(VARIES)));
    all
}

/// The variables that differ between A and B: the name, and its text in each. If a value is not known in both, only whether the variable
/// is set is compared.
pub(super) fn differences([a, b]: [&Variables; 2], is_same: impl Fn([u32; 2]) -> bool) -> Vec<Differing> {
    let mut all = Vec::new();
    if a != b {
        each([a, b], |name, a, b| {
            let is_known = |text: u32| text != VARIES && text != name;
            let differ = match (a, b) {
                (Some(a), Some(b)) => a != b && is_known(a) && is_known(b) && !is_same([a, b]),
                (one, other) => one.or(other) != Some(VARIES),
            };
            all.extend(differ.then_some((name, [a, b])));
        });
    }
    all
}

/// The value of a variable, if it is known.
pub(super) fn value(name: u32, text: u32, strings: &StringTable) -> Option<&[u8]> {
    (text != VARIES).then(|| strings.get(text).get(strings.get(name).len() + 1..))?
}

/// How a variable is set in one run: to its value, if that is known.
pub(super) fn describe(name: u32, text: u32, strings: &StringTable) -> &[u8] {
    match value(name, text, strings) {
        None => b"set",
        Some([]) => b"empty",
        Some(value) => value,
    }
}
