//! The encoding of the frames that are made in user space: the fields of a struct in order, integers little-endian,
//! bytes and lists preceded by a `u32` length. Fields are only ever appended; fields that a shorter payload lacks have
//! their default value.

use std::sync::Arc;
use tracetui_shared::id::{CgroupId, Gid, KernelAddr, LinkId, NsInum, ProgId, Tgid, Tid, Uid};
use tracetui_shared::time::BootNanos;

/// A value with a fixed encoding in a payload.
pub(super) trait Wire: Sized {
    fn put(&self, out: &mut Vec<u8>);
    /// Removes the value from the front; `None` if the bytes end within it.
    fn take(bytes: &mut &[u8]) -> Option<Self>;
    /// Passes on each text in it, to be changed.
    fn each_text(&mut self, _change: &mut dyn FnMut(&mut Vec<u8>)) {}
}

macro_rules! wire_int {
    ($($int:ty)*) => { $(
        impl Wire for $int {
            fn put(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
            fn take(bytes: &mut &[u8]) -> Option<Self> {
                let head = bytes.split_off(..size_of::<Self>())?;
                head.try_into().ok().map(Self::from_le_bytes)
            }
        }
    )* };
}
wire_int!(u8 u16 u32 u64 i64);

macro_rules! wire_id {
    ($($id:ident)*) => { $(
        impl Wire for $id {
            fn put(&self, out: &mut Vec<u8>) {
                self.0.put(out);
            }
            fn take(bytes: &mut &[u8]) -> Option<Self> {
                Wire::take(bytes).map($id)
            }
        }
    )* };
}
wire_id!(CgroupId Gid KernelAddr LinkId NsInum ProgId Tgid Tid Uid BootNanos);

impl Wire for bool {
    fn put(&self, out: &mut Vec<u8>) {
        u8::from(*self).put(out);
    }
    fn take(bytes: &mut &[u8]) -> Option<Self> {
        u8::take(bytes).map(|b| b != 0)
    }
}

impl Wire for String {
    fn put(&self, out: &mut Vec<u8>) {
        put_bytes(self.as_bytes(), out);
    }
    fn take(bytes: &mut &[u8]) -> Option<Self> {
        take_bytes(bytes).map(|b| String::from_utf8_lossy(b).into_owned())
    }
    fn each_text(&mut self, change: &mut dyn FnMut(&mut Vec<u8>)) {
        let mut bytes = std::mem::take(self).into_bytes();
        change(&mut bytes);
        *self = String::from_utf8_lossy(&bytes).into_owned();
    }
}

macro_rules! wire_bytes {
    ($($bytes:ty)*) => { $(
        impl Wire for $bytes {
            fn put(&self, out: &mut Vec<u8>) {
                put_bytes(self, out);
            }
            fn take(bytes: &mut &[u8]) -> Option<Self> {
                take_bytes(bytes).map(Into::into)
            }
            fn each_text(&mut self, change: &mut dyn FnMut(&mut Vec<u8>)) {
                let mut bytes = self.to_vec();
                change(&mut bytes);
                *self = bytes.into();
            }
        }
    )* };
}
wire_bytes!(Vec<u8> Box<[u8]> Arc<[u8]>);

impl<T: Wire> Wire for Box<T> {
    fn put(&self, out: &mut Vec<u8>) {
        T::put(self, out);
    }
    fn take(bytes: &mut &[u8]) -> Option<Self> {
        T::take(bytes).map(Box::new)
    }
    fn each_text(&mut self, change: &mut dyn FnMut(&mut Vec<u8>)) {
        T::each_text(self, change);
    }
}

impl<T: Wire + Clone> Wire for Arc<T> {
    fn put(&self, out: &mut Vec<u8>) {
        T::put(self, out);
    }
    fn take(bytes: &mut &[u8]) -> Option<Self> {
        T::take(bytes).map(Arc::new)
    }
    fn each_text(&mut self, change: &mut dyn FnMut(&mut Vec<u8>)) {
        Arc::make_mut(self).each_text(change);
    }
}

impl<A: Wire, B: Wire> Wire for (A, B) {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
        self.1.put(out);
    }
    fn take(bytes: &mut &[u8]) -> Option<Self> {
        Some((A::take(bytes)?, B::take(bytes)?))
    }
    fn each_text(&mut self, change: &mut dyn FnMut(&mut Vec<u8>)) {
        self.0.each_text(change);
        self.1.each_text(change);
    }
}

impl<T: Wire> Wire for Option<T> {
    fn put(&self, out: &mut Vec<u8>) {
        self.is_some().put(out);
        if let Some(value) = self {
            value.put(out);
        }
    }
    fn take(bytes: &mut &[u8]) -> Option<Self> {
        if bool::take(bytes)? { T::take(bytes).map(Some) } else { Some(None) }
    }
    fn each_text(&mut self, change: &mut dyn FnMut(&mut Vec<u8>)) {
        self.iter_mut().for_each(|value| value.each_text(change));
    }
}

