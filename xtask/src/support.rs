//! Which kernels are supported and how well: the table in the documentation, made from the results of runs, and the record
//! of what the programs cost each kernel's verifier.

pub(crate) mod cost;
pub(crate) mod results;
mod table;

use std::{fs, process::ExitCode};

use anyhow::{Context as _, Result, bail};

use crate::{cli::SupportArgs, workspace::Workspace};

/// The table, below the root of the workspace.
const TABLE: &str = "docs/kernels.md";

/// `cargo xtask support`.
///
/// # Errors
/// If there are no results, or a file cannot be written.
pub(crate) fn command(workspace: &Workspace, args: &SupportArgs) -> Result<ExitCode> {
    let results = results::all(workspace)?;
    if results.is_empty() {
        bail!("there are no results: run `cargo xtask test`, or `cargo xtask vm` for other kernels alone");
    }
    let path = workspace.root.join(TABLE);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    fs::write(&path, table::document(&results))
        .with_context(|| format!("cannot write {}", path.display()))?;
    println!("{} of {} kernels", path.display(), results.len());
    if args.record_cost {
        println!("{}", cost::record(workspace, &results)?.display());
    }
    Ok(ExitCode::SUCCESS)
}
