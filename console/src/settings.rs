//! What flags and environment come to: values with units, and where state lives.

use std::{env, path::PathBuf, time::Duration};

/// `$XDG_STATE_HOME`, or `~/.local/state`.
pub fn state_home() -> PathBuf {
    let given = env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    given.unwrap_or_else(|| env::home_dir().unwrap_or_else(env::temp_dir).join(".local/state"))
}

/// Where audit, journals and the log are.
pub fn gwtop_state() -> PathBuf {
    state_home().join("gwtop")
}

/// Where the demo that was started last leaves its kubeconfig, as long as it runs.
pub fn demo_kubeconfig() -> PathBuf {
    gwtop_state().join("demo/kubeconfig")
}

/// `5m`, `300ms`, `1h30m`, as kubectl and the Gateway API write durations.
pub fn duration(text: &str) -> Result<Duration, String> {
    let bad = || format!("{text:?} is not a duration: write it as 30s, 5m, 300ms or 1h30m");
    let mut total = 0.0;
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(bad());
    }
    while !rest.is_empty() {
        let number = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(rest.len());
        let unit = rest[number..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |end| number + end);
        let seconds = match &rest[number..unit] {
            "ms" => 0.001,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            "" if rest == "0" => 1.0,
            _ => return Err(bad()),
        };
        total += rest[..number].parse::<f64>().map_err(|_| bad())? * seconds;
        rest = &rest[unit..];
    }
    Duration::try_from_secs_f64(total).map_err(|_| bad())
}

/// A share of 0 to 1 out of `1%`, `0.5 %` or `0.01`.
pub fn share(text: &str) -> Result<f64, String> {
    let bad = || format!("{text:?} is not a share: write it as 1% or 0.01");
    let share = match text.trim().strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f64>().map_err(|_| bad())? / 100.0,
        None => text.trim().parse::<f64>().map_err(|_| bad())?,
    };
    if (0.0..=1.0).contains(&share) { Ok(share) } else { Err(bad()) }
}

/// A number of percent, with or without the sign.
pub fn percent(text: &str) -> Result<f64, String> {
    let number = text.trim().trim_end_matches('%').trim_end();
    number
        .parse()
        .ok()
        .filter(|percent: &f64| percent.is_finite())
        .ok_or_else(|| format!("{text:?} is not a percentage: write it as 5 or 5%"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units() {
        assert_eq!(duration("5m"), Ok(Duration::from_secs(300)));
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(duration("300ms"), Ok(Duration::from_millis(300)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1500)));
        assert_eq!(duration("0"), Ok(Duration::ZERO));
        for bad in ["", "5", "m", "5 m", "-5m", "5d", "1e99h", "é"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        assert_eq!(share("1%"), Ok(0.01));
        assert_eq!(share("0.01"), Ok(0.01));
        for bad in ["1.5", "101%", "-1%", "x", "NaN"] {
            assert!(share(bad).is_err(), "{bad}");
        }
        assert_eq!(percent("5"), Ok(5.0));
        assert_eq!(percent("0.5%"), Ok(0.5));
        assert!(percent("five").is_err());
        assert!(percent("NaN").is_err());
    }
}
