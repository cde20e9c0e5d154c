//! Reads the text of `/proc/net/tcp` and `tcp6` into [`Sample`]s.
//!
//! It is given bytes and knows neither files nor clocks nor what was read before. A row that it
//! cannot read costs that row alone.
//!
//! The trap: three kinds of socket print the same columns and mean different things by them. A
//! mini-socket prints 0 for its owner, whoever that was; a request socket prints its listener's
//! owner; a listener prints its accept queue as if it were bytes. And the column `sk` looks like
//! an identity, but it is a hashed address that the next socket may have in the next moment.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use crate::model::{
    Endpoint, FourTuple, Queues, Sample, Scope, SockId, TcpState, Timer, TimerKind, Timestamp,
};

/// One unit of the column `tm->when`: `jiffies_delta_to_clock_t` counts in `USER_HZ`, which is
/// 100 on every architecture but Alpha and IA-64 (`include/asm-generic/param.h`).
const CLOCK_TICK_MS: u64 = 10;

/// Which of the two tables a row is from; they differ in the width of an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Table {
    /// `/proc/net/tcp`.
    Tcp4,
    /// `/proc/net/tcp6`, where a dual-stack server's IPv4 connections are as well.
    Tcp6,
}

/// Hands every row of a table, or of any whole lines of it, to `row`. Returns how many rows could
/// not be read.
///
/// The header and empty lines are no rows. A last line without its newline is a row like any
/// other: read if all that is asked of it is there, counted as unreadable if not.
pub fn parse_table(
    bytes: &[u8],
    table: Table,
    scope: Scope,
    at: Timestamp,
    mut row: impl FnMut(Sample),
) -> usize {
    let mut unreadable = 0;
    for line in bytes
        .split(|&byte| byte == b'\n')
        .filter(|line| is_row(line))
    {
        match parse_row(line, table, scope, at) {
            Some(sample) => row(sample),
            None => unreadable += 1,
        }
    }
    unreadable
}

/// The header begins with the word `sl`, a row with a number.
fn is_row(line: &[u8]) -> bool {
    let text = line.trim_ascii();
    !text.is_empty() && !text.starts_with(b"sl")
}

/// Reads one row, without its newline. `at` is the moment of the look, from which the row's timer
/// counts. `None` when the row is not what the kernel prints, or is cut before the end of a column
/// that is needed.
pub fn parse_row(line: &[u8], table: Table, scope: Scope, at: Timestamp) -> Option<Sample> {
    let mut columns = Columns(line);
    columns.slot()?;
    let tuple = FourTuple {
        local: columns.endpoint(table)?,
        remote: columns.endpoint(table)?,
    };
    let row = Row::read(&mut columns)?;
    Some(Sample {
        id: SockId {
            scope,
            cookie: None,
            tuple,
        },
        state: row.state,
        queues: row.queues(),
        timer: row.timer(at),
        retransmits: row.retransmits(),
        inode: row.inode,
        uid: row.owner(),
        shutdown: None,
        cgroup: None,
        multipath: false,
    })
}

/// The columns after the addresses, as printed.
///
/// `net/ipv4/tcp_ipv4.c`: `get_tcp4_sock`, `get_openreq4`, `get_timewait4_sock`;
/// `net/ipv6/tcp_ipv6.c`: the same for 6. The columns after `ref` are not read: `sk` is no
/// identity, and the rest is there for full sockets only.
struct Row {
    state: TcpState,
    tx_queue: u32,
    rx_queue: u32,
    timer: Option<TimerKind>,
    ticks: u64,
    retransmits: u32,
    uid: u32,
    /// Headed `timeout`, yet `icsk_probes_out`.
    probes: u32,
    inode: Option<u32>,
    references: u32,
}

/// What kind of kernel object a row shows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Listener,
    /// A handshake on the server's side: `struct request_sock`.
    Request,
    /// TIME_WAIT, or FIN_WAIT2 after the descriptor is gone: `struct inet_timewait_sock`.
    Mini,
    Full,
}

