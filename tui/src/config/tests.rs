use super::*;
use crate::app::keys::keymap::Action;
use crate::app::testing::{app_with, feed, keys};
use crate::app::{App, Effect, Input};
use crate::command::config::EXAMPLE;
use crate::view::palette::PALETTES;
use crate::view::tests::{drawn, screen};
use crate::view::theme::{Colours, Theme};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use proptest::prelude::*;
use ratatui::style::{Color as Shade, Modifier};
use tracetui_events::filter::NoNames;
use tracetui_events::synthetic::Maker;

const MEMORY: u64 = 64 << 20;

fn read(text: &str) -> Config {
    Config::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{}", error.render("f", text)))
}

fn report(text: &str) -> String {
    Config::parse(text.as_bytes()).expect_err(text).render("f", text)
}

#[test]
fn every_entry_and_the_example_are_read() {
    let config = read(
        "filter = 'comm=cc1'\ncolor = \"never\"\nmemory = \"64MiB\"\nmouse = true\nfold = false\nstrip = false\ntime = \"delta\"\n\
         columns.events = [\"detail\", 'pid']\n[colors]\nexit = \"blue\"\n[keys]\nhelp = \"F9\"\nup = [\"Up\", \"Ctrl-P\"]\n",
    );
    assert_eq!(config.filter.map(|filter| filter.text).as_deref(), Some("comm=cc1"));
    assert_eq!((config.color, config.mouse, config.memory), (Some(Color::Never), true, Some(ByteSize(64 << 20))));
    let Preferences { keymap, columns, folds, strip, time } = config.preferences;
    assert_eq!((columns.of(View::Events), time), (Some(&["detail", "pid"][..]), TimeMode::Delta));
    assert!(!folds && !strip);
    assert_eq!((keymap.first(Action::Help).as_str(), keymap.first(Action::Up).as_str()), ("F9", "Up"));
    let mut looks = Looks::default();
    looks.set(Role::Exit, "blue".parse().expect("a look"));
    assert_eq!(config.looks, looks);
    for entry in &ENTRIES {
        let known = |error: ConfigError| error.message.starts_with("this must be ");
        assert!(Config::parse(format!("{} = 1979-05-27\n", entry.name).as_bytes()).is_err_and(known), "{}", entry.name);
    }
    for time in TIMES {
        assert_eq!(read(&format!("time = \"{}\"", time.0)).preferences.time, time.1);
    }
    for role in Role::ALL {
        assert_ne!(read(&format!("[colors]\n{} = \"on 17\"", role.name())).looks, Looks::default());
    }
    for (list, view) in LISTS {
        let needed = columns::needed(view);
        for name in columns::all(view).iter().copied().filter(|name| Some(*name) != needed) {
            let names: Vec<_> = [name].into_iter().chain(needed).collect();
            assert_eq!(read(&format!("[columns]\n{list} = {names:?}")).preferences.columns.of(view), Some(&names[..]));
        }
    }
    for binding in Keymap::default().iter() {
        let name = binding.action.name();
        assert_eq!(read(&format!("[keys]\n{name} = [\"F12\"]")).preferences.keymap.first(binding.action), "F12");
    }
    // A file without entries changes nothing.
    for text in ["", "\n", "# nothing\r\n", "[keys]\n[colors]\n[columns]\n", "\u{feff}# a mark\n"] {
        let config = read(text);
        assert_eq!((config.preferences, config.looks), (Preferences::default(), Looks::default()), "{text:?}");
        assert!(config.filter.is_none() && config.color.is_none() && config.memory.is_none() && !config.mouse);
    }
    // The example of the documentation.
    let config = read(EXAMPLE);
    assert_eq!(config.preferences.keymap.first(Action::OnlyPid), "F2");
    assert_eq!(config.preferences.keymap.first(Action::Record), "-");
    assert!(config.mouse && config.filter.is_some());
}

/// What is marked in a text must be where the error is, with this message and this hint. Otherwise, the report.
fn differs(marked: &str, message: &str, hint: &str) -> Option<String> {
    let (before, wrong) = marked.split_once('«').and_then(|(before, rest)| Some((before, rest.split_once('»')?.0)))?;
    let (line, column) = (before.matches('\n').count() + 1, before.rsplit('\n').next()?.chars().count() + 1);
    let report = report(&marked.replace(['«', '»'], ""));
    let mut lines = report.lines();
    let begins = lines.next()?.starts_with(&format!("f:{line}:{column}: {message}"));
    let (shown, marks) = (lines.next()?, lines.next()?);
    let carets = marks.find('^').and_then(|at| shown.get(at..marks.len()));
    let under = !shown.is_ascii() || carets == wrong.lines().next();
    let hinted = lines.next().unwrap_or_default();
    let hints = if hint.is_empty() { hinted.is_empty() } else { hinted.starts_with("hint: ") && hinted.contains(hint) };
    (!begins || !under || !hints).then_some(report)
}

