//! Paths and arguments in comparable form: without the directory of the run, names of temporary files and numbers of jobs.
//!
//! | in a recording | compared |
//! |---|---|
//! | `/home/me/a/src/x.c`, with the COMMAND started in `/home/me/a` | `./src/x.c` |
//! | `/tmp/ccXq81Pf.s`, `/tmp/tmp.a8Fk3LmQ2z/out` | `/tmp/cc*.s`, `/tmp/tmp.*/out` |
//! | `/proc/4711/stat`, `/dev/pts/3` | `/proc/*/stat`, `/dev/pts/*` |
//! | `make -j8 all`, `make --jobserver-auth=3,4` | `make all`, `make` |
//!
//! Some differences cannot be judged from one recording alone (a number that is a process id, a random name). [`alike`] judges
//! these.

use crate::limits;
pub(super) use crate::text::command::leaf;
use foldhash::{HashMap, HashSet};

const TEMPORARY: [&[u8]; 3] = [b"/tmp", b"/var/tmp", b"/dev/shm"];

/// Working directories that are not replaced, because they contain programs or are not specific to a run.
const COMMON: [&[u8]; 10] =
    [b"/", b"/usr", b"/usr/bin", b"/bin", b"/etc", b"/home", b"/var", b"/proc", b"/sys", b"/dev"];

/// Extensions of the temporary files of compilers.
const COMPILER: [&[u8]; 9] = [b"s", b"o", b"c", b"i", b"ii", b"res", b"le", b"ld", b"cdtor"];

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

    /// The directories above that of the run, in comparable form.
    pub(super) fn above_root(&self) -> Vec<Vec<u8>> {
        let slashes = (1..self.root.len()).filter(|at| self.root[*at] == b'/');
        let compared = |at: usize| {
            let mut out = Vec::new();
            self.path(&self.root[..at], &mut out);
            out
        };
        slashes.map(compared).collect()
    }

    /// Appends a path in comparable form.
    pub(super) fn path(&self, raw: &[u8], out: &mut Vec<u8>) {
        let mut clean = Vec::with_capacity(raw.len());
        tidy(raw, &mut clean);
        let (mut rest, mut temporary) = (&clean[..], false);
        if let Some(below) = self.below_root(rest) {
            out.push(b'.');
            rest = below;
        } else if let Some(dir) = TEMPORARY.into_iter().find(|dir| below(rest, dir).is_some()) {
            out.extend_from_slice(dir);
            (rest, temporary) = (&rest[dir.len()..], true);
        }
        let mut before: &[u8] = b"";
        let mut process = clean.starts_with(b"/proc/");
        for (at, part) in rest.split(|byte| *byte == b'/').enumerate() {
            if at > 0 {
                out.push(b'/');
            }
            let number = !part.is_empty() && part.iter().all(u8::is_ascii_digit);
            if number && (process || before == b"pts") {
                out.push(b'*');
            } else {
                component(part, temporary, out);
            }
            // /proc/PID and /proc/PID/task/TID.
            process &= at == 0 || part == b"proc" || part == b"task" || number;
            before = part;
        }
    }

    /// The rest of a path after the directory of the run. A temporary file directly in it is not the run's.
    fn below_root<'p>(&self, path: &'p [u8]) -> Option<&'p [u8]> {
        let rest = below(path, &self.root).filter(|_| !self.root.is_empty())?;
        let leaf = rest.strip_prefix(b"/").unwrap_or(rest);
        let foreign = TEMPORARY.contains(&&self.root[..]) && temporary_name(leaf).is_some();
        (!foreign).then_some(rest)
    }

    /// Appends an argument in comparable form.
    pub(super) fn word(&self, raw: &[u8], out: &mut Vec<u8>) {
        let spaced = raw.iter().any(u8::is_ascii_whitespace);
        if !raw.contains(&b'/') && !spaced {
            return out.extend_from_slice(raw);
        }
        let start = out.len();
        let mut at = 0;
        // The start of the part between delimiters, and whether it is in a directory for temporary files.
        let (mut token, mut temporary) = (0, false);
        while let Some(&byte) = raw.get(at) {
            let rest = &raw[at..];
            let inside = at > token && is_name(raw[at - 1]) && raw.get(token) != Some(&b'-');
            if byte == b'/' && !inside {
                if let Some(below) = self.word_below_root(rest) {
                    out.push(b'.');
                    at = raw.len() - below.len();
                    continue;
                }
                if let Some(dir) =
                    TEMPORARY.into_iter().find(|dir| rest.starts_with(dir) && rest.get(dir.len()) == Some(&b'/'))
                {
                    out.extend_from_slice(dir);
                    at += dir.len();
                    temporary = true;
                    continue;
                }
            }
            if byte == b'/' || !is_name(byte) {
                out.push(byte);
                at += 1;
                if byte != b'/' {
                    (token, temporary) = (at, false);
                }
                continue;
            }
            let end = rest.iter().position(|byte| !is_name(*byte)).unwrap_or(rest.len());
            component(&rest[..end], temporary, out);
            at += end;
        }
        if spaced {
            drop_jobs(start, out);
        }
    }

    fn word_below_root<'w>(&self, rest: &'w [u8]) -> Option<&'w [u8]> {
        let after = rest.strip_prefix(&self.root[..]).filter(|_| !self.root.is_empty())?;
        let ends = after.first().is_none_or(|byte| *byte == b'/' || !is_name(*byte));
        let name = after.strip_prefix(b"/").unwrap_or(after);
        let end = name.iter().position(|byte| !is_name(*byte)).unwrap_or(name.len());
        let foreign = TEMPORARY.contains(&&self.root[..]) && temporary_name(&name[..end]).is_some();
        (ends && !foreign).then_some(after)
    }

    /// Calls `each` with every argument in comparable form. The numbers of jobs are left out.
    pub(super) fn argv<'a>(&self, args: impl Iterator<Item = &'a [u8]>, mut each: impl FnMut(&[u8])) {
        let mut out = Vec::new();
        let (mut makes, mut number_follows) = (false, false);
        for (at, arg) in args.enumerate() {
            if at == 0 {
                makes = runs_jobs(leaf(arg));
            }
            if std::mem::take(&mut number_follows) && arg.iter().all(u8::is_ascii_digit) {
                continue;
            }
            out.clear();
            match jobs(arg, makes) {
                None => self.word(arg, &mut out),
                Some((b"", follows)) => {
                    number_follows = follows;
                    continue;
                }
                Some((letters, _)) => out.extend_from_slice(letters),
            }
            each(&out);
        }
    }
}

