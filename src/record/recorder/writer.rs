//! The recorder's thread: observations into lines, lines into files, one file after the other.
//!
//! Lines are written when nothing more is waiting, or enough of them are, and once a second the
//! disk is made to keep them: what a kill loses is what was not handed over yet, what a power cut
//! loses is a second.
//!
//! The trap: the queue's room is given back when a batch is made into lines, and the lines are held
//! by us; so they are written before there are many of them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, TryRecvError};
use std::time::Duration;

use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

use crate::model::{Body, Keyframe, Observation, SourceName, Timestamp};
use crate::record::recorder::error::{RecordError, shown};
use crate::record::recorder::keyframes::Keyframes;
use crate::record::recorder::output::Output;
use crate::record::recorder::place::{Finished, Opened, Place};
use crate::record::recorder::said::Said;
use crate::record::recorder::{Ended, Order, Rotation, Summary, Surroundings, Told};
use crate::record::{Anchor, Encoder, Header};

/// How often the disk is made to keep what was written.
const SYNC_PERIOD: Duration = Duration::from_secs(1);
/// Lines are written when there are so many bytes of them.
const CHUNK: usize = 64 << 10;

/// All that the thread needs.
pub(super) struct Writer {
    pub(super) place: Place,
    pub(super) rotation: Rotation,
    pub(super) surroundings: Surroundings,
    pub(super) inbox: Receiver<Order>,
    pub(super) outbox: Sender<Told>,
    pub(super) give_back: SyncSender<Vec<Observation>>,
    /// A keyframe is wanted for another reason than ours: something was lost.
    pub(super) asked: Receiver<()>,
    pub(super) waiting: Arc<AtomicUsize>,
    /// Bytes of all files, to be shown.
    pub(super) written: Arc<AtomicU64>,
}

impl Writer {
    /// Writes until it is told to end, or can't go on; says then what it came to.
    pub(super) fn run(self, opened: Opened) {
        keep_what_files_need();
        let header = match self.inbox.recv() {
            Ok(Order::Begin(header)) => header,
            // It ended before it began.
            _ => {
                opened.discard();
                return self.tell(Summary::default(), None);
            }
        };
        let mut writing = Writing::new(&self, opened, *header);
        let failure = writing.run().err();
        let summary = writing.summary();
        self.tell(summary, failure);
    }

    fn tell(&self, summary: Summary, failure: Option<RecordError>) {
        // Who has gone does not want to know.
        let _ = self.outbox.send(Told::Ended(Ended {
            summary: Some(summary),
            failure,
        }));
        (self.surroundings.wake)();
    }

    fn notice(&self, text: String) {
        let _ = self.outbox.send(Told::Notice(text));
        (self.surroundings.wake)();
    }

    fn anchor(&self) -> Anchor {
        (self.surroundings.clock)()
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_nanos(self.anchor().monotonic_ns)
    }
}

/// Later files are made in a folder that root may write to only as root: that much is kept of the
/// capabilities, and nothing else.
fn keep_what_files_need() {
    let needed = CapabilitySet::DAC_OVERRIDE | CapabilitySet::FOWNER;
    let Ok(held) = capabilities(None) else {
        return;
    };
    // Refused, it keeps those of its user.
    let _ = set_capabilities(
        None,
        CapabilitySets {
            effective: held.effective & needed,
            permitted: held.permitted & needed,
            inheritable: CapabilitySet::empty(),
        },
    );
}

/// The file at hand, and those before it.
struct Writing<'a> {
    writer: &'a Writer,
    header: Header,
    encoder: Encoder,
    /// Lines that are not written yet.
    lines: Vec<u8>,
    output: Output,
    file: Opened,
    /// With their lengths.
    finished: VecDeque<(Finished, u64)>,
    keyframes: Keyframes,
    said: Said,
    synced: Timestamp,
    newest: Timestamp,
    /// The keyframe takes more room than a file may have: said once.
    is_cramped: bool,
    summary: Summary,
}

impl<'a> Writing<'a> {
    fn new(writer: &'a Writer, mut file: Opened, header: Header) -> Self {
        let output = Output::new(file.take_sink());
        let now = writer.now();
        Self {
            writer,
            encoder: Encoder::default(),
            lines: Vec::with_capacity(2 * CHUNK),
            output,
            file,
            finished: VecDeque::new(),
            keyframes: Keyframes::new(writer.rotation, now),
            said: Said::default(),
            synced: now,
            newest: Timestamp::from_nanos(header.clock.monotonic_ns),
            header,
            is_cramped: false,
            summary: Summary::default(),
        }
    }

    fn run(&mut self) -> Result<(), RecordError> {
        self.header_line()?;
        if let Err(error) = self.settle() {
            if self.output.written() == 0 {
                self.file.discard();
            }
            return Err(error);
        }
        self.take_orders()
    }

    /// Also of what was written before something went wrong.
    fn summary(&self) -> Summary {
        let mut summary = self.summary.clone();
        summary.bytes += self.output.written();
        summary
    }

