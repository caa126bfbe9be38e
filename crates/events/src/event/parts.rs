//! The parts of a column: raw bytes with roles, for a screen. Lines of text use the bytes alone.

use crate::text::command::{Arguments, Named, shortened};

/// The role of a part of a column, which determines its weight and colour.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Role {
    /// The directories of a path. They are cut first.
    Directory,
    Quiet,
    Plain,
    /// The subject of the row.
    Strong,
    Note,
    /// A failure that is part of ordinary work.
    Expected,
    Failure,
}

/// The content of a column: raw bytes in parts with roles.
pub trait Parts {
    fn part(&mut self, role: Role, write: impl FnOnce(&mut Vec<u8>));

    /// Appends a path. `last` is the role of its last component.
    fn path(&mut self, last: Role, write: impl FnOnce(&mut Vec<u8>));

    /// Appends the name of a command, with arguments of at most this many bytes.
    fn command(&mut self, named: &Named<'_>, most: usize) {
        match &named.arguments {
            Arguments::File(file) => {
                self.part(Role::Strong, |out| out.extend_from_slice(&[named.program, b" "].concat()));
                self.path(Role::Plain, |out| out.extend_from_slice(file));
            }
            Arguments::All(_) => {
                self.path(Role::Strong, |out| out.extend_from_slice(named.program));
                let mut arguments = Vec::new();
                named.arguments.write(&mut arguments);
                if !arguments.is_empty() {
                    self.part(Role::Plain, |out| out.extend_from_slice(&shortened(&arguments, most)));
                }
            }
        }
    }
}

impl Parts for Vec<u8> {
    fn part(&mut self, _: Role, write: impl FnOnce(&mut Vec<u8>)) {
        write(self);
    }

    fn path(&mut self, _: Role, write: impl FnOnce(&mut Vec<u8>)) {
        write(self);
    }
}
