//! Removes the instructions of a program that are never executed, before the program is loaded.
//!
//! The programs contain code for several architectures and kernels. Constants that user space wrote decide which of it
//! is dead. The verifier removes dead code too, but one piece at a time, and adjusts all jumps of the program for each
//! piece ([`opt_remove_dead_code`](https://elixir.bootlin.com/linux/v6.12/source/kernel/bpf/verifier.c)).

use aya_obj::generated::{bpf_func_info, bpf_insn};
use std::ops::RangeInclusive;

pub(super) struct Reached {
    /// The instructions of the program and of the functions that it calls.
    pub(super) code: Vec<bpf_insn>,
    pub(super) functions: Vec<bpf_func_info>,
}

/// Removes the instructions that are never executed, because they follow a branch whose outcome is constant. Also
/// removes those that only compute values that are never read, like the operands of such a branch. The rest behaves the
/// same. Returns `None` if the program contains an unexpected instruction.
pub(super) fn reached(code: &[bpf_insn], functions: &[bpf_func_info]) -> Option<Reached> {
    let mut walk = Walk::new(code)?;
    walk.enter(0, State::UNKNOWN)?;
    while let Some((at, state)) = walk.pending.pop() {
        walk.follow(at, state)?;
    }
    rewrite(code, functions, &walk.seen)
}

// The fields of an instruction's code (include/uapi/linux/bpf_common.h, include/uapi/linux/bpf.h).
const CLASS: u8 = 0x07;
const LD: u8 = 0x00;
const LDX: u8 = 0x01;
const ST: u8 = 0x02;
const STX: u8 = 0x03;
const ALU: u8 = 0x04;
const JMP: u8 = 0x05;
const JMP32: u8 = 0x06;
const OPERATION: u8 = 0xf0;
const MOVE: u8 = 0xb0;
const X: u8 = 0x08;
/// Loads an immediate of 64 bits. The instruction has 16 bytes.
const LOAD_WIDE: u8 = 0x18;
const MODE: u8 = 0xe0;
const ATOMIC: u8 = 0xc0;
const JA: u8 = 0x05;
const CALL: u8 = 0x85;
const EXIT: u8 = 0x95;
const MAY_GOTO: u8 = 0xe5;
/// The source register of a call tells the kind of function: a helper, a function of the program, a function of the
/// kernel.
const TO_HELPER: u8 = 0;
const TO_FUNCTION: u8 = 1;
const TO_KERNEL: u8 = 2;
/// The helpers `bpf_probe_read_*`, which have three arguments (include/uapi/linux/bpf.h).
const READS: RangeInclusive<i32> = 112..=115;
/// The source registers of [`LOAD_WIDE`]: a number, the descriptor of a map, the descriptor of a map for its value.
const NUMBER: u8 = 0;
const MAP: u8 = 1;
const MAP_VALUE: u8 = 2;

/// Findings about an instruction, as bits: it is executed; its branch may be taken; its branch may not be taken.
const EXECUTED: u8 = 1;
const TAKEN: u8 = 2;
const NOT_TAKEN: u8 = 4;

const REGISTERS: usize = 11;

#[derive(Clone, Copy, PartialEq, Eq)]
struct State([Option<u64>; REGISTERS]);

impl State {
    const UNKNOWN: State = State([None; REGISTERS]);

    /// The values that are the same in both states.
    fn join(&self, other: &State) -> State {
        let mut both = *self;
        both.0.iter_mut().zip(other.0).filter(|(one, other)| **one != *other).for_each(|(one, _)| *one = None);
        both
    }

    fn get(&self, register: u8) -> Option<Option<u64>> {
        self.0.get(usize::from(register)).copied()
    }

    fn set(&mut self, register: u8, value: Option<u64>) -> Option<()> {
        *self.0.get_mut(usize::from(register))? = value;
        Some(())
    }
}

