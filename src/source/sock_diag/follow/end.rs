//! One followed end: the question that is sent for it again and again, and whether an answer is
//! news.
//!
//! Nearly all answers are the bytes of the answer before: they cost a comparison and are not even
//! decoded. The trap is `quiet`, the lower bound of the next change. It may move up to the begin
//! of a question only when its answer was, by the rule of [`differs`], what was last said, and it
//! is spent with the news that it bounds.

use crate::model::{
    Answer, Body, Cookie, Observation, Sample, Scope, SockId, SourceName, TcpState, TimerKind,
    Timestamp,
};
use crate::source::sock_diag::wire::{lookup_request, row};
use crate::source::table::{Seen, differs};

/// Where `idiag_expires` stands in `struct inet_diag_msg`: it runs down by itself.
const EXPIRES: std::ops::Range<usize> = 52..56;

/// A followed end.
pub(super) struct End {
    /// Who: with its cookie as soon as that is known.
    pub(super) id: SockId,
    /// What it is bound to, as far as it was seen.
    pub(super) device: u32,
    request: Vec<u8>,
    said: Option<(Sample, Seen)>,
    /// The newest answer.
    bytes: Vec<u8>,
    /// The same bytes again are no news, whenever they come.
    settled: bool,
    /// Begin of the newest question whose answer was no news since something was said.
    quiet: Option<Timestamp>,
    /// Caught on its way out: in CLOSE, or not found while it is looked for elsewhere.
    leaving: bool,
}

/// What an answer was.
pub(super) enum Taken {
    /// Nothing worth a word; `moved` is traffic that is not worth one yet.
    Quiet {
        /// Something but a running timer differs from the answer before.
        moved: bool,
    },
    /// News.
    News {
        /// What to say, but for its time.
        told: Box<Observation>,
        /// The state is another.
        stepped: bool,
    },
    /// Somebody else answered, the listener as a rule: it is not there.
    Stranger,
    /// It can't be read: no answer.
    Unreadable,
}

impl End {
    pub(super) fn new(id: SockId) -> Self {
        let device = id.tuple.local.interface().unwrap_or(0);
        Self {
            id,
            device,
            request: lookup_request(&id.tuple, id.cookie, device, 0),
            said: None,
            bytes: Vec::new(),
            settled: false,
            quiet: None,
            leaving: false,
        }
    }

    /// The question, to be numbered.
    pub(super) fn request(&self) -> &[u8] {
        &self.request
    }

    /// As it was last said to be.
    pub(super) fn said(&self) -> Option<&Sample> {
        self.said.as_ref().map(|(sample, _)| sample)
    }

    /// It is going away at this moment.
    pub(super) const fn is_leaving(&self) -> bool {
        self.leaving
    }

    /// Its cookie, or where it is bound, became known.
    pub(super) fn rename(&mut self, cookie: Option<Cookie>, device: u32) {
        if self.id.cookie != cookie || self.device != device {
            self.id.cookie = cookie;
            self.device = device;
            self.request = lookup_request(&self.id.tuple, cookie, device, 0);
        }
    }

    /// Takes in the payload of an answer to a question of `begun`, received at `now`.
    pub(super) fn take(
        &mut self,
        payload: &[u8],
        scope: Scope,
        begun: Timestamp,
        now: impl FnOnce() -> Timestamp,
    ) -> Taken {
        if self.settled && payload == self.bytes {
            self.quiet = Some(begun);
            return Taken::Quiet { moved: false };
        }
        let now = now();
        let Some(row) = row(payload, scope, now) else {
            return Taken::Unreadable;
        };
        if row.sample.id.tuple != self.id.tuple || row.sample.state == TcpState::Listen {
            return Taken::Stranger;
        }
        if row.sample.state == TcpState::Close {
            // Between its last state and nothing, or a mini-socket: the next answer says which.
            self.leaving = true;
            self.settled = false;
            return Taken::Quiet { moved: true };
        }
        let moved = !same_but_for_expiry(&self.bytes, payload);
        self.bytes.clear();
        self.bytes.extend_from_slice(payload);
        self.found(&row.sample, row.device, begun, now, moved)
    }

