//! Throw-away: finds offsets until the real resolver is there.
#![allow(dead_code, missing_docs, unreachable_pub, clippy::all)]

use anyhow::{Context, Result, bail};
use std::collections::HashMap;

pub struct Btf {
    data: Vec<u8>,
    strs: usize,
    offs: Vec<u32>, // byte offset of each type, [0] = void
    by_name: HashMap<(u8, Box<[u8]>), u32>,
}
const INT: u8 = 1;
const PTR: u8 = 2;
const ARRAY: u8 = 3;
const STRUCT: u8 = 4;
const UNION: u8 = 5;
const ENUM: u8 = 6;
const TYPEDEF: u8 = 8;
const VOLATILE: u8 = 9;
const CONST: u8 = 10;
const RESTRICT: u8 = 11;
pub const FUNC: u8 = 12;
const PROTO: u8 = 13;
const VAR: u8 = 14;
const DATASEC: u8 = 15;
const DECL_TAG: u8 = 17;
const TYPE_TAG: u8 = 18;
const ENUM64: u8 = 19;

impl Btf {
    pub fn load(path: &str) -> Result<Self> {
        let data = std::fs::read(path).with_context(|| path.to_string())?;
        Self::parse(data)
    }
    fn u32(&self, o: usize) -> u32 {
        u32::from_le_bytes(self.data[o..o + 4].try_into().unwrap())
    }
    pub fn parse(data: Vec<u8>) -> Result<Self> {
        let mut b = Btf { data, strs: 0, offs: vec![0], by_name: HashMap::new() };
        if b.data.len() < 24 || b.data[0..2] != [0x9f, 0xeb] {
            bail!("not BTF")
        }
        let hl = b.u32(4) as usize;
        let (to, tl, so) = (b.u32(8) as usize, b.u32(12) as usize, b.u32(16) as usize);
        b.strs = hl + so;
        let (mut p, end) = (hl + to, hl + to + tl);
        while p < end {
            let info = b.u32(p + 4);
            let (vlen, kind) = ((info & 0xffff) as usize, ((info >> 24) & 0x1f) as u8);
            let extra = match kind {
                INT => 4,
                ARRAY => 12,
                STRUCT | UNION => 12 * vlen,
                ENUM => 8 * vlen,
                PROTO => 8 * vlen,
                VAR => 4,
                DATASEC => 12 * vlen,
                DECL_TAG => 4,
                ENUM64 => 12 * vlen,
                PTR | 7 | TYPEDEF | VOLATILE | CONST | RESTRICT | FUNC | 16 | TYPE_TAG => 0,
                k => bail!("unknown BTF kind {k}"),
            };
            let id = b.offs.len() as u32;
            b.offs.push(p as u32);
            if matches!(kind, STRUCT | FUNC | TYPEDEF | ENUM) {
                let name = b.str(b.u32(p)).to_vec().into_boxed_slice();
                b.by_name.entry((kind, name)).or_insert(id);
            }
            p += 12 + extra;
        }
        Ok(b)
    }
    fn str(&self, o: u32) -> &[u8] {
        let s = &self.data[self.strs + o as usize..];
        &s[..s.iter().position(|c| *c == 0).unwrap_or(0)]
    }
    fn kind(&self, id: u32) -> (u8, usize, bool) {
        let info = self.u32(self.offs[id as usize] as usize + 4);
        (((info >> 24) & 0x1f) as u8, (info & 0xffff) as usize, info >> 31 != 0)
    }
    fn ty(&self, id: u32) -> u32 {
        self.u32(self.offs[id as usize] as usize + 8)
    }
    fn skip(&self, mut id: u32) -> u32 {
        while matches!(self.kind(id).0, TYPEDEF | VOLATILE | CONST | RESTRICT | TYPE_TAG) {
            id = self.ty(id)
        }
        id
    }
    /// byte offset of member `path` ("a.b.c", through anonymous members) in struct `st`
    pub fn off(&self, st: &str, path: &str) -> Option<u32> {
        let mut id = *self.by_name.get(&(STRUCT, st.as_bytes().into()))?;
        let mut bits = 0;
        for m in path.split('.') {
            let (b, t) = self.member(id, m.as_bytes())?;
            bits += b;
            id = self.skip(t);
        }
        Some(bits / 8)
    }
    fn member(&self, id: u32, name: &[u8]) -> Option<(u32, u32)> {
        let (k, n, bitf) = self.kind(id);
        if k != STRUCT && k != UNION {
            return None;
        }
        let base = self.offs[id as usize] as usize + 12;
        for i in 0..n {
            let p = base + 12 * i;
            let off = if bitf { self.u32(p + 8) & 0xff_ffff } else { self.u32(p + 8) };
            let (nm, t) = (self.str(self.u32(p)), self.u32(p + 4));
            if nm == name {
                return Some((off, t));
            }
            if nm.is_empty()
                && let Some((o, t)) = self.member(self.skip(t), name)
            {
                return Some((off + o, t));
            }
        }
        None
    }
    pub fn structure(&self, name: &str) -> Option<u32> {
        self.by_name.get(&(STRUCT, name.as_bytes().into())).copied()
    }
    pub fn func(&self, name: &str) -> Option<u32> {
        self.by_name.get(&(FUNC, name.as_bytes().into())).copied()
    }
    pub fn func_args(&self, name: &str) -> Option<usize> {
        Some(self.kind(self.ty(self.func(name)?)).1)
    }
    /// number of arguments of a tracepoint (btf_trace_<name> is ptr -> proto with a leading void*)
    pub fn tp_args(&self, name: &str) -> Option<usize> {
        let id = *self.by_name.get(&(TYPEDEF, format!("btf_trace_{name}").as_bytes().into()))?;
        let p = self.ty(id);
        Some(self.kind(self.ty(p)).1 - 1)
    }
    /// size of the array member `name` of struct `st`
    pub fn array_len(&self, st: &str, name: &str) -> Option<u32> {
        let id = *self.by_name.get(&(STRUCT, st.as_bytes().into()))?;
        let (_, t) = self.member(id, name.as_bytes())?;
        let t = self.skip(t);
        let p = self.offs[t as usize] as usize;
        match self.kind(t).0 {
            ARRAY => Some(self.u32(p + 20)),
            UNION => Some(self.u32(p + 8)),
            _ => None,
        }
    }
    /// value of an enumerator anywhere
    pub fn enumerator(&self, name: &str) -> Option<u32> {
        for id in 1..self.offs.len() as u32 {
            let (k, n, _) = self.kind(id);
            if k != ENUM {
                continue;
            }
            let base = self.offs[id as usize] as usize + 12;
            for i in 0..n {
                if self.str(self.u32(base + 8 * i)) == name.as_bytes() {
                    return Some(self.u32(base + 8 * i + 4));
                }
            }
        }
        None
    }
    pub fn len(&self) -> usize {
        self.offs.len()
    }
}
