use super::*;
use proptest::prelude::*;

fn fed(bytes: &[u8]) -> Terminal {
    let mut terminal = Terminal::default();
    terminal.resize(20, 5);
    terminal.feed(bytes);
    terminal
}

#[track_caller]
fn check(bytes: &[u8], shown: &str) {
    assert_eq!(fed(bytes).screen().contents(), shown);
}

#[test]
fn what_vt100_does_not_know_is_translated_and_the_cursor_restored() {
    check(b"\x1b(0lqk\x1b(Bq", "┌─┐q");
    check(b"\x1b)0a\x0eqx\x0fq", "a─│q");
    check("a\x1b[3bé\x1b[2b".as_bytes(), "aaaaééé");
    check(b"a\x1bDb\x1bEc", "a\n b\nc");
    check(b"0123456789\x1b[Zx\x1b[2Zy", "y1234567x9");
    check(b"a\x1b[?1047hb\x1b[?1047lc", "ac");
    check(b"ab\x1b[sc\x1b[ud", "abd");
    check(b"\x1b]0;title\x07a\x1b]52;c;AA==\x07b\x1bPq\x1b\\c", "abc");
    // Characters are whole, however they are written.
    let text = "aé日🙂\u{fffd}b".as_bytes();
    let mut terminal = fed(b"");
    text.chunks(1).for_each(|byte| terminal.feed(byte));
    assert_eq!(terminal.screen().contents(), fed(text).screen().contents());
    assert!(terminal.screen().contents().starts_with("aé日🙂"));
    check(b"a\xe6\x97b\xf0\x9f\x99c\xff", "abc");
    // A count beyond the screen costs no more than the screen.
    assert!(fed(b"a\x1b[65535S").above().len() <= 20);
    check(b"ab\x1b[99999999Dc\x1b[99999999@d", "cd");
    check(b"a\r\nb\x1b[H\x1b[99999999Mc", "c");
    // Questions are answered, and answers bounded.
    let mut terminal = fed(b"ab\x1b[6n\x1b[c\x1b[>c\x1b[5n\x1b[18t");
    assert_eq!(terminal.take_answers(), b"\x1b[1;3R\x1b[?62;22c\x1b[>0;0;0c\x1b[0n\x1b[8;5;20t");
    terminal.feed(&b"\x1b[6n".repeat(100_000));
    assert!(terminal.take_answers().len() <= ANSWERS);
    // There is no origin mode.
    check(b"\x1b[2;4r\x1b[?25;06h\x1b[Ha", "a");
}

#[test]
fn lines_above_are_kept_up_to_a_limit_and_any_size_is_taken() {
    let mut terminal = Terminal::new(10_000);
    for line in 0..1000 {
        terminal.feed(format!("\x1b[31mline {line}\r\n").as_bytes());
    }
    assert!(terminal.parser.callbacks().bytes <= 10_000 && terminal.dropped() > 0);
    let last = terminal.above().back().expect("a line");
    assert!(last.text.contains("line 976") && last.text.contains("\x1b[31m") && !last.wrapped, "{last:?}");
    assert_eq!(terminal.above().len() as u64 + terminal.dropped(), 977);
    let long = fed(&[&[b'x'; 50][..], &b"\r\n".repeat(6)].concat());
    let wrapped: Vec<_> = long.above().iter().map(|line| (line.text.len(), line.wrapped)).collect();
    assert_eq!(wrapped[..3], [(20, true), (20, true), (10, false)]);
    assert!(fed(&[b"\x1b[?1049h", &b"a\r\n".repeat(50)[..]].concat()).above().is_empty());
    // Any size is taken, and a higher screen has no empty lines on top.
    let mut terminal = fed(&b"a\r\n".repeat(20));
    for (columns, rows) in [(0, 0), (1, 1), (65535, 65535), (20, 50)] {
        terminal.resize(columns, rows);
        terminal.feed("日本語\x1b[99999999b\x1b[65535S\x1b[65535L\x1b[65535@\r\n".as_bytes());
    }
    let mut terminal = fed(b"a\r\nb\r\nc\r\nd\r\ne\r\nf");
    terminal.resize(20, 10);
    assert_eq!(terminal.screen().contents(), "b\nc\nd\ne\nf");
}

