//! One connection of a scenario, and the truth about it: every state that each end enters, when,
//! and why; every mark; how it ends.
//!
//! Whoever makes a call here writes down what it does. The trap: a call's own step lies between its
//! stamps, but what it does to the other end, or what the other end's answer does to this one, can
//! come later: there the kernel's table gives the upper bound.

use std::net::{TcpListener, TcpStream};

use crate::sockets::{Between, Pair, stamped};

/// One of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The one that connected.
    A,
    /// The one that was connected to.
    B,
}

pub use End::{A, B};

impl End {
    /// As in the program's lines.
    pub const fn token(self) -> &'static str {
        match self {
            A => "a",
            B => "b",
        }
    }

    /// The peer.
    pub const fn other(self) -> Self {
        match self {
            A => B,
            B => A,
        }
    }
}

/// Who makes a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Who {
    /// The process.
    pub pid: u64,
    /// The name of the thread.
    pub comm: String,
}

/// This very thread.
pub fn me() -> Who {
    let comm = std::fs::read_to_string("/proc/thread-self/comm").unwrap();
    Who {
        pid: std::process::id().into(),
        comm: comm.trim_end().to_owned(),
    }
}

/// A state that was truly entered.
#[derive(Clone, Debug)]
pub struct Fact {
    pub state: &'static str,
    pub when: Between,
    pub cause: &'static str,
    pub call: Option<&'static str>,
    pub reason: Option<&'static str>,
    pub signal: Option<u64>,
    /// Compared where it is given.
    pub unread: Option<u64>,
    pub by: Option<Who>,
    /// Mini-sockets have no events: only looks tell what becomes of them.
    pub is_of_a_mini_socket: bool,
}

/// A state that was entered, and what moved it.
pub fn fact(state: &'static str, when: Between, cause: &'static str) -> Fact {
    Fact {
        state,
        when,
        cause,
        call: None,
        reason: None,
        signal: None,
        unread: None,
        by: None,
        is_of_a_mini_socket: false,
    }
}

impl Fact {
    /// The local program did it.
    pub fn by(self, call: &'static str, who: &Who) -> Self {
        Self {
            call: Some(call),
            by: Some(who.clone()),
            ..self
        }
    }

    pub fn because(self, reason: &'static str) -> Self {
        Self {
            reason: Some(reason),
            ..self
        }
    }

    pub fn signal(self, signal: u64) -> Self {
        Self {
            signal: Some(signal),
            ..self
        }
    }

    pub fn unread(self, bytes: u64) -> Self {
        Self {
            unread: Some(bytes),
            ..self
        }
    }

    pub fn of_a_mini_socket(self) -> Self {
        Self {
            is_of_a_mini_socket: true,
            ..self
        }
    }
}

/// Something that moved nothing.
#[derive(Clone, Debug)]
pub struct MarkFact {
    pub end: End,
    pub what: &'static str,
    pub when: Between,
    /// Compared where it is given.
    pub reason: Option<&'static str>,
    pub by: Option<Who>,
}

/// How it ended, where it did.
#[derive(Clone, Debug)]
pub struct Ending {
    pub code: &'static str,
    pub first_closer: Option<End>,
    pub how: Option<&'static str>,
    pub signal: Option<u64>,
    pub lost_bytes: Option<u64>,
}

/// The kernel reports a step just before it makes it, and can be interrupted in between: the table
/// may show the old state for a while after.
fn as_told(entered: Between) -> Between {
    const INTERRUPTED: u64 = 10_000_000;
    Between {
        earliest: entered.earliest.saturating_sub(INTERRUPTED),
        ..entered
    }
}

/// A connection and the truth about it.
pub struct Life {
    pub pair: Pair,
    /// Which of the lives of this 4-tuple.
    pub nth: usize,
    /// Of A, of B.
    pub steps: [Vec<Fact>; 2],
    pub marks: Vec<MarkFact>,
    pub ending: Option<Ending>,
}

impl Life {
    pub fn of(pair: Pair) -> Self {
        Self {
            pair,
            nth: 0,
            steps: [Vec::new(), Vec::new()],
            marks: Vec::new(),
            ending: None,
        }
    }

    /// Connects over loopback, and accepts.
    pub fn begins(server: &TcpListener) -> Self {
        let addr = server.local_addr().unwrap();
        Self::accepted(server, || TcpStream::connect(addr).unwrap())
    }