/// If an argument gives the number of parallel jobs: its letters before that, and whether the number is the next argument.
fn jobs(arg: &[u8], makes: bool) -> Option<(&[u8], bool)> {
    if [&b"--jobserver-auth="[..], b"--jobserver-fds=", b"--jobs="].iter().any(|option| arg.starts_with(option)) {
        return Some((b"", false));
    }
    let short = arg.strip_prefix(b"-").filter(|short| !short.is_empty())?;
    let letters = short.len() - short.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let (name, digits) = short.split_at(letters);
    match name {
        b"j" if makes || !digits.is_empty() => Some((b"", digits.is_empty())),
        b"-jobs" | b"-parallel" if makes && digits.is_empty() => Some((b"", true)),
        b"P" if makes && !digits.is_empty() => Some((b"", false)),
        [.., b'j'] if makes && name.iter().all(u8::is_ascii_lowercase) => Some((&arg[..letters], false)),
        _ => None,
    }
}

/// Whether `-j` means jobs for this program.
fn runs_jobs(name: &[u8]) -> bool {
    let names: [&[u8]; 9] = [b"make", b"gmake", b"ninja", b"samu", b"cargo", b"cmake", b"ctest", b"xargs", b"parallel"];
    names.contains(&name)
}

/// Removes the numbers of jobs from a command line in one argument, from `start` on.
fn drop_jobs(start: usize, out: &mut Vec<u8>) {
    let has = |part: &[u8]| out[start..].windows(part.len()).any(|window| window == part);
    if !has(b"-j") {
        return;
    }
    let text = out.split_off(start);
    let mut number_follows = false;
    for part in text.split_inclusive(u8::is_ascii_whitespace) {
        let word = part.trim_ascii_end();
        let number = !word.is_empty() && word.iter().all(u8::is_ascii_digit);
        if std::mem::take(&mut number_follows) && number {
            continue;
        }
        match jobs(word, false) {
            Some(_) => {}
            _ if word == b"-j" => number_follows = true,
            _ => out.extend_from_slice(part),
        }
    }
    let end = out.len() - out[start..].iter().rev().take_while(|byte| byte.is_ascii_whitespace()).count();
    out.truncate(end);
}

/// A program opens the message catalogue when it has something to report.
pub(super) fn is_message(path: &[u8]) -> bool {
    path.ends_with(b".mo") || path.ends_with(b"/locale.alias")
}

/// The rest of a path after a directory: empty, or with its slash.
fn below<'p>(path: &'p [u8], dir: &[u8]) -> Option<&'p [u8]> {
    path.strip_prefix(dir).filter(|rest| rest.is_empty() || rest.starts_with(b"/"))
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

/// Appends a component without the random part of a temporary file's name.
fn component(part: &[u8], temporary: bool, out: &mut Vec<u8>) {
    let known = if temporary {
        temporary_name(part)
    } else {
        compiler_name(part).filter(|random| is_mixed(&part[random.clone()]))
    };
    match known.or_else(|| cached_name(part)) {
        Some(random) => {
            out.extend_from_slice(&part[..random.start]);
            out.push(b'*');
            out.extend_from_slice(&part[random.end..]);
        }
        None => out.extend_from_slice(part),
    }
}

