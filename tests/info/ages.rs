//! Ages at attach, lived through: the row of every case is made for real, and what the tracker
//! says of it must hold the truth, and be exact where it can be.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use rustix::net::{AddressFamily, SocketFlags, SocketType, connect, socket_with, sockopt};
use tcpwatch::model::{Ask, Body, TcpState};
use tcpwatch::source::clock;
use tcpwatch::source::info::ask_once;
use tcpwatch::timeline::{Side, Tracker};

use crate::netns::in_fresh_netns;
use crate::sockets::{Between, Pair, port_of, server, stamped};
use crate::{LIMIT, look};

/// As long as a case lasts after the FIN.
const LATER: Duration = Duration::from_millis(2_600);
const BEFORE: Duration = Duration::from_millis(1_300);

/// What counts as one time.
const EXACT: Duration = Duration::from_millis(200);

fn live(time: Duration) {
    thread::sleep(time);
}

/// A case: client and server, what they did, and when the client's FIN was received, and
/// acknowledged.
struct Case {
    pair: Pair,
    close_wait: Between,
    fin_wait2: Option<Between>,
}

/// shutdown(SHUT_WR) by the client; when it came to what.
fn fin(mut pair: Pair) -> Case {
    let shut = pair.shut_client();
    let close_wait = pair.server_enters("CLOSE_WAIT").not_before(shut);
    let fin_wait2 = pair.client_enters("FIN_WAIT2").not_before(shut);
    Case {
        close_wait,
        fin_wait2: Some(fin_wait2),
        pair,
    }
}

fn client(pair: &Pair) -> &TcpStream {
    pair.client.as_ref().unwrap()
}

fn accepted(pair: &Pair) -> &TcpStream {
    pair.server.as_ref().unwrap()
}

fn write(mut stream: &TcpStream, bytes: usize) {
    stream.write_all(&vec![b'x'; bytes]).unwrap();
}

fn read(mut stream: &TcpStream, bytes: usize) {
    stream.read_exact(&mut vec![0; bytes]).unwrap();
}

fn keep_alive(stream: &TcpStream) {
    sockopt::set_socket_keepalive(stream, true).unwrap();
    sockopt::set_tcp_keepidle(stream, Duration::from_secs(1)).unwrap();
    sockopt::set_tcp_keepintvl(stream, Duration::from_secs(1)).unwrap();
}

/// Data that its peer does not read, as much as goes; in the end the window is shut.
fn fill(stream: &TcpStream) {
    stream.set_nonblocking(true).unwrap();
    let chunk = [0; 16 << 10];
    let mut quiet = 0;
    while quiet < 5 {
        match (&mut &*stream).write(&chunk) {
            Ok(1..) => quiet = 0,
            Ok(0) | Err(_) => {
                quiet += 1;
                live(Duration::from_millis(40));
            }
        }
    }
    stream.set_nonblocking(false).unwrap();
}

/// A connection whose ends have room for some 30 KB: of more than half of that unread, whoever reads
/// it tells.
fn with_little_room(server: &TcpListener) -> Pair {
    const ROOM: usize = 16 << 10;
    sockopt::set_socket_recv_buffer_size(server, ROOM).unwrap();
    let addr = server.local_addr().unwrap();
    let flags = SocketFlags::CLOEXEC;
    let client = socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap();
    sockopt::set_socket_recv_buffer_size(&client, ROOM).unwrap();
    connect(&client, &addr).unwrap();
    let mut pair = Pair::of(client.into());
    pair.accept(server);
    pair
}

/// What must be said of the end in CLOSE_WAIT, and of that in FIN_WAIT2; a range where nothing
/// better can be known.
#[derive(Clone, Copy, PartialEq)]
enum Said {
    Exactly,
    Within,
}
use Said::{Exactly, Within};

type Live = fn(Pair) -> Case;

