//! Why something happened, in words for a tired person: the causes of steps, and marks.
//!
//! The traps: a process chooses its own name, which goes through [`plain`]. And a cause from looks
//! alone must not name a call that no look can show: a descriptor that is gone may have been
//! closed by `close()` or by the end of its process.

use crate::model::TcpState;
use crate::model::event::ResetReason;
use crate::timeline::{
    Call, Cause, Certainty, Mark, MarkKind, Process, Reason, Transition, When, Why,
};
use crate::view::duration::at_most;
use crate::view::plain::plain;

/// A step, as far as its cause's words depend on it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    pub(super) from: Option<TcpState>,
    pub(super) to: TcpState,
}

impl From<&Transition> for Step {
    fn from(step: &Transition) -> Self {
        Self {
            from: Some(step.from),
            to: step.to,
        }
    }
}

/// How surely the beginning of a state is known.
pub(super) fn certainty(certainty: Certainty, from: When) -> String {
    match (certainty, from) {
        (Certainty::Inferred, When::At(_)) => "inferred, no look has shown it".to_owned(),
        (Certainty::Inferred, _) => "inferred".to_owned(),
        (Certainty::Exact, _) | (_, When::At(_)) => "exact".to_owned(),
        (Certainty::Sampled, When::Between(from, to)) => {
            format!("within {}", at_most(to.since(from)))
        }
        (Certainty::Sampled, When::Before(_)) => "began earlier".to_owned(),
    }
}

/// What moved a state; `None` when nobody knows.
pub(super) fn words(why: &Why, step: Step) -> Option<String> {
    let what = match why.cause {
        Cause::Connect | Cause::ShutdownWr | Cause::ShutdownRdwr | Cause::ProcessExit => {
            return Some(local(why).unwrap_or_else(|| bare(why.cause).to_owned()));
        }
        Cause::Close => return Some(local(why).unwrap_or_else(|| "descriptor closed".to_owned())),
        Cause::SynReceived => "SYN received".to_owned(),
        Cause::FinReceived => "FIN received".to_owned(),
        Cause::AckReceived if step.to == TcpState::Established => "our SYN acknowledged".to_owned(),
        Cause::AckReceived => "our FIN acknowledged".to_owned(),
        Cause::ResetSent => match why.reason {
            // Who did it, and not the reset, is what happened.
            Some(reason @ (Reason::Destroyed | Reason::NeverAccepted)) => reason_words(reason)?,
            reason => with_reason("reset sent", ": ", reason, ""),
        },
        Cause::ResetReceived => match why.reason {
            Some(reason @ (Reason::Refused | Reason::Destroyed)) => reason_words(reason)?,
            reason => with_reason("reset received", ": ", reason, ""),
        },
        Cause::Timeout => match (why.reason.and_then(reason_words), step.from) {
            (Some(reason), _) => reason,
            (None, Some(TcpState::TimeWait)) => "its time was over".to_owned(),
            (None, _) => "timed out".to_owned(),
        },
        Cause::Unknown => return why.reason.and_then(reason_words).or_else(|| local(why)),
    };
    Some(match local(why) {
        Some(call) => format!("{what}, {call}"),
        None => what,
    })
}

/// The call alone, where nobody knows more.
const fn bare(cause: Cause) -> &'static str {
    match cause {
        Cause::Connect => "connect()",
        Cause::ShutdownWr => "shutdown(SHUT_WR)",
        Cause::ShutdownRdwr => "shutdown(SHUT_RDWR)",
        _ => "process ended",
    }
}

/// What the local program did.
fn local(why: &Why) -> Option<String> {
    let call = match why.call? {
        Call::Connect => "connect()",
        Call::Close => "close()",
        Call::ShutdownWr => "shutdown(SHUT_WR)",
        Call::ShutdownRdwr => "shutdown(SHUT_RDWR)",
        Call::Exit => return Some(ended(why)),
    };
    Some(match why.by {
        Some(process) => format!("{call} by {}", name(process)),
        None => call.to_owned(),
    })
}

/// `python3[4711] ended, killed by SIGKILL (9)`.
fn ended(why: &Why) -> String {
    let who = why.by.map_or_else(|| "process".to_owned(), name);
    match why.signal {
        Some(signal) => format!("{who} ended, killed by {}", signal_words(signal)),
        None => format!("{who} ended (exit)"),
    }
}

/// `nginx[812]`.
pub(super) fn name(process: Process) -> String {
    format!("{}[{}]", plain(&process.comm.text()), process.pid)
}

fn with_reason(what: &str, before: &str, reason: Option<Reason>, after: &str) -> String {
    match reason.and_then(reason_words) {
        Some(reason) => format!("{what}{before}{reason}{after}"),
        None => what.to_owned(),
    }
}

