//! Numbers as people read them.

/// With a comma between thousands.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A share of 1 in per cent, finer where it is small.
pub(super) fn percent(share: f64) -> String {
    match share * 100.0 {
        small if small > 0.0 && small < 0.095 => format!("{small:.3}%"),
        usual => format!("{usual:.1}%"),
    }
}

/// A probability to two digits.
pub(super) fn probability(p: f64) -> String {
    match p {
        p if p >= 0.095 => format!("= {p:.2}"),
        p if p >= 0.000_95 => format!("= {p:.4}"),
        p if p >= 1e-300 => format!("= {p:.0e}"),
        _ => "< 1e-300".to_owned(),
    }
}

/// Times a second.
pub(super) fn rate(rate: f64) -> String {
    if rate > 0.0 && rate < 9.95 {
        format!("{rate:.1}/s")
    } else {
        format!("{}/s", grouped(rate.round() as u64))
    }
}

/// Bytes in binary units, whole ones: a buffer's fill is read at a glance.
pub(super) fn bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["", "K", "M", "G", "T"];
    let mut value = bytes;
    for unit in UNITS {
        if value < 10_000 {
            return format!("{value}{unit}");
        }
        value >>= 10;
    }
    format!("{value}P")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_say_their_size() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(
            [0.0, 0.0001, 0.001, 0.25, 1.0].map(percent),
            ["0.0%", "0.010%", "0.1%", "25.0%", "100.0%"]
        );
        assert_eq!(
            [0.43, 0.0123, 4.2e-7, 0.0].map(probability),
            ["= 0.43", "= 0.0123", "= 4e-7", "< 1e-300"]
        );
        assert_eq!([0.0, 0.5, 9.9, 12_345.4].map(rate), ["0/s", "0.5/s", "9.9/s", "12,345/s"]);
        assert_eq!([0, 4_096, 212_992, 8 << 30].map(bytes), ["0", "4096", "208K", "8192M"]);
    }
}
