//! Durations as people type them: `90s`, `10m`, `1h30m`.

use std::time::Duration;

/// Units with their milliseconds.
const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// The sum of whole numbers, each with its unit.
///
/// # Errors
/// What to write instead.
pub(super) fn parse(text: &str) -> Result<Duration, String> {
    milliseconds(text).map(Duration::from_millis).ok_or_else(|| {
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return format!("the unit is missing: write {text}s or {text}m");
        }
        "write numbers with their units (ms, s, m, h, d), such as 90s, 10m or 1h30m".to_owned()
    })
}

fn milliseconds(text: &str) -> Option<u64> {
    let mut rest = text;
    let mut sum = 0_u64;
    loop {
        let (number, behind) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let (unit, next) = behind.split_at(behind.find(|c: char| c.is_ascii_digit()).unwrap_or(behind.len()));
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
        sum = sum.checked_add(number.parse::<u64>().ok()?.checked_mul(*factor)?)?;
        if next.is_empty() {
            return Some(sum);
        }
        rest = next;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn units_add_up() {
        for (text, seconds) in
            [("90s", 90.0), ("10m", 600.0), ("1h30m", 5400.0), ("1d1ms", 86_400.001), ("0s", 0.0)]
        {
            assert_eq!(parse(text), Ok(Duration::from_secs_f64(seconds)), "{text}");
        }
    }

    #[test]
    fn what_has_no_unit_or_no_end_is_refused() {
        for text in ["", "m", "1x", "-1s", "1.5h", "1h 30m", "1h30", "18446744073709551615d", "１s"] {
            assert!(parse(text).expect_err(text).contains("such as 90s"), "{text}");
        }
    }

    #[test]
    fn a_number_alone_is_told_its_units() {
        assert_eq!(parse("10"), Err("the unit is missing: write 10s or 10m".to_owned()));
    }

    proptest! {
        #[test]
        fn any_text_gives_a_duration_or_an_error(text in "\\PC*|[0-9smhd]{0,30}") {
            let _ = parse(&text);
        }
    }
}
