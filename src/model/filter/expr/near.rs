//! How far one word is from another: what a slip of the finger meant.

/// How many letters have to be put in, left out or replaced, of the first 64 of each.
pub fn distance(written: &str, meant: &str) -> usize {
    let written: Vec<char> = written.chars().take(64).collect();
    let meant: Vec<char> = meant.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=meant.len()).collect();
    for (down, letter) in written.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = down + 1;
        for (across, other) in meant.iter().enumerate() {
            let changed = diagonal + usize::from(letter != other);
            diagonal = row[across + 1];
            row[across + 1] = changed.min(diagonal + 1).min(row[across] + 1);
        }
    }
    row[meant.len()]
}

/// The one of `words` that was meant; `None` when none is near.
pub(super) fn nearest<'a>(written: &str, words: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let written = written.to_ascii_lowercase().replace('_', "-");
    let begins_like = |word: &&str| word.starts_with(written.get(..1).unwrap_or_default());
    let distances = words.filter(begins_like).map(|word| {
        match word.starts_with(&written) && written.len() > 2 {
            true => (1, word),
            false => (distance(&written, word), word),
        }
    });
    let near = distances.filter(|(distance, _)| *distance <= 2);
    near.min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}