/// Bytes with special meanings.
fn output() -> impl Strategy<Value = Vec<u8>> {
    let number = || prop_oneof![Just(0u32), 1..30u32, Just(99_999_999)];
    let sequence = (prop::sample::select(vec!["", "?", ">", "="]), prop::collection::vec(number(), 0..4), 0x40u8..0x7f)
        .prop_map(|(mark, numbers, last)| {
            let numbers: Vec<String> = numbers.iter().map(u32::to_string).collect();
            format!("\x1b[{mark}{}{}", numbers.join(";"), char::from(last)).into_bytes()
        });
    let known = b"\x1b[?1049h \x1b[?1049l \x1b[?47h \x1b[?47l \x1b7 \x1b8 \x1b[2;4r \x1b[?6h \
                  \x1b[2;4r\x1b[?6h\x1b[4d \x1bM \x1bD \x1bc \x1b(0 \x1b(B \x0e \r\n \n\n\n \t \x08 \x1b[?25l \
                  \x1b[1;31;44m \x1b]0;t \x07 \x1b \x1b[ \xe6\x97 \xa5 \x1b[7m \x1b[?2004h\x1b[?1h";
    let known = known.split(|byte| *byte == b' ').map(<[u8]>::to_vec).collect::<Vec<_>>();
    let known = prop::sample::select(known);
    let text = "a|hello world, this is long|日本|e\u{301}|\u{202e}x|\u{200d}|☁\u{fe0f}|🇩🇪|\u{17d8}".split('|');
    let text = prop::sample::select(text.map(|text| text.as_bytes().to_vec()).collect::<Vec<_>>());
    let any = prop::collection::vec(any::<u8>(), 0..20);
    let piece = prop_oneof![3 => sequence, 4 => known, 4 => text, 1 => any];
    prop::collection::vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn a_restored_terminal_goes_on_like_the_one_that_was_saved(
        before in output(), after in output(), size in (1u16..30, 1u16..8), other in (1u16..30, 1u16..8), resizes in any::<bool>()
    ) {
        let mut terminal = Terminal::recorded();
        terminal.resize(size.0, size.1);
        terminal.feed(&before);
        let after_empty = |screen: &vt100::Screen| {
            let ((row, column), (_, columns)) = (screen.cursor_position(), screen.size());
            column >= columns.get() && screen.cell(row, columns.get() - 1).is_some_and(|cell| !cell.has_contents())
        };
        let mut other_screen = terminal.clone();
        other_screen.feed(if terminal.screen().alternate_screen() { b"\x1b[?47l" } else { b"\x1b[?47h" });
        prop_assume!(!after_empty(terminal.screen()) && !after_empty(other_screen.screen()));
        let mut restored = Terminal::restore(&terminal.state());
        let mut cloned = terminal.clone();
        prop_assert_eq!(restored.screen().contents(), terminal.screen().contents());
        prop_assert_eq!(restored.screen().contents_formatted(), terminal.screen().contents_formatted());
        for terminal in [&mut terminal, &mut restored, &mut cloned] {
            if resizes {
                terminal.resize(other.0, other.1);
            }
            terminal.feed(&after);
        }
        prop_assert_eq!(cloned.state(), terminal.state());
        prop_assert_eq!(restored.screen().contents(), terminal.screen().contents());
        prop_assert_eq!(restored.above(), terminal.above());
        prop_assert_eq!(restored.state(), terminal.state());
    }

    #[test]
    fn the_division_of_the_output_makes_no_difference(bytes in output(), at in prop::collection::vec(1usize..40, 1..20)) {
        let whole = fed(&bytes);
        let mut divided = fed(b"");
        let mut rest = bytes.as_slice();
        for at in at.iter().cycle() {
            let (first, later) = rest.split_at((*at).min(rest.len()));
            divided.feed(first);
            rest = later;
            if rest.is_empty() {
                break;
            }
        }
        prop_assert_eq!(divided.state(), whole.state());
    }
}

