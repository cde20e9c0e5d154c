//! What the kernel reports, at its exact time: steps, births, ends and marks.
//!
//! An event fixes a time; a look can only bound one. So an exact time is never moved by a look,
//! and a look whose window began before an event may show what was true before it. The traps:
//! each event names the state that ended, and when that is not the one we know, events were lost;
//! a mini-socket has no events at all (see [`super::turned`]); and a socket that is connected again
//! keeps its cookie.

use crate::model::event::{File, ResetReason, errno};
use crate::model::tcp::{can_follow, passed_between};
use crate::model::{
    Ask, Descriptor, Event, Moment, Queues, Sample, SockId, SourceName, TcpState, Timestamp, What,
};
use crate::timeline::cause::{aborts, is_acknowledged, of_event};
use crate::timeline::ingest::Sight;
use crate::timeline::turned::{Ended, Turned};
use crate::timeline::{
    Cause, Certainty, Change, EndRef, Listener, Mark, MarkKind, Process, Reason, SeenBeside, Track,
    Tracker, When, Why,
};

impl Tracker {
    pub(super) fn ingest_event(&mut self, event: &Event, at: Timestamp, source: SourceName) {
        match event.what {
            What::State { from, to } => self.ingest_step(event, from, to, at),
            What::ResetSent(reason) => self.reset_sent(event, reason, at),
            What::ResetReceived => self.reset_received(event, at),
            What::Retransmit => self.retransmitted(event, at),
            What::Freed => self.freed(&event.id, at, source),
        }
    }

    fn ingest_step(&mut self, event: &Event, from: TcpState, to: TcpState, at: Timestamp) {
        if from == TcpState::Listen && to == TcpState::Close {
            self.remove_listener(&event.id);
            return;
        }
        if to == TcpState::Listen {
            self.begin_to_listen(event);
            return;
        }
        match self.find_known(event, from) {
            Some(end) if from == to => self.close_called(end, event, at),
            Some(end) => {
                self.step_known(end, event, (from, to), at);
                self.open_unless_new(end, at);
            }
            // A connect() that found no port: nobody was ever asked for.
            None if from == to || event.id.tuple.local.port() == 0 => {}
            None => self.step_unknown(event, (from, to), at),
        }
    }

    fn begin_to_listen(&mut self, event: &Event) {
        let listener = Listener {
            id: event.id,
            waiting: 0,
            backlog: None,
            inode: None,
            full_since: None,
        };
        self.listeners.entry(event.id).or_insert(listener);
    }

    /// The living end that the event is about. One that begins a life is about none.
    fn find_known(&mut self, event: &Event, from: TcpState) -> Option<EndRef> {
        let end = match self.find(&event.id) {
            Some(end) => end,
            None => self.take_on(event, from)?,
        };
        let track = self.track(end)?;
        let is_same = *track.tuple() == event.id.tuple || event.id.tuple.local.port() == 0;
        (is_same && !track.is_gone() && from != TcpState::Close).then_some(end)
    }

    /// An end that a look has shown without a cookie, or a request socket that got another one
    /// than the connection made of it: they take on the event's.
    fn take_on(&mut self, event: &Event, from: TcpState) -> Option<EndRef> {
        let id = &event.id;
        let end = self.by_tuple.get(&(id.scope, id.tuple)).copied()?;
        let track = self.track(end).filter(|track| !track.is_gone())?;
        let is_nameless = track.id().cookie.is_none();
        let is_request = track.state() == TcpState::SynRecv && from == TcpState::Listen;
        if !is_request && (!is_nameless || track.state() != from) {
            return None;
        }
        let old = track.id().cookie;
        if let Some(cookie) = old {
            self.by_cookie.remove(&(id.scope, cookie));
        }
        self.track_mut(end)?.last.id.cookie = id.cookie;
        self.index(end, id);
        Some(end)
    }

    fn step_known(
        &mut self,
        end: EndRef,
        event: &Event,
        (from, to): (TcpState, TcpState),
        at: Timestamp,
    ) {
        let Some(track) = self.track(end) else {
            return;
        };
        let known = track.state();
        if known == from && track.turned.is_none() {
            return self.advance_exactly(end, event, (from, to), at);
        }
        let is_request_done = from == TcpState::Listen && known == to;
        // A look has shown already what it led to.
        let is_overtaken = known != from
            && track.spans.last().is_some_and(|span| {
                span.certainty != Certainty::Exact && at <= span.from.not_after()
            });
        let is_late = known == to || (known != from && track.passed(to)) || is_overtaken;
        if is_request_done || is_late {
            // A look has shown it already: what was told stays told.
            self.totals.late += u64::from(is_late && !is_request_done);
            let why = of_event(from, to, event);
            if let Some(track) = self.track_mut(end).filter(|track| track.state() == to) {
                track.sharpen(at, why);
            }
            return;
        }
        self.step_after_a_gap(end, event, (from, to), at);
    }

