//! Both ends beside each other, a row for each thing that can be known of a socket.
//!
//! Where it is narrow they are below each other. The trap: a look, an event and an answer for
//! counters each know other things, and none of them says what it does not know; so does a row.

mod resent;

use ratatui::text::{Line, Span};

use crate::model::{Descriptor, Queues, SourceName, SourceState, TcpState};
use crate::timeline::{Certainty, Connection, Owners, Side, Track, When};
use crate::view::cause::{self, Step, certainty};
use crate::view::tui::fit::wrap;
use crate::view::tui::whole::{UNKNOWN, Value, row};
use crate::view::tui::{View, letter, shown_state};
use crate::view::{duration, owners};

/// From here on they are side by side.
const WIDE: u16 = 110;
/// Columns between them.
const GAP: u16 = 2;

/// What can be known of a socket.
#[derive(Clone, Copy)]
enum Row {
    State,
    Since,
    Cause,
    Descriptor,
    Holders,
    Timer,
    Resent,
    Queues,
    AsShown,
    Shutdown,
    Kind,
    Cookie,
    Inode,
    User,
    Place,
    Cgroup,
    Bytes,
    Counted,
    TcpInfo,
}

impl Row {
    const ALL: [Self; 19] = [
        Self::State,
        Self::Since,
        Self::Cause,
        Self::Descriptor,
        Self::Holders,
        Self::Timer,
        Self::Resent,
        Self::Queues,
        Self::AsShown,
        Self::Shutdown,
        Self::Kind,
        Self::Cookie,
        Self::Inode,
        Self::User,
        Self::Place,
        Self::Cgroup,
        Self::Bytes,
        Self::Counted,
        Self::TcpInfo,
    ];

    const fn label(self) -> &'static str {
        match self {
            Self::State => "state",
            Self::Since => "since",
            Self::Cause => "cause",
            Self::Descriptor => "descriptor",
            Self::Holders => "holder",
            Self::Timer => "timer",
            Self::Resent => "resent",
            Self::Queues => "queues",
            Self::AsShown => "as ss shows",
            Self::Shutdown => "shut",
            Self::Kind => "socket",
            Self::Cookie => "cookie",
            Self::Inode => "inode",
            Self::User => "user",
            Self::Place => "netns",
            Self::Cgroup => "cgroup",
            Self::Bytes => "bytes",
            Self::Counted => "counted",
            Self::TcpInfo => "tcp_info",
        }
    }
}

/// Both ends, with a heading each.
pub(super) fn lines(connection: &Connection, view: &View<'_>, width: u16) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    if width < WIDE {
        for side in Side::BOTH {
            lines.extend(heading(connection, side, view, width));
            match End::of(connection, side, view) {
                Some(end) => lines.extend(Row::ALL.iter().flat_map(|&it| end.row(it, width))),
                None => lines.extend(unseen(connection, view, width)),
            }
        }
        return lines;
    }
    let column = (width - GAP) / 2;
    let [a, b] = Side::BOTH.map(|side| heading(connection, side, view, column));
    beside(a, b, column, &mut lines);
    let ends = Side::BOTH.map(|side| End::of(connection, side, view));
    for (index, &it) in Row::ALL.iter().enumerate() {
        let [a, b] = [&ends[0], &ends[1]].map(|end| match end {
            Some(end) => end.row(it, column),
            None if index == 0 => unseen(connection, view, column),
            None => Vec::new(),
        });
        beside(a, b, column, &mut lines);
    }
    lines
}

