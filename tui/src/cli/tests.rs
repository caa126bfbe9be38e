use super::*;
use clap::CommandFactory;
use clap::error::ErrorKind;
use std::time::Duration;

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split_whitespace())
}

#[track_caller]
fn print(line: &str) -> Print {
    match parse(line).expect("good usage").command {
        Some(Command::Print(print)) => print,
        other => panic!("{other:?} is not print"),
    }
}

#[track_caller]
fn check_bad(line: &str, part: &str) {
    let error = parse(line).expect_err("bad usage");
    assert_eq!(error.exit_code(), 2, "{line}");
    let text = error.to_string();
    assert!(text.contains(part), "{text}");
}

#[test]
fn the_definition_is_sound_and_the_help_shows_it() {
    Cli::command().debug_assert();
    let cli = parse("tracetui --pid 1 --mouse --color never --memory 64MiB").expect("good usage");
    assert_eq!(cli.command, None);
    assert_eq!(cli.dashboard.trace.filters.pid, ["1"]);
    assert_eq!(cli.dashboard.trace.memory, Some(ByteSize(64 << 20)));
    let color = ColorOption { when: Some(Color::Never) };
    let screen = ScreenOptions { color, theme: None, mouse: true, config: ConfigOptions::default() };
    assert_eq!(cli.dashboard.screen, screen);
    let plain = parse("tracetui").expect("good usage").dashboard;
    assert_eq!(plain.trace.memory(), ByteSize(limits::MEMORY_DEFAULT));
    assert_eq!(plain.trace.ring_size, None);
    // Help shows the subcommands and the filter language.
    let help = parse("tracetui --help").expect_err("help");
    assert_eq!((help.kind(), help.exit_code()), (ErrorKind::DisplayHelp, 0));
    let text = help.to_string();
    for part in ["print", "doctor", "--tree", "comm=cc1", "not comm=bash"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    let ring = format!("{}, or {} each", ByteSize(limits::RING_DEFAULT), ByteSize(limits::RING_EACH));
    let sizes = [("ring-size", ring), ("memory", ByteSize(limits::MEMORY_DEFAULT).to_string())];
    let diff = parse("tracetui diff --help").expect_err("help").to_string();
    let in_words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    for (option, size) in sizes {
        let (_, help) = text.split_once(&format!("--{option} ")).expect(option);
        let help = in_words(help.split(" --").next().unwrap_or_default());
        assert!(help.contains(&format!("[default: {size}]")), "{help}");
    }
    assert!(in_words(&diff).contains(&format!("[default: {}]", ByteSize(limits::DIFF_MEMORY))), "{diff}");
}

#[test]
fn subcommands_take_formats_counts_and_files() {
    let plain = print("tracetui print");
    assert_eq!((plain.format, plain.count), (FormatName::Text, None));
    let all = print("tracetui print --format json -n 5 --kind open --ring-size 1MiB");
    assert_eq!((all.format, all.count), (FormatName::Json, Some(5)));
    assert_eq!(all.trace.ring_size.map(RingSize::bytes), Some(1 << 20));
    assert_eq!(print("tracetui print --count=7").count, Some(7));
    assert_eq!(print("tracetui print --memory 1GiB").trace.memory(), ByteSize(1 << 30));
    // Filters repeat, and take commas.
    let filters = print("tracetui print --comm cc1,ld --comm make --kind exec,open --failed --uid ana").trace.filters;
    assert_eq!(filters.comm, ["cc1,ld", "make"]);
    assert_eq!(filters.kind, ["exec,open"]);
    assert_eq!(filters.uid, ["ana"]);
    assert!(filters.failed);
    // An expression keeps its commas and spaces.
    let cli = Cli::try_parse_from(["tracetui", "print", "--filter", "path~a{1,2} err"]).expect("good usage");
    let Some(Command::Print(print)) = cli.command else { panic!("not print") };
    assert_eq!(print.trace.filters.filter, ["path~a{1,2} err"]);
    // Diff and export take files.
    let cli = parse("tracetui diff a.ttr - --format json --all --kind exec,open").expect("good usage");
    let Some(Command::Diff(diff)) = cli.command else { panic!("not diff") };
    assert_eq!(diff.files, [PathBuf::from("a.ttr"), PathBuf::from("-")]);
    assert_eq!((diff.format, diff.all, diff.memory), (ReportFormat::Json, true, ByteSize(limits::DIFF_MEMORY)));
    assert_eq!(diff.filters.kind, ["exec,open"]);
    check_bad("tracetui diff", "<RECORDING>");
    let cli = parse("tracetui diff a.ttr --noise b.ttr --ignore -O3 --ignore /tmp/* c.ttr").expect("good usage");
    let Some(Command::Diff(diff)) = cli.command else { panic!("not diff") };
    assert_eq!((diff.files.len(), diff.ignore.len(), diff.noise), (3, 2, true));
    check_bad("tracetui diff a.ttr b.ttr --ignore [a", "[a");
    check_bad("tracetui diff a.ttr b.ttr --format csv", "csv");
    let cli = parse("tracetui export a.ttr - --format parquet -o x --force --kind open").expect("good usage");
    let Some(Command::Export(export)) = cli.command else { panic!("not export") };
    assert_eq!(export.recordings, [PathBuf::from("a.ttr"), PathBuf::from("-")]);
    assert_eq!((export.format, export.force), (ExportFormat::Parquet, true));
    assert_eq!((export.output, export.filters.kind), (PathBuf::from("x"), vec!["open".to_owned()]));
    check_bad("tracetui export --format csv -o x", "FILE");
    check_bad("tracetui export a.ttr -o x", "--format");
    check_bad("tracetui export a.ttr --format csv", "--output");
    check_bad("tracetui export a.ttr --format text -o x", "perfetto");
    let stacks = |line| self::print(line).trace.stacks();
    assert_eq!(stacks("tracetui print"), KindSet::of(&[Kind::Bpf]));
    assert_eq!(stacks("tracetui print --stack exec,exit"), KindSet::of(&[Kind::Bpf, Kind::Exec, Kind::Exit]));
    assert_eq!(stacks("tracetui print --stack none"), KindSet::NONE);
    check_bad("tracetui print --stack lost", "no such kind");
}

#[test]
fn what_follows_two_hyphens_is_a_command_and_bad_usage_says_what_is_wrong() {
    let command = |line: &str| match parse(line).expect("good usage") {
        Cli { command: Some(Command::Print(print)), .. } => print.run.command,
        Cli { command: None, dashboard } => dashboard.run.command,
        other => panic!("{other:?}"),
    };
    assert_eq!(command("tracetui print -n 5 -- make -n 7 --kind open"), ["make", "-n", "7", "--kind", "open"]);
    assert_eq!(command("tracetui -- print --help"), ["print", "--help"]);
    assert_eq!(command("tracetui --comm x -- sh -- y"), ["sh", "--", "y"]);
    assert_eq!(command("tracetui print"), Vec::<OsString>::new());
    assert_eq!(print("tracetui print make").recordings, [PathBuf::from("make")]);
    check_bad("tracetui print make -- make", "FILE");
    let lacks =
        |line: &str| parse(line).expect("good usage").lacks_command(line.split(' ').next_back().map(OsStr::new));
    assert!(lacks("tracetui print --") && lacks("tracetui --"));
    assert!(!lacks("tracetui print") && !lacks("tracetui -- grep --"));
    // Bad usage.
    check_bad("tracetui doctor --format csv", "csv");
    check_bad("tracetui bpf 12", "12");
    check_bad("tracetui frobnicate", "frobnicate");
    check_bad("tracetui --frobnicate", "--frobnicate");
    check_bad("tracetui --pid 1 print", "print");
    check_bad("tracetui print --format yaml", "yaml");
    check_bad("tracetui print -n 0", "0");
    check_bad("tracetui print -n -1", "-1");
    check_bad("tracetui print --ring-size 16MB", "16MiB");
    check_bad("tracetui --memory lots", "lots");
    // A duration without a unit is in seconds.
    for (text, ms) in [("90", 90_000), ("1.5", 1_500), ("90s", 90_000), ("2m", 120_000)] {
        let Some(Command::Record(record)) = parse(&format!("tracetui record --duration {text}")).expect(text).command
        else {
            panic!("not record")
        };
        assert_eq!(record.duration, Some(std::time::Duration::from_millis(ms)), "{text}");
    }
    let Some(Command::Replay(replay)) = parse("tracetui replay a.ttr --from 2").expect("a moment").command else {
        panic!("not replay")
    };
    assert_eq!(replay.from, Some(Moment::Since(2_000_000_000)));
    check_bad("tracetui print --from 2 -- ls", "cannot be used with");
    check_bad("tracetui record --duration soon", "write a time such as 10s, 90 (seconds) or 1h 30m");
}

#[test]
fn rotate_btf_and_labels_are_read() {
    let rotate = |text: &str| text.parse::<Rotate>();
    let good = rotate("1GiB,4").expect("good usage");
    assert_eq!((good.size, good.count), (ByteSize(1 << 30), 4));
    assert_eq!(good.time, None);
    assert_eq!(rotate(" 64KiB , 5m, 1 ").expect("good usage").time, Some(Duration::from_secs(300)));
    check_bad("tracetui record --max-size 5", "the minimum size of a file is 64 KiB; write a size such as 100MiB");
    assert!(parse("tracetui record --max-size 64K").is_ok());
    for (text, part) in [
        ("1GiB", "1GiB,4"),
        ("1GiB,5m,4,4", "256MiB,5m,48"),
        ("1GiB,5x,4", "5x"),
        ("1GiB,0.5s,4", "1s"),
        ("1GiB,0", "at least 1"),
        ("1GiB,x", "at least 1"),
        ("1GB,4", "whole number"),
        ("63KiB,4", "64 KiB"),
        (",4", "whole number"),
    ] {
        check_bad(&format!("tracetui record --rotate {text}"), part);
    }
    check_bad("tracetui record --rotate 1GiB,4 --force", "--force");
    check_bad("tracetui record --resume", "--rotate");
    check_bad("tracetui record --metrics", "--rotate");
    let cli = parse("tracetui btf --from -").expect("good usage");
    assert_eq!(cli.command, Some(Command::Btf(BtfArgs { from: "-".into() })));
    check_bad("tracetui btf", "--from");
    assert_eq!(print("tracetui print --btf x").trace.btf.file, Some("x".into()));
    let label = record::label;
    let good = label("site_2=fra 1=x").expect("good usage");
    assert_eq!((good.name.as_str(), good.value.as_str()), ("site_2", "fra 1=x"));
    assert!(label("site=").is_ok());
    for text in ["site", "=fra1", "2site=x", "si te=x", "sité=x"] {
        assert!(label(text).is_err(), "{text}");
    }
    assert!(label(&format!("a={}", "x".repeat(1023))).is_err());
}
