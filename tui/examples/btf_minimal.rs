//! Resolves BTFs, says how long it took, and writes their minimal forms: `btf_minimal IN.btf [OUT.btf]`.
//! `scripts/btf-truth.sh` runs it for each kernel.

use std::time::Instant;

use anyhow::Context;
use tracetui::source::host::btf::Btf;

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args_os().skip(1);
    let input = args.next().context("usage: btf_minimal IN.btf [OUT.btf]")?;
    let start = Instant::now();
    let data = std::fs::read(&input).with_context(|| input.display().to_string())?;
    let read = start.elapsed();
    let btf = Btf::parse(data)?;
    let parsed = start.elapsed();
    let resolved = btf.resolve();
    let all = start.elapsed();
    let absent = resolved.decisions.iter().filter(|decision| decision.place.is_err()).count();
    println!("{}: {} types, {absent} fields absent", input.display(), btf.len());
    println!("read in {read:.2?}, parsed in {:.2?}, resolved in {:.2?}: {all:.2?}", parsed - read, all - parsed);
    if let Some(output) = args.next() {
        std::fs::write(&output, btf.minimal(&resolved)).with_context(|| output.display().to_string())?;
    }
    Ok(())
}
