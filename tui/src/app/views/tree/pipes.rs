//! The pipes of programs.

use foldhash::HashMap;
use tracetui_events::event::exec::Exec;
use tracetui_events::event::process::ProcessKey;

/// The inodes of the pipes that are stdin and stdout of a program.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Pipes {
    input: Option<u64>,
    pub output: Option<u64>,
}

impl Pipes {
    pub(super) fn of(exec: &Exec<'_>) -> Pipes {
        let pipe = |number| exec.descriptor(number).and_then(|of| of.pipe());
        Pipes { input: pipe(0), output: pipe(1) }
    }
}

/// The first process at each end of a pipe, by the inode. Its children inherit the pipe.
#[derive(Debug, Default)]
pub(super) struct Ends {
    pub readers: HashMap<u64, ProcessKey>,
    pub writers: HashMap<u64, ProcessKey>,
}

impl Ends {
    pub(super) fn add(&mut self, pipes: Pipes, key: ProcessKey) {
        pipes.input.into_iter().for_each(|pipe| _ = self.readers.entry(pipe).or_insert(key));
        pipes.output.into_iter().for_each(|pipe| _ = self.writers.entry(pipe).or_insert(key));
    }

    pub(super) fn remove(&mut self, pipes: Pipes, key: ProcessKey) {
        let remove = |ends: &mut HashMap<u64, ProcessKey>, pipe: u64| {
            if ends.get(&pipe) == Some(&key) {
                ends.remove(&pipe);
            }
        };
        pipes.input.into_iter().for_each(|pipe| remove(&mut self.readers, pipe));
        pipes.output.into_iter().for_each(|pipe| remove(&mut self.writers, pipe));
    }
}
