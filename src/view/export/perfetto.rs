//! Events for the Perfetto UI, in the JSON that it and chrome://tracing open: a process a
//! connection, a track an end, a slice a state, an instant a mark.
//!
//! Times are microseconds since the first observation, with the nanoseconds behind the point: so
//! they are small enough for a reader that takes them for floating-point numbers, and the end of a
//! slice is the begin of the next to the last digit. A state counts from the moment it was seen;
//! how much earlier it can have begun stands in the slice's `args`. The trap: such a reader gives
//! slices of no length no place, so each track's are written in the order of time.

use serde_json::{Value, json};

use crate::model::{TcpState, Timestamp};
use crate::timeline::{Call, Mark, Reason, Side, Track};
use crate::view::cause;
use crate::view::export::{held_at, holder, named, sureness, what};
use crate::view::json::inert;
use crate::view::owners;
use crate::view::plain::plain;
use crate::view::report::findings::{Told, end_of, of_shown};
use crate::view::report::{About, Shown, Summary};
use crate::view::{MULTIPATH, verdict};

pub(super) fn head(about: &About, summary: &Summary, out: &mut String) -> serde_json::Result<()> {
    out.push_str("{\"displayTimeUnit\":\"ns\",\n\"otherData\":");
    let clock = about.clock.anchor();
    let recordings: Vec<Value> = about
        .recordings
        .iter()
        .map(|recording| {
            json!({
                "files": recording.files.join(" "),
                "host": recording.host,
                "kernel": recording.kernel,
                "filter": recording.filter,
                "tcpwatch": recording.tcpwatch,
            })
        })
        .collect();
    let mut other = json!({
        "tcpwatch": env!("CARGO_PKG_VERSION"),
        "what": what(about),
        "zero_monotonic_ns": about.first.nanos(),
        "zero_utc": about.clock.utc(about.first),
        "clock_monotonic_ns": clock.map(|(monotonic, _)| monotonic.nanos()),
        "clock_realtime_ns": clock.map(|(_, realtime)| realtime),
        "recordings": recordings,
        "losses": summary.totals.losses,
    });
    if !about.clocks.is_empty() {
        other["clocks"] = sentences(about).into();
    }
    out.push_str(&inert(serde_json::to_string(&other)?));
    out.push_str(",\n\"traceEvents\":[\n");
    push(
        out,
        &json!({"ph": "M", "name": "process_name", "pid": 0, "tid": 0, "args": {"name": "tcpwatch"}}),
        true,
    )
}

/// What is to be said of the clocks. The page shows texts only.
fn sentences(about: &About) -> String {
    let all: Vec<&str> = about
        .clocks
        .iter()
        .map(|word| word.sentence.as_str())
        .collect();
    all.join("; ")
}

pub(super) fn tail(about: &About, summary: &Summary, out: &mut String) -> serde_json::Result<()> {
    for loss in summary.losses.told() {
        let event = instant(
            &format!("lost: {}", plain(&loss.why)),
            (0, 0),
            about,
            loss.at,
            "g",
            json!({"source": loss.source.token(), "count": loss.count, "recording": loss.host}),
        );
        push_timed(out, &event, &[("ts", since(about, loss.at))])?;
    }
    out.push_str("\n]}\n");
    Ok(())
}

