//! Recordings from beginning to end, for who wants all of it at once: reports and exports.
//!
//! Two passes over the same files. The first learns what a head has to say (when it ends, how many
//! connections there are, how long ends were in each state), the second gives the connections one
//! by one, as the tracker lets go of them: memory does not grow with the length. The trap: both
//! must see the same, and a recording may still be written, so the second stops where the first
//! did.

use std::collections::HashMap;
use std::path::Path;

use anyhow::{Context, bail};
use jiff::tz::TimeZone;

use crate::cli::Chosen;
use crate::cli::when::{Extent, When};
use crate::diagnosis::causality::{Clocks, Finding, Pair};
use crate::model::filter::Filter;
use crate::model::{Body, FourTuple, Observation, SourceName, SourceState, Timestamp};
use crate::run::compressed::refuse_compressed;
use crate::source::replay::{Input, Options, Recorded, Replay};
use crate::timeline::{ConnId, Connection, Side, Totals, Tracker};
use crate::view::plain::plain;
use crate::view::report::{
    About, ClockWord, Losses, Queued, Read, Recording, Shown, Summary, Way, Window,
};
use crate::view::wall::WallClock;

/// What is asked for, read once.
pub(super) struct Loaded {
    /// At the beginning.
    replay: Replay,
    /// How many observations the first pass read.
    read: u64,
    wanted: Wanted,
    /// What it is about.
    pub(super) about: About,
    /// Numbers of what is shown.
    pub(super) summary: Summary,
}

impl Loaded {
    /// Reads all of what is asked for.
    pub(super) fn new(chosen: &Chosen) -> anyhow::Result<Self> {
        let inputs: Result<Vec<Input>, _> = chosen
            .files
            .iter()
            .map(|file| Input::open_whole(file))
            .collect();
        let inputs = inputs?;
        refuse_compressed(&inputs)?;
        let replay = Replay::open(inputs, &chosen.options)?;
        let window = window(chosen, &replay)?;
        let wanted = Wanted::new(chosen, &replay, window);
        let mut survey = Survey::new(&replay);
        let mut summary = Summary::default();
        let mut clocks = Clocks::default();
        let mut all = 0;
        let mut walk = Walk::new(replay.clone(), window, None);
        walk.all(|told| {
            match told {
                Told::Observation(observation) => survey.note(observation),
                Told::Connection(shown) => {
                    all += 1;
                    clocks.take(shown.connection);
                    if wanted.has(&shown) {
                        summary.take(&shown);
                    }
                }
            }
            Ok(())
        })?;
        summary.left_out = all - summary.seen;
        summary.totals = walk.totals;
        summary.losses = std::mem::take(&mut survey.losses);
        let mut about = survey.about(&walk, window, wanted.spelled(chosen));
        about.clocks = clocks
            .pairs()
            .map(|pair| clock_word(pair, &about, &chosen.options))
            .collect();
        Ok(Self {
            read: walk.read,
            about,
            replay,
            wanted,
            summary,
        })
    }

    /// Gives the connections that are wanted, one by one: first those that were dropped to bound
    /// memory, in that order, then the others by their numbers.
    pub(super) fn connections(
        &self,
        mut each: impl FnMut(&Shown<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        let mut walk = Walk::new(self.replay.clone(), self.about.window, Some(self.read));
        walk.all(|told| match told {
            Told::Connection(shown) if self.wanted.has(&shown) => each(&shown),
            Told::Connection(_) | Told::Observation(_) => Ok(()),
        })
    }
}

/// The part of the time that is asked for.
fn window(chosen: &Chosen, replay: &Replay) -> anyhow::Result<Window> {
    let extent = extent(replay);
    let moment = |when: Option<&When>, option: &str| {
        when.map(|when| when.resolve(&extent).with_context(|| option.to_owned()))
            .transpose()
    };
    let window = Window {
        from: moment(chosen.from.as_ref(), "--from")?,
        to: moment(chosen.to.as_ref(), "the end that was asked for")?,
    };
    if let (Some(from), Some(to)) = (window.from, window.to)
        && from > to
    {
        bail!("--from is after the end that was asked for: nothing lies between");
    }
    if window.to.is_some_and(|to| to < extent.begin) {
        bail!("the recording begins after the end that was asked for");
    }
    Ok(window)
}

fn extent(replay: &Replay) -> Extent {
    let begin = replay.recordings().map(|one| one.first).min();
    let end = replay
        .recordings()
        .map(|one| one.last.unwrap_or(one.newest))
        .max();
    Extent {
        begin: begin.unwrap_or_default(),
        end: end.unwrap_or_default(),
        anchor: replay.recordings().next().map(anchor),
        zone: TimeZone::system(),
    }
}

fn anchor(recorded: &Recorded) -> (Timestamp, u64) {
    let clock = recorded.header.clock;
    let at = Timestamp::from_nanos(clock.monotonic_ns).shifted(recorded.shift);
    (at, clock.realtime_ns)
}

/// Which connections are wanted.
struct Wanted {
    /// One for all that the user said, or what each recording was made with.
    filters: Vec<Filter>,
    conns: Vec<(u64, u64)>,
    ways: Vec<Way>,
    from: Option<Timestamp>,
}

impl Wanted {
    fn new(chosen: &Chosen, replay: &Replay, window: Window) -> Self {
        let recorded = || replay.recordings().map(|one| one.header.filter.filter());
        let said = chosen.filter.clone().map(|filter| vec![filter]);
        Self {
            filters: said.unwrap_or_else(|| recorded().collect()),
            conns: chosen.conns.clone(),
            ways: chosen.ways.clone(),
            from: window.from,
        }
    }

