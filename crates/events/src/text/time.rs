//! Times and durations as text.

use std::cell::Cell;
use std::time::Duration;

/// Nanoseconds in a second.
const SECOND: i128 = 1_000_000_000;

/// Seconds in a day.
const DAY: i64 = 86_400;

/// A civil date from days since 1970-01-01 (proleptic Gregorian): year, month, day.
fn civil(days: i64) -> (i64, u32, u32) {
    // Eras of 400 years that start on 1 March of year 0: a leap day is then the last day of its year.
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * shifted + 2) / 5 + 1) as u32;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 } as u32;
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    (year, month, day)
}

/// The days since 1970-01-01 of a date; the inverse of [`civil`].
fn days_of(year: i64, month: u32, day: u32) -> i64 {
    let year = year - i64::from(month <= 2);
    let day_of_year = (153 * (i64::from(month) + 9).rem_euclid(12) + 2) / 5 + i64::from(day) - 1;
    let (era, year) = (year.div_euclid(400), year.rem_euclid(400));
    era * 146_097 + year * 365 + year / 4 - year / 100 + day_of_year - 719_468
}

/// Seconds since 1970-01-01 00:00:00 on the clock that shows this date and time.
pub fn civil_seconds((year, month, day): (i64, u32, u32), (hour, minute, second): (i64, i64, i64)) -> i64 {
    days_of(year, month, day) * DAY + (hour * 60 + minute) * 60 + second
}

fn two(n: u32, out: &mut Vec<u8>) {
    out.push(b'0' + (n / 10 % 10) as u8);
    out.push(b'0' + (n % 10) as u8);
}

/// Appends a number, padded with zeros to a number of digits.
fn padded(n: u64, width: usize, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + width, b'0');
    digits(n, &mut out[start..]);
}

/// Sets the last digits of a number, as many as there is room for.
fn digits(mut n: u64, to: &mut [u8]) {
    for slot in to.iter_mut().rev() {
        *slot = b'0' + (n % 10) as u8;
        n /= 10;
    }
}

/// Splits a time into seconds and the nanoseconds within the second. A `u64` suffices until the year 2554, and divides
/// ten times as fast as an `i128`.
fn split(unix_ns: i128) -> (i64, u64) {
    match u64::try_from(unix_ns) {
        Ok(ns) => ((ns / 1_000_000_000) as i64, ns % 1_000_000_000),
        Err(_) => (unix_ns.div_euclid(SECOND) as i64, unix_ns.rem_euclid(SECOND) as u64),
    }
}

/// Appends `YYYY-MM-DDTHH:MM:SS.nnnnnnnnnZ`.
pub fn rfc3339(unix_ns: i128, out: &mut Vec<u8>) {
    let (second, ns) = split(unix_ns);
    date_time(second, out);
    out.push(b'.');
    padded(ns, 9, out);
    out.push(b'Z');
}

/// `YYYYmmddTHHMMSSZ`, for names of files.
pub fn compact_utc(unix_ns: i64) -> String {
    let mut text = Vec::new();
    date_time(unix_ns.div_euclid(1_000_000_000), &mut text);
    text.retain(|byte| !b"-:".contains(byte));
    text.push(b'Z');
    String::from_utf8(text).unwrap_or_default()
}

/// Appends `YYYY-MM-DDTHH:MM:SS`, given seconds since 1970-01-01.
fn date_time(seconds: i64, out: &mut Vec<u8>) {
    let (year, month, day) = civil(seconds.div_euclid(86_400));
    padded(year.unsigned_abs(), 4, out);
    out.push(b'-');
    two(month, out);
    out.push(b'-');
    two(day, out);
    out.push(b'T');
    clock(seconds.rem_euclid(86_400) as u32, out);
}

fn clock(second_of_day: u32, out: &mut Vec<u8>) {
    two(second_of_day / 3600, out);
    out.push(b':');
    two(second_of_day / 60 % 60, out);
    out.push(b':');
    two(second_of_day % 60, out);
}

/// Appends consecutive RFC 3339 times. It keeps the text of the last one: many events share a second.
#[derive(Debug, Default)]
pub(crate) struct Rfc3339 {
    second: Option<i64>,
    text: [u8; Rfc3339::LEN],
}

