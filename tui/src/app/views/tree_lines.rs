//! The place of a row in a tree that is drawn with lines.

/// The number of levels with connecting lines.
const LEVELS: u16 = 64;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Branch {
    /// The number of ancestors that have rows.
    pub depth: u16,
    /// A bit for each level on which another row follows below. The row's own level is its depth.
    more: u64,
}

impl Branch {
    pub(crate) fn at(depth: u16) -> Branch {
        Branch { depth, more: 0 }
    }

    /// Whether another row on this level follows below.
    pub(crate) fn continues(self, level: u16) -> bool {
        level < LEVELS && self.more & (1 << level) != 0
    }
}

/// Connects rows that are in the order of the tree.
pub(crate) fn connect<'a>(rows: impl DoubleEndedIterator<Item = &'a mut Branch>) {
    let mut more = 0u64;
    for row in rows.rev() {
        let own = 1u64.checked_shl(row.depth.into()).unwrap_or(0);
        // No row follows on deeper levels.
        more &= own.wrapping_mul(2).wrapping_sub(1);
        row.more = more;
        more |= own;
    }
}