    /// Events are missing between what is known and what this one says.
    fn step_after_a_gap(
        &mut self,
        end: EndRef,
        event: &Event,
        (from, to): (TcpState, TcpState),
        at: Timestamp,
    ) {
        self.settle_missing(end);
        self.take_turned(end);
        self.totals.losses += 1;
        let missed = Change::Missed {
            conn: end.conn,
            side: end.side,
            at,
        };
        self.say(end, missed);
        let fast_open = self.fast_open(event.id.scope.host);
        let Some(track) = self.track_mut(end) else {
            return;
        };
        let known = track.state();
        if !can_follow(known, from, fast_open) {
            let since = track.seen;
            self.end_between(end, since, at, SourceName::Bpf);
            return self.step_unknown(event, (from, to), at);
        }
        let before = track.spans.len();
        let passed = passed_between(known, from, fast_open).iter().copied();
        let bounds = (track.seen, at);
        track.advance(passed, from, bounds, SourceName::Bpf, None);
        self.say_steps(end, before, at);
        self.advance_exactly(end, event, (from, to), at);
        self.asks.push(Ask::Confirm(event.id));
    }

    /// The step that was to be expected.
    fn advance_exactly(
        &mut self,
        end: EndRef,
        event: &Event,
        (from, to): (TcpState, TcpState),
        at: Timestamp,
    ) {
        self.settle_missing(end);
        self.note_multipath(end, event);
        self.note_bytes(end, event, (from, to), at);
        self.note_queues(end, event, (from, to), at);
        if to == TcpState::Close {
            return self.close_exactly(end, event, from, at);
        }
        let why = of_event(from, to, event);
        let Some(track) = self.track_mut(end) else {
            return;
        };
        let before = track.spans.len();
        let beside = event.moment.as_ref().map(|moment| beside(to, moment));
        track.enter(to, at, Certainty::Exact, why, beside);
        take_over(&mut track.last, event);
        self.say_steps(end, before, at);
    }

    /// The full socket is closed: that is the end, unless a mini-socket takes its place.
    fn close_exactly(&mut self, end: EndRef, event: &Event, from: TcpState, at: Timestamp) {
        let mut why = of_event(from, TcpState::Close, event);
        if why.reason == Some(Reason::Refused) && !self.has_heard_a_reset(end) {
            // An ICMP error refuses as well.
            why.cause = Cause::Unknown;
        }
        let beside = event.moment.as_ref().map(|moment| beside(from, moment));
        let ended = Ended { why, beside };
        let becomes = event
            .moment
            .map_or(Becomes::Open, |moment| becomes(from, &moment));
        let turned = Turned {
            at,
            from,
            fin_received: event.moment.and_then(|moment| moment.fin_received),
            ended: (becomes == Becomes::Undecided).then_some(ended),
        };
        let can_turn = matches!(from, TcpState::FinWait2 | TcpState::Closing);
        match becomes {
            Becomes::Undecided => self.turn(end, turned, false),
            Becomes::Open if can_turn => {
                let has_let_go = event.moment.is_none_or(|moment| moment.file != File::Held);
                self.turn(end, turned, has_let_go);
            }
            Becomes::Open | Becomes::Gone => self.end_exactly(end, at, why, beside, at),
        }
    }

    fn has_heard_a_reset(&self, end: EndRef) -> bool {
        self.track(end).is_some_and(|track| {
            let is_reset = |mark: &Mark| mark.kind == MarkKind::ResetReceived;
            track.marks().iter().any(is_reset)
        })
    }

    /// A reset came. Or the kernel tells itself so: data for a socket that does not read any more is
    /// answered with a reset, through the same functions (`tcp_rcv_state_process`). Which of them it
    /// was shows in the next events.
    fn reset_received(&mut self, event: &Event, at: Timestamp) {
        let Some(end) = self.find(&event.id) else {
            return;
        };
        let reads_no_more = event.moment.is_some_and(|moment| moment.shutdown.receive());
        let track = self.track_mut(end).filter(|track| {
            reads_no_more && matches!(track.state(), TcpState::FinWait1 | TcpState::FinWait2)
        });
        match track {
            Some(track) => track.reset_heard = Some(at),
            None => self.mark_end(end, MarkKind::ResetReceived, None, at),
        }
    }

