//! `tracetui-ship`: closed recordings become Parquet files in object storage.

mod cli;
mod convert;
mod part;
mod spool;

fn main() {}
