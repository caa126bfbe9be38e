//! The [compact protocol](https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md) of Thrift,
//! written only: the headers and the footer of Parquet use it.

/// Types of fields and elements.
mod wire {
    pub(super) const TRUE: u8 = 1;
    pub(super) const FALSE: u8 = 2;
    pub(super) const BYTE: u8 = 3;
    pub(super) const I16: u8 = 4;
    pub(super) const I32: u8 = 5;
    pub(super) const I64: u8 = 6;
    pub(super) const BINARY: u8 = 8;
    pub(super) const LIST: u8 = 9;
    pub(super) const STRUCT: u8 = 12;
}

/// A struct that is being written. Fields are written in the order of their ids.
#[derive(Debug)]
pub(super) struct Struct<'a> {
    out: &'a mut Vec<u8>,
    last: i16,
}

impl<'a> Struct<'a> {
    /// Writes a struct: its fields and the end.
    pub(super) fn write(out: &'a mut Vec<u8>, fields: impl FnOnce(&mut Struct<'_>)) {
        let mut this = Struct { out, last: 0 };
        fields(&mut this);
        this.out.push(0);
    }

    fn field(&mut self, id: i16, kind: u8) {
        match id - self.last {
            delta @ 1..=15 => self.out.push((delta as u8) << 4 | kind),
            _ => {
                self.out.push(kind);
                varint(zigzag(id.into()), self.out);
            }
        }
        self.last = id;
    }

    pub(super) fn bool(&mut self, id: i16, value: bool) {
        self.field(id, if value { wire::TRUE } else { wire::FALSE });
    }

    pub(super) fn byte(&mut self, id: i16, value: u8) {
        self.field(id, wire::BYTE);
        self.out.push(value);
    }

    pub(super) fn i16(&mut self, id: i16, value: i16) {
        self.field(id, wire::I16);
        varint(zigzag(value.into()), self.out);
    }

    pub(super) fn i32(&mut self, id: i16, value: i32) {
        self.field(id, wire::I32);
        varint(zigzag(value.into()), self.out);
    }

    pub(super) fn i64(&mut self, id: i16, value: i64) {
        self.field(id, wire::I64);
        varint(zigzag(value), self.out);
    }

    pub(super) fn binary(&mut self, id: i16, value: &[u8]) {
        self.field(id, wire::BINARY);
        varint(value.len() as u64, self.out);
        self.out.extend_from_slice(value);
    }

    pub(super) fn structure(&mut self, id: i16, fields: impl FnOnce(&mut Struct<'_>)) {
        self.field(id, wire::STRUCT);
        Struct::write(self.out, fields);
    }

    /// A list of structs that were written with [`Struct::write`], one after another.
    pub(super) fn written(&mut self, id: i16, count: usize, elements: &[u8]) {
        self.list(id, wire::STRUCT, count);
        self.out.extend_from_slice(elements);
    }

    pub(super) fn numbers(&mut self, id: i16, values: &[i32]) {
        self.list(id, wire::I32, values.len());
        values.iter().for_each(|value| varint(zigzag((*value).into()), self.out));
    }

    pub(super) fn texts(&mut self, id: i16, values: &[&str]) {
        self.list(id, wire::BINARY, values.len());
        for value in values {
            varint(value.len() as u64, self.out);
            self.out.extend_from_slice(value.as_bytes());
        }
    }

    fn list(&mut self, id: i16, kind: u8, count: usize) {
        self.field(id, wire::LIST);
        match count {
            0..=14 => self.out.push((count as u8) << 4 | kind),
            _ => {
                self.out.push(0xf0 | kind);
                varint(count as u64, self.out);
            }
        }
    }
}

/// Appends an integer in groups of seven bits, the lowest first (ULEB128).
pub(super) fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A signed integer as an unsigned one: small absolute values become small.
pub(super) fn zigzag(value: i64) -> u64 {
    (value << 1 ^ value >> 63) as u64
}
