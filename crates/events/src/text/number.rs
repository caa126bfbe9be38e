//! Counts as text.

/// Appends an integer in decimal.
pub fn integer(n: impl itoa::Integer, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(n).as_bytes());
}

/// A number with commas between thousands.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A count and its noun in the singular or the plural: `1 file`, `2,000 files`.
pub fn counted(count: u64, [one, many]: [&str; 2]) -> String {
    format!("{} {}", grouped(count), if count == 1 { one } else { many })
}

/// A count in at most five characters: `842`, `45.3k`, `1.2M`.
pub fn short(count: u64) -> String {
    const UNITS: [(u64, &str); 4] = [(1_000_000_000_000, "T"), (1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")];
    if count < 10_000 {
        return grouped(count);
    }
    match UNITS.into_iter().find(|(unit, _)| count >= *unit) {
        Some((unit, name)) if count / unit >= 100 => format!("{}{name}", count / unit),
        Some((unit, name)) => format!("{}.{}{name}", count / unit, count % unit * 10 / unit),
        None => count.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_short_and_one_is_no_plural() {
        let files = |count| counted(count, ["file", "files"]);
        assert_eq!([0, 1, 2_000].map(files), ["0 files", "1 file", "2,000 files"]);
        assert_eq!([7, 9_999, 45_310, 123_456, 1_234_567].map(short), ["7", "9,999", "45.3k", "123k", "1.2M"]);
    }
}
