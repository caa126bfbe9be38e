//! Paths and arguments in comparable form: without the directory of the run and numbers of jobs.
//!
//! | in a recording | compared |
//! |---|---|
//! | `/home/me/a/src/x.c`, with the COMMAND started in `/home/me/a` | `./src/x.c` |
//! | `/proc/4711/stat`, `/dev/pts/3` | `/proc/*/stat`, `/dev/pts/*` |
//! | `make -j8 all`, `make --jobserver-auth=3,4` | `make all`, `make` |
//!
//! Other differences cannot be judged from one recording alone (a number that is a process id, a random name). [`alike`] judges
//! these.

pub(super) use crate::text::command::leaf;
use foldhash::{HashMap, HashSet};

const TEMPORARY: [&[u8]; 3] = [b"/tmp", b"/var/tmp", b"/dev/shm"];

/// Working directories that are not replaced, because they contain programs or are not specific to a run.
const COMMON: [&[u8]; 10] =
    [b"/", b"/usr", b"/usr/bin", b"/bin", b"/etc", b"/home", b"/var", b"/proc", b"/sys", b"/dev"];

#[derive(Clone, Debug, Default)]
pub(super) struct NameRules {
    /// The directory to replace; empty for none.
    pub(super) root: Vec<u8>,
}

impl NameRules {
    /// For a run in this directory.
    pub(super) fn new(root: &[u8]) -> NameRules {
        let root = if COMMON.contains(&root) || !root.starts_with(b"/") { &[] } else { root };
        NameRules { root: root.to_vec() }
    }

    /// The directories above that of the run.
    pub(super) fn above_root(&self) -> Vec<Vec<u8>> {
        let slashes = (1..self.root.len()).filter(|at| self.root[*at] == b'/');
        slashes.map(|at| self.root[..at].to_vec()).collect()
    }

    /// Appends a path in comparable form.
    pub(super) fn path(&self, raw: &[u8], out: &mut Vec<u8>) {
        let mut clean = Vec::with_capacity(raw.len());
        tidy(raw, &mut clean);
        let mut rest = &clean[..];
        if let Some(below) = self.below_root(rest).filter(|below| below.is_empty() || below.starts_with(b"/")) {
            out.push(b'.');
            rest = below;
        }
        let mut before: &[u8] = b"";
        let mut process = clean.starts_with(b"/proc/");
        for (at, part) in rest.split(|byte| *byte == b'/').enumerate() {
            if at > 0 {
                out.push(b'/');
            }
            let number = !part.is_empty() && part.iter().all(u8::is_ascii_digit);
            let varies = number && (process || before == b"pts");
            out.extend_from_slice(if varies { b"*" } else { part });
            // /proc/PID and /proc/PID/task/TID.
            process &= at == 0 || part == b"proc" || part == b"task" || number;
            before = part;
        }
    }

    /// The rest of a text after the directory of the run.
    fn below_root<'p>(&self, text: &'p [u8]) -> Option<&'p [u8]> {
        text.strip_prefix(&self.root[..]).filter(|_| !self.root.is_empty())
    }

    /// Appends an argument in comparable form.
    pub(super) fn word(&self, raw: &[u8], out: &mut Vec<u8>) {
        let start = out.len();
        // The place, and the start of the part between delimiters.
        let (mut at, mut token) = (0, 0);
        while let Some(&byte) = raw.get(at) {
            let inside = at > token && is_name(raw[at - 1]) && raw.get(token) != Some(&b'-');
            let below = self.below_root(&raw[at..]).filter(|_| !inside);
            if let Some(below) = below.filter(|rest| rest.first().is_none_or(|byte| *byte == b'/' || !is_name(*byte))) {
                out.push(b'.');
                at = raw.len() - below.len();
                continue;
            }
            out.push(byte);
            at += 1;
            if byte != b'/' && !is_name(byte) {
                token = at;
            }
        }
        if raw.iter().any(u8::is_ascii_whitespace) {
            drop_jobs(start, out);
        }
    }

    /// Calls `each` with every argument in comparable form. The numbers of jobs are left out.
    pub(super) fn argv<'a>(&self, args: impl Iterator<Item = &'a [u8]>, mut each: impl FnMut(&[u8])) {
        let mut out = Vec::new();
        for arg in args.filter(|arg| !is_jobs(arg)) {
            out.clear();
            self.word(arg, &mut out);
            each(&out);
        }
    }
}

