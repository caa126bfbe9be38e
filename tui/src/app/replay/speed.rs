//! Playback speed.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;
use std::time::Duration;

/// The speeds that the keys select.
const SPEEDS: [Speed; 9] = [
    Speed(1, 8),
    Speed(1, 4),
    Speed(1, 2),
    Speed(1, 1),
    Speed(2, 1),
    Speed(4, 1),
    Speed(16, 1),
    Speed(64, 1),
    Speed(256, 1),
];

/// A playback speed: a numerator and a denominator.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Speed(u32, u32);

impl Speed {
    /// The next slower or faster speed that the keys select.
    pub(super) fn next(self, faster: bool) -> Speed {
        let Speed(by, of) = self;
        let order = |other: &Speed| (u64::from(other.0) * u64::from(of)).cmp(&(u64::from(by) * u64::from(other.1)));
        let next = match faster {
            true => SPEEDS.iter().find(|speed| order(speed).is_gt()),
            false => SPEEDS.iter().rfind(|speed| order(speed).is_lt()),
        };
        next.copied().unwrap_or(self)
    }

    /// The recording time that passes during a real time, in nanoseconds.
    pub(super) fn passes(self, time: Duration) -> u64 {
        let Speed(by, of) = self;
        let ns = time.as_nanos().min(u128::from(u64::MAX)) as u64;
        ns.saturating_mul(by.into()) / u64::from(of)
    }
}

impl Default for Speed {
    fn default() -> Speed {
        Speed(1, 1)
    }
}

impl Display for Speed {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Speed(by, 1) => write!(f, "{by}x"),
            Speed(by, of) => write!(f, "{by}/{of}x"),
        }
    }
}

impl FromStr for Speed {
    type Err = String;

    /// Parses `2x` or `1/4x`, with or without the `x`.
    fn from_str(text: &str) -> Result<Speed, String> {
        let (by, of) =
            text.strip_suffix('x').unwrap_or(text).split_once('/').unwrap_or((text.trim_end_matches('x'), "1"));
        match (by.parse(), of.parse()) {
            (Ok(by @ 1..=1_000_000), Ok(of @ 1..=1_000)) => Ok(Speed(by, of)),
            _ => Err("write a speed such as 2x, 16x or 1/4x".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speeds_are_read_and_written() {
        for (text, speed) in [("1x", Speed(1, 1)), ("16", Speed(16, 1)), ("1/4x", Speed(1, 4))] {
            assert_eq!(text.parse(), Ok(speed));
        }
        for wrong in ["", "x", "0", "-1", "1/0", "fast", "1e9"] {
            assert!(wrong.parse::<Speed>().is_err(), "{wrong}");
        }
        assert_eq!((Speed(16, 1).to_string(), Speed(1, 4).to_string()), ("16x".into(), "1/4x".into()));
    }
}
