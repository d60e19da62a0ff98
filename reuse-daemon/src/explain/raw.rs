//! What a question's answer depends on, as JSON that can be replayed through the rulebook: what `--raw` prints.

use reuse_model::{
    port::Port,
    refusal::{Rule, errno_name},
    report::Outcome,
    rulebook::{Contender, precheck::Surroundings},
};
use serde::{Deserialize, Serialize};

use super::answer::Answer;

/// Version of the form.
pub const VERSION: u32 = 1;

/// What `--raw` prints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dump {
    /// [`VERSION`]
    pub version: u32,
    /// Release of the kernel it was read from
    pub kernel: String,
    /// One for each question
    pub ports: Vec<RawPort>,
}

/// A question, everything its answer depends on, and the answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RawPort {
    /// Number of the port
    pub number: u16,
    /// Whether it would listen, too
    pub listen: bool,
    /// Whether the options of the occupants were read
    pub knows_options: bool,
    /// The socket that would ask
    pub contender: Contender,
    /// What the checks before the port depend on; null where no socket could be made
    pub surroundings: Option<Surroundings>,
    /// The port
    pub port: Port,
    /// The answer
    pub decided: Decided,
}

/// The answer, as far as a replay has to give it again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    /// How it ends
    pub outcome: Outcome,
    /// Name of the errno
    pub errno: Option<String>,
    /// Why
    pub rule: Option<Rule>,
    /// Places of the blocking sockets in the port
    pub blockers: Vec<usize>,
}

impl Dump {
    /// The answers of one call, on the kernel of that release.
    #[must_use]
    pub fn new(kernel: String, answers: &[Answer], listen: bool) -> Self {
        let ports = answers.iter().map(|answer| RawPort::new(answer, listen)).collect();
        Self { version: VERSION, kernel, ports }
    }
}

impl RawPort {
    fn new(answer: &Answer, listen: bool) -> Self {
        Self {
            number: answer.question.port,
            listen,
            knows_options: answer.knows_options,
            contender: answer.contender.clone(),
            surroundings: answer.around,
            port: answer.port.clone(),
            decided: Decided::of(answer),
        }
    }
}

impl Decided {
    fn of(answer: &Answer) -> Self {
        let errno = answer.verdict.errno().filter(|_| answer.outcome == Outcome::Refused);
        Self {
            outcome: answer.outcome,
            errno: errno.map(|errno| errno_name(errno).to_owned()),
            rule: answer.rule,
            blockers: answer.verdict.decision.blockers.iter().map(|blocker| blocker.occupant).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use reuse_model::rulebook::{Features, Kernel, Release};

    use super::*;
    use crate::explain::{question::Question, verdict::Case};

    /// The kernel of a dump: what its type information shows follows from its release here.
    fn kernel(release: &str) -> Kernel {
        let release = Release::parse(release).unwrap();
        let since = |major, minor| release >= Release { major, minor, patch: 0 };
        let features = Features {
            sock_i_uid: !since(6, 17),
            inet_bind2_bucket: since(6, 1),
            deathrow: since(6, 2) && !since(6, 8),
            bhash2: since(6, 8),
            mandatory_access_control: false,
        };
        Kernel::new(release, features)
    }

    fn replay(kernel: &Kernel, raw: &RawPort) -> Option<Decided> {
        let question = Question {
            transport: raw.contender.transport,
            address: raw.contender.address,
            scope: None,
            port: raw.number,
        };
        let case = Case {
            kernel,
            contender: &raw.contender,
            number: raw.number,
            port: &raw.port,
            around: raw.surroundings.as_ref()?,
            listen: raw.listen,
        };
        Some(Decided::of(&Answer::of(&question, &case, raw.knows_options)))
    }

    /// Ports as they were read from running kernels, each with the answer that a real bind confirmed then.
    #[test]
    fn ports_read_once_are_decided_the_same_for_ever() {
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/ports");
        let mut replayed = 0;
        for file in fs::read_dir(&directory).unwrap() {
            let path = file.unwrap().path();
            let text = fs::read_to_string(&path).unwrap();
            let dump: Dump =
                serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            assert_eq!(dump.version, VERSION, "{}", path.display());
            for raw in &dump.ports {
                let decided = replay(&kernel(&dump.kernel), raw);
                assert_eq!(decided.as_ref(), Some(&raw.decided), "{}", path.display());
                replayed += 1;
            }
        }
        assert!(replayed > 20, "only {replayed} ports in {}", directory.display());
    }
}
