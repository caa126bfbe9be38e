//! The iterator over all network namespaces, even those that only a socket or a descriptor refers to (6.9+).

use super::lister::{Body, LEAVE, ON_STACK, WORD, asm, offset};
use tracetui_host::btf::Btf;
use tracetui_host::program::Instruction;

/// A record has the number of a namespace as its id; that of the first thread has none. `None` if the kernel lacks the iterator or a
/// field.
pub(super) fn of(btf: &Btf) -> Option<Body> {
    const TASK: i16 = 8;
    /// The offset of another word on the stack.
    const STATE: i16 = WORD - 8;
    let at = |structure: &str, member: &str, size: u32| offset(btf, structure, &[member], size);
    let list = at("net", "list", 16)?;
    let ops = at("net", "ns.ops", 8)?;
    let count = at("net", "ns.count", 4).or_else(|| at("net", "ns.__ns_ref", 4))?;
    let of_node = |member: i16| i32::from(member) - i32::from(list);
    let mut facts = vec![
        asm::load(asm::U64, 1, 7, 8),
        asm::skip_unless(1, 0, LEAVE),
        asm::load(asm::U64, 6, 6, at("task_struct", "nsproxy", 8)?),
        asm::load(asm::U64, 6, 6, at("nsproxy", "net_ns", 8)?),
        // A thread that exits has none.
        asm::load(asm::U64, 1, 6, ops),
        asm::skip_if(1, 0, LEAVE),
        asm::store(asm::U64, 7, 1, 8),
        // The pointer as a number, which the verifier allows to be changed.
        asm::store(asm::U64, 10, 6, STATE),
    ];
    facts.extend(asm::read(asm::U64, 6, 10, STATE.into()));
    facts.extend([asm::copy(9, 6), asm::add(9, list.into()), asm::copy(8, 9)]);
    // Register 9 has the address of the node of the first namespace, 8 that of the next. The head of the list is in no namespace: what
    // is read there are not the operations of a namespace.
    let head = facts.len();
    let back = |code: &[Instruction]| head as i16 - code.len() as i16 - 1;
    facts.push(asm::bounded(LEAVE));
    facts.extend(asm::read(asm::U64, 8, 8, 0));
    facts.extend([asm::skip_if_same(8, 9, LEAVE), asm::skip_if(8, 0, LEAVE)]);
    facts.extend(asm::read(asm::U64, 1, 8, of_node(ops)));
    facts.extend([asm::load(asm::U64, 2, 7, 8), asm::skip_if_same(1, 2, 1)]);
    facts.push(asm::skip(back(&facts)));
    // Without references, it is being removed.
    for (member, to) in [(count, 12), (at("net", "ns.inum", 4)?, 8)] {
        facts.extend(asm::read(asm::U32, 1, 8, of_node(member)));
        facts.push(asm::skip_if(1, 0, back(&facts)));
        facts.push(asm::store(asm::U32, 10, 1, ON_STACK + to));
    }
    Some(Body { function: btf.func("bpf_iter_task")?, object: TASK, facts, again: Some(head) })
}
