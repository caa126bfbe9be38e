//! Environments of programs: which values are kept, and what an exec changes.
//!
//! An environment is stored as a list of variables, each followed by NUL. The first byte of each one tells how its value is stored.

use crate::frame::state::EnvState;
use crate::limits;
use memchr::memmem;
use rustc_hash::{FxHashMap, FxHashSet};
use std::hash::{BuildHasher as _, RandomState};

/// Which variables of the environment exec events contain.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum EnvMode {
    /// None.
    Off,
    /// The names of the variables.
    #[default]
    Names,
    /// Also their values, except secret ones, of which it is only known whether they change.
    Values,
    /// All values.
    All,
}

/// The first byte of a variable whose value is kept.
const VALUE: u8 = b'.';
/// That of one whose value was not asked for: only the name follows.
const NAME: u8 = b'#';
/// That of one whose value looks secret. Instead of the value, its hash follows: 16 hexadecimal digits.
const SECRET: u8 = b'*';

/// Takes values out of environments, as the mode says. Secret values can only be compared between environments of one keeper and its
/// clones.
#[derive(Clone, Debug)]
pub struct Keeper {
    mode: EnvMode,
    /// Random, so that a value cannot be guessed from its hash.
    hasher: RandomState,
}

impl Keeper {
    pub fn new(mode: EnvMode) -> Keeper {
        Keeper { mode, hasher: RandomState::new() }
    }

    pub fn mode(&self) -> EnvMode {
        self.mode
    }

    /// The environment of a running process, given its initial one as /proc/PID/environ shows it. `None` if it is not requested, too
    /// long, or if the process has overwritten it, as servers do for a title.
    pub fn running(&self, environ: &[u8]) -> Option<Vec<u8>> {
        if self.mode == EnvMode::Off || environ.len() > limits::KEPT_ENV {
            return None;
        }
        let mut out = Vec::new();
        for variable in environ.split_inclusive(|byte| *byte == 0) {
            let variable = variable.strip_suffix(b"\0").filter(|variable| variable.contains(&b'='))?;
            self.keep(variable, &mut out);
        }
        Some(out)
    }

    /// Appends a variable, `NAME=VALUE`, and NUL.
    pub fn keep(&self, variable: &[u8], out: &mut Vec<u8>) {
        let (name, value) = split(variable);
        let sort = match self.mode {
            EnvMode::All => VALUE,
            EnvMode::Values if !is_secret(name, value.unwrap_or_default()) => VALUE,
            EnvMode::Values => SECRET,
            EnvMode::Off | EnvMode::Names => NAME,
        };
        out.push(sort);
        match (sort, value) {
            (VALUE, _) | (_, None) => out.extend_from_slice(variable),
            (NAME, _) => out.extend_from_slice(name),
            (_, Some(value)) => {
                out.extend_from_slice(name);
                out.extend_from_slice(format!("={:016x}", self.hasher.hash_one(value)).as_bytes());
            }
        }
        out.push(0);
    }
}

/// The name of a variable, and its value. Some have no `=`.
fn split(variable: &[u8]) -> (&[u8], Option<&[u8]>) {
    let at = memchr::memchr(b'=', variable);
    at.map_or((variable, None), |at| (&variable[..at], Some(&variable[at + 1..])))
}

/// Whether a value may be a secret, by its name, by words in it, or because it is a URL with a user.
fn is_secret(name: &[u8], value: &[u8]) -> bool {
    const NAMES: [&[u8]; 9] =
        [b"PASS", b"SECRET", b"TOKEN", b"CREDENTIAL", b"COOKIE", b"PRIVATE", b"AUTHORIZATION", b"BEARER", b"WEBHOOK"];
    const WORDS: [&[u8]; 8] =
        [b"password=", b"passwd=", b"pwd=", b"secret=", b"token=", b"accountkey=", b"private key-", b"authorization:"];
    // PWD and OLDPWD are directories, and SSH_AUTH_SOCK is a socket.
    if matches!(name, b"PWD" | b"OLDPWD" | b"SSH_AUTH_SOCK") {
        return false;
    }
    let (name, value) = (name.to_ascii_uppercase(), value.to_ascii_lowercase());
    let is_key = |part: &[u8]| {
        let word = part.trim_ascii_end();
        let digits = word.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
        let word = &word[..word.len() - digits];
        let word = word.strip_suffix(b"S").unwrap_or(word);
        word.ends_with(b"KEY")
            || word.ends_with(b"PW")
            || word.ends_with(b"PWD")
            || word.ends_with(b"CRED")
            || matches!(word, b"AUTH" | b"DSN" | b"PAT" | b"JWT" | b"OTP" | b"PIN" | b"SESSION")
    };
    let has = |text: &[u8], words: &[&[u8]]| words.iter().any(|word| memmem::find(text, word).is_some());
    has(&name, &NAMES)
        || name.split(|byte| !byte.is_ascii_alphanumeric()).any(is_key)
        || has(&value, &WORDS)
        || memmem::find_iter(&value, b"://").any(|at| has_user(&value[at + 3..]))
}

