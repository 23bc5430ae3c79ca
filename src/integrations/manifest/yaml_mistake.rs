//! What a person did when a text is no YAML. The reader says where it gave up, seldom why; so the lines there are compared
//! with what people get wrong. Guesses, since there is no tree to look at. Must not know what a manifest may say.

use regex_lite::Regex;
use serde_json::Value;

/// Stands for a quoted character, which is no punctuation.
const QUOTED: char = '\u{1}';

/// The line that has to be mended and the remedy, where the reader gave up at `line` for that reason.
pub fn explain(reason: &str, line: usize, text: &str) -> (usize, String) {
    let lines: Vec<_> = text.lines().map(Line::new).collect();
    // It is the line behind that goes on with what the comment ended.
    let line = if reason.contains("comment") { lines.len().min(line + 1) } else { line };
    let text = Text { lines, line, reason };
    let here = |message| (line, message);
    let found = text
        .tab()
        .or_else(|| text.open_quote())
        .or_else(|| text.at(line)?.odd_space().map(here))
        .or_else(|| text.open_bracket())
        .or_else(|| text.value().map(here))
        .or_else(|| text.odd_space_above())
        .or_else(|| text.indentation().map(here))
        .or_else(|| text.no_key());
    found.unwrap_or_else(|| {
        let remedies = [
            ("unclosed bracket", text.unclosed_on(line)),
            ("misplaced bracket", "a bracket is closed that was never opened; leave it out"),
            (
                "trailing content",
                "text goes on behind the closing quote; quote all of it, and write '' for ' in single quotes",
            ),
            ("unknown escape", "\\ means something else in double quotes; write \\\\, or use single quotes"),
        ];
        let remedy = remedies.into_iter().find(|(part, _)| reason.contains(part)).map(|(_, remedy)| remedy.to_owned());
        (line, remedy.unwrap_or_else(|| format!("not readable as YAML: {reason}")))
    })
}

/// `key:value` is text in YAML.
pub fn missing_space(text: &str) -> Option<String> {
    let (key, value) = text.split_once(':')?;
    let is_key = !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    (is_key && !value.is_empty() && !value.starts_with(' ') && !value.starts_with("//"))
        .then(|| format!("a space is missing after '{key}:'"))
}

struct Text<'a> {
    lines: Vec<Line<'a>>,
    /// Where the reader gave up, counted from 1.
    line: usize,
    reason: &'a str,
}

