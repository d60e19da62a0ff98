//! Everything a developer types: `cargo xtask setup|build|run|test|vm|support|fuzz-rules|soak|lint`.
//!
//! Each command first sets up what it needs and is missing, after saying so; nothing is fetched in any other way
//! than through rustup, cargo and the distribution's package manager.

mod build;
mod cli;
mod fuzz;
mod lint;
mod privilege;
mod process;
mod run;
mod setup;
mod soak;
mod support;
mod tally;
mod test;
mod vm;
mod workspace;

use std::process::ExitCode;

use clap::Parser as _;

use crate::{
    cli::{Cli, Command},
    workspace::Workspace,
};

fn main() -> ExitCode {
    match dispatch(Cli::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(cli: Cli) -> anyhow::Result<ExitCode> {
    let workspace = Workspace::find()?;
    match cli.command {
        Command::Setup(args) => setup::everything(&workspace, &args),
        Command::Build(args) => build::command(&workspace, &args),
        Command::Run(args) => run::command(&workspace, &args),
        Command::Test(args) => test::command(&workspace, &args),
        Command::Vm(args) => vm::command(&workspace, &args),
        Command::Support(args) => support::command(&workspace, &args),
        Command::FuzzRules(args) => fuzz::command(&workspace, &args),
        Command::Soak(args) => soak::command(&workspace, &args),
        Command::Lint(args) => lint::command(&workspace, &args),
    }
}
