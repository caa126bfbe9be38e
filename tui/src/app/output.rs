//! The output of the COMMAND during the dashboard: unchanged, in lines, with a size limit.

use crate::limits::{self, COMMAND_LINE as LINE};
use std::collections::VecDeque;

/// The bytes that a line takes besides its text: its slot in the queue, which may be half full, and the allocator's
/// overhead.
const PER_LINE: usize = 2 * size_of::<Vec<u8>>() + 16;

/// A COMMAND with its output and its status.
#[derive(Debug, Default)]
pub struct Output {
    name: String,
    /// Each line includes its line end, if it has one. Concatenated, the lines are the output as it was written.
    lines: VecDeque<Vec<u8>>,
    /// The size of all lines, each with [`PER_LINE`].
    bytes: usize,
    dropped: u64,
    ended: Option<String>,
}

impl Output {
    /// A running COMMAND without output.
    pub fn new(name: impl Into<String>) -> Output {
        Output { name: name.into(), ..Output::default() }
    }

    /// The COMMAND's name, as it was typed.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A description of the exit status; `None` while the COMMAND runs.
    pub fn ended(&self) -> Option<&str> {
        self.ended.as_deref()
    }

    /// Records the end of the COMMAND.
    pub fn end(&mut self, how: String) {
        self.ended = Some(how);
    }

    /// The lines, oldest first, with their line ends.
    pub fn lines(&self) -> &VecDeque<Vec<u8>> {
        &self.lines
    }

    /// The memory in use, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The number of bytes that were dropped from the beginning.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Appends output.
    pub fn push(&mut self, bytes: &[u8]) {
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            for piece in part.chunks(LINE) {
                self.push_piece(piece);
            }
        }
        while self.bytes > limits::COMMAND_OUTPUT
            && let Some(line) = self.lines.pop_front()
        {
            self.bytes -= line.len() + PER_LINE;
            self.dropped += line.len() as u64;
        }
    }

    fn push_piece(&mut self, piece: &[u8]) {
        self.bytes += piece.len();
        match self.lines.back_mut() {
            Some(last) if last.last() != Some(&b'\n') && last.len() + piece.len() <= LINE => {
                last.reserve_exact(piece.len());
                last.extend(piece);
            }
            _ => {
                self.bytes += PER_LINE;
                self.lines.push_back(piece.to_vec());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_joined(writes: &[&[u8]]) -> Output {
        let mut output = Output::new("make");
        writes.iter().for_each(|bytes| output.push(bytes));
        let joined: Vec<u8> = output.lines().iter().flatten().copied().collect();
        assert_eq!(joined, writes.concat());
        output
    }

    #[test]
    fn lines_come_together_however_they_were_written() {
        let output = check_joined(&[b"a", b"b\nc", b"", b"\n\nd"]);
        assert_eq!(output.lines(), &[&b"ab\n"[..], b"c\n", b"\n", b"d"]);
        assert_eq!(check_joined(&[&[b'x'; 3 * LINE + 1]]).lines().len(), 4);
    }

    #[test]
    fn the_oldest_lines_go_first_and_are_counted() {
        let mut output = Output::new("yes");
        let line = [&[b'y'; 99][..], b"\n"].concat();
        let count = limits::COMMAND_OUTPUT / line.len() + 10;
        for _ in 0..count {
            output.push(&line);
        }
        let kept: usize = output.lines().iter().map(Vec::len).sum();
        assert!(kept <= limits::COMMAND_OUTPUT);
        assert_eq!(kept as u64 + output.dropped(), (count * line.len()) as u64);
    }

    #[test]
    fn empty_lines_take_room_too() {
        let mut output = Output::new("yes ''");
        output.push(&vec![b'\n'; limits::COMMAND_OUTPUT]);
        assert!(output.lines().len() <= limits::COMMAND_OUTPUT / PER_LINE, "{}", output.lines().len());
        assert!(output.bytes() <= limits::COMMAND_OUTPUT);
    }
}
