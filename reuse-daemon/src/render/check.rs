//! Claims as tried, for people: which kernel, then a line for each claim, or all the evidence where few were asked for.

use std::fmt::Write;

use reuse_model::claim::{CheckReport, ClaimReport, Comparison, Verdict};

use super::{
    bars::{self, Glyphs},
    plain::plain,
};

const RED: &str = "\x1b[31m";
const GREEN: &str = "\x1b[32m";
const YELLOW: &str = "\x1b[33m";
const RESET: &str = "\x1b[0m";
/// Most claims that are shown with all their evidence
const FEW: usize = 3;
/// Columns of a bar
const BAR: usize = 24;

/// How it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    /// With colours
    pub colored: bool,
    /// What bars are made of
    pub glyphs: Glyphs,
}

/// Appends a report.
pub fn text(report: &CheckReport, style: Style, out: &mut String) {
    let tried = report.claims.iter().filter(|claim| claim.verdict != Verdict::NotTried).count();
    let otherwise = report.claims.iter().filter(|claim| !claim.expected_for_kernel).count();
    let summary = match otherwise {
        0 => "behaves as documented".to_owned(),
        1 => "1 claim is not as documented".to_owned(),
        many => format!("{many} claims are not as documented"),
    };
    let kernel = plain(&report.kernel);
    // Writing to a String cannot fail.
    let _ = writeln!(out, "Linux {kernel}: {summary} ({tried} of {} claims tried)", report.claims.len());
    for claim in &report.claims {
        if report.claims.len() <= FEW {
            in_full(claim, style, out);
        } else {
            in_a_line(claim, style, out);
        }
    }
    for (number, one) in report.comparison.iter().flatten().enumerate() {
        if number == 0 {
            out.push_str("\nconnections that each of the workers accepted, and the busiest one's over the idlest one's\n");
        }
        comparison(one, style, out);
    }
}

/// `  holds       same_address_refused  bind tcp 127.0.0.1:20000: EADDRINUSE`
fn in_a_line(claim: &ClaimReport, style: Style, out: &mut String) {
    let evidence = claim.evidence.first().map_or("", String::as_str);
    let name = claim.claim.as_str();
    let _ = writeln!(out, "  {} {name:<33} {}", word(claim, style), plain(evidence));
}

fn in_full(claim: &ClaimReport, style: Style, out: &mut String) {
    let _ = writeln!(out, "  {} {}: {}", word(claim, style), claim.claim, claim.says);
    for sentence in &claim.evidence {
        let _ = writeln!(out, "      {}", plain(sentence));
    }
}

/// The verdict as a word of fixed width, with a mark where the kernel is not known to do so.
fn word(claim: &ClaimReport, style: Style) -> String {
    let (word, color) = match claim.verdict {
        Verdict::Holds => ("holds", GREEN),
        Verdict::HoldsWithConditions => ("conditions", GREEN),
        Verdict::DoesNotHold => ("does not", GREEN),
        Verdict::NotTried => ("not tried", YELLOW),
    };
    let (mark, color) = if claim.expected_for_kernel { (' ', color) } else { ('!', RED) };
    let (before, after) = if style.colored { (color, RESET) } else { ("", "") };
    format!("{before}{mark} {word:<10}{after}")
}

fn comparison(one: &Comparison, style: Style, out: &mut String) {
    let total: u64 = one.accepted.iter().sum();
    let share = |accepted: u64| accepted as f64 / total.max(1) as f64;
    let fair = 1.0 / one.accepted.len().max(1) as f64;
    let ratio = one.max_to_min.map_or_else(|| "one has none".to_owned(), |ratio| format!("{ratio:.2}:1"));
    let _ = writeln!(out, "  {}, {}: {ratio}", one.waiting.words(), one.arrival.words());
    for accepted in &one.accepted {
        let bar = bars::bar(share(*accepted), fair, 1.0, BAR, style.glyphs);
        let _ = writeln!(out, "    {accepted:>6} {}", bar.trim_end());
    }
}

#[cfg(test)]
mod tests {
    use reuse_model::claim::{Arrival, Claim, Waiting};

    use super::*;

    const PLAIN: Style = Style { colored: false, glyphs: Glyphs::Ascii };

    fn claim(claim: Claim, verdict: Verdict, expected_for_kernel: bool) -> ClaimReport {
        let evidence = vec!["first".to_owned(), "second".to_owned()];
        ClaimReport { claim, says: claim.says().to_owned(), verdict, expected_for_kernel, evidence }
    }

    fn shown(claims: Vec<ClaimReport>, comparison: Option<Vec<Comparison>>, style: Style) -> String {
        let mut out = String::new();
        text(&CheckReport { schema: 1, kernel: "6.18.44".to_owned(), claims, comparison }, style, &mut out);
        out
    }

    #[test]
    fn many_claims_take_a_line_each_and_few_show_everything() {
        let all: Vec<_> = Claim::ALL.map(|one| claim(one, Verdict::Holds, true)).to_vec();
        let text = shown(all.clone(), None, PLAIN);
        assert!(text.starts_with("Linux 6.18.44: behaves as documented (23 of 23 claims tried)\n"), "{text}");
        assert_eq!(text.lines().count(), 24, "{text}");
        assert!(!text.contains("second"), "{text}");
        let text = shown(all.into_iter().take(1).collect(), None, PLAIN);
        assert!(text.contains("second") && text.contains("cannot bind the same address"), "{text}");
    }

    #[test]
    fn what_is_not_as_documented_is_marked_also_without_colour() {
        let claims = vec![
            claim(Claim::TimeWaitDuration, Verdict::NotTried, true),
            claim(Claim::ReuseportSticky, Verdict::DoesNotHold, false),
        ];
        let text = shown(claims.clone(), None, PLAIN);
        assert!(text.contains("1 claim is not as documented (1 of 2 claims tried)"), "{text}");
        assert!(text.contains("  ! does not") && text.contains("    not tried"), "{text}");
        let text = shown(claims, None, Style { colored: true, ..PLAIN });
        assert!(text.contains("\x1b[31m! does not") && text.contains("\x1b[33m  not tried"), "{text}");
    }

    #[test]
    fn a_comparison_has_a_bar_for_each_worker() {
        let runs = vec![Comparison::new(Waiting::SharedEpoll, Arrival::Paced, vec![10, 60, 20, 10])];
        let text = shown(Vec::new(), Some(runs), PLAIN);
        assert!(text.contains("  shared listener, epoll, paced: 6.00:1\n"), "{text}");
        assert!(text.contains("        60 ######|#######\n"), "{text}");
    }
}
