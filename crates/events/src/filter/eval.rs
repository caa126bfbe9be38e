//! Compiles an expression and evaluates it for an event.
//!
//! Nothing is allocated for numbers, names, words and bytes; paths and flags are written into [`Scratch`].

use super::NameLookup;
use super::ast::{Expr, Op, Test};
use super::error::{FilterError, did_you_mean};
use super::fields::{self, Appearance, TREE};
use super::glob::Glob;
use super::prefix::Prefix;
use super::time;
use crate::event::describe::{self, Shape, Value};
use crate::event::process::COMM_MAX;
use crate::event::{EventContext, fields_of, names};
use crate::limits;
use regex::bytes::{Regex, RegexBuilder};
use std::io::Write as _;
use std::time::Duration;
use tracetui_shared::id::Tgid;
use tracetui_shared::kind::Kind;

/// Reusable buffers for matching, one per thread.
#[derive(Debug, Default)]
pub struct Scratch {
    text: Vec<u8>,
    columns: Vec<u8>,
    columns_ready: bool,
}

impl Scratch {
    pub(super) fn begin(&mut self) {
        self.columns_ready = false;
        for buffer in [&mut self.text, &mut self.columns] {
            buffer.clear();
            buffer.shrink_to(limits::SCRATCH);
        }
    }
}

/// An expression ready to evaluate.
#[derive(Clone, Debug)]
pub(super) enum FilterNode {
    All(Vec<FilterNode>),
    Any(Vec<FilterNode>),
    Not(Box<FilterNode>),
    Failed,
    Tree(Tgid),
    /// Compares the time, in nanoseconds since 1970.
    Time(Op, i128),
    Word(Word),
    Field(Box<FieldTest>),
    Column(Box<ColumnTest>),
}

#[derive(Clone, Debug)]
pub(super) struct FieldTest {
    pub(super) look: Appearance,
    pub(super) check: Check,
}

/// A comparison of a column that shows more than one field.
#[derive(Clone, Debug)]
pub(super) struct ColumnTest {
    write: fields::Write,
    check: Check,
}

/// The right-hand side of a comparison.
#[derive(Clone, Debug)]
pub(super) enum Check {
    Glob(Glob),
    Regex(Regex),
    Number(Op, i128),
    Bool(bool),
    Prefix(Prefix),
}

/// A bare word: searched for in the columns.
#[derive(Clone, Debug)]
pub(super) struct Word {
    /// `None` never matches: no column holds a NUL.
    regex: Option<Regex>,
    /// Whether it looks like a piece of a time, so that the TIME column is searched as well. Otherwise nearly every digit would
    /// match.
    time: bool,
}

// ---------------------------------------------------------------------------------------------------------- evaluate

impl FilterNode {
    pub(super) fn holds(&self, seen: &EventContext<'_>, scratch: &mut Scratch) -> bool {
        match self {
            FilterNode::All(nodes) => nodes.iter().all(|node| node.holds(seen, scratch)),
            FilterNode::Any(nodes) => nodes.iter().any(|node| node.holds(seen, scratch)),
            FilterNode::Not(node) => !node.holds(seen, scratch),
            FilterNode::Failed => seen.event.failed(),
            FilterNode::Tree(root) => seen.process.is_some_and(|process| seen.world.in_tree(process, *root)),
            FilterNode::Time(op, right) => op.holds(seen.unix_nanos(), *right),
            FilterNode::Word(word) => word.holds(seen, scratch),
            FilterNode::Field(test) => test.holds(seen, scratch),
            FilterNode::Column(test) => test.holds(seen, scratch),
        }
    }

