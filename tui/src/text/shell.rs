//! Words of a shell.

use super::is_hostile;

/// The first word of a command: a name, never a keyword.
pub(crate) fn first_word(name: &[u8]) -> String {
    if is_reserved(name) { format!("'{}'", String::from_utf8_lossy(name)) } else { word(name) }
}

/// One word, quoted so that the shell takes it as it is and the terminal sees no control characters.
pub(crate) fn word(word: &[u8]) -> String {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"_@%+:,./-".contains(b);
    if !word.is_empty() && word.iter().all(plain) {
        return String::from_utf8_lossy(word).into_owned();
    }
    // An option like `--std=c17` reads better as it is; `=` only means something in a first word without a dash.
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

/// `$'…'`: the only quotes in which every byte can be written in ASCII.
fn ansi_c(word: &[u8]) -> String {
    let mut out = String::from("$'");
    for byte in word {
        match byte {
            b'\n' => out.push_str("\\n"),
            b'\t' => out.push_str("\\t"),
            b'\'' => out.push_str("\\'"),
            b'\\' => out.push_str("\\\\"),
            b' '..=b'~' => out.push(char::from(*byte)),
            // Octal has at most three digits, so what follows is never taken in.
            other => out.push_str(&format!("\\{other:03o}")),
        }
    }
    out.push('\'');
    out
}
