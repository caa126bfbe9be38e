//! Sizes: bytes, or a number of KiB, MiB or GiB (also K, M and G).

use std::fmt;
use std::str::FromStr;
use tracetui_events::limits;

const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct ByteSize(pub u64);

/// The error for a text that is not a valid size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SizeError {
    #[error("expected a whole number of bytes, KiB, MiB or GiB, such as 16MiB")]
    NoNumber,
    /// The number of bytes does not fit into 64 bits.
    #[error("too large: a size must be less than 2^64 bytes")]
    TooLarge,
    #[error("must be greater than 0")]
    Zero,
    /// The size is larger than the maximum of the ring.
    #[error("the maximum ring size is {}", ByteSize(limits::RING_MAX))]
    Ring,
}

impl FromStr for ByteSize {
    type Err = SizeError;
    fn from_str(text: &str) -> Result<ByteSize, SizeError> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        if number.is_empty() {
            return Err(SizeError::NoNumber);
        }
        let number: u64 = number.parse().map_err(|_| SizeError::TooLarge)?;
        let is_it = |name: &str| [name, &name[..1]].iter().any(|name| name.eq_ignore_ascii_case(unit.trim()));
        let unit = match unit {
            "" => 1,
            _ => UNITS.iter().find(|(name, _)| is_it(name)).ok_or(SizeError::NoNumber)?.1,
        };
        let bytes = number.checked_mul(unit).ok_or(SizeError::TooLarge)?;
        if bytes == 0 { Err(SizeError::Zero) } else { Ok(ByteSize(bytes)) }
    }
}

impl fmt::Display for ByteSize {
    /// Uses the largest unit without a fraction, as in `16 MiB`. The result can be parsed again.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match UNITS.iter().find(|(_, bytes)| self.0 >= *bytes && self.0.is_multiple_of(*bytes)) {
            Some((unit, bytes)) => write!(f, "{} {unit}", self.0 / bytes),
            None => write!(f, "{}", self.0),
        }
    }
}

/// The size of the ring as given.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct RingSize(ByteSize);

impl RingSize {
    /// Bytes, rounded for the kernel: a power of two within [`limits::RING_MIN`] and [`limits::RING_MAX`].
    pub fn bytes(self) -> u64 {
        self.0.0.max(limits::RING_MIN).next_power_of_two()
    }

    /// The note for stderr if the size was rounded.
    pub fn note(self) -> Option<String> {
        let (asked, used) = (self.0, self.bytes());
        let why = if asked.0 < limits::RING_MIN { "minimum size" } else { "power of two" };
        (asked.0 != used).then(|| format!("ring size {asked} rounded up to {} ({why})", ByteSize(used)))
    }
}

impl FromStr for RingSize {
    type Err = SizeError;
    fn from_str(text: &str) -> Result<RingSize, SizeError> {
        let asked: ByteSize = text.parse()?;
        if asked.0 > limits::RING_MAX {
            return Err(SizeError::Ring);
        }
        Ok(RingSize(asked))
    }
}

/// Parses the number of rings: a power of two, at most [`limits::RINGS`].
pub(super) fn ring_count(text: &str) -> Result<u32, String> {
    let count = text.parse().ok().filter(|count: &u32| count.is_power_of_two() && *count as usize <= limits::RINGS);
    count.ok_or_else(|| format!("expected a power of two, at most {}", limits::RINGS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check_size(text: &str, bytes: u64) {
        assert_eq!(text.parse(), Ok(ByteSize(bytes)));
    }

    #[track_caller]
    fn check_error(text: &str, message: &str) {
        assert_eq!(text.parse::<ByteSize>().expect_err("no size").to_string(), message);
    }

    #[test]
    fn sizes_and_rings_are_bytes_or_have_a_unit() {
        check_size("1", 1);
        check_size("65536", 65536);
        check_size("64KiB", 65536);
        check_size("16MiB", 16 << 20);
        check_size("16 mib", 16 << 20);
        check_size("2GiB", 2 << 30);
        check_size("64K", 65536);
        check_size("16m", 16 << 20);
        check_size("2 G", 2 << 30);
        // What is no size says why.
        for text in ["", "MiB", "-1", "1.5GiB", "16x", "16MB", "4gb", "lots", "１６"] {
            check_error(text, "expected a whole number of bytes, KiB, MiB or GiB, such as 16MiB");
        }
        check_error("0", "must be greater than 0");
        check_error("0MiB", "must be greater than 0");
        check_error("99999999999999999999", "too large: a size must be less than 2^64 bytes");
        check_error("18446744073709551615GiB", "too large: a size must be less than 2^64 bytes");
        // A ring is rounded up and their number is a power of two.
        check_ring("16MiB", 16 << 20, None);
        check_ring("10MiB", 16 << 20, Some("ring size 10 MiB rounded up to 16 MiB (power of two)"));
        check_ring("65537", 128 << 10, Some("ring size 65537 rounded up to 128 KiB (power of two)"));
        check_ring("4096", 64 << 10, Some("ring size 4 KiB rounded up to 64 KiB (minimum size)"));
        check_ring("1GiB", 1 << 30, None);
        assert_eq!("2GiB".parse::<RingSize>(), Err(SizeError::Ring));
        assert_eq!(SizeError::Ring.to_string(), "the maximum ring size is 1 GiB");
        for count in [1, 2, 64] {
            assert_eq!(ring_count(&count.to_string()), Ok(count));
        }
        for text in ["0", "3", "128", "-1", "", "all"] {
            assert_eq!(ring_count(text).expect_err(text), "expected a power of two, at most 64");
        }
    }

    #[track_caller]
    fn check_ring(text: &str, bytes: u64, note: Option<&str>) {
        let ring: RingSize = text.parse().expect("a size");
        assert_eq!((ring.bytes(), ring.note().as_deref()), (bytes, note));
    }

    proptest! {
        #[test]
        fn what_is_shown_can_be_typed(bytes in 1u64..) {
            prop_assert_eq!(ByteSize(bytes).to_string().parse(), Ok(ByteSize(bytes)));
        }

        #[test]
        fn any_text_is_a_size_or_an_error(text in ".*") {
            let _ = text.parse::<RingSize>();
        }
    }
}
