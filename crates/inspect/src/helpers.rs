//! Finds the helpers and other functions of the kernel that a program calls, from its instructions.
//!
//! After the verifier, a call of a helper is the instruction 0x85 with the source register 0 and the distance of the
//! helper's function from `__bpf_call_base`
//! ([`do_misc_fixups`](https://elixir.bootlin.com/linux/v6.12/source/kernel/bpf/verifier.c)). The kernel reports these
//! distances only to readers that may see addresses. Others get zeros. A kfunc has the source register 2; where a distance may
//! need more than 32 bits (`bpf_jit_supports_far_kfunc_call`), it is the id of its BTF type, which is not looked up.

use super::programs::{CALL, Called, Read, called, instructions};
use foldhash::HashMap;
use std::os::fd::AsFd as _;
use tracetui_events::bpf::{HelperCalls, NotScanned};
use tracetui_events::symbols::Table;
use tracetui_host::program::{self, Instruction};
use tracetui_host::symbol_address;
use tracetui_shared::helper::{FUNCTIONS, TAIL_CALL_NUMBER, functions};
use tracetui_shared::id::KernelAddr;

pub const BASE: &str = "__bpf_call_base";

/// The helper that a program of tracetui calls, to check the addresses in kallsyms.
const KNOWN: &str = "bpf_get_current_pid_tgid";

const KFUNCS_KEPT: usize = 4096;

/// Calls [`KNOWN`], helper 14, and returns.
const CALLS_KNOWN: [Instruction; 2] = [(CALL, 0, 0, 14), (0x95, 0, 0, 0)];

pub(super) struct Helpers {
    /// The distances, each with an index, ascending. Several functions may be at one address. `None` until the symbols are read.
    distances: Option<Result<Vec<(i32, usize)>, NotScanned>>,
    /// The distance of [`KNOWN`], as the kernel reports it for a program of tracetui that calls it.
    known: Result<i32, NotScanned>,
    /// The names of the kfuncs that programs called so far; empty if unknown.
    kfuncs: HashMap<i32, String>,
}

impl Helpers {
    /// Loads programs, which find the distances without the symbols where the kernel can do that.
    pub(super) fn load() -> Helpers {
        let known = known_distance();
        let distances = symbol_address::addresses(names()).ok().map(|addresses| distances(addresses, known?));
        Helpers { distances, known, kfuncs: HashMap::default() }
    }

    pub(super) fn describe(&self, read: &mut Read) {
        let HelperCalls { helpers, unknown } = self.at(&read.called);
        (read.facts.helpers, read.facts.unknown) = (helpers, unknown.map_or(0, |why| why as u8));
        read.facts.kfuncs = self.kfuncs(&read.called);
    }

    fn at(&self, called: &Result<Called, NotScanned>) -> HelperCalls {
        let distances =
            self.distances.as_ref().map_or(Err(NotScanned::NoSymbols), |found| found.as_deref().map_err(|why| *why));
        let (called, distances) = match (called.as_ref().map(|called| &called.helpers), distances) {
            (Ok(called), Ok(distances)) => (called, distances),
            // A program that calls no helper calls none of these.
            (Ok(called), Err(_)) if called.is_empty() => return HelperCalls::default(),
            (Err(why), _) => return HelperCalls { helpers: 0, unknown: Some(*why) },
            (Ok(_), Err(why)) => return HelperCalls { helpers: 0, unknown: Some(why) },
        };
        let mut calls = HelperCalls::default();
        for distance in called {
            match *distance {
                0 => calls.unknown = Some(NotScanned::NotPermitted),
                TAIL_CALL_NUMBER => calls.unknown = calls.unknown.or(Some(NotScanned::TailCall)),
                _ => {}
            }
            let first = distances.partition_point(|(at, _)| at < distance);
            let same = distances.iter().skip(first).take_while(|(at, _)| at == distance);
            same.for_each(|(_, helper)| calls.helpers |= 1 << helper);
        }
        calls
    }

    /// Whether the symbols must be read: for all helpers, or for a kfunc that the program calls and that has no name yet.
    pub(super) fn needs_symbols(&self, called: &Result<Called, NotScanned>) -> bool {
        let is_new = |distance: &i32| *distance != 0 && !self.kfuncs.contains_key(distance);
        let has_new = called.iter().flat_map(|called| &called.kfuncs).any(is_new);
        self.distances.is_none() || self.kfuncs.len() < KFUNCS_KEPT && has_new
    }

