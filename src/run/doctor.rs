//! `tcpwatch doctor`: a look, who holds what it shows, how old it is, and the rules; then words.
//!
//! The trap: time passes while the processes are looked into, and what has gone meanwhile has not
//! grown old. So a second look follows, which confirms: what it does not show any more is not
//! reported, and what came since the first one neither, as nobody has asked who holds it. It is also what
//! tells a full accept queue from one full instant, for which a third look may be needed. With `--watch` all looks are taken in by one
//! [`Known`], so that what takes time is found as well.

pub(super) mod beside;

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::Context;
use jiff::tz::TimeZone;

use crate::cli::{Doctor, ListFormat};
use crate::diagnosis::finding::{Code, Finding};
use crate::diagnosis::{Known, News, group, health, unseen};
use crate::model::{Ask, Body, Observation, Scope, SockId, SourceName, SourceState, Timestamp};
use crate::run::doctor::beside::{answers, around};
use crate::run::live::{Message, TO_END};
use crate::run::{Outcome, lines, place, signals};
use crate::source::clock;
use crate::source::feed::Feed;
use crate::source::holders::may_hide;
use crate::timeline::{Listener, Tracker};
use crate::view::doctor::{Elsewhere, Report};
use crate::view::json::Layout;
use crate::view::wall::WallClock;
use crate::view::{Asked, json};

/// A listener that looks full is looked at again after this time, not before.
const SECOND_LOOK: Duration = Duration::from_millis(200);
/// So many connections that are over are kept while watching: a host has no more TIME_WAITs than
/// `tcp_max_tw_buckets`, mostly 65,536 and less.
const KEPT: usize = 131_072;

/// Looks, once or again and again, and says what is wrong.
pub(super) fn doctor(config: &Doctor) -> anyhow::Result<Outcome> {
    let mut doctor = Practice::open(config)?;
    let (filter, own) = (config.filter.clone(), doctor.scope);
    // Who names a namespace means that one; of its ports alone others are told.
    let looks_around = config.netns.is_none() || filter.port_groups().next().is_some();
    let around = looks_around.then(|| thread::spawn(move || around(&filter, own)));
    doctor.look()?;
    if let Some(Ok((elsewhere, not_looked_into))) = around.map(thread::JoinHandle::join) {
        doctor.elsewhere = elsewhere;
        doctor.not_looked_into = not_looked_into;
    }
    match config.watch {
        None => doctor.report(Layout::Pretty)?,
        Some(period) => doctor.watch(period)?,
    }
    Ok(match (doctor.is_alarming, doctor.is_undecided) {
        (true, _) => Outcome::Found,
        (false, true) => Outcome::CanNotTell,
        (false, false) => Outcome::Done,
    })
}

struct Practice<'a> {
    config: &'a Doctor,
    feed: Feed,
    known: Known,
    /// Where we look.
    scope: Scope,
    /// Whose holders are asked for in every look.
    inodes: BTreeSet<u32>,
    /// Whose age is to be asked for.
    undated: Vec<SockId>,
    /// When the first of the last two looks was over.
    looked: Timestamp,
    /// Other namespaces with sockets of the filter; looked for once.
    elsewhere: Vec<Elsewhere>,
    /// What of them could not be looked into.
    not_looked_into: Vec<String>,
    /// What could not be seen, as the sources say.
    missed: Vec<String>,
    /// The newest moment that is known of.
    now: Timestamp,
    /// What was found, and what is over, since the last look was reported.
    news: Vec<News>,
    /// What dates the reports, where there are several.
    wall: Option<WallClock>,
    has_reported: bool,
    /// The last report had something at or above the severity.
    is_alarming: bool,
    /// What it did not have may be hidden.
    is_undecided: bool,
}

impl<'a> Practice<'a> {
    fn open(config: &'a Doctor) -> anyhow::Result<Self> {
        let mut opening = Vec::new();
        let request = place::request(&config.filter, config.netns.as_ref())?;
        let scope = request.scope;
        let period = config.watch.unwrap_or(Duration::ZERO);
        let feed = Feed::open(config.source, request, period, &mut opening)?;
        let retention = config.watch.map_or(usize::MAX, |_| KEPT);
        let mut practice = Self {
            config,
            feed,
            known: Known::new(Tracker::new(retention), config.settings),
            scope,
            inodes: BTreeSet::new(),
            undated: Vec::new(),
            looked: Timestamp::default(),
            elsewhere: Vec::new(),
            not_looked_into: Vec::new(),
            missed: Vec::new(),
            now: Timestamp::default(),
            news: Vec::new(),
            wall: config.watch.map(|_| WallClock::new(TimeZone::system())),
            has_reported: false,
            is_alarming: false,
            is_undecided: false,
        };
        practice.take(&opening);
        Ok(practice)
    }