impl Row {
    fn read(columns: &mut Columns) -> Option<Self> {
        let state = TcpState::from_kernel(columns.hex_byte()?)?;
        let (tx_queue, rx_queue) = columns.queues()?;
        let (timer, ticks) = columns.timer()?;
        Some(Self {
            state,
            tx_queue,
            rx_queue,
            timer,
            ticks,
            retransmits: columns.hex_word()?,
            uid: columns.decimal()?,
            probes: columns.decimal()?,
            // sockfs numbers its inodes with get_next_ino(), which is 32 bits wide.
            inode: Some(columns.decimal()?).filter(|&inode| inode != 0),
            references: columns.decimal()?,
        })
    }

    fn kind(&self) -> Kind {
        let mini = self.timer == Some(TimerKind::TimeWait) && self.inode.is_none();
        match self.state {
            TcpState::Listen => Kind::Listener,
            TcpState::TimeWait | TcpState::FinWait2 if mini => Kind::Mini,
            // A request socket prints a literal 0 here. A socket accepted by TCP Fast Open is in
            // SYN_RECV too, but is a full one: it has queues, and references.
            TcpState::SynRecv if self.references == 0 => Kind::Request,
            _ => Kind::Full,
        }
    }

    fn queues(&self) -> Queues {
        match self.kind() {
            Kind::Listener => Queues::Accept {
                waiting: self.rx_queue,
                backlog: None,
            },
            Kind::Request | Kind::Mini => Queues::Absent,
            Kind::Full => Queues::Stream {
                receive: self.rx_queue,
                send: self.tx_queue,
            },
        }
    }

    fn timer(&self, at: Timestamp) -> Option<Timer> {
        let left = Duration::from_millis(self.ticks.saturating_mul(CLOCK_TICK_MS));
        self.timer.map(|kind| Timer {
            kind,
            deadline: at.plus(left),
        })
    }

    /// Probes count where the timer sends probes, as in `idiag_retrans` (`inet_sk_diag_fill` in
    /// `net/ipv4/inet_diag.c`), so both sources say the same of one socket.
    fn retransmits(&self) -> u8 {
        let count = match self.timer {
            Some(TimerKind::Probe | TimerKind::KeepAlive) => self.probes,
            _ => self.retransmits,
        };
        u8::try_from(count).unwrap_or(u8::MAX)
    }

    /// A mini-socket has forgotten its owner and prints 0. A request socket prints its listener's,
    /// which accepts the connection if anyone does, so its 0 is root's.
    fn owner(&self) -> Option<u32> {
        (self.kind() != Kind::Mini).then_some(self.uid)
    }
}

/// What is left of a line.
struct Columns<'a>(&'a [u8]);

impl<'a> Columns<'a> {
    /// The next column. Its end is proved by the blank behind it: at the end of the line it may be
    /// the half of a number.
    fn next(&mut self) -> Option<&'a [u8]> {
        let text = self.0.trim_ascii_start();
        let end = text.iter().position(|&byte| byte == b' ')?;
        let (column, rest) = text.split_at(end);
        self.0 = rest;
        Some(column)
    }

    /// `sl`: the row's number, which says nothing of the socket.
    fn slot(&mut self) -> Option<()> {
        let number = self.next()?.strip_suffix(b":")?;
        number.iter().all(u8::is_ascii_digit).then_some(())
    }

    fn endpoint(&mut self, table: Table) -> Option<Endpoint> {
        let (addr, port) = split_at_colon(self.next()?)?;
        let addr: IpAddr = match table {
            Table::Tcp4 => Ipv4Addr::from(address_bytes::<4>(addr)?).into(),
            Table::Tcp6 => Ipv6Addr::from(address_bytes::<16>(addr)?).into(),
        };
        let port = u16::try_from(hex(port, 4..=4)?).ok()?;
        Some(Endpoint::new(addr, port))
    }

    fn queues(&mut self) -> Option<(u32, u32)> {
        let (tx, rx) = split_at_colon(self.next()?)?;
        Some((hex_word(tx)?, hex_word(rx)?))
    }

    /// `tr:tm->when`. The time is a `long` printed with at least eight digits.
    fn timer(&mut self) -> Option<(Option<TimerKind>, u64)> {
        let (code, ticks) = split_at_colon(self.next()?)?;
        Some((TimerKind::from_kernel(hex_byte(code)?), hex(ticks, 8..=16)?))
    }

    fn hex_byte(&mut self) -> Option<u8> {
        hex_byte(self.next()?)
    }

    fn hex_word(&mut self) -> Option<u32> {
        hex_word(self.next()?)
    }

    fn decimal(&mut self) -> Option<u32> {
        decimal(self.next()?)
    }
}