/// The position of the random part of a well-known temporary name.
fn temporary_name(name: &[u8]) -> Option<std::ops::Range<usize>> {
    let random = |prefix: &[u8], length: usize| {
        let rest = name.strip_prefix(prefix)?;
        let end = rest.iter().position(|byte| !(byte.is_ascii_alphanumeric() || *byte == b'_')).unwrap_or(rest.len());
        (end == length).then_some(prefix.len()..prefix.len() + length)
    };
    // Go: 32 random bits.
    let digits = name.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let number = (8..=10).contains(&digits).then_some(name.len() - digits..name.len());
    // gcc, mktemp(1), Python, clang, the fifo of GNU make.
    let fifo = name.strip_prefix(b"GMfifo").filter(|digits| digits.iter().all(u8::is_ascii_digit));
    random(b"cc", 6)
        .or_else(|| random(b"tmp.", 10))
        .or_else(|| random(b"tmp", 8))
        .or_else(|| fifo.map(|_| b"GMfifo".len()..name.len()))
        .or(number)
}

/// The same for a compiler's temporary file in a directory of its own (`TMPDIR`).
fn compiler_name(name: &[u8]) -> Option<std::ops::Range<usize>> {
    let rest = name.strip_prefix(b"cc")?;
    let (random, extension) = (rest.get(..6)?, rest.get(6..)?.strip_prefix(b".")?);
    (random.iter().all(u8::is_ascii_alphanumeric) && COMPILER.contains(&extension)).then_some(2..8)
}

/// `x.cpython-312.pyc.140214771923056`, while Python writes it.
fn cached_name(name: &[u8]) -> Option<std::ops::Range<usize>> {
    let digits = name.iter().rev().take_while(|byte| byte.is_ascii_digit()).count();
    let start = name.len() - digits;
    (digits > 0 && name[..start].ends_with(b".pyc.")).then_some(start..name.len())
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
    /// The words in the paths of written files, each with whether a file was created under a new name (`O_EXCL`).
    created: HashMap<Vec<u8>, bool>,
    /// Words of names that only this run has and that it made, each with whether it may be random.
    made: HashMap<Vec<u8>, bool>,
}

impl Chance {
    /// Of a run with these process ids.
    pub(super) fn new(pids: HashSet<u32>) -> Chance {
        Chance { pids, ..Chance::default() }
    }

    /// Adds a written file. `new`: whether it was created under a name that no file had.
    pub(super) fn wrote(&mut self, path: &[u8], new: bool) {
        let at = path.len() - leaf(path).len();
        for (start, word) in runs(path).filter(|(_, word)| is_word(word) && word.len() >= RANDOM) {
            // A name is only random if letters and digits alternate, so that few words are kept.
            let known = self.created.len() < limits::DIFF_PATHS || self.created.contains_key(word);
            if known && (new && start >= at || changes(word) > 0) {
                *self.created.entry(word.to_vec()).or_default() |= new && start >= at;
            }
        }
    }

    /// Adds a word of a name that only this run has and that it made.
    pub(super) fn made(&mut self, word: &[u8], random: bool) {
        *self.made.entry(word.to_vec()).or_default() |= random;
    }

    /// The number of changes between letters and digits that a random word needs; `None` if the word is not from a written file.
    fn demands(&self, word: &[u8]) -> Option<usize> {
        self.created.get(word).map(|new| if *new { 2 } else { 3 })
    }

    fn is_pid(&self, text: &[u8]) -> bool {
        let number = str::from_utf8(text).ok().and_then(|text| text.parse().ok());
        text.len() > 1 && number.is_some_and(|number| self.pids.contains(&number))
    }
}

/// The number of random characters that mkstemp(3) and most libraries make.
pub(super) const RANDOM: usize = 6;

