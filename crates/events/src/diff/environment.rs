//! The environments of roles, in comparable form.

use super::names::NameRules;
use super::strings::{StringTable, each};
use crate::environment;
use foldhash::HashMap;
use foldhash::fast::RandomState;
use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::sync::Arc;

/// Bytes of an environment, and of a variable in a tree that may be half full.
const ENVIRONMENT: usize = 160;
const VARIABLE: usize = 16;

/// Variables by name: `NAME=VALUE`. If the recording does not have the value, the name again; [`VARIES`] if it is not the same in all
/// processes of a role.
pub(super) type Variables = Arc<BTreeMap<u32, u32>>;

pub(super) const VARIES: u32 = u32::MAX;

/// Variables that differ between shells, terminals and logins, and those that shells set for each command.
const VOLATILE: &str = "_ PWD OLDPWD SHLVL COLUMNS LINES TERM COLORTERM TERM_PROGRAM TERM_SESSION_ID WINDOWID DISPLAY \
    XAUTHORITY STY TMUX TMUX_PANE GPG_TTY SSH_AUTH_SOCK SSH_AGENT_PID SSH_CLIENT SSH_CONNECTION \
    SSH_TTY XDG_SESSION_ID DBUS_SESSION_BUS_ADDRESS INVOCATION_ID JOURNAL_STREAM SYSTEMD_EXEC_PID \
    MEMORY_PRESSURE_WATCH MEMORY_PRESSURE_WRITE SUDO_COMMAND";

fn is_volatile(name: &[u8]) -> bool {
    VOLATILE.split(' ').any(|volatile| volatile.as_bytes() == name)
}

/// The environments of a run.
#[derive(Debug, Default)]
pub(super) struct Environments {
    /// By the hash of the environment that the recording has.
    known: HashMap<u64, Variables>,
    hasher: RandomState,
    /// Bytes in use.
    pub(super) bytes: usize,
    /// Whether the recording has values, and not only names.
    pub(super) values: bool,
}

impl Environments {
    pub(super) fn of(&mut self, raw: &[u8], names: &NameRules, strings: &mut StringTable) -> Variables {
        let hash = self.hasher.hash_one(raw);
        if let Some(known) = self.known.get(&hash) {
            return Arc::clone(known);
        }
        let mut text = Vec::new();
        let mut variables = BTreeMap::new();
        for (name, value) in environment::names_and_values(raw) {
            if name.is_empty() || is_volatile(name) {
                continue;
            }
            text.clear();
            if let Some(value) = value {
                self.values = true;
                names.word(&[name, b"=", value].concat(), &mut text);
            }
            let name = strings.id(name);
            // getenv(3) takes the first of a name.
            variables.entry(name).or_insert_with(|| if text.is_empty() { name } else { strings.id(&text) });
        }
        let variables = self.counted(variables);
        self.known.insert(hash, Arc::clone(&variables));
        variables
    }

    /// The environment of a role whose processes have these two.
    pub(super) fn merged(&mut self, one: Variables, other: &Variables) -> Variables {
        let both = merge(&one, other);
        if both == *one { one } else { self.counted(both) }
    }

    fn counted(&mut self, variables: BTreeMap<u32, u32>) -> Variables {
        self.bytes += ENVIRONMENT + VARIABLE * variables.len();
        variables.into()
    }

    /// Removes the data that only [`of`](Self::of) needs.
    pub(super) fn close(&mut self) {
        self.known = HashMap::default();
    }
}

/// An environment with common numbers.
pub(super) fn renumbered(variables: &Variables, common: impl Fn(u32) -> u32) -> Variables {
    let of = |(name, text): (&u32, &u32)| (common(*name), if *text == VARIES { VARIES } else { common(*text) });
    variables.iter().map(of).collect::<BTreeMap<_, _>>().into()
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
