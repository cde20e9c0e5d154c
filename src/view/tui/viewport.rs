//! What part of time the lanes show, and where the cursor is.
//!
//! The right edge follows the moment of the picture, until the user looks at something: from then on
//! it stands still, while the list and the details go on. The cursor is a moment, not a column: it
//! stays on what it was set to.

use std::rc::Rc;
use std::time::Duration;

use crate::model::{TcpState, Timestamp};
use crate::timeline::{ConnId, Connection, Track};
use crate::view::tui::axis::{Axis, Zoom, edge_around};

/// What the axis is proportional to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Scale {
    #[default]
    Time,
    /// The order of the steps of the chosen connection.
    Order,
}

/// What the chosen connection was last fitted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fitted {
    Teardown,
    Life,
}

/// Part of time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Viewport {
    zoom: Zoom,
    /// How wide steps are in their order.
    step_zoom: Zoom,
    scale: Scale,
    /// The moment at the right edge; `None` is that of the picture.
    right: Option<Timestamp>,
    cursor: Option<Timestamp>,
    /// With the connection that it was of.
    fitted: Option<(Fitted, ConnId)>,
    /// How much was shown before that.
    unfitted: Option<Zoom>,
    /// Columns of the axis when it was last drawn.
    width: u16,
}

/// The way a step is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Back,
    On,
}

impl Viewport {
    /// The cursor in a picture of `at`: a moment that has not come yet, or not again, has none.
    pub(super) fn cursor(&self, at: Timestamp) -> Option<Timestamp> {
        self.cursor.filter(|&cursor| cursor <= at)
    }

    pub(super) const fn scale(&self) -> Scale {
        self.scale
    }

    /// Whether there is something to go back from: a cursor, or an edge that stands still.
    pub(super) const fn is_looking(&self) -> bool {
        self.right.is_some() || self.cursor.is_some()
    }

    /// Whether the right edge is the moment of the picture.
    pub(super) const fn follows(&self) -> bool {
        self.right.is_none()
    }

    /// The moment at the right edge of a picture of `at`.
    pub(super) fn right(&self, at: Timestamp) -> Timestamp {
        self.right.unwrap_or(at)
    }

    /// The axis of a picture of `at`, in so many columns. In the order of steps it is the chosen
    /// connection whose steps count.
    pub(super) fn axis(&self, at: Timestamp, width: u16, chosen: Option<&Connection>) -> Axis {
        let right = self.right(at);
        let ordered = match (self.scale, chosen) {
            (Scale::Order, Some(chosen)) => {
                let steps: Rc<[Timestamp]> = bounds_of(chosen, at).into();
                Axis::in_order(steps, right.min(at), self.step_zoom, width)
            }
            _ => None,
        };
        ordered.unwrap_or_else(|| Axis::new(right, self.zoom, width))
    }

    /// Remembers how wide the axis is drawn.
    pub(super) const fn drawn(&mut self, width: u16) {
        self.width = width;
    }

    /// Shows so much time.
    pub(super) fn show_span(&mut self, wanted: Duration) {
        self.zoom = Zoom::showing(wanted);
    }

    /// The right edge is the moment of the picture again, and there is no cursor.
    pub(super) fn follow(&mut self) {
        (self.right, self.cursor, self.fitted) = (None, None, None);
        self.zoom = self.unfitted.take().unwrap_or(self.zoom);
    }

    /// The other scale. What is looked at stays in sight.
    pub(super) fn toggle_scale(&mut self, at: Timestamp, chosen: Option<&Connection>) {
        self.scale = match self.scale {
            Scale::Time => Scale::Order,
            Scale::Order => Scale::Time,
        };
        self.fitted = None;
        if let Some(cursor) = self.cursor {
            self.put_cursor(cursor, at, chosen);
        } else if self.scale == Scale::Order {
            // All steps that there is room for.
            self.right = None;
        }
    }

    pub(super) fn zoom_in(&mut self, at: Timestamp) {
        match self.scale {
            Scale::Time => self.zoom_to(self.zoom.closer(), at),
            Scale::Order => self.step_zoom = self.step_zoom.closer(),
        }
    }

    pub(super) fn zoom_out(&mut self, at: Timestamp) {
        match self.scale {
            Scale::Time => self.zoom_to(self.zoom.farther(), at),
            Scale::Order => self.step_zoom = self.step_zoom.farther(),
        }
    }