#[test]
fn lines_before_the_cursor_are_whole_after_a_change_of_the_width() {
    let wide = "0123456789abcdefghij";
    for alternate in ["", "\x1b[?1049h"] {
        let mut terminal = fed(format!("{wide}{wide}\r\n\x1b[31m{wide}\r\n$ {alternate}").as_bytes());
        terminal.resize(7, 5);
        let above: Vec<_> = terminal.above().iter().map(|line| (&*line.text, line.wrapped)).collect();
        let red = format!("\x1b[31m{wide}");
        assert!(
            matches!(above[..], [(one, true), (two, false), (three, false)] if one == wide && two == wide && three.starts_with(&red)),
            "{above:?}"
        );
        assert_eq!(terminal.primary().contents(), "$ ");
        assert_eq!(terminal.screen().alternate_screen(), !alternate.is_empty());
        let mut restored = Terminal::restore(&terminal.state());
        assert_eq!((restored.above(), restored.state()), (terminal.above(), terminal.state()));
        for terminal in [&mut terminal, &mut restored] {
            terminal.feed(b"\x1b[?1049l");
            terminal.resize(44, 5);
            terminal.feed(b"ls");
            assert_eq!((terminal.screen().contents().as_str(), terminal.above().len()), ("$ ls", 3));
        }
    }
    // A hostile state has no other control characters than those of looks.
    let above = b"\x1b[1;31mred\x1b[m\na\x1b[2Jb\x07\r\x1b[5;5Hc\n".to_vec();
    let restored = Terminal::restore(&TerminalState { above, ..fed(b"").state() });
    let above: Vec<_> = restored.above().iter().map(|line| (&*line.text, line.wrapped)).collect();
    assert_eq!(above, [("\x1b[1;31mred\x1b[m", false), ("a[2Jb", true), ("[5;5Hc", false)]);
}

#[test]
fn output_cannot_make_the_terminal_work_without_end() {
    let mut large = Terminal::recorded();
    large.resize(9999, 9999);
    assert_eq!(large.size(), limits::COMMAND_SCREEN);
    let cells = 512 * 256;
    for (sequence, cells) in [
        ("\x1b[500L", cells),
        ("\x1b[500M", cells),
        ("\x1b[500S", cells),
        ("\x1b[2;200r\x1b[500T", 512),
        ("x\x1b[9999b", 8 * 512),
        ("\x1b[2J", cells / 8),
        ("\x1b[?J", cells / 8),
        ("\x1bc", 2 * cells),
        ("\x1b[?1049h", cells / 8),
    ] {
        let mut terminal = large.clone();
        let count = 300;
        terminal.cells = 0;
        terminal.feed(sequence.repeat(count).as_bytes());
        let done = count - terminal.left_out as usize;
        let most = CELLS_PER_PIECE + sequence.len() * count * CELLS_PER_BYTE;
        assert!(done < count && done * cells <= most, "{sequence:?}: {done}");
    }
    let sizes =
        [(512, 256), (511, 256)].map(|(columns, rows)| CommandOutput { columns, rows, ..CommandOutput::default() });
    large.cells = 0;
    for at in 0..1000 {
        large.apply(&sizes[at % 2]);
    }
    // A size that was left out is the current one again in the next piece.
    assert!(large.left_out > 450, "{}", large.left_out);
    // Usual output is never left out.
    for (piece, columns, rows) in [
        ("\x1b[H\x1b[2JSat Nov 28 21:47:26 UTC 2026\r\n", 512, 256),
        ("\x1b[1;40r\x1b[40;1H\n\x1b[1;41rone line of a file\x1b[K", 200, 50),
        ("\x1b[Mnext\x1b[L", 200, 50),
        ("\x1b[?1049h\x1b[2J\x1b[H~\r\n~\x1b[?1049l", 200, 50),
    ] {
        let mut terminal = Terminal::recorded();
        terminal.resize(columns, rows);
        terminal.cells = 0;
        for _ in 0..100 {
            terminal.feed(piece.as_bytes());
        }
        assert_eq!(terminal.left_out, 0, "{piece:?}");
    }
}
