//! Environments of programs: which values are kept, and what an exec changes.
//!
//! An environment is stored as a list of variables, each followed by NUL. The first byte of each one tells how its value is stored.

pub use crate::frame::state::EnvChange;
use crate::limits;
use memchr::memmem;
use std::hash::{BuildHasher as _, RandomState};

/// Which variables of the environment exec events contain.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum EnvMode {
    Off,
    #[default]
    Names,
    /// Also the values of [`HARMLESS`] ones. Of the others it is only known whether they change.
    Values,
    All,
}

/// The first byte of a variable whose value is kept.
const VALUE: u8 = b'.';
/// That of one whose value was not asked for: only the name follows.
const NAME: u8 = b'#';
/// That of one whose value may be a secret. Instead of the value, its hash follows: 16 hexadecimal digits.
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

    /// Appends a variable, `NAME=VALUE`, and NUL. Without a name, all of it counts as the value.
    pub fn keep(&self, variable: &[u8], out: &mut Vec<u8>) {
        let (name, value) = split(variable);
        let (name, value) = value.filter(|_| is_name(name)).map_or((&b""[..], variable), |value| (name, value));
        match self.mode {
            EnvMode::Values if !is_harmless(name, value) => {
                out.push(SECRET);
                out.extend_from_slice(name);
                out.extend_from_slice(format!("={:016x}", self.hasher.hash_one(value)).as_bytes());
            }
            EnvMode::All | EnvMode::Values => {
                out.push(VALUE);
                out.extend_from_slice(variable);
            }
            EnvMode::Off | EnvMode::Names => {
                out.push(NAME);
                out.extend_from_slice(name);
            }
        }
        out.push(0);
    }
}

/// The text before the first `=`, and the text after it.
fn split(variable: &[u8]) -> (&[u8], Option<&[u8]>) {
    let at = memchr::memchr(b'=', variable);
    at.map_or((variable, None), |at| (&variable[..at], Some(&variable[at + 1..])))
}

/// Whether a text is a variable's name. Exported functions have names such as `BASH_FUNC_x%%`. A string without a name may be a secret.
fn is_name(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_.-%()".contains(byte))
}

/// The variables whose values are kept in [`EnvMode::Values`]: places, locales, and what compilers and loaders read.
const HARMLESS: &str = " PATH HOME PWD OLDPWD SHELL USER LOGNAME TZ TERM SHLVL COLUMNS LINES TMPDIR EDITOR PAGER DISPLAY MANPATH NO_COLOR \
    LANG LANGUAGE LC_ALL LC_CTYPE LC_COLLATE LC_MESSAGES LC_MONETARY LC_NUMERIC LC_TIME SSH_AUTH_SOCK \
    XDG_RUNTIME_DIR XDG_CONFIG_HOME XDG_CACHE_HOME XDG_DATA_HOME XDG_STATE_HOME XDG_DATA_DIRS XDG_CONFIG_DIRS \
    LD_PRELOAD LD_LIBRARY_PATH LD_AUDIT LD_DEBUG LD_BIND_NOW LD_RUN_PATH GLIBC_TUNABLES GCONV_PATH LOCPATH \
    CC CXX CPP LD AR AS NM RANLIB STRIP CFLAGS CXXFLAGS CPPFLAGS LDFLAGS LDLIBS CPATH C_INCLUDE_PATH CPLUS_INCLUDE_PATH \
    LIBRARY_PATH COMPILER_PATH GCC_EXEC_PREFIX COLLECT_GCC ARCH CROSS_COMPILE DESTDIR MAKELEVEL SOURCE_DATE_EPOCH \
    PKG_CONFIG PKG_CONFIG_PATH PKG_CONFIG_LIBDIR PKG_CONFIG_SYSROOT_DIR ACLOCAL_PATH CMAKE_PREFIX_PATH CCACHE_DIR \
    PYTHONPATH PYTHONHOME PYTHONUNBUFFERED PYTHONDONTWRITEBYTECODE PYTHONHASHSEED VIRTUAL_ENV CONDA_PREFIX \
    PERL5LIB PERLLIB RUBYLIB GEM_HOME GEM_PATH NODE_PATH NODE_ENV JAVA_HOME CLASSPATH \
    GOPATH GOROOT GOBIN GOCACHE GOMODCACHE GOOS GOARCH GOFLAGS GOTOOLCHAIN CGO_ENABLED CGO_CFLAGS CGO_LDFLAGS \
    CARGO CARGO_HOME CARGO_TARGET_DIR CARGO_MANIFEST_DIR RUSTUP_HOME RUSTUP_TOOLCHAIN RUSTC RUSTFLAGS RUST_BACKTRACE \
    DEBIAN_FRONTEND OMP_NUM_THREADS ";