    /// The cursor keeps its column; without one what is at the right edge does, or what is in the
    /// middle once the edge stands still.
    fn zoom_to(&mut self, zoom: Zoom, at: Timestamp) {
        if self.cursor.is_some() || !self.follows() {
            let axis = Axis::new(self.right(at), self.zoom, self.width);
            let middle = i64::from(self.width / 2);
            let in_sight = |moment: &Timestamp| {
                u16::try_from(axis.column(*moment)).is_ok_and(|column| column < self.width)
            };
            let fixed = self.cursor.filter(in_sight);
            let fixed = fixed.unwrap_or_else(|| axis.moment(middle));
            let column = u16::try_from(axis.column(fixed)).unwrap_or(0);
            self.right = Some(edge_around(fixed, column, zoom, self.width));
        }
        self.zoom = zoom;
        self.fitted = None;
    }

    /// Moves what is in sight by half of it.
    pub(super) fn pan(&mut self, way: Way, at: Timestamp, chosen: Option<&Connection>) {
        let axis = self.axis(at, self.width, chosen);
        let half = i64::from(self.width / 2);
        let right = match (self.scale, way) {
            (Scale::Time, Way::Back) => self.right(at).minus(self.zoom.span() / 2),
            (Scale::Time, Way::On) => self.right(at).plus(self.zoom.span() / 2),
            // Nothing is left of the first step.
            (Scale::Order, Way::Back) => axis.moment(half),
            (Scale::Order, Way::On) => {
                let steps = chosen.map_or_else(Vec::new, |chosen| bounds_of(chosen, at));
                let in_sight = steps.partition_point(|&step| step <= axis.moment(half));
                let shown = steps.partition_point(|&step| step <= self.right(at));
                let on = (shown + shown - in_sight).min(steps.len());
                let to = on.checked_sub(1).and_then(|last| steps.get(last));
                to.copied().filter(|_| on < steps.len()).unwrap_or(at)
            }
        };
        self.fitted = None;
        // Nothing is to be seen behind the present: there it follows again, unless the cursor would
        // slide away.
        self.right = (right < at || self.cursor.is_some()).then_some(right.min(at));
    }

    /// Moves the cursor by a column; at first it is set in the middle of what is in sight.
    pub(super) fn move_cursor(&mut self, way: Way, at: Timestamp, chosen: Option<&Connection>) {
        let axis = self.axis(at, self.width, chosen);
        let last = i64::from(self.width) - 1;
        let to = match (self.cursor, way) {
            (None, _) => axis.moment(last / 2),
            (Some(cursor), Way::Back) => {
                let column = axis.column(cursor);
                // A step within the column comes before its begin.
                let begin = axis.moment(column);
                if begin < cursor && (0..=last).contains(&column) {
                    begin
                } else {
                    axis.moment(column - 1)
                }
            }
            (Some(cursor), Way::On) => axis.moment(axis.column(cursor) + 1),
        };
        self.put_cursor(to.min(at), at, chosen);
    }

    /// Sets the cursor to a moment, and brings it in sight.
    pub(super) fn put_cursor(&mut self, to: Timestamp, at: Timestamp, chosen: Option<&Connection>) {
        let axis = self.axis(at, self.width, chosen);
        // What the cursor is on must not slide away.
        let right = *self.right.get_or_insert(at);
        self.cursor = Some(to);
        let column = axis.column(to);
        if (0..i64::from(self.width)).contains(&column) {
            return;
        }
        self.right = Some(match self.scale {
            Scale::Time => edge_around(to, self.width / 2, self.zoom, self.width),
            // Steps are in sight up to the right edge.
            Scale::Order if to > right => to,
            Scale::Order => to.max(first_of(chosen).unwrap_or(to)),
        });
    }

    /// Sets the cursor to what stands in a column.
    pub(super) fn point(&mut self, column: u16, at: Timestamp, chosen: Option<&Connection>) {
        let axis = self.axis(at, self.width, chosen);
        let moment = axis.moment(i64::from(column));
        self.put_cursor(moment.min(at), at, chosen);
    }

    /// Shows the teardown of a connection; all its life when that is shown already, or there is no
    /// teardown yet; and then what was shown by following.
    pub(super) fn fit(&mut self, connection: &Connection, at: Timestamp) {
        let teardown = teardown_of(connection, at);
        let before = self.fitted.filter(|(_, of)| *of == connection.id());
        let (fitted, extent) = match (before.map(|(fitted, _)| fitted), teardown) {
            (None, Some(teardown)) => (Fitted::Teardown, teardown),
            (Some(Fitted::Life), _) => return self.follow(),
            (None, None) | (Some(Fitted::Teardown), _) => {
                let Some(first) = first_of(Some(connection)) else {
                    return;
                };
                (Fitted::Life, (first, last_of(connection, at)))
            }
        };
        let (begin, end) = extent;
        let length = end.since(begin);
        self.unfitted.get_or_insert(self.zoom);
        self.zoom = Zoom::showing(length + length / 4);
        let margin = self.zoom.span().saturating_sub(length) / 2;
        self.right = Some(end.plus(margin));
        self.cursor = None;
        self.scale = Scale::Time;
        self.fitted = Some((fitted, connection.id()));
    }

