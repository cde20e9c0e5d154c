//! A row of the ladder: what stands beside the lifelines, and the arrow between them.

use ratatui::style::Style;
use ratatui::text::{Line, Span};

use crate::model::Timestamp;
use crate::timeline::{Age, Side};
use crate::view::tui::View;
use crate::view::tui::ladder::columns::Columns;

/// One row.
#[derive(Debug)]
pub(super) struct Row {
    /// When what it tells was, on its first row.
    pub(super) at: Option<Timestamp>,
    /// How long after the row above that has a time.
    pub(super) since: Option<Age>,
    pub(super) time: String,
    pub(super) steps: String,
    pub(super) is_order_unknown: bool,
    what: Drawn,
}

#[derive(Debug)]
pub(super) enum Drawn {
    /// What stands beside A's lifeline and B's, and what goes from one to the other.
    Rung([Text; 2], [Life; 2], Option<Arrow>),
    /// A sentence, where the lifelines would be.
    Across(Text),
}

#[derive(Clone, Debug, Default)]
pub(super) struct Text {
    pub(super) words: String,
    pub(super) style: Style,
}

impl Text {
    pub(super) fn new(words: impl Into<String>, style: Style) -> Self {
        Self {
            words: words.into(),
            style,
        }
    }
}

/// How an end's line goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Life {
    /// It is not there: not yet, or not any more.
    Absent,
    Seen,
    /// No source shows it.
    Unseen,
    /// Nothing happens for a while.
    Waits,
}

impl Life {
    const fn glyph(self) -> &'static str {
        match self {
            Self::Absent => " ",
            Self::Seen => "\u{2502}",
            Self::Unseen => "\u{2506}",
            Self::Waits => "\u{22ee}",
        }
    }
}

/// A segment on its way.
#[derive(Clone, Debug)]
pub(super) struct Arrow {
    pub(super) from: Side,
    pub(super) label: String,
    /// Where the label has no room.
    pub(super) short: String,
    pub(super) kind: Kind,
    pub(super) style: Style,
}

/// How an arrow is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Seen,
    /// From a state that nobody saw.
    Unseen,
    Reset,
    /// The same again and again.
    Again,
}

impl Row {
    pub(super) fn new(what: Drawn) -> Self {
        Self {
            at: None,
            since: None,
            time: String::new(),
            steps: String::new(),
            is_order_unknown: false,
            what,
        }
    }

    /// Whether an arrow on it is drawn as not seen.
    pub(super) fn is_unseen(&self) -> bool {
        matches!(&self.what, Drawn::Rung(_, _, Some(arrow)) if arrow.kind == Kind::Unseen)
    }

    /// Whether its time is between two looks.
    pub(super) fn is_between(&self) -> bool {
        self.since.is_some_and(|since| since.at_most.is_some()) && self.time.contains('\u{2264}')
    }

    /// Whether its arrow may have acknowledged a FIN, or not.
    pub(super) fn is_ack_unknown(&self) -> bool {
        matches!(&self.what, Drawn::Rung(_, _, Some(arrow)) if arrow.label.contains("ACK?"))
    }

    /// Whether an arrow on it comes from an end that nobody sees.
    pub(super) fn is_implied(&self) -> bool {
        matches!(&self.what, Drawn::Rung(_, lives, Some(arrow))
            if lives[arrow.from as usize] == Life::Unseen)
    }

    pub(super) fn line(&self, view: &View<'_>, columns: &Columns) -> Line<'_> {
        let time = format!("{:>1$} ", self.time, columns.time - 1);
        let mut spans = vec![
            Span::raw(time),
            Span::styled(
                format!("{:<1$}", self.steps, columns.step),
                view.theme.strong(),
            ),
        ];
        match &self.what {
            Drawn::Across(text) => spans.push(Span::styled(text.words.as_str(), text.style)),
            Drawn::Rung([a, b], [of_a, of_b], arrow) => {
                let gap = columns.side - columns.text();
                let done = Span::styled(a.words.as_str(), a.style);
                let indent = columns.text().saturating_sub(done.width());
                spans.push(Span::raw(" ".repeat(indent)));
                spans.push(done);
                spans.push(Span::raw(" ".repeat(gap)));
                spans.push(Span::raw(of_a.glyph()));
                spans.push(arrow.as_ref().map_or_else(
                    || Span::raw(" ".repeat(columns.middle)),
                    |arrow| Span::styled(arrow.drawn(columns.middle), arrow.style),
                ));
                spans.push(Span::raw(of_b.glyph()));
                spans.push(Span::raw(" ".repeat(gap)));
                spans.push(Span::styled(b.words.as_str(), b.style));
            }
        }
        Line::from(spans)
    }
}

impl Arrow {
    /// `──────── FIN ──────►`, in exactly so many columns.
    fn drawn(&self, width: usize) -> String {
        let (shaft, head) = match self.kind {
            Kind::Seen | Kind::Again => ('\u{2500}', self.head()),
            Kind::Unseen => ('\u{254c}', self.head()),
            Kind::Reset => ('\u{2500}', '\u{d7}'),
        };
        let room = width.saturating_sub(1);
        let fits = |label: &str, around: usize| label.chars().count() + around <= room;
        let label = match (self.label.as_str(), self.short.as_str()) {
            (long, _) if fits(long, 4) => format!(" {long} "),
            (_, short) if fits(short, 4) => format!(" {short} "),
            (_, short) if fits(short, 1) => short.to_owned(),
            _ => String::new(),
        };
        let rest = room - label.chars().count().min(room);
        let before = rest.div_ceil(2);
        let mut cells: Vec<char> = Vec::with_capacity(width);
        cells.extend(std::iter::repeat_n(shaft, before));
        cells.extend(label.chars());
        cells.extend(std::iter::repeat_n(shaft, rest - before));
        if self.kind == Kind::Again {
            // A head now and then: it went more than once.
            for place in (2..cells.len()).step_by(4) {
                if cells[place] == shaft && cells[place - 1] == shaft {
                    cells[place] = head;
                }
            }
        }
        match self.from {
            Side::A => cells.push(head),
            Side::B => cells.insert(0, head),
        }
        cells.into_iter().collect()
    }

    const fn head(&self) -> char {
        match self.from {
            Side::A => '\u{25ba}',
            Side::B => '\u{25c4}',
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrow(from: Side, label: &str, kind: Kind) -> Arrow {
        Arrow {
            from,
            label: label.to_owned(),
            short: "FIN".to_owned(),
            kind,
            style: Style::new(),
        }
    }

    #[test]
    fn an_arrow_fills_its_columns() {
        for width in 1..60 {
            for kind in [Kind::Seen, Kind::Unseen, Kind::Reset, Kind::Again] {
                for from in Side::BOTH {
                    let drawn = arrow(from, "(FIN)", kind).drawn(width);
                    assert_eq!(drawn.chars().count(), width, "{drawn}");
                }
            }
        }
    }

    #[test]
    fn an_arrow_points_to_whoever_gets_it() {
        let fin = |from, kind, width| arrow(from, "FIN", kind).drawn(width);
        assert_eq!(fin(Side::A, Kind::Seen, 12), "─── FIN ───►");
        assert_eq!(fin(Side::B, Kind::Seen, 12), "◄─── FIN ───");
        assert_eq!(fin(Side::A, Kind::Unseen, 12), "╌╌╌ FIN ╌╌╌►");
        assert_eq!(fin(Side::B, Kind::Reset, 12), "×─── FIN ───");
        assert_eq!(fin(Side::A, Kind::Seen, 6), "─FIN─►");
    }
}
