//! Times and durations as text.

use std::time::Duration;

/// Nanoseconds in a second.
const SECOND: i128 = 1_000_000_000;

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

/// Appends `HH:MM:SS.mmm`, UTC plus `zone_s` seconds.
pub fn clock_millis(unix_ns: i128, zone_s: i32, out: &mut Vec<u8>) {
    let (second, ns) = split(unix_ns);
    clock((second + i64::from(zone_s)).rem_euclid(86_400) as u32, out);
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
    /// A time of day, nanoseconds since midnight.
    OfDay(u64),
    /// Nanoseconds since 1970-01-01 UTC.
    At(i128),
}

impl Moment {
    /// Reads `1h 5m`, `90s`, `3:12` and `0.05` (since the start; a number alone is in seconds), `14:02:11.482` (a time of
    /// day), or a date and time (RFC 3339; UTC).
    pub fn parse(text: &str) -> Option<Moment> {
        let text = text.trim();
        let since = text.strip_prefix('+').unwrap_or(text);
        if let Some(since) = duration(since) {
            return u64::try_from(since.as_nanos()).ok().map(Moment::Since);
        }
        if let Ok(time) = humantime::parse_rfc3339_weak(text) {
            let since = time.duration_since(std::time::UNIX_EPOCH).ok()?;
            return i128::try_from(since.as_nanos()).ok().map(Moment::At);
        }
        let below = |text: &str, limit: u64| seconds_of(text).filter(|ns| *ns < limit * 1_000_000_000);
        let parts: Vec<&str> = since.split(':').collect();
        let (whole, of_day) = match parts.as_slice() {
            [minutes, seconds] => ([seconds_of(minutes), below(seconds, 60)], false),
            [hours, minutes, seconds] => {
                let minutes = seconds_of(hours)?.checked_mul(60)?.checked_add(below(minutes, 60)?)?;
                ([Some(minutes), below(seconds, 60)], true)
            }
            _ => return None,
        };
        let [Some(minutes), Some(seconds)] = whole else { return None };
        let (minutes, seconds) =
            if of_day || minutes.is_multiple_of(1_000_000_000) { (minutes, seconds) } else { return None };
        let ns = minutes.checked_mul(60)?.checked_add(seconds)?;
        match of_day {
            false => Some(Moment::Since(ns)),
            true if ns < 86_400_000_000_000 => Some(Moment::OfDay(ns)),
            true => None,
        }
    }

    /// The time of the wall clock, nanoseconds since 1970-01-01 UTC, in a trace that started at `start`. A time of day is the
    /// first one that is not before the start, UTC plus `zone_s` seconds.
    pub fn unix_ns(self, start: i128, zone_s: i32) -> i128 {
        const DAY: i128 = 86_400 * SECOND;
        match self {
            Moment::Since(ns) => start + i128::from(ns),
            Moment::At(ns) => ns,
            Moment::OfDay(ns) => {
                let local = start + i128::from(zone_s) * SECOND;
                let of_day = local.rem_euclid(DAY);
                // The start is shown without digits below a millisecond.
                let early = i128::from(ns) + SECOND < of_day;
                start - of_day + i128::from(ns) + if early { DAY } else { 0 }
            }
        }
    }
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
        check("3:12", Some(Moment::Since(192 * s)));
        check("0:00.5", Some(Moment::Since(s / 2)));
        check("0.05", Some(Moment::Since(s / 20)));
        check("2", Some(Moment::Since(2 * s)));
        check("+12.5", Some(Moment::Since(12 * s + s / 2)));
        check("14:02:11.482", Some(Moment::OfDay(50_531_482_000_000)));
        check("2026-11-20 14:02:11", Some(Moment::At(1_795_183_331_000_000_000)));
        check("2026-11-20T14:02:11.5Z", Some(Moment::At(1_795_183_331_500_000_000)));
        for wrong in [
            "",
            "x",
            "14 02",
            ".5",
            "1.",
            "1.5:00",
            "99:99",
            "25:60",
            "13:60:00",
            "13:00:60",
            "24:00:00",
            "1:2:3:4",
            "-1:00",
            "14:02:",
            "99999999999999999999:0",
        ] {
            check(wrong, None);
        }
    }

    #[test]
    fn a_time_of_day_is_the_first_one_after_the_start() {
        let start = 1_795_183_331_000_000_000; // 14:02:11 UTC
        let check = |text: &str, zone_s, offset_s: i128| {
            let moment = Moment::parse(text).expect("a moment");
            assert_eq!(moment.unix_ns(start, zone_s) - start, offset_s * SECOND, "{text}");
        };
        check("14:02:11", 0, 0);
        check("14:03:11", 0, 60);
        check("15:02:12", 3600, 1);
        check("00:00:00", 0, 86_400 - 50_531);
        check("10s", 7200, 10);
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
    fn times_are_rfc_3339_in_utc() {
        check_rfc3339(0, "1970-01-01T00:00:00.000000000Z");
        check_rfc3339(951_782_399_999_999_999, "2000-02-28T23:59:59.999999999Z");
        check_rfc3339(951_782_400_000_000_000, "2000-02-29T00:00:00.000000000Z");
        check_rfc3339(1_795_168_031_482_000_001, "2026-11-20T09:47:11.482000001Z");
        check_rfc3339(-1, "1969-12-31T23:59:59.999999999Z");
    }

    #[test]
    fn durations_take_the_unit_that_suits() {
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
    }
}
