//! How long, for people: `240 µs`, `1.2 ms`, `3.4 s`, `2 min 5 s`, `1 h 3 min`.
//!
//! A duration is told to the nearest figure. A bound must stay true: an upper one is rounded up, a
//! lower one down, so that 60 s "at least" have passed and "within 2 ms" is never too little.

use std::time::Duration;

use crate::model::time::nanos_of;
use crate::timeline::{Age, Precision};

/// The duration in words and figures, to the nearest.
pub fn brief(duration: Duration) -> String {
    words(rounded(duration, To::Nearest, step))
}

/// An upper bound: never less than it is.
pub fn at_most(duration: Duration) -> String {
    words(rounded(duration, To::Up, step))
}

/// A lower bound: never more than it is.
pub fn at_least(duration: Duration) -> String {
    words(rounded(duration, To::Down, step))
}

/// How long a state has lasted, as far as it is known.
pub fn age(age: Age) -> String {
    if !is_telling(age) {
        return "unknown time".to_owned();
    }
    match age.at_most {
        None => format!("at least {}", at_least(age.at_least)),
        Some(most) => range(age.at_least, most),
    }
}

/// The age in at most seven columns: `3.4 s`; `≥12 s` when it can be much more, since it began before
/// it was seen; `?` when nothing is known.
pub fn narrow_age(age: Age) -> String {
    match age.at_most {
        _ if !is_telling(age) => "?".to_owned(),
        Some(most) if most.is_zero() => narrow(most, To::Nearest),
        None => format!("\u{2265}{}", narrow(age.at_least, To::Down)),
        Some(most) if age.at_least.is_zero() => format!("<{}", narrow(most, To::Up)),
        // There is room for one bound, and the lower one is what lasts.
        Some(_) if age.precision() == Precision::Range => {
            format!("\u{2265}{}", narrow(age.at_least, To::Down))
        }
        Some(_) => narrow(age.at_least, To::Nearest),
    }
}

/// The age in a table's cell, with both of its bounds: `3.1-3.2 s`, `<98 ms`, `≥12 s`.
pub fn cell(age: Age) -> String {
    match age.at_most {
        None if age.at_least < MICROSECOND => "?".to_owned(),
        None => format!("\u{2265}{}", at_least(age.at_least)),
        Some(most) if brief(age.at_least) == brief(most) => brief(most),
        Some(most) if age.at_least < MICROSECOND => format!("<{}", at_most(most)),
        Some(most) => range(age.at_least, most).replace(" to ", "-"),
    }
}

/// Whether the age tells anything.
pub fn is_telling(age: Age) -> bool {
    age.known().is_some()
}

/// A duration known only between two bounds.
fn range(least: Duration, most: Duration) -> String {
    if brief(least) == brief(most) {
        return brief(least);
    }
    let (low, high) = (at_least(least), at_most(most));
    if least < MICROSECOND {
        return format!("at most {high}");
    }
    match (low.rsplit_once(' '), high.rsplit_once(' ')) {
        (Some((number, unit)), Some((_, same))) if unit == same && most < MINUTE => {
            format!("{number}-{high}")
        }
        _ => format!("{low} to {high}"),
    }
}

