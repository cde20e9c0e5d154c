//! One process of an experiment: reads a command a line, makes the call that it names, answers
//! with one line: `ok TEXT` or `err TEXT`. A call that failed ends its TEXT in ` = ERRNO`.
//!
//! It knows nothing of the experiment, of the other process, or of the rest of this program: what
//! is watched must be what any program does. So each command is the plain blocking system call,
//! and nothing is done unasked.
//!
//! The trap: a call may block, and its caller may be killed meanwhile. A second thread reads the
//! commands and ends the process the moment they end, so no listener outlives who asked for it.

use std::io::{BufRead, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType, sockopt,
};

/// How long a call may block. Both ends are on one host: what has not come by then never comes.
const PATIENCE: Duration = Duration::from_secs(5);

/// Connections that may wait for `accept()`.
const BACKLOG: i32 = 8;

/// How much of what was received is shown. The peer may be a stranger.
const SHOWN_BYTES: usize = 40;

/// The main function of an actor: obeys standard input until it ends. `role` is what `ps` and the
/// holders of a socket show as the process's name; a role that does not exist is refused with 2.
pub fn run(role: &str) -> ExitCode {
    let name = match role {
        "server" => c"lab-server",
        "client" => c"lab-client",
        _ => return ExitCode::from(2),
    };
    // The name is a convenience: without it the process is still found by its pid.
    let _ = rustix::thread::set_name(name);
    let (sender, commands) = mpsc::channel();
    let reader = thread::Builder::new().spawn(move || read_commands(&sender));
    match reader {
        Ok(_) => obey(&commands),
        Err(_) => ExitCode::FAILURE,
    }
}

/// Ends the process with standard input, whatever the other thread is blocked in. A last line
/// without its end is a command whose author died while writing it: not obeyed.
fn read_commands(sender: &Sender<String>) {
    let mut input = std::io::stdin().lock();
    let mut line = String::new();
    while input.read_line(&mut line).is_ok() && line.ends_with('\n') {
        if sender.send(line.trim_end_matches('\n').to_owned()).is_err() {
            break;
        }
        line.clear();
    }
    std::process::exit(0);
}

fn obey(commands: &Receiver<String>) -> ExitCode {
    let mut actor = Actor::default();
    let mut output = std::io::stdout().lock();
    for command in commands {
        let answer = match actor.perform(&command) {
            Ok(done) => format!("ok {done}\n"),
            Err(failure) => format!("err {failure}\n"),
        };
        if output.write_all(answer.as_bytes()).is_err() || output.flush().is_err() {
            break;
        }
    }
    ExitCode::SUCCESS
}

/// Which IP versions a listener on an IPv6 address takes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Versions {
    /// That of its address.
    Own,
    /// IPv4 clients too, shown to the program as `::ffff:a.b.c.d`.
    Both,
}

#[derive(Default)]
struct Actor {
    listener: Option<OwnedFd>,
    stream: Option<OwnedFd>,
}

/// What is announced: the call as a programmer would write it, with its outcome.
type Answer = Result<String, String>;

impl Actor {
    fn perform(&mut self, command: &str) -> Answer {
        // Kept apart from the words: the text to send may have any number of them.
        if let Some(text) = command.strip_prefix("send ") {
            return send(opened(&self.stream)?, text);
        }
        let words: Vec<&str> = command.split(' ').collect();
        match words.as_slice() {
            ["listen", addr, port] => self.listen(address(addr, port)?, Versions::Own),
            ["listen", addr, port, "dual"] => self.listen(address(addr, port)?, Versions::Both),
            ["accept"] => self.accept(),
            ["connect", addr, port] => self.connect(address(addr, port)?),
            ["recv"] => recv(opened(&self.stream)?),
            ["shutdown", "wr"] => shutdown_write(opened(&self.stream)?),
            ["close"] => close(&mut self.stream, "close()"),
            ["close-listener"] => close(&mut self.listener, "close(listener)"),
            _ => Err(format!("'{}' is no command", command.escape_default())),
        }
    }

