//! Text and CSV output can be parsed.

use crate::prelude::*;

/// Events of several kinds, with values that must be quoted.
fn act(dir: &Dir) -> usize {
    let names = ["plain", "comma,", "\"quoted\"", "line\nend", "carriage\r\nreturn"];
    names.iter().for_each(|name| sys::close(sys::open_path(&dir.at(name))));
    Command::new("/bin/true").arg("a,\"b\"\n").status().expect("a child");
    names.len()
}

/// The rows of a CSV file (RFC 4180), including the header.
fn rows(csv: &[u8]) -> Vec<Vec<String>> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(csv);
    reader.deserialize().collect::<Result<_, _>>().expect("CSV in UTF-8, rows of one length")
}

#[test]
fn csv_has_one_row_an_event_and_the_json_in_its_last_column() {
    let dir = Dir::alone();
    let Some(traced) = Traced::start_as("csv", &["--json-column"]) else { return };
    let opens = act(&dir);
    let run = traced.stop();
    let rows = rows(&run.raw);
    let header = rows[0].join(",");
    assert!(header.starts_with("time,ns,kind,cpu,pid,tid,ppid,comm,uid,gid,cgroup,result,detail,"), "{header}");
    assert!(header.ends_with(",json"), "{header}");
    let column = |name: &str| header.split(',').position(|column| column == name).expect("a column");
    let mut ours = 0;
    for row in &rows[1..] {
        assert_eq!(row.len(), rows[0].len(), "{row:?}");
        let json: Value = serde_json::from_str(&row[column("json")]).expect("JSON");
        for key in ["ns", "cpu", "pid", "tid"] {
            // A program that is unloaded meanwhile has no process.
            let value = if json[key].is_null() { String::new() } else { json[key].to_string() };
            assert_eq!(row[column(key)], value, "{row:?}");
        }
        assert_eq!(row[column("kind")], json["kind"].as_str().expect("a kind"));
        ours += usize::from(
            json["kind"] == "open"
                && json["pid"] == sys::pid()
                && json["path"].as_str().is_some_and(|p| p.starts_with(&dir.at(""))),
        );
    }
    assert_eq!(ours, opens);
}

#[test]
fn nothing_in_csv_acts_on_a_terminal_or_in_a_spreadsheet() {
    let run = b"=cmd|' /C c'!A";
    let names =
        ["=cmd|' /C calc'!A0", "x;=1+1", "\x1b]0;t\x07\u{9b}31m\u{202e}\u{200b}", "+1", "@SUM(1)", "back\\slash"];
    let Some(traced) = Traced::start_as("csv", &["--kind", "open,exec", "--json-column"]) else { return };
    for comm in [&run[..], b"\x1b[2J\xc2\x9b\xe2\x80\xae"] {
        let names = names.map(str::to_owned);
        let mut actor = sys::Actor::new(move || {
            sys::set_comm(comm);
            names.iter().map(|name| sys::open_path(name)).collect()
        });
        actor.go();
        actor.end();
    }
    let text = String::from_utf8(traced.stop().raw).expect("UTF-8");
    let harmless = |c: char| !c.is_control() && !matches!(c, '\u{202e}' | '\u{200b}');
    assert!(text.chars().all(|c| matches!(c, '\r' | '\n') || harmless(c)), "{text}");
    assert!(text.contains(r"\x1b]0;t\x07\u{9b}31m\u{202e}\u{200b}") && text.contains(r"back\\slash"), "{text}");
    let rows = rows(text.as_bytes());
    let is_run = |cell: &str| cell.trim_start().starts_with(['=', '+', '@']);
    assert!(rows.iter().flatten().flat_map(|cell| cell.split(';')).all(|cell| !is_run(cell)), "{rows:#?}");
    let ours: Vec<_> = rows.iter().filter(|row| row[7] == "'=cmd|' /C c'!A").collect();
    let paths =
        ours.iter().map(|row| serde_json::from_str::<Value>(&row[row.len() - 1]).expect("JSON")["path"].clone());
    assert_eq!(paths.collect::<Vec<_>>(), names, "whole in the json column");
}

#[test]
fn text_has_one_aligned_line_an_event() {
    let dir = Dir::alone();
    let Some(traced) = Traced::start_as("text", &[]) else { return };
    let opens = act(&dir);
    let run = traced.stop();
    let text = std::str::from_utf8(&run.raw).expect("UTF-8");
    let ours: Vec<&str> = text.lines().filter(|line| line.contains(&dir.at(""))).collect();
    assert_eq!(ours.len(), opens, "{text}");
    let pid = format!(" {} ", sys::pid());
    let places: Vec<_> =
        ours.iter().map(|line| ["OPEN", pid.as_str(), dir.at("").as_str()].map(|word| line.find(word))).collect();
    assert!(places.iter().all(|p| *p == places[0] && p.iter().all(Option::is_some)), "{ours:#?}");
    let last = run.stderr.last().expect("the account");
    assert!(last.starts_with("account: seen ") && last.contains(" lost 0 cut 0 (exec "), "{last}");
}
