//! The clocks: CLOCK_BOOTTIME, and its offsets to the wall clock and to local time.

use rustix::time::{ClockId, clock_gettime};
use std::ffi::OsString;
use std::path::Path;
use std::sync::{Once, OnceLock};
use std::time::Duration;
use tracetui_events::frame::host::Clock;
use tracetui_events::text::time::{Zone, civil_seconds};
use tracetui_shared::time::BootNanos;

/// The number of samples. Only the tightest one counts. One would suffice if the thread were never preempted during it.
const SAMPLES: usize = 8;

/// CLOCK_BOOTTIME, as the probes read it: tracetui traces only in the initial time namespace.
pub fn now_boot() -> BootNanos {
    BootNanos(boot_ns().max(0) as u64)
}

pub fn now_thread() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    Duration::new(u64::try_from(now.tv_sec).unwrap_or_default(), u32::try_from(now.tv_nsec).unwrap_or_default())
}

/// The current offset between the clocks. Samples CLOCK_REALTIME several times, each time between two reads of
/// CLOCK_BOOTTIME. The sample with the closest pair of reads counts. The error is at most half their distance (tens of
/// nanoseconds).
pub fn sample() -> Clock {
    let (_, offset) = (0..SAMPLES)
        .map(|_| {
            let before = boot_ns();
            let real = read_clock(ClockId::Realtime);
            let width = boot_ns() - before;
            (width, real - (before + width / 2))
        })
        .min_by_key(|(width, _)| *width)
        .unwrap_or_default();
    Clock { offset_ns: offset }
}

/// TZ before [`complete_zone`], if that changed it.
pub static GIVEN_ZONE: OnceLock<OsString> = OnceLock::new();

/// Completes a TZ that names daylight saving time without its rules, such as `CET-1CEST`. musl's C library knows no rules for it.
///
/// # Safety
/// The process must have one thread.
pub unsafe fn complete_zone() {
    let given = std::env::var("TZ").unwrap_or_default();
    let is_file = |name: &str| Path::new("/usr/share/zoneinfo").join(name).is_file();
    if let Some(completed) = completed(&given, is_file) {
        let _ = GIVEN_ZONE.set(given.into());
        // SAFETY: no other thread reads the environment.
        unsafe { std::env::set_var("TZ", completed) };
    }
}

/// As glibc reads a zone without rules: a file of this name if there is one, such as `EST5EDT`, else with the rules of `TZDEFRULES`.
fn completed(zone: &str, is_file: impl Fn(&str) -> bool) -> Option<String> {
    let name = |text: &'_ str| -> Option<usize> {
        match text.strip_prefix('<') {
            Some(quoted) => quoted.find('>').map(|end| end + 2),
            None => Some(text.bytes().take_while(u8::is_ascii_alphabetic).count()).filter(|length| *length >= 3),
        }
    };
    let offset = |text: &str| text.bytes().take_while(|byte| b"+-:0123456789".contains(byte)).count();
    let standard = zone.get(name(zone)?..)?;
    let hours = offset(standard);
    let daylight = standard.get(hours..).filter(|_| hours > 0)?;
    let rest = daylight.get(name(daylight)?..)?;
    match rest.get(offset(rest)..)? {
        "" if is_file(zone) => Some(format!(":{zone}")),
        "" => Some(format!("{zone},M3.2.0,M11.1.0")),
        _ => None,
    }
}

/// The local time zone, by TZ or /etc/localtime as they are at the first call. Later changes of the files do not count: a confined
/// process cannot read them.
pub fn zone() -> Zone {
    unsafe extern "C" {
        fn tzset();
    }
    static READ: Once = Once::new();
    // SAFETY: tzset(3) has no arguments. It reads the environment, which no thread changes.
    READ.call_once(|| unsafe { tzset() });
    Zone(local_offset_s)
}

/// The number of seconds that local time is ahead of UTC at a time (seconds since 1970). 0 if the C library cannot convert the time.
fn local_offset_s(unix_s: i64) -> i32 {
    // SAFETY: `tm` consists of integers and a pointer, for which all zeros is a valid value.
    let mut local: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers refer to live variables.
    if unsafe { libc::localtime_r(&unix_s, &mut local) }.is_null() {
        return 0;
    }
    // Not tm_gmtoff, which does not have the leap seconds of the zones in zoneinfo/right.
    let date = (i64::from(local.tm_year) + 1900, local.tm_mon as u32 + 1, local.tm_mday as u32);
    let time = (i64::from(local.tm_hour), i64::from(local.tm_min), i64::from(local.tm_sec));
    i32::try_from(civil_seconds(date, time) - unix_s).unwrap_or(0)
}

pub fn now_real_ns() -> i64 {
    read_clock(ClockId::Realtime)
}

fn boot_ns() -> i64 {
    read_clock(ClockId::Boottime)
}

fn read_clock(clock: ClockId) -> i64 {
    let time = clock_gettime(clock);
    time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{SystemTime, UNIX_EPOCH};

    #[test]
    fn a_zone_without_rules_has_those_of_glibc() {
        let of = |zone| completed(zone, |name| name == "EST5EDT");
        for (zone, rules) in [
            ("CET-1CEST", ",M3.2.0,M11.1.0"),
            ("WIN0SUM-1", ",M3.2.0,M11.1.0"),
            ("<+0330>-3:30<+0430>", ",M3.2.0,M11.1.0"),
        ] {
            assert_eq!(of(zone), Some(format!("{zone}{rules}")));
        }
        assert_eq!(of("EST5EDT").as_deref(), Some(":EST5EDT"));
        for zone in ["", "UTC", "CET-1", "Europe/Berlin", ":EST5EDT", "WIN0SUM-1,J332/19:17,J365/23", "/etc/localtime"]
        {
            assert_eq!(of(zone), None, "{zone}");
        }
    }

    #[test]
    fn the_offset_makes_the_wall_clock() {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos() as i64;
        let ours = now_boot().0 as i64 + sample().offset_ns;
        assert!((ours - wall).abs() < 1_000_000_000, "{ours} is not {wall}");
        let differ = (sample().offset_ns - sample().offset_ns).abs();
        assert!(differ < 50_000_000, "{differ} ns");
        assert!(local_offset_s(1_700_000_000).abs() < 86_400);
    }
}
