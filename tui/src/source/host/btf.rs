//! Reads BTF.
