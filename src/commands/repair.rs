//! `crosswalk repair`: finishes what a crash left unfinished; with `--full`, rebuilds index and guards.

use std::time::{Duration, SystemTime};

use anyhow::bail;

use crate::app::App;

/// # Errors
/// Storage; something could not be repaired.
pub async fn run(app: &App, full: bool) -> anyhow::Result<()> {
    let repair = app.mappings.repair();
    let report = repair.run_once(SystemTime::now()).await?;
    println!("{report}");
    if full {
        println!("comparing every mapping with the index …");
        let differences = repair.rebuild().await?;
        println!("{} differences found and, where a program can, mended:", differences.len());
        for difference in differences {
            println!("  {difference}");
        }
    }
    app.drain(Duration::from_mins(1)).await;
    if report.failed > 0 {
        bail!("{} changes could not be finished; the lines above say why", report.failed);
    }
    Ok(())
}
