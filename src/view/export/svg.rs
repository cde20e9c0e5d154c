//! The timeline as a picture that opens anywhere: no scripts, no fonts, no links.
//!
//! Two lanes a connection, a bar a state; what is sampled, inferred or broken looks like it. Below
//! the lanes all of it stands in words, since a bar of a pixel has no name. The trap: a picture of
//! everything is a picture of nothing, and one that is too high opens nowhere: so there is room for
//! some, those that tell something come first, and the others are counted.

mod axis;
mod draw;
mod lane;
mod scale;
mod style;

use std::collections::BTreeMap;

use crate::model::TcpState;
use crate::model::tcp::StateSet;
use crate::timeline::{ConnId, MarkKind};
use crate::view::export::what;
use crate::view::report::text::{blind_words, plural, read_words};
use crate::view::report::{About, Shown, Summary, short};
use draw::{Draw, WIDTH};
pub(super) use style::escaped;
use style::{STYLE, wrapped};

/// How many connections are drawn at most.
const CONNECTIONS: usize = 200;
/// What connections take together at most, pixels: many programs draw nothing that is higher than
/// 32,767, and there is a head and a foot.
const HEIGHT: f64 = 29_500.0;
/// Between two connections.
const BETWEEN: f64 = 14.0;
/// Lines of the head.
const HEAD: usize = 80;
/// Characters of a line of text over the whole width.
const COLUMNS: usize = 165;

/// A picture on its way.
#[derive(Debug, Default)]
pub(super) struct Picture {
    /// By what they are kept for: those that did not end in good order or go on before others, and
    /// of each the newest.
    cards: BTreeMap<(Rank, ConnId), Card>,
    /// Of all cards.
    height: f64,
    /// How many are left out, by their rank.
    left_out: [u64; 2],
}

/// Which connections are drawn first when there is no room for all; the last comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    /// Ended in good order.
    Orderly,
    /// Open, or ended in another way.
    Telling,
}

impl Rank {
    fn of(shown: &Shown<'_>) -> Self {
        if shown.way().is_orderly() {
            Self::Orderly
        } else {
            Self::Telling
        }
    }
}

/// A connection that is drawn, as if it began at 0.
#[derive(Debug)]
struct Card {
    text: String,
    height: f64,
    used: Used,
}

/// What occurs, and has to be explained.
#[derive(Clone, Copy, Debug, Default)]
struct Used {
    states: StateSet,
    resets_sent: bool,
    resets_received: bool,
    retransmits: bool,
    close_calls: bool,
    frees: bool,
    fuzzy: bool,
    inferred: bool,
    broken: bool,
    earlier: bool,
    goes_on: bool,
    ends: bool,
    found: bool,
}

impl Used {
    /// What occurs there occurs.
    fn add(&mut self, other: &Self) {
        self.states = other.states.iter().fold(self.states, StateSet::with);
        self.resets_sent |= other.resets_sent;
        self.resets_received |= other.resets_received;
        self.retransmits |= other.retransmits;
        self.close_calls |= other.close_calls;
        self.frees |= other.frees;
        self.fuzzy |= other.fuzzy;
        self.inferred |= other.inferred;
        self.broken |= other.broken;
        self.earlier |= other.earlier;
        self.goes_on |= other.goes_on;
        self.ends |= other.ends;
        self.found |= other.found;
    }

    const fn mark(&mut self, kind: MarkKind) {
        match kind {
            MarkKind::ResetSent(_) => self.resets_sent = true,
            MarkKind::ResetReceived => self.resets_received = true,
            MarkKind::Retransmit => self.retransmits = true,
            MarkKind::CloseCall => self.close_calls = true,
            MarkKind::Freed => self.frees = true,
            // Its title says what it is.
            MarkKind::NoAnswer => {}
        }
    }
}