    /// The socket is there, like this.
    pub(super) fn found(
        &mut self,
        sample: &Sample,
        device: u32,
        begun: Timestamp,
        now: Timestamp,
        moved: bool,
    ) -> Taken {
        let asked = self.id;
        let seen = Seen {
            since: begun,
            at: now,
        };
        self.leaving = false;
        self.rename(sample.id.cookie, device);
        let is_news = self
            .said
            .is_none_or(|(said, before)| differs((&said, before), (sample, seen)));
        if !is_news {
            self.settled = self.said.is_some_and(|(said, _)| {
                sample.timer.is_none() && said.timer.is_none() && said.queues == sample.queues
            });
            self.quiet = Some(begun);
            return Taken::Quiet { moved };
        }
        let stepped = self.said().is_none_or(|said| said.state != sample.state);
        self.said = Some((*sample, seen));
        self.settled = sample.timer.is_none();
        let unchanged = self.quiet.take();
        let told = lookup(asked, begun, unchanged, Answer::Found(*sample), now);
        Taken::News {
            told: Box::new(told),
            stepped,
        }
    }

    /// The socket is not there.
    pub(super) fn gone(&mut self, answer: Answer, begun: Timestamp, at: Timestamp) -> Observation {
        lookup(self.id, begun, self.quiet.take(), answer, at)
    }

    /// When a TIME_WAIT ends.
    pub(super) fn time_wait_deadline(&self) -> Option<Timestamp> {
        let sample = self.said().filter(|_| !self.leaving)?;
        let timer = sample
            .timer
            .filter(|timer| timer.kind == TimerKind::TimeWait)?;
        (sample.state == TcpState::TimeWait).then_some(timer.deadline)
    }
}

/// What is said of an answer.
pub(super) fn lookup(
    asked: SockId,
    begun: Timestamp,
    unchanged: Option<Timestamp>,
    answer: Answer,
    at: Timestamp,
) -> Observation {
    Observation {
        host: 0,
        at,
        source: SourceName::Follow,
        body: Body::Lookup {
            asked,
            begun,
            unchanged,
            answer,
        },
    }
}