/// Whether an argument gives the number of parallel jobs.
fn is_jobs(arg: &[u8]) -> bool {
    let number = arg.strip_prefix(b"-j").filter(|digits| !digits.is_empty());
    number.is_some_and(|digits| digits.iter().all(u8::is_ascii_digit))
        || [&b"--jobserver-auth="[..], b"--jobserver-fds=", b"--jobs="].iter().any(|option| arg.starts_with(option))
}

/// Removes the numbers of jobs from a command line in one argument, from `start` on.
fn drop_jobs(start: usize, out: &mut Vec<u8>) {
    let text = out.split_off(start);
    let words = text.split_inclusive(u8::is_ascii_whitespace);
    words.filter(|word| !is_jobs(word.trim_ascii_end())).for_each(|word| out.extend_from_slice(word));
    let end = start + out[start..].trim_ascii_end().len();
    out.truncate(end);
}

/// A program opens the message catalogue when it has something to report.
pub(super) fn is_message(path: &[u8]) -> bool {
    path.ends_with(b".mo") || path.ends_with(b"/locale.alias")
}

/// Whether a byte is commonly part of a file name: it does not end a path inside an argument.
fn is_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"._-+~@%#".contains(&byte) || byte >= 0x80
}

/// Appends a path without `.`, `..` and doubled slashes.
fn tidy(raw: &[u8], out: &mut Vec<u8>) {
    let absolute = raw.starts_with(b"/");
    for part in raw.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." if absolute || !(out.is_empty() || out.ends_with(b"..")) => {
                let end = out.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
                out.truncate(end);
            }
            part => {
                if absolute || !out.is_empty() {
                    out.push(b'/');
                }
                out.extend_from_slice(part);
            }
        }
    }
    if out.is_empty() {
        out.push(if absolute { b'/' } else { b'.' });
    }
}

/// Whether letters and digits are mixed as in a random name.
fn is_mixed(text: &[u8]) -> bool {
    let has = |class: fn(&u8) -> bool| usize::from(text.iter().any(class));
    has(u8::is_ascii_lowercase) + has(u8::is_ascii_uppercase) + has(u8::is_ascii_digit) > 1
}

/// The random names and process ids of a run.
#[derive(Clone, Debug, Default)]
pub(super) struct Chance {
    pub(super) pids: HashSet<u32>,
    /// Words of names that only this run has and that it made, each with whether it may be random.
    made: HashMap<Vec<u8>, bool>,
}

impl Chance {
    /// Of a run with these process ids.
    pub(super) fn new(pids: HashSet<u32>) -> Chance {
        Chance { pids, ..Chance::default() }
    }

    /// Adds a word of a name that only this run has and that it made.
    pub(super) fn made(&mut self, word: &[u8], random: bool) {
        *self.made.entry(word.to_vec()).or_default() |= random;
    }

    /// Whether a number is a process id, a date or random.
    fn is_accidental(&self, text: &[u8]) -> bool {
        let number = str::from_utf8(text).ok().and_then(|text| text.parse().ok());
        text.len() > 1 && number.is_some_and(|number| self.pids.contains(&number))
            || text.len() >= 8 && text.iter().all(u8::is_ascii_digit)
    }
}

/// The number of random characters that mkstemp(3) and most libraries make.
pub(super) const RANDOM: usize = 6;

/// The shape of a text. Texts of two runs that differ only in process ids and random names have the same shape. The reverse does not
/// hold.
pub(super) fn shape(text: &[u8], chance: &Chance, out: &mut Vec<u8>) {
    let temporary = temporary_from(text);
    for (at, run) in runs(text) {
        let random = is_word(run) && run.len() >= RANDOM && at > temporary;
        let varies = run.iter().any(u8::is_ascii_digit) || random || chance.made.contains_key(run);
        out.extend_from_slice(if varies { b"#" } else { run });
    }
}