const CASES: &[(&str, Said, Said, Live)] = &[
    ("data a while before the FIN", Exactly, Exactly, |pair| {
        write(client(&pair), 10);
        read(accepted(&pair), 10);
        live(BEFORE);
        let case = fin(pair);
        live(LATER);
        case
    }),
    (
        "no data ever, and the FIN at once",
        Exactly,
        Exactly,
        |pair| {
            let case = fin(pair);
            live(LATER);
            case
        },
    ),
    (
        "no data ever, and the FIN later",
        Exactly,
        Exactly,
        |pair| {
            live(BEFORE);
            let case = fin(pair);
            live(LATER);
            case
        },
    ),
    ("the FIN on data", Exactly, Exactly, |pair| {
        live(BEFORE);
        sockopt::set_tcp_cork(client(&pair), true).unwrap();
        write(client(&pair), 10);
        let case = fin(pair);
        live(LATER);
        case
    }),
    ("answered long before the FIN", Exactly, Exactly, |pair| {
        write(client(&pair), 10);
        read(accepted(&pair), 10);
        write(accepted(&pair), 100);
        live(BEFORE);
        let case = fin(pair);
        live(LATER);
        case
    }),
    ("answered just before the FIN", Within, Within, |pair| {
        write(client(&pair), 10);
        live(BEFORE);
        write(accepted(&pair), 100);
        let case = fin(pair);
        live(LATER);
        case
    }),
    ("our keepalive", Within, Exactly, |pair| {
        keep_alive(accepted(&pair));
        write(client(&pair), 10);
        let case = fin(pair);
        live(LATER);
        case
    }),
    ("the peer's keepalive", Exactly, Within, |pair| {
        keep_alive(client(&pair));
        write(client(&pair), 10);
        live(BEFORE);
        let case = fin(pair);
        live(LATER);
        case
    }),
    ("data sent after the FIN", Within, Within, |pair| {
        write(client(&pair), 10);
        let case = fin(pair);
        live(LATER / 2);
        write(accepted(&case.pair), 10);
        live(LATER / 2);
        case
    }),
    (
        "data sent after the FIN, and read",
        Within,
        Within,
        |pair| {
            let case = fin(pair);
            live(LATER / 2);
            write(accepted(&case.pair), 10);
            read(client(&case.pair), 10);
            live(LATER / 2);
            case
        },
    ),
    ("all read later", Exactly, Exactly, |pair| {
        write(client(&pair), 10);
        live(BEFORE);
        let mut case = fin(pair);
        live(LATER / 2);
        case.pair.server_reads_to_end();
        live(LATER / 2);
        case
    }),
    (
        "the answer is read after the shutdown",
        Within,
        Within,
        |pair| {
            fill(accepted(&pair));
            live(BEFORE);
            let case = fin(pair);
            live(LATER / 2);
            read(client(&case.pair), 1 << 20);
            live(LATER / 2);
            case
        },
    ),
    // All of it is acknowledged before; what comes after is news of room.
    ("much is read after the shutdown", Within, Within, |pair| {
        write(accepted(&pair), 22_000);
        live(BEFORE);
        write(client(&pair), 1);
        live(BEFORE);
        let case = fin(pair);
        live(LATER / 2);
        read(client(&case.pair), 22_000);
        live(LATER / 2);
        case
    }),
    ("the window is shut", Within, Within, |pair| {
        fill(accepted(&pair));
        live(BEFORE);
        let case = fin(pair);
        live(LATER);
        case
    }),
    (
        "the request is read after the shutdown",
        Within,
        Within,
        |pair| {
            sockopt::set_socket_recv_buffer_size(accepted(&pair), 16 << 10).unwrap();
            live(BEFORE);
            write(client(&pair), 22_000);
            live(BEFORE);
            let case = fin(pair);
            live(LATER / 2);
            read(accepted(&case.pair), 22_000);
            live(LATER / 2);
            case
        },
    ),
    (
        "closed, so that one end is a mini-socket",
        Exactly,
        Within,
        |mut pair| {
            write(client(&pair), 10);
            read(accepted(&pair), 10);
            live(BEFORE);
            let closed = pair.close_client();
            let close_wait = pair.server_enters("CLOSE_WAIT").not_before(closed);
            live(LATER);
            Case {
                close_wait,
                fin_wait2: None,
                pair,
            }
        },
    ),
];

#[test]
fn ages_at_attach_hold_the_truth() {
    in_fresh_netns("ages_at_attach", || {
        thread::scope(|scope| {
            for (name, close_wait, fin_wait2, run) in CASES {
                scope.spawn(move || {
                    let server = server();
                    let case = run(with_little_room(&server));
                    check(name, &case, port_of(&server), *close_wait, *fin_wait2);
                    // Until here both ends are held.
                    let _ = accepted(&case.pair).shutdown(Shutdown::Both);
                });
            }
        });
    });
}

fn check(name: &str, case: &Case, port: u16, close_wait: Said, fin_wait2: Said) {
    let mut tracker = Tracker::default();
    let mut ids = Vec::new();
    for observation in look(&[port]) {
        tracker.ingest(&observation);
        ids.extend(tracker.asks().filter_map(|ask| match ask {
            Ask::Info(id) => Some(id),
            _ => None,
        }));
    }
    let ends = if case.fin_wait2.is_some() { 2 } else { 1 };
    assert_eq!(ids.len(), ends, "{name}: {ids:?}");
    let told = ask_once(&ids, LIMIT).unwrap();
    for observation in &told {
        tracker.ingest(observation);
    }
    let (at, ()) = stamped(|| ());
    let connection = tracker.connections().next().unwrap();
    for (side, state, truth, said) in [
        (
            Side::B,
            TcpState::CloseWait,
            Some(case.close_wait),
            close_wait,
        ),
        (Side::A, TcpState::FinWait2, case.fin_wait2, fin_wait2),
    ] {
        let Some(truth) = truth else { continue };
        let track = connection.end(side).unwrap();
        assert_eq!(track.state(), state, "{name}");
        let age = track.present_age(clock::now()).unwrap();
        let (least, most) = (age.at_least, age.at_most.unwrap());
        let now = clock::now().nanos();
        let oldest = Duration::from_nanos(now - truth.earliest);
        let youngest = Duration::from_nanos(at.earliest - truth.latest);
        let about =
            format!("{name}: {state:?}: {age:?}, truly {youngest:?} to {oldest:?}, {told:#?}");
        assert!(least <= oldest && youngest <= most, "{about}");
        // On a busy machine the asking takes its time as well.
        let asked = told.iter().map(|told| match &told.body {
            Body::Info(info) => told.at.since(info.begun),
            _ => Duration::ZERO,
        });
        let width = (most - least).saturating_sub(asked.max().unwrap_or_default());
        assert!(said == Within || width <= EXACT, "{about}");
    }
}
