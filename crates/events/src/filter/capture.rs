//! The filter options, and the part that the kernel can apply.
//!
//! The kernel applies `--pid`, `--tree`, `--comm`, `--uid`, `--kind` and `--failed`, and the top-level AND terms
//! `pid=N`, `tree=N`, `comm=GLOB`, `uid=USER` (or several of one field, in a list or joined by `or`), `err` and any term
//! about `kind` alone. The rest stays in [`Compiled::rest`], including lists and globs that are too long.
//!
//! `--process` stays: the kernel side does not know the names of executables.
//!
//! The kernel applies `--cgroup`, `--unit` and `--container` approximately, and they stay in [`Compiled::rest`] too: the
//! kernel side compares ids, and the id of the v2 root does not identify a process in another hierarchy. A cgroup that is
//! created during the trace passes from the time it is known, some 10 ms after its first process was seen.

use super::ast::{Expr, Op, Spots, Test};
use super::eval::{Check, Compiler, FilterNode};
use super::fields;
use super::glob::{Glob, Piece};
use super::time;
use super::{Filter, FilterError, NameLookup, Scratch};
use crate::event::process::COMM_MAX;
use crate::event::{Body, EventContext, cgroup};
use crate::frame::host::Cgroup;
use crate::limits;
use crate::text::time::Zone;
use tracetui_shared::capture::{Capture, CommGlobs, MAX_PIDS, MAX_ROOTS, MAX_UIDS, test};
use tracetui_shared::kind::{Kind, KindSet};

/// Follows a kind in `--kind`: only its events that did not fail.
const OK: &str = ":ok";

/// Positions of a [`CommGlobs`].
const POSITIONS: usize = 64;

/// The filter options as they were written. Each value of one option, or piece between commas, is an alternative;
/// different options must all hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FilterOptions {
    /// `--pid N`.
    pub pid: Vec<String>,
    /// `--tree N`.
    pub tree: Vec<String>,
    /// `--comm GLOB`. A comma in a glob needs a backslash before it.
    pub comm: Vec<String>,
    /// `--process GLOB`: the name of the leader or of the executable.
    pub process: Vec<String>,
    /// `--uid USER`.
    pub uid: Vec<String>,
    /// `--cgroup GLOB`.
    pub cgroup: Vec<String>,
    /// `--unit GLOB`.
    pub unit: Vec<String>,
    /// `--container GLOB`: a name or an id.
    pub container: Vec<String>,
    /// `--kind LIST`. `KIND:ok` means its events that did not fail.
    pub kind: Vec<String>,
    pub failed: bool,
    /// `--filter EXPR`. Commas do not separate expressions.
    pub filter: Vec<String>,
    /// The time zone of dates in a filter of recordings.
    pub zone: Zone,
}

/// Ids of cgroups that always pass to user space, because the id does not determine the path: 0 is unknown, and
/// processes in the v2 root are named by another hierarchy.
pub const NAMELESS_CGROUPS: [u64; 2] = [0, 1];

/// Elements of the map of cgroups: one per cgroup with a kept path, and [`NAMELESS_CGROUPS`]. A cgroup whose path is
/// kept always fits.
pub const CGROUPS_MAP: u32 = limits::CGROUPS as u32 + NAMELESS_CGROUPS.len() as u32;

/// The capture filter with its lists: the events that the kernel side passes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureFilter {
    /// Kinds, tests and globs.
    pub capture: Capture,
    /// Processes that [`test::PID`] passes.
    pub pids: Vec<u32>,
    /// Users that [`test::UID`] passes.
    pub uids: Vec<u32>,
    /// Roots of the trees that [`test::TREE`] passes: the processes that have these ids when
    /// the filter is set.
    pub trees: Vec<u32>,
    /// Conditions on cgroups, for [`test::CGROUP`]. A cgroup passes if all of them hold.
    pub cgroups: Vec<CgroupTest>,
}

/// A condition on the path of a cgroup, or on its unit or container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupTest {
    field: String,
    /// At least one must match.
    globs: Vec<Glob>,
}

impl CgroupTest {
    pub fn holds(&self, cgroup: &Cgroup) -> bool {
        self.globs.iter().any(|glob| match self.field.as_str() {
            "unit" => has_unit(cgroup, glob),
            "container" => has_container(cgroup, glob),
            _ => glob.matches(&cgroup.path),
        })
    }
}

impl CaptureFilter {
    pub const NOTHING: CaptureFilter = CaptureFilter {
        capture: Capture { kinds: 0, tests: 0, start_offset: 0, comm: CommGlobs::NONE },
        pids: Vec::new(),
        uids: Vec::new(),
        trees: Vec::new(),
        cgroups: Vec::new(),
    };
}