impl Text<'_> {
    fn gave_up(&self, reasons: &[&str]) -> bool {
        reasons.iter().any(|reason| self.reason.contains(reason))
    }

    fn at(&self, line: usize) -> Option<&Line<'_>> {
        self.lines.get(line.checked_sub(1)?)
    }

    /// The lines above that say something, the nearest first.
    fn above(&self) -> impl Iterator<Item = (usize, &Line<'_>)> {
        (1..self.line).rev().filter_map(|line| Some((line, self.at(line)?))).filter(|(_, line)| !line.is_blank())
    }

    /// The reader may have given up at the line before it.
    fn tab(&self) -> Option<(usize, String)> {
        let blames = self.gave_up(&["tab"]);
        let has_tab = |line: &Line<'_>| line.margin().contains('\t') || (blames && line.text.contains('\t'));
        let last = if blames { self.lines.len() } else { self.line };
        let line = (self.line..=last).find(|line| self.at(*line).is_some_and(has_tab))?;
        Some((line, "a tab; YAML is indented with spaces: write spaces instead".to_owned()))
    }

    fn open_quote(&self) -> Option<(usize, String)> {
        let open = (1..=self.line).rev().find_map(|line| Some((line, self.at(line)?.open_quote?)));
        let (line, quote) = open.filter(|_| self.gave_up(&["quote", "flow", "bracket"]))?;
        // A quote may go over several lines; the one that ends it is there without another.
        if self.lines.iter().take(self.line).skip(line).any(|later| later.text.matches(quote).count() % 2 == 1) {
            return None;
        }
        Some((line, format!("the quote {quote} that opens here is never closed; close it on the same line")))
    }

    /// In the line above, which then swallowed this one. Not of an item: `- orgs:read` is a text.
    fn odd_space_above(&self) -> Option<(usize, String)> {
        let (line, above) = self.above().next().filter(|(_, above)| !above.plain.trim_start().starts_with("- "))?;
        Some((line, above.odd_space()?))
    }

    /// Brackets that are open where a line begins: the lines that opened them, and what.
    fn brackets(&self) -> Vec<(usize, char)> {
        let mut open = Vec::new();
        for (line, number) in self.lines.iter().zip(1..self.line) {
            for (at, c) in line.plain.char_indices() {
                match c {
                    '{' | '[' if !open.is_empty() || line.opens_bracket(at) => open.push((number, c)),
                    '}' | ']' => {
                        open.pop();
                    }
                    _ => {}
                }
            }
        }
        open
    }

    /// A bracket from which this line does not look like the continuation, since it is not indented further.
    fn open_bracket(&self) -> Option<(usize, String)> {
        let here =
            self.at(self.line).filter(|_| self.gave_up(&["flow", "bracket", "inside a block", "illegal placement"]))?;
        let goes_on = |line: usize| self.at(line).is_some_and(|opens| here.indent > opens.column());
        let (line, _) = self.brackets().into_iter().rfind(|(line, _)| !goes_on(*line))?;
        (!here.plain.trim_start().starts_with(['}', ']'])).then(|| (line, self.unclosed_on(line).to_owned()))
    }

    fn unclosed_on(&self, line: usize) -> &'static str {
        if self.at(line).is_some_and(|line| line.comment) {
            "a bracket is never closed, since what follows ' #' is a comment; quote the text with the # in it"
        } else {
            "a bracket that opens here is never closed; close it, or quote the value"
        }
    }

    /// Text that means something else without quotes.
    fn value(&self) -> Option<String> {
        let here = self.at(self.line)?;
        let in_bracket = !self.brackets().is_empty() || (0..here.plain.len()).any(|at| here.opens_bracket(at));
        here.curly_quotes().or_else(|| here.colon(in_bracket)).or_else(|| here.special(in_bracket))
    }

    fn indentation(&self) -> Option<String> {
        let here = self
            .at(self.line)
            .filter(|_| self.gave_up(&["expected key", "'-' indicator", "mapping values", "simple key", "comment"]))?;
        // What is open here: ever further out.
        let mut columns: Vec<usize> = Vec::new();
        for (_, line) in self.above() {
            let item = line.plain.trim_start().starts_with("- ").then_some(line.indent + 2);
            for column in item.into_iter().chain([line.indent]) {
                if columns.last().is_none_or(|last| column < *last) {
                    columns.push(column);
                }
            }
        }
        if !columns.is_empty() && !columns.contains(&here.indent) {
            let columns: Vec<_> = columns.iter().map(usize::to_string).collect();
            let (here, above, rule) =
                (here.indent, columns.join(" or "), "keys of one mapping begin in the same column");
            return Some(format!(
                "indented by {here} where the lines above are by {above}; {rule}, as do items of one list"
            ));
        }
        let is_item = |line: &Line<'_>| line.plain.trim_start().starts_with('-');
        let beside = self.above().find(|(_, line)| line.indent <= here.indent).map(|(_, line)| line);
        (!is_item(here) && beside.is_some_and(|line| is_item(line) && line.indent == here.indent))
            .then(|| "beside items of a list, but none itself; begin it with '- ', or indent it further".to_owned())
    }

    /// Text alone, which may have swallowed the next line.
    fn no_key(&self) -> Option<(usize, String)> {
        let here = self.at(self.line).map(|here| (self.line, here));
        let mut lines =
            here.into_iter().chain(self.above().next()).filter(|_| self.gave_up(&["simple key", "mapping values"]));
        let (line, _) = lines.find(|(_, line)| !line.plain.contains(':'))?;
        Some((line, "text without a key; write `key: value`".to_owned()))
    }
}

struct Line<'a> {
    text: &'a str,
    /// Without what is quoted and the comment; what is left is where it was.
    plain: String,
    indent: usize,
    open_quote: Option<char>,
    comment: bool,
}

