//! Whether a share that was seen is the one expected, up to chance.

/// Largest deviation from the expected share that counts as chance, in standard deviations: 6e-7, both sides.
const DEVIATIONS: f64 = 5.0;

/// Whether `seen` of `flows` is what a `share` of them would be, up to chance (p about 6e-7).
#[must_use]
pub fn agrees(seen: u64, flows: u64, share: f64) -> bool {
    let expected = share * flows as f64;
    let deviation = (expected * (1.0 - share)).sqrt();
    (seen as f64 - expected).abs() <= DEVIATIONS * deviation
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chance_agrees_and_another_share_does_not() {
        assert!(agrees(1_500, 3_000, 0.5) && agrees(1_620, 3_000, 0.5));
        assert!(!agrees(1_640, 3_000, 0.5) && !agrees(750, 3_000, 0.5));
        assert!(agrees(0, 3_000, 0.0) && !agrees(1, 3_000, 0.0));
    }
}
