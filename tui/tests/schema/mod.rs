//! Checks events against docs/events.schema.json, by the keywords of JSON Schema that it uses.

use serde_json::{Map, Value};
use std::sync::LazyLock;

static SCHEMA: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../../../docs/events.schema.json")).expect("JSON"));

/// # Panics
/// If the event violates the schema.
#[track_caller]
pub(crate) fn check(event: &Value) {
    assert_eq!(violation(event, &SCHEMA["$defs"][event["kind"].as_str().expect("a kind")], "event"), None, "{event}");
}

/// The value that violates the schema.
fn violation(value: &Value, schema: &Value, at: &str) -> Option<String> {
    let name = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    let has_type = match &schema["type"] {
        Value::Null => true,
        Value::Array(types) => types.contains(&name.into()),
        one => one == name,
    };
    let is_constant = schema.get("const").is_none_or(|constant| constant == value);
    let is_listed = schema["enum"].as_array().is_none_or(|words| words.contains(value));
    if !(has_type && is_constant && is_listed) {
        return Some(format!("{at}: {value}"));
    }
    match value {
        Value::Array(items) => items.iter().find_map(|item| violation(item, &schema["items"], &format!("{at}[]"))),
        Value::Object(object) if schema.get("properties").is_some() => fields(object, schema, at),
        _ => None,
    }
}

fn fields(object: &Map<String, Value>, schema: &Value, at: &str) -> Option<String> {
    let base = schema["$ref"].as_str().and_then(|path| SCHEMA.pointer(path.strip_prefix('#')?));
    let schemas = || base.into_iter().chain([schema]);
    let required = schemas().flat_map(|schema| schema["required"].as_array().into_iter().flatten());
    let missing = required.filter_map(Value::as_str).find(|name| !object.contains_key(*name));
    if let Some(missing) = missing {
        return Some(format!("{at}.{missing}: missing"));
    }
    object.iter().find_map(|(key, value)| {
        let at = format!("{at}.{key}");
        let named = schemas().filter_map(|schema| schema["properties"].get(key));
        let patterns = schema["patternProperties"].as_object().into_iter().flatten();
        let ends = patterns.filter(|(end, _)| key.ends_with(end.trim_end_matches('$'))).map(|(_, schema)| schema);
        let mut all = named.chain(ends).peekable();
        match all.peek() {
            Some(_) => all.find_map(|schema| violation(value, schema, &at)),
            None => Some(format!("{at}: not in the schema")),
        }
    })
}

#[test]
fn a_line_without_a_field_or_with_another_violates_the_schema() {
    let of = |line: &str| violation(&serde_json::from_str(line).expect("JSON"), &SCHEMA["$defs"]["fork"], "event");
    let said = of(r#"{"kind":"fork"}"#).expect("a violation");
    assert!(said.ends_with(": missing"), "{said}");
    let schema: Value = serde_json::from_str(
        r#"{"properties":{"a":{"type":["string","null"]},"b":{"const":1}},"patternProperties":{"_hex$":{"type":"string"}},"required":["a"]}"#,
    )
    .expect("JSON");
    for (line, violated) in [
        (r#"{"a":"x","b":1,"a_hex":"00"}"#, None),
        (r#"{"a":null}"#, None),
        (r#"{"b":1}"#, Some("event.a: missing")),
        (r#"{"a":7}"#, Some("event.a: 7")),
        (r#"{"a":"x","b":2}"#, Some("event.b: 2")),
        (r#"{"a":"x","a_hex":7}"#, Some("event.a_hex: 7")),
        (r#"{"a":"x","c":7}"#, Some("event.c: not in the schema")),
    ] {
        let found = violation(&serde_json::from_str(line).expect("JSON"), &schema, "event");
        assert_eq!(found.as_deref(), violated, "{line}");
    }
}
