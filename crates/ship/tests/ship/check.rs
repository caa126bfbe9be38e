//! What `check` reports, and what it survives.

use crate::common::{Place, text};
use crate::server::Server;
use serde_json::{Value, json};
use std::fs;
use std::process::Output;
use std::time::{Duration, SystemTime};

const HOUR: u64 = 3_600;
const DAY: u64 = 24 * HOUR;

/// 2026-11-20T00:00:00Z.
const START: u64 = 1_795_132_800;

const TRACE: &str = "ab01020304050607";

fn utc(time_s: u64) -> String {
    humantime::format_rfc3339_seconds(SystemTime::UNIX_EPOCH + Duration::from_secs(time_s)).to_string()
}

/// The directory of an hour and the start of the names.
fn stem(host: &str, trace: &str, created_s: u64) -> String {
    let time = utc(created_s);
    format!("dt={}/hour={}/{host}-aaaaaaaa-{trace}-", &time[..10], &time[11..13])
}

/// A part of five minutes with ten events: its name below `events` and `manifest`, and its row.
fn part(host: &str, trace: &str, number: u32, created_s: u64) -> (String, Value) {
    let name = format!("{}{number:06}", stem(host, trace, created_s));
    let row = json!({
        "kind": "part", "host": host, "boot_id": "aaaaaaaa-1", "trace": trace, "part": number, "parts": 1,
        "created": utc(created_s), "file": format!("events/{name}.parquet"), "events": 10, "seen": 10,
        "seen_before": u64::from(number) * 10, "lost": 0, "last": utc(created_s + 300), "complete": true, "damaged": false,
        "note": "",
    });
    (name, row)
}

fn put(place: &Place, (name, row): (String, Value)) {
    let put = |path: String, bytes: &[u8]| {
        let path = place.store().join(path);
        fs::create_dir_all(path.parent().expect("a directory")).expect("it");
        fs::write(path, bytes).expect("written");
    };
    if row["kind"] == "part" {
        put(format!("events/{name}.parquet"), b"x");
    }
    put(format!("manifest/{name}.json"), row.to_string().as_bytes());
}

fn parts(place: &Place, host: &str, trace: &str, numbers: impl IntoIterator<Item = u32>) {
    numbers.into_iter().for_each(|number| put(place, part(host, trace, number, START + u64::from(number) * 300)));
}

fn gap(host: &str, trace: &str, first: u32, parts: u32, seen: u64) -> (String, Value) {
    let created_s = START + u64::from(first + parts) * 300;
    let (_, mut row) = part(host, trace, first, created_s);
    for (field, value) in
        [("kind", json!("gap")), ("parts", json!(parts)), ("seen", json!(seen)), ("lost", json!(seen))]
    {
        row[field] = value;
    }
    (row["file"], row["last"]) = (Value::Null, Value::Null);
    (format!("{}{:06}-gap-{seen}", stem(host, trace, created_s), first + parts), row)
}

/// Expects these lines before the sum, and so many missing.
#[track_caller]
fn expect(output: &Output, missing: usize, lines: &[&str]) {
    let said = text(&output.stdout);
    let found: Vec<_> = said.lines().collect();
    assert_eq!(found.split_last().map(|(_, before)| before), Some(lines), "{said}{}", text(&output.stderr));
    assert!(said.ends_with(&format!("; {missing} missing\n")), "{said}");
    assert_eq!(output.status.success(), missing == 0, "{said}");
}

/// Three hosts over two days: `a` is whole, `b` has no parts from 23:50 to 23:00, `c` none on the second day.
fn fleet() -> Place {
    let place = Place::new();
    parts(&place, "a", "1111111111111111", 0..576);
    parts(&place, "b", "2222222222222222", (0..286).chain(564..576));
    parts(&place, "c", "3333333333333333", 0..288);
    place
}