impl Rfc3339 {
    /// `YYYY-MM-DDTHH:MM:SS.nnnnnnnnnZ`.
    const LEN: usize = 30;

    /// The digits of the nanoseconds.
    const NANOS: std::ops::Range<usize> = 20..29;

    pub(crate) fn write(&mut self, unix_ns: i128, out: &mut Vec<u8>) {
        let (second, ns) = split(unix_ns);
        if self.second != Some(second) {
            let mut text = Vec::with_capacity(Rfc3339::LEN);
            rfc3339(unix_ns, &mut text);
            if let Some(text) = text.first_chunk() {
                self.text = *text;
            }
            self.second = Some(second);
        }
        digits(ns, &mut self.text[Rfc3339::NANOS]);
        out.extend_from_slice(&self.text);
    }
}

/// A time zone: the number of seconds that its clocks are ahead of UTC at a time in seconds since 1970.
#[derive(Clone, Copy)]
pub struct Zone(pub fn(i64) -> i32);

impl Zone {
    pub const UTC: Zone = Zone(|_| 0);

    /// When the clocks show a time: twice if they were set back then. For a time that they skip, when they would have shown it.
    fn times_of(self, local_ns: i128) -> Vec<i128> {
        let local = local_ns.div_euclid(SECOND) as i64;
        let offset = self.0;
        let before = offset(local.saturating_sub(DAY));
        let near = [before, offset(local), offset(local - i64::from(before)), offset(local.saturating_add(DAY))];
        let right = |ahead: &i32| offset(local - i64::from(*ahead)) == *ahead;
        let mut times: Vec<_> = near.into_iter().filter(right).collect();
        if times.is_empty() {
            times.push(before);
        }
        times.into_iter().map(|ahead| local_ns - i128::from(ahead) * SECOND).collect()
    }
}

impl Default for Zone {
    fn default() -> Zone {
        Zone::UTC
    }
}

impl PartialEq for Zone {
    fn eq(&self, other: &Zone) -> bool {
        std::ptr::fn_addr_eq(self.0, other.0)
    }
}

impl Eq for Zone {}

impl std::fmt::Debug for Zone {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Zone")
    }
}

/// Appends consecutive times of day. It keeps the offset of the last one: many events share a second.
#[derive(Debug, Default)]
pub(crate) struct LocalClock {
    zone: Zone,
    last: Cell<Option<(i64, i32)>>,
}

impl LocalClock {
    pub(crate) fn new(zone: Zone) -> LocalClock {
        LocalClock { zone, ..LocalClock::default() }
    }

    pub(crate) fn write(&self, unix_ns: i128, out: &mut Vec<u8>) {
        let (second, _) = split(unix_ns);
        let last = self.last.get().filter(|(known, _)| *known == second);
        let (_, ahead) = last.unwrap_or_else(|| (second, self.zone.0(second)));
        self.last.set(Some((second, ahead)));
        clock_at(unix_ns, ahead, out);
    }
}

/// Appends `HH:MM:SS.mmm` in a time zone.
pub fn clock_millis(unix_ns: i128, zone: Zone, out: &mut Vec<u8>) {
    clock_at(unix_ns, zone.0(split(unix_ns).0), out);
}

fn clock_at(unix_ns: i128, ahead_s: i32, out: &mut Vec<u8>) {
    let (second, ns) = split(unix_ns);
    clock((second + i64::from(ahead_s)).rem_euclid(DAY) as u32, out);
    out.push(b'.');
    padded(ns / 1_000_000, 3, out);
}

/// Appends a duration in a suitable unit: `850 us`, `33 ms`, `4.2 s`, `3m 20s`, `5h 02m`, `2d 03h`.
pub fn short_duration(ns: u64, out: &mut Vec<u8>) {
    let (us, ms, s) = (ns / 1_000, ns / 1_000_000, ns / 1_000_000_000);
    let text = match s {
        _ if us < 1 => format!("{ns} ns"),
        _ if ms < 1 => format!("{us} us"),
        0 => format!("{ms} ms"),
        1..60 => format!("{s}.{} s", ms / 100 % 10),
        60..3600 => format!("{}m {:02}s", s / 60, s % 60),
        3600..86_400 => format!("{}h {:02}m", s / 3600, s / 60 % 60),
        _ => format!("{}d {:02}h", s / 86_400, s / 3600 % 24),
    };
    out.extend_from_slice(text.as_bytes());
}

