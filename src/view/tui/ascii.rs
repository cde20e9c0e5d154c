//! The picture with the letters of a typewriter, for terminals that have no others.
//!
//! Everything is drawn as if there were no such terminals, and translated here when it is done: what
//! the panes draw can't be forgotten. The trap: on a lane a glyph is a meaning, so two meanings must
//! not become one letter, and text from outside has letters of which nobody thought.

use ratatui::buffer::Buffer;

/// What has no letter of its own, as in a process name.
const UNKNOWN: char = '?';

/// Writes the whole buffer in ASCII.
pub(super) fn spell(buffer: &mut Buffer) {
    for cell in &mut buffer.content {
        if cell.symbol().is_ascii() {
            continue;
        }
        // Of letters that are put together the first is the letter.
        let letter = cell.symbol().chars().next().map_or(' ', letter);
        cell.set_char(letter);
    }
}

/// What is drawn instead of a glyph.
pub(super) const fn letter(glyph: char) -> char {
    match glyph {
        '\0'..='\x7f' => glyph,
        _ => match on_lanes(glyph) {
            Some(letter) => letter,
            None => elsewhere(glyph),
        },
    }
}

/// The glyphs of lanes: states, steps, signs, queues. A letter each, but for queues, which have a
/// letter for two or three levels.
const fn on_lanes(glyph: char) -> Option<char> {
    Some(match glyph {
        // States.
        '\u{2501}' => '_',
        '\u{bb}' => '>',
        '\u{203a}' => '}',
        '\u{2550}' => '=',
        '\u{2500}' => '-',
        '\u{2593}' => '#',
        '\u{2039}' => '<',
        '\u{2248}' => '%',
        '\u{b7}' => '.',
        // Where they begin and end.
        '\u{ab}' => '[',
        '\u{2573}' => 'X',
        '\u{2591}' => ':',
        // Signs: reset sent and received, sent again, close, shutdown, exit, freed.
        '\u{25b2}' => 'R',
        '\u{25bc}' => 'r',
        '\u{2191}' => '^',
        '\u{a2}' => 'c',
        '\u{a7}' => 's',
        '\u{2020}' => 't',
        '\u{25cb}' => 'o',
        // Copied, a copy closed, the last one; several signs.
        '\u{2295}' => '&',
        '\u{2296}' => ';',
        '\u{2297}' => '@',
        '\u{2021}' => '*',
        // Queues, from below and from above.
        '\u{2581}' | '\u{2582}' => ',',
        '\u{2583}' | '\u{2584}' | '\u{2585}' => 'u',
        '\u{2586}' | '\u{2587}' | '\u{2588}' => 'U',
        '\u{2594}' => '`',
        '\u{2580}' => '"',
        _ => return None,
    })
}

