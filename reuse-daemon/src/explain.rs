//! `explain`: whether a bind (and listen) would succeed now, and if not why. Nothing is bound, and nothing stays behind.
//!
//! [`question`] is what was typed, [`netns`], [`process`] and [`asker`] where and for whom, [`source`] where the port is read,
//! [`surroundings`] and [`locality`] what the checks before the port depend on. [`verdict`] decides, [`weak`] where the
//! options of the sockets could not be read; [`answer`] is what came out, [`report`] its JSON, [`raw`] what it was made of.

pub mod answer;
pub mod asker;
pub mod locality;
pub mod netns;
mod owners;
pub mod process;
pub mod question;
pub mod raw;
mod remedy;
pub mod report;
pub mod source;
pub mod surroundings;
pub mod verdict;
pub mod weak;

use std::io;

use reuse_model::{
    port::{Port, Reuse, Table},
    rulebook::{Contender, Kernel},
};

use answer::Answer;
use asker::Asker;
use question::Question;
use source::{Hindrance, Reading, SocketOptions, Source};
use verdict::Case;

/// Answers questions about one network namespace: that of the calling thread.
pub struct Explainer {
    /// Where ports are read
    pub source: Source,
    /// How the kernel decides
    pub kernel: Kernel,
    /// Who would make the socket
    pub asker: Asker,
    /// Options of the socket
    pub options: SocketOptions,
    /// Whether it would listen, too
    pub listen: bool,
}

impl Explainer {
    /// Answers one question as things are now.
    ///
    /// # Errors
    /// No socket can be made for a reason that is not the question's, or procfs or the port cannot be read.
    pub fn answer(&mut self, question: &Question) -> io::Result<Answer> {
        let Reading { contender, port } = match self.source.read(question, &self.options) {
            Ok(reading) => reading,
            Err(Hindrance::Objection(objection)) => {
                return Ok(Answer::impossible(
                    question,
                    self.contender(question),
                    self.options.device.as_deref(),
                    objection,
                ));
            }
            Err(Hindrance::Failure(error)) => return Err(error),
        };
        let contender = Contender { uid: self.asker.uid, ..contender };
        let around = surroundings::read(&contender, self.asker)?;
        let case = Case {
            kernel: &self.kernel,
            contender: &contender,
            number: question.port,
            port: &port,
            around: &around,
            listen: self.listen,
        };
        let mut answer = Answer::of(question, &case, self.source.knows_options());
        if self.options == SocketOptions::default() {
            let reusing = Contender { reuse: Reuse::Yes, ..contender.clone() };
            let changed = Case { contender: &reusing, ..case };
            answer.with_reuseaddr =
                Some(Answer::of(question, &changed, self.source.knows_options()).alternative());
        }
        Ok(answer)
    }

    /// The contender as far as the question says, where no socket could be made.
    fn contender(&self, question: &Question) -> Contender {
        Contender {
            transport: question.transport,
            family: question.family(),
            address: question.address,
            reuse: if self.options.reuseaddr { Reuse::Yes } else { Reuse::No },
            reuseport: self.options.reuseport,
            v6only: self.options.v6only && question.address.is_ipv6(),
            device: 0,
            uid: self.asker.uid,
            in_group: false,
            group_has_closed: false,
        }
    }
}

/// A port that nothing is known of.
fn unread() -> Port {
    Port { table: Table::Tcp(None), occupants: Vec::new(), truncated: false, disturbed: false }
}
