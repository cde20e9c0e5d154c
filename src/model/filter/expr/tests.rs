//! The language: what is read, what is refused and where, and what holds of every expression.

use super::*;

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