/// Whether a URL, after its scheme, has a user or a password before the host (RFC 3986, 3.2.1). A password may contain a slash.
fn has_user(url: &[u8]) -> bool {
    let end = url.iter().position(|byte| byte.is_ascii_whitespace() || b"\"'".contains(byte)).unwrap_or(url.len());
    let user = memchr::memrchr(b'@', &url[..end]).map_or(&[][..], |at| &url[..at]);
    !user.is_empty() && (user.contains(&b':') || !user.contains(&b'/'))
}

/// The variables of an environment.
fn variables(environment: &[u8]) -> impl Iterator<Item = &[u8]> {
    environment.split(|byte| *byte == 0).filter(|variable| !variable.is_empty())
}

/// The variables of an environment: each name, and the value if it is kept.
pub fn named(environment: &[u8]) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
    variables(environment).map(|variable| {
        let (name, value) = split(&variable[1..]);
        (name, value.filter(|_| variable[0] == VALUE))
    })
}

fn name_of(variable: &[u8]) -> &[u8] {
    split(variable.get(1..).unwrap_or_default()).0
}

/// What an exec changes in the environment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct EnvChange {
    /// The variables that are new or have another value, as far as values are kept, each followed by NUL: `NAME=VALUE`, `NAME=…`
    /// for a secret one, or `NAME`. All of them if the environment before is not known.
    pub set: Box<[u8]>,
    /// The names of the variables that are gone, each followed by NUL.
    pub unset: Box<[u8]>,
    /// Whether all variables before and after are known, and so those that are gone.
    pub known: bool,
    /// The number of variables.
    pub count: u32,
}

impl EnvChange {
    /// The change from one environment, if it is known, to another. Without the end of the new one (not `is_whole`), which variables
    /// are gone is not known. Of variables with the same name, getenv(3) finds the first.
    pub fn between(before: Option<&[u8]>, after: &[u8], is_whole: bool) -> EnvChange {
        let count = variables(after).count() as u32;
        let known = before.is_some() && is_whole;
        if before == Some(after) && is_whole {
            return EnvChange { known, count, ..EnvChange::default() };
        }
        let (mut old, mut new) = (FxHashMap::default(), FxHashSet::default());
        for variable in variables(before.unwrap_or_default()) {
            old.entry(name_of(variable)).or_insert(variable);
        }
        let (mut set, mut unset) = (Vec::new(), Vec::new());
        for variable in variables(after) {
            let name = name_of(variable);
            if new.insert(name) && old.get(name) != Some(&variable) {
                let shown = match variable[0] {
                    VALUE => &[&variable[1..], b"\0"].concat(),
                    SECRET => &[name, "=…\0".as_bytes()].concat(),
                    _ => &[name, b"\0"].concat(),
                };
                set.extend_from_slice(shown);
            }
        }
        for name in variables(before.unwrap_or_default()).map(name_of).filter(|_| known) {
            if new.insert(name) {
                unset.extend_from_slice(name);
                unset.push(0);
            }
        }
        EnvChange { set: set.into(), unset: unset.into(), known, count }
    }

    /// The change without the values that look secret.
    pub fn without_secrets(&self) -> EnvChange {
        let mut set = Vec::new();
        for variable in variables(&self.set) {
            match split(variable) {
                (name, Some(value)) if is_secret(name, value) => {
                    set.extend_from_slice(&[name, "=…".as_bytes()].concat())
                }
                _ => set.extend_from_slice(variable),
            }
            set.push(0);
        }
        EnvChange { set: set.into(), ..self.clone() }
    }

    /// Bytes in memory, without its own size.
    pub fn bytes(&self) -> usize {
        self.set.len() + self.unset.len()
    }
}

impl From<EnvState> for EnvChange {
    fn from(EnvState { set, unset, known, count }: EnvState) -> EnvChange {
        EnvChange { set: set.into(), unset: unset.into(), known, count }
    }
}

