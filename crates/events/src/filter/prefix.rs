//! Addresses and prefixes of addresses: `10.0.0.7`, `10.0.0.0/8`, `fe80::/10`.

use std::net::IpAddr;

/// The addresses of one family with the same leading bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Prefix {
    v4: bool,
    /// IPv4 addresses are mapped to IPv6.
    bits: u128,
    len: u32,
}

impl Prefix {
    /// Reads an address or a prefix. `None` if the text is a glob.
    pub(super) fn parse(text: &str) -> Result<Option<Prefix>, String> {
        let (address, len) = text.split_once('/').map_or((text, None), |(address, len)| (address, Some(len)));
        let bare = address.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(address);
        let Ok(address) = bare.parse::<IpAddr>() else {
            let is_glob = len.is_none() && !text.starts_with('[') && text.contains(['*', '?', '[', '\\']);
            return if is_glob { Ok(None) } else { Err(format!("`{text}` is not an address")) };
        };
        let width = if address.is_ipv4() { 32 } else { 128 };
        let digits = len.is_none_or(|len| !len.is_empty() && len.bytes().all(|byte| byte.is_ascii_digit()));
        let len = len
            .map_or(Ok(width), str::parse)
            .ok()
            .filter(|len| digits && *len <= width)
            .ok_or_else(|| format!("`{text}` is not a prefix"))?;
        let len = len + 128 - width;
        let v4 = address.to_canonical().is_ipv4() && len >= MAPPED;
        Ok(Some(Prefix { v4, bits: bits(address), len }))
    }

    pub(super) fn contains(&self, address: IpAddr) -> bool {
        let different = (bits(address) ^ self.bits).checked_shr(128 - self.len).unwrap_or(0);
        different == 0 && address.to_canonical().is_ipv4() == self.v4
    }
}

/// The length of the prefix of IPv4 addresses that are mapped to IPv6.
const MAPPED: u32 = 96;

fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped(),
        IpAddr::V6(address) => address,
    }
    .to_bits()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(prefix: &str, within: &[&str], outside: &[&str]) {
        let parsed = Prefix::parse(prefix).expect(prefix).expect("no glob");
        let address = |text: &str| text.parse().expect("an address");
        within.iter().for_each(|text| assert!(parsed.contains(address(text)), "{text} is in {prefix}"));
        outside.iter().for_each(|text| assert!(!parsed.contains(address(text)), "{text} is not in {prefix}"));
    }

    #[test]
    fn prefixes_contain_addresses_of_their_family_and_others_are_refused() {
        check("10.0.0.7", &["10.0.0.7", "::ffff:10.0.0.7"], &["10.0.0.6", "::a00:7"]);
        check("10.0.0.0/8", &["10.0.0.0", "10.255.255.255"], &["9.255.255.255", "11.0.0.0"]);
        check("10.1.2.3/8", &["10.255.0.0"], &["11.1.2.3"]);
        check("0.0.0.0/0", &["0.0.0.0", "255.255.255.255"], &["::", "::1"]);
        check("127.0.0.1/32", &["127.0.0.1"], &["127.0.0.0"]);
        check("::1", &["::1"], &["::", "::2", "0.0.0.1"]);
        check("[::1]", &["::1"], &["::2"]);
        check("fe80::/10", &["fe80::1", "febf::"], &["fec0::", "fe7f::"]);
        check("::/0", &["::", "ffff::1"], &["10.0.0.1"]);
        check("::ffff:10.0.0.0/104", &["10.2.0.1"], &["11.0.0.1", "::10.0.0.1"]);
        check("::ffff:0:0/96", &["0.0.0.0", "255.0.0.1"], &["::"]);
        check("::1/128", &["::1"], &["::3"]);
        let prefixes = ["10.0.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/+8", "10.0.0.0/99999999999", "10.0.0.0/8/8"];
        let addresses = ["10.*/8", "localhost", "10.0.0", "", "127.0.0.1:5432", "[::1]:443"];
        for (text, what) in
            prefixes.map(|text| (text, "prefix")).into_iter().chain(addresses.map(|text| (text, "address")))
        {
            assert!(Prefix::parse(text).expect_err(text).contains(what), "{text}");
        }
        for glob in ["10.*", "*", "10.0.0.?", "10.0.0.[1-3]", "\\10"] {
            assert_eq!(Prefix::parse(glob), Ok(None), "{glob}");
        }
    }
}
