//! The [wire format](https://protobuf.dev/programming-guides/encoding/) of protocol buffers, written only.

/// Types of fields on the wire.
mod wire {
    pub(super) const VARINT: u64 = 0;
    pub(super) const LENGTH: u64 = 2;
}

/// Appends an integer in groups of seven bits, the lowest first.
pub(super) fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a field of an integer type, an enum or a bool. Negative numbers are sign-extended to 64 bits.
pub(super) fn number(field: u64, value: u64, out: &mut Vec<u8>) {
    varint(field << 3 | wire::VARINT, out);
    varint(value, out);
}

/// Appends a field of bytes. A `string` must be UTF-8: [`text`].
pub(super) fn bytes(field: u64, value: &[u8], out: &mut Vec<u8>) {
    varint(field << 3 | wire::LENGTH, out);
    varint(value.len() as u64, out);
    out.extend_from_slice(value);
}

pub(super) fn text(field: u64, value: &str, out: &mut Vec<u8>) {
    bytes(field, value.as_bytes(), out);
}

/// Appends a field of a message; `fields` appends the fields of the message.
pub(super) fn message(field: u64, out: &mut Vec<u8>, fields: impl FnOnce(&mut Vec<u8>)) {
    let start = begin(field, out);
    fields(out);
    end(start, out);
}

/// Begins a message, whose fields follow. Returns the place of its length.
pub(super) fn begin(field: u64, out: &mut Vec<u8>) -> usize {
    varint(field << 3 | wire::LENGTH, out);
    // Most messages are shorter than 128 bytes: their length takes one byte.
    out.push(0);
    out.len() - 1
}

/// Sets the length of a message.
pub(super) fn end(start: usize, out: &mut Vec<u8>) {
    let length = out.len() - start - 1;
    if let (0..0x80, Some(place)) = (length, out.get_mut(start)) {
        *place = length as u8;
        return;
    }
    let mut long = Vec::with_capacity(10);
    varint(length as u64, &mut long);
    out.splice(start..=start, long);
}