/// Whether a value is no secret, by its name ([`HARMLESS`]), and because it has no words of a secret and no URL with a user.
fn is_harmless(name: &[u8], value: &[u8]) -> bool {
    const WORDS: [&[u8]; 9] =
        [b"passw", b"pwd=", b"secret", b"token", b"credential", b"private key", b"authorization", b"key=", b"sig="];
    let value = value.to_ascii_lowercase();
    !name.is_empty()
        && memmem::find(HARMLESS.as_bytes(), &[b" ", name, b" "].concat()).is_some()
        && !WORDS.iter().any(|word| memmem::find(&value, word).is_some())
        && !memmem::find_iter(&value, b"://").any(|at| has_user(&value[at + 3..]))
}

/// Whether a URL, after its scheme, has a user or a password before the host (RFC 3986, 3.2.1). A password may contain a slash.
fn has_user(url: &[u8]) -> bool {
    let end = url.iter().position(|byte| byte.is_ascii_whitespace() || b"\"'".contains(byte)).unwrap_or(url.len());
    let user = memchr::memrchr(b'@', &url[..end]).map_or(&[][..], |at| &url[..at]);
    !user.is_empty() && (user.contains(&b':') || !user.contains(&b'/'))
}

fn variables(environment: &[u8]) -> impl Iterator<Item = &[u8]> {
    environment.split(|byte| *byte == 0).filter(|variable| !variable.is_empty())
}

/// The variables of an environment: each name, and the value if it is kept.
pub fn names_and_values(environment: &[u8]) -> impl Iterator<Item = (&[u8], Option<&[u8]>)> {
    variables(environment).map(|variable| {
        let (name, value) = split(&variable[1..]);
        (name, value.filter(|_| variable[0] == VALUE))
    })
}

fn name_of(variable: &[u8]) -> &[u8] {
    split(variable.get(1..).unwrap_or_default()).0
}

/// The variables of an environment by name, with their places.
fn by_name(environment: &[u8]) -> Vec<(usize, &[u8])> {
    let mut all: Vec<_> = variables(environment).enumerate().collect();
    all.sort_by_key(|(_, variable)| name_of(variable));
    all
}

/// Those with a name, in order.
fn with_name<'s, 'a>(by_name: &'s [(usize, &'a [u8])], name: &[u8]) -> &'s [(usize, &'a [u8])] {
    let rest = &by_name[by_name.partition_point(|(_, variable)| name_of(variable) < name)..];
    &rest[..rest.partition_point(|(_, variable)| name_of(variable) == name)]
}

impl EnvChange {
    /// The change from one environment, if it is known, to another. Without the end of the new one (not `is_whole`), which variables
    /// are gone is not known. Of variables with the same name, getenv(3) finds the first and the loader the last: all of them are set if
    /// one is new or another.
    pub fn between(before: Option<&[u8]>, after: &[u8], is_whole: bool) -> EnvChange {
        let count = variables(after).count() as u32;
        let known = before.is_some() && is_whole;
        if before == Some(after) && is_whole {
            return EnvChange { known, count, ..EnvChange::default() };
        }
        let (old, new) = (by_name(before.unwrap_or_default()), by_name(after));
        let has_name = |(_, one): &(usize, &[u8]), (_, other): &(usize, &[u8])| name_of(one) == name_of(other);
        let differs = |named: &&[(usize, &[u8])]| {
            let former = with_name(&old, name_of(named[0].1));
            !named.iter().map(|(_, variable)| variable).eq(former.iter().map(|(_, variable)| variable))
        };
        let mut changed: Vec<_> = new.chunk_by(has_name).filter(differs).flatten().collect();
        changed.sort_unstable();
        let (mut set, mut unset) = (Vec::new(), Vec::new());
        for (_, variable) in changed {
            match (variable[0], name_of(variable)) {
                (VALUE, _) => set.extend_from_slice(&variable[1..]),
                (_, b"") => set.extend_from_slice("…".as_bytes()),
                (SECRET, name) => set.extend_from_slice(&[name, "=…".as_bytes()].concat()),
                (_, name) => set.extend_from_slice(name),
            }
            set.push(0);
        }
        let gone = |named: &&[(usize, &[u8])]| known && with_name(&new, name_of(named[0].1)).is_empty();
        let mut gone: Vec<_> = old.chunk_by(has_name).filter(gone).map(|named| named[0]).collect();
        gone.sort_unstable();
        for (_, variable) in gone {
            unset.extend_from_slice(name_of(variable));
            unset.push(0);
        }
        EnvChange { set: set.into(), unset: unset.into(), known, count }
    }

