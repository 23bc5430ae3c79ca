//! What happens to a path and a query on their way through the host: pure functions, one table of cases each.
//!
//! The handler never sees the path as it was sent. Kestrel decodes it, the routes are matched on the decoded form, and
//! each of the two ways to the handler encodes it again by rules of its own.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// RFC 3986's unreserved characters are the only ones left alone.
const NOT_UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// YARP's `RequestUtilities.EncodePath` leaves these alone; note that `%` is not among them.
const NOT_IN_YARP_PATH: &AsciiSet = &NOT_UNRESERVED
    .remove(b'!')
    .remove(b'$')
    .remove(b'&')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')')
    .remove(b'*')
    .remove(b'+')
    .remove(b',')
    .remove(b'/')
    .remove(b':')
    .remove(b';')
    .remove(b'=')
    .remove(b'@');
/// System.Uri's `AbsolutePath` leaves the reserved characters alone too, and has handled `%` before.
const NOT_IN_URI_PATH: &AsciiSet = &NOT_IN_YARP_PATH.remove(b'[').remove(b']').remove(b'%');

/// Kestrel's decoding: every valid UTF-8 sequence except `%2F`, then dot segments. `None`: answered with 400.
pub fn decode(raw: &str) -> Option<String> {
    if !raw.is_ascii() || raw.contains("%00") {
        return None;
    }
    let mut decoded = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(start) = rest.find('%') {
        decoded.push_str(&rest[..start]);
        rest = &rest[start..];
        match escaped_char(rest) {
            Some((char, escape)) if char != '/' => {
                decoded.push(char);
                rest = &rest[escape..];
            }
            _ => {
                decoded.push('%');
                rest = &rest[1..];
            }
        }
    }
    decoded.push_str(rest);
    Some(without_dot_segments(&decoded))
}

/// The character whose percent-encoded UTF-8 `text` begins with, and the length of that escape.
fn escaped_char(text: &str) -> Option<(char, usize)> {
    let mut bytes = Vec::new();
    for escape in text.as_bytes().chunks_exact(3).take(4) {
        bytes.push(escaped_byte(escape)?);
        if let Some(char) = std::str::from_utf8(&bytes).ok().and_then(|text| text.chars().next()) {
            return Some((char, bytes.len() * 3));
        }
    }
    None
}

fn escaped_byte(text: &[u8]) -> Option<u8> {
    let [b'%', high, low, ..] = text else { return None };
    let digit = |byte: &u8| char::from(*byte).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

fn without_dot_segments(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    let mut tokens = path.split('/').skip(1).peekable();
    while let Some(segment) = tokens.next() {
        let last = tokens.peek().is_none();
        match segment {
            "." | ".." => {
                if segment == ".." {
                    segments.pop();
                }
                if last {
                    segments.push(""); // `/a/.` is the folder `/a/`.
                }
            }
            _ => segments.push(segment),
        }
    }
    format!("/{}", segments.join("/"))
}

/// The path of the request that the proxy sends: YARP encodes the decoded path, so `%2F`, never decoded, becomes `%252F`.
pub fn proxied_path(decoded: &str) -> String {
    utf8_percent_encode(decoded, NOT_IN_YARP_PATH).to_string()
}

/// The path of the request that forwarding sends: `new Uri(request.GetDisplayUrl()).AbsolutePath`. The display URL is the
/// decoded path, so it is decoded a second time, and what was `%3F` or `%23` ends it.
pub fn forwarded_path(decoded: &str) -> String {
    let path = decoded.split(['?', '#']).next().unwrap_or_default().replace('\\', "/");
    let mut unescaped = String::with_capacity(path.len());
    let mut rest = path.as_str();
    while let Some(start) = rest.find('%') {
        unescaped.push_str(&rest[..start]);
        rest = &rest[start..];
        match escaped_byte(rest.as_bytes()) {
            Some(byte) if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
                unescaped.push(char::from(byte));
                rest = &rest[3..];
            }
            Some(_) => {
                unescaped.push_str(&rest[..3]);
                rest = &rest[3..];
            }
            None => {
                unescaped.push_str("%25");
                rest = &rest[1..];
            }
        }
    }
    unescaped.push_str(rest);
    utf8_percent_encode(&without_dot_segments(&unescaped), NOT_IN_URI_PATH).to_string()
}

