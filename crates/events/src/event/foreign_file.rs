//! The place of a file outside the caller's mount namespace: its file system, and its path within that.

use super::describe::{Field, Value, Why, field, field_table, props};
use super::{Components, EventContext};
use tracetui_shared::header::until_nul;
use tracetui_shared::record::FileSystem;

fn file<'a>(seen: &EventContext<'a>) -> Option<&'a Components<'a>> {
    seen.event.body.found()
}

fn cwd<'a>(seen: &EventContext<'a>) -> Option<&'a Components<'a>> {
    seen.event.body.cwd()
}

fn unreachable<'a>(names: Option<&'a Components<'a>>) -> Option<&'a Components<'a>> {
    names.filter(|names| names.absent() == Some(Why::Unreachable))
}

fn path<'a>(names: Option<&'a Components<'a>>) -> Value<'a> {
    match unreachable(names).map(|names| names.inside().ok_or(names.why_not_inside())) {
        None => Value::Null,
        Some(Err(why)) => Value::Unknown(why),
        Some(Ok((_, names))) => Value::Path(names),
    }
}

fn of_system<'a>(names: Option<&'a Components<'a>>, get: impl FnOnce(&'a FileSystem) -> Value<'a>) -> Value<'a> {
    match unreachable(names).map(|names| names.fs.as_ref().ok_or(names.why_not_inside())) {
        None => Value::Null,
        Some(Err(why)) => Value::Unknown(why),
        Some(Ok(fs)) => get(fs),
    }
}

macro_rules! fields {
    ($of:ident) => {
        field_table! {
            type Text "Type: super_block.s_type->name." |s| of_system($of(s), |fs| Value::Bytes(until_nul(&fs.name))), with(props::LACKS);
            device Text "Device, as major:minor: super_block.s_dev, the number in /proc/PID/mountinfo."
                |s| of_system($of(s), |fs| Value::Device(fs.device)), with(props::LACKS);
            mount_id Number "Mount: mount.mnt_id, as in /proc/PID/fdinfo."
                |s| of_system($of(s), |fs| Value::Uint(fs.mount_id.into())), with(props::LACKS);
        }
    };
}

pub(crate) const FS_PATH: Field = field! {
    fs_path Text "Path of an unreachable file within its file system; else null."
        |s| path(file(s)), with(props::LEAF | props::LACKS | props::BYTES)
};

pub(crate) const FS: Field = field! {
    fs Object "File system of an unreachable file; else null."
        |s| unreachable(file(s)).map_or(Value::Null, |_| Value::Object), made_of(fields!(file))
};

pub(crate) const CWD_FS_PATH: Field = field! {
    cwd_fs_path Text "The same as `fs_path`, for the working directory."
        |s| path(cwd(s)), with(props::LACKS | props::BYTES)
};

pub(crate) const CWD_FS: Field = field! {
    cwd_fs Object "The same as `fs`, for the working directory."
        |s| unreachable(cwd(s)).map_or(Value::Null, |_| Value::Object), made_of(fields!(cwd))
};
