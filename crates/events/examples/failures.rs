//! Prints the failures of a recording that nothing answered: `cargo run --release -p tracetui-events --example failures -- FILE`.

#![allow(clippy::print_stdout, reason = "for whoever runs it")]

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::File;
use tracetui_events::event::names;
use tracetui_events::pipeline::{Disposition, Pipeline};
use tracetui_events::recording::frames::{FrameReader, Next};
use tracetui_events::search::Searches;

fn main() -> Result<(), Box<dyn Error>> {
    let file = std::env::args().nth(1).ok_or("which recording?")?;
    let mut frames = FrameReader::new(File::open(file)?)?;
    let (mut pipeline, mut searches, mut failed) = (Pipeline::default(), Searches::default(), BTreeMap::new());
    let (mut id, mut all) = (0, 0);
    while let Some(next) = frames.next()? {
        let Next::Frames(batch) = next else { continue };
        pipeline.feed(batch);
        pipeline.next(None, &mut |seen, _| {
            if seen.event.failed() {
                let mut target = Vec::new();
                seen.event.body.subject(&mut target);
                let err = names::err(seen.event.body.error()).unwrap_or_default();
                let (pid, target) = (seen.event.header.tgid.0, String::from_utf8_lossy(&target).into_owned());
                failed.insert(id, format!("{:?} {pid} {err} {target}", seen.event.kind()));
                all += 1;
            }
            searches.take(id, seen).answered.iter().for_each(|answered| drop(failed.remove(&answered.id)));
            id += 1;
            Disposition::Delivered
        });
        while pipeline.spare().is_some() {}
    }
    failed.values().for_each(|failure| println!("{failure}"));
    println!("{} of {all} failures are unanswered", failed.len());
    Ok(())
}