/// The shape of a text. Texts of two runs that differ only in process ids and random names have the same shape, except if one of two
/// random names outside of the directories for temporary files has no change at all. The reverse does not hold.
pub(super) fn shape(text: &[u8], chance: &Chance, out: &mut Vec<u8>) {
    let temporary = temporary_from(text);
    for (at, run) in runs(text) {
        let random = || run.len() >= RANDOM && (at > temporary || changes(run) > 0);
        let varies = run.iter().any(u8::is_ascii_digit) || is_word(run) && random() || chance.made.contains_key(run);
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
                let created = a.1.demands(one).zip(b.1.demands(other)).map(|(one, other)| one.max(other));
                let made = a.1.made.get(one).zip(b.1.made.get(other)).is_some_and(|(one, other)| *one || *other);
                let same = same_numbers((one, a.1), (other, b.1))
                    || made && differ_by(if one.len() < RANDOM { 1 } else { 2 }, one, other);
                if !same && !same_randoms(one, other, created, at > temporary) {
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

/// Whether two words differ only in numbers that are process ids.
fn same_numbers(a: (&[u8], &Chance), b: (&[u8], &Chance)) -> bool {
    let mut left = a.0.chunk_by(|x, y| x.is_ascii_digit() == y.is_ascii_digit());
    let mut right = b.0.chunk_by(|x, y| x.is_ascii_digit() == y.is_ascii_digit());
    loop {
        match (left.next(), right.next()) {
            (None, None) => return true,
            (Some(one), Some(other)) if one == other || a.1.is_pid(one) && b.1.is_pid(other) => {}
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

/// Whether two words may be two random names: they have the same length, and most of it differs. In a directory for temporary
/// files, one of them must mix letters and digits, unless both are of new files. Elsewhere, one must have as many changes as
/// `created` demands.
fn same_randoms(a: &[u8], b: &[u8], created: Option<usize>, temporary: bool) -> bool {
    let mixed = is_mixed(&a[a.len().saturating_sub(RANDOM)..]) || is_mixed(&b[b.len().saturating_sub(RANDOM)..]);
    let alternate = |demanded| changes(a).max(changes(b)) >= demanded;
    a.len() >= RANDOM
        && differ_by(RANDOM - 2, a, b)
        && (temporary && (mixed || created == Some(2)) || created.is_some_and(alternate))
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
        check_path("/tmp/ccXq81Pf.s", "/tmp/cc*.s");
        check_path("/tmp/ccompiler.s", "/tmp/ccompiler.s");
        check_path("/home/me/a/ccession.c", "./ccession.c");
        check_path("/home/me/t/ccQeR9zz.s", "/home/me/t/cc*.s");
        check_path("/tmp/tmp.a8Fk3LmQ2z/out", "/tmp/tmp.*/out");
        check_path("/tmp/tmp0_x4kq2a", "/tmp/tmp*");
        check_path("/tmp/tmpfiles", "/tmp/tmpfiles");
        check_path("/tmp/GMfifo4711", "/tmp/GMfifo*");
        check_path("/proc/4711/task/4712/stat", "/proc/*/task/*/stat");
        check_path("/proc/sys/4711", "/proc/sys/4711");
        check_path("/dev/pts/3", "/dev/pts/*");
        check_path("/x/__pycache__/m.cpython-312.pyc.140214771923056", "/x/__pycache__/m.cpython-312.pyc.*");
        // A run in a directory for temporary files does not hide them.
        let mut out = Vec::new();
        NameRules::new(b"/tmp").path(b"/tmp/ccXq81Pf.s", &mut out);
        NameRules::new(b"/tmp").path(b"/tmp/x.c", &mut out);
        NameRules::new(b"/").path(b"/x.c", &mut out);
        assert_eq!(out, b"/tmp/cc*.s./x.c/x.c");
        // Arguments are those of any directory and any number of jobs.
        check_argv("cc|-I/home/me/a/inc|-o|/tmp/ccXq81Pf.s", "cc|-I./inc|-o|/tmp/cc*.s");
        check_argv("cc|-DX=\"/home/me/a\"|x/home/me/a", "cc|-DX=\".\"|x/home/me/a");
        check_argv("make|-j8|all", "make|all");
        check_argv("make|-j|8|all|-kj4|--jobserver-auth=3,4|-kj", "make|all|-k|-k");
        check_argv("tar|-j|8|-cj4", "tar|-j|8|-cj4");
        check_argv("sh|-c|cd /home/me/a && make -j4 x", "sh|-c|cd . && make x");
        check_argv("sh|-c|make -j 4", "sh|-c|make");
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
        check_alike("./number", "./letter", false);
        check_alike("/tmp/number", "/tmp/letter", true);
        check_alike("cc rustcO0YNE3/x.o", "cc rustcYwjaK5/x.o", true);
        check_alike("cc x.03d5lq7.o", "cc x.0dhgub4.o", true);
        check_alike("cc test_alpha1.c", "cc test_gamma2.c", false);
    }

    #[track_caller]
    fn check_alike(a: &str, b: &str, expected: bool) {
        let mut chances = [[4711, 4712], [901, 99]].map(|pids| Chance::new(pids.into_iter().collect()));
        for (chance, created) in chances.iter_mut().zip([["w/sedaB3dEf", "number"], ["w/sedQQQQqq", "letter"]]) {
            created.into_iter().for_each(|file| chance.wrote(file.as_bytes(), true));
            chance.wrote(b"w/rustcO0YNE3/test_alpha1.03d5lq7.o", false);
            chance.wrote(b"w/rustcYwjaK5/test_gamma2.0dhgub4.o", false);
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
