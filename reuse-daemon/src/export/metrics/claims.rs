//! What became of each claim about socket options, the last time it was tried here.

use std::collections::BTreeMap;

use reuse_model::claim::{CheckReport, Claim, Verdict};

use super::{family::Family, page::Page};

const VERDICT: Family = Family::gauge(
    "reuse_claim_verdict",
    "What this kernel makes of a claim about socket options: 1 for the verdict when it was last tried",
    &["claim", "verdict"],
);

/// The last verdicts.
#[derive(Debug, Default)]
pub(super) struct ClaimFamily(BTreeMap<Claim, Verdict>);

impl ClaimFamily {
    /// Takes in a report; claims that it lacks were not tried.
    pub(super) fn take_in(&mut self, report: &CheckReport) {
        self.0 = report.claims.iter().map(|claim| (claim.claim, claim.verdict)).collect();
    }

    pub(super) fn write(&self, page: &mut Page) {
        let verdict = |claim: Claim| self.0.get(&claim).copied().unwrap_or(Verdict::NotTried);
        page.write(&VERDICT, Claim::ALL.map(|claim| ([claim.as_str(), verdict(claim).as_str()], 1)));
    }
}

#[cfg(test)]
mod tests {
    use reuse_model::claim::ClaimReport;

    use super::*;

    fn written(family: &ClaimFamily) -> String {
        let mut page = Page::default();
        family.write(&mut page);
        page.into_text()
    }

    #[test]
    fn each_claim_has_one_verdict_also_before_it_was_tried() {
        let mut family = ClaimFamily::default();
        let sticky = Claim::ReuseportSticky;
        let text = written(&family);
        assert_eq!(text.matches("verdict=\"not_tried\"} 1").count(), Claim::ALL.len(), "{text}");
        let report = |verdict| ClaimReport {
            claim: sticky,
            says: String::new(),
            verdict,
            expected_for_kernel: true,
            evidence: Vec::new(),
        };
        let report = |verdict| CheckReport {
            schema: 1,
            kernel: String::new(),
            claims: vec![report(verdict)],
            comparison: None,
        };
        for verdict in [Verdict::Holds, Verdict::DoesNotHold] {
            family.take_in(&report(verdict));
            let text = written(&family);
            let line = format!(r#"reuse_claim_verdict{{claim="{sticky}",verdict="{}"}} 1"#, verdict.as_str());
            assert!(text.contains(&line), "{text}");
            assert_eq!(text.matches("\nreuse_claim_verdict{").count(), Claim::ALL.len(), "{text}");
        }
    }
}
