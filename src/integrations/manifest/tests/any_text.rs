//! Whatever the text: no panic, and lines that it has.

use proptest::prelude::*;

use super::*;

fn lines_are_in(text: &str) -> Result<(), TestCaseError> {
    for problem in Manifest::load("halopsa.yaml", text).err().into_iter().flatten() {
        prop_assert!((1..=text.lines().count().max(1)).contains(&problem.line), "{problem}\n{text}");
        prop_assert!(!problem.message.is_empty());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_text_whatsoever_panics(text in any::<String>()) {
        lines_are_in(&text)?;
    }

    #[test]
    fn nor_what_looks_like_yaml(parts in prop::collection::vec(prop::sample::select(PARTS), 0..60)) {
        lines_are_in(&parts.concat())?;
    }

    /// Lines left out, doubled, and begun or ended with something else.
    #[test]
    fn nor_a_manifest_with_typing_errors(
        edits in prop::collection::vec((0..GOOD.lines().count(), 0..5_u8, prop::sample::select(PARTS)), 1..6),
    ) {
        let mut lines: Vec<_> = GOOD.lines().map(str::to_owned).collect();
        for (at, how, part) in edits {
            let at = at % lines.len();
            match how {
                0 => { lines.remove(at); }
                1 => lines.insert(at, lines[at].clone()),
                2 => lines[at].push_str(part),
                3 => lines[at] = format!("{part}{}", lines[at]),
                _ => lines[at] = lines[at].split(':').next().unwrap_or_default().to_owned() + ": " + part,
            }
        }
        lines_are_in(&lines.join("\n"))?;
    }
}

const PARTS: &[&str] = &[
    "id",
    "auth",
    "type",
    "x",
    ": ",
    ":\n",
    "\n",
    "\n  ",
    "\n    - ",
    "- ",
    "{",
    "}",
    "[",
    "]",
    ", ",
    "{{",
    "}}",
    "\"",
    "'",
    "|\n",
    ">\n  a",
    "&a ",
    "*a",
    "<<: ",
    "? ",
    "!t ",
    "!!binary ",
    "#",
    "---\n",
    "...\n",
    "%",
    "\t",
    "\r\n",
    "\u{85}",
    "\u{2028}",
    "\u{feff}",
    "~",
    "null",
    "1e999",
    "0x1f",
    "-1",
    "true",
    "é",
    "{{config.host}}",
    "https://",
    "/a",
    "\\",
];