/// A walk through all instructions that may be executed.
struct Walk<'a> {
    code: &'a [bpf_insn],
    seen: Vec<u8>,
    /// For each jump target, the index of its state plus one.
    joins: Vec<u32>,
    states: Vec<Option<State>>,
    pending: Vec<(usize, State)>,
}

impl<'a> Walk<'a> {
    fn new(code: &'a [bpf_insn]) -> Option<Walk<'a>> {
        let mut walk = Walk {
            code,
            seen: vec![0; code.len()],
            joins: vec![0; code.len()],
            states: Vec::new(),
            pending: Vec::new(),
        };
        walk.is_joined(0)?;
        let mut at = 0;
        while at < code.len() {
            if let Some(target) = target(code, at)? {
                walk.is_joined(target)?;
            }
            at += size(&code[at]);
        }
        Some(walk)
    }

    fn is_joined(&mut self, at: usize) -> Option<()> {
        let join = self.joins.get_mut(at)?;
        if *join == 0 {
            self.states.push(None);
            *join = u32::try_from(self.states.len()).ok()?;
        }
        Some(())
    }

    /// Notes that execution reaches a jump target in this state.
    fn enter(&mut self, at: usize, state: State) -> Option<()> {
        let known = self.states.get_mut((*self.joins.get(at)? as usize).checked_sub(1)?)?;
        let joined = known.map_or(state, |known| known.join(&state));
        if *known != Some(joined) {
            *known = Some(joined);
            self.pending.push((at, joined));
        }
        Some(())
    }

    /// Walks from an instruction up to the next jump target.
    fn follow(&mut self, mut at: usize, mut state: State) -> Option<()> {
        loop {
            let insn = self.code.get(at)?;
            let seen = self.seen.get_mut(at)?;
            *seen |= EXECUTED;
            let mut next = true;
            match insn.code {
                EXIT => next = false,
                CALL => {
                    (0..=5).try_for_each(|register| state.set(register, None))?;
                    if insn.src_reg() == TO_FUNCTION {
                        self.enter(target(self.code, at)??, State::UNKNOWN)?;
                    }
                }
                code if matches!(code & CLASS, JMP | JMP32) => {
                    let (taken, not_taken) = branches(insn, &state)?;
                    *seen |= if taken { TAKEN } else { 0 } | if not_taken { NOT_TAKEN } else { 0 };
                    next = not_taken;
                    if taken {
                        self.enter(target(self.code, at)??, state)?;
                    }
                }
                _ => step(&self.code[at..], &mut state)?,
            }
            if !next {
                return Some(());
            }
            at += size(insn);
            if *self.joins.get(at)? != 0 {
                return self.enter(at, state);
            }
        }
    }
}

/// The number of 8-byte slots of an instruction.
fn size(insn: &bpf_insn) -> usize {
    if insn.code == LOAD_WIDE { 2 } else { 1 }
}

/// The target of a jump or of a function call. The inner value is `None` if the instruction is neither.
fn target(code: &[bpf_insn], at: usize) -> Option<Option<usize>> {
    let insn = &code[at];
    let distance = match insn.code {
        CALL if insn.src_reg() == TO_FUNCTION => insn.imm,
        CALL if matches!(insn.src_reg(), TO_HELPER | TO_KERNEL) => return Some(None),
        EXIT => return Some(None),
        CALL => return None,
        JA | MAY_GOTO => i32::from(insn.off),
        code if matches!(code & CLASS, JMP | JMP32) => {
            compare(code, 0, 0)?;
            i32::from(insn.off)
        }
        _ => return Some(None),
    };
    let target = i64::try_from(at).ok()? + 1 + i64::from(distance);
    Some(Some(usize::try_from(target).ok().filter(|target| *target < code.len())?))
}

/// Whether a jump may be taken, and whether it may not be taken.
fn branches(insn: &bpf_insn, state: &State) -> Option<(bool, bool)> {
    match insn.code {
        JA => return Some((true, false)),
        MAY_GOTO => return Some((true, true)),
        _ => {}
    }
    let left = state.get(insn.dst_reg())?;
    let right = if insn.code & X != 0 { state.get(insn.src_reg())? } else { Some(i64::from(insn.imm).cast_unsigned()) };
    let Some((mut left, mut right)) = left.zip(right) else { return Some((true, true)) };
    if insn.code & CLASS == JMP32 {
        // Signed comparisons need the sign of the 32 bits.
        (left, right) = (narrow(left), narrow(right));
    }
    let taken = compare(insn.code, left, right)?;
    Some((taken, !taken))
}

/// Whether a branch is taken. `None` if the instruction is not a branch.
fn compare(code: u8, left: u64, right: u64) -> Option<bool> {
    let (signed_left, signed_right) = (left.cast_signed(), right.cast_signed());
    Some(match code & OPERATION {
        0x10 => left == right,
        0x20 => left > right,
        0x30 => left >= right,
        0x40 => left & right != 0,
        0x50 => left != right,
        0x60 => signed_left > signed_right,
        0x70 => signed_left >= signed_right,
        0xa0 => left < right,
        0xb0 => left <= right,
        0xc0 => signed_left < signed_right,
        0xd0 => signed_left <= signed_right,
        _ => return None,
    })
}

/// The lower half, sign-extended. Two such numbers compare as their halves do, even in unsigned comparisons.
fn narrow(value: u64) -> u64 {
    i64::from(value as u32 as i32).cast_unsigned()
}

/// Applies an instruction that is not a jump to the registers.
fn step(code: &[bpf_insn], state: &mut State) -> Option<()> {
    let insn = code.first()?;
    let (to, from) = (insn.dst_reg(), insn.src_reg());
    match insn.code & CLASS {
        LD if insn.code == LOAD_WIDE => {
            let value = match from {
                NUMBER => Some(u64::from(insn.imm as u32) | u64::from(code.get(1)?.imm as u32) << 32),
                MAP | MAP_VALUE => None,
                _ => return None,
            };
            state.set(to, value)
        }
        LDX => state.set(to, None),
        ST => Some(()),
        STX if insn.code & MODE == ATOMIC => {
            // The instruction may return a value in one of these.
            state.set(from, None)?;
            state.set(to, None)?;
            state.set(0, None)
        }
        STX => Some(()),
        LD => None,
        class => {
            let right = if insn.code & X != 0 { state.get(from)? } else { Some(i64::from(insn.imm).cast_unsigned()) };
            let value = compute(insn, class == ALU, state.get(to)?, right);
            state.set(to, value)
        }
    }
}

/// The result of an arithmetic instruction; `None` if unknown.
fn compute(insn: &bpf_insn, narrow: bool, left: Option<u64>, right: Option<u64>) -> Option<u64> {
    // Sign-extending moves and signed divisions have an offset.
    if insn.off != 0 {
        return None;
    }
    let cut = |value: u64| if narrow { u64::from(value as u32) } else { value };
    let bits = if narrow { 31 } else { 63 };
    let operation = insn.code & OPERATION;
    let right = cut(right?);
    if operation == MOVE {
        return Some(right);
    }
    let left = cut(left?);
    let count = (right & bits) as u32;
    Some(cut(match operation {
        0x00 => left.wrapping_add(right),
        0x10 => left.wrapping_sub(right),
        0x20 => left.wrapping_mul(right),
        0x40 => left | right,
        0x50 => left & right,
        0x60 => left << count,
        0x70 => left >> count,
        0xa0 => left ^ right,
        _ => return None,
    }))
}

/// Marks the instructions that only compute values that are never read.
fn unread(code: &[bpf_insn], seen: &[u8]) -> Option<Vec<bool>> {
    // The registers that are still read after each instruction, one bit each. An instruction whose result is not read
    // counts as reading nothing.
    let mut before = vec![0u16; code.len()];
    let mut unread = vec![false; code.len()];
    let mut changed = true;
    while changed {
        changed = false;
        for at in (0..code.len()).rev().filter(|at| seen[*at] & EXECUTED != 0) {
            let insn = &code[at];
            let jumps = matches!(insn.code & CLASS, JMP | JMP32) && insn.code != CALL;
            let next = match insn.code {
                EXIT => 0,
                _ if seen[at] & (TAKEN | NOT_TAKEN) == TAKEN => 0,
                _ => *before.get(at + size(insn))?,
            };
            let taken = if jumps && seen[at] & TAKEN != 0 { before[target(code, at)??] } else { 0 };
            let after = next | taken;
            let (writes, reads) = effect(insn, seen[at]);
            unread[at] = is_computation(insn) && after & writes == 0;
            let read = if unread[at] { after } else { after & !writes | reads };
            changed |= before[at] != read;
            before[at] = read;
        }
    }
    Some(unread)
}

/// The registers that an instruction writes, and the registers that it reads, one bit each.
fn effect(insn: &bpf_insn, seen: u8) -> (u16, u16) {
    let bit = |register: u8| 1u16 << register;
    let (to, from) = (bit(insn.dst_reg()), bit(insn.src_reg()));
    let operand = if insn.code & X != 0 { from } else { 0 };
    match insn.code & CLASS {
        LD => (to, 0),
        LDX => (to, from),
        ST => (0, to),
        // An atomic operation may also read register 0.
        STX => (0, to | from | bit(0)),
        JMP | JMP32 => match insn.code {
            // The arguments are in registers 1 to 5, and the result is in register 0. A call preserves none of them.
            CALL if insn.src_reg() == TO_HELPER && READS.contains(&insn.imm) => (0b11_1111, 0b1110),
            CALL => (0b11_1111, 0b11_1110),
            EXIT => (0, bit(0)),
            JA | MAY_GOTO => (0, 0),
            // A branch whose outcome is constant reads nothing.
            _ if seen & (TAKEN | NOT_TAKEN) != TAKEN | NOT_TAKEN => (0, 0),
            _ => (0, to | operand),
        },
        _ if insn.code & OPERATION == MOVE => (to, operand),
        _ => (to, to | operand),
    }
}

/// Whether an instruction only computes a number, or an address from another address.
fn is_computation(insn: &bpf_insn) -> bool {
    match insn.code & CLASS {
        LD => insn.src_reg() == NUMBER,
        LDX | ST | STX | JMP | JMP32 => false,
        _ => true,
    }
}

/// The executed instructions, with the targets of their jumps and calls adjusted.
fn rewrite(code: &[bpf_insn], functions: &[bpf_func_info], seen: &[u8]) -> Option<Reached> {
    let constant = |at: usize| seen[at] & (TAKEN | NOT_TAKEN);
    let unread = unread(code, seen)?;
    let mut keep = vec![false; code.len()];
    let mut at = 0;
    while at < code.len() {
        let size = size(&code[at]);
        // A branch that is never taken does nothing.
        let stays = seen[at] & EXECUTED != 0 && constant(at) != NOT_TAKEN && !unread[at];
        keep.get_mut(at..at + size)?.fill(stays);
        at += size;
    }
    // A jump that skips only removed instructions does nothing, either. The loop runs backwards, so that the fate of the
    // skipped instructions is known.
    for at in (0..code.len()).rev().filter(|at| seen[*at] & TAKEN != 0 && code[*at].code != MAY_GOTO) {
        if keep[at] {
            let to = target(code, at)??;
            keep[at] = to <= at || keep[at + 1..to].contains(&true);
        }
    }
    // The new index of each instruction. A removed instruction gets the index of the next one that stays.
    let mut places = Vec::with_capacity(code.len());
    let mut count = 0i64;
    for keep in &keep {
        places.push(count);
        count += i64::from(*keep);
    }
    let mut kept = Vec::with_capacity(code.len());
    let mut at = 0;
    while at < code.len() {
        let size = size(&code[at]);
        if keep[at] {
            let mut insn = code[at];
            if let Some(to) = target(code, at)? {
                let distance = places[to] - places[at] - 1;
                if insn.code == CALL {
                    insn.imm = i32::try_from(distance).ok()?;
                } else {
                    insn.off = i16::try_from(distance).ok()?;
                }
                if constant(at) == TAKEN {
                    (insn.code, insn.imm) = (JA, 0);
                    insn.set_dst_reg(0);
                    insn.set_src_reg(0);
                }
            }
            kept.push(insn);
            kept.extend_from_slice(&code[at + 1..at + size]);
        }
        at += size;
    }
    let place = |info: &bpf_func_info| {
        let at = info.insn_off as usize;
        let seen = *seen.get(at)? & EXECUTED != 0;
        Some((seen, bpf_func_info { insn_off: u32::try_from(places[at]).ok()?, type_id: info.type_id }))
    };
    let placed: Vec<_> = functions.iter().map(place).collect::<Option<_>>()?;
    let functions = placed.into_iter().filter(|(seen, _)| *seen).map(|(_, info)| info).collect();
    Some(Reached { code: kept, functions })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn insn(code: u8, to: u8, from: u8, off: i16, imm: i32) -> bpf_insn {
        // SAFETY: the structure is `repr(C)` with integers only, and all byte patterns are valid.
        let mut insn: bpf_insn = unsafe { std::mem::zeroed() };
        (insn.code, insn.off, insn.imm) = (code, off, imm);
        insn.set_dst_reg(to);
        insn.set_src_reg(from);
        insn
    }

    fn set(to: u8, number: i32) -> bpf_insn {
        insn(0xb7, to, 0, 0, number)
    }

    fn helper(number: i32) -> bpf_insn {
        insn(CALL, 0, 0, 0, number)
    }

    fn exit() -> bpf_insn {
        insn(EXIT, 0, 0, 0, 0)
    }

    fn parts(code: &[bpf_insn]) -> Vec<(u8, u8, u8, i16, i32)> {
        code.iter().map(|insn| (insn.code, insn.dst_reg(), insn.src_reg(), insn.off, insn.imm)).collect()
    }

    fn left(code: &[bpf_insn]) -> Vec<(u8, u8, u8, i16, i32)> {
        parts(&reached(code, &[]).expect("known instructions").code)
    }

    #[test]
    fn a_branch_with_a_constant_outcome_goes() {
        // if 3 != 0 { call 1 } else { call 2 }
        let code = [set(6, 3), insn(0x15, 6, 0, 2, 0), helper(1), insn(JA, 0, 0, 1, 0), helper(2), set(0, 0), exit()];
        assert_eq!(left(&code), parts(&[helper(1), set(0, 0), exit()]));
        let code = [set(6, 0), insn(0x15, 6, 0, 2, 0), helper(1), insn(JA, 0, 0, 1, 0), helper(2), set(0, 0), exit()];
        assert_eq!(left(&code), parts(&[helper(2), set(0, 0), exit()]));
        // A register with two values is not constant.
        let code = [
            helper(5),
            set(6, 1),
            insn(0x15, 0, 0, 1, 0),
            set(6, 0),
            insn(0x15, 6, 0, 1, 0),
            helper(1),
            set(0, 0),
            exit(),
        ];
        assert_eq!(left(&code), parts(&code));
        // Unexpected instructions stay unchanged.
        // A call through a register, a jump beyond the end, a legacy load from a packet.
        for odd in [insn(0x8d, 1, 0, 0, 0), insn(JA, 0, 0, 9, 0), insn(0x20, 0, 0, 0, 0)] {
            assert!(reached(&[odd, set(0, 0), exit()], &[]).is_none());
        }
        assert!(reached(&[set(0, 0)], &[]).is_none());
        assert!(reached(&[], &[]).is_none());
    }

    #[test]
    fn functions_that_are_not_called_go() {
        let call = |distance| insn(CALL, 0, TO_FUNCTION, 0, distance);
        let code = [
            set(6, 0),
            insn(0x15, 6, 0, 1, 0),
            call(3),
            call(4),
            set(0, 0),
            exit(),
            // The first function, and the second.
            set(0, 1),
            exit(),
            set(0, 2),
            exit(),
        ];
        let at = |insn_off, type_id| bpf_func_info { insn_off, type_id };
        let reached = reached(&code, &[at(0, 3), at(6, 4), at(8, 5)]).expect("known instructions");
        assert_eq!(parts(&reached.code), parts(&[call(2), set(0, 0), exit(), set(0, 2), exit()]));
        let functions: Vec<_> = reached.functions.iter().map(|info| (info.insn_off, info.type_id)).collect();
        assert_eq!(functions, [(0, 3), (3, 5)]);
    }

    /// The helper calls with their first argument, and the result. `None` if the program takes too many steps.
    fn run(code: &[bpf_insn]) -> Option<(Vec<(i32, u64)>, u64)> {
        let mut registers = [0x5eed_u64; REGISTERS];
        let (mut calls, mut at) = (Vec::new(), 0);
        for _ in 0..500 {
            let insn = &code[at];
            let (to, from) = (usize::from(insn.dst_reg()), usize::from(insn.src_reg()));
            let operand = if insn.code & X != 0 { registers[from] } else { i64::from(insn.imm).cast_unsigned() };
            match insn.code {
                EXIT => return Some((calls, registers[0])),
                CALL => {
                    calls.push((insn.imm, registers[1]));
                    registers[..6].fill(0xdead ^ (calls.len() as u64 % 3));
                }
                code if matches!(code & CLASS, JMP | JMP32) => {
                    let state = State(registers.map(Some));
                    if branches(insn, &state).expect("a known branch").0 {
                        at = at.wrapping_add_signed(insn.off.into());
                    }
                }
                code => {
                    let value = compute(insn, code & CLASS == ALU, Some(registers[to]), Some(operand));
                    registers[to] = value.expect("a known computation");
                }
            }
            at = at.wrapping_add(size(insn));
        }
        None
    }

    fn any_insn(len: usize) -> impl Strategy<Value = bpf_insn> {
        let computations =
            vec![0xb7u8, 0xbf, 0xb4, 0xbc, 0x07, 0x0f, 0x17, 0x57, 0x5f, 0x47, 0x67, 0x77, 0x74, 0xa7, 0xaf];
        let branches = vec![0x05u8, 0x15, 0x1d, 0x55, 0x5d, 0x25, 0x2d, 0xa5, 0x65, 0xc5, 0x16, 0x56, 0x66, 0x45];
        let register = || 0..4u8;
        prop_oneof![
            4 => (prop::sample::select(computations), register(), register(), -2..3i32)
                .prop_map(|(code, to, from, imm)| insn(code, to, if code & X == 0 { 0 } else { from }, 0, imm)),
            3 => (prop::sample::select(branches), register(), register(), -(len as i16)..len as i16, -2..3i32)
                .prop_map(|(code, to, from, off, imm)| insn(code, to, if code & X == 0 { 0 } else { from }, off, imm)),
            1 => (0..9i32).prop_map(helper),
            1 => Just(exit()),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]
        #[test]
        fn what_is_left_does_the_same(code in prop::collection::vec(any_insn(30), 1..30)) {
            let mut code = code;
            // Keep the jumps inside the program.
            let len = code.len() as i64;
            for (at, insn) in code.iter_mut().enumerate() {
                if matches!(insn.code & CLASS, JMP | JMP32) && !matches!(insn.code, CALL | EXIT) {
                    insn.off = ((at as i64 + 1 + i64::from(insn.off)).rem_euclid(len + 1) - at as i64 - 1) as i16;
                }
            }
            code.push(exit());
            let left = reached(&code, &[]).expect("known instructions").code;
            prop_assert!(left.len() <= code.len());
            if let Some(did) = run(&code) {
                prop_assert_eq!(run(&left), Some(did));
            }
        }
    }
}