#[test]
fn every_error_is_where_it_was_written() {
    let cases = [
        ("«filtr» = \"a\"", "unknown entry `filtr`", "did you mean `filter`?"),
        (
            "mouse = true\n\n  «background» = 1",
            "unknown entry `background`",
            "valid: filter, color, theme, memory, mouse, fold, strip, time, columns, colors, watch, keys",
        ),
        ("[«colours»]\n", "unknown entry `colours`", "did you mean `colors`?"),
        ("keys = «3»", "this must be a section", ""),
        ("[keys]\n«paus» = \"x\"", "unknown action `paus`", "did you mean `pause`?"),
        ("[keys]\n«zzzzzzz» = \"x\"", "unknown action `zzzzzzz`", "valid: "),
        ("[keys]\npause = «\"Meta-x\"»", "unknown key `Meta-x`", ""),
        ("[keys]\npause = [\"F2\", «\"Ctrl-I\"»]", "terminals send `Ctrl-I` as `Tab`: write `Tab`", ""),
        ("[keys]\npause = «7»", "this must be a list of strings", ""),
        ("[keys]\npause = [\"F2\", «true»]", "this must be a string", ""),
        ("[keys]\npause = [\"F2\"]\n«up» = [\"F2\"]", "`F2` is assigned to both `pause` and `up`", ""),
        ("[keys]\n«pause» = [\"F2\", \"F2\"]", "`F2` is listed twice", ""),
        ("[keys]\nup = \"F2\"\n«quit» = []", "no key would be left for `quit`", ""),
        ("[keys]\n«help» = \"s\"", "no key would be left for `help`", ""),
        ("[colors]\n«quit» = \"red\"", "unknown role `quit`", "did you mean `quiet`?"),
        ("[colors]\n«zzzzzzz» = \"red\"", "unknown role `zzzzzzz`", "valid: quiet, strong, exec"),
        ("[colors]\nquiet = «\"reed bold\"»", "unknown colour or weight `reed`", "bold red on 17"),
        ("[colors]\nquiet = «\"bold 1000\"»", "unknown colour or weight `1000`", "bold red on 17"),
        ("[colors]\nquiet = «\"red blue\"»", "second colour `blue`", "bold red on 17"),
        ("[colors]\nquiet = «\"red on\"»", "unknown colour or weight ``", "bold red on 17"),
        ("[colors]\nquiet = «\"plain bold\"»", "unknown colour or weight `plain`", "bold red on 17"),
        ("[colors]\nquiet = «\" \"»", "no colour and no weight", "bold red on 17"),
        ("[colors]\nquiet = «7»", "this must be a string", ""),
        ("[columns]\n«event» = []", "unknown list `event`", "did you mean `events`?"),
        ("[columns]\nevents = [«\"pidd\"»]", "unknown column `pidd`", "did you mean `pid`"),
        ("[columns]\nevents = [\"pid\", \"detail\", «\"pid\"»]", "the column `pid` is listed twice", ""),
        ("[columns]\nevents = «[\"pid\"]»", "the column `detail` is missing", ""),
        ("[columns]\nbpf = «[\"cpu\"]»", "the column `target` is missing", ""),
        ("[columns]\ntree = «[]»", "the list is empty", ""),
        ("[columns]\ntop = [«\"pid\"»]", "unknown column `pid`", "valid: events, share, rate"),
        ("[columns]\nevents = «\"pid\"»", "this must be a list of strings", ""),
        (r#"color = «"on"»"#, "unknown value `on`", "valid: auto, always, never"),
        ("color = «1»", "this must be a string", ""),
        ("memory = «\"1GB\"»", "expected a whole number of bytes, KiB, MiB or GiB", ""),
        ("memory = «256»", "this must be a size such as \"512MiB\"", ""),
        ("time = «\"clocks\"»", "unknown value `clocks`", "did you mean `clock`?"),
        ("mouse = «\"yes\"»", "this must be true or false, without quotes", ""),
        ("filter = «[\"a\"]»", "this must be a string", ""),
        ("mouse = true\n«mouse» = true", "duplicate key", "TOML"),
        ("mouse = «yes»", "string values must be quoted", "strings are in quotes"),
        ("# ä\n\"ä\" = «1 x»", "string values must be quoted", "strings are in quotes"),
        // Two errors: the first one in the file, whatever the order of names.
        ("«zz» = 1\naa = 1", "unknown entry `zz`", "valid: "),
    ];
    let wrong: Vec<_> =
        cases.into_iter().filter_map(|(marked, message, hint)| differs(marked, message, hint)).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    // A file that is no text has a place too.
    let error = Config::parse(b"mouse = true\nx = \"\xff\"").expect_err("not UTF-8");
    assert!(error.render("f", "mouse = true\nx = \"\u{fffd}\"").starts_with("f:2:6: the file is not UTF-8 text"));
}

#[test]
fn an_error_of_the_filter_is_at_its_entry() {
    let text = "time = \"clock\"\nfilter = \"comm=a foo=1\"";
    let filter = read(text).filter.expect("a filter");
    let error = tracetui_events::filter::Filter::parse(&filter.text, &NoNames).expect_err("it is wrong");
    let report = ConfigError::of_filter(&filter, &error).render("f", text);
    assert!(report.starts_with("f:2:10: filter: unknown field `foo`") && report.contains("\nhint: "), "{report}");
}

#[test]
fn hostile_files_are_errors_and_harmless_on_a_terminal() {
    let deep = |open: &str, close: &str, n| format!("x = {}{}", open.repeat(n), close.repeat(n));
    let dotted = format!("{}a = 1", "a.".repeat(20_000));
    for text in [
        "\0".to_owned(),
        "mouse = true\n\0\0\0".to_owned(),
        "\"\\u001b[2J\" = 1".to_owned(),
        "\"a\\nb\" = 1".to_owned(),
        "[colors]\nquiet = \"\\u001b]0;x\\u0007\"".to_owned(),
        "[keys]\npause = \"\\u202e\"".to_owned(),
        "x = \"\u{9b}31m".to_owned(),
        "\u{1b}[31m".to_owned(),
        deep("[", "]", 30_000),
        deep("[", "", 60_000),
        deep("{a=", "}", 10_000),
        dotted.clone(),
        format!("[{}a]", "a.".repeat(20_000)),
        format!("[[{}a]]", "a.".repeat(20_000)),
        "[[keys]]\n".repeat(5_000),
        "[".repeat(60_000),
        "=".repeat(60_000),
        "\"\"\"".repeat(20_000),
        (0..6_000).map(|i| format!("a{i} = {i}\n")).collect(),
        "x".repeat(64 << 10),
        format!("mouse = {}", "9".repeat(60_000)),
    ] {
        let report = report(&text);
        assert!(report.len() < 2_000, "{}", report.len());
        assert!(report.starts_with("f:"), "{report}");
        assert!(report.chars().all(|c| c == '\n' || !tracetui_events::text::is_hostile(c)), "{report:?}");
        assert!(report.lines().count() <= 4, "{report}");
    }
}

proptest! {
    /// A file with one part replaced, left out or doubled is read or refused, and a refusal has a place.
    #[test]
    fn any_change_of_a_file_is_read_or_refused(at in 0..EXAMPLE.len(), length in 0..40usize, part in "[\\PC\\n]{0,8}", from in 0..EXAMPLE.len()) {
        let floor = |at: usize| (0..=at.min(EXAMPLE.len())).rev().find(|at| EXAMPLE.is_char_boundary(*at)).unwrap_or(0);
        let (at, end, from) = (floor(at), floor(at + length), floor(from));
        for inserted in [part.as_str(), &EXAMPLE[from..floor(from + length)]] {
            let text = format!("{}{inserted}{}", &EXAMPLE[..at], &EXAMPLE[end..]);
            if let Err(error) = Config::parse(text.as_bytes()) {
                let report = error.render("f", &text);
                let number = |part: Option<&str>| part.and_then(|part| part.parse::<usize>().ok());
                let mut parts = report.split(':').skip(1);
                let (line, column) = (number(parts.next()), number(parts.next()));
                prop_assert!(line.is_some_and(|line| line <= text.split('\n').count()), "{}", report);
                prop_assert!(column.is_some(), "{}", report);
            }
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Err(error) = Config::parse(&bytes) {
            error.render("f", &String::from_utf8_lossy(&bytes));
        }
    }
}

fn dashboard(text: &str, width: u16) -> App {
    let mut app = app_with(width, 24, MEMORY, read(text).preferences);
    let mut made = Maker::default();
    made.acts("48213 make exec make -j8; 48214 cc1 open /usr/include/stdio.h /x:-95");
    feed(&mut app, &mut made);
    app
}

fn press(app: &mut App, code: KeyCode, modifiers: KeyModifiers) -> Vec<Effect> {
    app.update(Input::Key(KeyEvent::new(code, modifiers)))
}

#[test]
fn the_configured_keys_are_pressed_and_shown() {
    let text = "[keys]\nquit = [\"Z\", \"Ctrl-Q\"]\npause = \"F9\"\nhelp = \"F1\"\nedit-filter = \"E\"\ntoggle-open = \"F2\"\nfailures = \"b\"\n\
                toggle-exec = \"x\"\ntop-hide = []\nidle = \"i\"\nnot-comm = \"E\"\n";
    assert!(report(text).contains("`E` is assigned to both `edit-filter` and `not-comm`"));
    let mut app = dashboard(&text.replace("not-comm = \"E\"", "not-comm = \"i\""), 120);
    let none = KeyModifiers::NONE;
    press(&mut app, KeyCode::Char(' '), none);
    assert!(!app.events().paused());
    assert_eq!(app.screen.message(), Some("Space is not bound here; press F1 for the keys"));
    press(&mut app, KeyCode::F(9), none);
    assert!(app.events().paused());
    press(&mut app, KeyCode::F(2), none);
    press(&mut app, KeyCode::Char('b'), none);
    let lines = screen(&mut app);
    assert!(lines[1].contains("EXEC  eXit  open  Bpf") && lines[1].contains("[b]failed only"), "{}", lines[1]);
    assert!(lines[1].contains("E filter"), "{}", lines[1]);
    press(&mut app, KeyCode::Esc, none);
    let footer = screen(&mut app).pop().unwrap_or_default();
    assert!(footer.starts_with(" F1 help") && footer.contains("F9 resume") && footer.ends_with("Z quit"), "{footer}");
    // While text is typed, a key that types is text, whatever its action.
    press(&mut app, KeyCode::Char('E'), none);
    assert!(!press(&mut app, KeyCode::Char('Z'), none).contains(&Effect::Quit));
    assert_eq!(
        app.line_for(crate::app::prompt::Purpose::Filter).map(crate::app::prompt::line::Line::text).as_deref(),
        Some("Z")
    );
    assert!(press(&mut app, KeyCode::Char('q'), KeyModifiers::CONTROL).contains(&Effect::Quit));
    press(&mut app, KeyCode::Esc, none);
    press(&mut app, KeyCode::F(1), none);
    app.update(Input::Resize(80, 120));
    let help = screen(&mut app).join("\n");
    assert!(help.contains("Z Ctrl-Q") && help.contains("F9") && !help.contains("F10"), "{help}");
    assert!(!press(&mut app, KeyCode::Char('q'), none).contains(&Effect::Quit));
    assert!(!press(&mut app, KeyCode::Char('Z'), none).contains(&Effect::Quit), "it closes the help");
    assert!(press(&mut app, KeyCode::Char('Z'), none).contains(&Effect::Quit));
}

#[test]
fn the_configured_columns_are_shown_in_their_order() {
    let titles = |text: &str, width| {
        let text = format!("strip = false\n{text}");
        screen(&mut dashboard(&text, width))[2].split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    let text = "[columns]\nevents = [\"comm\", \"result\", \"detail\", \"pid\", \"time\", \"user\", \"cgroup\"]";
    assert_eq!(titles(text, 200), ["COMM", "RESULT", "DETAIL", "PID", "TIME", "USER", "CGROUP"]);
    assert_eq!(titles(text, 100), ["COMM", "RESULT", "DETAIL", "PID", "TIME", "USER"]);
    assert_eq!(titles(text, 80), ["COMM", "RESULT", "DETAIL", "PID", "TIME"]);
    assert_eq!(titles(text, 40), ["COMM", "RESULT", "DETAIL"]);
    assert_eq!(titles("[columns]\nevents = [\"detail\"]", 40), ["DETAIL"]);
    for width in [1, 5, 10, 20, 39, 40, 59, 60, 80, 130, 300] {
        for list in [
            "\"detail\"",
            "\"time\", \"kind\", \"pid\", \"comm\", \"result\", \"detail\"",
            "\"detail\", \"cwd\", \"result\", \"time\"",
        ] {
            let mut app = dashboard(&format!("strip = false\n[columns]\nevents = [{list}]"), width);
            let lines = screen(keys(&mut app, "k"));
            let detail = lines[2].find("DETAIL").map(|at| {
                lines[2][at..].find("CWD").or(lines[2][at..].find("RESULT")).unwrap_or(usize::from(width) - at)
            });
            assert!(width < 40 || detail.is_some_and(|cells| cells >= usize::from(width) / 2), "{width}: {}", lines[2]);
        }
    }
    // A result is never cut, and pushes DETAIL wherever that is.
    for list in ["\"comm\", \"result\", \"detail\"", "\"comm\", \"detail\", \"result\""] {
        let lines = screen(&mut dashboard(&format!("[columns]\nevents = [{list}]"), 80));
        let row = lines.iter().find(|line| line.contains("/x")).expect("the row");
        assert!(row.contains("EOPNOTSUPP"), "{row}");
    }
    // Folding and times begin as configured, and return to that.
    let mut app = dashboard("fold = false\ntime = \"start\"", 80);
    assert!(!app.events().folds() && screen(&mut app)[2].contains("SINCE"));
    assert!(keys(&mut app, "at").events().folds() && screen(&mut app)[2].contains("DELTA"));
    assert!(!keys(&mut app, "\x12").events().folds() && screen(&mut app)[2].contains("SINCE"));
}

#[test]
fn the_configured_colours_and_watches_are_used() {
    let config = read("[colors]\nexec = \"#102030 on 17 italic\"\nselection = \"bold\"\nlive = \"plain\"\n");
    let mut app = dashboard("", 80);
    keys(&mut app, "k");
    let row =
        |app: &mut App, word: &str| screen(app).iter().position(|line| line.contains(word)).expect("a row") as u16;
    let exec = (14, row(&mut app, " EXEC "));
    let selected = (5, row(&mut app, "stdio.h"));
    let theme = |plain| Theme { colours: config.looks.colours(&PALETTES[0], plain), ..Theme::default() };
    let before = drawn(&mut app, Theme::default());
    let buffer = drawn(&mut app, theme(false));
    assert_eq!((buffer[exec].fg, buffer[exec].bg), (Shade::Rgb(16, 32, 48), Shade::Indexed(17)));
    assert_eq!(buffer[exec].modifier, Modifier::ITALIC);
    assert_eq!(buffer[selected].modifier, Modifier::BOLD);
    assert_eq!((buffer[(1, 0)].fg, buffer[(1, 0)].bg), (Shade::Reset, Shade::Reset));
    assert_ne!((before[exec].fg, before[selected].modifier), (buffer[exec].fg, buffer[selected].modifier));
    let plain = drawn(&mut app, theme(true));
    assert!(plain.content().iter().all(|cell| cell.fg == Shade::Reset && cell.bg == Shade::Reset));
    assert_eq!(plain[exec].modifier, Modifier::ITALIC | Modifier::REVERSED);
    assert_eq!(read("").looks.colours(&PALETTES[0], false), Colours::Sixteen);
    // Watches are filters or tables with one.
    let config =
        Config::parse(b"[watch]\nssh = \"path~/[.]ssh/\"\nshadow = { filter = \"path=/etc/shadow\", bell = true }")
            .expect("good");
    let watches: Vec<_> = config.watches.iter().map(|w| (w.name.as_str(), w.filter.text.as_str(), w.rings)).collect();
    assert_eq!(watches, [("ssh", "path~/[.]ssh/", false), ("shadow", "path=/etc/shadow", true)]);
    let bad = [
        ("[watch]\nx = 1", "must be a string"),
        ("[watch]\nx = { bell = true }", "has no filter"),
        ("[watch]\nx = { filter = \"err\", colour = \"red\" }", "unknown entry of a watch `colour`"),
        ("[watch]\nx = { filter = \"err\", bell = 1 }", "must be true or false"),
    ];
    for (text, part) in bad {
        let error = Config::parse(text.as_bytes()).expect_err(text).render("f", text);
        assert!(error.contains(part), "{error}");
    }
}