/// Whether two texts differ only in process ids of their runs and in random names.
pub(super) fn alike(a: (&[u8], &Chance), b: (&[u8], &Chance)) -> bool {
    let temporary = temporary_from(a.0);
    let (mut left, mut right) = (runs(a.0), runs(b.0));
    loop {
        match (left.next(), right.next()) {
            (None, None) => return true,
            (Some((_, one)), Some((_, other))) if one == other => {}
            (Some((at, one)), Some((_, other))) if is_word(one) && is_word(other) => {
                let made = a.1.made.get(one).zip(b.1.made.get(other));
                let random = made.is_some_and(|(one, other)| *one || *other);
                let mixed = [one, other].iter().any(|word| is_mixed(&word[word.len().saturating_sub(RANDOM)..]));
                let same = same_numbers((one, a.1), (other, b.1))
                    || random && differ_by(if one.len() < RANDOM { 1 } else { 2 }, one, other)
                    || at > temporary
                        && one.len() >= RANDOM
                        && (mixed || made.is_some())
                        && differ_by(RANDOM - 2, one, other);
                if !same {
                    return false;
                }
            }
            _ => return false,
        }
    }
}

/// The start of the first path below a directory for temporary files.
fn temporary_from(text: &[u8]) -> usize {
    let find = |dir: &[u8]| text.windows(dir.len()).position(|window| window == dir);
    TEMPORARY.into_iter().filter_map(find).min().unwrap_or(usize::MAX)
}

pub(super) fn is_word(run: &[u8]) -> bool {
    run.first().is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_')
}

/// The words of a text, and the single bytes between them, each with its position.
pub(super) fn runs(text: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let rest = text.get(at..).filter(|rest| !rest.is_empty())?;
        let word = rest.iter().position(|byte| !(byte.is_ascii_alphanumeric() || *byte == b'_')).unwrap_or(rest.len());
        let start = at;
        at += word.max(1);
        Some((start, &rest[..word.max(1)]))
    })
}

/// Whether two words differ only in numbers that are process ids, dates or random.
fn same_numbers(a: (&[u8], &Chance), b: (&[u8], &Chance)) -> bool {
    let mut left = a.0.chunk_by(|x, y| x.is_ascii_digit() == y.is_ascii_digit());
    let mut right = b.0.chunk_by(|x, y| x.is_ascii_digit() == y.is_ascii_digit());
    loop {
        match (left.next(), right.next()) {
            (None, None) => return true,
            (Some(one), Some(other)) if one == other || a.1.is_accidental(one) && b.1.is_accidental(other) => {}
            _ => return false,
        }
    }
}

/// Changes between lower case, upper case and digits. A single capital letter belongs to the lower case after it.
pub(super) fn changes(word: &[u8]) -> usize {
    let class = |byte: u8| match byte {
        b'a'..=b'z' => Some(0),
        b'A'..=b'Z' => Some(1),
        b'0'..=b'9' => Some(2),
        _ => None,
    };
    let mut count = 0;
    let mut capitals = 0;
    for (one, next) in word.iter().zip(word.iter().skip(1)) {
        let (one, next) = (class(*one), class(*next));
        capitals = if one == Some(1) { capitals + 1 } else { 0 };
        let capitalized = one == Some(1) && next == Some(0) && capitals == 1;
        count += usize::from(one.is_some() && next.is_some() && one != next && !capitalized);
    }
    count
}

