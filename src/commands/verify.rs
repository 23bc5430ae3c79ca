//! `crosswalk verify`: compares both tables in full, and names every row that differs.

use std::process::ExitCode;

use crate::{mappings, tables::TableStore};

/// Exit code 1 on any difference.
///
/// # Errors
/// Storage.
pub async fn run(tables: &dyn TableStore) -> anyhow::Result<ExitCode> {
    let differences = mappings::verify(tables).await?;
    for difference in &differences {
        println!("{difference}");
    }
    match differences.len() {
        0 => {
            println!("OrgIntegrationMappings and IntegrationMappings agree");
            Ok(ExitCode::SUCCESS)
        }
        count => {
            println!("{count} differences");
            Ok(ExitCode::FAILURE)
        }
    }
}
