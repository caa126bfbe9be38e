//! Colours and weights of text for terminals: the 16 colours, bold and dim (SGR, ECMA-48). The dashboard has the same looks
//! (`view::theme` of the program).

/// The role of a part of a line.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Look {
    Plain,
    Quiet,
    /// Headings, names.
    Strong,
    /// An exec, or a success.
    Good,
    Exit,
    /// Part of ordinary work, but worth a look.
    Notice,
    Note,
    /// Failures, losses, alarms.
    Bad,
}

impl Look {
    /// The parameters of the SGR sequence.
    fn sgr(self) -> &'static [u8] {
        match self {
            Look::Plain => b"",
            Look::Quiet => b"2",
            Look::Strong => b"1",
            Look::Good => b"1;32",
            Look::Exit => b"35",
            Look::Notice => b"33",
            Look::Note => b"36",
            Look::Bad => b"1;31",
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Paint {
    #[default]
    Off,
    /// Puts SGR sequences around parts that are not plain.
    On,
}

impl Paint {
    /// Appends the output of `write` with a look.
    pub fn put(self, look: Look, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
        let sgr = if self == Paint::On { look.sgr() } else { b"" };
        if sgr.is_empty() {
            return write(out);
        }
        out.extend_from_slice(b"\x1b[");
        out.extend_from_slice(sgr);
        out.push(b'm');
        write(out);
        out.extend_from_slice(b"\x1b[m");
    }

    /// A text with a look. It must have no control characters.
    pub fn text(self, look: Look, text: &str) -> String {
        let mut out = Vec::new();
        self.put(look, &mut out, |out| out.extend_from_slice(text.as_bytes()));
        String::from_utf8(out).unwrap_or_default()
    }
}