/// A typed moment in a trace.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Moment {
    /// Nanoseconds since its start.
    Since(u64),
    /// `19:00`: this many nanoseconds since its start if it is that long, otherwise this local time of day.
    Short(u64, u64),
    /// A time of day, nanoseconds since midnight: local, or of clocks this many seconds ahead of UTC.
    OfDay(u64, Option<i32>),
    /// A date and time without a zone: nanoseconds since 1970-01-01 on the local clock.
    Local(i128),
    /// Nanoseconds since 1970-01-01 UTC.
    At(i128),
}

impl Moment {
    /// Reads `1h 5m`, `90s`, `+3:12` and `0.05` (since the start; a number alone is in seconds), `14:02:11.482` (a time of
    /// day), `3:12` (either), or a date with or without a time. A time of day and a date may end with a zone: `Z`, `+02:00`.
    pub fn parse(text: &str) -> Option<Moment> {
        let text = text.trim();
        let since = text.strip_prefix('+').unwrap_or(text);
        if let Some(since) = duration(since) {
            return u64::try_from(since.as_nanos()).ok().map(Moment::Since);
        }
        if let Some(moment) = date(text) {
            return Some(moment);
        }
        let (time, ahead) = zone_after(since)?;
        match (time.matches(':').count(), ahead) {
            (1, None) => {
                let (minutes, seconds) = since.split_once(':')?;
                let minutes = seconds_of(minutes).filter(|ns| ns.is_multiple_of(SECOND as u64))?;
                let since = minutes.checked_mul(60)?.checked_add(part(seconds, 60)?)?;
                let of_day = of_day(text).filter(|_| !text.starts_with('+'));
                Some(of_day.map_or(Moment::Since(since), |of_day| Moment::Short(since, of_day)))
            }
            (2, _) => of_day(time).map(|ns| Moment::OfDay(ns, ahead)),
            _ => None,
        }
    }

    /// Nanoseconds since the start, if it can mean that.
    pub fn since(self) -> Option<u64> {
        match self {
            Moment::Since(ns) | Moment::Short(ns, _) => Some(ns),
            _ => None,
        }
    }

    /// As a time since the start, if it means that in a recording with this first and last time. The length of a pipe is not known, and
    /// its last time is the first: `19:00` is a time of day there.
    fn as_since(self, span: (i128, i128)) -> Option<Moment> {
        let is_long = |since: &u64| span.0 + i128::from(*since) <= span.1;
        self.since().filter(|since| matches!(self, Moment::Since(_)) || is_long(since)).map(Moment::Since)
    }

    /// Whether its date is known without the recording.
    pub fn is_dated(self) -> bool {
        matches!(self, Moment::Local(_) | Moment::At(_))
    }

    /// The time in nanoseconds since 1970-01-01 UTC, in a recording with this first and last time. Of several times that show
    /// as it was typed (a time of day is of every day), the nearest to the recording counts.
    pub fn unix_ns(self, span: (i128, i128), zone: Zone) -> i128 {
        self.as_since(span).unwrap_or(self).near(span.0, span, zone)
    }

    /// As [`unix_ns`](Self::unix_ns), in a recording that starts at `start`, for the time nearest to `span`.
    fn near(self, start: i128, span: (i128, i128), zone: Zone) -> i128 {
        const DAY_NS: i128 = DAY as i128 * SECOND;
        // A time is shown without digits below a millisecond, and may be typed to the second.
        let away = |at: &i128| (span.0 - at).max(at - span.1).max(SECOND);
        let nearest = |times: Vec<i128>| times.into_iter().min_by_key(|at| (away(at), *at)).unwrap_or(start);
        match self {
            Moment::Since(ns) => start + i128::from(ns),
            Moment::At(ns) => ns,
            Moment::Local(ns) => nearest(zone.times_of(ns)),
            Moment::Short(_, ns) => Moment::OfDay(ns, None).near(start, span, zone),
            Moment::OfDay(ns, ahead) => {
                let times_of = |local: i128| match ahead {
                    Some(ahead) => vec![local - i128::from(ahead) * SECOND],
                    None => zone.times_of(local),
                };
                // Clocks are less than two days ahead of UTC or behind.
                let days = |from: i128| (-2..=2).map(move |days| from.div_euclid(DAY_NS) + days);
                let midnights = days(span.0).chain(days(span.1)).map(|day| day * DAY_NS);
                nearest(midnights.flat_map(|midnight| times_of(midnight + i128::from(ns))).collect())
            }
        }
    }
}