/// An address is printed as 32-bit words, each as the number that the machine takes its four bytes
/// for: 127.0.0.1 is `0100007F` on little-endian machines and `7F000001` on big-endian ones.
fn address_bytes<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    if digits.len() != 2 * N {
        return None;
    }
    let mut bytes = [0; N];
    for (word, digits) in bytes.chunks_exact_mut(4).zip(digits.chunks_exact(8)) {
        word.copy_from_slice(&hex_word(digits)?.to_ne_bytes());
    }
    Some(bytes)
}

fn split_at_colon(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = text.iter().position(|&byte| byte == b':')?;
    Some((text.get(..colon)?, text.get(colon + 1..)?))
}

fn hex_byte(digits: &[u8]) -> Option<u8> {
    u8::try_from(hex(digits, 2..=2)?).ok()
}

fn hex_word(digits: &[u8]) -> Option<u32> {
    u32::try_from(hex(digits, 8..=8)?).ok()
}

/// A hexadecimal number of as many digits as the kernel's format prints, at most 16. Not
/// `from_str_radix`: it wants text and takes a sign.
fn hex(digits: &[u8], width: std::ops::RangeInclusive<usize>) -> Option<u64> {
    if !width.contains(&digits.len()) {
        return None;
    }
    digits.iter().try_fold(0, |number, &digit| {
        let digit = char::from(digit).to_digit(16)?;
        Some(number << 4 | u64::from(digit))
    })
}

fn decimal(digits: &[u8]) -> Option<u32> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u32, |number, &digit| {
        let digit = char::from(digit).to_digit(10)?;
        number.checked_mul(10)?.checked_add(digit)
    })
}

// The rows below are those of a little-endian machine.
#[cfg(all(test, target_endian = "little"))]
mod tests {
    use super::*;
    use crate::model::Descriptor;

    const AT: Timestamp = Timestamp::from_nanos(1_000_000_000);
    const ROW: &str = "   5: 0100007F:C358 0200007F:0050 01 00000003:00000007 01:00000014 00000002  1000        0 11261 1 000000003cb96227 20 4 0 10 -1";

    fn read(line: &str) -> Option<Sample> {
        parse_row(line.as_bytes(), Table::Tcp4, Scope::default(), AT)
    }

    fn with(from: &str, to: &str) -> Option<Sample> {
        assert!(ROW.contains(from), "{from}");
        read(&ROW.replacen(from, to, 1))
    }

    #[test]
    fn a_row_is_read_column_by_column() {
        let sample = read(ROW).unwrap();
        assert_eq!(sample.id.tuple.local.to_string(), "127.0.0.1:50008");
        assert_eq!(sample.id.tuple.remote.to_string(), "127.0.0.2:80");
        assert_eq!(sample.id.cookie, None);
        assert_eq!(sample.state, TcpState::Established);
        let queues = Queues::Stream {
            receive: 7,
            send: 3,
        };
        assert_eq!(sample.queues, queues);
        let timer = sample.timer.unwrap();
        assert_eq!(timer.kind, TimerKind::Retransmit);
        assert_eq!(timer.deadline.since(AT), Duration::from_millis(200));
        assert_eq!(sample.retransmits, 2);
        assert_eq!(sample.inode, Some(11261));
        assert_eq!(sample.uid, Some(1000));
        assert_eq!(sample.shutdown, None);
        assert_eq!(sample.cgroup, None);
    }

