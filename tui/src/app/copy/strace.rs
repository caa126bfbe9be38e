//! An event as strace(1) writes the call.

use std::borrow::Cow;
use tracetui_events::event::describe::{Value, args, fields};
use tracetui_events::event::{Body, EventContext};
use tracetui_events::why::error_text;

/// The call of an exec or open, or the end of a process, with the thread that strace -f names. `None` for other kinds.
pub(crate) fn line(seen: &EventContext<'_>) -> Option<String> {
    let field = |name: &str| fields(seen.event.kind()).find(|field| field.name == name).map(|field| (field.get)(seen));
    let text = |name: &str| match field(name) {
        Some(value) => String::from_utf8_lossy(&value.text().unwrap_or(Cow::Borrowed(b"?"))).into_owned(),
        None => "?".to_owned(),
    };
    let path = |name: &str| match field(name) {
        Some(Value::Unknown(_) | Value::Unread(_)) | None => "?".to_owned(),
        Some(value) => {
            let cut = if matches!(value, Value::Cut(_)) { "..." } else { "" };
            quoted(&value.text().unwrap_or_default()) + cut
        }
    };
    let given = |name: &str| matches!(field(name), Some(value) if value.text().is_some());
    let call = match &seen.event.body {
        Body::Exec(exec) => {
            let words: Vec<String> = args(exec.argv).map(quoted).collect();
            let cut = if text("cut") == "true" { ", ..." } else { "" };
            format!("execve({}, [{}{cut}], ...)", path("filename"), words.join(", "))
        }
        Body::Exit(_) => {
            let core = if text("core") == "true" { " (core dumped)" } else { "" };
            let how = if given("signal") {
                format!("killed by {}{core}", text("signal"))
            } else {
                format!("exited with {}", text("exit_code"))
            };
            return Some(format!("[pid {}] +++ {how} +++", seen.event.header.tid.0));
        }
        _ => {
            let (via, path, flags) = (text("via"), path("path"), text("flags"));
            let mode = match field("mode") {
                Some(Value::Uint(mode)) => format!(", 0{mode:o}"),
                _ => String::new(),
            };
            let dirfd = match text("dirfd") {
                fd if fd == "-100" => "AT_FDCWD".to_owned(),
                fd => fd,
            };
            match via.as_str() {
                "creat" => format!("creat({path}{mode})"),
                "open" => format!("open({path}, {flags}{mode})"),
                "openat" => format!("openat({dirfd}, {path}, {flags}{mode})"),
                "openat2" => {
                    let mode = mode.replace(", ", ", mode=");
                    format!("openat2({dirfd}, {path}, {{flags={flags}{mode}, resolve={}}}, ...)", text("resolve"))
                }
                _ => return None,
            }
        }
    };
    let ret = seen.event.body.ret()?;
    let result = match field("err") {
        Some(Value::Word(name)) if ret < 0 => format!("-1 {name} ({})", error_text(-ret)),
        _ => ret.to_string(),
    };
    Some(format!("[pid {}] {call} = {result}", seen.event.header.tid.0))
}

/// A C string, with bytes outside ASCII as octal numbers.
fn quoted(bytes: &[u8]) -> String {
    let mut out = String::from("\"");
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'"' | b'\\' => out.extend(['\\', char::from(*byte)]),
            b' '..=b'~' => out.push(char::from(*byte)),
            b'\n' => out.push_str("\\n"),
            b'\t' => out.push_str("\\t"),
            b'\r' => out.push_str("\\r"),
            0x0b => out.push_str("\\v"),
            0x0c => out.push_str("\\f"),
            // The shortest number, unless a digit follows.
            _ if bytes.get(at + 1).is_some_and(u8::is_ascii_digit) => out.push_str(&format!("\\{byte:03o}")),
            _ => out.push_str(&format!("\\{byte:o}")),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracetui_events::synthetic::{Maker, each_event};

    #[test]
    fn calls_are_written_as_strace_writes_them() {
        let mut made = Maker::default();
        made.exec(7, "cc", &["cc", "-c", "a b.c"], 0);
        made.open(7, "cc", "/tmp/a\"\n", 3);
        made.acts("7 cc open /tmp/b:-2, exit 1; 8 x exec:-13 x, signal 139");
        let mut lines = Vec::new();
        each_event(made.batch(), |seen, _| lines.extend(line(seen)));
        let want = [
            r#"[pid 7] execve("", ["cc", "-c", "a b.c"], ...) = 0"#,
            r#"[pid 7] open("/tmp/a\"\n", O_RDONLY) = 3"#,
            r#"[pid 7] open("/tmp/b", O_RDONLY) = -1 ENOENT (No such file or directory)"#,
            "[pid 7] +++ exited with 1 +++",
            r#"[pid 8] execve("", ["x"], ...) = -1 EACCES (Permission denied)"#,
            "[pid 8] +++ killed by SIGSEGV (core dumped) +++",
        ];
        assert_eq!(lines, want);
        assert_eq!(quoted(b"a\t\x01b\x012\xc3\xa9\\"), r#""a\t\1b\0012\303\251\\""#);
    }
}