impl<'a> Line<'a> {
    fn new(text: &'a str) -> Self {
        let (mut plain, mut quote, mut comment) = (String::new(), None, false);
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            let quoted = match quote {
                Some(open) => {
                    if c == open {
                        quote = None;
                    }
                    true
                }
                // After a quoted character it is a doubled one.
                None if matches!(c, '"' | '\'') && (begins_value(&plain) || plain.ends_with(QUOTED)) => {
                    quote = Some(c);
                    true
                }
                None if c == '#' && (plain.is_empty() || plain.ends_with(char::is_whitespace)) => {
                    comment = true;
                    break;
                }
                None => false,
            };
            let escaped = if quote == Some('"') && c == '\\' { chars.next() } else { None };
            for c in [c].into_iter().chain(escaped) {
                plain.extend(std::iter::repeat_n(
                    if quoted { QUOTED } else { c },
                    if quoted { c.len_utf8() } else { 1 },
                ));
            }
        }
        Self { text, plain, indent: text.len() - text.trim_start_matches(' ').len(), open_quote: quote, comment }
    }

    /// Where its key begins, or its item.
    fn column(&self) -> usize {
        let item = self.plain.trim_start().strip_prefix("- ");
        self.indent + if item.is_some_and(|item| !item.starts_with(['{', '['])) { 2 } else { 0 }
    }

    fn is_blank(&self) -> bool {
        self.plain.trim().is_empty()
    }

    /// The space before the text.
    fn margin(&self) -> &str {
        &self.text[..self.text.len() - self.text.trim_start().len()]
    }

    /// After the key, if there is one.
    fn value(&self) -> &str {
        let line = self.plain.trim();
        let line = line.strip_prefix("- ").unwrap_or(line);
        line.split_once(": ").map_or(line, |(_, value)| value.trim_start())
    }

    /// Whether a mapping or a list in brackets begins there, and no template.
    fn opens_bracket(&self, at: usize) -> bool {
        let Some((before, rest)) = self.plain.split_at_checked(at) else { return false };
        let opens = rest.starts_with(['{', '[']) && !rest.starts_with("{{") && !before.ends_with('{');
        opens && begins_value(before)
    }

    fn odd_space(&self) -> Option<String> {
        if !self.margin().is_ascii() || [":\u{a0}", "-\u{a0}"].iter().any(|odd| self.plain.contains(odd)) {
            return Some("a space here is a no-break space (U+00A0); write an ordinary one".to_owned());
        }
        let line = self.plain.trim_start();
        if line.starts_with('-') && !line.starts_with("--") && !line[1..].starts_with(' ') && line.len() > 1 {
            return Some("a space is missing after '-'".to_owned());
        }
        missing_space(line.strip_prefix("- ").unwrap_or(line))
    }

    fn curly_quotes(&self) -> Option<String> {
        let quote = |(at, c)| "“”„‘’".contains(c) && begins_value(&self.plain[..at]);
        let (_, quote) = self.plain.char_indices().find(|found| quote(*found))?;
        Some(format!("{quote} is no quote in YAML; write the straight ones, \" or '"))
    }

    /// A value with what ends a key.
    fn colon(&self, in_bracket: bool) -> Option<String> {
        let ends: &[char] = if in_bracket { &[',', '{', '}', '[', ']'] } else { &[] };
        let value = self.plain.split(ends).find_map(|part| {
            let (_, value) = part.split_once(": ")?;
            let value = value.trim();
            (value.contains(": ") || value.ends_with(':')).then_some(value)
        })?;
        Some(format!("a value with ': ' in it needs quotes: {}", self.quote(value)))
    }

    /// A value that begins with what means something else in YAML; `{{` does so anywhere inside brackets.
    fn special(&self, in_bracket: bool) -> Option<String> {
        let value = self.value();
        if let Some(special) =
            ["{{", "*", "&", "@", "%", "`", "!"].into_iter().find(|special| value.starts_with(special))
        {
            return Some(format!("in YAML a value that begins with {special} needs quotes: {}", self.quote(value)));
        }
        let template = r"(?:^|: |[,\[])\s*((?:(?:[^,\[\]{}:]|:[^\s{])*\{\{[^{}]*\}\})+[^,\[\]{}]*)";
        let found = Regex::new(template).ok().filter(|_| in_bracket)?.captures(&self.plain)?.get(1)?;
        Some(format!("in brackets a value with {{{{ in it needs quotes: {}", self.quote(found.as_str())))
    }

    /// A part of `plain`, as it should be written.
    fn quote(&self, part: &str) -> String {
        let begin = self.plain.find(part).unwrap_or_default();
        let written = self.text.get(begin..begin + part.len()).unwrap_or(part);
        Value::from(written.trim()).to_string()
    }
}

