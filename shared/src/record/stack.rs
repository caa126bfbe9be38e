//! The kernel stack of an event, after its record ([`crate::header::flag::STACK`]).
//!
//! It consists of return addresses of 8 bytes, the innermost first, and of their number in 4 bytes. The number is at the end of the
//! payload, from which the stack is found. It is 0 if the kernel could not walk the stack.

/// Limit of the addresses that are shown.
pub const MOST: usize = 40;
/// Bytes of the addresses that a probe asks for: one more than is shown, to distinguish a stack that fits from one that does not.
pub const ASKED: u64 = (MOST as u64 + 1) * 8;
/// Bytes of the longest stack with its number of addresses.
pub const ROOM: usize = ASKED as usize + COUNT;
/// Bytes of the number of addresses.
pub const COUNT: usize = 4;

/// Splits a payload into the record and the addresses. `None` if it is shorter than it says.
pub fn split(payload: &[u8]) -> Option<(&[u8], &[u8])> {
    let (rest, count) = payload.split_last_chunk::<COUNT>()?;
    let bytes = usize::try_from(u32::from_le_bytes(*count)).ok()?.checked_mul(8)?;
    rest.split_at_checked(rest.len().checked_sub(bytes)?)
}