    /// The possible results for a `lost` row: whether the expression may hold, and whether it may not. The missing events may have
    /// been anything, so a term about a property that the row does not have may go either way.
    pub(super) fn may(&self, lost: &EventContext<'_>, scratch: &mut Scratch) -> (bool, bool) {
        match self {
            FilterNode::All(nodes) => {
                nodes.iter().map(|n| n.may(lost, scratch)).fold((true, false), |a, b| (a.0 & b.0, a.1 | b.1))
            }
            FilterNode::Any(nodes) => {
                nodes.iter().map(|n| n.may(lost, scratch)).fold((false, true), |a, b| (a.0 | b.0, a.1 & b.1))
            }
            FilterNode::Not(node) => {
                let (holds, fails) = node.may(lost, scratch);
                (fails, holds)
            }
            FilterNode::Time(..) => {
                let holds = self.holds(lost, scratch);
                (holds, !holds)
            }
            FilterNode::Field(test) if test.present(lost) => {
                let holds = test.holds(lost, scratch);
                (holds, !holds)
            }
            FilterNode::Field(_)
            | FilterNode::Column(_)
            | FilterNode::Failed
            | FilterNode::Tree(_)
            | FilterNode::Word(_) => (true, true),
        }
    }

    /// Adds the ids of the trees in the expression.
    pub(super) fn roots(&self, into: &mut Vec<Tgid>) {
        match self {
            FilterNode::All(nodes) | FilterNode::Any(nodes) => nodes.iter().for_each(|node| node.roots(into)),
            FilterNode::Not(node) => node.roots(into),
            FilterNode::Tree(root) => into.push(*root),
            FilterNode::Failed
            | FilterNode::Time(..)
            | FilterNode::Word(_)
            | FilterNode::Field(_)
            | FilterNode::Column(_) => {}
        }
    }

    /// Whether it searches a text. Other terms are evaluated first.
    fn searches(&self) -> bool {
        match self {
            FilterNode::All(nodes) | FilterNode::Any(nodes) => nodes.iter().any(FilterNode::searches),
            FilterNode::Not(node) => node.searches(),
            FilterNode::Word(_) | FilterNode::Column(_) => true,
            FilterNode::Field(test) => matches!(test.check, Check::Regex(_)),
            FilterNode::Failed | FilterNode::Time(..) | FilterNode::Tree(_) => false,
        }
    }
}

impl FieldTest {
    fn holds(&self, seen: &EventContext<'_>, scratch: &mut Scratch) -> bool {
        self.look.of(seen.event.kind()).iter().any(|get| self.check.holds(&get(seen), &mut scratch.text))
    }

    fn present(&self, seen: &EventContext<'_>) -> bool {
        let absent = |value: Value<'_>| matches!(value, Value::Omitted | Value::Null | Value::Unknown(_));
        self.look.of(seen.event.kind()).iter().any(|get| !absent(get(seen)))
    }
}

impl ColumnTest {
    fn holds(&self, seen: &EventContext<'_>, scratch: &mut Scratch) -> bool {
        scratch.text.clear();
        (self.write)(seen, &mut scratch.text);
        self.check.matches(&scratch.text)
    }
}

impl Check {
    fn holds(&self, value: &Value<'_>, text: &mut Vec<u8>) -> bool {
        match self {
            Check::Number(op, right) => value.number().is_some_and(|left| op.holds(left, *right)),
            Check::Bool(wanted) => matches!(value, Value::Bool(is) if is == wanted),
            Check::Prefix(prefix) => matches!(value, Value::Ip(address) if prefix.contains(*address)),
            Check::Glob(_) | Check::Regex(_) => any_text(value, text, |bytes| self.matches(bytes)),
        }
    }

    /// Whether a text matches; `false` for comparisons with anything else.
    pub(super) fn matches(&self, text: &[u8]) -> bool {
        match self {
            Check::Glob(glob) => glob.matches(text),
            Check::Regex(regex) => regex.is_match(text),
            Check::Number(..) | Check::Bool(_) | Check::Prefix(_) => false,
        }
    }
}

impl Op {
    /// Compares numbers, with `!=` treated as `=`.
    fn holds(self, left: i128, right: i128) -> bool {
        match self {
            Op::Lt => left < right,
            Op::Le => left <= right,
            Op::Gt => left > right,
            Op::Ge => left >= right,
            Op::Eq | Op::Ne | Op::Like | Op::NotLike => left == right,
        }
    }
}

