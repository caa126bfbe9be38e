//! Compiles an expression and evaluates it for an event.
//!
//! Nothing is allocated for numbers, names, words and bytes; paths and flags are written into [`Scratch`].

use super::NameLookup;
use super::ast::{Expr, Op, Test};
use super::error::{FilterError, did_you_mean};
use super::fields::{self, Appearance, TREE};
use super::glob::Glob;
use crate::event::describe::{self, Shape, Value};
use crate::event::{EventContext, names};
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
pub(super) enum Node {
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
    Failed,
    Tree(Tgid),
    Word(Word),
    Field(Box<FieldTest>),
    Column(Box<ColumnTest>),
}

/// A comparison of a field.
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

/// What a value is compared with.
#[derive(Clone, Debug)]
pub(super) enum Check {
    Glob(Glob),
    Regex(Regex),
    Number(Order, i128),
    Bool(bool),
}

/// How numbers are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Equal,
    Less,
    AtMost,
    More,
    AtLeast,
}

/// A bare word: searched for in the columns.
#[derive(Clone, Debug)]
pub(super) struct Word {
    /// `None` never matches: no column holds a NUL.
    regex: Option<Regex>,
    /// It looks like a piece of a time, so the TIME column is searched as well. Else nearly every digit would match.
    time: bool,
}

// ---------------------------------------------------------------------------------------------------------- evaluate

impl Node {
    pub(super) fn holds(&self, seen: &EventContext<'_>, scratch: &mut Scratch) -> bool {
        match self {
            Node::All(nodes) => nodes.iter().all(|node| node.holds(seen, scratch)),
            Node::Any(nodes) => nodes.iter().any(|node| node.holds(seen, scratch)),
            Node::Not(node) => !node.holds(seen, scratch),
            Node::Failed => seen.event.failed(),
            Node::Tree(root) => seen.process.is_some_and(|process| seen.world.in_tree(process, *root)),
            Node::Word(word) => word.holds(seen, scratch),
            Node::Field(test) => test.holds(seen, scratch),
            Node::Column(test) => test.holds(seen, scratch),
        }
    }

    /// What a `lost` row could be: whether it may hold, and whether it may not. The missing events may have been any,
    /// so a term about something that the row does not have may go either way.
    pub(super) fn may(&self, lost: &EventContext<'_>, scratch: &mut Scratch) -> (bool, bool) {
        match self {
            Node::All(nodes) => {
                nodes.iter().map(|n| n.may(lost, scratch)).fold((true, false), |a, b| (a.0 & b.0, a.1 | b.1))
            }
            Node::Any(nodes) => {
                nodes.iter().map(|n| n.may(lost, scratch)).fold((false, true), |a, b| (a.0 | b.0, a.1 & b.1))
            }
            Node::Not(node) => {
                let (holds, fails) = node.may(lost, scratch);
                (fails, holds)
            }
            Node::Field(test) if test.present(lost) => {
                let holds = test.holds(lost, scratch);
                (holds, !holds)
            }
            Node::Field(_) | Node::Column(_) | Node::Failed | Node::Tree(_) | Node::Word(_) => (true, true),
        }
    }

    /// Adds the ids of the trees that are asked for.
    pub(super) fn roots(&self, into: &mut Vec<Tgid>) {
        match self {
            Node::All(nodes) | Node::Any(nodes) => nodes.iter().for_each(|node| node.roots(into)),
            Node::Not(node) => node.roots(into),
            Node::Tree(root) => into.push(*root),
            Node::Failed | Node::Word(_) | Node::Field(_) | Node::Column(_) => {}
        }
    }