impl From<EnvChange> for EnvState {
    fn from(EnvChange { set, unset, known, count }: EnvChange) -> EnvState {
        EnvState { set: set.into(), unset: unset.into(), known, count }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(mode: EnvMode, variables: &[&str]) -> Vec<u8> {
        let (keeper, mut out) = (Keeper::new(mode), Vec::new());
        variables.iter().for_each(|variable| keeper.keep(variable.as_bytes(), &mut out));
        out
    }

    fn shown(list: &[u8]) -> Vec<String> {
        variables(list).map(|variable| String::from_utf8_lossy(variable).into_owned()).collect()
    }

    #[test]
    fn a_change_names_what_differs() {
        let all = |variables: &[&str]| kept(EnvMode::All, variables);
        let before = all(&["A=1", "B=2", "C", "=odd"]);
        let after = all(&["A=1", "B=3", "D=4", "C", "D=5"]);
        let change = EnvChange::between(Some(&before), &after, true);
        assert_eq!((shown(&change.set), shown(&change.unset)), (vec!["B=3".to_owned(), "D=4".to_owned()], vec![]));
        assert_eq!((change.known, change.count), (true, 5));
        let back = EnvChange::between(Some(&after), &before, true);
        assert_eq!(
            (shown(&back.set), shown(&back.unset)),
            (vec!["B=2".to_owned(), "=odd".to_owned()], vec!["D".to_owned()])
        );
        let first = EnvChange::between(None, &before, true);
        assert_eq!((shown(&first.set), first.known), (["A=1", "B=2", "C", "=odd"].map(str::to_owned).to_vec(), false));
    }

    #[test]
    fn values_are_kept_as_the_mode_says() {
        let variables = ["CPATH=inc", "API_KEY=k", "SSH_AUTH_SOCK=/run/s", "PWD=/", "DB=postgres://u:p@h/d", "V=a:b@c"];
        let text = |mode| shown(&EnvChange::between(None, &kept(mode, &variables), true).set);
        assert_eq!(text(EnvMode::Names), ["CPATH", "API_KEY", "SSH_AUTH_SOCK", "PWD", "DB", "V"]);
        let some = ["CPATH=inc", "API_KEY=…", "SSH_AUTH_SOCK=/run/s", "PWD=/", "DB=…", "V=a:b@c"];
        assert_eq!(text(EnvMode::Values), some);
        assert_eq!(text(EnvMode::All), variables);
        let names = kept(EnvMode::Names, &variables);
        assert!(memmem::find(&names, b"inc").is_none() && memmem::find(&names, b"postgres").is_none());
    }

    #[test]
    fn common_secrets_are_found() {
        let secret = |variable: &str| {
            let (name, value) = split(variable.as_bytes());
            is_secret(name, value.unwrap_or_default())
        };
        let found = "SSHPASS=x PGPASS=x MYSQL_PW=x LDAP_BINDPW=x HTTP_AUTHORIZATION=x BEARER=x GITHUB_PAT=x JWT=x AWS_CREDS=x \
            API_KEYS=x API_KEY1=x RABBITMQ_PASS1=x pwd=x NODE_AUTH_SOCK_KEY=x D=postgres://u:a/SECRET@h/db X=https://TOKEN@h/x \
            C=a;AccountKey=b J=-DkeyStorePassword=x G=AUTHORIZATION:x SLACK_WEBHOOK=x DB_PASSWORD=x TWO=http://a/b,https://u:p@h/";
        found.split_whitespace().for_each(|variable| assert!(secret(variable), "{variable}"));
        let plain = "PATH=/bin HOME=/root PWD=/ SSH_AUTH_SOCK=/run/s CFLAGS=-O2 LANG=C.UTF-8 KEYBOARD=us \
            URL=https://host/@scope/x TZ=UTC";
        plain.split_whitespace().for_each(|variable| assert!(!secret(variable), "{variable}"));
    }

    #[test]
    fn an_overwritten_environment_is_unknown() {
        let names = |environ: &[u8]| Keeper::new(EnvMode::Names).running(environ);
        assert_eq!(names(b"A=1\0B=\0"), Some(b"#A\0#B\0".to_vec()));
        assert_eq!(names(b""), Some(vec![]));
        for overwritten in [&b"\0\0A=1\0"[..], b"sshd: user\0B=1\0", b"A=1\0\0\0", b"A=1", b"A=1\0C\0"] {
            assert_eq!(names(overwritten), None);
        }
        assert_eq!(names(&b"A=1\0".repeat(limits::KEPT_ENV)), None);
    }

    #[test]
    fn a_variable_cannot_pass_for_another() {
        let kept = kept(EnvMode::All, &["#LD_PRELOAD=x", "*A=b", "=X=1", "."]);
        assert_eq!(shown(&EnvChange::between(None, &kept, true).set), ["#LD_PRELOAD=x", "*A=b", "=X=1", "."]);
    }
}
