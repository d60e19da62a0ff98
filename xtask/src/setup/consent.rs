//! Permission to install: listed, then asked for where somebody can answer.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use anyhow::{Result, bail};

use crate::{
    cli::SetupArgs,
    setup::{Step, step},
};

#[derive(Debug, PartialEq, Eq)]
enum Way {
    /// `--yes`.
    Granted,
    /// A person sits at a terminal.
    Ask,
    /// Nobody to ask, as in continuous integration.
    Unattended,
}

fn way(yes: bool, terminal: bool) -> Way {
    match (yes, terminal) {
        (true, _) => Way::Granted,
        (false, true) => Way::Ask,
        (false, false) => Way::Unattended,
    }
}

/// Shows the steps and returns once they may be taken; says nothing when there are none.
///
/// # Errors
/// If the person at the terminal declines, or the terminal cannot be read.
pub(crate) fn obtain(args: &SetupArgs, steps: &[&Step]) -> Result<()> {
    if steps.is_empty() {
        return Ok(());
    }
    step::show(steps);
    let terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    match way(args.yes, terminal) {
        Way::Granted => Ok(()),
        Way::Unattended => {
            eprintln!("xtask: no terminal to ask on, installing; --no-install only lists");
            Ok(())
        }
        Way::Ask => {
            eprint!("xtask: {} missing. Install? [Y/n] ", step::count(steps.len()));
            std::io::stderr().flush()?;
            let mut answer = String::new();
            std::io::stdin().lock().read_line(&mut answer)?;
            if means_yes(&answer) { Ok(()) } else { bail!("nothing was installed, as you wished") }
        }
    }
}

/// A bare Enter is yes; the end of input (no line at all) is not.
fn means_yes(answer: &str) -> bool {
    answer.ends_with('\n') && matches!(answer.trim().to_ascii_lowercase().as_str(), "" | "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn asks_only_on_a_terminal_without_yes() {
        assert_eq!(way(false, true), Way::Ask);
        assert_eq!(way(true, true), Way::Granted);
        assert_eq!(way(true, false), Way::Granted);
        assert_eq!(way(false, false), Way::Unattended);
    }

    #[test]
    fn enter_and_yes_agree_and_all_else_declines() {
        for yes in ["\n", "y\n", "Yes\n"] {
            assert!(means_yes(yes), "{yes:?}");
        }
        for no in ["", "n\n", "no\n", "what\n", "y"] {
            assert!(!means_yes(no), "{no:?}");
        }
    }
}