    /// Ends a track at the very moment.
    pub(super) fn end_exactly(
        &mut self,
        end: EndRef,
        at: Timestamp,
        why: Why,
        beside: Option<SeenBeside>,
        now: Timestamp,
    ) {
        self.settle_missing(end);
        let Some(connection) = self.connections.get_mut(&end.conn) else {
            return;
        };
        let overflowed = self.hosts.has_overflowed(connection, end.side);
        connection.time_wait_unreliable |= overflowed;
        let Some(track) = connection.ends[end.side as usize].as_mut() else {
            return;
        };
        let before = track.spans.len();
        track.enter(TcpState::Close, at, Certainty::Exact, why, beside);
        self.leave(end);
        self.say_steps(end, before, now);
        self.release(end.conn);
    }

    /// A socket that was not known: born just now, or there before we came.
    fn step_unknown(&mut self, event: &Event, (from, to): (TcpState, TcpState), at: Timestamp) {
        let is_birth = matches!(from, TcpState::Close | TcpState::Listen);
        let sample = sample_of(event, if is_birth { to } else { from });
        let sight = Sight {
            begun: at,
            at,
            source: SourceName::Bpf,
            newborn: is_birth,
            looked: false,
        };
        if !is_birth {
            let end = self.begin_with(
                &sample,
                sight,
                Track::found(sample, When::Before(at), at, SourceName::Bpf),
            );
            self.unopened.retain(|id| *id != end.conn);
            self.open(end.conn, at);
            // Showing it may have changed its side.
            if let Some(end) = self.find(&event.id) {
                self.advance_exactly(end, event, (from, to), at);
            }
            return;
        }
        let mut track = Track::born(sample, (at, at), at, SourceName::Bpf);
        let why = of_event(from, to, event);
        let beside = event.moment.as_ref().map(|moment| beside(to, moment));
        track.enter(to, at, Certainty::Exact, why, beside);
        let end = self.begin_with(&sample, sight, track);
        self.note_multipath(end, event);
        self.open_or_wait(end, at);
    }

    fn note_multipath(&mut self, end: EndRef, event: &Event) {
        if event.moment.is_some_and(|moment| moment.multipath)
            && let Some(connection) = self.connections.get_mut(&end.conn)
        {
            connection.multipath = true;
        }
    }

    /// `close()` of a socket whose FIN is out: nothing moves, but nobody holds it any more.
    fn close_called(&mut self, end: EndRef, event: &Event, at: Timestamp) {
        let by = event.caller.as_ref().map(Process::from);
        self.note_present_queues(end, event, at);
        if let Some(track) = self.track_mut(end) {
            track.let_go();
        }
        self.mark_end(end, MarkKind::CloseCall, by, at);
    }

    fn reset_sent(&mut self, event: &Event, reason: ResetReason, at: Timestamp) {
        let Some(end) = self.find(&event.id) else {
            return;
        };
        let reason = reason_of(reason);
        let given_up = reason.unwrap_or(Reason::Kernel(ResetReason::Unsaid));
        let was_turned = self.settle_by_reset(end, given_up, at);
        let is_mini = event.moment.is_none()
            && self
                .track(end)
                .is_some_and(|track| !track.is_gone() && track.state() == TcpState::FinWait2);
        self.mark_end(end, MarkKind::ResetSent(reason), None, at);
        if !was_turned && is_mini {
            // The mini-socket answers data with a reset and is gone (tcp_timewait_state_process,
            // net/ipv4/tcp_minisocks.c).
            self.take_turned(end);
            let why = Why::from(Cause::ResetSent).because(given_up);
            self.end_exactly(end, at, why, None, at);
        }
    }

