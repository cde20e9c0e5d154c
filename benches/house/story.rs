//! A day of many connections as observations: found open, half closed, closed, gone. Made of the
//! rows that the kernel showed of real sockets, with the states a later look would show.

use tcpwatch::model::{
    Answer, Body, Look, Observation, Poll, Queues, Sample, Shutdown, SockId, SourceName, TcpState,
    Timer, TimerKind, Timestamp,
};
use tcpwatch::timeline::Tracker;

const SECOND: u64 = 1_000_000_000;

/// What happens, one step after the other.
pub struct Story {
    /// Every end is seen for the first time, in ESTABLISHED.
    pub found: Vec<Observation>,
    /// The clients have called `close()`: FIN_WAIT2 here, CLOSE_WAIT there.
    pub half_closed: Vec<Observation>,
    /// The servers have too: TIME_WAIT here, and nothing there.
    pub closed: Vec<Observation>,
    /// What was missing is looked up: gone.
    pub confirmed: Vec<Observation>,
    /// How many ends there are.
    pub ends: usize,
}

impl Story {
    /// The story of these sockets, which belong to one listener on `port`.
    pub fn of(samples: &[Sample], port: u16, begin: Timestamp) -> Self {
        let begin = begin.nanos();
        let (clients, servers): (Vec<Sample>, Vec<Sample>) = samples
            .iter()
            .copied()
            .partition(|sample| sample.id.tuple.remote.port() == port);
        let half_closed = clients
            .iter()
            .map(|client| mini_socket(client, TcpState::FinWait2, begin + SECOND))
            .chain(servers.iter().map(close_wait))
            .collect();
        let waiting = clients
            .iter()
            .map(|client| mini_socket(client, TcpState::TimeWait, begin + 2 * SECOND));
        let mut story = Self {
            found: vec![look(begin, samples.to_vec(), Vec::new(), Vec::new())],
            half_closed: vec![look(begin + SECOND, Vec::new(), half_closed, Vec::new())],
            closed: vec![look(
                begin + 2 * SECOND,
                Vec::new(),
                waiting.collect(),
                servers.iter().map(|server| server.id).collect(),
            )],
            confirmed: Vec::new(),
            ends: samples.len(),
        };
        story.confirmed = story.answers(Timestamp::from_nanos(begin + 2 * SECOND + SECOND / 100));
        story
    }

    /// What a source answers to what the tracker asks at the end of the story.
    fn answers(&self, at: Timestamp) -> Vec<Observation> {
        let mut tracker = Tracker::default();
        for observation in self
            .found
            .iter()
            .chain(&self.half_closed)
            .chain(&self.closed)
        {
            tracker.ingest(observation);
        }
        tracker
            .asks()
            .filter_map(|ask| ask.to_confirm())
            .map(|asked| {
                let body = Body::Lookup {
                    asked,
                    begun: at,
                    unchanged: None,
                    answer: Answer::Gone,
                };
                observation(at, body)
            })
            .collect()
    }
}

fn close_wait(server: &Sample) -> Sample {
    Sample {
        state: TcpState::CloseWait,
        queues: Queues::Stream {
            receive: 1,
            send: 0,
        },
        shutdown: Some(Shutdown::from_kernel(1)),
        ..*server
    }
}

fn mini_socket(client: &Sample, state: TcpState, at: u64) -> Sample {
    Sample {
        state,
        queues: Queues::Absent,
        timer: Some(Timer {
            kind: TimerKind::TimeWait,
            deadline: Timestamp::from_nanos(at + 60 * SECOND),
        }),
        inode: None,
        uid: None,
        shutdown: None,
        cgroup: None,
        multipath: false,
        ..*client
    }
}

fn look(at: u64, appeared: Vec<Sample>, changed: Vec<Sample>, missing: Vec<SockId>) -> Observation {
    let poll = Poll {
        begun: Timestamp::from_nanos(at - SECOND / 1000),
        look: Look::Whole,
        complete: true,
        first: !appeared.is_empty(),
        appeared,
        changed,
        missing,
    };
    observation(Timestamp::from_nanos(at), Body::Poll(poll))
}

fn observation(at: Timestamp, body: Body) -> Observation {
    Observation {
        host: 0,
        at,
        source: SourceName::SockDiag,
        body,
    }
}
