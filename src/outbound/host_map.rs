//! For development: external systems played by servers on this machine. Knows which host goes where, not how it is sent.

use std::{collections::BTreeMap, net::SocketAddr};

use url::Host;

use super::address;

/// What is expected of an entry.
const EXPECTED: &str =
    "expected HOST=ADDRESS:PORT, a host name or `*` and an address on loopback, as in `api.pax8.com=127.0.0.1:9001`";

/// Hosts whose requests go to a plain-http server on loopback instead.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostMap {
    names: BTreeMap<String, SocketAddr>,
    any_other: Option<SocketAddr>,
}

impl HostMap {
    /// Reads `api.pax8.com=127.0.0.1:9001,*=127.0.0.1:9002`.
    ///
    /// # Errors
    /// The first entry that is wrong, and what was expected.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut map = Self::default();
        for entry in text.split(',') {
            let entry = entry.trim();
            let wrong = |problem: &str| format!("'{}': {problem}", entry.escape_debug());
            let (host, target) = entry.split_once('=').ok_or_else(|| wrong(EXPECTED))?;
            let target: SocketAddr = target.trim().parse().map_err(|_| wrong(EXPECTED))?;
            if !target.ip().is_loopback() || target.port() == 0 {
                return Err(wrong(EXPECTED));
            }
            let earlier = match host.trim() {
                "*" => map.any_other.replace(target),
                host => map.names.insert(name(host).ok_or_else(|| wrong(EXPECTED))?, target),
            };
            if earlier.is_some() {
                return Err(wrong("its host has an entry already; remove one"));
            }
        }
        Ok(map)
    }

    /// The same, where that host goes to a server of this process.
    #[must_use]
    pub fn with(mut self, host: &str, target: SocketAddr) -> Self {
        self.names.insert(host.to_owned(), target);
        self
    }

    /// Where requests to a host go; none if to the host itself.
    pub(super) fn target(&self, host: &str) -> Option<SocketAddr> {
        self.names.get(address::without_root(host)).copied().or(self.any_other)
    }
}

/// The name as URLs have it; none if it is an address, or a name that is never called.
fn name(host: &str) -> Option<String> {
    match Host::parse(host).ok()? {
        Host::Domain(name) if !address::is_local(&name) => Some(address::without_root(&name).to_owned()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exact_entry_beats_the_asterisk() {
        let map = HostMap::parse("*=127.0.0.1:9002, API.pax8.com = [::1]:9001").unwrap();
        let table = [
            ("api.pax8.com", "[::1]:9001"),
            ("api.pax8.com.", "[::1]:9001"),
            ("pax8.com", "127.0.0.1:9002"),
            ("x.api.pax8.com", "127.0.0.1:9002"),
        ];
        for (host, target) in table {
            assert_eq!(map.target(host), Some(target.parse().unwrap()), "{host}");
        }
        assert_eq!(HostMap::parse("api.pax8.com=127.0.0.1:9001").unwrap().target("pax8.com"), None);
    }

    #[test]
    fn a_wrong_entry_is_named() {
        for wrong in [
            "",
            "api.pax8.com",
            "api.pax8.com=",
            "=127.0.0.1:9001",
            "api.pax8.com=127.0.0.1",
            "api.pax8.com=127.0.0.1:0",
            "api.pax8.com=localhost:9001",
            "api.pax8.com=10.0.0.1:9001",
            "api.pax8.com=0.0.0.0:9001",
            "api.pax8.com=[::ffff:127.0.0.1]:9001",
            "api.pax8.com=http://127.0.0.1:9001",
            "https://api.pax8.com=127.0.0.1:9001",
            "api.pax8.com:443=127.0.0.1:9001",
            "8.8.8.8=127.0.0.1:9001",
            "0x7f.1=127.0.0.1:9001",
            "localhost=127.0.0.1:9001",
            "[2606:4700::1111]=127.0.0.1:9001",
        ] {
            let error = HostMap::parse(&format!("a.example=127.0.0.1:1,{wrong}")).unwrap_err();
            assert_eq!(error, format!("'{wrong}': {EXPECTED}"));
        }
        for twice in ["a.example=127.0.0.1:1,A.example.=127.0.0.1:2", "*=127.0.0.1:1,*=127.0.0.1:2"] {
            assert!(
                HostMap::parse(twice).unwrap_err().ends_with("its host has an entry already; remove one"),
                "{twice}"
            );
        }
    }
}
