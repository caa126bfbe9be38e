//! Reads single values from JSON that others wrote. Nothing is parsed beyond what a caller asks for, and nothing is
//! allocated but the texts that it takes. Malformed text has fewer values.

/// A value, as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Json<'a>(&'a [u8]);

impl<'a> Json<'a> {
    pub(crate) fn new(text: &'a [u8]) -> Json<'a> {
        Json(text.trim_ascii())
    }

    /// The value of a member of an object. The first one counts.
    pub(crate) fn get(self, key: &str) -> Option<Json<'a>> {
        let mut rest = self.0.strip_prefix(b"{")?;
        loop {
            let (name, after) = next(rest)?;
            let (value, after) = next(after.trim_ascii_start().strip_prefix(b":")?)?;
            if name.text().is_some_and(|name| name == key.as_bytes()) {
                return Some(value);
            }
            rest = after.trim_ascii_start().strip_prefix(b",")?;
        }
    }

    /// The elements of an array.
    pub(crate) fn elements(self) -> impl Iterator<Item = Json<'a>> {
        let mut rest = self.0.strip_prefix(b"[");
        std::iter::from_fn(move || {
            let (value, after) = next(rest?)?;
            rest = after.trim_ascii_start().strip_prefix(b",");
            Some(value)
        })
    }

    /// The text of a string, as UTF-8. `None` for other values.
    pub(crate) fn text(self) -> Option<Vec<u8>> {
        let inner = self.0.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
        let mut out = Vec::with_capacity(inner.len());
        let mut rest = inner;
        while let Some((first, after)) = rest.split_first() {
            rest = after;
            if *first != b'\\' {
                out.push(*first);
                continue;
            }
            let (escaped, after) = rest.split_first()?;
            rest = after;
            match escaped {
                b'n' => out.push(b'\n'),
                b't' => out.push(b'\t'),
                b'r' => out.push(b'\r'),
                b'b' => out.push(8),
                b'f' => out.push(12),
                b'u' => {
                    let unit = unit(&mut rest)?;
                    // A surrogate is the first half of a pair, or wrong.
                    let low = match unit {
                        0xd800..0xdc00 => rest.strip_prefix(b"\\u").and_then(|mut after| {
                            let low = self::unit(&mut after).filter(|low| (0xdc00..0xe000).contains(low))?;
                            rest = after;
                            Some(low)
                        }),
                        _ => None,
                    };
                    let code = low.map_or(unit, |low| 0x1_0000 + ((unit - 0xd800) << 10) + (low - 0xdc00));
                    let char = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
                    out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
                }
                other => out.push(*other),
            }
        }
        Some(String::from_utf8_lossy(&out).into_owned().into_bytes())
    }
}

/// Removes four hexadecimal digits.
fn unit(rest: &mut &[u8]) -> Option<u32> {
    let (digits, after) = rest.split_first_chunk::<4>()?;
    *rest = after;
    digits.iter().try_fold(0, |value, digit| Some(value * 16 + char::from(*digit).to_digit(16)?))
}

/// The value at the start of a text, and what follows it. Brackets are counted, not matched.
fn next(text: &[u8]) -> Option<(Json<'_>, &[u8])> {
    let text = text.trim_ascii_start();
    let end = match text.first()? {
        b'"' => string_end(text)?,
        b'{' | b'[' => {
            let (mut at, mut depth) = (0, 0usize);
            loop {
                at += match text.get(at)? {
                    b'"' => string_end(text.get(at..)?)?,
                    b'{' | b'[' => {
                        depth += 1;
                        1
                    }
                    b'}' | b']' => {
                        depth -= 1;
                        1
                    }
                    _ => 1,
                };
                if depth == 0 {
                    break at;
                }
            }
        }
        b',' | b':' | b'}' | b']' => return None,
        _ => text.iter().position(|b| matches!(b, b',' | b':' | b'}' | b']')).unwrap_or(text.len()),
    };
    let (value, rest) = text.split_at_checked(end)?;
    Some((Json(value.trim_ascii_end()), rest))
}

/// The length of a string with both quotes.
fn string_end(text: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        let found = at + memchr::memchr2(b'"', b'\\', text.get(at..)?)?;
        match text.get(found)? {
            b'"' => return Some(found + 1),
            _ => at = found + 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    /// Compares with another reader, at any depth.
    fn check(text: &[u8], value: &Value) {
        let read = Json::new(text);
        match value {
            Value::String(string) => assert_eq!(read.text().as_deref(), Some(string.as_bytes())),
            Value::Array(array) => {
                let read: Vec<_> = read.elements().collect();
                assert_eq!(read.len(), array.len());
                read.iter().zip(array).for_each(|(read, value)| check(read.0, value));
            }
            Value::Object(object) => {
                for (key, value) in object {
                    check(read.get(key).expect("a member").0, value);
                }
                assert_eq!(read.get("no such key"), None);
            }
            _ => assert_eq!(str::from_utf8(read.0).ok(), Some(&*value.to_string())),
        }
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
            "[\\\\\"{}\\[\\],:]{0,8}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                proptest::collection::hash_map("[a-z\"\\\\é]{0,6}", inner, 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    /// Asks a text of any bytes for everything.
    fn exhaust(read: Json<'_>, depth: u8) {
        assert!(read.text().is_none_or(|text| text.len() <= 3 * read.0.len()));
        assert_eq!(read.get("\0"), None);
        if depth > 0 {
            read.elements().chain(read.get("a")).for_each(|inner| {
                assert!(inner.0.len() < read.0.len());
                exhaust(inner, depth - 1);
            });
        }
    }

    proptest! {
        #[test]
        fn values_are_those_of_another_reader(value in json(), pretty in any::<bool>()) {
            let text = if pretty { format!("{value:#}") } else { value.to_string() };
            check(text.as_bytes(), &value);
            exhaust(Json::new(text.as_bytes()), 5);
        }

        #[test]
        fn any_text_is_read(text in "[\\[\\]{}\",:\\\\au0d8 \n\\x{7f}]{0,60}", cut in 0usize..60) {
            let text = text.as_bytes();
            exhaust(Json::new(text.get(..cut).unwrap_or(text)), 5);
        }
    }

    #[test]
    fn escapes_are_undone() {
        let text = |json: &str| Json::new(json.as_bytes()).text().map(|text| String::from_utf8(text).expect("UTF-8"));
        assert_eq!(text(r#""a\n\"\\\/\u00e9\ud83d\ude00\ud83d!""#).as_deref(), Some("a\n\"\\/é😀\u{fffd}!"));
        assert_eq!((text(r#""\u12""#), text("12"), text("\"a"), text("\"")), (None, None, None, None));
    }
}
