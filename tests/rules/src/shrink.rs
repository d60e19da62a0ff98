//! Makes a scenario that shows a disagreement as small as it gets: steps are left out, then what the others set, as long
//! as there is a disagreement still.

use anyhow::Result;

use crate::{
    judge::{Disagreement, Judge},
    room::Room,
    scenario::{Device, Options, Scenario, Step, Tables, Trial},
};

/// The smallest scenario found, with its disagreement; `None` where it does not disagree when played again.
///
/// # Errors
/// As [`Judge::play`].
pub(crate) fn shrink(
    judge: &mut Judge<'_>,
    room: &mut Room,
    scenario: &Scenario,
) -> Result<Option<(Scenario, Disagreement)>> {
    let Some(first) = play(judge, room, scenario)? else { return Ok(None) };
    let mut best = (cut(scenario, &first), first);
    loop {
        let Some(smaller) = smaller(judge, room, &best.0)? else { return Ok(Some(best)) };
        best = smaller;
    }
}

/// The first of the simpler scenarios that disagrees.
fn smaller(
    judge: &mut Judge<'_>,
    room: &mut Room,
    scenario: &Scenario,
) -> Result<Option<(Scenario, Disagreement)>> {
    for candidate in simpler(scenario) {
        if let Some(disagreement) = play(judge, room, &candidate)? {
            return Ok(Some((cut(&candidate, &disagreement), disagreement)));
        }
    }
    Ok(None)
}

/// Plays it; a scenario that cannot be played to its end, because a step that others rest on is missing, shows nothing.
fn play(judge: &mut Judge<'_>, room: &mut Room, scenario: &Scenario) -> Result<Option<Disagreement>> {
    if room.is_worn() {
        *room = Room::new()?;
    }
    judge.play(room, scenario)
}

/// Without the steps behind the disagreement.
fn cut(scenario: &Scenario, disagreement: &Disagreement) -> Scenario {
    let steps = scenario.steps.iter().take(disagreement.step + 1).copied().collect();
    Scenario { steps, ..scenario.clone() }
}

fn simpler(scenario: &Scenario) -> Vec<Scenario> {
    let mut all = Vec::new();
    if scenario.migrate {
        all.push(Scenario { migrate: false, ..scenario.clone() });
    }
    if scenario.tables == Tables::Own {
        all.push(Scenario { tables: Tables::Host, ..scenario.clone() });
    }
    for place in (0..scenario.steps.len()).rev() {
        let mut steps = scenario.steps.clone();
        steps.remove(place);
        all.push(Scenario { steps, ..scenario.clone() });
    }
    for (place, step) in scenario.steps.iter().enumerate() {
        for simpler in simpler_step(*step) {
            let mut steps = scenario.steps.clone();
            steps.splice(place..=place, [simpler]);
            all.push(Scenario { steps, ..scenario.clone() });
        }
    }
    all
}

fn simpler_step(step: Step) -> Vec<Step> {
    match step {
        Step::Open { slot, protocol, family, options } => simpler_options(options)
            .into_iter()
            .map(|options| Step::Open { slot, protocol, family, options })
            .collect(),
        Step::Bind { slot, address, neighbour, trial } if trial != Trial::None => {
            vec![Step::Bind { slot, address, neighbour, trial: Trial::None }]
        }
        Step::Listen { slot, trial } if trial != Trial::None => {
            vec![Step::Listen { slot, trial: Trial::None }]
        }
        Step::Close { slot, reset: true } => vec![Step::Close { slot, reset: false }],
        Step::Accept { listener, slot, uid } if uid != 0 => vec![Step::Accept { listener, slot, uid: 0 }],
        _ => Vec::new(),
    }
}

fn simpler_options(options: Options) -> Vec<Options> {
    [
        Options { reuseaddr: false, ..options },
        Options { reuseport: false, ..options },
        Options { v6only: false, ..options },
        Options { device: Device::Any, ..options },
        Options { uid: 0, ..options },
    ]
    .into_iter()
    .filter(|simpler| *simpler != options)
    .collect()
}
