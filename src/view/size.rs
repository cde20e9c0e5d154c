//! Sizes for people: in decimal units, to a tenth. Knows nothing of what is measured. The trap:
//! rounded up, it would say that there is more than there is.

/// A number of bytes, such as `5.4 MB`.
pub fn size(count: u64) -> String {
    let (unit, name) = match count {
        0..1_000 => return format!("{count} bytes"),
        1_000..1_000_000 => (1_000, "kB"),
        1_000_000..1_000_000_000 => (1_000_000, "MB"),
        _ => (1_000_000_000, "GB"),
    };
    format!("{}.{} {name}", count / unit, count % unit * 10 / unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_cut_to_a_tenth() {
        for (count, text) in [
            (0, "0 bytes"),
            (999, "999 bytes"),
            (1000, "1.0 kB"),
            (999_999, "999.9 kB"),
            (5_432_100, "5.4 MB"),
            (12_000_000_000, "12.0 GB"),
        ] {
            assert_eq!(size(count), text);
        }
    }
}
