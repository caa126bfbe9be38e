//! The directory at which the relative path of a failed open or exec starts.

use super::Components;
use super::describe::{Field, Value, Why, field, props};
use tracetui_shared::record::mark;

pub(crate) const DIR: Field = field! {
    dir Text "Absolute directory at which the relative path of a failed call starts: fs->pwd, or f_path of the descriptor, which may be a file (vanished: not open). Null if the call succeeded or the path is absolute."
        |s| s.event.body.dir(), with(props::LACKS | props::BYTES | props::LATER)
};

/// The directory with these names, which a probe found.
pub(super) fn directory(names: Components<'_>) -> Value<'_> {
    match names.absent() {
        _ if names.marks & mark::PSEUDO != 0 => Value::Unknown(Why::Unreachable),
        Some(Why::NotCollected) => Value::Unknown(Why::Vanished),
        Some(why) => Value::Unknown(why),
        None => Value::Path(names),
    }
}