#[test]
fn days_are_compared_with_the_day_before_and_the_end_is_now() {
    let place = fleet();
    let b = "b: 2026-11-20 23:50 to 2026-11-21 23:00: parts 286 to 563 of the trace 2222222222222222 are missing, with 2,780 \
             events";
    let c = "c: no recording since 2026-11-21 00:00";
    // Until midnight, the pause of b has ten minutes.
    expect(&place.check_with(&["--from", "2026-11-20", "--to", "2026-11-21"]), 0, &[]);
    expect(&place.check_with(&["--from", "2026-11-21", "--to", "2026-11-22"]), 2, &[b, c]);
    expect(&place.check_with(&["--to", "2026-11-22"]), 2, &[b, c]);
    // Before the requested time.
    expect(&place.check_with(&["--from", "2026-11-21T23:00:01Z", "--to", "2026-11-22"]), 1, &[c]);
    // An outage longer than a day is seen by the number of the next part.
    let place = Place::new();
    parts(&place, "old", TRACE, [0, 900]);
    put(&place, part("new", "1111111111111111", 0, START + 900 * 300));
    let line = "old: 2026-11-23 00:00 to 2026-11-23 03:00: no recording";
    expect(&place.check_with(&["--from", "2026-11-23", "--to", "2026-11-23T03:10:00Z"]), 1, &[line]);
    // The end is now.
    let place = Place::new();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a time").as_secs();
    put(&place, part("week", "1111111111111111", 0, now - 7 * DAY));
    put(&place, part("late", "2222222222222222", 0, now - HOUR));
    put(&place, part("live", "3333333333333333", 0, now - 400));
    // The clock of the last one is ahead. It silences nobody.
    put(&place, part("ahead", "4444444444444444", 0, now - 400));
    put(&place, part("ahead", "4444444444444444", 1, 4_102_444_800));
    let since = |time_s| utc(time_s + 300)[..16].replace('T', " ");
    let late = format!("late: no recording since {}", since(now - HOUR));
    let week = format!("week: no recording since {}", since(now - 7 * DAY));
    let ahead = "ahead: 1 row is later than now, from 2100-01-01 00:05 on: its clock was ahead";
    expect(&place.check_with(&[]), 2, &[ahead, &late, &week]);
    expect(&place.check_with(&["--to", "2200-01-01"]), 2, &[ahead, &late, &week]);
}

#[test]
fn rows_of_gaps_count_and_forged_ones_do_not() {
    let place = Place::new();
    // At the end of a trace; twice, with an unknown number of events.
    parts(&place, "end", "1111111111111111", 0..3);
    put(&place, gap("end", "1111111111111111", 3, 4, 0));
    put(&place, gap("end", "1111111111111111", 3, 2, 0));
    // Found by the numbers too.
    parts(&place, "middle", "2222222222222222", [0, 3, 4]);
    put(&place, gap("middle", "2222222222222222", 1, 2, 20));
    // Without a part.
    put(&place, gap("only", "3333333333333333", 5, 2, 20));
    // Parts came after all: one, and all.
    parts(&place, "some", "4444444444444444", 0..2);
    put(&place, gap("some", "4444444444444444", 1, 2, 20));
    parts(&place, "whole", "5555555555555555", 0..5);
    put(&place, gap("whole", "5555555555555555", 1, 2, 20));
    let end = "end: from 2026-11-20 00:15: parts 3 to 6 of the trace 1111111111111111 are missing, with an unknown number of \
               events";
    let middle = "middle: 2026-11-20 00:05 to 2026-11-20 00:15: parts 1 to 2 of the trace 2222222222222222 are missing, with \
                  20 events";
    let only = "only: from 2026-11-20 00:35: parts 5 to 6 of the trace 3333333333333333 are missing, with 20 events";
    let some = "some: from 2026-11-20 00:10: part 2 of the trace 4444444444444444 is missing, with 10 events";
    let silent = "some: no recording since 2026-11-20 00:15";
    expect(&place.check_with(&["--to", "2026-11-20T00:36:00Z"]), 5, &[end, middle, only, some, silent]);
    // Forged rows do not count.
    let place = Place::new();
    parts(&place, "h", TRACE, 0..3);
    let forged = |number: u32, field: &str, value: Value| {
        let (name, mut row) = part("h", TRACE, number, START + 900);
        row[field] = value;
        (name, row)
    };
    for (number, field, value) in [
        (3, "part", json!(4)),
        (4, "host", json!("other")),
        (5, "created", json!("2026-11-20T01:00:00Z")),
        (6, "trace", json!("0000000000000000")),
        (7, "boot_id", json!("bbbbbbbb")),
        (8, "file", json!("events/x.parquet")),
        (9, "parts", json!(1_000)),
        (10, "kind", json!("gap")),
        (11, "kind", json!("other")),
        (12, "seen", json!("many")),
    ] {
        put(&place, forged(number, field, value));
    }
    let (name, mut row) = gap("h", TRACE, 5, 2, 0);
    row["host"] = json!("other");
    put(&place, (name, row));
    // The name of a cloned machine's part.
    let (name, mut row) = part("h", "1111111111111111", 0, START);
    let name = format!("{name}-0badcafe");
    row["file"] = json!(format!("events/{name}.parquet"));
    put(&place, (name, row));
    let output = place.check_with(&["--to", "2026-11-20T00:20:00Z"]);
    expect(&output, 0, &[]);
    assert!(text(&output.stdout).contains("1 host, 4 parts, 40 events"), "{}", text(&output.stdout));
    assert_eq!(text(&output.stderr).matches("no row of a manifest").count(), 11, "{}", text(&output.stderr));
}

