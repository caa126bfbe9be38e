//! Whether lockdown lets programs read kernel memory. A program tests this, because /sys/kernel/security/lockdown needs
//! securityfs, which is not mounted in containers.

use super::program::{self, Instruction};

/// Whether programs that read kernel memory are rejected, as under `lockdown=confidentiality`. `None` if no program can
/// be loaded at all, so that the test shows nothing.
pub(crate) fn reads_are_refused() -> Option<bool> {
    loads(&DOES_NOTHING).then(|| !loads(&READS))
}

const RETURN: [Instruction; 2] = [(0xb7, 0, 0, 0), (0x95, 0, 0, 0)];
/// `return 0`.
const DOES_NOTHING: [Instruction; 2] = RETURN;
/// `bpf_probe_read_kernel(r10 - 8, 8, 0)`, then `return 0`.
const READS: [Instruction; 7] =
    [(0xbf, 0xa1, 0, 0), (0x07, 1, 0, -8), (0xb7, 2, 0, 8), (0xb7, 3, 0, 0), (0x85, 0, 0, 113), RETURN[0], RETURN[1]];

/// Whether the kernel accepts a program. The program is dropped.
fn loads(program: &[Instruction]) -> bool {
    program::load("tt_lockdown", program).is_ok()
}
