//! Pens: rectangles, edges, signs and text, as lines of SVG.
//!
//! Every text that is drawn is escaped here, and nowhere else.

use crate::timeline::MarkKind;
use crate::view::export::svg::style::escaped;

/// The picture's width, pixels.
pub(super) const WIDTH: f64 = 1180.0;

/// Lines of SVG.
#[derive(Debug, Default)]
pub(super) struct Draw {
    pub(super) out: String,
}

impl Draw {
    fn put(&mut self, element: &str, title: &str) {
        let name = element
            .trim_start_matches('<')
            .split(' ')
            .next()
            .unwrap_or("g");
        if title.is_empty() {
            self.out.push_str(&format!("{element}/>\n"));
        } else {
            let title = escaped_lines(title);
            self.out
                .push_str(&format!("{element}><title>{title}</title></{name}>\n"));
        }
    }

    pub(super) fn rect(
        &mut self,
        class: &str,
        x: f64,
        y: f64,
        width: f64,
        height: f64,
        title: &str,
    ) {
        let element = format!(
            "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"2\""
        );
        self.put(&element, title);
    }

    pub(super) fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        let ((x1, y1), (x2, y2)) = (from, to);
        let element = format!(
            "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\""
        );
        self.put(&element, "");
    }

    fn path(&mut self, class: &str, way: &str, title: &str) {
        self.put(&format!("<path class=\"{class}\" d=\"{way}\""), title);
    }

    pub(super) fn text(&mut self, x: f64, y: f64, class: &str, text: &str) {
        self.anchored(x, y, class, "start", text);
    }

    /// `anchor` as SVG has it: start, middle, end.
    pub(super) fn anchored(&mut self, x: f64, y: f64, class: &str, anchor: &str, text: &str) {
        let class = if class.is_empty() {
            String::new()
        } else {
            format!(" class=\"{class}\"")
        };
        let anchor = if anchor == "start" {
            String::new()
        } else {
            format!(" text-anchor=\"{anchor}\"")
        };
        let text = escaped(text);
        self.out.push_str(&format!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\"{class}{anchor} pointer-events=\"none\">{text}</text>\n"
        ));
    }

    /// The edge between two states that lies somewhere between two moments.
    pub(super) fn fuzzy(
        &mut self,
        old: &str,
        new: &str,
        (x1, x2): (f64, f64),
        (y, height): (f64, f64),
        title: &str,
    ) {
        let bottom = y + height;
        self.path(
            &format!("fz {old}"),
            &format!("M{x1:.1} {y:.1}L{x1:.1} {bottom:.1}L{x2:.1} {bottom:.1}Z"),
            "",
        );
        self.path(
            &format!("fz {new}"),
            &format!("M{x1:.1} {y:.1}L{x2:.1} {y:.1}L{x2:.1} {bottom:.1}Z"),
            "",
        );
        let width = x2 - x1;
        let element = format!(
            "<rect fill=\"url(#tcpwatch-hatch)\" x=\"{x1:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\""
        );
        self.put(&element, title);
    }

    /// Time left out.
    pub(super) fn zigzag(&mut self, x: f64, y: f64, height: f64) {
        let mut left = String::new();
        let mut right = String::new();
        let steps = (height / 5.0).ceil();
        let mut step = 0.0;
        while step <= steps {
            let by = if step % 2.0 == 0.0 { -2.5 } else { 2.5 };
            let down = y + height * step / steps;
            let sign = if step == 0.0 { "M" } else { "L" };
            left.push_str(&format!("{sign}{:.1} {down:.1}", x - 3.0 + by));
            right.insert_str(0, &format!("L{:.1} {down:.1}", x + 3.0 + by));
            step += 1.0;
        }
        // The paper shows through, and the edges are drawn.
        self.path("cut", &format!("{left}{right}Z"), "");
    }

    /// A state that began before it was seen: the edge is open to the left.
    pub(super) fn earlier(&mut self, class: &str, x: f64, y: f64, height: f64) {
        let mut at = 4.0;
        for width in [3.0, 2.0, 1.2] {
            self.rect(class, x - at - 1.0, y, width, height, "");
            at += 4.0;
        }
    }

    /// A state that is still so: an arrow to the right.
    pub(super) fn goes_on(&mut self, class: &str, x: f64, y: f64, height: f64) {
        let (middle, bottom) = (y + height / 2.0, y + height);
        let tip = x + 9.0;
        self.path(
            &format!("bar {class}"),
            &format!("M{x:.1} {y:.1}L{tip:.1} {middle:.1}L{x:.1} {bottom:.1}Z"),
            "",
        );
    }

    /// The socket is gone.
    pub(super) fn end_cap(&mut self, x: f64, y: f64, height: f64, title: &str) {
        let bottom = y + height;
        let element = format!(
            "<path class=\"end\" d=\"M{x:.1} {y:.1}L{x:.1} {bottom:.1}M{:.1} {y:.1}L{:.1} {y:.1}M{:.1} {bottom:.1}L{:.1} {bottom:.1}\"",
            x - 3.0,
            x + 3.0,
            x - 3.0,
            x + 3.0
        );
        self.put(&element, title);
    }

    /// The sign of a mark, around a point.
    /// A sign for what was found.
    pub(super) fn found(&mut self, x: f64, y: f64, title: &str) {
        let way = format!("M{x:.1} {:.1}l6 6l-6 6l-6 -6Z", y - 6.0);
        self.path("al", &way, title);
    }

    pub(super) fn mark(&mut self, kind: MarkKind, x: f64, y: f64, title: &str) {
        let (class, way) = match kind {
            MarkKind::ResetSent(_) => (
                "al",
                format!(
                    "M{:.1} {:.1}L{:.1} {:.1}L{:.1} {:.1}Z",
                    x - 6.0,
                    y + 5.0,
                    x,
                    y - 6.0,
                    x + 6.0,
                    y + 5.0
                ),
            ),
            MarkKind::ResetReceived => (
                "al",
                format!(
                    "M{:.1} {:.1}L{:.1} {:.1}L{:.1} {:.1}Z",
                    x - 6.0,
                    y - 5.0,
                    x,
                    y + 6.0,
                    x + 6.0,
                    y - 5.0
                ),
            ),
            MarkKind::Retransmit => ("no", round(x, y, 4.5)),
            MarkKind::NoAnswer => ("al", round(x, y, 4.5)),
            MarkKind::CloseCall => (
                "end",
                format!("M{:.1} {:.1}l8 8m0 -8l-8 8", x - 4.0, y - 4.0),
            ),
            MarkKind::Freed => ("no", format!("M{:.1} {:.1}h8v8h-8Z", x - 4.0, y - 4.0)),
        };
        self.path(class, &way, title);
    }
}

fn round(x: f64, y: f64, r: f64) -> String {
    let d = 2.0 * r;
    format!(
        "M{:.1} {y:.1}a{r} {r} 0 1 0 {d} 0a{r} {r} 0 1 0 -{d} 0Z",
        x - r
    )
}

/// A text whose own line breaks stay.
fn escaped_lines(text: &str) -> String {
    let lines: Vec<String> = text.split('\n').map(escaped).collect();
    lines.join("\n")
}
