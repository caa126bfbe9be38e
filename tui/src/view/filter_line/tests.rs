use super::*;
use crate::app::Input;
use crate::app::prompt::line::Line;
use crate::app::testing::{app, feed, keys};
use crate::view::tests::{drawn, screen};
use crate::view::theme::Colours;
use ratatui::style::{Color, Modifier};
use tracetui_events::synthetic::Maker;

fn opens(width: u16) -> App {
    let (mut app, mut made) = (app(width, 10, 64 << 20), Maker::default());
    for comm in ["cc1", "collect2", "\x1b]0;x\x07", "cp"] {
        made.open(7, comm, "/f", 3);
    }
    feed(&mut app, &mut made);
    app
}

/// The line, the underlined part, and the status line.
fn lines(app: &mut App, colours: Colours) -> (String, String, String) {
    let buffer = drawn(app, Theme { colours, ..Theme::default() });
    let wrong = |x: &u16| buffer[(*x, 1)].modifier.contains(Modifier::UNDERLINED);
    let red = |x: &u16| buffer[(*x, 1)].fg == Color::Red;
    let marked: Vec<u16> = (0..buffer.area.width).filter(wrong).collect();
    assert!(marked.iter().all(|x| red(x) == (colours == Colours::Sixteen)));
    let marked = marked.into_iter().map(|x| buffer[(x, 1)].symbol()).collect();
    let screen = screen(app);
    let status = screen[8].split("  applied: ").next().unwrap_or_default().trim_end();
    (screen[1].clone(), marked, status.to_owned())
}

fn ends_of(left: &str, right: &str, width: usize) -> String {
    format!("{left:<fill$}{right}", fill = width - 1 - right.len())
}

#[test]
fn the_newest_part_of_a_long_filter_is_seen_and_its_error() {
    let mut app = opens(40);
    keys(&mut app, "fcomm=cc1 path=/usr/include/* not pid=7");
    assert_eq!(lines(&mut app, Colours::Sixteen).0, " filter> …/include/* not pid=7   0 of 4");
    let line = screen(keys(&mut app, "\n"))[1].clone();
    assert_eq!(line, " 1 │ …sr/include/* not pid=7 EXOBIMR  0");
    let line = screen(keys(&mut app, "/cc1\n"))[1].clone();
    assert!(line.contains("=7") && line.contains("/cc1  no match"), "{line}");
    // A hidden error is marked at the cut.
    let mut app = opens(40);
    let (line, marked, status) = lines(keys(&mut app, "ffoo=1 comm=cc1 path=/usr/include/* a"), Colours::Sixteen);
    assert_eq!((line.as_str(), marked.as_str()), (" filter> …ath=/usr/include/* a   0 of 4", "…"));
    assert_eq!(status, " unknown field `foo`");
    assert!(screen(&mut app)[9].starts_with(" to search for the text, put it in "), "{}", screen(&mut app)[9]);
    // An error is marked where it is.
    for (typed, marked, status) in [
        ("pid=7 foo=1 err", "foo", " unknown field `foo`; to search for the text, put it in double quotes"),
        ("pid=7 comn=1", "comn", " unknown field `comn`"),
        ("comm=", " ", " missing value after `comm=`; write an empty value as comm=\"\""),
        ("err=ENOENTT pid=1", "ENOENTT", " unknown value `ENOENTT` for `err`; did you mean `ENOENT`?"),
        ("comm=a and or", "or", " missing term; to search for the text, write \"or\""),
    ] {
        let mut app = opens(80);
        keys(&mut app, &format!("f{typed}"));
        let line = ends_of(&format!(" filter> {typed}"), "0 of 4", 80);
        assert_eq!(lines(&mut app, Colours::Sixteen), (line, marked.into(), status.into()));
        assert_eq!(lines(&mut app, Colours::None).1, marked);
        // The mark does not move with the cursor.
        app.update(Input::Key(crossterm::event::KeyCode::Home.into()));
        assert_eq!(lines(&mut app, Colours::Sixteen).1, marked);
    }
    let hint = " did you mean `comm`? to search for the text, put it in double quotes";
    let mut app = opens(86);
    assert_eq!(screen(keys(&mut app, "fcomn=1"))[9], ends_of(hint, "Esc revert", 86));
    app.update(Input::Resize(80, 10));
    assert_eq!(screen(&mut app)[9], hint, "there is no room for a key");
    assert_eq!(lines(keys(&mut app, "\x1bf\u{e4}x=1"), Colours::Sixteen).1, "", "a word is no error");
    // A text that is too long.
    let mut app = opens(80);
    keys(&mut app, "fpath=x").update(Input::Paste("x".repeat(4096)));
    let (line, _, status) = lines(&mut app, Colours::Sixteen);
    assert!(line.starts_with(" filter> path=x  ") && status.starts_with(" the pasted text is too long"), "{status}");
}

#[test]
fn what_completes_the_line_is_shown_below_it() {
    let mut app = opens(80);
    let shown = screen(keys(&mut app, "fcomm=c"));
    let row = |name: &str| format!("              {name:<8}        1 event");
    assert_eq!(shown[2..5], ["cc1", "collect2", "cp"].map(row));
    let shown = screen(keys(&mut app, "z"));
    assert_eq!(shown[1], ends_of(" filter> comm=cz", "0 of 4  these come near", 80));
    assert_eq!(shown[2], row("cc1"));
    assert_eq!(screen(keys(&mut app, "\t\t"))[1], ends_of(" filter> comm=cc1", "1 of 4", 80));
    let buffer = drawn(&mut app, Theme::default());
    let chosen = (0..80).filter(|x| buffer[(*x, 2)].modifier.contains(Modifier::REVERSED));
    assert_eq!(chosen.map(|x| buffer[(x, 2)].symbol()).collect::<String>(), "cc1     ");
    assert_eq!(screen(&mut app)[9], " Tab next Shift-Tab previous Enter keep Esc as typed");
    // The chosen offer is always visible.
    let mut app = opens(40);
    let shown = screen(keys(&mut app, "f"));
    assert!(shown[2].starts_with("         comm=") && shown[4].contains(" more"), "{}", shown.join("\n"));
    for _ in 0..50 {
        let shown = screen(keys(&mut app, "\t"));
        let chosen = app.line_for(Purpose::Filter).map(Line::text).unwrap_or_default();
        assert!(shown[2..5].iter().any(|row| row.contains(&chosen[..chosen.len().min(9)])), "{}", shown.join("\n"));
    }
    // A chip has the key within the name.
    let chips = |shown| [Kind::Exit, Kind::Tcp].map(|kind| chip_text(kind, &String::from_iter(kind.key()), shown));
    assert_eq!((chips(true), chips(false)), (["eXit", "I:tcp"].map(Into::into), ["exit", "i:tcp"].map(Into::into)));
    let letters = ["F2", "o", "-", "Z"].map(|key| letter(Kind::Open, key));
    assert_eq!(letters, [Some('O'), Some('O'), Some('O'), Some('Z')]);
    assert_eq!(["F2", "1", "o", "-"].map(|key| chip_text(Kind::Open, key, true)), ["OPEN"; 4]);
    assert_eq!([true, false].map(|shown| chip_text(Kind::Open, "Z", shown)), ["Z:open", "z:open"]);
}