#[derive(Clone, Debug)]
pub struct Compiled {
    /// The part that the kernel applies.
    pub capture: CaptureFilter,
    /// The requested kinds, without `lost`.
    pub kinds: KindSet,
    /// Whether processes are chosen, or a kind that needs that ([`KindSet::AIMED`]) is named.
    pub aims: bool,
    /// The kinds whose failed events are requested too: all but those that `--kind` names as `KIND:ok`.
    pub failing: KindSet,
    /// The part that the kernel cannot apply, without `kinds` and `show_lost`.
    pub rest: Filter,
    /// The whole filter, including its text, for recordings and the dashboard. It does not contain the default kinds:
    /// check `kinds` too.
    pub whole: Filter,
    /// Whether `lost` rows are shown. They are, unless kinds are named and `lost` is not among them.
    pub show_lost: bool,
}

impl Compiled {
    /// Whether an event passes, given that it passed the capture filter.
    pub fn passes(&self, seen: &EventContext<'_>, scratch: &mut Scratch) -> bool {
        let shown = match seen.event.body {
            Body::Lost(_) => self.show_lost,
            _ => self.kinds.contains(seen.event.kind()),
        };
        shown && self.rest.matches(seen, scratch)
    }

    /// Whether an event from a recording passes, without a capture filter.
    pub fn passes_whole(&self, seen: &EventContext<'_>, scratch: &mut Scratch) -> bool {
        let shown = matches!(seen.event.body, Body::Lost(_)) || self.kinds.contains(seen.event.kind());
        shown && self.whole.matches(seen, scratch)
    }
}

impl FilterOptions {
    /// Parses all options, and extracts the part that the kernel can apply.
    /// An error names the option whose value is wrong.
    pub fn compile(&self, names: &dyn NameLookup) -> Result<Compiled, FilterError> {
        let mut expr = self.expr(names)?;
        time::fix(&mut expr, names);
        let whole = Filter::of(expr.clone(), expr.to_string(), names)?;
        let mut lowered = Lowered::new(self.kind.is_empty(), &expr, names);
        let mut rest = Vec::new();
        // A call that succeeded may be the first event of a leader with its new name.
        let named = whole.compares(&["process"]);
        for part in expr.into_parts() {
            if named && part == Expr::Failed || !lowered.move_to_capture(&part)? {
                rest.push(part);
            }
        }
        let mut failing = KindSet::ALL;
        if !self.kind.is_empty() {
            let kinds = self.kinds(names)?;
            lowered.kinds &= kinds_within(&kinds, false, names);
            failing = kinds_within(&kinds, true, names);
        }
        let rest = Expr::all(rest);
        let rest = Filter::of(rest.clone(), rest.to_string(), names)?;
        let kinds = lowered.kinds & KindSet::PROBED;
        let show_lost = lowered.kinds.contains(Kind::Lost);
        let named = KindSet::AIMED.iter().any(|kind| asks_for(kind, &whole.expr, true, names));
        let aims = named || lowered.trees.is_some() || lowered.pids.is_some();
        Ok(Compiled { capture: lowered.capture(kinds), kinds, aims, failing, rest, whole, show_lost })
    }

    /// The expression of `--kind`.
    fn kinds(&self, names: &dyn NameLookup) -> Result<Expr, FilterError> {
        let items = self.kind.iter().flat_map(|value| split(value));
        let tests = items.map(|item| {
            let kind = option_test("--kind", "kind", item.strip_suffix(OK).unwrap_or(item), names)?;
            Ok(if item.ends_with(OK) { Expr::all(vec![kind, Expr::Not(Box::new(Expr::Failed))]) } else { kind })
        });
        Ok(Expr::any(tests.collect::<Result<_, _>>()?))
    }

    fn expr(&self, names: &dyn NameLookup) -> Result<Expr, FilterError> {
        let lists = [
            ("--pid", "pid", &self.pid),
            ("--tree", "tree", &self.tree),
            ("--comm", "comm", &self.comm),
            ("--process", "process", &self.process),
            ("--uid", "uid", &self.uid),
            ("--cgroup", "cgroup", &self.cgroup),
            ("--unit", "unit", &self.unit),
            ("--container", "container", &self.container),
        ];
        let mut parts = if self.kind.is_empty() { Vec::new() } else { vec![self.kinds(names)?] };
        for (option, field, values) in lists {
            let items: Vec<&str> = values.iter().flat_map(|value| split(value)).collect();
            let tests = items.into_iter().map(|item| option_test(option, field, item, names));
            let tests = tests.collect::<Result<Vec<_>, _>>()?;
            if !tests.is_empty() {
                parts.push(Expr::any(tests));
            }
        }
        if self.failed {
            parts.push(Expr::Failed);
        }
        let filters = self.filter.iter().map(|text| expression(text, names)).collect::<Result<Vec<_>, _>>()?;
        if !filters.is_empty() {
            parts.push(Expr::any(filters));
        }
        Ok(Expr::all(parts))
    }
}

