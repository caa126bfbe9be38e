//! What is drawn.

pub mod escape;
