//! Keeps credentials out of messages: what an external system says may repeat what was sent to it, in another spelling.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};

/// What stands for a credential.
const REDACTED: &str = "[redacted]";
/// Bytes of the shortest credential that is looked for: shorter ones are parts of words.
const SHORTEST: usize = 4;
/// Shorter ones have no base64 that could not be something else.
const SHORTEST_INSIDE: usize = 8;

/// Texts that no message may hold.
#[derive(Default)]
pub struct Secrets(Vec<String>);

impl Secrets {
    pub fn new(texts: impl IntoIterator<Item = String>) -> Self {
        let plain = texts.into_iter().filter(|text| text.len() >= SHORTEST);
        let mut all: Vec<_> = plain.flat_map(|text| encoded(&text).into_iter().chain([text])).collect();
        // One that holds another is found first.
        all.sort_by_key(|text| std::cmp::Reverse(text.len()));
        all.dedup();
        Self(all)
    }

    /// `text` without them, of which at most `most` characters are kept: cut before, the first half of a credential would
    /// be left at the end.
    pub fn redact(&self, text: &str, most: usize) -> String {
        let (mut shown, mut length, mut rest) = (String::new(), 0, text);
        while length < most
            && let Some(first) = rest.chars().next()
        {
            if let Some(after) = self.0.iter().find_map(|secret| strip(rest, secret)) {
                shown.push_str(REDACTED);
                (length, rest) = (length + REDACTED.len(), after);
            } else {
                shown.push(first);
                (length, rest) = (length + 1, &rest[first.len_utf8()..]);
            }
        }
        shown
    }
}

/// Base64 of it alone, and the part that base64 of any text with it inside has, such as of `user:password`.
fn encoded(text: &str) -> Vec<String> {
    let mut all = vec![STANDARD_NO_PAD.encode(text), URL_SAFE_NO_PAD.encode(text)];
    if text.len() >= SHORTEST_INSIDE {
        for before in 0..3 {
            let bytes = [&[0; 2][..before], text.as_bytes()].concat();
            // Characters that are made of its bytes alone.
            let own = (before * 8).div_ceil(6)..bytes.len() * 8 / 6;
            all.extend(
                [STANDARD_NO_PAD.encode(&bytes), URL_SAFE_NO_PAD.encode(&bytes)].map(|it| it[own.clone()].into()),
            );
        }
    }
    all
}

/// What follows the secret at the begin of `text`, whatever the case and the spelling of each character.
fn strip<'a>(text: &'a str, secret: &str) -> Option<&'a str> {
    secret.chars().try_fold(text, skip)
}

fn skip(text: &str, c: char) -> Option<&str> {
    let mut chars = text.chars();
    if chars.next()?.eq_ignore_ascii_case(&c) {
        return Some(chars.as_str());
    }
    match text.as_bytes()[0] {
        b'%' => {
            c.encode_utf8(&mut [0; 4]).bytes().try_fold(text, |text, byte| hex(text.strip_prefix('%')?, 2, byte.into()))
        }
        b'\\' => {
            let rest = &text[1..];
            let short = match c {
                '\n' => 'n',
                '\r' => 'r',
                '\t' => 't',
                same => same,
            };
            let units = |rest, unit: &u16| hex(str::strip_prefix(rest, "\\u")?, 4, (*unit).into());
            rest.strip_prefix(short).or_else(|| c.encode_utf16(&mut [0; 2]).iter().try_fold(text, units))
        }
        b'+' if c == ' ' => Some(&text[1..]),
        b'&' => {
            let names: &[&str] = match c {
                '&' => &["&amp;", "&#38;", "&#x26;"],
                '<' => &["&lt;", "&#60;", "&#x3c;"],
                '>' => &["&gt;", "&#62;", "&#x3e;"],
                '"' => &["&quot;", "&#34;", "&#x22;"],
                '\'' => &["&#39;", "&#x27;", "&apos;"],
                '/' => &["&#47;", "&#x2f;"],
                _ => &[],
            };
            let start = |name: &&&str| text.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
            names.iter().find(start).map(|name| &text[name.len()..])
        }
        _ => None,
    }
}

/// What follows a number of that many hexadecimal digits.
fn hex(text: &str, digits: usize, value: u32) -> Option<&str> {
    let (number, rest) = text.split_at_checked(digits)?;
    (u32::from_str_radix(number, 16) == Ok(value)).then_some(rest)
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    #[test]
    fn whatever_the_spelling() {
        let secret = "s\"e/c r&t\u{fc}+\u{1f511}~1";
        let secrets = Secrets::new([secret.to_owned()]);
        let form: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        let strict = percent_encoding::utf8_percent_encode(secret, percent_encoding::NON_ALPHANUMERIC).to_string();
        let controls = percent_encoding::utf8_percent_encode(secret, percent_encoding::CONTROLS).to_string();
        let spelled = [
            secret.to_owned(),
            strict.to_lowercase(),
            strict,
            form,
            controls,
            serde_json::json!(secret).to_string(),
            "s\\u0022e\\/c\\u0020r\\u0026t\\u00FC\\u002b\\ud83d\\udd11~1".to_owned(),
            "s&quot;e&#x2F;c r&amp;t\u{fc}+\u{1f511}~1".to_owned(),
            STANDARD.encode(secret),
            URL_SAFE_NO_PAD.encode(secret),
        ];
        for text in spelled {
            let told = secrets.redact(&format!("sent {text}, sorry"), 200);
            assert!(told.contains(REDACTED) && told.starts_with("sent ") && told.ends_with("sorry"), "{text}: {told}");
            assert!(told.len() <= "sent \"[redacted]==\", sorry".len(), "{text}: {told}");
        }
        for before in ["", "u", "us", "use", "user", "user:"] {
            let told = secrets.redact(&STANDARD.encode(format!("{before}{secret}and more")), 200);
            assert!(told.contains(REDACTED), "{before}: {told}");
        }
    }

    #[test]
    fn the_cut_leaves_no_half() {
        let secrets = Secrets::new(["0123456789".to_owned()]);
        for begin in 0..20 {
            let told = secrets.redact(&format!("{}0123456789", "x".repeat(begin)), 12);
            assert!(!told.contains("01"), "{told}");
        }
        assert_eq!(secrets.redact("0123 %3 \\u00 \u{fc}% &am", 200), "0123 %3 \\u00 \u{fc}% &am");
        assert_eq!(Secrets::new(["abc".to_owned()]).redact("abc", 200), "abc");
    }
}