/// Whether a test holds for the text of a value, or for one element of a list. It never holds for an absent value.
fn any_text(value: &Value<'_>, text: &mut Vec<u8>, mut holds: impl FnMut(&[u8]) -> bool) -> bool {
    match value {
        Value::Omitted | Value::Null | Value::Unknown(_) | Value::Object => false,
        Value::Word(word) => holds(word.as_bytes()),
        Value::Bytes(bytes) => holds(bytes),
        Value::Args(area) | Value::SomeArgs(area, _) => describe::args(area).any(holds),
        Value::Words(words) => words.into_iter().any(|word| holds(word.as_bytes())),
        Value::Stack(stack) => stack.calls().any(|call| {
            text.clear();
            call.write(text);
            // Also tests the bare name, so that `stack=do_exit` finds it.
            holds(text) || call.symbol.is_some_and(|symbol| holds(&symbol.name))
        }),
        value => {
            text.clear();
            value.write(text);
            holds(text)
        }
    }
}

impl Word {
    fn holds(&self, seen: &EventContext<'_>, scratch: &mut Scratch) -> bool {
        let Some(regex) = &self.regex else { return false };
        if !scratch.columns_ready {
            scratch.columns.clear();
            columns(seen, &mut scratch.columns);
            scratch.columns_ready = true;
        }
        regex.is_match(&scratch.columns)
            || self.time && regex.is_match(&Value::Time(seen.unix_nanos()).text().unwrap_or_default())
    }
}

/// The columns except the times, each followed by NUL, which no column contains.
pub(super) fn columns(seen: &EventContext<'_>, out: &mut Vec<u8>) {
    let header = &seen.event.header;
    out.extend_from_slice(seen.event.kind().name().as_bytes());
    out.push(0);
    if let Some(process) = seen.process {
        out.extend_from_slice(header.comm());
        let ids = [header.cpu, header.tgid.0, header.tid.0, header.ppid.0, header.uid.0, header.gid.0];
        for id in ids {
            // Writing to a Vec cannot fail.
            let _ = write!(out, "\0{id}");
        }
        for name in [seen.user(header.uid).map(str::as_bytes), seen.world.cgroup(header.cgroup, process)] {
            out.push(0);
            out.extend_from_slice(name.unwrap_or_default());
        }
        out.push(0);
    }
    seen.result(out);
    out.push(0);
    seen.detail(out);
    // The detail has paths as they were passed.
    for path in
        seen.event.body.paths().into_iter().flat_map(|file| [0, 1].map(|nth| file.absolute(nth).text())).flatten()
    {
        out.push(0);
        out.extend_from_slice(&path);
    }
    // The detail has the arguments in quotes, and an exit has none there.
    out.push(0);
    out.extend_from_slice(&Value::Args(seen.command()).text().unwrap_or_default());
}

// ----------------------------------------------------------------------------------------------------------- compile

/// Compiles expressions, with the lookups and counts that this needs.
pub(super) struct Compiler<'n> {
    pub(super) names: &'n dyn NameLookup,
    regexes: usize,
    /// Whether a term is about the kind.
    pub(super) kind_named: bool,
}

