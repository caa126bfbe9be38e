//! Formatting of bytes, numbers and times. It does not depend on events.

pub mod command;
mod escape;
pub mod json;
mod number;
pub mod paint;
pub mod shell;
pub mod time;
mod width;

/// A number of bytes in the largest unit below it: `17 B`, `45.1 MiB`.
pub fn size(bytes: u64) -> String {
    for (unit, shift) in [("GiB", 30), ("MiB", 20), ("KiB", 10)] {
        if bytes >> shift > 0 {
            let tenths = (u128::from(bytes) * 10) >> shift;
            return format!("{}.{} {unit}", tenths / 10, tenths % 10);
        }
    }
    format!("{bytes} B")
}

#[cfg(test)]
pub(crate) use escape::tests::unescape;
pub use escape::{Charset, Mode, Text, escape, escaped, is_hostile};
pub use number::{counted, grouped, integer, short};
pub use width::{cut, cut_middle, escape_in, head, left, right, skip, value_in, width, wrap};

/// The replacement for a match of `--redact`.
pub(crate) const REDACTED: &str = "…";

/// A message without the numbers that the standard library appends to system errors: ` (os error 2)`.
pub fn without_codes(message: &str) -> String {
    let mut parts = message.split(" (os error ");
    let mut out = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.split_once(')') {
            Some((code, rest)) if code.bytes().all(|byte| byte.is_ascii_digit()) => out.push_str(rest),
            _ => out.extend([" (os error ", part]),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_errors_have_no_numbers() {
        let error = |errno| std::io::Error::from_raw_os_error(errno).to_string();
        let (missing, full) = (error(libc::ENOENT), error(libc::ENOSPC));
        let message = without_codes(&format!("a: {missing}; b: {full}: stopped"));
        assert_eq!(message, "a: No such file or directory; b: No space left on device: stopped");
        for other in ["", "a (os error", "a (os error 2", "a (os error x)"] {
            assert_eq!(without_codes(other), other);
        }
    }
}