fn same_but_for_expiry(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len()
        && one.get(..EXPIRES.start) == other.get(..EXPIRES.start)
        && one.get(EXPIRES.end..) == other.get(EXPIRES.end..)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::model::{Endpoint, FourTuple};

    fn ms(millis: u64) -> Timestamp {
        Timestamp::from_nanos(1_000_000_000_000).plus(Duration::from_millis(millis))
    }

    /// An answer as the kernel writes it: `struct inet_diag_msg`, and a shutdown mask.
    #[derive(Clone, Copy)]
    struct Row {
        state: TcpState,
        timer: (u8, u32),
        receive: u32,
        send: u32,
        inode: u32,
        shutdown: u8,
        port: u16,
    }

    const IDLE: Row = Row {
        state: TcpState::Established,
        timer: (0, 0),
        receive: 0,
        send: 0,
        inode: 7,
        shutdown: 0,
        port: 40000,
    };

    impl Row {
        fn bytes(self) -> Vec<u8> {
            let mut bytes = vec![2, self.state as u8, self.timer.0, 0];
            bytes.extend(self.port.to_be_bytes());
            bytes.extend(80_u16.to_be_bytes());
            for _ in 0..2 {
                bytes.extend([127, 0, 0, 1]);
                bytes.extend([0; 12]);
            }
            bytes.extend(0_u32.to_ne_bytes());
            bytes.extend(9_u64.to_ne_bytes());
            for number in [self.timer.1, self.receive, self.send, 0, self.inode] {
                bytes.extend(number.to_ne_bytes());
            }
            // INET_DIAG_SHUTDOWN
            bytes.extend([5, 0, 8, 0, self.shutdown, 0, 0, 0]);
            bytes
        }
    }

    fn end() -> End {
        let endpoint = |port| Endpoint::new([127, 0, 0, 1].into(), port);
        End::new(SockId {
            scope: Scope::default(),
            cookie: Some(Cookie(9)),
            tuple: FourTuple {
                local: endpoint(40000),
                remote: endpoint(80),
            },
        })
    }

    /// What an end makes of an answer to a question of `at`.
    fn take(end: &mut End, row: Row, at: u64) -> Taken {
        end.take(&row.bytes(), Scope::default(), ms(at), || ms(at))
    }

    /// News: the state, and the lower bound.
    fn news(taken: Taken) -> (TcpState, Option<Timestamp>) {
        let Taken::News { told, .. } = taken else {
            panic!("no news");
        };
        match told.body {
            Body::Lookup {
                unchanged,
                answer: Answer::Found(sample),
                ..
            } => (sample.state, unchanged),
            other => panic!("{other:?}"),
        }
    }

    fn is_quiet(taken: &Taken) -> bool {
        matches!(taken, Taken::Quiet { .. })
    }

    #[test]
    fn the_newest_quiet_look_bounds_the_next_change_and_is_spent_with_it() {
        use TcpState::{Established, FinWait1, FinWait2};
        let mut end = end();
        assert_eq!(news(take(&mut end, IDLE, 0)), (Established, None));
        for at in 1..5 {
            assert!(is_quiet(&take(&mut end, IDLE, at)));
        }
        let fin = Row {
            state: FinWait1,
            send: 1,
            shutdown: 2,
            ..IDLE
        };
        assert_eq!(news(take(&mut end, fin, 5)), (FinWait1, Some(ms(4))));
        // The look that brought the news is itself the bound of what follows at once.
        let acknowledged = Row {
            state: FinWait2,
            send: 0,
            ..fin
        };
        assert_eq!(news(take(&mut end, acknowledged, 6)), (FinWait2, None));
        assert!(is_quiet(&take(&mut end, acknowledged, 7)));
        let gone = end.gone(Answer::Gone, ms(8), ms(9));
        let Body::Lookup { unchanged, .. } = gone.body else {
            panic!("{gone:?}");
        };
        assert_eq!(unchanged, Some(ms(7)));
    }

    #[test]
    fn news_follow_the_rule_of_the_dumps() {
        let mut end = end();
        let queued = |receive, send| Row {
            receive,
            send,
            ..IDLE
        };
        news(take(&mut end, IDLE, 0));
        // Turned from empty: at once. Longer or shorter: once a second, and also when it then stays.
        news(take(&mut end, queued(5, 0), 10));
        assert!(is_quiet(&take(&mut end, queued(9, 0), 20)));
        assert!(is_quiet(&take(&mut end, queued(9, 0), 30)));
        assert!(is_quiet(&take(&mut end, queued(9, 0), 1009)));
        news(take(&mut end, queued(9, 0), 1010));
        for at in 1011..1020 {
            assert!(is_quiet(&take(&mut end, queued(9, 0), at)));
        }
        news(take(&mut end, IDLE, 1020));
        // Who holds it, and which side is shut.
        news(take(&mut end, Row { inode: 0, ..IDLE }, 1030));
        let row = Row {
            inode: 0,
            shutdown: 1,
            ..IDLE
        };
        news(take(&mut end, row, 1040));
        // A keepalive timer that runs down is none, one that was set again is.
        let keepalive = |left| Row {
            timer: (2, left),
            ..row
        };
        news(take(&mut end, keepalive(7000), 2040));
        assert!(is_quiet(&take(&mut end, keepalive(6900), 2140)));
        assert!(matches!(
            take(&mut end, keepalive(6900), 2141),
            Taken::Quiet { moved: false }
        ));
        news(take(&mut end, keepalive(7200), 2142));
    }

    #[test]
    fn who_answers_for_another_and_who_is_on_its_way_out_are_no_news() {
        let mut end = end();
        news(take(&mut end, IDLE, 0));
        assert!(is_quiet(&take(&mut end, IDLE, 1)));
        let closing = Row {
            state: TcpState::Close,
            ..IDLE
        };
        assert!(is_quiet(&take(&mut end, closing, 2)));
        assert!(end.is_leaving());
        // It is not as it was said, so this was no quiet look.
        let time_wait = Row {
            state: TcpState::TimeWait,
            timer: (3, 60_000),
            inode: 0,
            ..IDLE
        };
        let told = news(take(&mut end, time_wait, 3));
        assert_eq!(told, (TcpState::TimeWait, Some(ms(1))));
        assert_eq!(end.time_wait_deadline(), Some(ms(60_003)));
        // Its time is over, and it shows nothing left until the kernel takes it away.
        let overdue = Row {
            timer: (3, 0),
            ..time_wait
        };
        for at in [60_010, 60_110, 61_500] {
            assert!(is_quiet(&take(&mut end, overdue, at)));
        }
        let listener = Row {
            state: TcpState::Listen,
            ..IDLE
        };
        assert!(matches!(take(&mut end, listener, 4), Taken::Stranger));
        let other = Row {
            port: 40001,
            ..IDLE
        };
        assert!(matches!(take(&mut end, other, 5), Taken::Stranger));
        let cut = end.take(&[2, 1], Scope::default(), ms(6), || ms(6));
        assert!(matches!(cut, Taken::Unreadable));
    }
}