fn reason_words(reason: Reason) -> Option<String> {
    Some(
        match reason {
            Reason::UnreadData(1) => return Some("closed with 1 byte unread".to_owned()),
            Reason::UnreadData(bytes) => return Some(format!("closed with {bytes} bytes unread")),
            Reason::LingerZero => "SO_LINGER 0",
            Reason::DataAfterClose => "data came after the close",
            Reason::NeverAccepted => "never accepted: the listener was closed",
            Reason::Disconnected => "disconnected by connect(AF_UNSPEC)",
            Reason::Destroyed => "destroyed by an administrator (ss -K)",
            Reason::Refused => "refused",
            Reason::Unreachable => "unreachable",
            Reason::Kernel(reason) => return kernel_words(reason).map(str::to_owned),
        }
        .to_owned(),
    )
}

/// The kernel's own reason of a reset.
const fn kernel_words(reason: ResetReason) -> Option<&'static str> {
    Some(match reason {
        ResetReason::AbortOnClose => "closed with data unread",
        ResetReason::AbortOnLinger => "TCP_LINGER2 below 0",
        ResetReason::AbortOnData => "data came after the close",
        ResetReason::AbortOnMemory => "too many orphans, or no memory",
        ResetReason::TimeWaitSocket => "a segment that TIME_WAIT can't take",
        ResetReason::KeepaliveTimeout => "keepalives were not answered",
        ResetReason::DisconnectWithData => "disconnected with data unsent",
        ResetReason::NoSocket => "no socket here any more",
        ResetReason::Other => "a segment was refused",
        // "Given up in this state" tells nothing that the reset itself does not.
        ResetReason::State | ResetReason::Unsaid => return None,
    })
}

/// What a mark stands for.
pub(super) fn mark_words(mark: &Mark) -> String {
    let by = mark
        .by
        .map_or_else(String::new, |process| format!(" by {}", name(process)));
    match mark.kind {
        MarkKind::ResetSent(reason) => with_reason("sent a reset", " (", reason, ")"),
        MarkKind::ResetReceived => "received a reset".to_owned(),
        MarkKind::Retransmit => "retransmitted a segment".to_owned(),
        MarkKind::CloseCall => format!("close() called{by} (the FIN was out already)"),
        MarkKind::Freed => format!("descriptor closed{by}, socket freed"),
        MarkKind::NoAnswer => {
            "does not answer: its lock is held, as by a thread stuck in recv()".to_owned()
        }
    }
}

/// `SIGKILL (9)`; one without a standard name is `signal 35`.
fn signal_words(signal: u8) -> String {
    match SIGNALS.get(usize::from(signal)) {
        Some(name) if signal > 0 => format!("SIG{name} ({signal})"),
        _ => format!("signal {signal}"),
    }
}