/// A value that lists have: not `u8`, since bytes are put as a whole.
pub(super) trait Element: Wire {}

impl Element for u16 {}
impl Element for u64 {}
impl Element for String {}
impl Element for ProgId {}
impl<A: Wire, B: Wire> Element for (A, B) {}

impl<T: Element> Wire for Vec<T> {
    fn put(&self, out: &mut Vec<u8>) {
        (self.len() as u32).put(out);
        self.iter().for_each(|element| element.put(out));
    }
    fn take(bytes: &mut &[u8]) -> Option<Self> {
        let count = u32::take(bytes)?;
        // The count is untrusted, so no memory is reserved for it. An element needs at least one remaining byte: without this check, a
        // struct after the end of the bytes would be read as defaults, up to four billion times.
        let mut list = Vec::new();
        for _ in 0..count {
            if bytes.is_empty() {
                return None;
            }
            list.push(T::take(bytes)?);
        }
        Some(list)
    }
    fn each_text(&mut self, change: &mut dyn FnMut(&mut Vec<u8>)) {
        self.iter_mut().for_each(|element| element.each_text(change));
    }
}

fn put_bytes(value: &[u8], out: &mut Vec<u8>) {
    (value.len() as u32).put(out);
    out.extend_from_slice(value);
}

fn take_bytes<'a>(bytes: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = u32::take(bytes)? as usize;
    bytes.split_off(..len)
}

macro_rules! wire_struct {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty,)* })*) => { $(
        $(#[$doc])*
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct $name { $($(#[$field_doc])* pub $field: $type,)* }

        impl $crate::frame::wire::Element for $name {}

        impl $crate::frame::wire::Wire for $name {
            fn put(&self, out: &mut Vec<u8>) {
                $(self.$field.put(out);)*
            }
            fn take(bytes: &mut &[u8]) -> Option<Self> {
                Some($name { $($field: if bytes.is_empty() { Default::default() } else { $crate::frame::wire::Wire::take(bytes)? },)* })
            }
            fn each_text(&mut self, change: &mut dyn FnMut(&mut Vec<u8>)) {
                $($crate::frame::wire::Wire::each_text(&mut self.$field, change);)*
            }
        }
    )* };
}

/// Structs of counts, with what is done to all counts alike.
macro_rules! counts {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident,)* })*) => {
        $crate::frame::wire::wire_struct! { $(
            $(#[$doc])*
            #[derive(Copy)]
            $name { $($(#[$field_doc])* $field: u64,)* }
        )* }
        $(
            impl $name {
                /// Combines each count with that of another one, for example into sums.
                pub fn combined(&self, other: &$name, with: fn(u64, u64) -> u64) -> $name {
                    $name { $($field: with(self.$field, other.$field),)* }
                }

                /// Names and counts.
                pub fn each(&self) -> impl Iterator<Item = (&'static str, u64)> {
                    [$((stringify!($field), self.$field),)*].into_iter()
                }
            }
        )*
    };
}

/// An enum of the frames that are made in user space. Each variant is a struct of the same name, with its kind.
macro_rules! frames {
    ($(#[$doc_all:meta])* $all:ident { $($(#[$doc:meta])* $name:ident = $kind:literal;)* }) => {
        $(#[$doc_all])*
        #[derive(Clone, Debug, PartialEq)]
        pub enum $all { $($(#[$doc])* $name($name),)* }

        impl $all {
            /// Whether frames of a kind are among these.
            pub fn has(kind: u16) -> bool {
                [$($kind),*].contains(&kind)
            }

            /// Reads a frame. `None` if its kind is not one of these.
            pub fn decode(frame: &$crate::frame::FrameRef<'_>) -> Option<$all> {
                let mut payload = frame.payload;
                match frame.header.kind {
                    $($kind => <$name as $crate::frame::wire::Wire>::take(&mut payload).map($all::$name),)*
                    _ => None,
                }
            }

            pub fn each_text(&mut self, change: &mut dyn FnMut(&mut Vec<u8>)) {
                match self {
                    $($all::$name(frame) => $crate::frame::wire::Wire::each_text(frame, change),)*
                }
            }

            /// Appends the frame with the header time `time`.
            pub fn push(&self, time: tracetui_shared::time::BootNanos, batch: &mut $crate::frame::Batch) {
                let version = tracetui_shared::header::VERSION;
                match self {
                    $($all::$name(frame) => {
                        let header = tracetui_shared::header::FrameHeader { kind: $kind, time, version, ..Default::default() };
                        batch.push_with(header, |payload| $crate::frame::wire::Wire::put(frame, payload));
                    })*
                }
            }
        }
    };
}

pub(super) use {counts, frames, wire_struct};