pub(super) fn connection(
    shown: &Shown<'_>,
    about: &About,
    out: &mut String,
) -> serde_json::Result<()> {
    let connection = shown.connection;
    let pid = connection.id().0;
    let [a, b] = Side::BOTH.map(|side| connection.endpoint(side));
    let name = format!("#{pid} {a} -> {b}");
    let meta = |what: &str, tid: u64, args: Value| json!({"ph": "M", "name": what, "pid": pid, "tid": tid, "args": args});
    push(out, &meta("process_name", 0, json!({"name": name})), false)?;
    push(
        out,
        &meta("process_sort_index", 0, json!({"sort_index": pid})),
        false,
    )?;
    for (side, track) in connection.visible() {
        let tid = tid_of(side);
        let who = holder(track).map_or_else(String::new, |by| format!(" {by}"));
        let name = format!("{} {}{who}", side.letter(), connection.endpoint(side));
        push(out, &meta("thread_name", tid, json!({"name": name})), false)?;
        push(
            out,
            &meta("thread_sort_index", tid, json!({"sort_index": tid})),
            false,
        )?;
    }
    for (side, track) in connection.visible() {
        self::track(side, track, shown, about, out)?;
        held(side, shown, about, out)?;
    }
    for told in of_shown(shown) {
        found(&told, shown, about, out)?;
    }
    let Some(closed) = connection.closed() else {
        return Ok(());
    };
    let (name, args) = match verdict(connection) {
        Some(verdict) => (
            format!("closed: {}", verdict.code.token()),
            json!({
                "verdict": verdict.code.token(),
                "first_closer": verdict.first_closer.map(Side::token),
                "how": verdict.how.map(|how| how.token()),
                "signal": verdict.signal,
                "lost_bytes": verdict.lost_bytes,
                "sentence": verdict.sentence,
            }),
        ),
        None => ("closed".to_owned(), json!({"sentence": MULTIPATH})),
    };
    if shown.from.is_some_and(|from| closed < from) {
        return Ok(());
    }
    // On the track of an end that is there.
    let tid = connection
        .visible()
        .next()
        .map_or(0, |(side, _)| tid_of(side));
    let event = instant(&name, (pid, tid), about, closed, "p", args);
    push_timed(out, &event, &[("ts", since(about, closed))])
}

/// An instant for each change of an end's holders.
fn held(side: Side, shown: &Shown<'_>, about: &About, out: &mut String) -> serde_json::Result<()> {
    let place = (shown.connection.id().0, tid_of(side));
    for (at, words) in owners::changes(shown.connection, side) {
        if shown.from.is_some_and(|from| at < from) {
            continue;
        }
        let event = instant(&words, place, about, at, "t", json!({"at_ns": at.nanos()}));
        push_timed(out, &event, &[("ts", since(about, at))])?;
    }
    Ok(())
}

/// A finding, where it was found.
fn found(
    told: &Told,
    shown: &Shown<'_>,
    about: &About,
    out: &mut String,
) -> serde_json::Result<()> {
    let finding = &told.finding;
    let at = finding.at;
    let tid = end_of(finding, shown).map_or(0, tid_of);
    if shown.from.is_some_and(|from| at < from) {
        return Ok(());
    }
    let args = json!({
        "code": finding.code.token(),
        "severity": finding.severity.token(),
        "sentence": told.sentence(),
        "evidence": finding.evidence.join("; "),
        "advice": finding.advice,
        "over_ns": finding.over.map(Timestamp::nanos),
        "at_ns": at.nanos(),
    });
    let name = format!("{}: {}", finding.severity.token(), finding.code.token());
    let event = instant(&name, (shown.connection.id().0, tid), about, at, "t", args);
    push_timed(out, &event, &[("ts", since(about, at))])
}

const fn tid_of(side: Side) -> u64 {
    side as u64 + 1
}

/// The slices and instants of one end, in the order of time.
fn track(
    side: Side,
    track: &Track,
    shown: &Shown<'_>,
    about: &About,
    out: &mut String,
) -> serde_json::Result<()> {
    let place = (shown.connection.id().0, tid_of(side));
    let mut marks = track.marks().iter().peekable();
    let from = shown.from.unwrap_or_default();
    for index in 0..track.spans().len() {
        let span = &track.spans()[index];
        let begin = span.from.not_after();
        let end = track
            .spans()
            .get(index + 1)
            .map_or(shown.until, |next| next.from.not_after())
            .max(begin);
        while let Some(mark) = marks.next_if(|mark| mark.at < begin) {
            self::mark(mark, place, about, from, out)?;
        }
        if span.state == TcpState::Close || (end < from) {
            continue;
        }
        let begin = begin.max(from);
        let goes_on = index + 1 == track.spans().len();
        let args = args(side, index, track, shown, goes_on);
        let event = json!({
            "ph": "X", "name": span.state.name(), "cat": "state",
            "pid": place.0, "tid": place.1, "args": args,
        });
        push_timed(
            out,
            &event,
            &[
                ("ts", since(about, begin)),
                ("dur", micros(end.since(begin).as_nanos())),
            ],
        )?;
    }
    for mark in marks {
        self::mark(mark, place, about, from, out)?;
    }
    Ok(())
}

