//! How long, for people: `240 µs`, `12 ms`, `3.4 s`, `2 min 5 s`, `1 h 3 min`.
//!
//! Everything is cut off, never rounded up: an age that says 60 s has lasted 60 s.

use std::time::Duration;

use crate::timeline::Age;

/// The duration in words and figures.
pub fn brief(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => {
            let (number, unit) = in_one_unit(duration);
            format!("{number} {unit}")
        }
        60..3600 => two_units(seconds / 60, "min", seconds % 60, "s"),
        3600..86_400 => two_units(seconds / 3600, "h", seconds / 60 % 60, "min"),
        _ => two_units(seconds / 86_400, "d", seconds / 3600 % 24, "h"),
    }
}

/// The duration in at most six columns, for tables.
pub fn narrow(duration: Duration) -> String {
    let seconds = duration.as_secs();
    match seconds {
        0..60 => brief(duration),
        60..6000 => format!("{} min", seconds / 60),
        6000..360_000 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// A duration known only between two bounds; no upper bound means "at least".
pub fn range(at_least: Duration, at_most: Option<Duration>) -> String {
    let Some(at_most) = at_most else {
        return format!("at least {}", brief(at_least));
    };
    let (low, high) = (brief(at_least), brief(at_most));
    if low == high {
        return low;
    }
    if at_least.is_zero() {
        return format!("at most {high}");
    }
    match (low.rsplit_once(' '), high.rsplit_once(' ')) {
        (Some((number, unit)), Some((_, same))) if unit == same && at_most.as_secs() < 60 => {
            format!("{number}-{high}")
        }
        _ => format!("{low} to {high}"),
    }
}

/// How long a state has lasted, as far as it is known.
pub fn age(age: Age) -> String {
    match age.known() {
        None => "unknown time".to_owned(),
        Some(_) => range(age.at_least, age.at_most),
    }
}

/// The age in at most seven columns: `3.4 s`, `≥12 s` when it began before it was seen, `?` when
/// nothing is known.
pub fn narrow_age(age: Age) -> String {
    match (age.known(), age.at_most) {
        (None, _) => "?".to_owned(),
        (Some(at_least), None) => format!("\u{2265}{}", narrow(at_least)),
        (Some(at_least), Some(at_most)) if at_least.is_zero() => format!("<{}", narrow(at_most)),
        (Some(at_least), Some(_)) => narrow(at_least),
    }
}

fn in_one_unit(duration: Duration) -> (String, &'static str) {
    let micros = duration.as_micros();
    match micros {
        0..1000 => (micros.to_string(), "\u{b5}s"),
        1000..1_000_000 => ((micros / 1000).to_string(), "ms"),
        1_000_000..10_000_000 => {
            let tenths = micros / 100_000;
            (format!("{}.{}", tenths / 10, tenths % 10), "s")
        }
        _ => ((micros / 1_000_000).to_string(), "s"),
    }
}

fn two_units(large: u64, name: &str, small: u64, small_name: &str) -> String {
    if small == 0 {
        format!("{large} {name}")
    } else {
        format!("{large} {name} {small} {small_name}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn micros(n: u64) -> Duration {
        Duration::from_micros(n)
    }

    #[test]
    fn durations_are_brief() {
        for (duration, text) in [
            (micros(0), "0 µs"),
            (micros(240), "240 µs"),
            (micros(999), "999 µs"),
            (micros(12_900), "12 ms"),
            (micros(999_999), "999 ms"),
            (micros(3_490_000), "3.4 s"),
            (micros(12_700_000), "12 s"),
            (Duration::from_secs(60), "1 min"),
            (Duration::from_secs(125), "2 min 5 s"),
            (Duration::from_secs(3_780), "1 h 3 min"),
            (Duration::from_secs(90_000), "1 d 1 h"),
        ] {
            assert_eq!(brief(duration), text);
        }
    }

    #[test]
    fn ranges_share_their_unit() {
        let (low, high) = (micros(3_100_000), micros(3_200_000));
        assert_eq!(range(low, Some(high)), "3.1-3.2 s");
        assert_eq!(range(low, None), "at least 3.1 s");
        assert_eq!(range(low, Some(low)), "3.1 s");
        assert_eq!(range(Duration::ZERO, Some(micros(98_000))), "at most 98 ms");
        assert_eq!(range(micros(950_000), Some(high)), "950 ms to 3.2 s");
        let minutes = Duration::from_secs(125);
        assert_eq!(range(minutes, Some(minutes * 2)), "2 min 5 s to 4 min 10 s");
    }

    #[test]
    fn table_cells_keep_their_width() {
        let mut duration = micros(1);
        while duration < Duration::from_secs(86_400 * 9999) {
            let exact = Age {
                at_least: duration,
                at_most: None,
            };
            assert!(narrow_age(exact).chars().count() <= 7, "{duration:?}");
            duration = duration * 17 / 10 + micros(1);
        }
    }
}