    fn take_orders(&mut self) -> Result<(), RecordError> {
        loop {
            match self.next_order()? {
                Some(Order::Batch(batch, weight)) => self.take(batch, weight)?,
                Some(Order::End(why)) => return self.end(why),
                Some(Order::Begin(_)) | None => {}
            }
            let now = self.writer.now();
            self.sync_if_due(now)?;
            self.ask(now);
        }
    }

    /// `None` when there is something else to do first.
    fn next_order(&mut self) -> Result<Option<Order>, RecordError> {
        match self.writer.inbox.try_recv() {
            Ok(order) => return Ok(Some(order)),
            Err(TryRecvError::Disconnected) => return Ok(Some(Order::End("stopped"))),
            Err(TryRecvError::Empty) => {}
        }
        self.write_out()?;
        let patience = self.patience();
        match self.writer.inbox.recv_timeout(patience) {
            Ok(order) => Ok(Some(order)),
            Err(RecvTimeoutError::Timeout) => Ok(None),
            Err(RecvTimeoutError::Disconnected) => Ok(Some(Order::End("stopped"))),
        }
    }

    fn patience(&self) -> Duration {
        let now = self.writer.now();
        let sync = self.synced.plus(SYNC_PERIOD).since(now);
        let age = self.keyframes.patience(now).unwrap_or(SYNC_PERIOD);
        // Never none at all: what is asked for may take its time.
        sync.min(age).max(Duration::from_millis(1))
    }

    fn take(&mut self, mut batch: Vec<Observation>, weight: usize) -> Result<(), RecordError> {
        let now = self.writer.now();
        for observation in batch.drain(..) {
            self.observation(&observation, now)?;
        }
        self.writer.waiting.fetch_sub(weight, Ordering::Relaxed);
        // Full, it is dropped here.
        let _ = self.writer.give_back.try_send(batch);
        Ok(())
    }

    fn observation(
        &mut self,
        observation: &Observation,
        now: Timestamp,
    ) -> Result<(), RecordError> {
        match &observation.body {
            // Asked for twice. It says nothing that is not there already.
            Body::Keyframe(_) if !self.keyframes.is_awaited() => return Ok(()),
            Body::Keyframe(keyframe) if self.keyframes.turns_with_keyframe(now) => {
                self.turn(observation, keyframe, now)?;
            }
            body => {
                if self.keyframes.must_turn() {
                    self.turn_without_keyframe(observation.at, now)?;
                }
                let before = self.lines.len();
                self.encoder.observation(observation, &mut self.lines);
                if let Body::Keyframe(keyframe) = body {
                    self.holders_again(keyframe, observation.at);
                }
                let size = (self.lines.len() - before) as u64;
                self.keyframes.wrote(size, now);
                if matches!(body, Body::Keyframe(_)) {
                    self.keyframes.came(now, size);
                }
            }
        }
        self.said.note(observation);
        self.newest = self.newest.max(observation.at);
        // Our own words are none of the run's.
        let is_ours = observation.source == SourceName::Recording;
        self.summary.observations += u64::from(!is_ours);
        if self.lines.len() >= CHUNK {
            self.write_out()?;
        }
        Ok(())
    }

    /// A keyframe shows who is there, and not who holds them.
    fn holders_again(&mut self, keyframe: &Keyframe, at: Timestamp) {
        for observation in self.said.holders_again(keyframe, at) {
            self.encoder.observation(&observation, &mut self.lines);
        }
    }

    fn header_line(&mut self) -> Result<(), RecordError> {
        self.encoder
            .header(&self.header, &mut self.lines)
            .map_err(RecordError::Header)
    }

    /// The next file begins, with all that who reads it alone has to know.
    fn turn(
        &mut self,
        told: &Observation,
        keyframe: &Keyframe,
        now: Timestamp,
    ) -> Result<(), RecordError> {
        self.write_out()?;
        let anchor = self.next_header(told.at)?;
        for observation in self.said.again(told.at, anchor) {
            self.encoder.observation(&observation, &mut self.lines);
        }
        self.encoder.observation(told, &mut self.lines);
        self.holders_again(keyframe, told.at);
        let beginning = self.lines.len() as u64;
        self.keyframes.turn(now, beginning);
        self.say_when_cramped(beginning);
        self.go_on_in_the_next()
    }

    /// No complete look came in all that time.
    fn turn_without_keyframe(&mut self, at: Timestamp, now: Timestamp) -> Result<(), RecordError> {
        self.write_out()?;
        self.next_header(at)?;
        let lost = Observation {
            at,
            host: 0,
            source: SourceName::Recording,
            body: Body::Lost {
                count: None,
                why: "no complete look came in time: this file begins without a keyframe".into(),
            },
        };
        self.encoder.observation(&lost, &mut self.lines);
        self.keyframes
            .turn_without_keyframe(now, self.lines.len() as u64);
        self.go_on_in_the_next()
    }

