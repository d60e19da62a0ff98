//! Flags from a file: what neither the command line nor the environment gives is taken from there.
//!
//! The file's settings become flags of a second parse, so that they are checked, and explained when wrong, as if they had
//! been typed.

use std::{ffi::OsString, fmt::Display, fs, path::Path};

use clap::{
    ArgMatches, Command, CommandFactory as _, Error, FromArgMatches as _, error::ErrorKind,
    parser::ValueSource,
};
use toml::{Table, Value};

use super::Arguments;

/// The flag that names the file.
const FILE: &str = "config.file";

/// Parses `typed` (with the program's name first), completed from the file that it or the environment names.
pub(super) fn complete(mut typed: Vec<OsString>) -> Result<Arguments, Error> {
    let command = Arguments::command();
    let matches = command.clone().try_get_matches_from(&typed)?;
    if let Some((name, run)) = matches.subcommand()
        && let Some(flags) = command.find_subcommand(name)
        && let Some(path) = file(flags, run)
    {
        typed.extend(from_file(path, flags, run)?);
    }
    let matches = command.try_get_matches_from(typed)?;
    Arguments::from_arg_matches(&matches)
}

fn file<'a>(flags: &Command, given: &'a ArgMatches) -> Option<&'a Path> {
    let flag = flags.get_arguments().find(|flag| flag.get_long() == Some(FILE))?;
    given.get_one::<std::path::PathBuf>(flag.get_id().as_str()).map(std::path::PathBuf::as_path)
}

/// The settings of the file as flags, but for those that were given already.
fn from_file(path: &Path, flags: &Command, given: &ArgMatches) -> Result<Vec<OsString>, Error> {
    let refuse = |why: &dyn Display| {
        Arguments::command().error(ErrorKind::InvalidValue, format!("--{FILE} {}: {why}", path.display()))
    };
    let text = fs::read_to_string(path).map_err(|error| refuse(&error))?;
    // The parser's words have the line and what is wrong with it.
    let table: Table = text.parse().map_err(|error: toml::de::Error| refuse(&error))?;
    let mut settings = Vec::new();
    flatten("", &table, &mut settings);
    let mut typed = Vec::new();
    for (name, value) in settings {
        let flag = flags.get_arguments().find(|flag| flag.get_long() == Some(name.as_str()) && name != FILE);
        let Some(flag) = flag else { return Err(refuse(&format!("there is no setting `{name}`"))) };
        if !matches!(given.value_source(flag.get_id().as_str()), None | Some(ValueSource::DefaultValue)) {
            continue;
        }
        let values = words(value)
            .ok_or_else(|| refuse(&format!("`{name}`: write a string, number, true or false")))?;
        if flag.get_action().takes_values() {
            typed.extend(values.iter().map(|value| OsString::from(format!("--{name}={value}"))));
        } else if values == ["true"] {
            typed.push(OsString::from(format!("--{name}")));
        } else if values != ["false"] {
            return Err(refuse(&format!("`{name}`: write true or false")));
        }
    }
    Ok(typed)
}

/// Tables within tables are names with dots.
fn flatten<'a>(prefix: &str, table: &'a Table, settings: &mut Vec<(String, &'a Value)>) {
    for (key, value) in table {
        let name = format!("{prefix}{key}");
        match value {
            Value::Table(inner) => flatten(&format!("{name}."), inner, settings),
            value => settings.push((name, value)),
        }
    }
}

/// A value as it would be typed; several for a list.
fn words(value: &Value) -> Option<Vec<String>> {
    match value {
        Value::String(text) => Some(vec![text.clone()]),
        Value::Integer(number) => Some(vec![number.to_string()]),
        Value::Boolean(yes) => Some(vec![yes.to_string()]),
        Value::Array(values) => values.iter().map(words).collect::<Option<Vec<_>>>().map(|all| all.concat()),
        Value::Float(_) | Value::Datetime(_) | Value::Table(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cli::{self, RunArguments, run::Events},
        owner::scratch::Directory,
    };

    fn run(file: &str, flags: &[&str]) -> Result<RunArguments, String> {
        let directory = Directory::new();
        let path = directory.write("reuse.toml", file);
        let named = format!("--config.file={}", path.display());
        let typed = ["reuse-daemon", "run", named.as_str()].into_iter().chain(flags.iter().copied());
        let arguments = complete(typed.map(OsString::from).collect()).map_err(|error| error.to_string())?;
        match arguments.command {
            cli::Command::Run(run) => Ok(*run),
            _ => panic!("run was asked for"),
        }
    }

    #[test]
    fn settings_stand_in_for_flags_that_were_not_given() {
        let file = "events = \"json\"\nconfig.strict = true\n[web]\nlisten-address = [\"127.0.0.1:1\", \"[::1]:1\"]\n\
                    [test-group]\nmembers = 3\nenable = false\n";
        let run = run(file, &["--test-group.members=5"]).unwrap();
        assert_eq!((run.events, run.config_strict), (Events::Json, true));
        assert_eq!(run.web_listen_address, ["127.0.0.1:1", "[::1]:1"]);
        assert_eq!((run.test_group_members, run.test_group_enable), (5, false));
    }

    #[test]
    fn what_is_wrong_is_named_with_the_file() {
        for (file, words) in [
            ("evnts = 1\n", "there is no setting `evnts`"),
            ("config.file = \"x\"\n", "there is no setting `config.file`"),
            ("\nevents = \n", "line 2"),
            ("events = 1.5\n", "`events`: write a string"),
            ("config.strict = \"maybe\"\n", "write true or false"),
            ("events = \"loud\"\n", "invalid value 'loud'"),
        ] {
            let error = run(file, &[]).expect_err(file);
            assert!(error.contains(words), "{file}: {error}");
        }
    }
}