    /// To the next of these moments, seen from the cursor. Without one, on is the first in sight and
    /// back the last.
    pub(super) fn jump(
        &mut self,
        way: Way,
        moments: &[Timestamp],
        at: Timestamp,
        chosen: Option<&Connection>,
    ) -> bool {
        let cursor = self.cursor(at);
        let edge = self.right(at).min(at);
        let axis = self.axis(at, self.width, chosen);
        let to = match (way, cursor) {
            (Way::Back, Some(from)) => moments.iter().rev().find(|&&moment| moment < from),
            (Way::Back, None) => moments.iter().rev().find(|&&moment| moment <= edge),
            (Way::On, Some(from)) => moments.iter().find(|&&moment| moment > from),
            (Way::On, None) => moments.iter().find(|&&moment| axis.column(moment) >= 0),
        };
        let Some(&to) = to else {
            return false;
        };
        self.put_cursor(to, at, chosen);
        true
    }
}

/// When the steps of both ends were made, by the latest that is possible, and all that was marked, in
/// order; none later than `at`.
pub(super) fn steps_of(connection: &Connection, at: Timestamp) -> Vec<Timestamp> {
    let mut all: Vec<Timestamp> = Vec::new();
    for (_, track) in connection.visible() {
        all.extend(track.spans().iter().map(|span| span.from.not_after()));
        all.extend(track.marks().iter().map(|mark| mark.at));
    }
    in_order(all, at)
}

/// The same, and the earliest that is possible, so that what is between has room on an axis.
fn bounds_of(connection: &Connection, at: Timestamp) -> Vec<Timestamp> {
    let mut all = steps_of(connection, at);
    for (_, track) in connection.visible() {
        let since = |track: &Track| -> Vec<Timestamp> {
            let spans = track.spans().iter();
            spans.filter_map(|span| span.from.not_before()).collect()
        };
        all.extend(since(track));
    }
    in_order(all, at)
}

fn in_order(mut all: Vec<Timestamp>, at: Timestamp) -> Vec<Timestamp> {
    all.retain(|&moment| moment <= at);
    all.sort_unstable();
    all.dedup();
    all
}

fn first_of(connection: Option<&Connection>) -> Option<Timestamp> {
    let tracks = connection?.visible();
    tracks
        .filter_map(|(_, track)| Some(track.spans().first()?.from.not_after()))
        .min()
}

/// The last step of a connection that is closed; of one that is not, the moment of the picture.
fn last_of(connection: &Connection, at: Timestamp) -> Timestamp {
    let last = steps_of(connection, at).last().copied();
    match connection.closed() {
        Some(_) => last.unwrap_or(at),
        None => at,
    }
}

/// From the earliest that the first end can have left ESTABLISHED to the last step.
fn teardown_of(connection: &Connection, at: Timestamp) -> Option<(Timestamp, Timestamp)> {
    let begins = connection.visible().filter_map(|(_, track)| {
        let mut spans = track.spans().iter().skip(1);
        let from = spans.find(|span| is_of_teardown(span.state))?.from;
        Some(from.not_before().unwrap_or(from.not_after()))
    });
    let begin = begins.min().filter(|&begin| begin <= at)?;
    let ends = connection
        .visible()
        .flat_map(|(_, track)| steps_before_the_wait_is_over(track))
        .filter(|&end| end <= at);
    Some((begin, ends.max().unwrap_or(begin).max(begin)))
}

/// A minute of TIME_WAIT is no part of a teardown that took 100 µs.
fn steps_before_the_wait_is_over(track: &Track) -> impl Iterator<Item = Timestamp> {
    let spans = track.spans();
    let is_waited_out = |index: &usize| {
        let before = index.checked_sub(1).map(|before| spans[before].state);
        before == Some(TcpState::TimeWait)
    };
    (0..spans.len())
        .filter(move |index| !is_waited_out(index))
        .map(|index| spans[index].from.not_after())
}

const fn is_of_teardown(state: TcpState) -> bool {
    !matches!(
        state,
        TcpState::SynSent | TcpState::SynRecv | TcpState::Established | TcpState::Listen
    )
}