/// In at most six columns, for tables.
fn narrow(duration: Duration, to: To) -> String {
    let duration = rounded(duration, to, narrow_step);
    let seconds = duration.as_secs();
    match seconds {
        0..60 => words(duration),
        60..6000 => format!("{} min", seconds / 60),
        6000..360_000 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// Which way what is left out counts.
#[derive(Clone, Copy)]
enum To {
    Nearest,
    Up,
    Down,
}

const MICROSECOND: Duration = Duration::from_micros(1);
const MINUTE: Duration = Duration::from_secs(60);

/// The least that [`words`] tell of a duration this long.
const fn step(duration: Duration) -> Duration {
    match duration.as_micros() {
        0..1000 => MICROSECOND,
        1000..10_000 => Duration::from_micros(100),
        10_000..1_000_000 => Duration::from_millis(1),
        1_000_000..10_000_000 => Duration::from_millis(100),
        10_000_000..3_600_000_000 => Duration::from_secs(1),
        3_600_000_000..86_400_000_000 => MINUTE,
        _ => Duration::from_secs(3600),
    }
}

/// The least that [`narrow`] tells of a duration this long.
const fn narrow_step(duration: Duration) -> Duration {
    match duration.as_secs() {
        0..60 => step(duration),
        60..6000 => MINUTE,
        6000..360_000 => Duration::from_secs(3600),
        _ => Duration::from_secs(86_400),
    }
}

/// To whole steps; twice, as rounding may lead to where steps are longer.
fn rounded(duration: Duration, to: To, step: fn(Duration) -> Duration) -> Duration {
    let once = to_steps(duration, to, step(duration));
    to_steps(once, to, step(once))
}

fn to_steps(duration: Duration, to: To, step: Duration) -> Duration {
    let (nanos, step) = (nanos_of(duration), nanos_of(step).max(1));
    let steps = match to {
        To::Nearest => nanos.saturating_add(step / 2) / step,
        To::Up => nanos.div_ceil(step),
        To::Down => nanos / step,
    };
    Duration::from_nanos(steps.saturating_mul(step))
}

/// A rounded duration in words and figures.
fn words(duration: Duration) -> String {
    let (micros, seconds) = (duration.as_micros(), duration.as_secs());
    match micros {
        0..1000 => format!("{micros} \u{b5}s"),
        1000..10_000 => format!("{}.{} ms", micros / 1000, micros / 100 % 10),
        10_000..1_000_000 => format!("{} ms", micros / 1000),
        1_000_000..10_000_000 => format!("{seconds}.{} s", micros / 100_000 % 10),
        10_000_000..60_000_000 => format!("{seconds} s"),
        60_000_000..3_600_000_000 => two_units(seconds / 60, "min", seconds % 60, "s"),
        3_600_000_000..86_400_000_000 => two_units(seconds / 3600, "h", seconds / 60 % 60, "min"),
        _ => two_units(seconds / 86_400, "d", seconds / 3600 % 24, "h"),
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
    fn durations_are_told_to_the_nearest_and_bounds_stay_true() {
        for (duration, down, nearest, up) in [
            (micros(0), "0 µs", "0 µs", "0 µs"),
            (Duration::from_nanos(240_400), "240 µs", "240 µs", "241 µs"),
            (micros(999), "999 µs", "999 µs", "999 µs"),
            (Duration::from_nanos(999_600), "999 µs", "1.0 ms", "1.0 ms"),
            (micros(1245), "1.2 ms", "1.2 ms", "1.3 ms"),
            (micros(3000), "3.0 ms", "3.0 ms", "3.0 ms"),
            (micros(9960), "9.9 ms", "10 ms", "10 ms"),
            (micros(12_900), "12 ms", "13 ms", "13 ms"),
            (micros(999_999), "999 ms", "1.0 s", "1.0 s"),
            (micros(1_690_000), "1.6 s", "1.7 s", "1.7 s"),
            (micros(47_900_000), "47 s", "48 s", "48 s"),
            (micros(59_700_000), "59 s", "1 min", "1 min"),
            (micros(125_200_000), "2 min 5 s", "2 min 5 s", "2 min 6 s"),
            (micros(3_599_900_000), "59 min 59 s", "1 h", "1 h"),
            (
                Duration::from_secs(3_799),
                "1 h 3 min",
                "1 h 3 min",
                "1 h 4 min",
            ),
            (Duration::from_secs(90_000), "1 d 1 h", "1 d 1 h", "1 d 1 h"),
        ] {
            assert_eq!(at_least(duration), down);
            assert_eq!(brief(duration), nearest);
            assert_eq!(at_most(duration), up);
        }
    }

    #[test]
    fn ages_share_their_unit() {
        let between = |at_least, at_most| {
            age(Age {
                at_least: micros(at_least),
                at_most: Some(micros(at_most)),
            })
        };
        assert_eq!(between(3_100_000, 3_200_000), "3.1-3.2 s");
        assert_eq!(between(3_160_000, 3_260_000), "3.1-3.3 s");
        assert_eq!(between(47_900_000, 48_100_000), "48 s");
        assert_eq!(between(0, 97_100), "at most 98 ms");
        assert_eq!(between(950_000, 3_200_000), "950 ms to 3.2 s");
        assert_eq!(between(125_000_000, 250_000_000), "2 min 5 s to 4 min 10 s");
    }

    #[test]
    fn cells_have_both_bounds() {
        let of = |at_least, at_most: Option<u64>| {
            cell(Age {
                at_least: micros(at_least),
                at_most: at_most.map(micros),
            })
        };
        assert_eq!(of(3_100_000, Some(3_200_000)), "3.1-3.2 s");
        assert_eq!(of(950_000, Some(3_200_000)), "950 ms-3.2 s");
        assert_eq!(of(0, Some(97_100)), "<98 ms");
        assert_eq!(of(40, Some(40)), "40 µs");
        assert_eq!(of(12_000_000, None), "≥12 s");
        assert_eq!(of(0, None), "?");
    }

    #[test]
    fn an_age_as_short_as_our_own_look_is_none() {
        let from = |at_least| Age {
            at_least: micros(at_least),
            at_most: None,
        };
        assert_eq!(age(from(3_190_000)), "at least 3.1 s");
        assert_eq!(narrow_age(from(3_190_000)), "≥3.1 s");
        assert_eq!(age(from(999)), "unknown time");
        assert_eq!(narrow_age(from(999)), "?");
    }

    #[test]
    fn a_wide_range_is_not_told_as_its_lower_bound() {
        let (second, hours) = (micros(1_000_000), Duration::from_secs(3 * 3600));
        let wide = Age {
            at_least: second,
            at_most: Some(hours),
        };
        assert_eq!(narrow_age(wide), "\u{2265}1.0 s");
        assert_eq!(age(wide), "1.0 s to 3 h");
        assert_eq!(cell(wide), "1.0 s-3 h");
        let close = Age {
            at_least: Duration::from_secs(59 * 60),
            at_most: Some(Duration::from_secs(60 * 60)),
        };
        assert_eq!(narrow_age(close), "59 min");
        let looks = Age {
            at_least: micros(3_100_000),
            at_most: Some(micros(3_200_000)),
        };
        assert_eq!(narrow_age(looks), "3.1 s");
    }

    #[test]
    fn table_cells_keep_their_width() {
        let mut duration = micros(1);
        while duration < Duration::from_secs(86_400 * 9998) {
            for to in [To::Nearest, To::Up, To::Down] {
                let cell = narrow(duration, to);
                assert!(cell.chars().count() <= 6, "{duration:?}: {cell}");
            }
            duration = duration * 17 / 10 + micros(1);
        }
    }
}
