//! A server at night: 48 clients, three of them given up by the program that serves them, and one that
//! was torn down in 100 µs.

use std::time::Duration;

use tcpwatch::model::event::{File, What};
use tcpwatch::model::{
    Body, Event, Holders, Look, Moment, Observation, Queues, Sample, Scope, Seen, SourceName,
    SourceState, TcpState,
};

use crate::build::{holder, mini, moment, process, step};
use crate::tape;

const CLIENTS: u64 = 48;
/// Of these the clients have closed, and nobody closes here.
const LEAKED: [u64; 3] = [6, 22, 38];
/// Torn down in good order, by events.
const QUICK: u64 = 3;

const NGINX: (&str, u32) = ("nginx", 200);
const WORKER: (&str, u32) = ("python3", 300);

/// Both ends, with descriptors of their own.
fn ends(number: u64, states: [TcpState; 2]) -> [Sample; 2] {
    let mut ends = tape::ends(number, states);
    for (end, inode) in ends.iter_mut().zip(1000 + 2 * number as u32..) {
        end.inode = Some(inode);
    }
    ends
}

fn serves(number: u64) -> (&'static str, u32) {
    if number % 8 == 6 { WORKER } else { NGINX }
}

fn held(sample: &Sample, by: (&str, u32)) -> Observation {
    let set = Holders {
        scope: Scope {
            host: 0,
            netns: Some(7),
        },
        inode: sample.inode.unwrap(),
        begun: tape::at(1500),
        unchanged: None,
        holders: vec![holder(by.0, (by.1, 1), &[7])],
        ended: Vec::new(),
        seen: Seen::All,
    };
    said(1_600_000, SourceName::Holders, Body::Holders(set))
}

fn said(us: u64, source: SourceName, body: Body) -> Observation {
    Observation {
        source,
        ..tape::said(us, body)
    }
}

fn running(source: SourceName, ms: u64) -> Observation {
    let state = SourceState::Running {
        period: Duration::from_millis(ms),
        cost: None,
        why: None,
    };
    said(900_000, source, Body::Source(state))
}

/// FIN, answer, FIN, answer: 100 us, from 8 s on.
fn torn_down() -> Vec<Observation> {
    use TcpState::{Close, CloseWait, Established, FinWait1, FinWait2, LastAck};
    let [a, b] = ends(QUICK, [Established; 2]);
    let curl = Some(process("curl", 400 + QUICK as u32));
    let nginx = Some(process(NGINX.0, NGINX.1));
    let closing = moment(File::Closing, 3, 0);
    let absent = Moment {
        fin_received: Some(true),
        ..moment(File::Absent, 3, 0)
    };
    let held = moment(File::Held, 1, 1);
    let us = 8_000_000;
    let events = [
        (us, a, step(Established, FinWait1), closing, curl),
        (us + 20, b, step(Established, CloseWait), held, None),
        (us + 45, a, step(FinWait1, FinWait2), absent, None),
        (us + 60, b, step(CloseWait, LastAck), closing, nginx),
        (us + 80, a, step(FinWait2, Close), absent, None),
        (us + 100, b, step(LastAck, Close), closing, None),
        (us + 101, b, What::Freed, closing, None),
    ];
    let event = |(us, end, what, moment, caller): (u64, Sample, _, _, _)| {
        let event = Event {
            id: end.id,
            what,
            moment: Some(moment),
            caller,
        };
        said(us, SourceName::Bpf, Body::Event(event))
    };
    events.map(event).to_vec()
}

/// What came at night, and a minute and a half of nothing.
pub fn recording() -> Vec<u8> {
    use TcpState::{CloseWait, Established, FinWait2};
    let clients = 0..CLIENTS;
    let first: Vec<Sample> = clients
        .clone()
        .flat_map(|number| ends(number, [Established; 2]))
        .collect();
    let mut story = vec![
        running(SourceName::Bpf, 0),
        running(SourceName::SockDiag, 100),
        tape::look(1_000_000, true, &first, &[]),
    ];
    for number in clients {
        let [client, server] = ends(number, [Established; 2]);
        story.push(held(&client, ("curl", 400 + number as u32)));
        story.push(held(&server, serves(number)));
    }
    let leaked: Vec<Sample> = LEAKED
        .iter()
        .flat_map(|&number| {
            let [client, mut server] = ends(number, [FinWait2, CloseWait]);
            // All was read, the end of file too.
            server.queues = Queues::Stream {
                receive: 0,
                send: 0,
            };
            let client = mini(client, tape::at(65_000));
            [client, server]
        })
        .collect();
    story.push(tape::look(5_000_000, false, &[], &leaked));
    story.extend(torn_down());
    // The kernel waits for no FIN without end.
    let given_up = leaked.iter().step_by(2);
    story.extend(given_up.map(|client| tape::gone(65_000_000, client)));
    for second in (10..=100).step_by(10) {
        let until = tape::at(second * 1000);
        let look = Look::Whole;
        story.push(tape::said(
            second * 1_000_000,
            Body::Unchanged { until, look },
        ));
    }
    // What came while somebody looked elsewhere.
    let late = ends(CLIENTS, [Established; 2]);
    story.sort_by_key(|said| said.at);
    story.push(tape::look(101_000_000, false, &late, &[]));
    tape::written(&tape::header("crowd", 1, 0), &story, true)
}