    /// A look, the answers to all that it leaves open, and a second look.
    fn look(&mut self) -> anyhow::Result<()> {
        self.look_once()?;
        self.looked = self.now;
        let ids = std::mem::take(&mut self.undated);
        for batch in answers(&self.inodes, &ids, self.scope)? {
            self.take(&batch);
        }
        if self.known.tracker.listeners().any(Listener::is_full) {
            wait_until(self.looked.plus(SECOND_LOOK));
        }
        self.look_once()?;
        // One that only the last look shows full: one instant, or the beginning of more.
        let looked = self.looked;
        let is_new = |listener: &Listener| listener.full_since.is_some_and(|since| since > looked);
        if self.known.tracker.listeners().any(is_new) {
            wait_until(self.now.plus(SECOND_LOOK));
            self.look_once()?;
        }
        Ok(())
    }

    fn look_once(&mut self) -> anyhow::Result<()> {
        let mut seen = Vec::new();
        self.feed.look(&mut seen)?;
        let mut asks = self.take(&seen);
        // What a look missed is asked for; the answers leave hardly anything open.
        let mut confirmed = Vec::new();
        self.feed.answer(&asks, &mut confirmed)?;
        asks.extend(self.take(&confirmed));
        for ask in asks {
            match ask {
                Ask::Holders(inode) => {
                    self.inodes.insert(inode);
                }
                Ask::NoHolders(inode) => {
                    self.inodes.remove(&inode);
                }
                Ask::Info(id) => self.undated.push(id),
                Ask::Confirm(_) | Ask::Follow(_) | Ask::Leave(_) | Ask::Keyframe => {}
            }
        }
        Ok(())
    }

    /// Takes in what was said, in the order of time; what it leaves open.
    fn take(&mut self, seen: &[Observation]) -> Vec<Ask> {
        let mut asks = Vec::new();
        for observation in seen {
            self.known.take(observation);
            asks.extend(self.known.asks());
            self.now = self.now.max(observation.at);
            self.note(observation);
        }
        asks
    }

    fn note(&mut self, observation: &Observation) {
        let source = observation.source;
        match &observation.body {
            Body::Lost { count, why } => {
                let count = count.map_or_else(String::new, |count| format!("{count} "));
                self.missed.push(format!("{source}: lost: {count}{why}"));
            }
            Body::Source(SourceState::Off { why }) => {
                self.missed.push(format!(
                    "{source} is off: {why}; /proc is read instead, which does not tell how old a \
                     state is"
                ));
            }
            _ => {}
        }
        self.news.extend_from_slice(self.known.news());
    }

    /// Whether something that is wanted was found, or is over, since this was last asked.
    fn has_news(&mut self) -> bool {
        let news = std::mem::take(&mut self.news);
        let (told, early): (Vec<News>, Vec<News>) = news
            .into_iter()
            .partition(|news| self.is_looked_into(news.finding()));
        self.news = early;
        told.iter().any(|news| self.wants(news.finding()))
    }

