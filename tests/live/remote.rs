//! A peer on another host: the connection has one end here, and what the other one did is told
//! only as far as this one shows it. The other host is a second namespace, on a cable of its own.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use netlink_sys::protocols::NETLINK_ROUTE;

use crate::netns::{in_fresh_netns, set_up};
use crate::sockets::{Pair, abort_on_close};
use crate::through_every_source;
use crate::watcher::Watcher;

const HERE: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);
const THERE: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 2);
/// Where nobody here listens, the lower port is taken for the server's.
const PORT: u16 = 8080;
/// The cable's name on either side.
const CABLE: &str = "cable";

/// A listener on the other host. A socket stays in the namespace that it was made in, whoever
/// uses it.
fn server_on_another_host() -> TcpListener {
    let (to_there, from_here) = channel();
    let (to_here, from_there) = channel();
    thread::spawn(move || in_fresh_netns("another host", move || be_there(&to_here, &from_here)));
    let News::Namespace(namespace) = from_there.recv().unwrap() else {
        panic!("a listener without a cable");
    };
    lay_cable_to(&namespace);
    plug_in(HERE);
    to_there.send(()).unwrap();
    match from_there.recv().unwrap() {
        News::Listening(server) => server,
        News::Namespace(_) => panic!("two namespaces"),
    }
}

enum News {
    Namespace(std::fs::File),
    Listening(TcpListener),
}

fn be_there(to_here: &Sender<News>, from_here: &Receiver<()>) {
    let namespace = std::fs::File::open("/proc/thread-self/ns/net").unwrap();
    to_here.send(News::Namespace(namespace)).unwrap();
    from_here.recv().unwrap();
    plug_in(THERE);
    let server = TcpListener::bind((THERE, PORT)).unwrap();
    to_here.send(News::Listening(server)).unwrap();
}

/// Makes a pair of virtual interfaces (veth(4)), one of them in the other namespace.
fn lay_cable_to(namespace: &std::fs::File) {
    const NEWLINK: u16 = 16;
    // struct ifinfomsg: nothing chosen.
    let any_link = [0; 16];
    let name = attribute(3, format!("{CABLE}\0").as_bytes());
    let into = attribute(28, &namespace.as_raw_fd().to_ne_bytes());
    let peer = attribute(1, &[&any_link[..], &name, &into].concat());
    let info = [attribute(1, b"veth"), attribute(2, &peer)].concat();
    let link = [&any_link[..], &name, &attribute(18, &info)].concat();
    ask_for_links(NEWLINK, &link);
}

/// Gives this side of the cable its address.
fn plug_in(addr: Ipv4Addr) {
    const NEWADDR: u16 = 20;
    let any = rustix::net::socket(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::DGRAM,
        None,
    )
    .unwrap();
    let index = rustix::net::netdevice::name_to_index(&any, CABLE).unwrap();
    // struct ifaddrmsg: AF_INET, /24.
    let mut address = vec![2, 24, 0, 0];
    address.extend(index.to_ne_bytes());
    address.extend(attribute(1, &addr.octets()));
    address.extend(attribute(2, &addr.octets()));
    ask_for_links(NEWADDR, &address);
    set_up(CABLE).unwrap();
}

/// struct rtattr, and its padding to four bytes.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap();
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn ask_for_links(kind: u16, body: &[u8]) {
    /// `NLM_F_REQUEST | NLM_F_ACK | NLM_F_EXCL | NLM_F_CREATE`
    const MAKE: u16 = 0x605;
    let length = u32::try_from(16 + body.len()).unwrap();
    let mut request = length.to_ne_bytes().to_vec();
    request.extend(kind.to_ne_bytes());
    request.extend(MAKE.to_ne_bytes());
    request.extend([0; 8]);
    request.extend(body);
    let socket = netlink_sys::Socket::new(NETLINK_ROUTE).unwrap();
    let kernel = netlink_sys::SocketAddr::new(0, 0);
    socket.send_to(&request, &kernel, 0).unwrap();
    let (answer, _) = socket.recv_from_full().unwrap();
    let errno = i32::from_ne_bytes(answer[16..20].try_into().unwrap());
    assert_eq!(errno, 0, "{}", std::io::Error::from_raw_os_error(-errno));
}

fn connected(server: &TcpListener) -> Pair {
    let mut pair = Pair::of(TcpStream::connect(server.local_addr().unwrap()).unwrap());
    pair.accept(server);
    pair
}

#[test]
fn a_connection_to_another_host_has_one_end() {
    through_every_source(|source| {
        let server = server_on_another_host();
        let mut watcher = Watcher::on(source, &[]);
        let mut pair = connected(&server);
        let open = watcher.sees_open(&pair);
        assert!(open["b_state"].is_null() && open["b_cookie"].is_null());
        watcher.sees(&pair, "a", "ESTABLISHED");
        pair.close_client();
        watcher.sees(&pair, "a", "FIN_WAIT2");
        pair.close_server();
        let verdict = watcher.sees_end(&pair, "orderly");
        assert_eq!(verdict["first_closer"], "a");
        let story = watcher.finish();
        story.has_one_connection();
        assert_eq!(story.path(story.conn(&pair), "b"), [""; 0]);
    });
}

#[test]
fn another_host_that_closes_first_is_named() {
    through_every_source(|source| {
        let server = server_on_another_host();
        let mut watcher = Watcher::on(source, &[]);
        let mut pair = connected(&server);
        watcher.sees(&pair, "a", "ESTABLISHED");
        pair.close_server();
        watcher.sees(&pair, "a", "CLOSE_WAIT");
        pair.close_client();
        let verdict = watcher.sees_closed(&pair);
        assert_eq!(verdict["first_closer"], "b");
        // Whether the last segments arrived is known over there; LAST_ACK is mostly too short.
        let code = verdict["code"].as_str().unwrap();
        assert!(["orderly", "unknown"].contains(&code), "{verdict}");
        watcher.finish().never_tells(&["TIME_WAIT"]);
    });
}

#[test]
fn a_reset_from_another_host_makes_up_no_state() {
    through_every_source(|source| {
        let server = server_on_another_host();
        let mut watcher = Watcher::on(source, &[]);
        let mut pair = connected(&server);
        watcher.sees(&pair, "a", "ESTABLISHED");
        abort_on_close(pair.server.as_ref().unwrap());
        pair.close_server();
        watcher.sees_closed(&pair);
        let story = watcher.finish();
        assert_eq!(story.path(story.conn(&pair), "a").last(), Some(&"CLOSE"));
        story.never_tells(&["FIN_WAIT1", "CLOSE_WAIT", "LAST_ACK", "TIME_WAIT"]);
    });
}