/// By number, as asm-generic/signal.h has them.
const SIGNALS: [&str; 32] = [
    "", "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2",
    "PIPE", "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG",
    "XCPU", "XFSZ", "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;
    use crate::view::fixture::process;

    fn said(from: TcpState, to: TcpState, why: Why) -> String {
        let from = Some(from);
        words(&why, Step { from, to }).unwrap_or_default()
    }

    const NGINX: &str = "nginx";

    fn why(cause: Cause, call: Option<Call>, reason: Option<Reason>) -> Why {
        Why {
            cause,
            call,
            reason,
            signal: None,
            by: call.map(|_| process(NGINX, 812)),
        }
    }

    #[test]
    fn causes_are_told_in_words() {
        use TcpState::{
            Close, CloseWait, Closing, Established, FinWait1, FinWait2, LastAck, SynRecv, SynSent,
            TimeWait,
        };
        let of = |cause| why(cause, None, None);
        let reset = |reason| why(Cause::ResetSent, None, Some(reason));
        for (from, to, why, words) in [
            (
                Close,
                SynSent,
                why(Cause::Connect, Some(Call::Connect), None),
                "connect() by nginx[812]",
            ),
            (Close, SynSent, of(Cause::Connect), "connect()"),
            (Close, SynRecv, of(Cause::SynReceived), "SYN received"),
            (
                SynSent,
                Established,
                of(Cause::AckReceived),
                "our SYN acknowledged",
            ),
            (
                Established,
                FinWait1,
                why(Cause::Close, Some(Call::Close), None),
                "close() by nginx[812]",
            ),
            (Established, FinWait1, of(Cause::Close), "descriptor closed"),
            (
                Established,
                FinWait1,
                why(Cause::ShutdownWr, Some(Call::ShutdownWr), None),
                "shutdown(SHUT_WR) by nginx[812]",
            ),
            (
                CloseWait,
                LastAck,
                of(Cause::ShutdownRdwr),
                "shutdown(SHUT_RDWR)",
            ),
            (
                FinWait1,
                FinWait2,
                of(Cause::AckReceived),
                "our FIN acknowledged",
            ),
            (FinWait1, Closing, of(Cause::FinReceived), "FIN received"),
            (
                LastAck,
                Close,
                of(Cause::AckReceived),
                "our FIN acknowledged",
            ),
            (
                Established,
                Close,
                why(
                    Cause::ResetSent,
                    Some(Call::Close),
                    Some(Reason::UnreadData(4000)),
                ),
                "reset sent: closed with 4000 bytes unread, close() by nginx[812]",
            ),
            (
                Established,
                Close,
                reset(Reason::LingerZero),
                "reset sent: SO_LINGER 0",
            ),
            (
                FinWait2,
                Close,
                reset(Reason::DataAfterClose),
                "reset sent: data came after the close",
            ),
            (
                FinWait2,
                Close,
                reset(Reason::Kernel(ResetReason::Unsaid)),
                "reset sent",
            ),
            (
                Established,
                Close,
                reset(Reason::NeverAccepted),
                "never accepted: the listener was closed",
            ),
            (
                Established,
                Close,
                reset(Reason::Destroyed),
                "destroyed by an administrator (ss -K)",
            ),
            (
                Established,
                Close,
                of(Cause::ResetReceived),
                "reset received",
            ),
            (
                SynSent,
                Close,
                why(Cause::ResetReceived, None, Some(Reason::Refused)),
                "refused",
            ),
            (
                SynSent,
                Close,
                why(Cause::Timeout, None, Some(Reason::Unreachable)),
                "unreachable",
            ),
            (SynSent, Close, of(Cause::Timeout), "timed out"),
            (TimeWait, Close, of(Cause::Timeout), "its time was over"),
            (TimeWait, Close, of(Cause::Unknown), ""),
        ] {
            assert_eq!(said(from, to, why), words);
        }
    }

    #[test]
    fn a_process_that_ended_is_told_from_one_that_closed() {
        let killed = |signal, by| Why {
            cause: Cause::ProcessExit,
            call: Some(Call::Exit),
            reason: None,
            signal,
            by,
        };
        let python = Some(process("python3", 4711));
        let said = |why| said(TcpState::Established, TcpState::FinWait1, why);
        assert_eq!(
            said(killed(Some(9), python)),
            "python3[4711] ended, killed by SIGKILL (9)"
        );
        assert_eq!(said(killed(None, python)), "python3[4711] ended (exit)");
        assert_eq!(said(killed(None, None)), "process ended (exit)");
        assert_eq!(
            said(killed(Some(35), python)),
            "python3[4711] ended, killed by signal 35"
        );
        assert_eq!(signal_words(31), "SIGSYS (31)");
        let aborted = Why {
            cause: Cause::ResetSent,
            reason: Some(Reason::UnreadData(1)),
            ..killed(Some(15), python)
        };
        assert_eq!(
            said(aborted),
            "reset sent: closed with 1 byte unread, python3[4711] ended, killed by SIGTERM (15)"
        );
    }

    #[test]
    fn marks_are_told_in_words_and_names_are_harmless() {
        let mark = |kind, by| {
            mark_words(&Mark {
                at: Timestamp::default(),
                kind,
                by,
            })
        };
        let evil = Some(process("\u{1b}[2Jx", 1));
        for (kind, by, words) in [
            (MarkKind::Retransmit, None, "retransmitted a segment"),
            (MarkKind::ResetReceived, None, "received a reset"),
            (MarkKind::ResetSent(None), None, "sent a reset"),
            (
                MarkKind::ResetSent(Some(Reason::LingerZero)),
                None,
                "sent a reset (SO_LINGER 0)",
            ),
            (
                MarkKind::ResetSent(Some(Reason::Kernel(ResetReason::State))),
                None,
                "sent a reset",
            ),
            (
                MarkKind::CloseCall,
                evil,
                "close() called by \\u{1b}[2Jx[1] (the FIN was out already)",
            ),
            (MarkKind::Freed, None, "descriptor closed, socket freed"),
        ] {
            assert_eq!(mark(kind, by), words);
        }
    }

    #[test]
    fn a_time_that_is_exact_does_not_make_a_state_seen() {
        let at = When::At(Timestamp::default());
        assert_eq!(certainty(Certainty::Exact, at), "exact");
        assert_eq!(
            certainty(Certainty::Inferred, at),
            "inferred, no look has shown it"
        );
    }
}
