//! What stands behind an option: text in, a checked value out, or what is allowed.

use std::str::FromStr;
use std::time::Duration;

use crate::model::filter::PortSet;

pub(super) fn one_port(text: &str) -> Result<u16, String> {
    let not_one = || {
        let text = text.escape_default();
        format!("'{text}' is not a port (allowed: one of 1 to 65535)")
    };
    let ports: PortSet = text.parse().map_err(|_| not_one())?;
    match ports.ranges() {
        [(first, last)] if first == last => Ok(*first),
        _ => Err(not_one()),
    }
}

pub(super) fn interval(text: &str) -> Result<Duration, String> {
    const SHORTEST: Duration = Duration::from_millis(1);
    const LONGEST: Duration = Duration::from_secs(3600);
    duration(text)
        .ok()
        .filter(|time| (SHORTEST..=LONGEST).contains(time))
        .ok_or_else(|| {
            "not a time that is possible here (allowed: 1ms to 1h, written as 100ms, 1.5s, 2m)"
                .to_owned()
        })
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    jiff::SignedDuration::from_str(text)
        .ok()
        .and_then(|time| Duration::try_from(time).ok())
        .filter(|time| !time.is_zero())
        .ok_or_else(|| {
            "not a time (allowed: more than 0, with a unit, written as 100ms, 1.5s, 2m, 1h)"
                .to_owned()
        })
}

/// From when on something counts: 0 is at once.
pub(super) fn threshold(text: &str) -> Result<Duration, String> {
    jiff::SignedDuration::from_str(text)
        .ok()
        .and_then(|time| Duration::try_from(time).ok())
        .ok_or_else(|| {
            "not a time (allowed: 0s and more, with a unit, written as 0s, 500ms, 30s, 5m)"
                .to_owned()
        })
}

/// A share of one core: `5%`, `0.5%`.
pub(super) fn budget(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('%').unwrap_or(text);
    number
        .parse::<f64>()
        .ok()
        .filter(|percent| (0.1..=100.0).contains(percent))
        .map(|percent| percent / 100.0)
        .ok_or_else(|| {
            "not a share of a core (allowed: 0.1% to 100%, written as 5% or 0.5%)".to_owned()
        })
}

/// A whole number and, right behind it, what it counts.
fn amount(text: &str, unit: impl Fn(&str) -> Option<u64>) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit());
    let (number, counted) = text.split_at(digits.unwrap_or(text.len()));
    number.parse::<u64>().ok()?.checked_mul(unit(counted)?)
}

/// A power of two of bytes: `8MiB`, `64KiB`, `4096`.
pub(super) fn ring(text: &str) -> Result<usize, String> {
    let unit = |unit: &str| match unit {
        "" => Some(1),
        "KiB" => Some(1 << 10),
        "MiB" => Some(1 << 20),
        "GiB" => Some(1 << 30),
        _ => None,
    };
    amount(text, unit)
        .and_then(|size| usize::try_from(size).ok())
        .filter(|size| size.is_power_of_two() && (4 << 10..=1 << 30).contains(size))
        .ok_or_else(|| {
            "not a size that is possible here (allowed: powers of two, 4KiB to 1GiB)".to_owned()
        })
}

/// How long a file may be: `100MB`, `1GiB`, `65536`.
pub(super) fn size(text: &str) -> Result<u64, String> {
    const LEAST: u64 = 64 << 10;
    let unit = |unit: &str| match unit {
        "" | "B" => Some(1),
        "kB" | "KB" => Some(1_000),
        "MB" => Some(1_000_000),
        "GB" => Some(1_000_000_000),
        "TB" => Some(1_000_000_000_000),
        "KiB" => Some(1 << 10),
        "MiB" => Some(1 << 20),
        "GiB" => Some(1 << 30),
        "TiB" => Some(1 << 40),
        _ => None,
    };
    amount(text, unit)
        .filter(|size| *size >= LEAST)
        .ok_or_else(|| {
            "not a size that is possible here (allowed: 64KiB and more, written as 500KB, 100MB, \
             1GiB)"
                .to_owned()
        })
}

/// How long a file may be written to.
pub(super) fn max_age(text: &str) -> Result<Duration, String> {
    duration(text)
        .ok()
        .filter(|time| *time >= Duration::from_secs(1))
        .ok_or_else(|| {
            "not a time that is possible here (allowed: 1s and more, written as 30s, 10m, 1h)"
                .to_owned()
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_a_share_of_a_core() {
        assert_eq!(budget("5%"), Ok(0.05));
        assert_eq!(budget("0.5"), Ok(0.005));
        for wrong in ["", "%", "0%", "101%", "-5%", "NaN", "inf", "5 %%"] {
            assert!(budget(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_size_has_a_unit_and_a_least() {
        assert_eq!(size("64KiB"), Ok(64 << 10));
        assert_eq!(size("65536"), Ok(64 << 10));
        assert_eq!(size("100MB"), Ok(100_000_000));
        assert_eq!(size("1GiB"), Ok(1 << 30));
        for wrong in [
            "",
            "MB",
            "64KB",
            "65535",
            "-1MB",
            "1.5GB",
            "1mb",
            "99999999TB",
        ] {
            assert!(size(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_ring_is_a_power_of_two() {
        assert_eq!(ring("8MiB"), Ok(8 << 20));
        assert_eq!(ring("4096"), Ok(4096));
        for wrong in [
            "",
            "MiB",
            "3MiB",
            "2KiB",
            "2GiB",
            "8mb",
            "99999999999999999999",
        ] {
            assert!(ring(wrong).is_err(), "{wrong}");
        }
    }
}