    /// What is asked for, of what is known by now.
    fn asked(&self) -> Asked<'_> {
        Asked::of(&self.config.filter, &self.known, self.now)
    }

    fn wants(&self, finding: &Finding) -> bool {
        self.asked().wants_finding(finding)
    }

    /// Whether it is about something that was there when the processes were looked into.
    fn is_looked_into(&self, finding: &Finding) -> bool {
        finding.subject.connections().all(|conn| {
            let connection = self.known.tracker.get(conn);
            connection.is_none_or(|connection| connection.opened() <= self.looked)
        })
    }

    /// Looks again and again until a signal comes, or nobody reads any more.
    fn watch(&mut self, period: Duration) -> anyhow::Result<()> {
        let (tell, messages) = mpsc::sync_channel(1);
        signals::spawn(TO_END, move |message| tell.try_send(message).is_ok())
            .context("install signal handlers")?;
        let mut is_first = true;
        loop {
            if self.has_news() || is_first {
                self.report(Layout::Line)?;
                is_first = false;
            }
            if lines::reader_is_gone() || is_asked_to_end(&messages, period) {
                return Ok(());
            }
            self.missed.clear();
            self.look()?;
        }
    }

    fn report(&mut self, layout: Layout) -> anyhow::Result<()> {
        let mut text = self.written(layout)?;
        if let (Some(wall), ListFormat::Text) = (&mut self.wall, self.config.format) {
            wall.note(&clock::anchor(SourceName::SockDiag));
            let gap = if self.has_reported { "\n" } else { "" };
            text = format!("{gap}{}\n{text}", wall.time_of_day(self.now));
        }
        self.has_reported = true;
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())
            .and_then(|()| out.flush())
            .context("write to standard output")
    }

    fn written(&mut self, layout: Layout) -> anyhow::Result<String> {
        let config = self.config;
        let tracker = &self.known.tracker;
        let wanted = || {
            let all = tracker.connections();
            all.filter(|connection| self.asked().wants(connection))
        };
        let findings = self.known.diagnosis.findings().filter(|finding| {
            finding.over.is_none() && self.is_looked_into(finding) && self.wants(finding)
        });
        let listeners = tracker
            .listeners()
            .filter(|listener| self.asked().wants_listener(listener));
        let report = Report {
            filter: config.filter.clone(),
            netns: config.netns.as_ref().map(ToString::to_string),
            now: self.now,
            connections: wanted().count(),
            undecided: self.undecided(),
            groups: group::group(findings, tracker, self.now),
            listeners: health(listeners, tracker),
            all_listeners: config.filter.port_groups().next().is_some(),
            unseen: unseen(wanted(), config.settings.older_than, self.now),
            missed: self.missed(),
            not_looked_for: not_looked_for(config.watch.is_some()),
            elsewhere: self.elsewhere.clone(),
            older_than: config.settings.older_than,
            severity: config.severity,
            verbose: config.verbose,
        };
        let text = match config.format {
            ListFormat::Json => json::doctor(&report, layout)? + "\n",
            ListFormat::Text => report.text(config.color),
        };
        (self.is_alarming, self.is_undecided) = (report.is_alarming(), report.undecided > 0);
        Ok(text)
    }

    /// How many connections and listeners in trouble may be of the processes asked for, for all that
    /// can be known.
    fn undecided(&self) -> usize {
        let (asked, tracker) = (self.asked(), &self.known.tracker);
        let connections = tracker.connections().filter(|connection| {
            connection.opened() <= self.looked
                && asked.is_undecided(connection, self.config.severity)
        });
        let listeners = tracker
            .listeners()
            .filter(|listener| asked.is_undecided_listener(listener));
        let in_trouble = health(listeners, tracker);
        let in_trouble = in_trouble.iter().filter(|health| health.is_in_trouble());
        match connections.count() + in_trouble.count() {
            0 => 0,
            undecided if asked.filter.expr.is_some() => undecided,
            undecided if may_hide(&asked.filter.selection.processes) => undecided,
            _ => 0,
        }
    }

    fn missed(&self) -> Vec<String> {
        let mut missed = self.missed.clone();
        missed.extend_from_slice(&self.not_looked_into);
        let dropped = self.known.diagnosis.dropped();
        if dropped > 0 {
            missed.push(format!(
                "{dropped} findings more than are kept: choose with --port or --host"
            ));
        }
        let overflows = self.known.tracker.host(0).time_wait_overflows;
        if let Some(count) = overflows.filter(|count| *count > 0) {
            missed.push(format!(
                "{count} connections ended without their TIME_WAIT since the host is up, as there \
                 was no room (net.ipv4.tcp_max_tw_buckets)"
            ));
        }
        missed
    }
}

/// Rules that looks alone can't decide. Those that need two looks are asked when there are more.
fn not_looked_for(watches: bool) -> Vec<Code> {
    let is_left_out = |code: &Code| match watches {
        true => code.is_fact(),
        false => !code.shows_in_one_look(),
    };
    Code::ALL.into_iter().filter(is_left_out).collect()
}

/// Waits. Whoever has joined a thread may be woken once for nothing.
fn wait_until(due: Timestamp) {
    loop {
        let left = due.since(clock::now());
        if left.is_zero() {
            return;
        }
        thread::park_timeout(left);
    }
}

/// Waits for the next look. Whoever is woken after a stop looks at once.
fn is_asked_to_end(messages: &Receiver<Message>, period: Duration) -> bool {
    matches!(
        messages.recv_timeout(period),
        Ok(Message::End) | Err(RecvTimeoutError::Disconnected)
    )
}
