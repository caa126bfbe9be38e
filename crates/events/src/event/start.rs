//! The directory at which a relative path starts.

use super::Components;
use super::describe::{Value, Why};
use tracetui_shared::record::mark;

/// The directory with these names, which a probe found.
pub(super) fn directory(names: Components<'_>) -> Value<'_> {
    match names.absent() {
        _ if names.marks & mark::PSEUDO != 0 => Value::Unknown(Why::Unreachable),
        Some(Why::NotCollected) => Value::Unknown(Why::Vanished),
        Some(why) => Value::Unknown(why),
        None => Value::Path(names),
    }
}