    fn has(&self, shown: &Shown<'_>) -> bool {
        self.chooses(shown.connection)
            && (self.ways.is_empty() || self.ways.contains(&shown.way()))
            && (self.from.is_none() || shown.is_within())
    }

    fn chooses(&self, connection: &Connection) -> bool {
        let tuple = FourTuple {
            local: connection.endpoint(Side::A),
            remote: connection.endpoint(Side::B),
        };
        let host = usize::from(connection.scope().host);
        let filter = self.filters.get(host).or(self.filters.first());
        let number = connection.id().0;
        let mut ranges = self.conns.iter();
        (self.conns.is_empty() || ranges.any(|(first, last)| (first..=last).contains(&&number)))
            && filter.is_none_or(|filter| {
                filter.keeps(&tuple) && connection.is_selected_by(&filter.selection)
            })
    }

    /// What the user asked for, in words.
    fn spelled(&self, chosen: &Chosen) -> String {
        let mut words: Vec<String> = Vec::new();
        words.extend(chosen.filter.as_ref().map(Filter::to_string));
        if !self.conns.is_empty() {
            let numbers: Vec<String> = self
                .conns
                .iter()
                .map(|(first, last)| match first == last {
                    true => format!("#{first}"),
                    false => format!("#{first}-{last}"),
                })
                .collect();
            words.push(numbers.join(","));
        }
        let ways: Vec<&str> = self.ways.iter().map(|way| way.token()).collect();
        if !ways.is_empty() {
            words.push(format!("verdict {}", ways.join(",")));
        }
        words.join(", ")
    }
}

/// What is to be said of two clocks.
fn clock_word(pair: &Pair, about: &About, options: &Options) -> ClockWord {
    let recording = |host: u16| about.recordings.get(usize::from(host));
    let (mend_ns, mends_all) = match pair.finding() {
        Finding::Agree { .. } => (None, true),
        Finding::Mend { offset } => (Some(offset), true),
        Finding::Split { offset } => (Some(offset), false),
    };
    let is_twice = recording(pair.hosts.0).map(|one| &one.host)
        == recording(pair.hosts.1).map(|one| &one.host);
    // Two namespaces of one host are told apart by their files.
    let name = |host: u16| {
        let one = recording(host);
        let name = match one.and_then(|one| one.files.first()) {
            Some(file) if is_twice => Some(file),
            _ => one.map(|one| &one.host),
        };
        name.map_or_else(String::new, |name| plain(name).into_owned())
    };
    let second = recording(pair.hosts.1);
    let given = second.map_or(0, |second| given(second, pair.hosts.1, about, options));
    ClockWord {
        hosts: pair.hosts,
        connections: pair.connections,
        broken: pair.broken,
        mend_ns,
        mends_all,
        offsets_ns: pair.offsets(),
        sentence: pair.sentence(&name, given),
    }
}

/// What the user has said is to be added to the stamps of this recording, nanoseconds.
fn given(one: &Recording, host: u16, about: &About, options: &Options) -> i64 {
    let is_a_host = |name: &str| about.recordings.iter().any(|one| one.host == name);
    let is_its_file = |name: &str| {
        one.files.iter().any(|file| {
            let last = Path::new(file).file_name();
            file == name || last.is_some_and(|last| last == name)
        })
    };
    let is_meant = |of: Option<&str>| match of {
        None => host == 1,
        Some(name) if is_a_host(name) => one.host == name,
        Some(name) => is_its_file(name),
    };
    options
        .offsets
        .iter()
        .filter(|offset| is_meant(offset.of.as_deref()))
        .fold(0, |sum: i64, offset| sum.saturating_add(offset.by))
}

/// What a pass tells.
enum Told<'a> {
    Observation(&'a Observation),
    Connection(Shown<'a>),
}

/// One pass.
struct Walk {
    replay: Replay,
    tracker: Tracker,
    window: Window,
    /// Stop after so many observations.
    most: Option<u64>,
    /// How many there were.
    read: u64,
    first: Option<Timestamp>,
    last: Timestamp,
    /// The window ends before the recording does.
    stopped: bool,
    queued: HashMap<ConnId, Vec<Queued>>,
    totals: Totals,
}

impl Walk {
    fn new(replay: Replay, window: Window, most: Option<u64>) -> Self {
        let mut tracker = Tracker::default();
        tracker.hand_out_the_retired();
        Self {
            replay,
            tracker,
            window,
            most,
            read: 0,
            first: None,
            last: Timestamp::default(),
            stopped: false,
            queued: HashMap::new(),
            totals: Totals::default(),
        }
    }

    fn all(&mut self, mut tell: impl FnMut(Told<'_>) -> anyhow::Result<()>) -> anyhow::Result<()> {
        while self.most.is_none_or(|most| self.read < most) {
            let Some(observation) = self.replay.next_observation()? else {
                break;
            };
            if self.window.to.is_some_and(|to| observation.at > to) {
                self.stopped = true;
                break;
            }
            self.read += 1;
            self.first.get_or_insert(observation.at);
            // What was dropped was known until then.
            let before = self.last;
            self.last = self.last.max(observation.at);
            self.take(&observation);
            self.give_the_dropped(before, &mut tell)?;
            tell(Told::Observation(&observation))?;
        }
        self.totals = self.tracker.totals();
        if let Some(to) = self.window.to.filter(|_| self.stopped) {
            self.last = self.last.max(to);
        }
        for connection in self.tracker.connections() {
            let queued = self.queued.get(&connection.id());
            tell(Told::Connection(Shown {
                connection,
                until: self.last,
                dropped: false,
                from: self.window.from,
                queued: queued.map_or(&[], Vec::as_slice),
            }))?;
        }
        Ok(())
    }

    fn take(&mut self, observation: &Observation) {
        self.tracker.ingest(observation);
        for change in self.tracker.changes() {
            if let Some(queued) = Queued::of(&change) {
                self.queued.entry(change.conn()).or_default().push(queued);
            }
        }
        self.replay.answer(self.tracker.asks());
    }

    fn give_the_dropped(
        &mut self,
        until: Timestamp,
        tell: &mut impl FnMut(Told<'_>) -> anyhow::Result<()>,
    ) -> anyhow::Result<()> {
        for connection in self.tracker.retired() {
            let queued = self.queued.remove(&connection.id()).unwrap_or_default();
            tell(Told::Connection(Shown {
                connection: &connection,
                until,
                dropped: true,
                from: self.window.from,
                queued: &queued,
            }))?;
        }
        Ok(())
    }
}

/// What the first pass learns beside numbers.
struct Survey {
    clock: WallClock,
    /// What each source of each recording said last of itself.
    sources: Vec<Vec<(SourceName, SourceState)>>,
    losses: Losses,
}

impl Survey {
    fn new(replay: &Replay) -> Self {
        let mut clock = WallClock::new(TimeZone::system());
        if let Some((at, realtime_ns)) = replay.recordings().next().map(anchor) {
            clock.note(&Observation {
                at,
                host: 0,
                source: SourceName::Recording,
                body: Body::Clock { realtime_ns },
            });
        }
        Self {
            clock,
            sources: vec![Vec::new(); replay.recordings().len()],
            losses: Losses::default(),
        }
    }

    fn note(&mut self, observation: &Observation) {
        self.clock.note(observation);
        self.losses.note(observation);
        let sources = self.sources.get_mut(usize::from(observation.host));
        if let (Body::Source(state), Some(sources)) = (&observation.body, sources) {
            match sources
                .iter_mut()
                .find(|(name, _)| *name == observation.source)
            {
                Some((_, known)) => known.clone_from(state),
                None => sources.push((observation.source, state.clone())),
            }
        }
    }

    fn about(self, walk: &Walk, window: Window, filter: String) -> About {
        let recordings = walk
            .replay
            .recordings()
            .zip(self.sources)
            .map(|(recorded, sources)| recording(recorded, sources, walk.stopped))
            .collect();
        About {
            recordings,
            clock: self.clock,
            first: walk.first.unwrap_or(walk.last),
            last: walk.last,
            window,
            filter,
            clocks: Vec::new(),
        }
    }
}

fn recording(
    recorded: &Recorded,
    sources: Vec<(SourceName, SourceState)>,
    stopped: bool,
) -> Recording {
    let header = &recorded.header;
    let skipped = &recorded.skipped;
    let missing: u64 = recorded
        .missing
        .iter()
        .map(|parts| u64::from(parts.end() - parts.start()) + 1)
        .sum();
    Recording {
        files: recorded
            .files
            .iter()
            .map(|file| file.display().to_string())
            .collect(),
        host: header.host.clone(),
        kernel: header.kernel.clone(),
        tcpwatch: header.tcpwatch.clone(),
        netns: header.netns,
        filter: header.filter.text.clone(),
        sources,
        read: if recorded.ended {
            Read::Ended
        } else if stopped {
            Read::Partly
        } else {
            Read::CutOff(recorded.torn as u64)
        },
        shift: recorded.shift,
        skipped: vec![
            (
                "unreadable",
                "lines that could not be read",
                skipped.unreadable,
            ),
            (
                "nameless",
                "lines about sockets whose own line could not be read",
                skipped.nameless,
            ),
            (
                "misdated",
                "lines whose time could not be believed",
                skipped.misdated,
            ),
            (
                "unknown_records",
                "records of a kind that this version does not know",
                skipped.unknown_records,
            ),
            (
                "unknown_fields",
                "fields that this version does not know",
                skipped.unknown_fields,
            ),
            (
                "disordered",
                "observations that came after later ones",
                skipped.disordered,
            ),
            ("missing_parts", "parts that are not there", missing),
        ],
    }
}
