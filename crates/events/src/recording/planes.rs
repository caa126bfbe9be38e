//! Words as columns of bytes: byte n of the same word of all rows. Columns of zeros are left out.

/// Swaps rows and columns of eight by eight bytes: byte `j` of word `i` becomes byte `i` of word `j`.
fn transposed(mut rows: [u64; 8]) -> [u64; 8] {
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
fn last(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte))
}

/// Appends rows as columns of bytes: for each word the columns that are not zeros, as bits, and then these columns.
pub(super) fn put_columns<const WORDS: usize>(rows: &[[u64; WORDS]], out: &mut Vec<u8>) {
    let count = rows.len();
    if count == 0 {
        return;
    }
    let mut any = [0u64; WORDS];
    for row in rows {
        any.iter_mut().zip(row).for_each(|(any, word)| *any |= word);
    }
    let used = any.map(|any| any.to_le_bytes().iter().rev().fold(0u8, |bits, byte| bits << 1 | u8::from(*byte != 0)));
    out.extend_from_slice(&used);
    for (word, used) in used.into_iter().enumerate().filter(|(_, used)| *used != 0) {
        let start = out.len();
        out.resize(start + used.count_ones() as usize * count, 0);
        let columns = &mut out[start..];
        for (rows, from) in rows.chunks(8).zip((0..).step_by(8)) {
            let mut values = [0; 8];
            values.iter_mut().zip(rows).for_each(|(to, row)| *to = row[word]);
            let bytes = transposed(values);
            let used = (0..8).filter(|byte| used >> byte & 1 == 1);
            for (column, byte) in columns.chunks_exact_mut(count).zip(used) {
                column[from..from + rows.len()].copy_from_slice(&bytes[byte].to_le_bytes()[..rows.len()]);
            }
        }
    }
}

/// Removes columns from the front of `bytes`. Their rows replace those in `rows`.
pub(super) fn take_columns<const WORDS: usize>(
    bytes: &mut &[u8],
    count: usize,
    rows: &mut Vec<[u64; WORDS]>,
) -> Option<()> {
    rows.clear();
    if count == 0 {
        return Some(());
    }
    let used = bytes.split_off(..WORDS)?;
    rows.resize(count, [0; WORDS]);
    for (word, used) in used.iter().enumerate().filter(|(_, used)| **used != 0) {
        let columns = bytes.split_off(..used.count_ones() as usize * count)?;
        for (rows, from) in rows.chunks_mut(8).zip((0..).step_by(8)) {
            let mut bytes = [0; 8];
            let used = (0..8).filter(|byte| used >> byte & 1 == 1);
            for (column, byte) in columns.chunks_exact(count).zip(used) {
                let eight = &column[from..];
                bytes[byte] = eight.first_chunk().map_or_else(|| last(eight), |eight| u64::from_le_bytes(*eight));
            }
            rows.iter_mut().zip(transposed(bytes)).for_each(|(row, value)| row[word] = value);
        }
    }
    Some(())
}