    /// What is in `lines` from here on is the next file's.
    fn next_header(&mut self, at: Timestamp) -> Result<Anchor, RecordError> {
        self.header.part += 1;
        self.header.clock = back_to(at, self.writer.anchor());
        self.header.sources = self.said.sources();
        self.header_line()?;
        Ok(self.header.clock)
    }

    /// The next file is whole on the disk before the one at hand is ended, and has its name only
    /// then: a kill leaves no empty one, and where there can't be another, the last one is one that
    /// broke off.
    fn go_on_in_the_next(&mut self) -> Result<(), RecordError> {
        let mut next = self.writer.place.open_part(self.header.part)?;
        let mut output = Output::new(next.take_sink());
        let begun = output
            .write(&self.lines)
            .and_then(|()| output.sync())
            .map_err(|error| cannot_write(&next, error))
            .and_then(|()| self.end_part())
            .and_then(|()| next.settle().map_err(|error| cannot_write(&next, error)));
        self.lines.clear();
        if let Err(error) = begun {
            next.discard();
            return Err(error);
        }
        let before = std::mem::replace(&mut self.file, next);
        let bytes = std::mem::replace(&mut self.output, output).written();
        self.finished
            .extend(before.finished().map(|file| (file, bytes)));
        self.summary.bytes += bytes;
        self.summary.files += 1;
        self.synced = self.writer.now();
        self.remove_the_oldest();
        Ok(())
    }

    /// The file at hand is at its end, and others follow.
    fn end_part(&mut self) -> Result<(), RecordError> {
        let mut last = Vec::new();
        Encoder::default().end(self.newest, "rotated", &mut last);
        self.output
            .write(&last)
            .and_then(|()| self.output.sync())
            .map_err(|error| cannot_write(&self.file, error))
    }

    /// The first lines of the first file go to the disk, and the file gets its name.
    fn settle(&mut self) -> Result<(), RecordError> {
        self.write_out()?;
        self.output
            .sync()
            .and_then(|()| self.file.settle())
            .map_err(|error| cannot_write(&self.file, error))?;
        self.summary.files = 1;
        self.synced = self.writer.now();
        Ok(())
    }

    fn remove_the_oldest(&mut self) {
        let Some(most) = self.writer.rotation.max_files else {
            return;
        };
        // The one at hand is one of them.
        while self.finished.len() >= most.max(1) as usize {
            let Some((oldest, bytes)) = self.finished.pop_front() else {
                return;
            };
            match oldest.remove() {
                Ok(()) => {
                    self.summary.files_removed += 1;
                    self.summary.bytes_removed += bytes;
                }
                Err(error) => {
                    let path = shown(oldest.path());
                    self.writer
                        .notice(format!("{path}: can't remove it: {error}"));
                }
            }
        }
    }

    fn say_when_cramped(&mut self, beginning: u64) {
        let is_cramped = self
            .writer
            .rotation
            .max_size
            .is_some_and(|most| beginning.saturating_mul(2) > most);
        if is_cramped && !self.is_cramped {
            self.is_cramped = true;
            self.writer.notice(format!(
                "all sockets together take {beginning} bytes, so that files grow beyond --max-size"
            ));
        }
    }

    fn ask(&mut self, now: Timestamp) {
        if self.writer.asked.try_iter().count() > 0 {
            // One does for all who asked.
            self.keyframes.want();
            (self.writer.surroundings.ask_holders)();
        }
        if self.keyframes.is_wanted(now) {
            (self.writer.surroundings.ask_keyframe)();
        }
    }

    fn write_out(&mut self) -> Result<(), RecordError> {
        let written = self.output.write(&self.lines);
        self.lines.clear();
        let bytes = self.summary.bytes + self.output.written();
        self.writer.written.store(bytes, Ordering::Relaxed);
        written.map_err(|error| cannot_write(&self.file, error))
    }

    fn sync_if_due(&mut self, now: Timestamp) -> Result<(), RecordError> {
        if now.since(self.synced) < SYNC_PERIOD {
            return Ok(());
        }
        self.write_out()?;
        self.synced = now;
        self.output
            .sync()
            .map_err(|error| cannot_write(&self.file, error))
    }

    fn end(&mut self, why: &str) -> Result<(), RecordError> {
        let at = self.newest.max(self.writer.now());
        self.encoder.end(at, why, &mut self.lines);
        self.write_out()?;
        self.output
            .sync()
            .map_err(|error| cannot_write(&self.file, error))
    }
}

fn cannot_write(file: &Opened, error: std::io::Error) -> RecordError {
    let path = file.path.clone();
    RecordError::Write { path, error }
}

/// The same moment on both clocks, a little earlier.
fn back_to(at: Timestamp, anchor: Anchor) -> Anchor {
    let now = Timestamp::from_nanos(anchor.monotonic_ns);
    let behind = crate::model::time::nanos_of(now.since(at));
    Anchor {
        monotonic_ns: at.nanos(),
        realtime_ns: anchor.realtime_ns.saturating_sub(behind),
    }
}