    /// What it costs, to ask the cheap ones first.
    fn cost(&self) -> u8 {
        match self {
            Node::All(nodes) | Node::Any(nodes) => nodes.iter().map(Node::cost).max().unwrap_or(0),
            Node::Not(node) => node.cost(),
            Node::Failed => 0,
            Node::Tree(_) => 2,
            Node::Word(_) | Node::Column(_) => 4,
            Node::Field(test) => match test.check {
                Check::Number(..) | Check::Bool(_) => 0,
                Check::Glob(_) => 1,
                Check::Regex(_) => 3,
            },
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
            Check::Number(order, right) => value.number().is_some_and(|left| order.holds(left, *right)),
            Check::Bool(wanted) => matches!(value, Value::Bool(is) if is == wanted),
            Check::Glob(_) | Check::Regex(_) => any_text(value, text, |bytes| self.matches(bytes)),
        }
    }

    /// Whether a text matches; `false` if it is compared with a number or a truth value.
    pub(super) fn matches(&self, text: &[u8]) -> bool {
        match self {
            Check::Glob(glob) => glob.matches(text),
            Check::Regex(regex) => regex.is_match(text),
            Check::Number(..) | Check::Bool(_) => false,
        }
    }
}

impl Order {
    fn holds(self, left: i128, right: i128) -> bool {
        match self {
            Order::Equal => left == right,
            Order::Less => left < right,
            Order::AtMost => left <= right,
            Order::More => left > right,
            Order::AtLeast => left >= right,
        }
    }
}

