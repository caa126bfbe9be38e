//! Converts the screen of a terminal, as written by `tmux capture-pane -ep`, into an SVG: `picture < screen.txt >
//! screen.svg`. It supports the 16 colours, bold, dim and reverse, which are all that the dashboard uses.

#![allow(clippy::print_stdout, reason = "for whoever runs it")]

use std::fmt::Write as _;
use std::io::Read as _;

const CELL: (usize, usize) = (8, 17);
/// The 16 colours, as a dark terminal shows them.
const COLOURS: [&str; 16] = [
    "#1d1f21", "#cc6666", "#b5bd68", "#f0c674", "#81a2be", "#b294bb", "#8abeb7", "#c5c8c6", "#666666", "#d54e53",
    "#b9ca4a", "#e7c547", "#7aa6da", "#c397d8", "#70c0b1", "#eaeaea",
];

#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Style {
    fore: Option<u8>,
    back: Option<u8>,
    bold: bool,
    dim: bool,
    reverse: bool,
}

impl Style {
    /// Applies the parameters of one SGR sequence.
    fn apply(&mut self, numbers: &str) {
        let mut numbers = numbers.split(';').map(|n| n.parse::<u8>().unwrap_or(0));
        // A colour by its index: `38;5;N`.
        let indexed = |numbers: &mut dyn Iterator<Item = u8>| numbers.nth(1).filter(|index| *index < 16);
        while let Some(number) = numbers.next() {
            match number {
                0 => *self = Style::default(),
                1 => self.bold = true,
                2 => self.dim = true,
                7 => self.reverse = true,
                22 => (self.bold, self.dim) = (false, false),
                38 => self.fore = indexed(&mut numbers),
                48 => self.back = indexed(&mut numbers),
                27 => self.reverse = false,
                30..=37 => self.fore = Some(number - 30),
                39 => self.fore = None,
                40..=47 => self.back = Some(number - 40),
                49 => self.back = None,
                90..=97 => self.fore = Some(number - 82),
                100..=107 => self.back = Some(number - 92),
                _ => {}
            }
        }
    }

    fn colours(&self) -> (&'static str, Option<&'static str>) {
        let fore = COLOURS[usize::from(self.fore.unwrap_or(7))];
        let back = self.back.map(|back| COLOURS[usize::from(back)]);
        if self.reverse { (back.unwrap_or(COLOURS[0]), Some(fore)) } else { (fore, back) }
    }
}

/// Text with one style: start, style, text.
fn runs(line: &str, style: &mut Style) -> Vec<(usize, Style, String)> {
    let mut runs: Vec<(usize, Style, String)> = Vec::new();
    let mut column = 0;
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        if let Some((numbers, after)) = rest.strip_prefix("\x1b[").and_then(|rest| rest.split_once('m')) {
            style.apply(numbers);
            rest = after;
            continue;
        }
        match runs.last_mut() {
            Some((_, last, text)) if last == style => text.push(c),
            _ => runs.push((column, *style, c.to_string())),
        }
        column += 1;
        rest = &rest[c.len_utf8()..];
    }
    runs
}

fn escaped(text: &str) -> String {
    // No-break spaces, which viewers do not collapse.
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace(' ', "\u{a0}")
}

fn svg(screen: &str) -> Result<String, std::fmt::Error> {
    let mut style = Style::default();
    let lines: Vec<_> = screen.lines().map(|line| runs(line, &mut style)).collect();
    let width = lines.iter().flatten().map(|(at, _, text)| at + text.chars().count()).max().unwrap_or(0);
    let (w, h) = ((width + 2) * CELL.0, (lines.len() + 1) * CELL.1);
    let mut out = String::new();
    writeln!(out, r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {w} {h}" width="{w}" height="{h}">"#)?;
    writeln!(out, r#"<rect width="{w}" height="{h}" rx="6" fill="{}"/>"#, COLOURS[0])?;
    writeln!(
        out,
        r#"<g font-family="DejaVu Sans Mono,Menlo,Consolas,monospace" font-size="13" xml:space="preserve">"#
    )?;
    for (row, line) in lines.iter().enumerate() {
        for (at, style, text) in line {
            let (fore, back) = style.colours();
            let (x, y, cells) = ((at + 1) * CELL.0, row * CELL.1 + CELL.1 / 2, text.chars().count() * CELL.0);
            if let Some(back) = back {
                writeln!(out, r#"<rect x="{x}" y="{y}" width="{cells}" height="{}" fill="{back}"/>"#, CELL.1)?;
            }
            if !text.trim().is_empty() {
                let bold = if style.bold { r#" font-weight="bold""# } else { "" };
                let dim = if style.dim { r#" fill-opacity="0.55""# } else { "" };
                let base = y + CELL.1 - 4;
                let text = escaped(text);
                writeln!(
                    out,
                    r#"<text x="{x}" y="{base}" textLength="{cells}" fill="{fore}"{bold}{dim}>{text}</text>"#
                )?;
            }
        }
    }
    out.push_str("</g>\n</svg>\n");
    Ok(out)
}

fn main() -> anyhow::Result<()> {
    let mut screen = String::new();
    std::io::stdin().read_to_string(&mut screen)?;
    print!("{}", svg(&screen)?);
    Ok(())
}