    /// Connects in the caller's own way, and accepts.
    pub fn accepted(server: &TcpListener, connect: impl FnOnce() -> TcpStream) -> Self {
        let (connecting, client) = stamped(connect);
        let mut pair = Pair::of(client);
        let (accepting, ()) = stamped(|| pair.accept(server));
        let mut life = Self::of(pair);
        life.connected(connecting, accepting);
        life
    }

    /// Both ends are there by the end of the second call.
    pub fn connected(&mut self, connecting: Between, accepting: Between) {
        let until_accepted = accepting.since(connecting);
        let syn_sent = fact("SYN_SENT", connecting, "connect").by("connect", &me());
        self.enters(A, syn_sent);
        self.enters(A, fact("ESTABLISHED", connecting, "ack_received"));
        self.enters(B, fact("SYN_RECV", until_accepted, "syn_received"));
        self.enters(B, fact("ESTABLISHED", until_accepted, "ack_received"));
    }

    pub fn enters(&mut self, end: End, fact: Fact) {
        self.steps[end as usize].push(fact);
    }

    pub fn is_marked(&mut self, end: End, what: &'static str, when: Between) -> &mut MarkFact {
        self.marks.push(MarkFact {
            end,
            what,
            when,
            reason: None,
            by: None,
        });
        self.marks.last_mut().unwrap()
    }

    pub fn ends(&mut self, code: &'static str, first_closer: End, how: &'static str) {
        self.ends_somehow(code);
        let ending = self.ending.as_mut().unwrap();
        ending.first_closer = Some(first_closer);
        ending.how = Some(how);
    }

    pub fn ends_somehow(&mut self, code: &'static str) {
        self.ending = Some(Ending {
            code,
            first_closer: None,
            how: None,
            signal: None,
            lost_bytes: None,
        });
    }

    pub fn socket(&self, end: End) -> &TcpStream {
        let socket = match end {
            A => &self.pair.client,
            B => &self.pair.server,
        };
        socket.as_ref().unwrap()
    }

    /// close(), whatever it does.
    pub fn drops(&mut self, end: End) -> Between {
        match end {
            A => self.pair.close_client(),
            B => self.pair.close_server(),
        }
    }

    /// Waits until the kernel shows the end in a state; when it entered it, after that call.
    pub fn reaches(&self, end: End, state: &'static str, call: Between) -> Between {
        let entered = match end {
            A => self.pair.client_enters(state),
            B => self.pair.server_enters(state),
        };
        as_told(entered).not_before(call)
    }

    /// Waits until the kernel has no row of the end; when it went, after that call.
    pub fn vanishes(&self, end: End, call: Between) -> Between {
        let gone = match end {
            A => self.pair.client_vanishes(),
            B => self.pair.server_vanishes(),
        };
        as_told(gone).not_before(call)
    }

    /// close(), which sends the first FIN.
    pub fn closes_first(&mut self, end: End) -> Between {
        let call = self.drops(end);
        self.enters(end, fact("FIN_WAIT1", call, "close").by("close", &me()));
        self.fin_goes_through(end, call, 0);
        call
    }

    /// The FIN of a call reaches the peer, which has so many bytes unread, and is acknowledged.
    pub fn fin_goes_through(&mut self, end: End, call: Between, unread: u64) {
        let close_wait = self.reaches(end.other(), "CLOSE_WAIT", call);
        let fin_wait2 = self.reaches(end, "FIN_WAIT2", call);
        let close_wait = fact("CLOSE_WAIT", close_wait, "fin_received").unread(unread);
        self.enters(end.other(), close_wait);
        self.enters(end, fact("FIN_WAIT2", fin_wait2, "ack_received"));
    }

    /// close(), which sends the second FIN; the peer is held in FIN_WAIT2.
    pub fn closes_last(&mut self, end: End) -> Between {
        let call = self.drops(end);
        self.enters(end, fact("LAST_ACK", call, "close").by("close", &me()));
        self.last_fin_goes_through(end, call);
        call
    }

    /// The FIN of a call ends it all. What was a mini-socket before stays one.
    pub fn last_fin_goes_through(&mut self, end: End, call: Between) {
        let first = end.other();
        let time_wait = self.reaches(first, "TIME_WAIT", call);
        let gone = self.vanishes(end, call);
        let mut time_wait = fact("TIME_WAIT", time_wait, "fin_received");
        time_wait.is_of_a_mini_socket = match first {
            A => self.pair.client.is_none(),
            B => self.pair.server.is_none(),
        };
        self.enters(first, time_wait);
        self.enters(end, fact("CLOSE", gone, "ack_received"));
    }
}