#[test]
fn long_texts_are_clipped_and_odd_names_are_skipped() {
    let place = Place::new();
    let host = "h".repeat(60_000);
    for number in 0..2 {
        let (name, mut row) = part(&host[..64], TRACE, number, START);
        (row["host"], row["events"], row["lost"]) = (json!(host), json!(u64::MAX), json!(u64::MAX));
        row["seen_before"] = json!(u64::MAX);
        put(&place, (name, row));
    }
    let name = format!("{}000000-unreadable-1", stem("h", "0000000000000000", START));
    let (_, mut row) = part("h", "0000000000000000", 0, START);
    (row["kind"], row["file"], row["note"]) = (json!("unreadable"), Value::Null, json!("\u{e9}".repeat(20_000)));
    put(&place, (name, row));
    let said = text(&place.check_with(&["--to", "2026-11-20T00:10:00Z"]).stdout);
    assert!(said.ends_with("18,446,744,073,709,551,615 lost by the tracer; 1 missing\n"), "{}", said.len());
    assert!(said.contains(": unreadable: ") && said.len() < 10_000, "{}", said.len());
    // Odd names in a directory are skipped.
    let place = Place::new();
    parts(&place, "h", TRACE, 0..3);
    let hour = place.store().join("manifest/dt=2026-11-20/hour=00");
    fs::write(hour.join("\u{1b}[31m.json"), "{}").expect("written");
    std::os::unix::fs::symlink(place.store(), hour.join("circle")).expect("a link");
    assert!(std::process::Command::new("mkfifo").arg(hour.join("a.json")).status().expect("mkfifo").success());
    let output = place.check_with(&["--to", "2026-11-20T00:20:00Z"]);
    expect(&output, 0, &[]);
    assert!(text(&output.stderr).contains("\\x1b[31m.json: skipped"), "{}", text(&output.stderr));
}

/// A bucket with 90 parts of three hosts.
fn bucket() -> Server {
    let server = Server::away(0);
    for number in 0..90 {
        let host = ["a", "b", "c"][number as usize % 3];
        let (name, row) = part(host, &format!("{:016x}", number % 3), number / 3, START + u64::from(number / 3) * 300);
        server.put(&format!("fleet/events/{name}.parquet"), "x");
        server.put(&format!("fleet/manifest/{name}.json"), &row.to_string());
    }
    server
}

#[test]
fn odd_keys_in_a_bucket_are_skipped() {
    let server = bucket();
    let odd = ["/x", "../x", "./x", "dt=2026-11-20//x", "dt=2026-11-20/hour=01/\u{1b}[31m", "dt=2026-11-20/hour=01//"];
    for key in odd {
        server.put(&format!("fleet/manifest/{key}"), "{}");
        server.put(&format!("fleet/events/{key}"), "");
    }
    server.put("fleet/manifest/directory/", "");
    let output = server.check(&["--to", "2026-11-20T02:35:00Z"]);
    expect(&output, 0, &[]);
    assert!(text(&output.stdout).contains("3 hosts, 90 parts"), "{}", text(&output.stdout));
    assert_eq!(text(&output.stderr).matches(": skipped: ").count(), 2 * odd.len(), "{}", text(&output.stderr));
    // Only those of the requested hours are listed.
    let output = server.check(&["--from", "2026-11-20T01:30:00Z", "--to", "2026-11-20T02:00:00Z"]);
    expect(&output, 0, &[]);
    assert!(text(&output.stdout).contains("3 hosts, 18 parts, 180 events"), "{}", text(&output.stdout));
    // A name that the server replaced hides no others.
    let server = bucket();
    server.put("fleet/manifest/dt=2026-11-20/hour=00/\u{fffd}//", "");
    let output = server.check(&[]);
    assert!(!output.status.success() && text(&output.stderr).contains("remove it"), "{}", text(&output.stderr));
    // A listing without an end is an error.
    for (mode, error) in [("same", "the same page"), ("more", "more than 2,000,000 objects: check less at once")] {
        let server = bucket();
        server.list_endlessly(mode);
        let output = server.check(&[]);
        assert!(!output.status.success() && text(&output.stderr).contains(error), "{}", text(&output.stderr));
    }
}