/// Whether what follows is not in the middle of a value.
fn begins_value(before: &str) -> bool {
    let line = before.trim_end();
    line.is_empty() || line.ends_with(['{', '[', ',', ':']) || (line.len() < before.len() && line.ends_with('-'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::integrations::manifest::document::Document;

    const GOOD: &str = r#"id: acme
name: Acme
config:
  - {key: key, title: Key, help: Under Settings.}
  - key: host
    title: Host
auth:
  type: api_key
  headers: {X-Key: "{{config.key}}"}
list_organizations:
  request: {path: /sites}
  paginator: {type: single_page}
  mapping:
    id: /id
    name: [/name]
"#;

    /// What is written, and by mistake instead.
    const MISTAKES: &[(&str, &str)] = &[
        // Templates, without quotes.
        ("\"{{config.key}}\"", "{{config.key}}"),
        ("\"{{config.key}}\"", "Token {{config.key}}"),
        ("path: /sites", "path: /sites/{{org.id}}"),
        ("{path: /sites}", "{\n    path: https://example.com/{{org.id}}\n  }"),
        ("name: Acme", "name: {{config.key}}"),
        // Characters that look like others.
        ("\"{{config.key}}\"", "“{{config.key}}”"),
        ("name: Acme", "name: „Acme: x“"),
        ("  type: api_key", "\u{a0} type: api_key"),
        ("name: Acme", "name:\u{a0}Acme"),
        ("  type: api_key", "\ttype: api_key"),
        ("name: Acme", "name: Acme\n\tx: y"),
        ("name: Acme", "notes: >\n  a\n\tb"),
        // A value that looks like a key.
        ("help: Under Settings.", "help: My Acme: Settings"),
        ("name: Acme", "name: Acme: the best"),
        ("name: Acme", "name: Acme:"),
        ("name: Acme", "name: \\Acme: the best"),
        // Keys that are none.
        ("name: Acme", "name:Acme"),
        ("id: acme", "id:acme"),
        ("    id: /id", "    id:/id"),
        ("name: Acme", "Acme"),
        ("id: acme", "id acme"),
        // Indentation.
        ("  type: api_key", "   type: api_key"),
        ("    title: Host", "   title: Host"),
        ("    title: Host", "     title: Host"),
        ("  - key: host", " - key: host"),
        ("  - key: host", "  key: host"),
        ("  - key: host", "  -key: host"),
        ("    id: /id", "      id: /id"),
        ("    id: /id", "  id: /id"),
        ("    id: /id", "   id: /id # of theirs"),
        // Comments that are meant as text.
        ("help: Under Settings.", "help: No # 1."),
        ("path: /sites", "path: /sites # all"),
        // What is never closed.
        ("name: Acme", "name: \"Acme"),
        ("name: Acme", "name: 'Acme"),
        ("help: Under Settings.", "help: \"Under Settings."),
        ("name: [/name]", "name: \"/name"),
        ("type: single_page}", "type: single_page"),
        ("Under Settings.}", "Under Settings."),
        ("path: /sites}", "path: /sites,\n    query: {a: b}"),
        ("name: [/name]", "name: [/name"),
        ("name: [/name]", "name: [/name\nx: y"),
        ("path: /sites}", "path: \"/sites}"),
        ("  - key: host\n", "  - key: {host: x\n"),
        // What is closed too early.
        ("type: single_page}", "type: single_page}}"),
        ("name: Acme", "name: 'Acme's'"),
        ("name: Acme", "name: \"\\d\""),
        // Not what it looks like: text in a block, a value on several lines.
        ("name: Acme", "notes: |\n  {a\n  \"b\nname: a: b"),
        ("path: /sites", "path: /sites,\n    query: a: b"),
    ];

    /// What is told when the first text is replaced by the second.
    fn told(from: &str, to: &str) -> String {
        assert!(GOOD.contains(from), "{from}");
        Document::parse(&GOOD.replacen(from, to, 1)).map_or_else(|problem| problem.to_string(), |_| "fine".to_owned())
    }

    #[test]
    fn what_people_get_wrong_is_told_where_it_is_with_its_remedy() {
        assert!(Document::parse(GOOD).is_ok());
        let told: Vec<_> = MISTAKES.iter().map(|(from, to)| told(from, to)).collect();
        insta::assert_snapshot!(told.join("\n"), @r#"
        9: in brackets a value with {{ in it needs quotes: "{{config.key}}"
        9: in brackets a value with {{ in it needs quotes: "Token {{config.key}}"
        11: in brackets a value with {{ in it needs quotes: "/sites/{{org.id}}"
        12: in brackets a value with {{ in it needs quotes: "https://example.com/{{org.id}}"
        2: in YAML a value that begins with {{ needs quotes: "{{config.key}}"
        9: “ is no quote in YAML; write the straight ones, " or '
        2: „ is no quote in YAML; write the straight ones, " or '
        8: a space here is a no-break space (U+00A0); write an ordinary one
        2: a space here is a no-break space (U+00A0); write an ordinary one
        8: a tab; YAML is indented with spaces: write spaces instead
        3: a tab; YAML is indented with spaces: write spaces instead
        4: a tab; YAML is indented with spaces: write spaces instead
        4: a value with ': ' in it needs quotes: "My Acme: Settings"
        2: a value with ': ' in it needs quotes: "Acme: the best"
        2: a value with ': ' in it needs quotes: "Acme:"
        2: a value with ': ' in it needs quotes: "\\Acme: the best"
        2: a space is missing after 'name:'
        1: a space is missing after 'id:'
        14: a space is missing after 'id:'
        2: text without a key; write `key: value`
        1: text without a key; write `key: value`
        9: indented by 2 where the lines above are by 3 or 0; keys of one mapping begin in the same column, as do items of one list
        6: indented by 3 where the lines above are by 4 or 2 or 0; keys of one mapping begin in the same column, as do items of one list
        6: indented by 5 where the lines above are by 4 or 2 or 0; keys of one mapping begin in the same column, as do items of one list
        5: indented by 1 where the lines above are by 4 or 2 or 0; keys of one mapping begin in the same column, as do items of one list
        5: beside items of a list, but none itself; begin it with '- ', or indent it further
        5: a space is missing after '-'
        15: indented by 4 where the lines above are by 6 or 2 or 0; keys of one mapping begin in the same column, as do items of one list
        15: indented by 4 where the lines above are by 2 or 0; keys of one mapping begin in the same column, as do items of one list
        15: indented by 4 where the lines above are by 3 or 2 or 0; keys of one mapping begin in the same column, as do items of one list
        4: a bracket is never closed, since what follows ' #' is a comment; quote the text with the # in it
        11: a bracket is never closed, since what follows ' #' is a comment; quote the text with the # in it
        2: the quote " that opens here is never closed; close it on the same line
        2: the quote ' that opens here is never closed; close it on the same line
        4: the quote " that opens here is never closed; close it on the same line
        15: the quote " that opens here is never closed; close it on the same line
        12: a bracket that opens here is never closed; close it, or quote the value
        4: a bracket that opens here is never closed; close it, or quote the value
        11: a bracket that opens here is never closed; close it, or quote the value
        15: a bracket that opens here is never closed; close it, or quote the value
        15: a bracket that opens here is never closed; close it, or quote the value
        11: the quote " that opens here is never closed; close it on the same line
        5: a bracket that opens here is never closed; close it, or quote the value
        12: a bracket is closed that was never opened; leave it out
        2: text goes on behind the closing quote; quote all of it, and write '' for ' in single quotes
        2: \ means something else in double quotes; write \\, or use single quotes
        5: a value with ': ' in it needs quotes: "a: b"
        12: a value with ': ' in it needs quotes: "a: b"
        "#);
    }

    #[test]
    fn what_stands_above_and_is_right_is_not_blamed() {
        let told = |above: &str, mistake: (&str, &str)| {
            let text = GOOD.replacen("name: Acme", above, 1).replacen(mistake.0, mistake.1, 1);
            Document::parse(&text).unwrap_err().to_string()
        };
        let quote = "name: \"Acme\n  and others\"";
        insta::assert_snapshot!(told(quote, ("single_page}", "single_page")), @"13: a bracket that opens here is never closed; close it, or quote the value");
        insta::assert_snapshot!(told(quote, ("\"{{config.key}}\"", "{{config.key}}")), @r#"10: in brackets a value with {{ in it needs quotes: "{{config.key}}""#);
        let item = "scopes:\n  - orgs:read\nother: {a: {{config.key}}}";
        insta::assert_snapshot!(told(item, ("name: Acme", "name: Acme")), @r#"4: in brackets a value with {{ in it needs quotes: "{{config.key}}""#);
    }

    #[test]
    fn any_line_can_be_compared() {
        for reason in ["tab", "quoted scalar", "flow", "expected key", "'-' indicator", "unclosed bracket", ""] {
            for line in 0..4 {
                explain(reason, line, "- é: “{\n\u{a0}\"\\");
            }
        }
    }
}