impl Picture {
    pub(super) fn connection(&mut self, shown: &Shown<'_>, about: &About) {
        let key = (Rank::of(shown), shown.connection.id());
        let is_full = self.cards.len() == CONNECTIONS;
        if is_full && self.cards.keys().next().is_some_and(|least| key < *least) {
            self.left_out[key.0 as usize] += 1;
            return;
        }
        let mut used = Used::default();
        let (text, height) = lane::card(shown, about, &mut used);
        self.height += height + BETWEEN;
        self.cards.insert(key, Card { text, height, used });
        while self.cards.len() > CONNECTIONS || self.height > HEIGHT {
            let Some(((rank, _), card)) = self.cards.pop_first() else {
                break;
            };
            self.height -= card.height + BETWEEN;
            self.left_out[rank as usize] += 1;
        }
    }

    /// Gives how many connections were left out.
    pub(super) fn end(self, about: &About, summary: &Summary, out: &mut String) -> u64 {
        let mut head = Draw::default();
        let header = header(&mut head, about, summary);
        let mut cards: Vec<(ConnId, Card)> = self
            .cards
            .into_iter()
            .map(|((_, number), card)| (number, card))
            .collect();
        cards.sort_by_key(|(number, _)| *number);
        let mut used = Used::default();
        let mut body = String::new();
        let mut down = 0.0;
        for (_, card) in cards {
            used.add(&card.used);
            let text = card.text;
            body.push_str(&format!(
                "<g transform=\"translate(0 {down:.1})\">\n{text}</g>\n"
            ));
            down += card.height + BETWEEN;
        }
        let mut foot = Draw::default();
        let mut footer = 0.0;
        let [orderly, telling] = self.left_out;
        let left_out = orderly + telling;
        if body.is_empty() {
            footer += 22.0;
            foot.text(16.0, footer, "", "No connection.");
        }
        if left_out > 0 {
            footer += 22.0;
            let text = format!(
                "{left_out} more connection{} left out of this picture, {orderly} that ended in \
                 good order and {telling} open or ended otherwise; the newest are drawn. Choose \
                 with --conn, --verdict, --port, --from, --until.",
                plural(left_out)
            );
            foot.text(16.0, footer, "b", &text);
        }
        footer += legend(&mut foot, footer + 10.0, &used);
        let height = header + down + footer + 24.0;
        let title = escaped(&format!("tcpwatch: {}", what(about)));
        out.push_str(&format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH:.0}\" height=\"{height:.0}\" \
             viewBox=\"0 0 {WIDTH:.0} {height:.0}\" role=\"img\" color-scheme=\"light dark\">\n\
             <title>{title}</title>\n<style>{STYLE}</style>\n\
             <defs><pattern id=\"tcpwatch-hatch\" width=\"6\" height=\"6\" \
             patternUnits=\"userSpaceOnUse\" patternTransform=\"rotate(45)\">\
             <line x1=\"0\" y1=\"0\" x2=\"0\" y2=\"6\" class=\"hl\"/></pattern></defs>\n\
             <rect class=\"bg\" x=\"0\" y=\"0\" width=\"{WIDTH:.0}\" height=\"{height:.0}\"/>\n"
        ));
        out.push_str(&head.out);
        out.push_str(&format!(
            "<g transform=\"translate(0 {header:.1})\">\n{body}</g>\n"
        ));
        out.push_str(&format!(
            "<g transform=\"translate(0 {:.1})\">\n{}</g>\n</svg>\n",
            header + down,
            foot.out
        ));
        left_out
    }
}

/// What was recorded; gives its height.
fn header(draw: &mut Draw, about: &About, summary: &Summary) -> f64 {
    let mut y = 30.0;
    draw.text(16.0, y, "h", &what(about));
    let mut lines = 0;
    let mut line = |text: &str| {
        for part in wrapped(text, COLUMNS) {
            lines += 1;
            if lines > HEAD {
                return;
            }
            y += 17.0;
            draw.text(16.0, y, "q", &part);
        }
    };
    for recording in &about.recordings {
        let filter = if recording.filter.is_empty() {
            String::new()
        } else {
            format!(" \u{b7} filter: {}", recording.filter)
        };
        line(&format!(
            "{} \u{b7} {}, Linux {}{filter} \u{b7} {}",
            recording.files.join(" "),
            recording.name(),
            short(&recording.kernel),
            read_words(&recording.read)
        ));
    }
    let lost = match summary.totals.losses {
        0 => match blind_words(&about.recordings) {
            Some(blind) => format!("nothing was lost, but {blind}"),
            None => "nothing was lost".to_owned(),
        },
        1 => "something was lost once".to_owned(),
        n => format!("something was lost {n} times"),
    };
    let chosen = if about.filter.is_empty() {
        String::new()
    } else {
        format!(" of {}", about.filter)
    };
    let seen = summary.seen;
    line(&format!(
        "{seen} connection{}{chosen} \u{b7} {lost} \u{b7} tcpwatch {}",
        plural(seen),
        env!("CARGO_PKG_VERSION")
    ));
    if let Some(loss) = summary.losses.told().first() {
        line(&format!(
            "first loss: {} {}: {}",
            about.clock.time_of_day(loss.at).trim_start(),
            loss.source,
            loss.why
        ));
    }
    for word in &about.clocks {
        line(&word.sentence);
    }
    y + 18.0
}