impl<'n> Compiler<'n> {
    pub(super) fn new(names: &'n dyn NameLookup) -> Compiler<'n> {
        Compiler { names, regexes: 0, kind_named: false }
    }

    pub(super) fn node(&mut self, expr: &Expr) -> Result<FilterNode, FilterError> {
        Ok(match expr {
            Expr::All(parts) => FilterNode::All(self.nodes(parts)?),
            Expr::Any(parts) => FilterNode::Any(self.nodes(parts)?),
            Expr::Not(inner) => FilterNode::Not(Box::new(self.node(inner)?)),
            Expr::List(tests) => self.node(&Expr::of_list(tests))?,
            Expr::Failed => FilterNode::Failed,
            Expr::Word(word) => FilterNode::Word(self.word(word)?),
            Expr::Test(test) => {
                let node = self.test(test)?;
                if matches!(test.op, Op::Ne | Op::NotLike) { FilterNode::Not(Box::new(node)) } else { node }
            }
        })
    }

    /// Terms have no side effects, so the cheap ones go first.
    fn nodes(&mut self, parts: &[Expr]) -> Result<Vec<FilterNode>, FilterError> {
        let mut nodes = parts.iter().map(|part| self.node(part)).collect::<Result<Vec<_>, _>>()?;
        nodes.sort_by_key(FilterNode::searches);
        Ok(nodes)
    }

    /// A term, with `!=` treated as `=` and `!~` as `~`.
    pub(super) fn test(&mut self, test: &Test) -> Result<FilterNode, FilterError> {
        if test.field == TREE {
            fits(test, Shape::Bool)?;
            let pid = number(test)?;
            let pid = u32::try_from(pid).map_err(|_| at_value(test, format!("{pid} is not a valid process id")))?;
            return Ok(FilterNode::Tree(Tgid(pid)));
        }
        if time::compared(test) {
            return Ok(FilterNode::Time(test.op, time::of(test, self.names)?));
        }
        self.kind_named |= test.field == "kind";
        if let Some(write) = fields::column(&test.field) {
            fits(test, Shape::Text)?;
            return Ok(FilterNode::Column(Box::new(ColumnTest { write, check: self.check(test, Shape::Text)? })));
        }
        let Some(look) = fields::look(&test.field) else {
            return Err(fields::unknown(&test.field, test.spots.field.clone()));
        };
        let check = match look.shape {
            Shape::Object => return Err(fields::object(&test.field, test.spots.field.clone())),
            shape => {
                fits(test, shape)?;
                self.check(test, shape)?
            }
        };
        Ok(FilterNode::Field(Box::new(FieldTest { look, check })))
    }

    fn check(&mut self, test: &Test, shape: Shape) -> Result<Check, FilterError> {
        match shape {
            Shape::Text | Shape::List | Shape::Address | Shape::Object => match test.op {
                Op::Like | Op::NotLike => self.regex(test).map(Check::Regex),
                _ if shape == Shape::Address => address_equals(test),
                _ => text_equals(test),
            },
            Shape::Number => number(test).map(|n| Check::Number(test.op, n)),
            Shape::Duration => duration(test).map(|n| Check::Number(test.op, n)),
            Shape::User => self.id(test, "user", |name| self.names.uid(name)).map(|n| Check::Number(test.op, n)),
            Shape::Group => self.id(test, "group", |name| self.names.gid(name)).map(|n| Check::Number(test.op, n)),
            Shape::Bool => match test.value.as_slice() {
                b"true" | b"yes" => Ok(Check::Bool(true)),
                b"false" | b"no" => Ok(Check::Bool(false)),
                _ => Err(at_value(test, format!("`{}` must be true or false", test.field))),
            },
        }
    }

    fn id(&self, test: &Test, what: &str, by_name: impl Fn(&str) -> Option<u32>) -> Result<i128, FilterError> {
        let name = String::from_utf8_lossy(&test.value);
        if let Ok(id) = number(test) {
            return Ok(id);
        }
        by_name(&name)
            .map(i128::from)
            .ok_or_else(|| at_value(test, format!("unknown {what} `{name}`")).hint("a numeric id works too"))
    }

    fn regex(&mut self, test: &Test) -> Result<Regex, FilterError> {
        self.count_regex().map_err(|message| at_value(test, message))?;
        let pattern = pattern(&test.value);
        builder(&pattern).build().map_err(|error| bad_regex(test, &error))
    }

    fn count_regex(&mut self) -> Result<(), String> {
        self.regexes += 1;
        if self.regexes > limits::FILTER_REGEXES {
            return Err(format!("too many regexes and bare words; the maximum is {}", limits::FILTER_REGEXES));
        }
        Ok(())
    }

    fn word(&mut self, word: &[u8]) -> Result<Word, FilterError> {
        let refuse = |message: String| FilterError::new(0..0, message);
        self.count_regex().map_err(refuse)?;
        if word.contains(&0) {
            return Ok(Word { regex: None, time: false });
        }
        let regex = literal(word, any_case(word)).map_err(|_| refuse("the search word is too long".to_owned()))?;
        let time = word.first().is_some_and(u8::is_ascii_digit)
            && word.iter().all(|b| b.is_ascii_digit() || b"-:.TZtz".contains(b))
            && word.iter().any(|b| b"-:".contains(b));
        Ok(Word { regex: Some(regex), time })
    }
}

/// Smart case: whether a word matches in upper case too.
pub(super) fn any_case(word: &[u8]) -> bool {
    !String::from_utf8_lossy(word).contains(char::is_uppercase)
}

/// A regex that matches these bytes.
pub(super) fn literal(bytes: &[u8], any_case: bool) -> Result<Regex, regex::Error> {
    builder(&escaped(bytes)).case_insensitive(any_case).build()
}

/// A pattern that matches these bytes.
pub(super) fn escaped(bytes: &[u8]) -> String {
    bytes.utf8_chunks().map(|chunk| regex::escape(chunk.valid()) + &raw(chunk.invalid())).collect()
}

fn builder(pattern: &str) -> RegexBuilder {
    let mut builder = RegexBuilder::new(pattern);
    builder.size_limit(limits::FILTER_REGEX_SIZE).dfa_size_limit(limits::FILTER_REGEX_SIZE);
    builder
}

/// A value as a pattern. Bytes that are not characters stand for themselves.
fn pattern(value: &[u8]) -> String {
    value.utf8_chunks().map(|chunk| chunk.valid().to_owned() + &raw(chunk.invalid())).collect()
}

fn raw(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("(?-u:\\x{byte:02x})")).collect()
}

