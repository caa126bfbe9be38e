//! Tables of cases. Each case acts in its own process, and returns the events that it caused. All cases of a table run
//! at the same time under one trace.

use crate::prelude::*;
use crate::traced::warn_not_checked;
use std::collections::HashSet;

/// The events that a case expects, or why it cannot run here.
pub(crate) type Told = Result<Vec<Value>, String>;
/// A name and an action. The process that acts has this name (at most 15 bytes). The directory is the case's own.
pub(crate) type Case = (&'static str, fn(&Dir) -> Told);
/// The name and the process id of a case, and what it returned. `Err` is the status of a process that failed.
pub(crate) type Acted = (&'static str, i32, Result<Told, Status>);

/// A value with more fields, or others.
pub(crate) fn with(mut value: Value, more: Value) -> Value {
    let (Value::Object(all), Value::Object(more)) = (&mut value, more) else { panic!("objects") };
    all.extend(more);
    value
}

/// An event of a process. The expected events of a process are in the order of their time.
///
/// A field may also be an object of conditions, whose names begin with `?`, or of some fields of an object. `Null` is
/// also a field that is not there.
pub(crate) fn event(kind: &str, pid: i32, fields: Value) -> Value {
    with(json!({"kind": kind, "pid": pid}), fields)
}

pub(crate) fn none(kind: &str, pid: i32) -> Value {
    event(kind, pid, json!({NONE: true}))
}

pub(crate) fn absent() -> Value {
    json!({"?absent": true})
}

const NONE: &str = "?none";

/// Whether a value meets what is expected of it.
fn is(expected: &Value, value: Option<&Value>) -> bool {
    const TICK: u64 = 10_000_000;
    let or_null = value.unwrap_or(&Value::Null);
    let parts = match (expected, or_null) {
        (Value::Object(parts), _) => parts,
        (Value::Array(all), Value::Array(values)) => {
            return all.len() == values.len() && all.iter().zip(values).all(|(one, value)| is(one, Some(value)));
        }
        _ => return expected == or_null,
    };
    let (text, part_text) = (or_null.as_str(), |part: &Value| part.as_str().expect("text").to_owned());
    parts.iter().all(|(name, part)| match name.as_str() {
        "?ge" => or_null.as_i64() >= part.as_i64(),
        "?le" => or_null.as_i64().is_some_and(|value| Some(value) <= part.as_i64()),
        "?starts" => text.is_some_and(|text| text.starts_with(&part_text(part))),
        "?ends" => text.is_some_and(|text| text.ends_with(&part_text(part))),
        "?start_of" => text.is_some_and(|text| part_text(part).starts_with(text)),
        "?not" => !is(part, value),
        "?or" => part.as_array().expect("a list").iter().any(|one| is(one, value)),
        "?absent" => value.is_none(),
        "?whole" => or_null == part,
        // A process: its id, and its start in clock ticks.
        "?process" => or_null["pid"] == part[0] && or_null["start_ns"].as_u64().map(|ns| ns / TICK) == part[1].as_u64(),
        field => is(part, or_null.get(field)),
    })
}

/// The fields that differ, apart from those whose names begin with `#`.
pub(crate) fn differences(expected: &Value, event: &Value) -> Vec<String> {
    let fields =
        expected.as_object().expect("an object").iter().filter(|(key, _)| !key.starts_with('#') && *key != NONE);
    // Conditions at the top are about several fields.
    let of = |key: &str| if key.starts_with('?') { Some(event) } else { event.get(key) };
    let wrong = fields.filter(|(key, value)| match key.starts_with('?') {
        true => !is(&json!({*key: value}), Some(event)),
        false => !is(value, event.get(key.as_str())),
    });
    wrong.map(|(key, value)| format!("{key} is {} and not {value}", of(key).unwrap_or(&Value::Null))).collect()
}

/// Expected events and events by their indexes, with the fields that differ. Then the rest of both.
pub(crate) type Paired = (Vec<(usize, usize, Vec<String>)>, Vec<usize>, Vec<usize>);

/// Pairs each expected event with an event that may be it, those first that differ least.
pub(crate) fn pair(expected: &[Value], events: &[Value], may_be: impl Fn(&Value, &Value) -> bool) -> Paired {
    let mut pairs: Vec<(usize, usize, Vec<String>)> = Vec::new();
    for (at, one) in expected.iter().enumerate() {
        let candidates = events.iter().enumerate().filter(|(_, event)| may_be(one, event));
        pairs.extend(candidates.map(|(other, event)| (at, other, differences(one, event))));
    }
    pairs.sort_by_key(|(_, _, wrong)| wrong.len());
    let (mut left, mut over) = ((0..expected.len()).collect::<Vec<_>>(), (0..events.len()).collect::<Vec<_>>());
    pairs.retain(|(at, other, _)| {
        let free = left.contains(at) && over.contains(other);
        if free {
            left.retain(|one| one != at);
            over.retain(|one| one != other);
        }
        free
    });
    pairs.sort_by_key(|(at, ..)| *at);
    (pairs, left, over)
}

/// Which events are compared with an expected one: those of its kind and process and, for an open, of its path, for bpf(2),
/// of what was done.
fn same(expected: &Value, event: &Value) -> bool {
    let key = if event["kind"] == "open" { "path" } else { "op" };
    ["kind", "pid"].iter().all(|key| expected[key] == event[key])
        && (event["kind"] != "open" && event["kind"] != "bpf" || expected[key] == event[key])
}

/// Compares the expected events with those of the trace. Returns what is wrong, line by line.
pub(crate) fn compare(expected: &[Value], lines: &[Value]) -> Vec<String> {
    let events: Vec<Value> = lines.iter().filter(|line| expected.iter().any(|one| same(one, line))).cloned().collect();
    let expected: Vec<Value> = expected.iter().filter(|one| one[NONE].is_null()).cloned().collect();
    let (pairs, missing, over) = pair(&expected, &events, same);
    let mut wrong: Vec<String> = missing.into_iter().map(|at| format!("missing: {}", expected[at])).collect();
    wrong.extend(over.into_iter().map(|at| format!("not expected: {}", events[at])));
    for (i, (_, other, differences)) in pairs.iter().enumerate() {
        let event = &events[*other];
        if !differences.is_empty() {
            wrong.push(format!("{}: {event}", differences.join(", ")));
        }
        if pairs[..i].iter().any(|(_, before, _)| before > other && events[*before]["pid"] == event["pid"]) {
            wrong.push(format!("too early: {event}"));
        }
        let lived = |exit: &Value| n(&exit["dur_ns"]) == n(&exit["ns"]) - n(&exit["start_ns"]);
        if event["kind"] == "exit" && !lived(event) {
            wrong.push(format!("dur_ns is not ns - start_ns: {event}"));
        }
        let other_start = |other: &Value| event["pid"] == other["pid"] && event["start_ns"] != other["start_ns"];
        if pairs[..i].iter().any(|(_, before, _)| other_start(&events[*before])) {
            wrong.push(format!("another start_ns than before: {event}"));
        }
    }
    wrong
}

/// Runs each case in a process, all at once.
pub(crate) fn act(cases: impl Iterator<Item = (&'static str, impl FnOnce() -> Told)>) -> Vec<Acted> {
    let actors = cases.map(|(name, run)| {
        let mut actor = Actor::new(move || {
            sys::set_comm(name.as_bytes());
            // SAFETY: alarm(2) takes an integer. Its signal ends a case that waits for ever.
            unsafe { libc::alarm(if emulated() { 100 } else { 60 }) };
            let told = match run() {
                Ok(events) => Value::from(events),
                Err(reason) => Value::from(reason),
            };
            told.to_string().bytes().map(i64::from).collect()
        });
        actor.go();
        (name, actor)
    });
    let actors: Vec<(&str, Actor)> = actors.collect();
    let acted = actors.into_iter().map(|(name, actor)| {
        let pid = actor.pid;
        let (status, bytes) = actor.end();
        let bytes: Vec<u8> = bytes.into_iter().map(|byte| byte as u8).collect();
        let told = || match serde_json::from_slice(&bytes).expect("JSON") {
            Value::Array(events) => Ok(events),
            other => Err(other.as_str().expect("a reason").to_owned()),
        };
        (name, pid, if status.code() == Some(0) { Ok(told()) } else { Err(status) })
    });
    acted.collect()
}

fn act_in_dirs(cases: &[Case]) -> Vec<Acted> {
    let dirs: Vec<Dir> = cases.iter().map(|_| Dir::new()).collect();
    act(cases.iter().zip(&dirs).map(|((name, run), dir)| (*name, move || run(dir))))
}

/// Fails with everything that is wrong, each line with the name of its case. Then reports the cases that cannot run here.
pub(crate) fn judge(acted: Vec<Acted>, run: &Run, compare: impl Fn(&str, i32, &[Value]) -> Vec<String>) {
    let (all, mut wrong, mut cannot) = (acted.len(), Vec::new(), Vec::new());
    for (name, pid, told) in acted {
        let lines = match told {
            Ok(Ok(expected)) => compare(name, pid, &expected),
            Ok(Err(reason)) => {
                cannot.push(format!("{name}: {reason}"));
                vec![]
            }
            Err(status) => vec![format!("the case failed: {status:?}")],
        };
        wrong.extend(lines.into_iter().map(|line| format!("{name}: {line}")));
    }
    let lost: Vec<String> = run.lines().filter(|line| line["kind"] == "lost").map(|line| line.to_string()).collect();
    assert!(wrong.is_empty(), "\n{}\n{}\n{}", wrong.join("\n"), lost.join("\n"), run.account());
    // The kernel matrix counts a table as passed if some of its cases can run.
    match cannot.len() {
        0 => {}
        some if some < all => warn_not_checked(&format!("{some} of {all} cases: {}", cannot.join("; "))),
        _ => warn_not_checked(&cannot.join("; ")),
    }
}

/// Runs the cases under a trace with these arguments, and compares their events.
/// Returns the account.
pub(crate) fn check(args: &[&str], cases: &[Case]) -> Option<Value> {
    check_callers(args, cases, |_| None)
}

/// Like [`check`]. `callers` names the callers of an event as the cases and `doctor` do. If the trace has no event of such
/// callers, and `doctor` reports about them, the probes in use do not see them, and their cases cannot run.
pub(crate) fn check_callers(
    args: &[&str],
    cases: &[Case],
    callers: impl Fn(&Value) -> Option<&'static str>,
) -> Option<Value> {
    let traced = Traced::start(args)?;
    let mut acted = act_in_dirs(cases);
    let (run, account) = traced.stop_with_account();
    let lines: Vec<Value> = run.lines().collect();
    let cannot: Vec<Case> =
        cases.iter().zip(&acted).filter(|(_, acted)| matches!(acted.2, Ok(Err(_)))).map(|(case, _)| *case).collect();
    let seen: HashSet<&str> = lines.iter().filter_map(callers).collect();
    for word in ["32-bit", "x32"].into_iter().filter(|word| !seen.contains(word)) {
        for (_, _, told) in
            acted.iter_mut().filter(|(name, _, told)| name.starts_with(word) && matches!(told, Ok(Ok(_))))
        {
            if doctor().contains(word) {
                *told = Ok(Err("the probes in use do not see such callers, as reported by doctor".to_owned()));
            }
        }
    }
    judge(acted, &run, |_, _, expected| compare(expected, &lines));
    // The tracer is not the reason.
    for (name, _, told) in act_in_dirs(&cannot) {
        assert!(matches!(told, Ok(Err(_))), "{name} runs without a tracer: {told:?}");
    }
    Some(account)
}

/// Like [`check`], with one case of 32-bit callers.
pub(crate) fn check_narrow(args: &[&str], case: fn(&Dir) -> Told) {
    check_callers(args, &[("32-bit", case)], |event| (event["abi"] == arch::NARROW_ABI).then_some("32-bit"));
}

#[test]
fn a_wrong_event_is_named() {
    let [first, second] = [3, 4].map(|ret| json!({"kind": "open", "pid": 1, "path": "a", "ret": ret, "start_ns": 5}));
    let exit = json!({"kind": "exit", "pid": 1, "ns": 9, "start_ns": 5, "dur_ns": 3});
    let lines = [first.clone(), second.clone(), exit];
    let of = |ret: Value| event("open", 1, json!({"path": "a", "ret": ret}));
    let wrong = |expected: &[Value]| compare(expected, &lines);
    assert!(wrong(&[of(3.into()), of(json!({"?ge": 4, "?not": 5}))]).is_empty());
    assert_eq!(wrong(&[of(3.into()), of(5.into())]), [format!("ret is 4 and not 5: {second}")]);
    assert_eq!(wrong(&[of(3.into())]), [format!("not expected: {second}")]);
    assert_eq!(wrong(&[of(4.into()), of(3.into())]), [format!("too early: {first}")]);
    assert_eq!(wrong(&[event("open", 1, json!({"path": "b"}))]).len(), 1);
    assert_eq!(wrong(&[none("open", 1)]), [""; 0]);
    assert_eq!(wrong(&[none("exit", 1), none("exec", 1)]).len(), 1);
    assert_eq!(wrong(&[event("exit", 1, json!({}))]).len(), 1);
    for (expected, is_met) in [
        (json!({"?absent": true}), false),
        (json!({"?or": [1, {"?le": 3}]}), true),
        (json!({"?not": {"?or": [null, 3]}}), false),
        (json!({"?starts": "a"}), false),
    ] {
        assert_eq!(is(&expected, Some(&3.into())), is_met, "{expected}");
    }
    let text = |condition: &str, part: &str| is(&json!({condition: part}), Some(&"abc".into()));
    assert!(text("?starts", "ab") && text("?ends", "bc") && text("?start_of", "abcd") && !text("?start_of", "ab"));
    assert!(is(&json!({"a": 1, "c": null}), Some(&json!({"a": 1, "b": 2}))));
    assert!(!is(&json!({"?whole": {"a": 1}}), Some(&json!({"a": 1, "b": 2}))));
    assert!(is(&json!([1, {"?ge": 2}]), Some(&json!([1, 2]))) && !is(&json!([1]), Some(&json!([1, 2]))));
    assert!(!differences(&json!({"?or": [{"a": 1}, {"b": 1}]}), &json!({"a": 2, "b": 2})).is_empty());
}
