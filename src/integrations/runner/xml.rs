//! XML as JSON: elements become objects, attributes `@name`, text `#text` or the value itself, repeated elements arrays.

use quick_xml::{Reader, events::Event};
use serde_json::{Map, Value};

/// Deepest nesting that is read.
const DEPTH: usize = 64;

/// # Errors
/// What is wrong with it.
pub fn decode(bytes: &[u8]) -> Result<Value, String> {
    let mut reader = Reader::from_reader(bytes);
    reader.config_mut().expand_empty_elements = true;
    // Elements that are open: name, what they hold so far, their text.
    let mut open: Vec<(String, Map<String, Value>, String)> = vec![(String::new(), Map::new(), String::new())];
    let mut buffer = Vec::new();
    let broken = || "the answer is not XML, or breaks off".to_owned();
    loop {
        match reader.read_event_into(&mut buffer).map_err(|_| broken())? {
            Event::Start(start) => {
                if open.len() > DEPTH {
                    return Err(format!("the answer's XML is nested more than {DEPTH} deep"));
                }
                let mut fields = Map::new();
                for attribute in start.attributes() {
                    let attribute = attribute.map_err(|_| broken())?;
                    let value = attribute.normalized_value(quick_xml::XmlVersion::Explicit1_0).map_err(|_| broken())?;
                    let name = format!("@{}", attribute.key.as_ref());
                    fields.insert(name, Value::from(value.into_owned()));
                }
                let name = start.name().as_ref().to_owned();
                open.push((name, fields, String::new()));
            }
            Event::Text(text) => append(&mut open, &text),
            Event::CData(text) => append(&mut open, &text),
            Event::GeneralRef(reference) => {
                let name: &str = &reference;
                let character = match reference.resolve_char_ref().map_err(|_| broken())? {
                    Some(character) => character.to_string(),
                    None => quick_xml::escape::resolve_predefined_entity(name).ok_or_else(broken)?.to_owned(),
                };
                append(&mut open, &character);
            }
            Event::End(_) => {
                let (name, mut fields, text) = open.pop().ok_or_else(broken)?;
                // The white space between elements means nothing.
                let text = text.trim();
                let value = if fields.is_empty() {
                    Value::from(text)
                } else {
                    if !text.is_empty() {
                        fields.insert("#text".to_owned(), Value::from(text));
                    }
                    Value::Object(fields)
                };
                let (_, parent, _) = open.last_mut().ok_or_else(broken)?;
                insert(parent, name, value);
            }
            Event::Eof => break,
            Event::Empty(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
        }
        buffer.clear();
    }
    match open.as_mut_slice() {
        [(_, root, _)] if !root.is_empty() => Ok(Value::Object(std::mem::take(root))),
        _ => Err(broken()),
    }
}

fn append(open: &mut [(String, Map<String, Value>, String)], text: &str) {
    if let Some((_, _, so_far)) = open.last_mut() {
        so_far.push_str(text);
    }
}

fn insert(parent: &mut Map<String, Value>, name: String, value: Value) {
    match parent.get_mut(&name) {
        None => {
            parent.insert(name, value);
        }
        Some(Value::Array(items)) => items.push(value),
        Some(first) => *first = Value::Array(vec![first.take(), value]),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn elements_attributes_and_text() {
        let text = br#"<?xml version="1.0"?><result status="OK"><items>
            <client><clientid>1</clientid><name><![CDATA[A & B]]></name></client>
            <client><clientid>2</clientid><name>C &amp; D &#x41;</name></client></items></result>"#;
        assert_eq!(
            decode(text).unwrap(),
            json!({"result": {"@status": "OK", "items": {"client": [
                {"clientid": "1", "name": "A & B"}, {"clientid": "2", "name": "C & D A"}
            ]}}})
        );
    }

    #[test]
    fn what_is_no_xml_is_an_error() {
        let deep = "<a>".repeat(10_000);
        for bad in ["", "{}", "<a>", "<a></b>", "<a>&unknown;</a>", &deep] {
            assert!(decode(bad.as_bytes()).is_err(), "{}", &bad[..bad.len().min(20)]);
        }
        let nested = |depth| decode(("<a>".repeat(depth) + &"</a>".repeat(depth)).as_bytes()).map(drop);
        assert_eq!(nested(DEPTH), Ok(()));
        assert_eq!(nested(DEPTH + 1), Err("the answer's XML is nested more than 64 deep".to_owned()));
    }
}
