//! Quoting for the shell.

use super::is_hostile;

/// The first word of a command, quoted if the shell would read it as a keyword or an assignment.
pub fn first_word(name: &[u8]) -> String {
    if is_reserved(name) || name.contains(&b'=') && is_plain(name) {
        return format!("'{}'", String::from_utf8_lossy(name));
    }
    word(name)
}

/// One word, quoted so that the shell takes it literally and the terminal receives no control characters.
pub fn word(word: &[u8]) -> String {
    match std::str::from_utf8(word) {
        Ok(text) if !text.chars().any(is_hostile) => {
            let mut out = Vec::new();
            quote(word, &mut out);
            String::from_utf8_lossy(&out).into_owned()
        }
        _ => ansi_c(word),
    }
}

pub const SHELLS: [&[u8]; 10] = [b"sh", b"bash", b"dash", b"ash", b"ksh", b"mksh", b"zsh", b"csh", b"tcsh", b"fish"];

/// The arguments in an argument area: each up to its NUL.
pub fn args(area: &[u8]) -> impl Iterator<Item = &[u8]> {
    let whole = area.strip_suffix(b"\0").unwrap_or(area);
    let empty = area.is_empty();
    whole.split(|b| *b == 0).filter(move |_| !empty)
}

/// Appends an argument area as words with a space between them. Raw bytes, not escaped.
pub fn words(area: &[u8], out: &mut Vec<u8>) {
    for (number, word) in args(area).enumerate() {
        if number > 0 {
            out.push(b' ');
        }
        quote(word, out);
    }
}

/// Appends a word, in quotes if the shell would take it apart.
pub(super) fn quote(word: &[u8], out: &mut Vec<u8>) {
    if is_plain(word) {
        return out.extend_from_slice(word);
    }
    // No backslashes: lines of text double them.
    if word.contains(&b'\'') && !word.iter().any(|byte| b"\"$`\\!".contains(byte)) {
        return out.extend_from_slice(&[b"\"", word, b"\""].concat());
    }
    out.push(b'\'');
    for byte in word {
        out.extend_from_slice(if *byte == b'\'' { br#"'"'"'"# } else { std::slice::from_ref(byte) });
    }
    out.push(b'\'');
}

/// Whether a word needs no quotes. zsh replaces one that begins with `=`.
fn is_plain(word: &[u8]) -> bool {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"_@%+:,./-=".contains(b) || !b.is_ascii();
    !word.is_empty() && word[0] != b'=' && word.iter().all(plain)
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
