//! Quoting for the shell.

use super::is_hostile;

/// The first word of a command, quoted if the shell would read it as a keyword.
pub fn first_word(name: &[u8]) -> String {
    if is_reserved(name) { format!("'{}'", String::from_utf8_lossy(name)) } else { word(name) }
}

/// One word, quoted so that the shell takes it literally and the terminal receives no control characters.
pub fn word(word: &[u8]) -> String {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"_@%+:,./-".contains(b);
    if !word.is_empty() && word.iter().all(plain) {
        return String::from_utf8_lossy(word).into_owned();
    }
    // An option like `--std=c17` needs no quotes: `=` is special only in a first word without a dash.
    if word.starts_with(b"-") && word.iter().all(|b| plain(b) || *b == b'=') {
        return String::from_utf8_lossy(word).into_owned();
    }
    match std::str::from_utf8(word) {
        Ok(text) if !text.chars().any(is_hostile) => format!("'{}'", text.replace('\'', r"'\''")),
        _ => ansi_c(word),
    }
}

fn is_reserved(word: &[u8]) -> bool {
    const RESERVED: &[&str] = &[
        "case", "coproc", "do", "done", "elif", "else", "esac", "fi", "for", "function", "if", "in", "select", "then",
        "time", "until", "while",
    ];
    RESERVED.iter().any(|reserved| reserved.as_bytes() == word)
}

/// `$'…'`: the only quotes that can express every byte in ASCII.
fn ansi_c(word: &[u8]) -> String {
    let mut out = String::from("$'");
    for byte in word {
        match byte {
            b'\n' => out.push_str("\\n"),
            b'\t' => out.push_str("\\t"),
            b'\'' => out.push_str("\\'"),
            b'\\' => out.push_str("\\\\"),
            b' '..=b'~' => out.push(char::from(*byte)),
            // An octal escape has at most three digits, so the next character never becomes a part of it.
            other => out.push_str(&format!("\\{other:03o}")),
        }
    }
    out.push('\'');
    out
}