    /// The change with the values of harmless variables only.
    pub fn without_secrets(&self) -> EnvChange {
        let mut set = Vec::new();
        let has_values = self.set.contains(&b'=');
        for variable in variables(&self.set) {
            match split(variable) {
                (name, Some(value)) if is_name(name) && !is_harmless(name, value) => {
                    set.extend_from_slice(&[name, "=…".as_bytes()].concat())
                }
                // A name alone is one of a trace without values.
                (name, value) if !is_name(name) || value.is_none() && has_values => {
                    set.extend_from_slice("…".as_bytes())
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
    fn a_change_names_what_differs_and_an_overwritten_environment_is_unknown() {
        let all = |variables: &[&str]| kept(EnvMode::All, variables);
        let before = all(&["A=1", "B=2", "C", "=odd"]);
        let after = all(&["A=1", "B=3", "D=4", "C", "D=5"]);
        let change = EnvChange::between(Some(&before), &after, true);
        assert_eq!(shown(&change.set), ["B=3", "D=4", "D=5"]);
        assert_eq!(shown(&change.unset), [""; 0]);
        assert_eq!((change.known, change.count), (true, 5));
        let back = EnvChange::between(Some(&after), &before, true);
        assert_eq!(shown(&back.set), ["B=2", "=odd"]);
        assert_eq!(shown(&back.unset), ["D"]);
        let first = EnvChange::between(None, &before, true);
        assert_eq!((shown(&first.set), first.known), (["A=1", "B=2", "C", "=odd"].map(str::to_owned).to_vec(), false));
        // An overwritten environment is unknown.
        let names = |environ: &[u8]| Keeper::new(EnvMode::Names).running(environ);
        assert_eq!(names(b"A=1\0B=\0"), Some(b"#A\0#B\0".to_vec()));
        assert_eq!(names(b""), Some(vec![]));
        for overwritten in [&b"\0\0A=1\0"[..], b"sshd: user\0B=1\0", b"A=1\0\0\0", b"A=1", b"A=1\0C\0"] {
            assert_eq!(names(overwritten), None);
        }
        assert_eq!(names(&b"A=1\0".repeat(limits::KEPT_ENV)), None);
    }

    #[test]
    fn every_variable_of_a_repeated_name_is_shown() {
        let set = |mode, before: &[&str], after: &[&str]| {
            let keeper = Keeper::new(mode);
            let [before, after] = [before, after].map(|variables| {
                let mut out = Vec::new();
                variables.iter().for_each(|variable| keeper.keep(variable.as_bytes(), &mut out));
                out
            });
            shown(&EnvChange::between(Some(&before), &after, true).set)
        };
        let once = ["LD_PRELOAD=/a", "X=1"];
        // The loader takes the last.
        let hidden = ["LD_PRELOAD=/a", "X=1", "LD_PRELOAD=/evil"];
        assert_eq!(set(EnvMode::All, &once, &hidden), ["LD_PRELOAD=/a", "LD_PRELOAD=/evil"]);
        assert_eq!(set(EnvMode::Values, &once, &hidden), ["LD_PRELOAD=/a", "LD_PRELOAD=/evil"]);
        assert_eq!(set(EnvMode::Names, &once, &hidden), ["LD_PRELOAD", "LD_PRELOAD"]);
        assert_eq!(set(EnvMode::Values, &["A=1"], &["A=1", "A=2"]), ["A=…", "A=…"]);
        assert_eq!(set(EnvMode::All, &hidden, &hidden), [""; 0]);
        // Another order is another environment.
        assert_eq!(set(EnvMode::All, &["A=1", "A=2"], &["A=2", "A=1"]), ["A=2", "A=1"]);
        assert_eq!(set(EnvMode::All, &["A=1", "A=1"], &["A=1"]), ["A=1"]);
        // Names that were made to collide take no longer.
        let name = |n: u32| [&0x243f_6a88_85a3_08d3_u64.to_le_bytes()[..], format!("{n:08}").as_bytes(), b"="].concat();
        let (keeper, mut all) = (Keeper::new(EnvMode::Names), Vec::new());
        (0..200_000).for_each(|n| keeper.keep(&name(n), &mut all));
        let began = std::time::Instant::now();
        let change = EnvChange::between(None, &all, true);
        // Else it is an hour.
        assert!(change.count == 200_000 && began.elapsed().as_secs() < 60, "{:?}", began.elapsed());
    }

    #[test]
    fn values_are_kept_as_the_mode_says() {
        let variables = ["CPATH=inc", "API_KEY=k", "SSH_AUTH_SOCK=/run/s", "PWD=/", "DB=postgres://u:p@h/d", "V=a:b@c"];
        let text = |mode| shown(&EnvChange::between(None, &kept(mode, &variables), true).set);
        assert_eq!(text(EnvMode::Names), ["CPATH", "API_KEY", "SSH_AUTH_SOCK", "PWD", "DB", "V"]);
        assert_eq!(text(EnvMode::Values), ["CPATH=inc", "API_KEY=…", "SSH_AUTH_SOCK=/run/s", "PWD=/", "DB=…", "V=…"]);
        assert_eq!(text(EnvMode::All), variables);
        let names = kept(EnvMode::Names, &variables);
        assert!(memmem::find(&names, b"inc").is_none() && memmem::find(&names, b"postgres").is_none());
        // Only harmless values.
        let harmless = |variable: &str| {
            let (name, value) = split(variable.as_bytes());
            is_harmless(name, value.unwrap_or_default())
        };
        let hidden = [
            r#"CONFIG={"password": "x"}"#,
            "SETTINGS=db:\n  password: x",
            "DATABASE=user:x@host/db",
            "BLOB=https://host/c?sv=1&sig=x",
            "ANYTHING=x",
            "SSHPASS=x",
            "CFLAGS=-DDB_PASSWORD=x",
            "GOFLAGS=-ldflags=-X=main.apiKey=x",
            "CC=https://TOKEN@h/x",
            "LC_SECRET=x",
            "=PATH=x",
            "PATH CC=x",
        ];
        hidden.iter().for_each(|variable| assert!(!harmless(variable), "{variable}"));
        let plain = "PATH=/bin HOME=/root PWD=/ SSH_AUTH_SOCK=/run/s CFLAGS=-O2 LANG=C.UTF-8 LD_PRELOAD=/a.so TZ=UTC";
        plain.split_whitespace().for_each(|variable| assert!(harmless(variable), "{variable}"));
    }

    #[test]
    fn what_has_no_name_is_no_name() {
        let variables =
            ["topsecret", r#"{"password":"x=y"}"#, "=X=1", "user:x@host?a=b", "A=1", "BASH_FUNC_f%%=() { :; }"];
        let text = |mode| shown(&EnvChange::between(None, &kept(mode, &variables), true).set);
        assert_eq!(text(EnvMode::Names), ["…", "…", "…", "…", "A", "BASH_FUNC_f%%"]);
        assert_eq!(text(EnvMode::Values), ["…", "…", "…", "…", "A=…", "BASH_FUNC_f%%=…"]);
        assert_eq!(text(EnvMode::All), variables);
        for mode in [EnvMode::Names, EnvMode::Values] {
            let kept = kept(mode, &variables);
            assert!(
                ["secret", "password", "user", "X="].iter().all(|part| memmem::find(&kept, part.as_bytes()).is_none())
            );
        }
        let all = EnvChange::between(None, &kept(EnvMode::All, &variables), true);
        assert_eq!(shown(&all.without_secrets().set), ["…", "…", "…", "…", "A=…", "BASH_FUNC_f%%=…"]);
        let kept = kept(EnvMode::All, &["#LD_PRELOAD=x", "*A=b", "=X=1", "."]);
        assert_eq!(shown(&EnvChange::between(None, &kept, true).set), ["#LD_PRELOAD=x", "*A=b", "=X=1", "."]);
    }
}
