//! Words as differences to the words that are expected.

/// How a word is stored. The difference of a part must not change the bytes of other parts, which are columns of their own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Differs {
    /// As the difference to the expected one.
    Number,
    /// As that of each half.
    Halves,
    /// As the bits that differ.
    Bits,
}

impl Differs {
    pub(super) fn put(self, word: u64, expected: u64) -> u64 {
        match self {
            Differs::Number => folded(word.wrapping_sub(expected)),
            Differs::Halves => {
                let half = |shift: u32| {
                    let difference = ((word >> shift) as i32).wrapping_sub((expected >> shift) as i32);
                    u64::from((difference << 1 ^ difference >> 31).cast_unsigned()) << shift
                };
                half(0) | half(32)
            }
            Differs::Bits => word ^ expected,
        }
    }

    pub(super) fn take(self, stored: u64, expected: u64) -> u64 {
        match self {
            Differs::Number => expected.wrapping_add(unfolded(stored)),
            Differs::Halves => {
                let half = |shift: u32| {
                    let stored = (stored >> shift) as u32;
                    let difference = stored >> 1 ^ (stored & 1).wrapping_neg();
                    u64::from(((expected >> shift) as u32).wrapping_add(difference)) << shift
                };
                half(0) | half(32)
            }
            Differs::Bits => stored ^ expected,
        }
    }
}

/// A difference, so that small negative ones are small numbers too.
fn folded(difference: u64) -> u64 {
    difference << 1 ^ ((difference as i64) >> 63) as u64
}

fn unfolded(word: u64) -> u64 {
    word >> 1 ^ (word & 1).wrapping_neg()
}
