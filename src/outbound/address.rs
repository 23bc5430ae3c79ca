//! Which URLs, names and addresses credentials may be sent to. Knows nothing of requests, nor of how a name is resolved.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use url::{Host, Url};

/// Why nothing is sent to a host whose address is inside.
pub(super) const NOT_PUBLIC: &str = "its address is not a public one";

/// The special-purpose networks of <https://www.iana.org/assignments/iana-ipv4-special-registry> that are not reachable
/// from the internet, multicast, and one address of Azure. AS112 and AMT, which the registry calls reachable, are left out.
const INSIDE_V4: &[Ipv4Net] = &[
    v4([0, 0, 0, 0], 8),        // RFC 791, this network: Linux takes 0.0.0.0 for loopback
    v4([10, 0, 0, 0], 8),       // RFC 1918, private
    v4([100, 64, 0, 0], 10),    // RFC 6598, carrier-grade NAT; clouds put inner services there
    v4([127, 0, 0, 0], 8),      // RFC 1122, loopback
    v4([168, 63, 129, 16], 32), // Azure's wire server: certificates and settings of the machine, at a public address
    v4([169, 254, 0, 0], 16),   // RFC 3927, link-local; 169.254.169.254 hands out the machine's tokens
    v4([172, 16, 0, 0], 12),    // RFC 1918, private
    v4([192, 0, 0, 0], 24),     // RFC 6890, protocol assignments; what is reachable of it is no API
    v4([192, 0, 2, 0], 24),     // RFC 5737, documentation
    v4([192, 88, 99, 0], 24),   // RFC 7526, the abandoned 6to4 relays: whoever announces the route
    v4([192, 168, 0, 0], 16),   // RFC 1918, private
    v4([198, 18, 0, 0], 15),    // RFC 2544, benchmarks
    v4([198, 51, 100, 0], 24),  // RFC 5737, documentation
    v4([203, 0, 113, 0], 24),   // RFC 5737, documentation
    v4([224, 0, 0, 0], 4),      // RFC 5771, multicast
    v4([240, 0, 0, 0], 4),      // RFC 1112, reserved, and the broadcast address
];

/// All that is assigned for use on the internet, RFC 4291. Outside it are the unspecified address and loopback,
/// IPv4-compatible (`::/96`) and IPv4-mapped ones (`::ffff:0:0/96`), NAT64 (`64:ff9b::/96`, `64:ff9b:1::/48`), discard-only
/// (`100::/64`), segment routing (`5f00::/16`), unique local (`fc00::/7`), link-local (`fe80::/10`), site-local
/// (`fec0::/10`) and multicast (`ff00::/8`). NAT64 is refused, not judged by the IPv4 address in it: Azure
/// Functions has IPv4, and one rule is easier to trust than two.
const GLOBAL_V6: Ipv6Net = v6([0x2000, 0, 0, 0], 3);

/// The networks in [`GLOBAL_V6`] that <https://www.iana.org/assignments/iana-ipv6-special-registry> takes out.
const INSIDE_V6: &[Ipv6Net] = &[
    v6([0x2001, 0, 0, 0], 23), // RFC 2928, protocol assignments: Teredo (2001::/32), benchmarks, ORCHID; no API
    v6([0x2001, 0xdb8, 0, 0], 32), // RFC 3849, documentation
    v6([0x2002, 0, 0, 0], 16), // RFC 3056, 6to4: an IPv4 address, perhaps a private one, in another form
    v6([0x3fff, 0, 0, 0], 20), // RFC 9637, documentation
];

const fn v4([a, b, c, d]: [u8; 4], length: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length)
}

const fn v6([a, b, c, d]: [u16; 4], length: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0), length)
}

pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => !INSIDE_V4.iter().any(|network| network.contains(&address)),
        IpAddr::V6(address) => {
            GLOBAL_V6.contains(&address) && !INSIDE_V6.iter().any(|network| network.contains(&address))
        }
    }
}

/// Whether a lower-case name means this machine or network (RFC 6761, RFC 6762, ICANN's `internal`), whatever it resolves to.
pub(super) fn is_local(name: &str) -> bool {
    let top = without_root(name).rsplit('.').next();
    matches!(top, Some("localhost" | "local" | "internal"))
}

/// `api.pax8.com.` is `api.pax8.com`.
pub(super) fn without_root(name: &str) -> &str {
    name.trim_end_matches('.')
}