    pub(super) fn name<'a>(
        &mut self,
        symbols: Option<&Table>,
        all: impl Iterator<Item = &'a Result<Called, NotScanned>>,
    ) {
        self.distances.get_or_insert_with(|| {
            let symbols = symbols.ok_or(NotScanned::NoSymbols)?;
            distances(symbols.addresses(names()), self.known?)
        });
        let symbols = symbols.and_then(|symbols| {
            let [base] = symbols.addresses([BASE]);
            Some((base?, symbols))
        });
        for distance in all.flatten().flat_map(|called| &called.kfuncs) {
            let name = |(base, table): &(KernelAddr, &Table)| {
                let start = KernelAddr(base.0.wrapping_add_signed((*distance).into()));
                let symbol = table.containing(start).filter(|symbol| symbol.start == start)?;
                str::from_utf8(symbol.name).ok().map(str::to_owned)
            };
            let known = self.kfuncs.len() < KFUNCS_KEPT || self.kfuncs.contains_key(distance);
            if known && *distance != 0 {
                self.kfuncs.insert(*distance, symbols.as_ref().and_then(name).unwrap_or_default());
            }
        }
    }

    /// The names of the kfuncs that a program calls, each once; empty for an unknown one.
    fn kfuncs(&self, called: &Result<Called, NotScanned>) -> Vec<String> {
        let name = |distance: &i32| self.kfuncs.get(distance).cloned().unwrap_or_default();
        let mut names: Vec<_> = called.iter().flat_map(|called| &called.kfuncs).map(name).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

fn known_distance() -> Result<i32, NotScanned> {
    let ours = program::load("tt_calls", &CALLS_KNOWN).map_err(|_| NotScanned::NotPermitted)?;
    let ours = instructions(ours.as_fd()).map_err(|_| NotScanned::NotPermitted)?;
    match called(&ours).helpers.first() {
        None | Some(0) => Err(NotScanned::NotPermitted),
        Some(distance) => Ok(*distance),
    }
}

/// The functions of the helpers, [`BASE`] and [`KNOWN`].
fn names() -> [&'static str; FUNCTIONS + 2] {
    let mut names = [BASE; FUNCTIONS + 2];
    names.iter_mut().zip(functions()).for_each(|(name, (function, _))| *name = function);
    names[FUNCTIONS + 1] = KNOWN;
    names
}

/// `addresses`: of [`names`]. A call of a program of tracetui must have the distance that they give, `reported`.
fn distances(
    [helpers @ .., base, known]: [Option<KernelAddr>; FUNCTIONS + 2],
    reported: i32,
) -> Result<Vec<(i32, usize)>, NotScanned> {
    let base = base.ok_or(NotScanned::NoSymbols)?;
    let distance = |addr: KernelAddr| addr.0.wrapping_sub(base.0) as i32;
    if known.map(distance) != Some(reported) {
        return Err(NotScanned::NoSymbols);
    }
    let helpers = helpers.into_iter().zip(functions());
    let mut distances: Vec<_> = helpers.filter_map(|(addr, (_, helper))| Some((distance(addr?), helper))).collect();
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

    fn with(distances: Result<Vec<(i32, usize)>, NotScanned>) -> Helpers {
        Helpers { distances: Some(distances), known: Ok(0), kfuncs: HashMap::default() }
    }

    #[track_caller]
    fn check_scan(instructions: &[u64], helpers: u64, unknown: Option<NotScanned>) {
        let known = with(Ok(vec![(-16, 3), (1024, 0), (1024, 45)]));
        assert_eq!(known.at(&Ok(called(instructions))), HelperCalls { helpers, unknown });
    }

    #[test]
    fn calls_of_helpers_and_kfuncs_are_found() {
        check_scan(&[], 0, None);
        check_scan(&[word(CALL, 0, -16), word(0x95, 0, 0)], 1 << 3, None);
        check_scan(&[word(CALL, 0, 1024)], 1 | 1 << 45, None);
        check_scan(&[word(CALL, 0, 1025)], 0, None);
        // A call of another function of the program, a call of a kernel function, and the second half of a load.
        check_scan(&[word(CALL, 0x10, 1024), word(CALL, 0x20, 1024), word(0, 0, 1024)], 0, None);
        // A call without a distance is unknown.
        check_scan(&[word(CALL, 0, 0), word(CALL, 0, -16)], 1 << 3, Some(NotScanned::NotPermitted));
        // After a tail call the rest is unknown.
        check_scan(&[word(CALL, 0, 12), word(CALL, 0, -16)], 1 << 3, Some(NotScanned::TailCall));
        check_scan(&[word(CALL, 0, 12), word(CALL, 0, 0)], 0, Some(NotScanned::NotPermitted));
        // Without the symbols, only a program without calls is known.
        let mut helpers = with(Err(NotScanned::NoSymbols));
        let calls = |distance| called(&[word(CALL, 0, distance)]);
        assert_eq!(helpers.at(&Ok(called(&[]))), HelperCalls::default());
        assert_eq!(helpers.at(&Ok(calls(8))).unknown, Some(NotScanned::NoSymbols));
        assert_eq!(helpers.at(&Err(NotScanned::Withheld)).unknown, Some(NotScanned::Withheld));
        // Kernel functions are named where they are known.
        helpers.distances = Some(Ok(Vec::new()));
        let calls = Ok(called(&[word(CALL, 0x20, 64), word(CALL, 0x20, 96), word(CALL, 0x20, 64), word(CALL, 0, 80)]));
        assert!(helpers.needs_symbols(&calls));
        helpers.name(None, [&calls].into_iter());
        assert_eq!((helpers.needs_symbols(&calls), helpers.kfuncs(&calls)), (false, vec![String::new()]));
        helpers.kfuncs.insert(96, "bpf_dynptr_from_skb".to_owned());
        assert_eq!(helpers.kfuncs(&calls), ["", "bpf_dynptr_from_skb"]);
        assert_eq!(helpers.at(&calls), HelperCalls::default());
    }
}
