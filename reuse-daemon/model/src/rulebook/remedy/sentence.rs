//! The alternatives in words, for someone who has a server to start.

use std::fmt;

use super::{
    Departure, ReuseOption, Step,
    words::{leaving, who},
};
use crate::{endpoint::Transport, port::Occupant, refusal::Rule, rulebook::Contender, socket::State};

/// The sentence for the holders of one rule.
pub(super) struct Sentence<'a> {
    pub(super) contender: &'a Contender,
    /// The port
    pub(super) number: u16,
    pub(super) rule: Rule,
    /// Never empty; each with its alternatives
    pub(super) holders: &'a [(&'a Occupant, &'a [Vec<Step>])],
}

impl fmt::Display for Sentence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = match self.rule {
            Rule::ReuseportUidMismatch => "SO_REUSEPORT shares among sockets of one uid only: ".to_owned(),
            Rule::ReuseportProgramAttached => "The new socket had a reuseport program too early: ".to_owned(),
            _ => String::new(),
        };
        let mut named = false;
        for (place, clause) in self.clauses(&mut named).into_iter().enumerate() {
            text.push_str(if place == 0 { "" } else { "; or " });
            text.push_str(&clause);
        }
        if self.leaves_no_option() {
            text.push_str("; a server that sets SO_REUSEADDR from its start does not meet this again");
        }
        let (first, rest) = text.split_at(text.chars().next().map_or(0, char::len_utf8));
        write!(f, "{}{rest}.", first.to_uppercase())
    }
}

impl Sentence<'_> {
    /// One clause for each alternative that all holders have, in the order of the first holder's.
    fn clauses(&self, named: &mut bool) -> Vec<String> {
        let kinds = self.holders.iter().flat_map(|(_, ways)| ways.iter().map(|way| Way::of(way)));
        let mut seen: Vec<Way> = Vec::new();
        for kind in kinds {
            let by_all = self.holders.iter().all(|(_, ways)| ways.iter().any(|way| Way::of(way) == kind));
            if by_all && !seen.contains(&kind) {
                seen.push(kind);
            }
        }
        seen.into_iter()
            .map(|kind| match kind {
                Way::Leave => self.leave(named),
                Way::Elsewhere => "take another address or port".to_owned(),
                Way::Share(option) => self.share(option, named),
            })
            .collect()
    }

    /// Sockets go; each kind of going has its own words.
    fn leave(&self, named: &mut bool) -> String {
        let mut by_departure: Vec<(Departure, Vec<&Occupant>)> = Vec::new();
        for (holder, ways) in self.holders {
            let leaving = ways.iter().flatten().find_map(|step| match step {
                Step::Leave(departure) => Some(*departure),
                _ => None,
            });
            let Some(departure) = leaving else { continue };
            match by_departure.iter_mut().find(|(known, _)| *known == departure) {
                Some((_, holders)) => holders.push(holder),
                None => by_departure.push((departure, vec![holder])),
            }
        }
        let whole = by_departure.len() == 1;
        let parts: Vec<String> = by_departure
            .iter()
            .map(|(departure, holders)| {
                let who = if whole { self.mention(named) } else { who(holders, self.number) };
                leaving(*departure, &who, holders)
            })
            .collect();
        *named = true;
        let why = if self.rule == Rule::HolderIsListening {
            " (SO_REUSEADDR never shares a port with a listener)"
        } else {
            ""
        };
        parts.join(" and ") + why
    }

    /// Everything that is missing for sharing by `option`, for all holders together.
    fn share(&self, option: ReuseOption, named: &mut bool) -> String {
        let mut steps: Vec<Step> = self
            .holders
            .iter()
            .flat_map(|(_, ways)| ways.iter().filter(|way| Way::of(way) == Way::Share(option)).flatten())
            .copied()
            .collect();
        steps.sort_unstable();
        steps.dedup();
        let word = match option {
            ReuseOption::Address => "SO_REUSEADDR",
            ReuseOption::Port => "SO_REUSEPORT",
        };
        let mut parts = Vec::new();
        if steps.contains(&Step::Accept) {
            parts.push(format!("accept {}", self.mention(named)));
        }
        let theirs = steps.contains(&Step::HolderSets(option));
        let ours = steps.contains(&Step::ContenderSets(option));
        match (ours, theirs) {
            (true, true) => {
                parts.push(format!("set {word} on {} and on the new socket", self.mention(named)));
            }
            (true, false) => parts.push(format!("set {word} on the new socket")),
            (false, true) => parts.push(format!("set {word} on {}{}", self.mention(named), self.at_once())),
            (false, false) => {}
        }
        for step in &steps {
            match step {
                Step::ContenderUid(uid) => {
                    parts.push(format!("create the new socket under uid {uid}, {}", self.whose(named)));
                }
                Step::ProgramLater => parts.push(self.later(&steps)),
                _ => {}
            }
        }
        let opens = self.contender.transport == Transport::Udp && option == ReuseOption::Address;
        parts.join(", and ") + if opens { " (any user can then take the port's traffic)" } else { "" }
    }

    fn whose(&self, named: &mut bool) -> String {
        match (*named, self.holders.len()) {
            (true, 1) => "the holder's".to_owned(),
            (true, _) => "the holders'".to_owned(),
            (false, _) => format!("that of {}", self.mention(named)),
        }
    }

    /// To attach the program later, on a socket that no other step makes anew.
    fn later(&self, steps: &[Step]) -> String {
        let again = match self.rule {
            _ if steps.iter().any(|step| matches!(step, Step::ContenderUid(_))) => "",
            Rule::ReuseportProgramAttached => "make it again and ",
            _ => "make the new socket again and ",
        };
        let call = match self.contender.transport {
            Transport::Tcp => "listen()",
            Transport::Udp => "bind()",
        };
        format!("{again}attach its program only after {call}")
    }

    /// The holders by name, and by a pronoun once they were named.
    fn mention(&self, named: &mut bool) -> String {
        if std::mem::replace(named, true) {
            return if self.holders.len() == 1 { "it" } else { "them" }.to_owned();
        }
        let holders: Vec<&Occupant> = self.holders.iter().map(|(holder, _)| *holder).collect();
        who(&holders, self.number)
    }

    /// That a running server can be told, where that is news.
    fn at_once(&self) -> &'static str {
        let listening = self.holders.iter().all(|(holder, _)| holder.state == State::Listen);
        if listening { " (it counts at once, even while it listens)" } else { "" }
    }

    /// Whether nothing but time helps against connections of a server that set no option.
    fn leaves_no_option(&self) -> bool {
        matches!(self.rule, Rule::TimeWait | Rule::HolderIsClosing)
            && self.holders.iter().all(|(_, ways)| ways.iter().all(|way| Way::of(way) == Way::Leave))
    }
}

/// What an alternative comes to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Leave,
    Elsewhere,
    Share(ReuseOption),
}

impl Way {
    fn of(steps: &[Step]) -> Self {
        let by_address = |step: &Step| {
            matches!(step, Step::HolderSets(ReuseOption::Address) | Step::ContenderSets(ReuseOption::Address))
        };
        match steps.first() {
            Some(Step::Leave(_)) => Self::Leave,
            Some(Step::Elsewhere) => Self::Elsewhere,
            _ if steps.iter().any(by_address) => Self::Share(ReuseOption::Address),
            _ => Self::Share(ReuseOption::Port),
        }
    }
}
