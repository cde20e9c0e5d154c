//! The experiments as data: who does what, in which order, and what is to be learnt from it.
//!
//! Knows no process and no socket. The trap: the steps are given one after the other, each only
//! when the one before was answered, so no step may wait for one that comes later.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Who acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Listens and accepts.
    Server,
    /// Connects.
    Client,
}

impl Role {
    /// The word on the screen, and the actor's argument.
    pub const fn token(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Client => "client",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.token())
    }
}

/// What the two ends call each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoopbackFamily {
    /// 127.0.0.1 on both ends.
    V4,
    /// ::1 on both ends.
    V6,
    /// The server listens on `[::]` for both versions, the client comes over IPv4: the kernel
    /// shows the two ends of one connection as different families.
    DualStack,
}

impl LoopbackFamily {
    /// Where the server listens.
    pub const fn listens_on(self) -> IpAddr {
        match self {
            Self::V4 => IpAddr::V4(Ipv4Addr::LOCALHOST),
            Self::V6 => IpAddr::V6(Ipv6Addr::LOCALHOST),
            Self::DualStack => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        }
    }

    /// Where the client connects to.
    pub const fn is_reached_at(self) -> IpAddr {
        match self {
            Self::V4 | Self::DualStack => IpAddr::V4(Ipv4Addr::LOCALHOST),
            Self::V6 => IpAddr::V6(Ipv6Addr::LOCALHOST),
        }
    }
}

/// Where an experiment takes place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The addresses.
    pub family: LoopbackFamily,
    /// The server's port; 0 lets the kernel choose.
    pub port: u16,
}

/// One call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// socket, bind and listen.
    Listen,
    /// Takes the connection from the accept queue.
    Accept,
    /// Connects to the server.
    Connect,
    /// Sends this text in one call. No line break: it travels to the actor as part of a line.
    Send(&'static str),
    /// Receives once.
    Recv,
    /// Closes the connection's descriptor.
    Close,
    /// shutdown(SHUT_WR): no more will be sent, receiving goes on.
    ShutdownWrite,
    /// Closes the listening descriptor.
    CloseListener,
}

impl Act {
    /// The line that makes an actor do it.
    pub fn command(self, place: Place) -> String {
        let Place { family, port } = place;
        match self {
            Self::Listen => {
                let dual = match family {
                    LoopbackFamily::V4 | LoopbackFamily::V6 => "",
                    LoopbackFamily::DualStack => " dual",
                };
                format!("listen {} {port}{dual}", family.listens_on())
            }
            Self::Accept => "accept".to_owned(),
            Self::Connect => format!("connect {} {port}", family.is_reached_at()),
            Self::Send(text) => format!("send {text}"),
            Self::Recv => "recv".to_owned(),
            Self::Close => "close".to_owned(),
            Self::ShutdownWrite => "shutdown wr".to_owned(),
            Self::CloseListener => "close-listener".to_owned(),
        }
    }
}

/// How a call is to end. Anything else ends the experiment as failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It succeeds.
    Works,
    /// It fails with the errno of this name, and that is the point of the experiment.
    Fails(&'static str),
}

/// One step of an experiment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// Who makes the call.
    pub who: Role,
    /// The call.
    pub act: Act,
    /// How it is to end.
    pub outcome: Outcome,
    /// What it means, in words.
    pub say: &'static str,
}

/// One experiment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Experiment {
    /// What the user types.
    pub name: &'static str,
    /// Its line in the list.
    pub line: &'static str,
    /// What it answers.
    pub question: &'static str,
    /// What the watched connection has to show.
    pub expectation: &'static str,
    /// What is done after [`OPENING`].
    pub steps: &'static [Step],
}

/// Every experiment begins so: the port must be known, and watched, before the client comes.
pub const OPENING: Step = server(Act::Listen, "the server waits for connections");

/// All experiments, in the order of the list.
pub const fn all() -> &'static [Experiment] {
    &[CLOSE, SHUTDOWN]
}

/// The experiment of this name.
pub fn find(name: &str) -> Option<&'static Experiment> {
    all().iter().find(|experiment| experiment.name == name)
}

const fn server(act: Act, say: &'static str) -> Step {
    Step {
        who: Role::Server,
        act,
        outcome: Outcome::Works,
        say,
    }
}

const fn client(act: Act, say: &'static str) -> Step {
    Step {
        who: Role::Client,
        act,
        outcome: Outcome::Works,
        say,
    }
}

