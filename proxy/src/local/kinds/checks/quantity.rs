//! Quantities, such as `100m` and `1.5Gi`, compared.

/// The quantity in billionths; nothing where it is none.
pub(super) fn nanos(text: &str) -> Option<i128> {
    const NANO: i128 = 1_000_000_000;
    let end = text.find(|c: char| !c.is_ascii_digit() && !['.', '+', '-'].contains(&c)).unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (sign, digits) = match number.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    let power = |base: i128, exponent: u32| base.checked_pow(exponent);
    // As a fraction, so that nothing is lost.
    let (times, by) = match suffix {
        "" => (1, 1),
        "n" => (1, NANO),
        "u" => (1, 1_000_000),
        "m" => (1, 1_000),
        "Ki" | "Mi" | "Gi" | "Ti" | "Pi" | "Ei" => {
            (power(1024, "KMGTPE".find(&suffix[..1]).and_then(|at| u32::try_from(at + 1).ok())?)?, 1)
        }
        "k" | "M" | "G" | "T" | "P" | "E" => {
            (power(1000, "kMGTPE".find(suffix).and_then(|at| u32::try_from(at + 1).ok())?)?, 1)
        }
        exponent => {
            let exponent: i32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            let size = power(10, exponent.unsigned_abs())?;
            if exponent < 0 { (1, size) } else { (size, 1) }
        }
    };
    let part: String = format!("{part:0<9}").chars().take(9).collect();
    let whole = if whole.is_empty() { 0 } else { whole.parse::<i128>().ok()? };
    let value = whole.checked_mul(NANO)?.checked_add(part.parse::<i128>().ok()?)?;
    Some(sign * value.checked_mul(times)? / by)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_compared_by_what_they_mean() {
        for (one, other) in [
            ("1", "1000m"),
            ("1Ki", "1024"),
            ("1.5Gi", "1536Mi"),
            ("1k", "1000"),
            ("1e3", "1k"),
            ("100n", "0.1u"),
            ("-1", "-1000m"),
            ("2E", "2000P"),
            ("5e-3", "5m"),
        ] {
            assert_eq!(nanos(one), nanos(other), "{one} {other}");
            assert!(nanos(one).is_some(), "{one}");
        }
        assert!(nanos("1Ki") > nanos("1k"));
        for wrong in ["x", "1Qi", "1 ", "1.2.3", "1e99"] {
            assert_eq!(nanos(wrong), None, "{wrong}");
        }
    }
}