/// The bounds of a time span in a recording with this first and last time; see [`Moment::unix_ns`]. A time of day at the end is one
/// after the beginning if the recording has one. If the beginning is a time since the start, so is the end where it can be.
pub fn bounds(
    (from, to): (Option<Moment>, Option<Moment>),
    span: (i128, i128),
    zone: Zone,
) -> (Option<i128>, Option<i128>) {
    let is_since = from.is_some_and(|from| from.as_since(span).is_some());
    let from = from.map(|from| from.unix_ns(span, zone));
    let begin = from.map_or(span.0, |from| from.clamp(span.0, span.1));
    let to = to.map(|to| to.as_since(span).or(to.since().filter(|_| is_since).map(Moment::Since)).unwrap_or(to));
    (from, to.map(|to| to.near(span.0, (begin, span.1), zone)))
}

/// Reads `2026-11-20`, `2026-11-20T14:02:11.5+02:00` and the like: ISO 8601 as `date(1)` writes it.
fn date(text: &str) -> Option<Moment> {
    let (date, time) = match text.find(['T', 't', ' ']) {
        Some(at) => (&text[..at], text[at + 1..].trim_start()),
        None => (text, "00:00"),
    };
    let [year, month, day] = date.split('-').collect::<Vec<_>>().try_into().ok()?;
    let number = |text: &str, digits: usize| {
        text.parse::<u32>().ok().filter(|_| text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let (year, month, day) = (i64::from(number(year, 4)?), number(month, 2)?, number(day, 2)?);
    let days = days_of(year, month, day);
    if civil(days) != (year, month, day) {
        return None;
    }
    let (time, ahead) = zone_after(time)?;
    let local = i128::from(days * DAY) * SECOND + i128::from(of_day(time)?);
    Some(match ahead {
        Some(ahead) => Moment::At(local - i128::from(ahead) * SECOND),
        None => Moment::Local(local),
    })
}

/// Splits a zone (`Z`, `+02:00`, `-0330`, `+01`) from the end of a time, as seconds ahead of UTC. `None` if it is not one.
fn zone_after(time: &str) -> Option<(&str, Option<i32>)> {
    if let Some(time) = time.strip_suffix(['Z', 'z']) {
        return Some((time.trim_end(), Some(0)));
    }
    let Some(at) = time.rfind(['+', '-']) else { return Some((time, None)) };
    let digits = time[at + 1..].replacen(':', "", 1);
    let (hours, minutes) = match digits.len() {
        2 => (digits.as_str(), "00"),
        4 => digits.split_at_checked(2)?,
        _ => return None,
    };
    let seconds = i32::try_from((part(hours, 24)? * 60 + part(minutes, 60)?) / SECOND as u64).ok()? * 60;
    Some((time[..at].trim_end(), Some(if time[at..].starts_with('-') { -seconds } else { seconds })))
}

/// Nanoseconds since midnight of `14:02:11.5` or `14:02`.
fn of_day(time: &str) -> Option<u64> {
    let (hours, rest) = time.split_once(':')?;
    let (minutes, seconds) = rest.split_once(':').unwrap_or((rest, "0"));
    let whole = |text: &str, limit: u64| part(text, limit).filter(|ns| ns.is_multiple_of(SECOND as u64));
    Some((whole(hours, 24)? * 60 + whole(minutes, 60)?) * 60 + part(&seconds.replacen(',', ".", 1), 60)?)
}

/// A number below a limit, times a thousand million.
fn part(text: &str, limit: u64) -> Option<u64> {
    seconds_of(text).filter(|ns| *ns < limit * SECOND as u64)
}

/// Reads a duration such as `1h 5m`. A number alone is in seconds.
pub fn duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    seconds_of(text).map(Duration::from_nanos).or_else(|| humantime::parse_duration(text).ok())
}

/// Nanoseconds of a number of seconds with up to nine decimals.
fn seconds_of(text: &str) -> Option<u64> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(decimals) || decimals.len() > 9 {
        return None;
    }
    let decimals: u64 = format!("{decimals:0<9}").parse().ok()?;
    whole.parse::<u64>().ok()?.checked_mul(1_000_000_000)?.checked_add(decimals)
}