    #[test]
    fn what_the_kernel_does_not_print_is_no_row() {
        for (from, to) in [
            ("5:", "5"),
            ("0100007F:", "100007F:"),
            ("0100007F:", "0100007F"),
            (":C358", ":+358"),
            (":C358", ":0C358"),
            (" 01 ", " 00 "),
            (" 01 ", " 0D "),
            (" 01 ", " FF "),
            ("00000003:", "0000000G:"),
            (" 1000 ", " -1 "),
            (" 1000 ", " 4294967296 "),
            (" 11261 ", " 4294967296 "),
            ("01:00000014", "01:10000000000000000"),
        ] {
            assert_eq!(with(from, to), None, "{from} as {to}");
        }
    }

    #[test]
    fn a_cut_number_is_not_taken_for_a_shorter_one() {
        let end = ROW.find(" 1 0000").unwrap() + " 1 ".len();
        for cut in 0..ROW.len() {
            let outcome = read(&ROW[..cut]);
            assert_eq!(outcome.is_some(), cut >= end, "cut at {cut}");
            assert!(outcome.is_none_or(|sample| Some(sample) == read(ROW)));
        }
    }

    #[test]
    fn big_numbers_are_capped() {
        assert_eq!(with("00000002 ", "FFFFFFFF ").unwrap().retransmits, 255);
        let timer = with(":00000014", ":FFFFFFFFFFFFFFFF").unwrap().timer;
        assert_eq!(timer.unwrap().deadline, Timestamp::from_nanos(u64::MAX));
    }

    #[test]
    fn a_code_of_a_newer_kernel_is_a_timer_still() {
        let timer = with(" 01:0", " 05:0").unwrap().timer.unwrap();
        assert_eq!(timer.kind, TimerKind::Other(5));
    }

    #[test]
    fn probes_count_under_a_timer_that_sends_probes() {
        let probes = |code: &str| {
            let row = ROW
                .replace(" 01:0", code)
                .replace("    0 11261", "    9 11261");
            read(&row).unwrap().retransmits
        };
        assert_eq!([" 01:0", " 02:0", " 04:0"].map(probes), [2, 9, 9]);
    }

    #[test]
    fn root_owns_its_sockets_and_nobody_a_mini_socket() {
        let tail = "00000000:00000000 03:0000176A 00000000     0        0 0 3 0000000057cda5aa";
        for state in ["05", "06"] {
            let row = format!("   0: 0100007F:C358 0100007F:C359 {state} {tail}");
            let sample = read(&row).unwrap();
            assert!(sample.is_mini_socket());
            assert_eq!((sample.uid, sample.inode), (None, None));
            assert_eq!(sample.queues, Queues::Absent);
        }
        let held = with("  1000 ", "     0 ").unwrap();
        assert_eq!(held.uid, Some(0));
        assert_eq!(held.descriptor(), Some(Descriptor::Held));
    }

    #[test]
    fn a_table_counts_rows_and_nothing_else() {
        let text = format!("  sl  local_address rem_address\n{ROW}\n\n   \njunk\n{ROW}");
        let mut rows = 0;
        let count = |_| rows += 1;
        let unreadable = parse_table(text.as_bytes(), Table::Tcp4, Scope::default(), AT, count);
        assert_eq!((rows, unreadable), (2, 1));
    }

    #[test]
    fn an_ipv6_address_is_four_words() {
        let row = ROW.replace("0100007F:C358", "B80D0120000000000000000001000000:C358");
        let row = row.replace("0200007F:", "0000000000000000FFFF00000200007F:");
        let sample = parse_row(row.as_bytes(), Table::Tcp6, Scope::default(), AT).unwrap();
        assert_eq!(sample.id.tuple.local.to_string(), "[2001:db8::1]:50008");
        assert_eq!(sample.id.tuple.remote.to_string(), "127.0.0.2:80");
        assert_eq!(read(&row), None);
    }
}