/// What speaks against a URL as it is written. A name's addresses are judged when it is resolved; an address in a URL is
/// never resolved, hence judged here. The parser has rewritten decimal, octal, hexadecimal and short forms by now.
pub(super) fn refusal(url: &Url) -> Option<&'static str> {
    if url.scheme() != "https" {
        return Some("only https is called");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Some("a URL with a user name or password is not called");
    }
    match url.host() {
        None => Some("a URL without a host is not called"),
        Some(Host::Domain(name)) => is_local(name).then_some("a name of this machine or network is not called"),
        Some(Host::Ipv4(address)) => (!is_public(address.into())).then_some(NOT_PUBLIC),
        Some(Host::Ipv6(address)) => (!is_public(address.into())).then_some(NOT_PUBLIC),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_inside_are_refused() {
        let inside = [
            // First, last and some of each network of IPv4.
            "0.0.0.0",
            "0.255.255.255",
            "10.0.0.0",
            "10.255.255.255",
            "100.64.0.0",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.255",
            "168.63.129.16",
            "169.254.0.0",
            "169.254.169.254",
            "169.254.255.255",
            "172.16.0.0",
            "172.31.255.255",
            "192.0.0.0",
            "192.0.0.170",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.0.0",
            "192.168.255.255",
            "198.18.0.0",
            "198.19.255.255",
            "198.51.100.7",
            "203.0.113.255",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            // Unspecified, loopback, IPv4-compatible, IPv4-mapped.
            "::",
            "::1",
            "::127.0.0.1",
            "::8.8.8.8",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "::ffff:0:127.0.0.1",
            // NAT64, discard-only, Teredo, benchmarks, ORCHID, documentation, 6to4, segment routing.
            "64:ff9b::7f00:1",
            "64:ff9b::808:808",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:2::1",
            "2001:10::1",
            "2001:20::1",
            "2001:1ff:ffff::1",
            "2001:db8::1",
            "2001:db8:ffff::1",
            "2002:7f00:1::1",
            "2002:808:808::1",
            "3fff::1",
            "3fff:fff:ffff::1",
            "5f00::1",
            // Unique local, link-local, site-local, multicast.
            "fc00::1",
            "fd00::1",
            "fd00:ec2::254",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "feff::1",
            "ff02::1",
            "ffff::1",
        ];
        for text in inside {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn their_neighbours_are_public() {
        let public = [
            "1.0.0.0",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "168.63.129.15",
            "168.63.129.17",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.0.3.0",
            "192.88.98.255",
            "192.88.100.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "198.51.99.255",
            "198.51.101.0",
            "203.0.112.255",
            "203.0.114.0",
            "223.255.255.255",
            "8.8.8.8",
            "2000::1",
            "2001:200::1",
            "2001:4860:4860::8888",
            "2001:db7::1",
            "2001:db9::1",
            "2003::1",
            "2606:4700::1111",
            "2a00::1",
            "3fff:1000::1",
        ];
        for text in public {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn urls_are_judged_as_they_will_be_called() {
        const HTTPS: &str = "only https is called";
        const USER: &str = "a URL with a user name or password is not called";
        const LOCAL: &str = "a name of this machine or network is not called";
        let table = [
            ("http://api.pax8.com/", HTTPS),
            ("ftp://api.pax8.com/", HTTPS),
            ("file:///etc/passwd", HTTPS),
            ("data:,x", HTTPS),
            ("https://user@api.pax8.com/", USER),
            ("https://:password@api.pax8.com/", USER),
            ("https://api.pax8.com@127.0.0.1/", USER),
            ("https://localhost/", LOCAL),
            ("https://LOCALHOST:8443/", LOCAL),
            ("https://localhost./", LOCAL),
            ("https://localhost../", LOCAL),
            ("https://a.localhost/", LOCAL),
            ("https://printer.local/", LOCAL),
            ("https://printer.local./", LOCAL),
            ("https://metadata.google.internal/", LOCAL),
            ("https://ｌｏｃａｌｈｏｓｔ/", LOCAL),
            ("https://%6cocalhost/", LOCAL),
            ("https://127.0.0.1/", NOT_PUBLIC),
            ("https://127.0.0.1./", NOT_PUBLIC),
            ("https://127.0.0.1:8443/", NOT_PUBLIC),
            ("https://2130706433/", NOT_PUBLIC),
            ("https://0177.0.0.1/", NOT_PUBLIC),
            ("https://017700000001/", NOT_PUBLIC),
            ("https://127.1/", NOT_PUBLIC),
            ("https://127.0.1/", NOT_PUBLIC),
            ("https://0x7f.1/", NOT_PUBLIC),
            ("https://0x7f000001/", NOT_PUBLIC),
            ("https://0X7F.0x0.0x0.0x1/", NOT_PUBLIC),
            ("https://１２７。０。０。１/", NOT_PUBLIC),
            ("https://%31%32%37.0.0.1/", NOT_PUBLIC),
            ("https://0/", NOT_PUBLIC),
            ("https://0.0.0.0/", NOT_PUBLIC),
            ("https://100.64.0.1/", NOT_PUBLIC),
            ("https://169.254.169.254/metadata/identity/oauth2/token", NOT_PUBLIC),
            ("https://2852039166/", NOT_PUBLIC),
            ("https://168.63.129.16/", NOT_PUBLIC),
            ("https://[::1]/", NOT_PUBLIC),
            ("https://[::]/", NOT_PUBLIC),
            ("https://[::ffff:127.0.0.1]/", NOT_PUBLIC),
            ("https://[::ffff:7f00:1]/", NOT_PUBLIC),
            ("https://[0:0:0:0:0:ffff:a9fe:a9fe]/", NOT_PUBLIC),
            ("https://[64:ff9b::169.254.169.254]/", NOT_PUBLIC),
            ("https://[fd00::1]/", NOT_PUBLIC),
            ("https://[fe80::1]/", NOT_PUBLIC),
        ];
        for (url, reason) in table {
            assert_eq!(refusal(&url.parse().unwrap()), Some(reason), "{url}");
        }
        for url in [
            "https://api.pax8.com/",
            "https://api.pax8.com./",
            "https://API.PAX8.COM:8443/a?b#c",
            "https://localhost.example.com/",
            "https://mylocalhost/",
            "https://internal.example.com/",
            "https://8.8.8.8/",
            "https://[2606:4700::1111]/",
        ] {
            assert_eq!(refusal(&url.parse().unwrap()), None, "{url}");
        }
    }

    #[test]
    fn what_is_neither_a_name_nor_an_address_is_no_url() {
        for url in
            ["https:///", "https://1.2.3.4.5/", "https://256.0.0.1/", "https://a.0x7f/", "https://[fe80::1%25eth0]/"]
        {
            // Slashes too many are skipped: `https:///x` is `https://x`.
            assert!(Url::parse(url).is_err(), "{url}");
        }
    }
}