/// Whether two words have the same length, and so many different characters.
fn differ_by(least: usize, a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).filter(|(one, other)| one != other).count() >= least
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> NameRules {
        NameRules::new(b"/home/me/a")
    }

    #[track_caller]
    fn check_path(raw: &str, compared: &str) {
        let mut out = Vec::new();
        names().path(raw.as_bytes(), &mut out);
        assert_eq!(String::from_utf8_lossy(&out), compared, "{raw}");
    }

    #[track_caller]
    fn check_argv(raw: &str, compared: &str) {
        let mut out = Vec::new();
        names().argv(raw.split('|').map(str::as_bytes), |arg| out.push(String::from_utf8_lossy(arg).into_owned()));
        assert_eq!(out.join("|"), compared, "{raw}");
    }

    #[test]
    fn paths_arguments_and_names_by_chance_are_alike() {
        check_path("/home/me/a/src/x.c", "./src/x.c");
        check_path("/home/me/a", ".");
        check_path("/home/me/ab/x", "/home/me/ab/x");
        check_path("/usr/lib/gcc/12/../../../include//x.h", "/usr/include/x.h");
        check_path("/..", "/");
        check_path("a/../../b", "../b");
        check_path("/proc/4711/task/4712/stat", "/proc/*/task/*/stat");
        check_path("/proc/sys/4711", "/proc/sys/4711");
        check_path("/dev/pts/3", "/dev/pts/*");
        let mut out = Vec::new();
        NameRules::new(b"/").path(b"/x.c", &mut out);
        assert_eq!(out, b"/x.c");
        // Arguments are those of any directory and any number of jobs.
        check_argv("cc|-I/home/me/a/inc|-o|x.o", "cc|-I./inc|-o|x.o");
        check_argv("cc|-DX=\"/home/me/a\"|x/home/me/a", "cc|-DX=\".\"|x/home/me/a");
        check_argv("make|-j8|all", "make|all");
        check_argv("make|all|--jobserver-auth=3,4|--jobs=8|-k", "make|all|-k");
        check_argv("tar|-j|8|-cj4", "tar|-j|8|-cj4");
        check_argv("sh|-c|cd /home/me/a && make -j4 x", "sh|-c|cd . && make x");
        // Process ids and random names are alike.
        check_alike("conf4711.sed", "conf901.sed", true);
        check_alike("conf4711subs.sed", "conf99subs.sed", true);
        check_alike("conf4713.sed", "conf901.sed", false);
        check_alike("-O2", "-O3", false);
        check_alike("rm *", "rm x", false);
        check_alike("/tmp/x.aB3dEf", "/tmp/x.QQQQqq", true);
        check_alike("/tmp/test01", "/tmp/test02", false);
        check_alike("/tmp/hello1", "/tmp/hello2", false);
        check_alike("./x.aB3dEf", "./x.QQQQqq", false);
        check_alike("./sedaB3dEf", "sedQQQQqq", false);
        check_alike("rm ./sedaB3dEf", "rm ./sedQQQQqq", true);
        check_alike("/tmp/go-build123456789", "/tmp/go-build2234567890", true);
        check_alike("m.pyc.140214771923056", "m.pyc.139954771923056", true);
        check_alike("/tmp/ccXq81Pf.s", "/tmp/ccabcdef.s", true);
        check_alike("/tmp/ccompiler.s", "/tmp/assembler.s", false);
        check_alike("/tmp/tmp.a8Fk3LmQ2z/out", "/tmp/tmp.b8Fk4LnQ2y/out", true);
        check_alike("./number", "./letter", false);
        check_alike("/tmp/number", "/tmp/letter", true);
        check_alike("cc rustcO0YNE3/x.o", "cc rustcYwjaK5/x.o", true);
        check_alike("cc x.03d5lq7.o", "cc x.0dhgub4.o", true);
        check_alike("cc test_alpha1.c", "cc test_gamma2.c", false);
    }

    #[track_caller]
    fn check_alike(a: &str, b: &str, expected: bool) {
        let mut chances = [[4711, 4712], [901, 99]].map(|pids| Chance::new(pids.into_iter().collect()));
        let made = [
            [("sedaB3dEf", true), ("number", false), ("rustcO0YNE3", true), ("03d5lq7", true)],
            [("sedQQQQqq", false), ("letter", false), ("rustcYwjaK5", true), ("0dhgub4", true)],
        ];
        for (chance, made) in chances.iter_mut().zip(made) {
            made.into_iter().for_each(|(word, random)| chance.made(word.as_bytes(), random));
        }
        assert_eq!(alike((a.as_bytes(), &chances[0]), (b.as_bytes(), &chances[1])), expected, "{a} {b}");
        let of = |text: &str, chance: &Chance| {
            let mut out = Vec::new();
            shape(text.as_bytes(), chance, &mut out);
            out
        };
        assert!(!expected || of(a, &chances[0]) == of(b, &chances[1]), "{a} {b}");
    }
}
