//! A policy from the text of a configuration file.

use std::{fmt::Display, ops::Range};

use reuse_model::signal::Policy;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    TABLE,
    entry::{self, Entry},
};

/// What is wrong with a text, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// The line, from 1
    pub line: Option<usize>,
    /// What is wrong, and what to write instead
    pub reason: String,
}

impl Wrong {
    /// Something that has no place in the text.
    pub(super) fn nowhere(reason: &impl Display) -> Self {
        Self { line: None, reason: reason.to_string() }
    }
}

/// Something wrong, by its place in bytes.
pub(super) struct At {
    pub(super) span: Range<usize>,
    pub(super) reason: String,
}

impl At {
    pub(super) fn new<T>(place: &Spanned<T>, reason: impl Into<String>) -> Self {
        Self { span: place.span(), reason: reason.into() }
    }
}

/// The line, from 1, in which a place of a text is.
#[must_use]
pub fn line_of(text: &str, span: &Range<usize>) -> usize {
    let before = text.as_bytes().get(..span.start).unwrap_or(text.as_bytes());
    1 + before.iter().filter(|byte| **byte == b'\n').count()
}

/// Reads a policy. `uid_of`: the uid of a user by its name.
///
/// # Errors
/// What is wrong, and where.
pub fn parse(text: &str, uid_of: &dyn Fn(&str) -> Option<u32>) -> Result<Policy, Wrong> {
    let document = DeTable::parse(text).map_err(|error| Wrong {
        line: error.span().map(|span| line_of(text, &span)),
        reason: error.message().to_owned(),
    })?;
    let Some((_, policy)) = document.get_ref().iter().find(|(key, _)| key.get_ref() == TABLE) else {
        return Ok(Policy::default());
    };
    tables(policy, uid_of).map_err(|At { span, reason }| Wrong { line: Some(line_of(text, &span)), reason })
}

fn tables(policy: &Spanned<DeValue<'_>>, uid_of: &dyn Fn(&str) -> Option<u32>) -> Result<Policy, At> {
    let expected = "write [[policy.expect]] and [[policy.severity]]";
    let tables = policy
        .get_ref()
        .as_table()
        .ok_or_else(|| At::new(policy, format!("`{TABLE}` is no table: {expected}")))?;
    let mut read = Policy::default();
    for (key, list) in tables {
        let name = key.get_ref().as_ref();
        if !["expect", "severity"].contains(&name) {
            return Err(At::new(key, format!("there is no `{TABLE}.{name}`: {expected}")));
        }
        let list = list.get_ref().as_array().ok_or_else(|| {
            At::new(key, format!("`{TABLE}.{name}` is a list of tables: write [[{TABLE}.{name}]]"))
        })?;
        for table in list {
            let Entry { criteria, severity } = entry::read(table, uid_of)?;
            match (name, severity) {
                ("expect", None) => read.expected.push(criteria),
                ("expect", Some(place)) => {
                    let reason = "what is expected has no severity: write it below [[policy.severity]]";
                    return Err(At::new(&place, reason));
                }
                (_, Some(severity)) => read.severities.push((criteria, severity.into_inner())),
                (_, None) => {
                    return Err(At::new(
                        table,
                        "the severity is missing: add severity = \"info\", \"warning\" or \"critical\"",
                    ));
                }
            }
        }
    }
    Ok(read)
}
