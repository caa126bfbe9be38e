//! What identifies the contents of an opened or executed file.

use super::EventContext;
use super::describe::{Field, Value, field, field_table, props};
use tracetui_shared::record::identity::Identity;

/// What a probe read, unless it read nothing. Every file has been changed once: when it was made.
pub(super) fn known(file: Identity) -> Option<Identity> {
    Some(file).filter(|file| *file != Identity::default())
}

/// The time of the last change of the inode (ctime) in nanoseconds since 1970-01-01 UTC. Times before 1970 become 0, and those after
/// 2262 the largest number.
pub fn changed_ns(file: &Identity) -> i64 {
    /// `I_CTIME_QUERIED` (6.13+, include/linux/fs.h).
    const QUERIED: u32 = 1 << 31;
    file.changed.max(0).saturating_mul(1_000_000_000).saturating_add((file.changed_ns & !QUERIED).into())
}

fn of<'a>(seen: &EventContext<'a>, get: impl FnOnce(&Identity) -> Value<'a>) -> Value<'a> {
    match seen.event.body.identity() {
        None => Value::Omitted,
        Some(Ok(file)) => get(&file),
        Some(Err(why)) => Value::Unknown(why),
    }
}

pub(crate) const FILE: Field = field! {
    file Object "Identity of the contents at the call; of opens, with --identity on. On overlay file systems and Btrfs, stat(2) may show another device or inode."
        |s| of(s, |_| Value::Object), made_of(FILE_FIELDS), with(props::LACKS | props::LATER)
};

const FILE_FIELDS: &[Field] = field_table! {
    dev Text "Device of its file system: inode.i_sb->s_dev."
        |s| of(s, |file| Value::Device(file.device)), with(props::LACKS | props::LATER);
    ino Number "inode.i_ino." |s| of(s, |file| Value::Uint(file.ino)), with(props::LACKS | props::UNSIGNED | props::LATER);
    size Number "Bytes: inode.i_size." |s| of(s, |file| Value::Uint(file.size)), with(props::LACKS | props::UNSIGNED | props::LATER);
    ctime Text "Last change of the inode: inode.i_ctime."
        |s| of(s, |file| Value::Time(changed_ns(file).into())), with(props::LACKS | props::LATER);
};
