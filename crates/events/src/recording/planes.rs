//! Words as columns of bytes: byte n of the same word of all rows. Columns of zeros are left out.

/// The most words of a row.
pub(super) const WORDS: usize = 128;

/// Swaps rows and columns of eight by eight bytes: byte `j` of word `i` becomes byte `i` of word `j`.
pub(super) fn transposed(mut rows: [u64; 8]) -> [u64; 8] {
    // Swaps squares of 1, 2 and 4 bytes across the diagonal.
    for (size, mask) in [(1, 0x00ff_00ff_00ff_00ff), (2, 0x0000_ffff_0000_ffff), (4, 0x0000_0000_ffff_ffff)] {
        for row in (0..8).filter(|row| row & size == 0) {
            let swapped = (rows[row] >> (8 * size) ^ rows[row + size]) & mask;
            rows[row] ^= swapped << (8 * size);
            rows[row + size] ^= swapped;
        }
    }
    rows
}

/// Fewer than eight bytes, as a word.
#[cold]
pub(super) fn last(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

/// Appends rows as columns of bytes: for each word the columns that are not zeros, as bits, and then these columns.
pub(super) fn put_columns(rows: &[u64], words: usize, out: &mut Vec<u8>) {
    if rows.is_empty() {
        return;
    }
    let count = rows.len() / words;
    let mut any = [0u64; WORDS];
    for row in rows.chunks_exact(words) {
        any.iter_mut().zip(row).for_each(|(any, word)| *any |= word);
    }
    let any = &any[..words];
    out.extend(any.iter().map(|any| bytes_of(*any)));
    for (word, used) in any.iter().map(|any| bytes_of(*any)).enumerate().filter(|(_, used)| *used != 0) {
        let start = out.len();
        out.resize(start + used.count_ones() as usize * count, 0);
        let columns = &mut out[start..];
        for from in (0..count).step_by(8) {
            let mut values = [0; 8];
            let column = rows[from * words + word..].iter().step_by(words);
            values.iter_mut().zip(column).for_each(|(to, value)| *to = *value);
            let bytes = transposed(values);
            let used = (0..8).filter(|byte| used >> byte & 1 == 1);
            for (column, byte) in columns.chunks_exact_mut(count).zip(used) {
                let to = &mut column[from..count.min(from + 8)];
                to.copy_from_slice(&bytes[byte].to_le_bytes()[..to.len()]);
            }
        }
    }
}

/// Bit n: whether byte n of a word is not zero.
fn bytes_of(word: u64) -> u8 {
    word.to_le_bytes().iter().rev().fold(0, |bits, byte| bits << 1 | u8::from(*byte != 0))
}

/// Removes columns from the front of `bytes`.
pub(super) fn pass_columns(bytes: &mut &[u8], words: usize, count: usize) -> Option<()> {
    if count > 0 {
        let used = bytes.split_off(..words)?;
        let columns: usize = used.iter().map(|used| used.count_ones() as usize).sum();
        bytes.split_off(..columns * count)?;
    }
    Some(())
}

/// Removes columns from the front of `bytes`, and appends their rows.
pub(super) fn take_columns(bytes: &mut &[u8], words: usize, count: usize, rows: &mut Vec<u64>) -> Option<()> {
    if count == 0 {
        return Some(());
    }
    let (used, mut rest) = bytes.split_at_checked(words)?;
    rows.resize(words * count, 0);
    for (word, used) in used.iter().enumerate().filter(|(_, used)| **used != 0) {
        let (columns, after) = rest.split_at_checked(used.count_ones() as usize * count)?;
        for from in (0..count).step_by(8) {
            let mut bytes = [0; 8];
            let used = (0..8).filter(|byte| used >> byte & 1 == 1);
            for (column, byte) in columns.chunks_exact(count).zip(used) {
                let eight = &column[from..];
                bytes[byte] = eight.first_chunk().map_or_else(|| last(eight), |eight| u64::from_le_bytes(*eight));
            }
            let to = rows[from * words + word..].iter_mut().step_by(words);
            to.zip(transposed(bytes)).for_each(|(to, value)| *to = value);
        }
        rest = after;
    }
    *bytes = rest;
    Some(())
}