/// The glyphs of all else, of which some may look alike.
const fn elsewhere(glyph: char) -> char {
    match glyph {
        // Up went to the signs.
        '\u{2193}' => 'v',
        '\u{2190}' | '\u{25c0}' | '\u{25c2}' | '\u{25c4}' | '\u{21d0}' => '<',
        '\u{2192}' | '\u{25b6}' | '\u{25b8}' | '\u{25ba}' | '\u{21d2}' => '>',
        '\u{25be}' | '\u{25bd}' => 'v',
        '\u{25b4}' | '\u{25b3}' => '^',
        '\u{2194}' => '-',
        '\u{2195}' => '|',
        '\u{2026}' => '~',
        '\u{b5}' | '\u{3bc}' => 'u',
        '\u{2264}' => '<',
        '\u{2265}' => '>',
        '\u{d7}' | '\u{2715}' | '\u{2717}' | '\u{2718}' => 'x',
        '\u{b1}' | '\u{2713}' | '\u{2714}' => '+',
        '\u{2212}' | '\u{2013}' | '\u{2014}' => '-',
        '\u{2018}' | '\u{2019}' => '\'',
        '\u{201c}' | '\u{201d}' => '"',
        '\u{2022}' | '\u{25cf}' | '\u{25c6}' | '\u{25a0}' => '*',
        '\u{a0}' => ' ',
        // Box drawing: dotted and plain lines, then what has corners and branches.
        '\u{2504}' | '\u{2508}' | '\u{254c}' => '.',
        '\u{2506}' | '\u{250a}' | '\u{254e}' | '\u{22ee}' => ':',
        '\u{2502}' | '\u{2503}' | '\u{2551}' | '\u{2575}' | '\u{2577}' | '\u{2579}'
        | '\u{257b}' => '|',
        '\u{2574}' | '\u{2576}' | '\u{2578}' | '\u{257a}' | '\u{257c}' | '\u{257e}' => '-',
        '\u{2571}' => '/',
        '\u{2572}' => '\\',
        '\u{250c}'..='\u{2570}' => '+',
        // Blocks and shades.
        '\u{2592}' => '%',
        '\u{2589}'..='\u{258f}' | '\u{2590}' => '|',
        _ => UNKNOWN,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ratatui::buffer::Buffer;
    use ratatui::layout::Rect;
    use ratatui::style::Style;

    use super::*;
    use crate::diagnosis::Severity;
    use crate::model::{Descriptor, TcpState};
    use crate::view::tui::lane::{EARLIER, GONE, STEP, STEPS, UNSURE, glyph, short};
    use crate::view::tui::sign::{
        ALL_CLOSED, CLOSE_CALL, COPIED, COPY_CLOSED, FREED, MANY, NO_ANSWER, RESET_RECEIVED,
        RESET_SENT, RETRANSMIT, SEVERAL, of_severity,
    };

    const DESCRIPTORS: [Option<Descriptor>; 4] = [
        None,
        Some(Descriptor::Held),
        Some(Descriptor::Gone),
        Some(Descriptor::NotAccepted),
    ];

    /// Every glyph that a lane can have, but for names.
    fn lane_glyphs() -> Vec<char> {
        let states = TcpState::ALL.into_iter();
        let fills = states.flat_map(|state| DESCRIPTORS.map(|held| glyph(state, held)));
        let signs = [
            EARLIER,
            STEP,
            STEPS,
            GONE,
            UNSURE,
            RESET_SENT,
            RESET_RECEIVED,
            RETRANSMIT,
            MANY,
            CLOSE_CALL,
            NO_ANSWER,
            FREED,
            COPIED,
            COPY_CLOSED,
            ALL_CLOSED,
            SEVERAL,
            // shutdown() and the end of a process.
            '\u{a7}',
            '\u{2020}',
        ];
        let findings = Severity::ALL.map(of_severity);
        let counts = '2'..='9';
        let queues = ['\u{2581}', '\u{2584}', '\u{2588}', '\u{2594}', '\u{2580}'];
        let all = fills.chain(signs).chain(findings).chain(counts);
        let mut all: Vec<char> = all.chain(queues).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    #[test]
    fn what_differs_on_a_lane_still_differs() {
        let mut letters = BTreeMap::new();
        for glyph in lane_glyphs() {
            let letter = letter(glyph);
            assert!(letter.is_ascii_graphic() || letter == ' ', "{glyph}");
            assert!(
                letter != UNKNOWN || glyph == NO_ANSWER,
                "{glyph} is unknown"
            );
            let other = letters.insert(letter, glyph);
            assert_eq!(other, None, "{glyph} is drawn as {letter} too");
        }
    }

    /// More is never drawn as less.
    #[test]
    fn queues_keep_their_order() {
        let levels: Vec<char> = ('\u{2581}'..='\u{2588}').map(letter).collect();
        let mut distinct = levels.clone();
        distinct.dedup();
        assert_eq!(distinct, [',', 'u', 'U']);
    }

    #[test]
    fn no_two_states_share_glyph_and_name() {
        let in_ascii = |state, held| letter(glyph(state, held));
        for (index, one) in TcpState::ALL.into_iter().enumerate() {
            for other in &TcpState::ALL[index + 1..] {
                assert!(one.name() != other.name() && short(one) != short(*other));
                for held in DESCRIPTORS {
                    let same = glyph(one, held) == glyph(*other, held);
                    assert_eq!(same, in_ascii(one, held) == in_ascii(*other, held));
                }
            }
        }
    }

    #[test]
    fn text_from_outside_is_spelled_too() {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 20, 1));
        buffer.set_string(
            0,
            0,
            "nginx \u{e9} \u{65e5}\u{672c} e\u{301} \u{2192}",
            Style::new(),
        );
        spell(&mut buffer);
        let text: String = buffer.content.iter().map(|cell| cell.symbol()).collect();
        assert_eq!(text.trim_end(), "nginx ? ? ?  e >");
    }

    #[test]
    fn nothing_else_comes_out_whatever_goes_in() {
        for c in '\u{0}'..=char::MAX {
            assert!(letter(c).is_ascii(), "{c:?}");
        }
    }
}
