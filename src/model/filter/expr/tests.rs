//! The language: what is read, what is refused and where, and what holds of every expression.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::model::TcpState;

static WORDS: Words = Words {
    findings: &[
        "close-wait-leaked",
        "close-wait-unread",
        "data-lost",
        "zero-window",
    ],
    verdicts: &["orderly", "aborted", "unknown"],
    severities: &["info", "warn", "error"],
};

fn read(text: &str) -> Expr {
    match Expr::parse(text, &WORDS) {
        Ok(Some(expr)) => expr,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn an_empty_text_is_no_expression() {
    for text in ["", " ", "\t \n"] {
        assert_eq!(Expr::parse(text, &WORDS), Ok(None), "{text:?}");
    }
}

#[test]
fn every_spelling_is_one_expression() {
    for (text, canonical) in [
        ("port 50008", "port 50008"),
        ("PORT=50008", "port 50008"),
        ("port == 80, 443,8000-8099", "port 80,443,8000-8099"),
        ("port :80", "port 80"),
        ("80", "port 80"),
        (":80", "port 80"),
        ("80,443", "port 80,443"),
        ("8000-8099", "port 8000-8099"),
        ("port >= 1024", "port 1024-65535"),
        ("port<1024", "port 1-1023"),
        ("port > 1024", "port 1025-65535"),
        ("port <= 80", "port 1-80"),
        ("local_port 80", "local-port 80"),
        (
            "sport 80 and dport 443",
            "local-port 80 and remote-port 443",
        ),
        ("host 10.0.0.0/8", "host 10.0.0.0/8"),
        ("10.0.0.0/8,::1", "host 10.0.0.0/8,::1"),
        ("::1", "host ::1"),
        ("[::1]", "host ::1"),
        ("host ::ffff:10.0.0.0/104", "host 10.0.0.0/8"),
        ("src 10.0.0.7", "local-host 10.0.0.7"),
        ("dst 10.0.0.7", "remote-host 10.0.0.7"),
        ("state close-wait", "state CLOSE_WAIT"),
        ("close_wait", "state CLOSE_WAIT"),
        ("estab,time-wait", "state ESTABLISHED,TIME_WAIT"),
        ("was fin-wait-1", "was FIN_WAIT1"),
        (
            "state synchronized",
            "state ESTABLISHED,SYN_RECV,FIN_WAIT1,FIN_WAIT2,TIME_WAIT,CLOSE_WAIT,LAST_ACK,CLOSING",
        ),
        ("pid 812,813", "pid 812,813"),
        ("process nginx,\"my server\"", "process nginx,\"my server\""),
        ("process 'and'", "process \"and\""),
        ("nginx", "\"nginx\""),
        ("\"port\"", "\"port\""),
        (r#""a \"b\" \\""#, r#""a \"b\" \\""#),
        ("age > 30s", "age > 30s"),
        ("age>=1.5h", "age >= 90m"),
        ("age < 1h30m", "age < 90m"),
        ("age <= 250us", "age <= 250us"),
        ("age > 0s", "age > 0s"),
        ("unread > 64k", "unread > 64000"),
        ("unread 0", "unread = 0"),
        ("unacked >= 2MiB", "unacked >= 2097152"),
        ("finding Close-Wait-Leaked", "finding close-wait-leaked"),
        (
            "finding close-wait",
            "finding close-wait-leaked,close-wait-unread",
        ),
        ("finding any", "finding any"),
        ("data-lost", "finding data-lost"),
        ("severity >= warn", "severity >= warn"),
        ("severity error", "severity = error"),
        ("verdict aborted,unknown", "verdict aborted,unknown"),
        ("conn 5,#7,9-12", "conn 5,7,9-12"),
        ("closed", "closed"),
        ("OPEN", "open"),
        ("ipv4 or IPv6", "ipv4 or ipv6"),
        ("not process nginx", "not process nginx"),
        ("! closed", "not closed"),
        ("!!closed", "not not closed"),
        ("port != 80", "not port 80"),
        ("state!=close-wait", "not state CLOSE_WAIT"),
        ("80 && open || closed", "port 80 and open or closed"),
        ("80 or open and closed", "port 80 or open and closed"),
        ("(80 or open) and closed", "(port 80 or open) and closed"),
        ("((80))", "port 80"),
        ("(80 and open) and closed", "port 80 and open and closed"),
        ("not (80 or open)", "not (port 80 or open)"),
        ("not 80 and open", "not port 80 and open"),
        (
            "(host 10.0.0.0/8 or host ::1) and unread > 0",
            "(host 10.0.0.0/8 or host ::1) and unread > 0",
        ),
    ] {
        let expr = read(text);
        assert_eq!(expr.to_string(), canonical, "{text}");
        assert_eq!(read(canonical), expr, "{text}");
    }
}

#[test]
fn a_refusal_names_its_place_and_what_is_allowed() {
    for (text, place, message) in [
        (
            "prot 80",
            "80",
            "'80' stands beside 'prot' and nothing joins them (allowed: and, or); 'prot' is no field: did you mean 'port'?",
        ),
        ("port 80 443", "443", "'443' stands beside 'port 80'"),
        (
            "nginx closed",
            "closed",
            "'nginx' is no field (there are port, local-port,",
        ),
        (
            "stat=close",
            "=",
            "'stat' is no field: did you mean 'state'?",
        ),
        ("port 80 = 5", "=", "'=' is out of place behind 'port 80'"),
        ("(80) 443", "443", "'443' stands beside '(80)'"),
        ("port", "", "port needs a value (allowed: 1 to 65535,"),
        (
            "port and open",
            "and",
            "'and' is no value unless it is quoted",
        ),
        ("port 80,", "", "port needs a value"),
        ("port =", "", "port needs a value"),
        (
            "port 80-70",
            "80-70",
            "is empty: its first port is above its last (write it as 70-80)",
        ),
        ("port 80,x", "x", "'x' is not a port (allowed: 1 to 65535"),
        ("port 0", "0", "'0' is not a port"),
        ("port > 65535", "65535", "no port is > 65535"),
        ("port < 1", "1", "no port is < 1"),
        ("port > 80,90", "90", "port is compared with one value"),
        ("host example.com", "example.com", "is not an IP address"),
        (
            "host 10.0.0.0/40",
            "10.0.0.0/40",
            "no valid prefix length (allowed: 0 to 32)",
        ),
        ("host > 10.0.0.1", ">", "host has no order"),
        ("10.0.0.", "10.0.0.", "is not an IP address"),
        ("fe80::1::2", "fe80::1::2", "is not an IP address"),
        ("70000", "70000", "is not a port"),
        ("state close_wat", "close_wat", "did you mean CLOSE_WAIT?"),
        ("state x", "x", "is not a TCP state (allowed: ESTABLISHED,"),
        ("pid nginx", "nginx", "is not a pid (allowed: 1 to 4194304"),
        ("process \"\"", "\"\"", "a process has a name"),
        ("\"\"", "\"\"", "a process has a name"),
        ("a,b", "b", "a list needs its field (allowed: process nginx"),
        ("age 30s", "30s", "age is compared (allowed: > 30s"),
        ("age = 30s", "=", "age is compared"),
        ("age > 30", "30", "'30' has no unit, as in 30s"),
        ("age > soon", "soon", "is not a time (allowed: 500ms"),
        ("age > -1s", "-1s", "is not a time"),
        ("age > 1s,2s", "2s", "age is compared with one value"),
        (
            "unread > 5x",
            "5x",
            "is not a number of bytes (allowed: 0, 4096, 64k",
        ),
        (
            "unread > 99999999999999999999",
            "99999999999999999999",
            "is not a number of bytes",
        ),
        ("unread != 0", "!=", "write 'unread > 0"),
        (
            "finding x",
            "x",
            "'x' is no finding (allowed: any, close-wait-leaked,",
        ),
        ("finding data-lots", "data-lots", "did you mean data-lost?"),
        (
            "verdict fine",
            "fine",
            "'fine' is no verdict (allowed: any, orderly",
        ),
        (
            "severity bad",
            "bad",
            "'bad' is no severity (allowed: info, warn, error)",
        ),
        ("conn x", "x", "is not the number of a connection"),
        ("conn 9-5", "9-5", "write it as 5-9"),
        (
            "closed = 1",
            "=",
            "'closed' stands alone (allowed: closed, not closed)",
        ),
        ("(80", "(", "this '(' has no ')'"),
        ("80)", ")", "this ')' has no '('"),
        ("()", ")", "')' stands where a condition should"),
        ("80 and", "", "a condition is missing at the end"),
        ("or 80", "or", "'or' stands where a condition should"),
        ("not", "", "a condition is missing at the end"),
        ("80 & 443", "&", "'&' is written twice"),
        ("\"abc", "\"abc", "is not ended: write \" behind it"),
        ("= 5", "=", "'=' stands where a condition should"),
        ("port \u{1b}[31m", "\u{1b}[31m", "\\u{1b}"),
        ("h\u{e9} 80", "80", "stands beside"),
    ] {
        let error = Expr::parse(text, &WORDS).unwrap_err();
        assert_eq!(&text[error.range.clone()], place, "{text}: {error}");
        assert!(error.message.contains(message), "{text}: {error}");
        assert!(!error.message.contains('\n'), "{text}: {error}");
    }
    let error = Expr::parse("h\u{e9} 80", &WORDS).unwrap_err();
    assert_eq!(
        error.column("h\u{e9} 80"),
        4,
        "columns are letters, not bytes"
    );
}

#[test]
fn nothing_is_deeper_than_can_be_asked() {
    let deep = |depth: usize| format!("{}80{}", "(".repeat(depth), ")".repeat(depth));
    assert!(Expr::parse(&deep(60), &WORDS).is_ok());
    for text in [deep(100_000), "not ".repeat(100_000)] {
        let error = Expr::parse(&text, &WORDS).unwrap_err();
        assert!(error.message.contains("lie in each other"), "{error}");
    }
    let wide = vec!["80"; 10_000].join(" or ");
    assert!(Expr::parse(&wide, &WORDS).is_ok());
}

#[test]
fn the_kernel_is_given_only_what_every_match_has() {
    for (text, groups) in [
        ("port 80 and age > 30s", &["80"][..]),
        ("local-port 80 and remote-port 443", &["80", "443"]),
        ("(port 80 and open) or port 443", &["80,443"]),
        ("port 80 or open", &[]),
        ("not port 80", &[]),
        ("not not port 80", &[]),
        ("port 80 and not port 443", &["80"]),
        ("(80 or 443) and (closed or 8080)", &["80,443"]),
    ] {
        let expr = read(text);
        let found: Vec<String> = expr.port_groups().iter().map(ToString::to_string).collect();
        assert_eq!(found, groups, "{text}");
    }
    assert!(!read("port 80 and port 443").says_more_than_ports());
    assert!(read("local-port 80").says_more_than_ports());
    assert!(read("port 80 or closed").says_more_than_ports());
}

#[test]
fn only_ages_depend_on_time() {
    assert!(read("port 80 and not (closed or age > 30s)").depends_on_time());
    assert!(!read("port 80 and unread > 0").depends_on_time());
}

/// What is true of the two ends, by the term's port: 1 to 3 say of the first end, 10 to 30 of the
/// other one.
fn told(term: &Term) -> [Truth; 2] {
    let Term::Port(_, ports) = term else {
        return [Truth::No; 2];
    };
    let of = |no, yes| match () {
        () if ports.allows(yes) => Truth::Yes,
        () if ports.allows(no) => Truth::No,
        () => Truth::Unknown,
    };
    [of(1, 3), of(10, 30)]
}

#[test]
fn what_is_joined_holds_of_one_end() {
    for (text, truth) in [
        ("port 3,10", Truth::Yes),
        ("port 1,30", Truth::Yes),
        // Each is so of another end.
        ("port 3,10 and port 1,30", Truth::No),
        ("port 3,10 or port 1,30", Truth::Yes),
        ("port 1,10", Truth::No),
        ("not port 1,10", Truth::Yes),
        ("not port 3,10", Truth::No),
        // Neither end is known.
        ("port 5", Truth::Unknown),
        ("not port 5", Truth::Unknown),
        ("port 5 and port 1,10", Truth::No),
        ("port 5 or port 3,10", Truth::Yes),
        ("port 5 or port 1,10", Truth::Unknown),
        // Of the whole connection, also within an `and`.
        ("port 3,10 and not port 1,30", Truth::No),
        ("port 3,10 and not port 1,10", Truth::Yes),
    ] {
        assert_eq!(read(text).truth(&told), truth, "{text}");
    }
}

fn terms() -> impl Strategy<Value = Term> {
    let ports = vec((1..=40u16, 0..3u16), 1..3).prop_map(|ranges| {
        let mut set = PortSet::default();
        for (first, more) in ranges {
            set.extend(&PortSet::range(first, first + more).unwrap());
        }
        set
    });
    let which = || prop_oneof![Just(Which::Either), Just(Which::Local), Just(Which::Remote)];
    let compare = || {
        prop_oneof![
            Just(Compare::Less),
            Just(Compare::AtMost),
            Just(Compare::AtLeast),
            Just(Compare::More),
        ]
    };
    let states = || {
        vec(0..11usize, 1..4)
            .prop_map(|places| places.into_iter().map(|at| TcpState::ALL[at]).collect())
    };
    let names = || "[ -~é]{0,6}[!-~]";
    let codes = |among: &'static [&'static str]| {
        (1..1u64 << among.len()).prop_map(move |bits| WordSet { among, bits })
    };
    prop_oneof![
        (which(), ports).prop_map(|(which, ports)| Term::Port(which, ports)),
        (which(), vec((any::<u32>(), 0..=32u8), 1..3)).prop_map(|(which, hosts)| {
            let network = |(addr, prefix): (u32, u8)| Network {
                addr: std::net::Ipv4Addr::from_bits(addr).into(),
                prefix,
            };
            Term::Host(which, hosts.into_iter().map(network).collect())
        }),
        states().prop_map(Term::State),
        states().prop_map(Term::Was),
        vec(1..=4_194_304u32, 1..3).prop_map(|pids| Term::Process(ProcessSet {
            pids,
            names: Vec::new(),
        })),
        vec(names(), 1..3).prop_map(|names| Term::Process(ProcessSet {
            pids: Vec::new(),
            names: names.iter().map(|name| name.parse().unwrap()).collect(),
        })),
        names().prop_map(|name| Term::Named(NamePart::new(&name).unwrap())),
        (compare(), 0..=i64::MAX as u64)
            .prop_map(|(compare, nanos)| Term::Age(compare, Duration::from_nanos(nanos))),
        (compare(), any::<u64>()).prop_map(|(by, bytes)| Term::Bytes(Queue::Unread, by, bytes)),
        any::<u64>().prop_map(|bytes| Term::Bytes(Queue::Unacked, Compare::Equal, bytes)),
        codes(WORDS.findings).prop_map(Term::Finding),
        codes(WORDS.verdicts).prop_map(Term::Verdict),
        (compare(), 0..3usize).prop_map(|(compare, place)| {
            let among = WORDS.severities;
            Term::Severity(compare, Rank { among, place })
        }),
        vec((any::<u32>(), any::<u32>()), 1..3).prop_map(|ranges| {
            let ascending = |(first, more)| {
                let (first, more) = (u64::from(first), u64::from(more));
                (first, first + more)
            };
            Term::Conn(ranges.into_iter().map(ascending).collect())
        }),
        any::<bool>().prop_map(Term::Open),
        prop_oneof![Just(Family::V4), Just(Family::V6)].prop_map(Term::Family),
    ]
}

fn nodes() -> impl Strategy<Value = Node> {
    terms()
        .prop_map(Node::Term)
        .prop_recursive(5, 40, 4, |inner| {
            prop_oneof![
                vec(inner.clone(), 1..4).prop_map(Node::all),
                vec(inner.clone(), 1..4).prop_map(Node::any),
                inner.prop_map(Node::not),
            ]
        })
}

proptest! {
    #[test]
    fn what_is_printed_reads_back_as_the_same(node in nodes()) {
        let expr = Expr::of(node);
        let text = expr.to_string();
        prop_assert_eq!(Expr::parse(&text, &WORDS), Ok(Some(expr)), "{}", text);
    }

    #[test]
    fn not_is_the_contrary(node in nodes()) {
        let is_so = Expr::of(node.clone()).truth(&told);
        let is_not = Expr::of(Node::not(node.clone())).truth(&told);
        prop_assert_eq!(is_not, is_so.denied());
        let both = Expr::of(Node::any(vec![node.clone(), Node::not(node.clone())]));
        prop_assert_eq!(both.truth(&told), is_so.max(is_not));
        let never = Expr::of(Node::all(vec![node.clone(), Node::not(node)]));
        prop_assert_ne!(never.truth(&told), Truth::Yes);
    }

    /// A port that the kernel leaves out is none that can be meant.
    #[test]
    fn what_is_left_to_the_kernel_loses_nothing(node in nodes(), local in 1..=45u16, remote in 1..=45u16) {
        let expr = Expr::of(node);
        let either = |which, ports: &PortSet| {
            let (own, peer) = (ports.allows(local), ports.allows(remote));
            match which {
                Which::Either => [Truth::of(own || peer); 2],
                Which::Local => [Truth::of(own), Truth::of(peer)],
                Which::Remote => [Truth::of(peer), Truth::of(own)],
            }
        };
        let ask = |term: &Term| match term {
            Term::Port(which, ports) => either(*which, ports),
            _ => [Truth::Yes; 2],
        };
        let is_kept = expr.port_groups().iter().all(|set| set.allows(local) || set.allows(remote));
        prop_assert!(is_kept || expr.truth(&ask) != Truth::Yes, "{}", expr);
    }

    #[test]
    fn no_text_is_too_much(text in "[ -~\u{e9}\n]{0,40}", words in vec("(port|and|or|not|\\(|\\)|80|=|!=|>|age|30s|nginx|,|\")", 0..12)) {
        for text in [text, words.join(" "), words.concat()] {
            match Expr::parse(&text, &WORDS) {
                Ok(Some(expr)) => prop_assert_eq!(Expr::parse(&expr.to_string(), &WORDS), Ok(Some(expr))),
                Ok(None) => prop_assert!(text.trim().is_empty()),
                Err(error) => prop_assert!(text.get(error.range.clone()).is_some(), "{:?}", error),
            }
        }
    }
}
