//! What was measured, as a table for a person.

use std::{fmt::Write as _, io::IsTerminal};

/// One line of the table.
pub struct Row {
    pub what: String,
    pub measured: String,
    pub target: String,
    /// None where nothing could be measured.
    pub met: Option<bool>,
}

/// Everything that was measured.
#[derive(Default)]
pub struct Report {
    rows: Vec<Row>,
    details: Vec<String>,
}

impl Report {
    /// A number that must not be above its target.
    pub fn at_most(&mut self, what: &str, measured: f64, target: f64, show: impl Fn(f64) -> String) {
        let target_text = format!("at most {}", show(target));
        self.row(what, show(measured), target_text, measured <= target);
    }

    /// A number that must not be below its target.
    pub fn at_least(&mut self, what: &str, measured: f64, target: f64, show: impl Fn(f64) -> String) {
        let target_text = format!("at least {}", show(target));
        self.row(what, show(measured), target_text, measured >= target);
    }

    fn row(&mut self, what: &str, measured: String, target: String, met: bool) {
        self.rows.push(Row { what: what.to_owned(), measured, target, met: Some(met) });
    }

    /// What could not be measured, and why.
    pub fn failed(&mut self, what: &str, error: &anyhow::Error) {
        let row = Row { what: what.to_owned(), measured: "nothing".to_owned(), target: String::new(), met: None };
        self.rows.push(row);
        self.detail(format!("{what}: {error:#}"));
    }

    /// The numbers behind a row, for whoever wants to know more.
    pub fn detail(&mut self, text: impl Into<String>) {
        self.details.push(text.into());
    }

    pub fn print(&self) {
        let rows = self.rows.iter().map(|row| {
            let met = row.met.map_or("NOT MEASURED", |met| if met { "yes" } else { "MISSED" });
            [row.what.as_str(), &row.measured, &row.target, met]
        });
        let table: Vec<_> = [["what", "measured", "target", "met"]].into_iter().chain(rows).collect();
        let widths =
            [0, 1, 2].map(|column| table.iter().map(|row| row[column].chars().count()).max().unwrap_or_default());
        let mut text = String::new();
        for [what, measured, target, met] in table {
            let [a, b, c] = widths;
            let _ = writeln!(text, "{what:a$}  {measured:>b$}  {target:c$}  {}", coloured(met));
        }
        for detail in &self.details {
            let _ = write!(text, "\n  {detail}");
        }
        println!("\n{text}");
    }
}

fn coloured(met: &str) -> String {
    let colour = match met {
        "yes" => 32,
        "MISSED" | "NOT MEASURED" => 31,
        _ => 1,
    };
    if std::io::stdout().is_terminal() { format!("\u{1b}[{colour}m{met}\u{1b}[0m") } else { met.to_owned() }
}

pub fn times(ratio: f64) -> String {
    format!("{ratio:.2} times")
}

pub fn millis(millis: f64) -> String {
    format!("{millis:.1} ms")
}

pub fn megabytes(megabytes: f64) -> String {
    format!("{megabytes:.1} MB")
}

pub fn trips(trips: f64) -> String {
    format!("{trips:.0} round trips")
}
