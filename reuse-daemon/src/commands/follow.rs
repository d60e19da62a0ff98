//! Following: each record as it comes, until nobody reads any more.

use std::io::{self, Write as _};

use anyhow::Context as _;
use reuse_model::report::LostEvent;
use serde::{Deserialize, de::DeserializeOwned};

use super::outcome::{self, Outcome};
use crate::local_client::Lines;

/// One line of those who follow.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Followed {
    /// Some were lost on the way here
    Lost(LostEvent),
    /// What is followed, or what a later version tells
    #[serde(other)]
    Other,
}

/// Gives each record that is wanted as it comes, until nobody reads any more or the daemon stops, which is an error.
/// `what`: what they are. `text`: how they are told, where not as JSON.
pub(super) fn follow<R: DeserializeOwned>(
    mut lines: Lines,
    what: &str,
    wanted: impl Fn(&R) -> bool,
    text: Option<&dyn Fn(&R) -> String>,
) -> anyhow::Result<Outcome> {
    outcome::tell("following; interrupt to end");
    loop {
        let line = lines.next()?;
        let kind = serde_json::from_slice(&line).context("the daemon's answer is of another version")?;
        let shown = match kind {
            Followed::Lost(LostEvent { lost, .. }) => {
                outcome::tell(format_args!("{what} came faster than they were read: {lost} are not shown"));
                text.is_none().then(|| line.clone())
            }
            Followed::Other => {
                let record: R =
                    serde_json::from_slice(&line).context("the daemon's answer is of another version")?;
                wanted(&record).then(|| text.map_or_else(|| line.clone(), |text| text(&record).into_bytes()))
            }
        };
        let Some(mut shown) = shown else { continue };
        if shown.last() != Some(&b'\n') {
            shown.push(b'\n');
        }
        if !outcome::written(write_now(&shown))? {
            return Ok(Outcome::Found);
        }
    }
}

fn write_now(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()
}