    /// The full socket is freed. Told of an end that lives on, it is news of its end, which a
    /// lookup settles; of one that is over, it says that the descriptor was closed only now.
    fn freed(&mut self, id: &SockId, at: Timestamp, source: SourceName) {
        let Some(end) = self.find(id) else {
            self.totals.unseen += u64::from(source == SourceName::Destroy);
            return;
        };
        let Some(track) = self.track_mut(end) else {
            return;
        };
        let was_held = track.is_held;
        let is_done = track.is_over() || track.turned.is_some();
        track.freed.get_or_insert(at);
        if is_done {
            track.let_go();
            if was_held && source == SourceName::Bpf {
                self.mark_end(end, MarkKind::Freed, None, at);
            }
        } else if source == SourceName::Bpf {
            // Its last step was lost.
            let id = *track.id();
            self.asks.push(Ask::Confirm(id));
        }
    }

    pub(super) fn mark_end(
        &mut self,
        end: EndRef,
        kind: MarkKind,
        by: Option<Process>,
        at: Timestamp,
    ) {
        let mark = Mark { at, kind, by };
        if let Some(track) = self.track_mut(end) {
            track.mark(mark);
        }
        let marked = Change::Marked {
            conn: end.conn,
            side: end.side,
            mark,
        };
        self.say(end, marked);
    }

    /// Shows a change of a connection, or keeps it until the connection is shown.
    pub(super) fn say(&mut self, end: EndRef, change: Change) {
        let Some(connection) = self.connections.get_mut(&end.conn) else {
            return;
        };
        if !connection.shown || connection.has_turned() || !connection.held.is_empty() {
            connection.held.push(change);
        } else {
            self.changes.push(change);
        }
    }
}

/// What `-> CLOSE` can mean.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Becomes {
    /// The end.
    Gone,
    /// The end, or a mini-socket takes the full socket's place.
    Open,
    /// The end by a reset, of which the next event shows who sent it.
    Undecided,
}

fn becomes(from: TcpState, moment: &Moment) -> Becomes {
    let gives_up = moment.file == File::Closing && aborts(from, moment).is_some();
    let is_reset = moment.error == Some(errno::ECONNRESET);
    match from {
        TcpState::FinWait1 | TcpState::FinWait2 if is_reset && moment.shutdown.receive() => {
            Becomes::Undecided
        }
        _ if gives_up || moment.has_broken() => Becomes::Gone,
        // Without its ACK it was taken apart.
        TcpState::Closing if !is_acknowledged(from, moment) => Becomes::Gone,
        _ => Becomes::Open,
    }
}

/// What the kernel's word for a reset means to the connection's user.
fn reason_of(reason: ResetReason) -> Option<Reason> {
    match reason {
        ResetReason::AbortOnData | ResetReason::TimeWaitSocket => Some(Reason::DataAfterClose),
        ResetReason::Unsaid => None,
        other => Some(Reason::Kernel(other)),
    }
}

/// What the event shows beside the state that it begins.
fn beside(state: TcpState, moment: &Moment) -> SeenBeside {
    SeenBeside {
        descriptor: descriptor(state, moment.file),
        shutdown: Some(moment.shutdown),
        unread: Some(moment.unread(state)),
        unacked: Some(moment.unacked(state)),
    }
}

fn descriptor(state: TcpState, file: File) -> Option<Descriptor> {
    match (file, state) {
        (File::Held, _) => Some(Descriptor::Held),
        (File::Closing, _) => Some(Descriptor::Gone),
        (File::Unknown, _) => None,
        (File::Absent, TcpState::CloseWait) => Some(Descriptor::NotAccepted),
        // accept() comes a moment later, and no event says so.
        (File::Absent, TcpState::Established | TcpState::SynRecv | TcpState::SynSent) => None,
        (File::Absent, _) => Some(Descriptor::Gone),
    }
}

/// A row as a look would have shown it, as far as the event tells.
fn sample_of(event: &Event, state: TcpState) -> Sample {
    let mut sample = Sample {
        id: event.id,
        state,
        queues: Queues::Absent,
        timer: None,
        retransmits: 0,
        inode: None,
        uid: None,
        shutdown: None,
        cgroup: None,
        multipath: false,
    };
    take_over(&mut sample, event);
    sample
}

/// What the event tells of a row.
fn take_over(sample: &mut Sample, event: &Event) {
    if let Some(moment) = &event.moment {
        sample.queues = Queues::Stream {
            receive: moment.receive,
            send: moment.send,
        };
        sample.shutdown = Some(moment.shutdown);
        sample.cgroup = moment.cgroup.or(sample.cgroup);
        sample.multipath |= moment.multipath;
        if matches!(moment.file, File::Closing | File::Absent)
            && sample.state != TcpState::Established
        {
            sample.inode = None;
        }
    }
}
