//! What is learned from the host beside the probes.
pub mod btf;