    fn listen(&mut self, addr: SocketAddr, versions: Versions) -> Answer {
        let socket = tcp_socket(addr)?;
        // Without it a port whose last experiment still lies in TIME_WAIT could not be had again.
        sockopt::set_socket_reuseaddr(&socket, true)
            .map_err(|errno| failed("setsockopt(SO_REUSEADDR)", errno))?;
        if addr.is_ipv6() {
            sockopt::set_ipv6_v6only(&socket, versions == Versions::Own)
                .map_err(|errno| failed("setsockopt(IPV6_V6ONLY)", errno))?;
        }
        rustix::net::bind(&socket, &addr)
            .map_err(|errno| failed(&format!("bind({addr})"), errno))?;
        rustix::net::listen(&socket, BACKLOG)
            .map_err(|errno| failed(&format!("listen({addr})"), errno))?;
        let bound = rustix::net::getsockname(&socket)
            .and_then(SocketAddr::try_from)
            .map_err(|errno| failed("getsockname()", errno))?;
        self.listener = Some(socket);
        Ok(format!("listen({bound})"))
    }

    fn accept(&mut self) -> Answer {
        let listener = opened(&self.listener)?;
        let accepted =
            retry_on_intr(|| rustix::net::acceptfrom_with(listener, SocketFlags::CLOEXEC));
        let (stream, peer) = accepted.map_err(|errno| failed("accept()", errno))?;
        limit_blocking(&stream)?;
        self.stream = Some(stream);
        match peer.map(SocketAddr::try_from) {
            Some(Ok(peer)) => Ok(format!("accept() = {peer}")),
            Some(Err(_)) | None => Ok("accept()".to_owned()),
        }
    }

    fn connect(&mut self, addr: SocketAddr) -> Answer {
        let socket = tcp_socket(addr)?;
        let call = format!("connect({addr})");
        rustix::net::connect(&socket, &addr).map_err(|errno| failed(&call, errno))?;
        self.stream = Some(socket);
        Ok(call)
    }
}