impl Step {
    const fn fails(self, errno: &'static str) -> Self {
        Self {
            outcome: Outcome::Fails(errno),
            ..self
        }
    }
}

const CLOSE: Experiment = Experiment {
    name: "close",
    line: "the client closes at once; the server's answer meets a closed socket: reset",
    question: "What becomes of an answer to a client that has closed?",
    expectation: "The client goes to FIN_WAIT2 with no descriptor left, the server to CLOSE_WAIT. \
        Nobody is left to read the answer, so a reset meets it and both ends vanish at once: no \
        LAST_ACK, no TIME_WAIT. Closed by close(), ended by a reset.",
    steps: &[
        client(
            Act::Connect,
            "the handshake; the server has not accepted yet",
        ),
        server(Act::Accept, "the server takes the connection"),
        client(Act::Send("request"), "the client asks"),
        client(
            Act::Close,
            "a FIN: nothing more will be sent, and nothing more can be received",
        ),
        server(Act::Recv, "the server reads the request"),
        server(
            Act::Recv,
            "the FIN; the server cannot see whether the client still reads",
        ),
        server(
            Act::Send("answer"),
            "taken by the kernel, but no one is there: a reset comes back",
        ),
        server(
            Act::Send("the rest"),
            "only now does the server learn of it",
        )
        .fails("EPIPE"),
        server(Act::Close, "nothing is left to close on the wire"),
        server(Act::CloseListener, "the port is free again"),
    ],
};

const SHUTDOWN: Experiment = Experiment {
    name: "shutdown",
    line: "the client shuts down its write side, reads the whole answer, then closes",
    question: "How does a client say that it has sent all, and still get its answer?",
    expectation: "The client goes to FIN_WAIT2 with its descriptor still held and only its sending \
        side shut, the server to CLOSE_WAIT: the same two states as in the experiment close, until \
        the answer. The answer arrives whole, the server's FIN follows, the client ends in \
        TIME_WAIT. Half-closed by shutdown(SHUT_WR), then an orderly end.",
    steps: &[
        client(
            Act::Connect,
            "the handshake; the server has not accepted yet",
        ),
        server(Act::Accept, "the server takes the connection"),
        client(Act::Send("request"), "the client asks"),
        client(
            Act::ShutdownWrite,
            "a FIN: nothing more will be sent, but the client still reads",
        ),
        server(Act::Recv, "the server reads the request"),
        server(Act::Recv, "the FIN: the request is complete"),
        server(
            Act::Send("answer"),
            "the server answers over the half that is still open",
        ),
        server(
            Act::Close,
            "the server's FIN follows the answer: both directions are shut",
        ),
        client(Act::Recv, "the answer waited in the client's queue"),
        client(Act::Recv, "the server's FIN: the answer is complete"),
        client(
            Act::Close,
            "gives up the descriptor; TIME_WAIT goes on without it",
        ),
        server(Act::CloseListener, "the port is free again"),
    ],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_experiment_is_found_by_its_name() {
        for experiment in all() {
            assert_eq!(find(experiment.name), Some(experiment));
        }
        assert_eq!(find("no-such"), None);
    }

    #[test]
    fn experiments_free_their_port_and_fit_the_protocol() {
        for experiment in all() {
            let last = experiment.steps.last().unwrap();
            assert_eq!((last.who, last.act), (Role::Server, Act::CloseListener));
            for step in experiment.steps {
                let place = Place {
                    family: LoopbackFamily::V4,
                    port: 1,
                };
                assert!(!step.act.command(place).contains('\n'));
                assert_ne!(
                    step.act,
                    Act::Listen,
                    "{}: OPENING has done it",
                    experiment.name
                );
            }
        }
    }

    #[test]
    fn the_place_is_in_the_command() {
        let command = |act: Act, family| {
            act.command(Place {
                family,
                port: 50008,
            })
        };
        assert_eq!(
            command(Act::Listen, LoopbackFamily::V4),
            "listen 127.0.0.1 50008"
        );
        assert_eq!(
            command(Act::Listen, LoopbackFamily::DualStack),
            "listen :: 50008 dual"
        );
        assert_eq!(
            command(Act::Connect, LoopbackFamily::DualStack),
            "connect 127.0.0.1 50008"
        );
        assert_eq!(
            command(Act::Connect, LoopbackFamily::V6),
            "connect ::1 50008"
        );
    }
}