/// ` A 127.0.0.1:37834`
fn heading(connection: &Connection, side: Side, view: &View<'_>, width: u16) -> Vec<Line<'static>> {
    let text = format!("{} {}", letter(side), connection.endpoint(side));
    let lines = wrap(&text, usize::from(width.saturating_sub(2)).max(1));
    let styled = |line| Line::styled(format!(" {line}"), view.theme.strong());
    lines.into_iter().map(styled).collect()
}

/// Why nothing is known of an end.
fn unseen(connection: &Connection, view: &View<'_>, width: u16) -> Vec<Line<'static>> {
    let text = match connection.is_local() {
        true => "not seen: it was gone when it was looked for",
        false => {
            "not visible here: it is on another host, in another network namespace, or was gone \
             when it was looked for"
        }
    };
    let lines = wrap(text, usize::from(width.saturating_sub(2)).max(1));
    let styled = |line| Line::styled(format!(" {line}"), view.theme.quiet());
    lines.into_iter().map(styled).collect()
}

/// The lines of B behind those of A, as high as the higher one.
fn beside(
    a: Vec<Line<'static>>,
    b: Vec<Line<'static>>,
    column: u16,
    lines: &mut Vec<Line<'static>>,
) {
    let height = a.len().max(b.len());
    let start = usize::from(column + GAP);
    let (mut a, mut b) = (a.into_iter(), b.into_iter());
    for _ in 0..height {
        let mut line = a.next().unwrap_or_default();
        if let Some(right) = b.next() {
            let gap = start.saturating_sub(line.width());
            line.push_span(Span::raw(format!("{:gap$}", "")));
            for span in right.spans {
                let style = right.style.patch(span.style);
                line.push_span(span.style(style));
            }
        }
        lines.push(line);
    }
}

/// One end at the moment that is shown.
struct End<'a> {
    connection: &'a Connection,
    side: Side,
    track: &'a Track,
    /// The span that holds then.
    index: usize,
    state: TcpState,
    view: &'a View<'a>,
}

impl<'a> End<'a> {
    fn of(connection: &'a Connection, side: Side, view: &'a View<'a>) -> Option<Self> {
        let track = connection.end(side)?;
        let index = track.span_at(view.at)?;
        Some(Self {
            connection,
            side,
            track,
            index,
            state: track.spans()[index].state,
            view,
        })
    }

    fn row(&self, row_of: Row, width: u16) -> Vec<Line<'static>> {
        row(row_of.label(), self.value(row_of), width)
    }

    fn value(&self, row: Row) -> Value {
        let last = self.track.last();
        Value::from(match row {
            Row::State => return self.state(),
            Row::Since => self.since(),
            Row::Cause => self.cause(),
            Row::Descriptor => self.descriptor(),
            Row::Holders => self.holders(),
            Row::Timer => self.timer(),
            Row::Resent => self.resent(),
            Row::Queues => self.queues(),
            Row::AsShown => self.as_shown(),
            Row::Shutdown => self.shutdown(),
            Row::Kind => self.kind(),
            Row::Cookie => match last.id.cookie {
                Some(cookie) => format!("{cookie:?}"),
                None => format!("{UNKNOWN} (/proc shows none)"),
            },
            Row::Inode => self.inode(),
            Row::User => last.uid.map_or_else(unknown, |uid| format!("uid {uid}")),
            Row::Place => self.place(),
            Row::Cgroup => last.cgroup.map_or_else(unknown, |id| format!("id {id}")),
            Row::Bytes => self.bytes(),
            Row::Counted => self.counted(),
            Row::TcpInfo => self.tcp_info(),
        })
    }

    /// `FIN_WAIT2 for 12 s`
    fn state(&self) -> Value {
        let age = self.track.age(self.index, self.view.at);
        let age = age.map_or_else(String::new, |age| format!(" for {}", duration::age(age)));
        let inferred = match self.track.spans()[self.index].certainty {
            Certainty::Inferred => ", inferred: no look has shown it",
            Certainty::Exact | Certainty::Sampled => "",
        };
        let style = self.view.theme.state(self.state);
        Value {
            head: Some(Span::styled(shown_state(self.state), style)),
            text: format!("{age}{inferred}"),
            ..Value::default()
        }
    }

    /// `14:02:09.100000, within 100 ms, by sock_diag`
    fn since(&self) -> String {
        let span = &self.track.spans()[self.index];
        let from = self.connection.since(self.side, span);
        let time = self.view.heard.time(from.not_after());
        let before = match from {
            When::Before(_) => "before ",
            When::At(_) | When::Between(..) => "",
        };
        let surely = certainty(span.certainty, from);
        format!("{before}{}, {surely}, by {}", time.trim(), span.source)
    }

    fn cause(&self) -> String {
        let spans = self.track.spans();
        let from = self.index.checked_sub(1).map(|index| spans[index].state);
        let to = self.state;
        cause::words(&spans[self.index].why, Step { from, to }).unwrap_or_else(unknown)
    }

    fn descriptor(&self) -> String {
        let descriptor = self.track.descriptor_in(self.state);
        match (descriptor, self.state) {
            (_, TcpState::Close) => "gone, with the socket".to_owned(),
            (Some(Descriptor::Held), TcpState::FinWait1 | TcpState::FinWait2) => {
                "held: write side shut".to_owned()
            }
            (Some(Descriptor::Held), TcpState::CloseWait) => "held: not closed yet".to_owned(),
            (Some(Descriptor::Held), _) => "held".to_owned(),
            (Some(Descriptor::Gone), _) => "gone: no program holds it".to_owned(),
            (Some(Descriptor::NotAccepted), _) => {
                "not accepted: waits in the accept queue".to_owned()
            }
            (None, TcpState::TimeWait) => format!("{UNKNOWN} (a TIME_WAIT does not show it)"),
            (None, _) => unknown(),
        }
    }

    /// A row without one has no file; an event does not say.
    fn inode(&self) -> String {
        let descriptor = self.track.descriptor_in(self.state);
        match (self.track.last().inode, descriptor) {
            (Some(inode), _) => inode.to_string(),
            (None, Some(Descriptor::Gone | Descriptor::NotAccepted)) => {
                format!("{UNKNOWN} (no file)")
            }
            (None, _) => unknown(),
        }
    }

    /// The first one; all of them are named below.
    fn holders(&self) -> String {
        let owners = self.track.owners();
        let brief = owners::brief(owners).unwrap_or_else(unknown);
        match owners {
            Owners::Now(_) => brief,
            Owners::Before(_) => format!("{brief}, before"),
            Owners::Hidden | Owners::Nobody | Owners::NotLooked => owners::cell(owners),
        }
    }

    fn has_events(&self) -> bool {
        let bpf = self.view.heard.sources().get(&SourceName::Bpf);
        matches!(bpf, Some(SourceState::Running { .. }))
    }

    /// Data alone: what a FIN or SYN counts is taken off.
    fn queues(&self) -> String {
        // What is shown of a socket that is gone was so in its last moment.
        let (beside, last) = match self.state {
            TcpState::Close => (Some(self.track.beside()), "last: "),
            _ => (self.track.beside_now(), ""),
        };
        let Some(beside) = beside.filter(|_| !self.is_mini_socket()) else {
            return match self.is_mini_socket() {
                true => format!("{UNKNOWN} (a mini-socket has none)"),
                false => self.no_look(),
            };
        };
        match (beside.unread, beside.unacked) {
            (Some(unread), Some(unacked)) => {
                format!("{last}{unread} unread, {unacked} not acknowledged")
            }
            _ => format!("{UNKNOWN} (a mini-socket has none)"),
        }
    }

    fn is_mini_socket(&self) -> bool {
        self.state == TcpState::TimeWait || self.track.last().is_mini_socket()
    }

    /// In sequence numbers, a FIN or SYN being one; of what has no queues it shows two zeros.
    fn as_shown(&self) -> String {
        match (self.state, self.look().map(|look| look.queues)) {
            (TcpState::Close, _) => format!("{UNKNOWN} (in no table)"),
            (TcpState::TimeWait, _) | (_, Some(Queues::Absent)) => "Recv-Q 0, Send-Q 0".to_owned(),
            (_, Some(Queues::Stream { receive, send })) => {
                format!("Recv-Q {receive}, Send-Q {send}")
            }
            (_, Some(Queues::Accept { waiting, .. })) => format!("Recv-Q {waiting}"),
            (_, None) => self.no_look(),
        }
    }

    fn shutdown(&self) -> String {
        let Some(mask) = self.track.beside().shutdown else {
            return unknown();
        };
        let sides = match (mask.receive(), mask.send()) {
            (false, false) => "neither side",
            (true, false) => "receiving",
            (false, true) => "sending",
            (true, true) => "both sides",
        };
        format!("{sides} (mask {})", mask.mask())
    }

    fn kind(&self) -> String {
        let last = self.track.last();
        let family = match last.id.tuple.local.addr().is_ipv4() {
            true => "IPv4",
            false => "IPv6",
        };
        let kind = match self.state {
            TcpState::Close => "none any more",
            _ if self.is_mini_socket() => "mini-socket",
            TcpState::SynRecv => "request socket",
            _ => "full socket",
        };
        let subflow = if last.multipath {
            ", MPTCP subflow"
        } else {
            ""
        };
        format!("{family}, {kind}{subflow}")
    }

    /// The namespace, and the host where there are several.
    fn place(&self) -> String {
        let scope = self.track.id().scope;
        let netns = scope.netns.map_or_else(unknown, |netns| netns.to_string());
        match scope.host {
            0 => netns,
            host => format!("{netns}, of recording {}", host + 1),
        }
    }

    fn bytes(&self) -> String {
        let Some(carried) = self.track.carried() else {
            return match self.has_events() {
                true => unknown(),
                false => format!("{UNKNOWN} (events are off)"),
            };
        };
        let count = |count: Option<u64>| count.map_or_else(unknown, |count| count.to_string());
        let (received, acked) = (count(carried.received), count(carried.acked));
        format!("{received} received, {acked} acknowledged")
    }

    /// When the bytes were counted, and how: as the kernel does.
    fn counted(&self) -> String {
        self.track.carried().map_or_else(unknown, |carried| {
            let time = self.view.heard.time(carried.at);
            let (time, source) = (time.trim(), carried.source);
            format!("{time}, by {source} (SYN and FIN: 1 each)")
        })
    }

    fn tcp_info(&self) -> String {
        let Some(told) = self.track.told() else {
            return format!("{UNKNOWN} (asked only of ends found half closed)");
        };
        let counters = &told.counters;
        let [sent, received, acked] = [
            counters.data_sent,
            counters.data_received,
            counters.ack_received,
        ]
        .map(duration::brief);
        let time = self.view.heard.time(told.at);
        format!(
            "at {}: data sent {sent}, received {received}, an ACK {acked} before; backoff {}",
            time.trim(),
            counters.backoff
        )
    }
}

fn unknown() -> String {
    UNKNOWN.to_owned()
}