fn at_value(test: &Test, message: impl AsRef<str>) -> FilterError {
    FilterError::new(test.spots.value.clone(), message)
}

fn bad_regex(test: &Test, error: &regex::Error) -> FilterError {
    let regex::Error::Syntax(report) = error else {
        return at_value(test, "the compiled regex is too large")
            .hint("use smaller counts in { }, or (?-u) for ASCII only");
    };
    let why = report.lines().filter_map(|line| line.strip_prefix("error: ")).next_back().unwrap_or("syntax error");
    at_value(test, format!("invalid regex: {why}"))
        .hint("put a regex with white space, `&&`, `||` or an unbalanced `)` in double quotes")
}

pub(super) fn operators(shape: Shape) -> &'static [Op] {
    match shape {
        Shape::Text | Shape::List | Shape::Address => &[Op::Eq, Op::Ne, Op::Like, Op::NotLike],
        Shape::Number | Shape::Duration | Shape::User | Shape::Group => {
            &[Op::Eq, Op::Ne, Op::Lt, Op::Gt, Op::Le, Op::Ge]
        }
        Shape::Bool | Shape::Object => &[Op::Eq, Op::Ne],
    }
}

/// Refuses an operator that does not fit a shape.
fn fits(test: &Test, shape: Shape) -> Result<(), FilterError> {
    let fitting = operators(shape);
    if fitting.contains(&test.op) {
        return Ok(());
    }
    let list: Vec<&str> = fitting.iter().map(|op| op.text()).collect();
    Err(FilterError::new(test.spots.op.clone(), format!("`{}` does not apply to `{}`", test.op.text(), test.field))
        .hint(format!("operators of `{}`: {}", test.field, list.join(" "))))
}

pub(super) fn number(test: &Test) -> Result<i128, FilterError> {
    let text = String::from_utf8_lossy(&test.value);
    let (negative, digits) = text.strip_prefix('-').map_or((false, &*text), |digits| (true, digits));
    let (radix, digits) = match digits.split_at_checked(2) {
        Some(("0x" | "0X", hex)) => (16, hex),
        Some(("0o", octal)) => (8, octal),
        _ => (10, digits),
    };
    let sizes = [("KiB", 10), ("MiB", 20), ("GiB", 30)];
    let sized = sizes.into_iter().find_map(|(unit, shift)| Some((digits.strip_suffix(unit)?.trim_end(), shift)));
    let (digits, shift) = sized.filter(|_| radix == 10).unwrap_or((digits, 0));
    let refuse = |why: &str| {
        at_value(test, format!("`{text}` is {why}")).hint("use a decimal number, or hexadecimal such as 0x1f")
    };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return Err(refuse("not a number"));
    }
    if test.field == "mode" && radix == 10 && digits.len() > 1 && digits.starts_with('0') {
        return Err(refuse("ambiguous: a leading 0 does not mean octal")
            .hint(format!("write octal as 0o{}", digits.trim_start_matches('0'))));
    }
    let n = i128::from_str_radix(digits, radix).ok().and_then(|n| n.checked_mul(1 << shift));
    let n = n.ok_or_else(|| refuse("too large"))?;
    Ok(if negative { -n } else { n })
}