/// Draws a sign at a place.
type Sign<'a> = &'a dyn Fn(&mut Draw, f64, f64);

/// Explains what occurs; gives its height.
fn legend(draw: &mut Draw, top: f64, used: &Used) -> f64 {
    let mut x = 16.0;
    let mut y = top + 14.0;
    let mut entry = |draw: &mut Draw, sign: Sign<'_>, text: &str| {
        let width = 30.0 + 6.9 * text.chars().count() as f64 + 18.0;
        if x + width > WIDTH - 16.0 {
            x = 16.0;
            y += 22.0;
        }
        sign(draw, x, y);
        draw.text(x + 30.0, y, "", text);
        x += width;
    };
    for state in used.states.iter().filter(|state| *state != TcpState::Close) {
        let swatch = |draw: &mut Draw, x: f64, y: f64| {
            draw.rect(
                &format!("bar {}", style::class(state)),
                x,
                y - 11.0,
                24.0,
                14.0,
                "",
            );
        };
        entry(draw, &swatch, state.name());
    }
    let marks: [(bool, MarkKind, &str); 5] = [
        (used.resets_sent, MarkKind::ResetSent(None), "reset sent"),
        (
            used.resets_received,
            MarkKind::ResetReceived,
            "reset received",
        ),
        (used.retransmits, MarkKind::Retransmit, "segment sent again"),
        (
            used.close_calls,
            MarkKind::CloseCall,
            "close() after the FIN",
        ),
        (used.frees, MarkKind::Freed, "socket freed"),
    ];
    for (_, kind, words) in marks.into_iter().filter(|(occurs, ..)| *occurs) {
        let sign = |draw: &mut Draw, x: f64, y: f64| draw.mark(kind, x + 12.0, y - 4.0, "");
        entry(draw, &sign, words);
    }
    let signs: [(bool, Sign<'_>, &str); 7] = [
        (
            used.found,
            &|draw, x, y| draw.found(x + 12.0, y - 4.0, ""),
            "something was found: below in words",
        ),
        (
            used.fuzzy,
            &|draw, x, y| draw.fuzzy("est", "fw2", (x, x + 24.0), (y - 11.0, 14.0), ""),
            "changed somewhere in here, between two looks",
        ),
        (
            used.inferred,
            &|draw, x, y| draw.rect("inf est", x, y - 11.0, 24.0, 14.0, ""),
            "inferred: no look has shown it",
        ),
        (
            used.broken,
            &|draw, x, y| draw.zigzag(x + 12.0, y - 13.0, 18.0),
            "time left out: drawn shorter than it is",
        ),
        (
            used.earlier,
            &|draw, x, y| draw.earlier("est", x + 12.0, y - 11.0, 14.0),
            "began before it was seen",
        ),
        (
            used.goes_on,
            &|draw, x, y| draw.goes_on("est", x + 8.0, y - 11.0, 14.0),
            "still so at the end",
        ),
        (
            used.ends,
            &|draw, x, y| draw.end_cap(x + 12.0, y - 13.0, 18.0, ""),
            "the socket is gone (CLOSE)",
        ),
    ];
    for (_, sign, words) in signs.into_iter().filter(|(occurs, ..)| *occurs) {
        entry(draw, sign, words);
    }
    y - top + 16.0
}
