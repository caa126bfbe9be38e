//! memcpy(3), memmove(3) and memcmp(3) of the static x86-64 binary. Those of musl start `rep movsq` for each copy and compare one byte
//! at a time, which is a third of the time of a command that reads a recording. Most copies here are of less than 128 bytes.

use core::arch::asm;
use core::arch::x86_64::{__m128i, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_movemask_epi8, _mm_storeu_si128};
use core::ffi::c_int;

/// The longest copy that is loaded whole before it is stored, so that it does not matter how the two ranges overlap.
const SHORT: usize = 128;

const STEP: usize = size_of::<__m128i>();

/// Loads and stores the first and the last `T` of `count` bytes, which is the whole if it has at most two.
///
/// # Safety
///
/// `from` and `to` must have `count` bytes, and `count` at least the size of a `T`.
#[inline(always)]
unsafe fn ends<T>(to: *mut u8, from: *const u8, count: usize) {
    let last = count - size_of::<T>();
    // SAFETY: both lie within the `count` bytes. Unaligned accesses of plain data.
    unsafe {
        let (a, b) = (from.cast::<T>().read_unaligned(), from.add(last).cast::<T>().read_unaligned());
        to.cast::<T>().write_unaligned(a);
        to.add(last).cast::<T>().write_unaligned(b);
    }
}

/// Copies at most [`SHORT`] bytes.
///
/// # Safety
///
/// As memmove(3).
#[inline(always)]
unsafe fn short(to: *mut u8, from: *const u8, count: usize) {
    // SAFETY: each arm has as many bytes as its type needs.
    unsafe {
        match count {
            0 => {}
            1 => *to = *from,
            2..=3 => ends::<u16>(to, from, count),
            4..=7 => ends::<u32>(to, from, count),
            8..=15 => ends::<u64>(to, from, count),
            16..=31 => ends::<__m128i>(to, from, count),
            32..=63 => ends::<[__m128i; 2]>(to, from, count),
            _ => ends::<[__m128i; 4]>(to, from, count),
        }
    }
}

/// memcpy(3).
///
/// # Safety
///
/// As in C.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
    // SAFETY: the caller's ranges. The direction flag is clear by the calling convention.
    unsafe {
        if count <= SHORT {
            short(to, from, count);
        } else {
            asm!("rep movsb", inout("rcx") count => _, inout("rdi") to => _, inout("rsi") from => _, options(nostack, preserves_flags));
        }
    }
    to
}

/// memmove(3).
///
/// # Safety
///
/// As in C.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, count: usize) -> *mut u8 {
    // SAFETY: the caller's ranges. Backwards, each step is stored where only steps that are already copied were.
    unsafe {
        if count <= SHORT || to.addr().wrapping_sub(from.addr()) >= count {
            return memcpy(to, from, count);
        }
        let mut left = count;
        while left > SHORT {
            left -= STEP;
            let step = _mm_loadu_si128(from.add(left).cast());
            _mm_storeu_si128(to.add(left).cast(), step);
            // Keeps the compiler from making this loop a call of memmove.
            asm!("", options(nostack, preserves_flags));
        }
        short(to, from, left);
    }
    to
}

/// memcmp(3).
///
/// # Safety
///
/// As in C.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, count: usize) -> c_int {
    // SAFETY: every access lies within the `count` bytes of the caller.
    unsafe {
        let mut at = 0;
        while at + STEP <= count {
            let equal = _mm_cmpeq_epi8(_mm_loadu_si128(a.add(at).cast()), _mm_loadu_si128(b.add(at).cast()));
            let differs = !_mm_movemask_epi8(equal) & 0xffff;
            if differs != 0 {
                at += differs.trailing_zeros() as usize;
                return c_int::from(*a.add(at)) - c_int::from(*b.add(at));
            }
            at += STEP;
        }
        if at + 8 <= count {
            let [x, y] = [a, b].map(|from| u64::from_be_bytes(from.add(at).cast::<[u8; 8]>().read_unaligned()));
            if x != y {
                return if x < y { -1 } else { 1 };
            }
            at += 8;
        }
        while at < count {
            let (x, y) = (*a.add(at), *b.add(at));
            if x != y {
                return c_int::from(x) - c_int::from(y);
            }
            at += 1;
        }
    }
    0
}

/// bcmp(3).
///
/// # Safety
///
/// As in C.
#[cfg_attr(not(test), unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, count: usize) -> c_int {
    // SAFETY: the caller's ranges.
    unsafe { memcmp(a, b, count) }
}

#[cfg(test)]
mod tests {
    #[test]
    fn copies_and_comparisons_are_those_of_slices() {
        let filled: Vec<u8> = (0..1024u32).map(|at| (at * 7 + at / 256) as u8).collect();
        for count in 0..300 {
            for to in (360..680).chain([0, 1]) {
                let from = 520;
                let (mut ours, mut expected) = (filled.clone(), filled.clone());
                expected.copy_within(from..from + count, to);
                let base = ours.as_mut_ptr();
                // SAFETY: both ranges lie in the 1024 bytes.
                unsafe { super::memmove(base.add(to), base.add(from), count) };
                assert!(ours == expected, "{count} bytes from {from} to {to}");
                let mut apart = vec![0; count];
                // SAFETY: two vectors of at least `count` bytes.
                unsafe { super::memcpy(apart.as_mut_ptr(), filled[from..].as_ptr(), count) };
                assert_eq!(apart, filled[from..from + count]);
            }
        }
        for count in 0..100 {
            for at in 0..=count {
                for other in [0x00, 0x7f, 0x80, 0xff] {
                    let a = vec![0x7e; count];
                    let mut b = a.clone();
                    if let Some(byte) = b.get_mut(at) {
                        *byte = other;
                    }
                    // SAFETY: two vectors of `count` bytes.
                    let (order, equal) = unsafe {
                        (
                            super::memcmp(a.as_ptr(), b.as_ptr(), count).cmp(&0),
                            super::bcmp(a.as_ptr(), b.as_ptr(), count) == 0,
                        )
                    };
                    assert_eq!((order, equal), (a.cmp(&b), a == b), "{count} bytes, {other} at {at}");
                }
            }
        }
    }
}