fn duration(test: &Test) -> Result<i128, FilterError> {
    let text = String::from_utf8_lossy(&test.value);
    let plain = text.strip_prefix('-').unwrap_or(&text);
    if test.field.ends_with("_ns")
        && plain.chars().all(|c| c.is_ascii_hexdigit() || c == 'x')
        && let Ok(n) = number(test)
    {
        return Ok(n);
    }
    let parsed: Result<Duration, _> = humantime::parse_duration(&text);
    parsed.map(|d| d.as_nanos() as i128).map_err(|error| {
        at_value(test, format!("invalid duration `{text}`: {error}")).hint("use a unit, as in 2s, 1h5m or 250ms")
    })
}

/// `=` on a text. If the possible texts are a closed set, any other text is refused.
fn text_equals(test: &Test) -> Result<Check, FilterError> {
    let value = name_of_number(test).map_or(&*test.value, str::as_bytes);
    let glob = Glob::new(value).map_err(|why| at_value(test, format!("invalid glob: {why}")))?;
    if let Some(set) = closed_set(&test.field)
        && !set.iter().any(|word| glob.matches(word.as_bytes()))
    {
        let text = String::from_utf8_lossy(&test.value);
        let message = format!("unknown value `{text}` for `{}`", test.field);
        return Err(at_value(test, message).hint(did_you_mean(&text, set.iter().copied())));
    }
    if test.field == "comm" && glob.min_len() > COMM_MAX {
        return Err(at_value(test, format!("never matches: thread names have at most {COMM_MAX} bytes"))
            .hint("the kernel truncates longer names; shorten it and add `*`, or use process="));
    }
    Ok(Check::Glob(glob))
}

/// The name of an error or a signal that is given by its number. The number of an error may be negative.
fn name_of_number(test: &Test) -> Option<&'static str> {
    let number: i32 = str::from_utf8(&test.value).ok()?.parse().ok()?;
    match test.field.as_str() {
        "err" => names::err(number.checked_abs()?.checked_neg()?).filter(|name| *name != "EUNKNOWN"),
        "signal" => names::signal(number.try_into().ok()?),
        _ => None,
    }
}

/// `=` on an address: a prefix, or a glob on its text.
fn address_equals(test: &Test) -> Result<Check, FilterError> {
    match Prefix::parse(&String::from_utf8_lossy(&test.value)) {
        Ok(Some(prefix)) => Ok(Check::Prefix(prefix)),
        Ok(None) => text_equals(test),
        Err(message) => Err(at_value(test, message)
            .hint("use an address such as 10.0.0.7 or ::1, a prefix such as 10.0.0.0/8, or a glob such as 10.*")),
    }
}

/// Larger error numbers have no names of their own.
const ERRNO_MAX: i32 = 600;

/// All possible values of a field, if they are few words.
pub(super) fn closed_set(field: &str) -> Option<Vec<&'static str>> {
    match field {
        "kind" => Some(Kind::ALL.map(Kind::name).to_vec()),
        "err" => Some((1..=ERRNO_MAX).filter_map(|errno| names::err(-errno)).collect()),
        "signal" => Some((1..=64).filter_map(names::signal).chain(["SIGUNKNOWN"]).collect()),
        _ => {
            let field = Kind::ALL.into_iter().flat_map(fields_of).find(|of| of.name == field)?;
            Some(field.words.to_vec()).filter(|words| !words.is_empty())
        }
    }
}
