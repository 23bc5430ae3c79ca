//! `crosswalk seed FILE`: loads the platform's tables into whatever store is configured, for tests and first runs.
//!
//! The file is JSON: table name → rows, each with `PartitionKey`, `RowKey` and scalar properties. Rows that are there are
//! replaced. The tables that this service owns are refused: a mapping that no one made has no audit event.

use std::{collections::BTreeMap, path::Path};

use anyhow::{Context, anyhow, bail};
use serde_json::{Map, Value};

use crate::tables::{Key, Properties, Property, Put, Row, Table, TableStore, check_row};

/// The tables that may be seeded: those that the platform owns.
const PLATFORM: [Table; 4] = [Table::Organizations, Table::UserPermissions, Table::Users, Table::Config];

/// # Errors
/// The file cannot be read or is not as described; the store refuses a row.
pub async fn run(file: &Path, tables: &dyn TableStore) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let rows = parse(&text).with_context(|| file.display().to_string())?;
    load(tables, &rows, |table, count| println!("{table}: {count} rows")).await
}

/// Reads the rows of a seed file.
///
/// # Errors
/// What is wrong, with table and row.
pub fn parse(text: &str) -> anyhow::Result<Vec<(Table, Vec<Row>)>> {
    let tables: BTreeMap<String, Vec<Map<String, Value>>> =
        serde_json::from_str(text).context("expected an object of table name → array of rows")?;
    let mut parsed = Vec::new();
    for (name, rows) in tables {
        let known = PLATFORM.map(Table::name).join(", ");
        let table = Table::named(&name).filter(|table| PLATFORM.contains(table));
        let table = table.ok_or_else(|| anyhow!("table '{name}' cannot be seeded; these can: {known}"))?;
        let rows = rows
            .into_iter()
            .enumerate()
            .map(|(index, row)| parse_row(row).with_context(|| format!("{name}, row {}", index + 1)));
        parsed.push((table, rows.collect::<anyhow::Result<_>>()?));
    }
    Ok(parsed)
}

fn parse_row(mut row: Map<String, Value>) -> anyhow::Result<Row> {
    let mut key = |name: &str| match row.remove(name) {
        Some(Value::String(text)) => Ok(text),
        _ => Err(anyhow!("{name} must be a string")),
    };
    let key = Key::new(key("PartitionKey")?, key("RowKey")?);
    let place = format!("{}/{}", key.partition, key.row);
    let mut properties = Properties::new();
    for (name, value) in row {
        let value = match value {
            Value::Null => continue,
            Value::String(text) => Property::Text(text),
            Value::Bool(value) => Property::Bool(value),
            Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(whole), _) => i32::try_from(whole).map_or(Property::Int64(whole), Property::Int32),
                (None, Some(double)) => Property::Double(double),
                (None, None) => bail!("{name} is no number that a table can hold"),
            },
            Value::Array(_) | Value::Object(_) => bail!("{name} must be a string, number or boolean"),
        };
        properties.insert(name, value);
    }
    let row = Row { key, properties };
    // Before the first one is stored: a file that is wrong somewhere changes nothing.
    check_row(&row).context(place)?;
    Ok(row)
}

/// Stores the rows; `progress` hears of each table that is done.
///
/// # Errors
/// The store refuses a row.
pub async fn load(
    tables: &dyn TableStore,
    rows: &[(Table, Vec<Row>)],
    progress: impl Fn(Table, usize),
) -> anyhow::Result<()> {
    for (table, rows) in rows {
        for row in rows {
            let name = || format!("{table} {}/{}", row.key.partition, row.key.row);
            tables.put(*table, row, &Put::Upsert).await.with_context(name)?;
        }
        progress(*table, rows.len());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistakes_name_table_and_row() {
        let error = |text| format!("{:#}", parse(text).unwrap_err());
        insta::assert_snapshot!(error(r#"{"AuditEvents": []}"#), @"table 'AuditEvents' cannot be seeded; these can: Organizations, UserPermissions, Users, Config");
        insta::assert_snapshot!(error(r#"{"Users": [{"PartitionKey": "USER", "RowKey": 1}]}"#), @"Users, row 1: RowKey must be a string");
        insta::assert_snapshot!(error(r#"{"Users": [{"PartitionKey": "USER", "RowKey": "a", "X": []}]}"#), @"Users, row 1: X must be a string, number or boolean");
    }

    #[test]
    fn the_demo_can_be_loaded() {
        assert_eq!(parse(include_str!("../../examples/seed.json")).unwrap().len(), 2);
    }
}