/// A time in nanoseconds since 1970 as RFC 3339, UTC.
pub fn utc(unix_ns: i128) -> String {
    let mut text = Vec::new();
    rfc3339(unix_ns, &mut text);
    String::from_utf8_lossy(&text).into_owned()
}

#[cfg(test)]
mod tests {
    #[test]
    fn moments_are_read() {
        let check = |text: &str, moment| assert_eq!(Moment::parse(text), moment, "{text}");
        let s = 1_000_000_000;
        check("90s", Some(Moment::Since(90 * s)));
        check("+1h 5m", Some(Moment::Since(3900 * s)));
        check("3:12", Some(Moment::Short(192 * s, 11_520 * s)));
        check("+3:12", Some(Moment::Since(192 * s)));
        check("24:00", Some(Moment::Since(1440 * s)));
        check("0:00.5", Some(Moment::Since(s / 2)));
        check("0.05", Some(Moment::Since(s / 20)));
        check("2", Some(Moment::Since(2 * s)));
        check("+12.5", Some(Moment::Since(12 * s + s / 2)));
        check("14:02:11.482", Some(Moment::OfDay(50_531_482_000_000, None)));
        check("14:02:11Z", Some(Moment::OfDay(50_531_000_000_000, Some(0))));
        check("14:02:11-03:30", Some(Moment::OfDay(50_531_000_000_000, Some(-12_600))));
        let at = 1_795_183_331_000_000_000;
        check("2026-11-20 14:02:11", Some(Moment::Local(at)));
        check("2026-11-20T14:02", Some(Moment::Local(at - 11_000_000_000)));
        check("2026-11-20", Some(Moment::Local(at - 50_531_000_000_000)));
        check("2024-02-29T00:00:00Z", Some(Moment::At(1_709_164_800_000_000_000)));
        for text in [
            "2026-11-20T14:02:11.5Z",
            "2026-11-20 14:02:11.5 Z",
            "2026-11-20t14:02:11.500z",
            "2026-11-20T16:02:11.5+02:00",
            "2026-11-20T16:02:11,500000000+0200",
            "2026-11-20 16:02:11.5+02",
            "2026-11-20 08:32:11.5 -05:30",
        ] {
            check(text, Some(Moment::At(at + 500_000_000)));
        }
        let wrong = "x .5 1. 1.5:00 99:99 25:60 13:60:00 13:00:60 24:00:00 1:2:3:4 -1:00 14:02: 99999999999999999999:0 \
            2026-02-29 2026-13-01T00:00:00Z 2026-1-1 2026-11-20T 2026-11-20T24:00:00 2026-11-20T14:02:11+2 \
            2026-11-20T14:02:11+25:00 2026-11-20T14:02:11+02:60 2026-11-20T1.5:00:00 14:02:11+ 3:12Z 1+02:00 \
            \u{e9}:02:11+\u{e9}\u{e9}";
        for wrong in wrong.split(' ').chain(["", "14 02"]) {
            check(wrong, None);
        }
    }

    /// Two hours ahead of UTC until 2026-10-25T01:00:00Z and from 2026-11-22T01:00:00Z on, one hour between.
    const SUMMER: Zone = Zone(|second| if (1_792_890_000..1_795_309_200).contains(&second) { 3600 } else { 7200 });

