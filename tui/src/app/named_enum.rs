//! Enums whose variants have a text each. The variants and the texts are in one table.

/// Defines an enum, its variants in order as `ALL`, and a function that returns the text of a variant.
macro_rules! named {
    (
        $(#[$of_type:meta])*
        enum $type:ident $text:ident { $($(#[$of_variant:meta])* $variant:ident $name:literal,)+ }
    ) => {
        $(#[$of_type])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub(crate) enum $type {
            $($(#[$of_variant])* $variant,)+
        }

        impl $type {
            pub(crate) const ALL: [$type; [$($name),+].len()] = [$($type::$variant),+];

            pub(crate) fn $text(self) -> &'static str {
                match self {
                    $($type::$variant => $name,)+
                }
            }
        }
    };
}
pub(crate) use named;

/// The variant `by` positions after `one` in `all`, wrapping at both ends.
pub(crate) fn step<T: Copy + PartialEq, const N: usize>(all: [T; N], one: T, by: isize) -> T {
    let at = all.iter().position(|other| *other == one).unwrap_or_default();
    all[at.wrapping_add_signed(by + N as isize) % N]
}
