//! Finds the helpers that a program calls, from its instructions.
//!
//! After the verifier, a call of a helper is the instruction 0x85 with the source register 0 and the distance of the
//! helper's function from `__bpf_call_base`
//! ([`do_misc_fixups`](https://elixir.bootlin.com/linux/v6.12/source/kernel/bpf/verifier.c)). The kernel reports these
//! distances only to readers that may see addresses. Others get zeros.

use super::programs::{CALL, called, instructions};
use std::os::fd::AsFd as _;
use tracetui_events::bpf::{ALTERING, HelperCalls, NotScanned};
use tracetui_events::symbols::Snapshot;
use tracetui_host::program::{self, Instruction};
use tracetui_shared::id::KernelAddr;

/// The base of all distances.
pub const BASE: &str = "__bpf_call_base";

/// The helper that a program of tracetui calls, to check the addresses in kallsyms.
const KNOWN: &str = "bpf_get_current_pid_tgid";

/// Calls [`KNOWN`], helper 14, and returns.
const CALLS_KNOWN: [Instruction; 2] = [(CALL, 0, 0, 14), (0x95, 0, 0, 0)];

/// The distances of the helpers of [`ALTERING`].
pub(super) struct Helpers {
    /// The distances, each with an index, ascending. Several functions may be at one address.
    distances: Vec<(i32, usize)>,
    why: Option<NotScanned>,
}

impl Helpers {
    /// Takes the distances from the symbols, and checks them with a program of tracetui: its call must have the
    /// distance that the symbols give. `known`: see [`known_distance`].
    pub(super) fn new(symbols: Option<&Snapshot>, known: Result<i32, NotScanned>) -> Helpers {
        let found = symbols.ok_or(NotScanned::NoSymbols).and_then(|symbols| distances(symbols, known?));
        match found {
            Ok(distances) => Helpers { distances, why: None },
            Err(why) => Helpers { distances: Vec::new(), why: Some(why) },
        }
    }

    pub(super) fn at(&self, called: &Result<Vec<i32>, NotScanned>) -> HelperCalls {
        let called = match (called.as_ref(), self.why.as_ref()) {
            (Ok(called), None) => called,
            // A program that calls no helper calls none of these.
            (Ok(called), Some(_)) if called.is_empty() => called,
            (Err(why), _) | (Ok(_), Some(why)) => return HelperCalls { altering: 0, unknown: Some(*why) },
        };
        let mut calls = HelperCalls::default();
        for distance in called {
            if *distance == 0 {
                calls.unknown = Some(NotScanned::NotPermitted);
            }
            let first = self.distances.partition_point(|(at, _)| at < distance);
            let same = self.distances.iter().skip(first).take_while(|(at, _)| at == distance);
            same.for_each(|(_, index)| calls.altering |= 1 << index);
        }
        calls
    }
}

/// The distance of a known helper, as the kernel reports it for a program of tracetui that calls it.
pub(super) fn known_distance() -> Result<i32, NotScanned> {
    let ours = program::load("tt_calls", &CALLS_KNOWN).map_err(|_| NotScanned::NotPermitted)?;
    let ours = instructions(ours.as_fd()).map_err(|_| NotScanned::NotPermitted)?;
    match called(&ours).first() {
        None | Some(0) => Err(NotScanned::NotPermitted),
        Some(distance) => Ok(*distance),
    }
}

fn distances(symbols: &Snapshot, reported: i32) -> Result<Vec<(i32, usize)>, NotScanned> {
    let base = symbols.kernel_symbol(BASE).ok_or(NotScanned::NoSymbols)?;
    let distance = |addr: KernelAddr| addr.0.wrapping_sub(base.0) as i32;
    if symbols.kernel_symbol(KNOWN).map(distance) != Some(reported) {
        return Err(NotScanned::NoSymbols);
    }
    let known = ALTERING.iter().enumerate();
    let mut distances: Vec<_> =
        known.filter_map(|(index, (symbol, _))| Some((distance(symbols.kernel_symbol(symbol)?), index))).collect();
    distances.sort_unstable();
    Ok(distances)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(code: u8, registers: u8, immediate: i32) -> u64 {
        let [a, b, c, d] = immediate.to_ne_bytes();
        u64::from_ne_bytes([code, registers, 0, 0, a, b, c, d])
    }

    #[track_caller]
    fn check_scan(instructions: &[u64], altering: u32, unknown: Option<NotScanned>) {
        let helpers = Helpers { distances: vec![(-16, 3), (1024, 0), (1024, 5)], why: None };
        assert_eq!(helpers.at(&Ok(called(instructions))), HelperCalls { altering, unknown });
    }

    #[test]
    fn calls_of_helpers_are_found_and_nothing_else() {
        check_scan(&[], 0, None);
        check_scan(&[word(CALL, 0, -16), word(0x95, 0, 0)], 1 << 3, None);
        check_scan(&[word(CALL, 0, 1024)], 1 | 1 << 5, None);
        check_scan(&[word(CALL, 0, 1025)], 0, None);
        // A call of another function of the program, a call of a kernel function, and the second half of a load.
        check_scan(&[word(CALL, 0x10, 1024), word(CALL, 0x20, 1024), word(0, 0, 1024)], 0, None);
    }

    #[test]
    fn without_the_symbols_only_a_program_without_calls_is_known() {
        let helpers = Helpers { distances: Vec::new(), why: Some(NotScanned::NoSymbols) };
        assert_eq!(helpers.at(&Ok(vec![])), HelperCalls::default());
        assert_eq!(helpers.at(&Ok(vec![8])).unknown, Some(NotScanned::NoSymbols));
        assert_eq!(helpers.at(&Err(NotScanned::Withheld)).unknown, Some(NotScanned::Withheld));
    }

    #[test]
    fn a_call_without_a_distance_is_unknown() {
        check_scan(&[word(CALL, 0, 0), word(CALL, 0, -16)], 1 << 3, Some(NotScanned::NotPermitted));
    }
}
