//! What the daemon answers, filtered, and how it is shown.

use std::path::PathBuf;

use anyhow::Context as _;
use reuse_model::{
    filter::Filter,
    report::{GroupList, TestGroupList},
};

use crate::{
    cli::GroupsArguments,
    export::local::protocol::Request,
    local_client,
    render::groups::{self, Rates, Style},
};

/// One who asks the daemon, the same each time.
#[derive(Clone, Debug)]
pub(super) struct Asker {
    socket: PathBuf,
    filter: Filter,
    /// Whether the answer is shown as JSON
    pub(super) json: bool,
}

/// What the daemon said at one look.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// Groups that pass the filter
    pub(super) groups: GroupList,
    /// The daemon's own groups; not asked for where JSON is wanted
    test_group: Option<TestGroupList>,
}

impl Asker {
    /// One for what was typed.
    ///
    /// # Errors
    /// A network namespace is not there.
    pub(super) fn new(arguments: &GroupsArguments) -> anyhow::Result<Self> {
        let filter = arguments.filters.filter()?;
        Ok(Self { socket: arguments.socket.clone(), filter, json: arguments.json })
    }

    /// Asks.
    ///
    /// # Errors
    /// Nobody answers, or not as expected.
    pub(super) fn look(&self) -> anyhow::Result<Seen> {
        let answer = local_client::ask(&self.socket, &Request::Groups { command_lines: self.json })?;
        let mut groups: GroupList =
            serde_json::from_slice(&answer).context("the daemon's answer is of another version")?;
        self.retain(&mut groups);
        let test_group = match self.json {
            true => None,
            false => {
                let answer = local_client::ask(&self.socket, &Request::TestGroup {})?;
                Some(serde_json::from_slice(&answer).context("the daemon's answer is of another version")?)
            }
        };
        Ok(Seen { groups, test_group })
    }

    /// Leaves what passes the filter.
    pub(super) fn retain(&self, list: &mut GroupList) {
        list.groups.retain(|group| self.filter.wants_group(group));
    }
}

impl Seen {
    /// The text of one look, its last newline included.
    ///
    /// # Errors
    /// It cannot become JSON, which is a bug.
    pub(super) fn text(&self, rates: Option<&Rates>, json: bool, style: Style) -> anyhow::Result<String> {
        Ok(match json {
            true => serde_json::to_string(&self.groups).context("cannot render the groups")? + "\n",
            false => {
                let test_group = self.test_group.as_ref().map(|list| &list.test_group[..]);
                groups::screen(&self.groups.groups, rates, test_group, style)
            }
        })
    }
}