/// Whether something holds for the text of a value, or for one element of a list. Never for an absent one.
fn any_text(value: &Value<'_>, text: &mut Vec<u8>, mut holds: impl FnMut(&[u8]) -> bool) -> bool {
    match value {
        Value::Omitted | Value::Null | Value::Unknown(_) | Value::Object => false,
        Value::Word(word) => holds(word.as_bytes()),
        Value::Bytes(bytes) => holds(bytes),
        Value::Args(area) | Value::SomeArgs(area, _) => describe::args(area).any(holds),
        Value::Words(words) => words.iter().any(|word| holds(word.as_bytes())),
        Value::Stack(stack) => stack.calls().any(|call| {
            text.clear();
            call.write(text);
            // The bare name too, so that `stack=do_exit` finds it.
            holds(text) || call.symbol.is_some_and(|symbol| holds(&symbol.name))
        }),
        value => {
            text.clear();
            match value {
                Value::Path(names) => names.write(text),
                Value::Flags(flags) => names::open_flags(*flags, text),
                Value::Pair(a, b) => [a, b":".as_slice(), b].iter().for_each(|part| text.extend_from_slice(part)),
                other => text.extend_from_slice(&other.text().unwrap_or_default()),
            }
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

/// The columns but for the times, each followed by NUL, which none of them holds.
fn columns(seen: &EventContext<'_>, out: &mut Vec<u8>) {
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
        for name in [seen.world.user(header.uid).map(str::as_bytes), seen.world.cgroup(header.cgroup, process)] {
            out.push(0);
            out.extend_from_slice(name.unwrap_or_default());
        }
        out.push(0);
    }
    seen.result(out);
    out.push(0);
    seen.detail(out);
}

// ----------------------------------------------------------------------------------------------------------- compile

/// Makes expressions ready, with what that needs to know and to count.
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

    pub(super) fn node(&mut self, expr: &Expr) -> Result<Node, FilterError> {
        Ok(match expr {
            Expr::All(parts) => Node::All(self.nodes(parts)?),
            Expr::Any(parts) => Node::Any(self.nodes(parts)?),
            Expr::Not(inner) => Node::Not(Box::new(self.node(inner)?)),
            Expr::List(tests) => self.node(&Expr::of_list(tests))?,
            Expr::Failed => Node::Failed,
            Expr::Word(word) => Node::Word(self.word(word)?),
            Expr::Test(test) => {
                let node = self.test(test)?;
                if matches!(test.op, Op::Ne | Op::NotLike) { Node::Not(Box::new(node)) } else { node }
            }
        })
    }

    /// Terms have no side effects, so the cheap ones go first.
    fn nodes(&mut self, parts: &[Expr]) -> Result<Vec<Node>, FilterError> {
        let mut nodes = parts.iter().map(|part| self.node(part)).collect::<Result<Vec<_>, _>>()?;
        nodes.sort_by_key(Node::cost);
        Ok(nodes)
    }

    /// A term, `!=` taken as `=` and `!~` as `~`.
    pub(super) fn test(&mut self, test: &Test) -> Result<Node, FilterError> {
        if test.field == TREE {
            fits(test, Shape::Bool, "a process and its descendants")?;
            let pid = number(test)?;
            let pid = u32::try_from(pid).map_err(|_| at_value(test, format!("{pid} is not a valid process id")))?;
            return Ok(Node::Tree(Tgid(pid)));
        }
        self.kind_named |= test.field == "kind";
        if let Some(write) = fields::column(&test.field) {
            fits(test, Shape::Text, noun(Shape::Text))?;
            return Ok(Node::Column(Box::new(ColumnTest { write, check: self.check(test, Shape::Text)? })));
        }
        let Some(look) = fields::look(&test.field) else {
            return Err(fields::unknown(&test.field, test.spots.field.clone()));
        };
        let check = match look.shape {
            Shape::Object => return Err(fields::object(&test.field, test.spots.field.clone())),
            shape => {
                fits(test, shape, noun(shape))?;
                self.check(test, shape)?
            }
        };
        Ok(Node::Field(Box::new(match check {
            // err=2 is about the number that `ret` holds.
            Check::Number(..) if test.field == "err" => FieldTest { look: fields::look("ret").unwrap_or(look), check },
            check => FieldTest { look, check },
        })))
    }

    fn check(&mut self, test: &Test, shape: Shape) -> Result<Check, FilterError> {
        let order = match test.op {
            Op::Lt => Order::Less,
            Op::Le => Order::AtMost,
            Op::Gt => Order::More,
            Op::Ge => Order::AtLeast,
            Op::Eq | Op::Ne | Op::Like | Op::NotLike => Order::Equal,
        };
        match shape {
            Shape::Text | Shape::List | Shape::Object => match test.op {
                Op::Like | Op::NotLike => self.regex(test).map(Check::Regex),
                _ => text_equals(test),
            },
            Shape::Number => number(test).map(|n| Check::Number(order, n)),
            Shape::Duration => duration(test).map(|n| Check::Number(order, n)),
            Shape::User => self.id(test, "user", |name| self.names.uid(name)).map(|n| Check::Number(order, n)),
            Shape::Group => self.id(test, "group", |name| self.names.gid(name)).map(|n| Check::Number(order, n)),
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
        let id = by_name(&name).map(i128::from);
        if id.is_none() && looks_like_number(&test.value) {
            return number(test);
        }
        id.ok_or_else(|| at_value(test, format!("unknown {what} `{name}`")).hint("a numeric id works too"))
    }

    fn regex(&mut self, test: &Test) -> Result<Regex, FilterError> {
        self.count_regex().map_err(|message| at_value(test, message))?;
        let pattern = pattern(&test.value);
        builder(&pattern).build().map_err(|error| bad_regex(test, &pattern, &error))
    }

    fn count_regex(&mut self) -> Result<(), String> {
        self.regexes += 1;
        if self.regexes > limits::FILTER_REGEXES {
            return Err(format!("too many regexes and bare words; the maximum is {}", limits::FILTER_REGEXES));
        }
        Ok(())
    }

    /// Smart case: a word without upper-case letters matches both cases.
    fn word(&mut self, word: &[u8]) -> Result<Word, FilterError> {
        let refuse = |message: String| FilterError::new(0..0, message);
        self.count_regex().map_err(refuse)?;
        if word.contains(&0) {
            return Ok(Word { regex: None, time: false });
        }
        let any_case = !String::from_utf8_lossy(word).contains(char::is_uppercase);
        let escaped: String = word.utf8_chunks().map(|c| regex::escape(c.valid()) + &raw(c.invalid())).collect();
        let regex = builder(&escaped).case_insensitive(any_case).build();
        let regex = regex.map_err(|_| refuse("the search word is too long".to_owned()))?;
        let time = word.first().is_some_and(u8::is_ascii_digit)
            && word.iter().all(|b| b.is_ascii_digit() || b"-:.TZtz".contains(b))
            && word.iter().any(|b| b"-:".contains(b));
        Ok(Word { regex: Some(regex), time })
    }
}

fn builder(pattern: &str) -> RegexBuilder {
    let mut builder = RegexBuilder::new(pattern);
    builder.size_limit(limits::FILTER_REGEX_SIZE).dfa_size_limit(limits::FILTER_REGEX_SIZE);
    builder
}

/// A value as a pattern: bytes that are no characters stand for themselves.
fn pattern(value: &[u8]) -> String {
    value.utf8_chunks().map(|chunk| chunk.valid().to_owned() + &raw(chunk.invalid())).collect()
}

fn raw(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("(?-u:\\x{byte:02x})")).collect()
}

fn at_value(test: &Test, message: impl AsRef<str>) -> FilterError {
    FilterError::new(test.spots.value.clone(), message)
}

fn bad_regex(test: &Test, pattern: &str, error: &regex::Error) -> FilterError {
    let regex::Error::Syntax(report) = error else {
        return at_value(test, "the compiled regex is too large")
            .hint("use smaller counts in { }, or (?-u) for ASCII only");
    };
    let why = report.lines().filter_map(|line| line.strip_prefix("error: ")).next_back().unwrap_or("syntax error");
    let mut failed = at_value(test, format!("invalid regex: {why}"));
    // The report draws a caret below the pattern, both indented by four.
    let caret = report.lines().find(|line| line.trim_start().starts_with('^')).and_then(|line| line.find('^'));
    let offset = caret.and_then(|column| pattern.char_indices().nth(column.checked_sub(4)?)).map(|(i, _)| i);
    if let Some(offset) = offset.filter(|_| test.spots.value.len() == pattern.len() && !pattern.contains('\n')) {
        let start = test.spots.value.start + offset;
        failed.at = start..start + pattern[offset..].chars().next().map_or(0, char::len_utf8);
    }
    failed.hint("put a regex with white space, `&&`, `||` or an unbalanced `)` in double quotes")
}

/// The operators that fit a shape.
pub(super) fn operators(shape: Shape) -> &'static [Op] {
    match shape {
        Shape::Text | Shape::List => &[Op::Eq, Op::Ne, Op::Like, Op::NotLike],
        Shape::Number | Shape::Duration | Shape::User | Shape::Group => {
            &[Op::Eq, Op::Ne, Op::Lt, Op::Gt, Op::Le, Op::Ge]
        }
        Shape::Bool | Shape::Object => &[Op::Eq, Op::Ne],
    }
}