fn tcp_socket(addr: SocketAddr) -> Result<OwnedFd, String> {
    let family = match addr {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let socket = rustix::net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .map_err(|errno| failed("socket()", errno))?;
    limit_blocking(&socket)?;
    Ok(socket)
}

/// `SO_SNDTIMEO` limits connect() too, and `SO_RCVTIMEO` accept() (socket(7)).
fn limit_blocking(socket: &OwnedFd) -> Result<(), String> {
    for timeout in [sockopt::Timeout::Recv, sockopt::Timeout::Send] {
        sockopt::set_socket_timeout(socket, timeout, Some(PATIENCE))
            .map_err(|errno| failed("setsockopt(SO_RCVTIMEO, SO_SNDTIMEO)", errno))?;
    }
    Ok(())
}

fn send(stream: &OwnedFd, text: &str) -> Answer {
    // NOSIGNAL: an answer to a closed socket is an outcome to tell, not one to die of.
    retry_on_intr(|| rustix::net::send(stream, text.as_bytes(), SendFlags::NOSIGNAL))
        .map(|count| format!("send({count} bytes)"))
        .map_err(|errno| failed("send()", errno))
}

fn recv(stream: &OwnedFd) -> Answer {
    let mut buffer = [0_u8; 4096];
    let (_, count) =
        retry_on_intr(|| rustix::net::recv(stream, buffer.as_mut_slice(), RecvFlags::empty()))
            .map_err(|errno| failed("recv()", errno))?;
    if count == 0 {
        return Ok("recv() = 0, end of file".to_owned());
    }
    let shown = buffer[..count.min(SHOWN_BYTES)].escape_ascii();
    let more = if count > SHOWN_BYTES { "..." } else { "" };
    Ok(format!("recv() = {count} bytes \"{shown}\"{more}"))
}

fn shutdown_write(stream: &OwnedFd) -> Answer {
    rustix::net::shutdown(stream, Shutdown::Write)
        .map(|()| "shutdown(SHUT_WR)".to_owned())
        .map_err(|errno| failed("shutdown(SHUT_WR)", errno))
}

fn close(socket: &mut Option<OwnedFd>, call: &str) -> Answer {
    opened(socket)?;
    *socket = None;
    Ok(call.to_owned())
}

fn opened(socket: &Option<OwnedFd>) -> Result<&OwnedFd, String> {
    socket
        .as_ref()
        .ok_or_else(|| "there is no open socket for it".to_owned())
}

fn address(addr: &str, port: &str) -> Result<SocketAddr, String> {
    let bad = |text: &str| format!("'{}' is no address or port", text.escape_default());
    let addr: IpAddr = addr.parse().map_err(|_| bad(addr))?;
    let port: u16 = port.parse().map_err(|_| bad(port))?;
    Ok(SocketAddr::new(addr, port))
}

fn failed(call: &str, errno: Errno) -> String {
    match errno {
        // What a blocking call returns when its time is over; connect() says EINPROGRESS.
        Errno::AGAIN | Errno::INPROGRESS => {
            format!("{call} timed out after {} s", PATIENCE.as_secs())
        }
        _ => format!("{call} = {}", errno_name(errno)),
    }
}

/// The name that a programmer looks for. Only what these calls return; the rest by number.
fn errno_name(errno: Errno) -> String {
    let name = match errno {
        Errno::ACCESS => "EACCES",
        Errno::ADDRINUSE => "EADDRINUSE",
        Errno::ADDRNOTAVAIL => "EADDRNOTAVAIL",
        Errno::AFNOSUPPORT => "EAFNOSUPPORT",
        Errno::CONNABORTED => "ECONNABORTED",
        Errno::CONNREFUSED => "ECONNREFUSED",
        Errno::CONNRESET => "ECONNRESET",
        Errno::HOSTUNREACH => "EHOSTUNREACH",
        Errno::INVAL => "EINVAL",
        Errno::MFILE => "EMFILE",
        Errno::NETUNREACH => "ENETUNREACH",
        Errno::NFILE => "ENFILE",
        Errno::NOBUFS => "ENOBUFS",
        Errno::NOMEM => "ENOMEM",
        Errno::NOTCONN => "ENOTCONN",
        Errno::PERM => "EPERM",
        Errno::PIPE => "EPIPE",
        Errno::TIMEDOUT => "ETIMEDOUT",
        other => return format!("errno {}", other.raw_os_error()),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Performs the command; the answer as it would be written.
    fn told(actor: &mut Actor, command: &str) -> String {
        match actor.perform(command) {
            Ok(text) => format!("ok {text}"),
            Err(text) => format!("err {text}"),
        }
    }

    fn connected() -> (Actor, Actor, String) {
        let (mut server, mut client) = (Actor::default(), Actor::default());
        let listening = server.perform("listen 127.0.0.1 0").unwrap();
        let port = listening
            .trim_end_matches(')')
            .rsplit(':')
            .next()
            .unwrap()
            .to_owned();
        client
            .perform(&format!("connect 127.0.0.1 {port}"))
            .unwrap();
        assert!(
            server
                .perform("accept")
                .unwrap()
                .starts_with("accept() = 127.0.0.1:")
        );
        (server, client, port)
    }

    #[test]
    fn what_was_received_is_told_escaped_and_shortened() {
        let (mut server, mut client, _) = connected();
        assert_eq!(told(&mut client, "send a \"b\"\x1b"), "ok send(6 bytes)");
        assert_eq!(
            told(&mut server, "recv"),
            r#"ok recv() = 6 bytes "a \"b\"\x1b""#
        );
        assert_eq!(
            told(&mut client, &format!("send {}", "x".repeat(50))),
            "ok send(50 bytes)"
        );
        let shown = "x".repeat(SHOWN_BYTES);
        assert_eq!(
            told(&mut server, "recv"),
            format!("ok recv() = 50 bytes \"{shown}\"...")
        );
    }

    #[test]
    fn an_abort_is_told_by_its_name() {
        let (mut server, mut client, _) = connected();
        client.perform("send unread").unwrap();
        server.perform("close").unwrap();
        assert_eq!(told(&mut client, "recv"), "err recv() = ECONNRESET");
        assert_eq!(told(&mut client, "send more"), "err send() = EPIPE");
    }

    #[test]
    fn a_closed_listener_refuses() {
        let (mut server, mut client, port) = connected();
        assert_eq!(told(&mut server, "close-listener"), "ok close(listener)");
        assert_eq!(
            told(&mut client, &format!("connect 127.0.0.1 {port}")),
            format!("err connect(127.0.0.1:{port}) = ECONNREFUSED")
        );
    }

    #[test]
    fn what_cannot_be_done_is_said_without_a_call() {
        let mut actor = Actor::default();
        for command in ["recv", "send x", "close", "accept", "shutdown wr"] {
            assert_eq!(
                told(&mut actor, command),
                "err there is no open socket for it"
            );
        }
        assert_eq!(
            told(&mut actor, "dance\x07"),
            r"err 'dance\u{7}' is no command"
        );
        assert_eq!(
            told(&mut actor, "listen 127.0.0.1 70000"),
            "err '70000' is no address or port"
        );
        assert_eq!(
            told(&mut actor, "connect localhost 80"),
            "err 'localhost' is no address or port"
        );
    }
}
