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
    // Almost always the first character tells.
    let (first, wanted) = (text.chars().next()?, secret.chars().next()?);
    if !first.eq_ignore_ascii_case(&wanted) && !matches!(first, '%' | '\\' | '&' | '+') {
        return None;
    }
    let mut rests = vec![text];
    for c in secret.chars() {
        // A percent sign may be one, or the begin of an encoded one: both are followed.
        rests = rests.into_iter().flat_map(|text| skip(text, c)).collect();
        rests.sort_unstable_by_key(|rest| rest.len());
        rests.dedup_by_key(|rest| rest.len());
        if rests.is_empty() {
            return None;
        }
    }
    rests.first().copied()
}

/// What follows the character, in each way that it can be meant: itself, in a URL, in JSON, in HTML.
fn skip(text: &str, c: char) -> Vec<&str> {
    let mut chars = text.chars();
    let Some(first) = chars.next() else { return Vec::new() };
    let mut rests = Vec::new();
    if first.eq_ignore_ascii_case(&c) || (first, c) == ('+', ' ') {
        rests.push(chars.as_str());
    }
    match first {
        '%' => {
            // A URL inside a URL is encoded twice.
            for percent in ["%", "%25"] {
                let mut bytes = [0; 4];
                let mut bytes = c.encode_utf8(&mut bytes).bytes();
                rests.extend(bytes.try_fold(text, |text, byte| hex_after(text, percent, 2, byte.into())));
            }
        }
        // So is JSON inside JSON, hence any number of them.
        '\\' => {
            let rest = after_backslashes(text);
            let short = match c {
                '\n' => 'n',
                '\r' => 'r',
                '\t' => 't',
                same => same,
            };
            rests.extend(rest.strip_prefix(short));
            rests.extend(text.strip_prefix("\\\\").filter(|_| c == '\\'));
            rests.extend(text.strip_prefix("\\\\\\\\").filter(|_| c == '\\'));
            let mut units = [0; 2];
            let mut left = Some(text);
            for unit in c.encode_utf16(&mut units) {
                left = left.and_then(|text| hex_after(after_backslashes(text), "u", 4, (*unit).into()));
            }
            rests.extend(left);
        }
        '&' => {
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
            rests.extend(names.iter().find(start).map(|name| &text[name.len()..]));
        }
        _ => {}
    }
    rests
}

/// As many as JSON six levels deep has. More would mean to go through all of a long text at each of its characters.
fn after_backslashes(text: &str) -> &str {
    let count = text.bytes().take(63).take_while(|byte| *byte == b'\\').count();
    &text[count..]
}

/// What follows a number of that many hexadecimal digits.
fn hex_after<'a>(text: &'a str, before: &str, digits: usize, value: u32) -> Option<&'a str> {
    let (number, rest) = text.strip_prefix(before)?.split_at_checked(digits)?;
    (u32::from_str_radix(number, 16) == Ok(value)).then_some(rest)
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    #[test]
    fn whatever_the_spelling() {
        let secret = "s\"e/c r&t\u{fc}+\u{1f511}~1%25\\";
        let secrets = Secrets::new([secret.to_owned()]);
        let form: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        let strict = percent_encoding::utf8_percent_encode(secret, percent_encoding::NON_ALPHANUMERIC).to_string();
        let twice = percent_encoding::utf8_percent_encode(&strict, percent_encoding::NON_ALPHANUMERIC).to_string();
        let json = serde_json::json!(secret).to_string();
        let controls = percent_encoding::utf8_percent_encode(secret, percent_encoding::CONTROLS).to_string();
        let spelled = [
            secret.to_owned(),
            strict.to_lowercase(),
            strict,
            form,
            controls,
            twice,
            serde_json::json!(json).to_string(),
            json,
            "s\\u0022e\\/c\\u0020r\\u0026t\\u00FC\\u002b\\ud83d\\udd11~1%25\\\\".to_owned(),
            "s&quot;e&#x2F;c r&amp;t\u{fc}+\u{1f511}~1%25\\".to_owned(),
            STANDARD.encode(secret),
            URL_SAFE_NO_PAD.encode(secret),
        ];
        for text in spelled {
            let told = secrets.redact(&format!("sent {text}, sorry"), 200);
            assert!(told.contains(REDACTED) && told.starts_with("sent ") && told.ends_with("sorry"), "{text}: {told}");
            assert!(told.len() <= "sent \"\\\"[redacted]==\\\"\", sorry".len(), "{text}: {told}");
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