/// Splits at commas that have no backslash before them.
fn split(value: &str) -> Vec<&str> {
    let (mut items, mut start, mut escaped) = (Vec::new(), 0, false);
    for (i, c) in value.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                items.push(&value[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    items.push(&value[start..]);
    items
}

fn option_test(option: &'static str, field: &str, item: &str, names: &dyn NameLookup) -> Result<Expr, FilterError> {
    let of_option = |error: FilterError| FilterError { option: Some(option), ..error.within(item) };
    if item.is_empty() {
        return Err(of_option(FilterError::new(0..0, "missing value")));
    }
    let spots = Spots { field: 0..item.len(), op: 0..item.len(), value: 0..item.len() };
    let test = Test { field: field.to_owned(), op: Op::Eq, value: item.as_bytes().to_vec(), spots };
    Compiler::new(names).test(&test).map_err(of_option)?;
    Ok(Expr::Test(test))
}

fn expression(text: &str, names: &dyn NameLookup) -> Result<Expr, FilterError> {
    let of_option = |error: FilterError| FilterError { option: Some("--filter"), ..error };
    Filter::parse(text, names).map(|filter| filter.expr).map_err(of_option)
}

/// The terms moved to the kernel's filter so far.
struct Lowered<'n> {
    names: &'n dyn NameLookup,
    /// Includes [`Kind::Lost`] if it is shown.
    kinds: KindSet,
    tests: u32,
    pids: Option<Vec<u32>>,
    uids: Option<Vec<u32>>,
    trees: Option<Vec<u32>>,
    cgroups: Vec<CgroupTest>,
    comm: Option<CommGlobs>,
}

impl<'n> Lowered<'n> {
    /// `by_default` means that no `--kind` was given. Kinds that are off by default (forks) are then shown only if the expression
    /// asks for them.
    fn new(by_default: bool, expr: &Expr, names: &'n dyn NameLookup) -> Lowered<'n> {
        let mut kinds = KindSet::ALL;
        if by_default {
            let asked = KindSet::ON_REQUEST.iter().filter(|kind| asks_for(*kind, expr, true, names));
            kinds &= !KindSet::ON_REQUEST | asked.collect::<KindSet>();
        }
        Lowered { names, kinds, tests: 0, pids: None, uids: None, trees: None, cgroups: Vec::new(), comm: None }
    }

    /// Moves a part to the kernel's filter. Returns `false` if it must also stay.
    fn move_to_capture(&mut self, part: &Expr) -> Result<bool, FilterError> {
        if *part == Expr::Failed {
            self.tests |= test::FAILED;
            return Ok(true);
        }
        if let Some(kinds) = kinds_of(part, self.names) {
            self.kinds &= kinds;
            return Ok(true);
        }
        let Some((field, tests)) = alternatives(part) else { return Ok(false) };
        Ok(match field {
            "pid" => self.take_ids(tests, MAX_PIDS, test::PID)?,
            "uid" => self.take_ids(tests, MAX_UIDS, test::UID)?,
            "comm" => self.take_comm(&tests),
            "tree" => self.take_trees(tests)?,
            "cgroup" | "unit" | "container" => self.take_cgroups(field, &tests),
            _ => false,
        })
    }

    fn take_ids(&mut self, tests: Vec<&Test>, most: u32, bit: u32) -> Result<bool, FilterError> {
        let mut compiler = Compiler::new(self.names);
        let mut ids = Vec::new();
        for test in tests {
            if let FilterNode::Field(field) = compiler.test(test)?
                && let Check::Number(_, n) = field.check
            {
                // No user or process has an id beyond u32.
                ids.extend(u32::try_from(n));
            }
        }
        ids.sort_unstable();
        ids.dedup();
        if ids.len() > most as usize {
            return Ok(false);
        }
        let list = if bit == test::PID { &mut self.pids } else { &mut self.uids };
        *list = Some(match list.take() {
            None => ids,
            Some(before) => before.into_iter().filter(|id| ids.contains(id)).collect(),
        });
        self.tests |= bit;
        Ok(true)
    }

    /// Moves one list of tree roots to the kernel's filter. The kernel cannot require membership in two lists of trees at once.
    fn take_trees(&mut self, tests: Vec<&Test>) -> Result<bool, FilterError> {
        let mut compiler = Compiler::new(self.names);
        let mut roots = Vec::new();
        for test in tests {
            if let FilterNode::Tree(root) = compiler.test(test)? {
                roots.push(root.0);
            }
        }
        roots.sort_unstable();
        roots.dedup();
        if self.trees.is_some() || roots.len() > MAX_ROOTS as usize {
            return Ok(false);
        }
        self.trees = Some(roots);
        self.tests |= test::TREE;
        Ok(true)
    }

    /// Moves globs about cgroups to the capture filter. They also stay in the display filter.
    fn take_cgroups(&mut self, field: &str, tests: &[&Test]) -> bool {
        if let Some(globs) = tests.iter().map(|test| Glob::new(&test.value).ok()).collect() {
            self.cgroups.push(CgroupTest { field: field.to_owned(), globs });
            self.tests |= test::CGROUP;
        }
        false
    }

    /// Moves comm globs to the capture filter. Returns `false` if they must also stay, even if the kernel applies them
    /// approximately.
    fn take_comm(&mut self, tests: &[&Test]) -> bool {
        let globs: Option<Vec<Glob>> = tests.iter().map(|test| Glob::new(&test.value).ok()).collect();
        let Some((comm, exactly)) = globs.filter(|_| self.comm.is_none()).and_then(|globs| comm_globs(&globs)) else {
            return false;
        };
        self.comm = Some(comm);
        self.tests |= test::COMM;
        exactly
    }

    fn capture(self, kinds: KindSet) -> CaptureFilter {
        CaptureFilter {
            capture: Capture {
                kinds: kinds.bits(),
                tests: self.tests,
                start_offset: 0,
                comm: self.comm.unwrap_or(CommGlobs::NONE),
            },
            pids: self.pids.unwrap_or_default(),
            uids: self.uids.unwrap_or_default(),
            trees: self.trees.unwrap_or_default(),
            cgroups: self.cgroups,
        }
    }
}

fn has_unit(cgroup: &Cgroup, glob: &Glob) -> bool {
    let mut text = Vec::new();
    cgroup::unit(&cgroup.path).is_some_and(|unit| {
        unit.write(&mut text);
        glob.matches(&text)
    })
}

/// Whether the name or the id matches, or may: the name is not known yet.
fn has_container(cgroup: &Cgroup, glob: &Glob) -> bool {
    match (&cgroup.container, cgroup::container(&cgroup.path)) {
        (Some(container), _) => glob.matches(&container.name) || glob.matches(&container.id),
        (None, claim) => claim.is_some(),
    }
}

/// The terms of a part that is `field=value`, or several of these for one field, in a list or joined by `or`.
fn alternatives(part: &Expr) -> Option<(&str, Vec<&Test>)> {
    let tests = tests(part)?;
    let field = tests.first()?.field.as_str();
    tests.iter().all(|test| test.field == field && test.op == Op::Eq).then_some((field, tests))
}

/// The terms of a part that consists of terms joined by `or`.
pub(super) fn tests(part: &Expr) -> Option<Vec<&Test>> {
    match part {
        Expr::Any(parts) => Some(parts.iter().map(tests).collect::<Option<Vec<_>>>()?.concat()),
        Expr::List(tests) => Some(tests.iter().collect()),
        Expr::Test(test) => Some(vec![test]),
        _ => None,
    }
}

/// The kinds for which a part about the kind alone holds; `None` for any other part.
pub(super) fn kinds_of(part: &Expr, names: &dyn NameLookup) -> Option<KindSet> {
    match part {
        Expr::All(parts) if !parts.is_empty() => {
            parts.iter().try_fold(KindSet::ALL, |kinds, p| Some(kinds & kinds_of(p, names)?))
        }
        Expr::Any(parts) => parts.iter().try_fold(KindSet::NONE, |kinds, p| Some(kinds | kinds_of(p, names)?)),
        Expr::Not(inner) => Some(!kinds_of(inner, names)?),
        Expr::List(tests) => kinds_of(&Expr::of_list(tests), names),
        Expr::Test(test) if test.field == "kind" => {
            let Ok(FilterNode::Field(field)) = Compiler::new(names).test(test) else { return None };
            let kinds = Kind::ALL.into_iter().filter(|kind| field.check.matches(kind.name().as_bytes()));
            let kinds = kinds.collect::<KindSet>();
            Some(if matches!(test.op, Op::Ne | Op::NotLike) { !kinds } else { kinds })
        }
        _ => None,
    }
}

/// The kinds for whose events a part may hold; for whose `failed` events, if only these are meant.
fn kinds_within(part: &Expr, failed: bool, names: &dyn NameLookup) -> KindSet {
    let within = |part| kinds_within(part, failed, names);
    match part {
        Expr::All(parts) => parts.iter().map(within).fold(KindSet::ALL, |kinds, of_part| kinds & of_part),
        Expr::Any(parts) => parts.iter().map(within).fold(KindSet::NONE, |kinds, of_part| kinds | of_part),
        Expr::Not(inner) if failed && **inner == Expr::Failed => KindSet::NONE,
        _ => kinds_of(part, names).unwrap_or(KindSet::ALL),
    }
}

/// Whether an expression asks for a kind, by its name or by a field that only this kind has.
pub(super) fn asks_for(kind: Kind, expr: &Expr, wanted: bool, names: &dyn NameLookup) -> bool {
    match expr {
        Expr::All(parts) | Expr::Any(parts) => parts.iter().any(|part| asks_for(kind, part, wanted, names)),
        Expr::Not(inner) => asks_for(kind, inner, !wanted, names),
        Expr::List(tests) => asks_for(kind, &Expr::of_list(tests), wanted, names),
        Expr::Test(test) if matches!(test.op, Op::Ne | Op::NotLike) == wanted => false,
        Expr::Test(test) => {
            let positive = Test { op: if test.op == Op::NotLike { Op::Like } else { Op::Eq }, ..test.clone() };
            let test = if matches!(test.op, Op::Ne | Op::NotLike) { positive } else { test.clone() };
            let only_it_has = fields::look(&test.field).is_some_and(|look| look.kinds() == KindSet::from(kind));
            only_it_has || kinds_of(&Expr::Test(test), names).is_some_and(|kinds| kinds.contains(kind))
        }
        Expr::Word(_) | Expr::Failed => false,
    }
}

/// The automaton for globs over thread names, any of which may match, and whether it matches exactly the names that they match.
/// Otherwise possibly more: it works on bytes, and where a glob requires one character that may have several bytes, it accepts
/// one or more. `None` when they need more than 64 positions.
pub(crate) fn comm_globs(globs: &[Glob]) -> Option<(CommGlobs, bool)> {
    let mut built = CommGlobs::NONE;
    let (mut next, mut exactly) = (0, true);
    // Positions beyond the length of every name are not needed.
    for glob in globs.iter().filter(|glob| glob.min_len() <= COMM_MAX) {
        let (steps, same) = steps(glob);
        if next + steps.len() + 1 > POSITIONS {
            return None;
        }
        exactly &= same;
        built.start |= 1 << next;
        if steps.first().is_some_and(|step| *step == Step::Star) {
            built.start |= 1 << (next + 1);
        }
        for step in steps {
            lay(&mut built, next, step);
            next += 1;
        }
        built.accept |= 1 << next;
        next += 1;
    }
    Some((built, exactly))
}

/// What a position of the automaton does with a byte.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step<'g> {
    Byte(u8),
    One,
    Star,
    Class(&'g super::glob::Class),
}

/// A glob as steps over bytes. Two stars are never adjacent, so computing their closure once is enough.
fn steps(glob: &Glob) -> (Vec<Step<'_>>, bool) {
    let literal: Vec<u8> = glob.tokens.iter().map(|p| if let Piece::Byte(b) = p { *b } else { 0 }).collect();
    // A literal that begins within a character is found there by bytes, but not by characters.
    let mut exactly = std::str::from_utf8(&literal).is_ok();
    let mut steps = Vec::new();
    for piece in &glob.tokens {
        match piece {
            Piece::Byte(byte) => steps.push(Step::Byte(*byte)),
            Piece::Star if steps.last() != Some(&Step::Star) => steps.push(Step::Star),
            Piece::Star => {}
            Piece::Class(class) if class.is_ascii() => steps.push(Step::Class(class)),
            Piece::One | Piece::Class(_) => {
                exactly = false;
                steps.extend([Step::One, Step::Star]);
            }
        }
    }
    (steps, exactly)
}

fn lay(built: &mut CommGlobs, position: usize, step: Step<'_>) {
    let bit = 1u64 << position;
    for (byte, advance) in built.advance.iter_mut().enumerate() {
        let moves = match step {
            Step::Byte(wanted) => byte == usize::from(wanted),
            Step::One => true,
            Step::Star => false,
            Step::Class(class) => byte < 128 && class.has(byte as u32),
        };
        if moves {
            *advance |= bit;
        }
    }
    if step == Step::Star {
        built.stay |= bit;
        built.skip |= bit;
    }
}