    #[test]
    fn a_typed_time_is_the_nearest_to_the_recording() {
        let at = |text: &str| match Moment::parse(text) {
            Some(Moment::At(ns)) => ns,
            other => panic!("{text}: {other:?}"),
        };
        for (zone, start, end, typed, expected) in [
            (Zone::UTC, "2026-11-20T14:02:11.5Z", "2026-11-20T14:10:00Z", "14:02:11", "2026-11-20T14:02:11Z"),
            (Zone::UTC, "2026-11-20T14:02:11Z", "2026-11-20T14:10:00Z", "14:00:00", "2026-11-20T14:00:00Z"),
            (Zone::UTC, "2026-11-20T14:02:11Z", "2026-11-20T14:10:00Z", "15:00:00", "2026-11-20T15:00:00Z"),
            (Zone::UTC, "2026-11-20T14:02:11Z", "2026-11-20T14:10:00Z", "02:10:00", "2026-11-20T02:10:00Z"),
            (Zone::UTC, "2026-11-20T14:02:11Z", "2026-11-20T14:10:00Z", "02:05:00", "2026-11-21T02:05:00Z"),
            // Around midnight, and on several days.
            (Zone::UTC, "2026-11-20T23:50:00Z", "2026-11-20T23:59:00Z", "00:10:00", "2026-11-21T00:10:00Z"),
            (Zone::UTC, "2026-11-20T00:05:00Z", "2026-11-20T00:20:00Z", "23:50:00", "2026-11-19T23:50:00Z"),
            (Zone::UTC, "2026-11-20T08:00:00Z", "2026-11-20T22:00:00Z", "21:00:00", "2026-11-20T21:00:00Z"),
            (Zone::UTC, "2026-11-20T08:00:00Z", "2026-11-23T22:00:00Z", "07:00:00", "2026-11-21T07:00:00Z"),
            (Zone::UTC, "2026-11-20T08:00:00Z", "2026-11-23T22:00:00Z", "10s", "2026-11-20T08:00:10Z"),
            // Since the start in a recording that is long enough.
            (Zone::UTC, "2026-11-20T19:16:00Z", "2026-11-20T19:18:00Z", "19:00", "2026-11-20T19:00:00Z"),
            (Zone::UTC, "2026-11-20T00:05:00Z", "2026-11-20T00:06:00Z", "23:50", "2026-11-19T23:50:00Z"),
            (SUMMER, "2026-11-20T14:02:11Z", "2026-11-20T14:03:00Z", "15:02", "2026-11-20T14:02:00Z"),
            (Zone::UTC, "2026-11-20T19:16:00Z", "2026-11-20T19:35:00Z", "19:00", "2026-11-20T19:35:00Z"),
            (Zone::UTC, "2026-11-20T19:16:00Z", "2026-11-20T19:18:00Z", "+19:00", "2026-11-20T19:35:00Z"),
            // The length of a pipe is not known.
            (Zone::UTC, "2026-11-20T19:16:00Z", "2026-11-20T19:16:00Z", "19:00", "2026-11-20T19:00:00Z"),
            (Zone::UTC, "2026-11-20T19:16:00Z", "2026-11-20T19:16:00Z", "3:12", "2026-11-21T03:12:00Z"),
            // In zones far from UTC, and with a zone of its own.
            (Zone(|_| 50_400), "2026-11-20T14:02:11Z", "2026-11-20T14:10:00Z", "04:03:00", "2026-11-20T14:03:00Z"),
            (Zone(|_| -43_200), "2026-11-20T14:02:11Z", "2026-11-20T14:10:00Z", "02:03:00", "2026-11-20T14:03:00Z"),
            (SUMMER, "2026-11-20T14:02:11Z", "2026-11-20T14:10:00Z", "16:03:00+02:00", "2026-11-20T14:03:00Z"),
            // Across changes of the clocks: once, twice, never shown.
            (SUMMER, "2026-10-24T12:00:00Z", "2026-10-25T12:00:00Z", "15:00:00", "2026-10-24T13:00:00Z"),
            (SUMMER, "2026-10-25T12:00:00Z", "2026-10-25T12:30:00Z", "13:00:00", "2026-10-25T12:00:00Z"),
            (SUMMER, "2026-10-25T00:00:00Z", "2026-10-25T00:40:00Z", "02:30:00", "2026-10-25T00:30:00Z"),
            (SUMMER, "2026-10-25T01:00:00Z", "2026-10-25T01:40:00Z", "02:30:00", "2026-10-25T01:30:00Z"),
            (SUMMER, "2026-10-25T01:00:00Z", "2026-10-25T01:40:00Z", "2026-10-25 02:30", "2026-10-25T01:30:00Z"),
            (SUMMER, "2026-11-22T00:00:00Z", "2026-11-22T03:00:00Z", "2026-11-22 02:30", "2026-11-22T01:30:00Z"),
            (SUMMER, "2026-11-22T00:00:00Z", "2026-11-22T03:00:00Z", "2026-10-01", "2026-09-30T22:00:00Z"),
            (SUMMER, "2026-11-22T00:00:00Z", "2026-11-22T03:00:00Z", "2026-11-01", "2026-10-31T23:00:00Z"),
        ] {
            let moment = Moment::parse(typed).expect("a moment");
            assert_eq!(utc(moment.unix_ns((at(start), at(end)), zone)), utc(at(expected)), "{typed} in {start}");
        }
    }