/// Refuses an operator that does not fit a shape.
fn fits(test: &Test, shape: Shape, noun: &str) -> Result<(), FilterError> {
    let fitting = operators(shape);
    if fitting.contains(&test.op) {
        return Ok(());
    }
    let list: Vec<&str> = fitting.iter().map(|op| op.text()).collect();
    Err(FilterError::new(
        test.spots.op.clone(),
        format!("`{}` does not apply to `{}` ({noun})", test.op.text(), test.field),
    )
    .hint(format!("operators of `{}`: {}", test.field, list.join(" "))))
}

fn noun(shape: Shape) -> &'static str {
    match shape {
        Shape::Text => "text",
        Shape::Number => "number",
        Shape::Duration => "duration",
        Shape::User => "user",
        Shape::Group => "group",
        Shape::Bool => "true or false",
        Shape::List => "list of texts",
        Shape::Object => "group of fields",
    }
}

fn looks_like_number(value: &[u8]) -> bool {
    let digits = value.strip_prefix(b"-").unwrap_or(value);
    digits.first().is_some_and(u8::is_ascii_digit)
}

pub(super) fn number(test: &Test) -> Result<i128, FilterError> {
    let text = String::from_utf8_lossy(&test.value);
    let (negative, digits) = text.strip_prefix('-').map_or((false, &*text), |digits| (true, digits));
    let (radix, digits) = match digits.split_at_checked(2) {
        Some(("0x" | "0X", hex)) => (16, hex),
        Some(("0o", octal)) => (8, octal),
        _ => (10, digits),
    };
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
    let n = i128::from_str_radix(digits, radix).map_err(|_| refuse("too large"))?;
    let n = if negative { -n } else { n };
    if PIDS.contains(&test.field.as_str()) && matches!(test.op, Op::Eq | Op::Ne) && !(0..PID_LIMIT).contains(&n) {
        return Err(at_value(test, format!("`{text}` cannot be a process id"))
            .hint(format!("process ids are 0 to {}", PID_LIMIT - 1)));
    }
    Ok(n)
}

