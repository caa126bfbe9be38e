//! The moving picture of README.md: the dashboard over the example recording, key by key, as an animated SVG. After an intended change:
//! `UPDATE_DOCS=1 cargo test --lib movie`.

use super::drawn;
use super::snapshots::recorded;
use crate::app::testing::keys;
use crate::view::theme::Theme;
use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};
use std::fmt::Write as _;

const WIDTH: u16 = 100;
const HEIGHT: u16 = 26;

/// What is typed, and the caption of the screen after it.
const STEPS: [(&str, &str); 4] = [
    ("G", "make -k failed. Which of its 551 events matter?"),
    ("e", "e       the failures that nothing answered"),
    ("kkkkkk\n", "Enter   why"),
    ("\x1b2", "2       the processes, the failed branches in red"),
];

const SECONDS: usize = 4;

const CELL: (usize, usize) = (8, 17);

const BACKGROUND: &str = "#1d1f21";
const TEXT: &str = "#c5c8c6";

fn hex(colour: Color, default: &'static str) -> &'static str {
    match colour {
        Color::Black => BACKGROUND,
        Color::Red => "#cc6666",
        Color::Green => "#b5bd68",
        Color::Yellow => "#f0c674",
        Color::Magenta => "#b294bb",
        Color::Cyan => "#8abeb7",
        _ => default,
    }
}

/// A text of one style, from a column on.
fn draw(out: &mut String, row: usize, column: usize, cell: &Cell, text: &str) {
    let (mut fore, mut back) = (hex(cell.fg, TEXT), hex(cell.bg, BACKGROUND));
    if cell.modifier.contains(Modifier::REVERSED) {
        std::mem::swap(&mut fore, &mut back);
    }
    let (x, y) = ((column + 1) * CELL.0, row * CELL.1 + CELL.1 / 2);
    let cells = text.chars().count() * CELL.0;
    if back != BACKGROUND {
        let _ = writeln!(out, r#"<rect x="{x}" y="{y}" width="{cells}" height="{}" fill="{back}"/>"#, CELL.1);
    }
    if text.trim().is_empty() {
        return;
    }
    let bold = if cell.modifier.contains(Modifier::BOLD) { r#" font-weight="bold""# } else { "" };
    let dim = if cell.modifier.contains(Modifier::DIM) { r#" fill-opacity="0.6""# } else { "" };
    // No-break spaces, which viewers do not collapse.
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace(' ', "\u{a0}");
    let base = y + CELL.1 - 4;
    let _ = writeln!(out, r#"<text x="{x}" y="{base}" textLength="{cells}" fill="{fore}"{bold}{dim}>{text}</text>"#);
}

fn draw_screen(out: &mut String, screen: &Buffer) {
    let style = |cell: &Cell| (cell.fg, cell.bg, cell.modifier);
    for (row, cells) in screen.content().chunks(usize::from(screen.area.width)).enumerate() {
        let mut column = 0;
        for run in cells.chunk_by(|one, other| style(one) == style(other)) {
            let text: String = run.iter().map(Cell::symbol).collect();
            draw(out, row, column, &run[0], &text);
            column += run.len();
        }
    }
}

fn movie() -> String {
    let (width, height) = ((usize::from(WIDTH) + 2) * CELL.0, (usize::from(HEIGHT) + 3) * CELL.1);
    let whole = STEPS.len() * SECONDS;
    let mut out = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">
<style>.s{{visibility:hidden;animation:s {whole}s step-end infinite}}.s:first-of-type{{visibility:visible}}
@keyframes s{{0%{{visibility:visible}}{}%{{visibility:hidden}}}}</style>
<rect width="{width}" height="{height}" rx="6" fill="{BACKGROUND}"/>
<g font-family="DejaVu Sans Mono,Menlo,Consolas,monospace" font-size="13" xml:space="preserve">
"#,
        100 / STEPS.len()
    );
    let mut app = recorded(WIDTH, HEIGHT);
    for (at, (typed, caption)) in STEPS.iter().enumerate() {
        keys(&mut app, typed);
        // A negative delay begins in the middle.
        let _ = writeln!(out, r#"<g class="s" style="animation-delay:-{}s">"#, whole - at * SECONDS);
        draw_screen(&mut out, &drawn(&mut app, Theme::default()));
        let mut cell = Cell::default();
        cell.set_fg(Color::Cyan);
        draw(&mut out, usize::from(HEIGHT) + 1, 1, &cell, caption);
        out.push_str("</g>\n");
    }
    out.push_str("</g>\n</svg>\n");
    out
}

#[test]
fn the_moving_picture_is_fresh() {
    let (made, path) = (movie(), "../assets/failed-build.svg");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path, &made).expect("assets/ is writable");
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(found == made, "assets/failed-build.svg is stale: UPDATE_DOCS=1 cargo test --lib movie");
    assert!(made.len() < 1 << 20, "{} bytes", made.len());
}
