//! Flags from a file: what neither the command line nor the environment gives is taken from there.
//!
//! The file's settings become flags of a second parse, so that they are checked, and explained when wrong, as if they had
//! been typed. Its table [`policy::TABLE`] is no flag and is read elsewhere.

use std::{collections::BTreeMap, ffi::OsString, fmt::Display, fs, path::Path};

use clap::{
    ArgMatches, Command, CommandFactory as _, Error, FromArgMatches as _, error::ErrorKind,
    parser::ValueSource,
};
use toml::{
    Spanned,
    de::{DeString, DeTable, DeValue},
};

use super::Arguments;
use crate::policy::{self, line_of};

/// The flag that names the file.
const FILE: &str = "config.file";

/// Parses `typed` (with the program's name first), completed from the file that it or the environment names.
pub(super) fn complete(typed: Vec<OsString>) -> Result<Arguments, Error> {
    Arguments::from_arg_matches(&completed(typed)?)
}

/// The flags of the command that `typed` asks for, by name, each with its values, completed in the same way.
pub(super) fn flags(typed: Vec<OsString>) -> Result<BTreeMap<String, Vec<OsString>>, Error> {
    let matches = completed(typed)?;
    let command = Arguments::command();
    let Some((name, given)) = matches.subcommand() else { return Ok(BTreeMap::new()) };
    let flags = command.find_subcommand(name).into_iter().flat_map(Command::get_arguments);
    let named = flags.filter_map(|flag| Some((flag.get_long()?.to_owned(), flag.get_id().as_str())));
    let values =
        |id| given.try_get_raw(id).ok().flatten().into_iter().flatten().map(OsString::from).collect();
    Ok(named.map(|(name, id)| (name, values(id))).collect())
}

fn completed(mut typed: Vec<OsString>) -> Result<ArgMatches, Error> {
    let mut command = Arguments::command();
    let matches = command.try_get_matches_from_mut(&typed)?;
    let Some((name, run)) = matches.subcommand() else { return Ok(matches) };
    let Some(flags) = command.find_subcommand(name) else { return Ok(matches) };
    let Some(path) = file(flags, run) else { return Ok(matches) };
    typed.extend(from_file(path, flags, run)?);
    command.try_get_matches_from(typed)
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
    let table = DeTable::parse(&text).map_err(|error| refuse(&error))?;
    let mut settings = Vec::new();
    for (key, value) in table.get_ref().iter().filter(|(key, _)| key.get_ref() != policy::TABLE) {
        flatten("", key, value, &mut settings);
    }
    let mut typed = Vec::new();
    for (name, value) in settings {
        let refuse = |why: &str| refuse(&format_args!("line {}: {why}", line_of(&text, &value.span())));
        let flag = flags.get_arguments().find(|flag| flag.get_long() == Some(name.as_str()) && name != FILE);
        let Some(flag) = flag else { return Err(refuse(&format!("there is no setting `{name}`"))) };
        if !matches!(given.value_source(flag.get_id().as_str()), None | Some(ValueSource::DefaultValue)) {
            continue;
        }
        let values = words(value.get_ref())
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
fn flatten<'a, 'i>(
    prefix: &str,
    key: &Spanned<DeString<'i>>,
    value: &'a Spanned<DeValue<'i>>,
    settings: &mut Vec<(String, &'a Spanned<DeValue<'i>>)>,
) {
    let name = format!("{prefix}{}", key.get_ref());
    match value.get_ref() {
        DeValue::Table(inner) => {
            inner.iter().for_each(|(key, value)| flatten(&format!("{name}."), key, value, settings));
        }
        _ => settings.push((name, value)),
    }
}

/// A value as it would be typed; several for a list.
fn words(value: &DeValue<'_>) -> Option<Vec<String>> {
    match value {
        DeValue::String(text) => Some(vec![text.clone().into_owned()]),
        DeValue::Integer(number) => {
            let number = i64::from_str_radix(number.as_str(), number.radix()).ok()?;
            Some(vec![number.to_string()])
        }
        DeValue::Boolean(yes) => Some(vec![yes.to_string()]),
        DeValue::Array(values) => {
            let values = values.iter().map(|value| words(value.get_ref()));
            values.collect::<Option<Vec<_>>>().map(|all| all.concat())
        }
        DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Table(_) => None,
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
            ("\nevnts = 1\n", "line 2: there is no setting `evnts`"),
            ("[web]\nlisten = 1\n", "line 2: there is no setting `web.listen`"),
            ("config.file = \"x\"\n", "line 1: there is no setting `config.file`"),
            ("\nevents = \n", "line 2"),
            ("events = 1.5\n", "`events`: write a string"),
            ("config.strict = \"maybe\"\n", "write true or false"),
            ("events = \"loud\"\n", "invalid value 'loud'"),
        ] {
            let error = run(file, &[]).expect_err(file);
            assert!(error.contains(words), "{file}: {error}");
        }
    }

    #[test]
    fn the_policy_is_no_flag() {
        let file = "events = \"json\"\n[[policy.expect]]\nport = 80\n";
        assert_eq!(run(file, &[]).unwrap().events, Events::Json);
    }

    #[test]
    fn flags_have_their_values_wherever_they_come_from() {
        let directory = Directory::new();
        let path = directory.write("reuse.toml", "events = \"json\"\nconfig.strict = true\n");
        let file = format!("--config.file={}", path.display());
        let typed = ["reuse-daemon", "run", file.as_str(), "--web.listen-address=[::1]:1,[::1]:2"];
        let flags = flags(typed.map(OsString::from).into()).unwrap();
        assert_eq!(flags["events"], ["json"]);
        assert_eq!(flags["config.strict"], ["true"]);
        assert_eq!(flags["web.listen-address"], ["[::1]:1", "[::1]:2"]);
        assert_eq!(flags["test-group.members"], ["4"], "the default");
    }
}