/// The fields that are process or thread ids. Not `tree`: that there is no such process is said when it is looked for.
const PIDS: [&str; 4] = ["pid", "tid", "ppid", "ns_pid"];

/// `PID_MAX_LIMIT` on 64-bit machines (include/linux/threads.h): process ids are smaller.
const PID_LIMIT: i128 = 4 << 20;

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

/// `=` on a text. Where the texts are a closed set, one that is none of them is refused.
fn text_equals(test: &Test) -> Result<Check, FilterError> {
    let digits =
        !test.value.is_empty() && test.value.strip_prefix(b"-").unwrap_or(&test.value).iter().all(u8::is_ascii_digit);
    let glob = match test.field.as_str() {
        "err" if digits => {
            return match number(test)?.abs() {
                0 => Err(at_value(test, "0 is not an error number").hint("use `not err` for events that did not fail")),
                errno => Ok(Check::Number(Order::Equal, -errno)),
            };
        }
        "signal" if digits => {
            let name = u32::try_from(number(test)?).ok().and_then(names::signal);
            Glob::new(name.ok_or_else(|| at_value(test, "unknown signal number"))?.as_bytes())
        }
        "err" => Glob::new(second_name(&test.value)),
        _ => Glob::new(&test.value),
    };
    let glob = glob.map_err(|why| at_value(test, format!("invalid glob: {why}")))?;
    if let Some(set) = closed_set(&test.field)
        && !set.iter().any(|word| glob.matches(word.as_bytes()))
    {
        let text = String::from_utf8_lossy(&test.value);
        let signal = set.iter().find(|name| name.strip_prefix("SIG") == Some(&text.to_uppercase()));
        let near = did_you_mean(signal.map_or(&text, |name| *name), set.iter().copied());
        let all = if set.len() <= Kind::ALL.len() { format!("use one of {}", set.join(" ")) } else { String::new() };
        return Err(at_value(test, format!("unknown value `{text}` for `{}`", test.field)).hint(if near.is_empty() {
            all
        } else {
            near
        }));
    }
    if test.field == "comm" && glob.min_len() > COMM_MAX {
        return Err(at_value(test, format!("never matches: thread names have at most {COMM_MAX} bytes"))
            .hint("the kernel truncates longer names; shorten it and add `*`, or use exe="));
    }
    Ok(Check::Glob(glob))
}

/// The name that the kernel's tables have for an error with two.
fn second_name(name: &[u8]) -> &[u8] {
    match name {
        b"EWOULDBLOCK" => b"EAGAIN",
        b"EDEADLOCK" => b"EDEADLK",
        b"ENOTSUP" => b"EOPNOTSUPP",
        name => name,
    }
}

/// Bytes of a thread's name.
pub(super) const COMM_MAX: usize = tracetui_shared::header::COMM_LEN - 1;

/// Beyond this no error has a name of its own.
const ERRNO_MAX: i32 = 600;

/// All values that a field can have, where they are few words.
pub(super) fn closed_set(field: &str) -> Option<Vec<&'static str>> {
    match field {
        "kind" => Some(Kind::ALL.map(Kind::name).to_vec()),
        "err" => Some((1..=ERRNO_MAX).filter_map(|errno| names::err(-errno)).collect()),
        "signal" => Some((1..=64).filter_map(names::signal).chain(["SIGUNKNOWN"]).collect()),
        _ => None,
    }
}