fn args(side: Side, index: usize, track: &Track, shown: &Shown<'_>, goes_on: bool) -> Value {
    let span = &track.spans()[index];
    let before = index.checked_sub(1).map(|index| track.spans()[index].state);
    let step = cause::Step {
        from: before,
        to: span.state,
    };
    let (unread, unacked) = shown.queued_at(side, span);
    let why = &span.why;
    json!({
        "certainty": span.certainty.token(),
        "begin": sureness(span),
        "not_before_ns": span.from.not_before().map(Timestamp::nanos),
        "not_after_ns": span.from.not_after().nanos(),
        "source": span.source.token(),
        "cause": why.cause.token(),
        "why": cause::words(why, step),
        "call": why.call.map(Call::token),
        "reason": why.reason.and_then(Reason::token),
        "signal": why.signal,
        "owner": why.by.map(named),
        "owners": held_at(track, span.from.not_after())
            .map(|set| owners::holders(set.holders.iter())),
        "descriptor": span.descriptor.map(crate::model::Descriptor::token),
        "unread": unread,
        "unacked": unacked,
        "goes_on": goes_on,
    })
}

fn mark(
    mark: &Mark,
    place: (u64, u64),
    about: &About,
    from: Timestamp,
    out: &mut String,
) -> serde_json::Result<()> {
    if mark.at < from {
        return Ok(());
    }
    let args = json!({
        "what": mark.kind.token(),
        "reason": mark.kind.reason().and_then(Reason::token),
        "owner": mark.by.map(named),
        "at_ns": mark.at.nanos(),
    });
    let event = instant(&cause::mark_words(mark), place, about, mark.at, "t", args);
    push_timed(out, &event, &[("ts", since(about, mark.at))])
}

fn instant(
    name: &str,
    (pid, tid): (u64, u64),
    about: &About,
    at: Timestamp,
    scope: &str,
    mut args: Value,
) -> Value {
    if let (Some(args), Some(utc)) = (args.as_object_mut(), about.clock.utc(at)) {
        args.insert("time".to_owned(), utc.into());
    }
    json!({"ph": "i", "name": name, "cat": "mark", "s": scope, "pid": pid, "tid": tid, "args": args})
}

/// Microseconds since the first observation.
fn since(about: &About, at: Timestamp) -> String {
    if at < about.first {
        return format!("-{}", micros(about.first.since(at).as_nanos()));
    }
    micros(at.since(about.first).as_nanos())
}

/// Nanoseconds as microseconds, to the last digit.
fn micros(nanos: u128) -> String {
    format!("{}.{:03}", nanos / 1000, nanos % 1000)
}

/// An event with times that no floating-point number has touched.
fn push_timed(out: &mut String, event: &Value, times: &[(&str, String)]) -> serde_json::Result<()> {
    let text = inert(serde_json::to_string(event)?);
    out.push_str(",\n{");
    for (name, time) in times {
        out.push_str(&format!("\"{name}\":{time},"));
    }
    out.push_str(text.strip_prefix('{').unwrap_or(&text));
    Ok(())
}

fn push(out: &mut String, event: &Value, is_first: bool) -> serde_json::Result<()> {
    if !is_first {
        out.push_str(",\n");
    }
    out.push_str(&inert(serde_json::to_string(event)?));
    Ok(())
}
