//! The bound of the spool.

use crate::cli::Keep;
use crate::part::{Identity, Part};
use crate::spool::Spool;
use anyhow::Result;
use std::time::{SystemTime, UNIX_EPOCH};

/// Removes closed parts above the bound: shipped ones first, then others, each time the oldest first. Returns the number removed.
/// The gap in the numbers of a trace is reported by its next part.
pub(crate) fn bound(
    spool: &Spool,
    parts: &[Part],
    keep: Option<Keep>,
    is_shipped: impl Fn(&Identity) -> bool,
) -> Result<u64> {
    let Some(keep) = keep else { return Ok(0) };
    let mut bytes: u64 = parts.iter().map(|part| part.identity.bytes).sum();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    let mut removed = 0;
    for shipped in [true, false] {
        for part in parts.iter().filter(|part| is_shipped(&part.identity) == shipped) {
            let above = match keep {
                Keep::Bytes(most) => bytes > most,
                Keep::Age(most) => {
                    now.saturating_add_signed(part.identity.modified.0.saturating_neg()) > most.as_secs()
                }
            };
            if above && spool.remove(&part.name, &part.identity)? {
                bytes -= part.identity.bytes;
                removed += 1;
            }
        }
    }
    Ok(removed)
}