    #[test]
    fn the_end_of_a_span_is_after_its_beginning_where_the_recording_has_such_a_time() {
        let span = |end: i128| (1_795_183_331_000_000_000, 1_795_183_331_000_000_000 + end * SECOND);
        // The recording starts at 14:02:11.
        for (from, to, end, expected) in [
            ("14:00:00", "15:00:00", 600, (-131, 3469)),
            ("14:00:00", "15:00:00", 200_000, (86_269, 89_869)),
            ("14:05:00", "14:04:00", 600, (169, 109)),
            ("15:00:00", "14:00:00", 600, (3469, -131)),
            ("22:00:00", "02:00:00", 200_000, (28_669, 43_069)),
            ("1h", "2h", 10, (3600, 7200)),
            ("14:00", "15:00", 600, (-131, 3469)),
            ("15:00", "16:00", 900, (900, 960)),
            ("0s", "13:00", 600, (0, 780)),
        ] {
            let read = |text: &str| Moment::parse(text);
            let (from_ns, to_ns) = bounds((read(from), read(to)), span(end), Zone::UTC);
            let since = |at: Option<i128>| at.map(|at| (at - span(0).0) / SECOND);
            assert_eq!((since(from_ns), since(to_ns)), (Some(expected.0), Some(expected.1)), "{from} {to}");
        }
    }

    use super::*;

    fn check_rfc3339(ns: i128, text: &str) {
        let mut out = Vec::new();
        rfc3339(ns, &mut out);
        assert_eq!(String::from_utf8(out).expect("ASCII"), text);
        let mut cached = Vec::new();
        Rfc3339::default().write(ns, &mut cached);
        assert_eq!(String::from_utf8(cached).expect("ASCII"), text);
    }

    #[test]
    fn times_and_durations_are_shown_in_the_unit_that_suits() {
        check_rfc3339(0, "1970-01-01T00:00:00.000000000Z");
        check_rfc3339(951_782_399_999_999_999, "2000-02-28T23:59:59.999999999Z");
        check_rfc3339(951_782_400_000_000_000, "2000-02-29T00:00:00.000000000Z");
        check_rfc3339(1_795_168_031_482_000_001, "2026-11-20T09:47:11.482000001Z");
        check_rfc3339(-1, "1969-12-31T23:59:59.999999999Z");
        // Durations take the unit that suits.
        for (ns, text) in [
            (999, "999 ns"),
            (1_500, "1 us"),
            (33_000_000, "33 ms"),
            (4_200_000_000, "4.2 s"),
            (200_000_000_000, "3m 20s"),
            (18_120_000_000_000, "5h 02m"),
        ] {
            let mut out = Vec::new();
            short_duration(ns, &mut out);
            assert_eq!(String::from_utf8(out).expect("ASCII"), text);
        }
        // A time of day has the offset of then.
        let clock = LocalClock::new(SUMMER);
        for (second, text) in [
            (1_792_889_999, "02:59:59.500"),
            (1_792_890_000, "02:00:00.500"),
            (1_792_889_999, "02:59:59.500"),
            (1_795_309_199, "01:59:59.500"),
            (1_795_309_200, "03:00:00.500"),
        ] {
            let (mut kept, mut alone) = (Vec::new(), Vec::new());
            clock.write(second * SECOND + SECOND / 2, &mut kept);
            clock_millis(second * SECOND + SECOND / 2, SUMMER, &mut alone);
            assert_eq!(String::from_utf8_lossy(&kept), text);
            assert_eq!(kept, alone);
        }
    }
}