/// The query that forwarding sends: parsed into a dictionary and put together again, so that repeated keys become one
/// and a bare key gets a `=`. Keys are compared without case.
pub fn forwarded_query(raw: &str) -> String {
    let mut values: Vec<(String, Vec<String>)> = Vec::new();
    for pair in raw.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (key, value) = (decode_query(key), decode_query(value));
        match values.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(&key)) {
            Some((_, collected)) => collected.push(value),
            None => values.push((key, vec![value])),
        }
    }
    let pairs = values.iter().map(|(key, values)| format!("{}={}", encode_query(key), encode_query(&values.join(","))));
    pairs.collect::<Vec<_>>().join("&")
}

fn decode_query(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

fn encode_query(text: &str) -> String {
    utf8_percent_encode(text, NOT_UNRESERVED).to_string()
}

#[test]
fn paths_through_the_host() {
    // As sent, as the proxy sends it on, as forwarding sends it on.
    let cases = [
        ("/api/organizations/a-b/integrations/halopsa", None, None),
        ("/api/a%20b", None, None),
        ("/api/caf%C3%A9", None, None),
        ("/api/%F0%9F%A6%80", None, None),
        ("/api/a%2Fb", Some("/api/a%252Fb"), Some("/api/a%2Fb")),
        ("/api/a%2fb", Some("/api/a%252fb"), Some("/api/a%2fb")),
        ("/api/%2541", Some("/api/%2541"), Some("/api/A")),
        ("/api/a%3Fb", Some("/api/a%3Fb"), Some("/api/a")),
        ("/api/a%23b", Some("/api/a%23b"), Some("/api/a")),
        ("/api/100%25", Some("/api/100%25"), Some("/api/100%25")),
        ("/api/%41", Some("/api/A"), Some("/api/A")),
        ("/api/it's", None, None),
        ("/api/%27", Some("/api/'"), Some("/api/'")),
        ("/api/%22%3C%3E", None, None),
        ("/api/a/../b", Some("/api/b"), Some("/api/b")),
        ("/api/a/%2E%2e/b", Some("/api/b"), Some("/api/b")),
        ("/api/a/%252e%252e/b", Some("/api/a/%252e%252e/b"), Some("/api/b")),
        ("/../api/a/.", Some("/api/a/"), Some("/api/a/")),
        ("/api/a%5Cb", Some("/api/a%5Cb"), Some("/api/a/b")),
        ("/api/%5B%5D", Some("/api/%5B%5D"), Some("/api/[]")),
        ("/api/%C3%28", Some("/api/%25C3("), Some("/api/%C3(")),
        ("/api/%zz", Some("/api/%25zz"), Some("/api/%25zz")),
        ("/api/%", Some("/api/%25"), Some("/api/%25")),
        ("/api/a+b;c=d,e@f:g", None, None),
        ("/api/tab%09", None, None),
    ];
    for (sent, proxied, forwarded) in cases {
        let decoded = decode(sent).unwrap_or_else(|| panic!("{sent} is refused"));
        assert_eq!(proxied_path(&decoded), proxied.unwrap_or(sent), "{sent} through the proxy");
        assert_eq!(forwarded_path(&decoded), forwarded.unwrap_or(sent), "{sent} forwarded");
    }
    assert_eq!(decode("/api/%00"), None);
    assert_eq!(decode("/api/é"), None);
}

#[test]
fn queries_that_are_forwarded() {
    let cases = [
        ("a=1&b=2", "a=1&b=2"),
        ("k=a&k=b", "k=a%2Cb"),
        ("k=a&K=b", "k=a%2Cb"),
        ("flag", "flag="),
        ("flag=", "flag="),
        ("q=a+b", "q=a%20b"),
        ("q=caf%C3%A9", "q=caf%C3%A9"),
        ("q=a%26b%3Dc", "q=a%26b%3Dc"),
        ("", ""),
    ];
    for (sent, forwarded) in cases {
        assert_eq!(forwarded_query(sent), forwarded, "{sent}");
    }
}
