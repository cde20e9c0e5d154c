//! Writes a recording while it is watched: a thread of its own behind a bounded queue.
//!
//! Whoever watches taps every observation before it is taken in, and hands the batch over when
//! nothing more is waiting: no system call, no lock and no wait a tap. The thread makes lines of
//! them, writes them as soon as its queue is empty, and has the disk keep them once a second.
//! Knows no clock: it is given one.
//!
//! The traps: a disk can stand still for seconds, and the watching must not. So the queue takes
//! [`ROOM`] and no more; what finds no room is counted, and stands in the recording as a loss, in
//! its place. And the thread may hang for ever in a write to a pipe that nobody reads, so nobody
//! waits for its end longer than [`PATIENCE`].

mod error;
mod keyframes;
mod output;
mod place;
mod said;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use crate::model::{Body, Holder, Observation, ProcessId, Sample, SockId, SourceName, Timestamp};
use crate::record::{Anchor, Header};

pub use error::RecordError;
pub use output::Sink;
pub use place::{Existing, Target, later_parts};
pub use said::sources;
use writer::Writer;

/// So many bytes of observations may wait. An event takes 288, so that it is more than four seconds
/// of a hundred thousand events a second. Once it is full, nothing more is taken until half of it is
/// free: a gap now and then, and not one after the other.
pub const ROOM: usize = 128 << 20;
/// So many observations are handed over at once, at most.
const BATCH: usize = 512;
/// How long the end of a run waits for the rest to be written.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// When a recording goes on in another file, and how many of them are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rotation {
    /// No file grows longer than this many bytes, if that can be helped.
    pub max_size: Option<u64>,
    /// No file covers more time than this, and a look.
    pub max_age: Option<Duration>,
    /// Only the newest so many files are kept.
    pub max_files: Option<u32>,
}

impl Rotation {
    /// Whether there is more than one file.
    pub const fn is_wanted(self) -> bool {
        self.max_size.is_some() || self.max_age.is_some()
    }
}

/// What is to be recorded into.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Where to.
    pub target: Target,
    /// What becomes of a file that is there already.
    pub existing: Existing,
    /// When to go on in another file.
    pub rotation: Rotation,
    /// Whether the command lines of processes are recorded, to be said in the header.
    pub cmdlines: bool,
}

/// What the recorder needs from outside.
pub struct Surroundings {
    /// Reads both clocks.
    pub clock: Box<dyn Fn() -> Anchor + Send>,
    /// Asks the source for a [`Body::Keyframe`].
    pub ask_keyframe: Box<dyn Fn() + Send>,
    /// Asks for all [`Body::Holders`] that are known: some of what was said may be lost. Behind a
    /// keyframe that nothing was lost before, we say again what we have written.
    pub ask_holders: Box<dyn Fn() + Send>,
    /// There are [`News`] to fetch. It must not block.
    pub wake: Box<dyn Fn() + Send>,
}

/// What a recording came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Observations that were written.
    pub observations: u64,
    /// Those that found no room in the queue.
    pub lost: u64,
    /// Bytes, of all files together.
    pub bytes: u64,
    /// How many files were begun.
    pub files: u32,
    /// How many of them were removed again as the oldest, and their bytes.
    pub files_removed: u32,
    /// Of those.
    pub bytes_removed: u64,
}

/// How a recording ended.
#[derive(Debug)]
pub struct Ended {
    /// What it came to. Of a thread that is stuck nothing is known.
    pub summary: Option<Summary>,
    /// Why it ended before it should have.
    pub failure: Option<RecordError>,
}

/// Something that whoever watches should be told.
#[derive(Debug, PartialEq, Eq)]
pub enum News {
    /// The queue is full: from now on observations are lost.
    Losing,
    /// There is room again; so many were lost, and the recording says so.
    Lost(u64),
    /// Something that is no reason to end.
    Notice(String),
    /// The recording has ended early, and why. What is written stays readable.
    Failed(String),
}

/// What goes to the thread.
enum Order {
    Begin(Box<Header>),
    Batch(Vec<Observation>, usize),
    End(&'static str),
}

/// What comes from it.
enum Told {
    Notice(String),
    Ended(Ended),
}

/// The end of the recorder that whoever watches holds. Dropped, it ends the recording in good
/// order too.
pub struct Recorder {
    orders: Option<Sender<Order>>,
    told: Receiver<Told>,
    /// Emptied batches, to save the allocation.
    spare: Receiver<Vec<Observation>>,
    /// Bytes that wait.
    waiting: Arc<AtomicUsize>,
    room: usize,
    batch: Vec<Observation>,
    /// Bytes that the batch holds outside of itself.
    beside: usize,
    /// What found no room, and the stamp of the last of it.
    losing: Option<(u64, Timestamp)>,
    lost: u64,
    news: Vec<News>,
    ask_keyframe: Sender<()>,
    written: Arc<AtomicU64>,
    ended: Option<Ended>,
}

impl Recorder {
    /// Makes the file, and starts the thread. Capabilities of the calling thread that creating
    /// files may need stay with the recorder's, however often files change.
    ///
    /// # Errors
    /// When there can be no such file, or there is one already.
    pub fn open(plan: &Plan, surroundings: Surroundings) -> Result<Self, RecordError> {
        let place = place::Place::of(plan)?;
        let opened = place.open_first()?;
        Self::start(place, opened, plan.rotation, surroundings)
    }

    /// Records into what is given, without rotation.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn into_sink(sink: Box<dyn Sink>, surroundings: Surroundings) -> Result<Self, RecordError> {
        let opened = place::Opened::given(sink);
        let rotation = Rotation::default();
        Self::start(place::Place::given(), opened, rotation, surroundings)
    }

    fn start(
        place: place::Place,
        opened: place::Opened,
        rotation: Rotation,
        surroundings: Surroundings,
    ) -> Result<Self, RecordError> {
        let (orders, inbox) = mpsc::channel();
        let (outbox, told) = mpsc::channel();
        let (give_back, spare) = mpsc::sync_channel(4);
        let (ask_keyframe, asked) = mpsc::channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let written = Arc::new(AtomicU64::new(0));
        let writer = Writer {
            place,
            rotation,
            surroundings,
            inbox,
            outbox,
            give_back,
            asked,
            waiting: Arc::clone(&waiting),
            written: Arc::clone(&written),
        };
        thread::Builder::new()
            .name("recorder".into())
            .spawn(move || writer.run(opened))
            .map_err(RecordError::Thread)?;
        Ok(Self {
            orders: Some(orders),
            told,
            spare,
            waiting,
            room: ROOM,
            batch: Vec::new(),
            beside: 0,
            losing: None,
            lost: 0,
            news: Vec::new(),
            ask_keyframe,
            written,
            ended: None,
        })
    }

    /// The first line, before anything is tapped. Its clock should be that of the first
    /// observation.
    pub fn begin(&mut self, header: Header) {
        self.order(Order::Begin(Box::new(header)));
    }

    /// Takes in an observation, to be handed over with others.
    #[inline]
    pub fn tap(&mut self, observation: &Observation) {
        if self.ended.is_some() {
            return;
        }
        self.beside += beside(observation);
        self.batch.push(observation.clone());
        if self.batch.len() >= BATCH {
            self.hand_over();
        }
    }

    /// Hands over what was tapped. Never waits: what finds no room is lost, and counted.
    pub fn hand_over(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let waiting = self.waiting.load(Ordering::Relaxed);
        let room = match self.losing {
            None => self.room,
            Some(_) => self.room / 2,
        };
        // What is too much for the whole room goes alone.
        if waiting > 0 && waiting + self.weight() > room {
            self.lose();
        } else {
            self.send();
        }
    }

    /// The memory that the batch takes, with the room in it that is not used.
    fn weight(&self) -> usize {
        self.batch.capacity() * size_of::<Observation>() + self.beside
    }

    fn lose(&mut self) {
        if self.losing.is_none() {
            self.news.push(News::Losing);
        }
        let (count, until) = self.losing.unwrap_or_default();
        let count = count + self.batch.len() as u64;
        let until = self.batch.drain(..).fold(until, |t, told| t.max(told.at));
        self.beside = 0;
        self.losing = Some((count, until));
    }

    fn send(&mut self) {
        let weight = self.weight();
        self.beside = 0;
        let mut batch =
            std::mem::replace(&mut self.batch, self.spare.try_recv().unwrap_or_default());
        if let Some((count, at)) = self.losing.take() {
            batch.insert(0, loss(count, at));
            self.lost += count;
            self.news.push(News::Lost(count));
            // Whoever reads on from here does not know what has been.
            let _ = self.ask_keyframe.send(());
        }
        self.waiting.fetch_add(weight, Ordering::Relaxed);
        self.order(Order::Batch(batch, weight));
    }

    fn order(&mut self, order: Order) {
        // A thread that has ended has said why.
        if let Some(orders) = &self.orders {
            let _ = orders.send(order);
        }
    }

    /// What has happened that should be told, oldest first.
    pub fn news(&mut self) -> Option<News> {
        while let Ok(told) = self.told.try_recv() {
            self.hear(told);
        }
        (!self.news.is_empty()).then(|| self.news.remove(0))
    }

    fn hear(&mut self, told: Told) {
        match told {
            Told::Notice(text) => self.news.push(News::Notice(text)),
            Told::Ended(ended) => {
                if let Some(failure) = &ended.failure {
                    self.news.push(News::Failed(failure.to_string()));
                }
                self.ended = Some(ended);
                self.batch = Vec::new();
            }
        }
    }

    /// Bytes that are written, of all files together.
    pub fn written(&self) -> u64 {
        self.written.load(Ordering::Relaxed)
    }

    /// Why the recording has ended, when it has, before it should.
    pub fn failure(&self) -> Option<&RecordError> {
        self.ended.as_ref()?.failure.as_ref()
    }

    /// Ends the recording: what waits is written, and a last line that says so, and the disk keeps
    /// it. Waits for that, but not longer than [`PATIENCE`].
    pub fn finish(mut self) -> Ended {
        self.end();
        let lost = self.lost;
        let mut ended = self.ended.take().unwrap_or(Ended {
            summary: None,
            failure: Some(RecordError::Stuck),
        });
        if let Some(summary) = &mut ended.summary {
            summary.lost = lost;
        }
        ended
    }

    fn end(&mut self) {
        if self.ended.is_none() && (!self.batch.is_empty() || self.losing.is_some()) {
            // The last of all: nothing more comes that it could crowd out.
            self.send();
        }
        self.order(Order::End("stopped"));
        self.orders = None;
        while self.ended.is_none() {
            match self.told.recv_timeout(PATIENCE) {
                Ok(told) => self.hear(told),
                Err(_) => return,
            }
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if self.orders.is_some() {
            self.end();
        }
    }
}

fn loss(count: u64, at: Timestamp) -> Observation {
    Observation {
        at,
        host: 0,
        source: SourceName::Recording,
        body: Body::Lost {
            count: Some(count),
            why: "the recorder could not keep up (a slow disk?)".into(),
        },
    }
}

/// The memory that an observation takes beside its own size.
fn beside(observation: &Observation) -> usize {
    match &observation.body {
        Body::Poll(poll) => {
            (poll.appeared.capacity() + poll.changed.capacity()) * size_of::<Sample>()
                + poll.missing.capacity() * size_of::<SockId>()
        }
        Body::Keyframe(keyframe) => keyframe.samples.capacity() * size_of::<Sample>(),
        Body::Holders(told) => {
            let fds = told.holders.iter().map(|holder| holder.fds.capacity());
            // The processes are shared with whoever watches.
            told.holders.capacity() * size_of::<Holder>()
                + fds.sum::<usize>() * size_of::<u32>()
                + told.ended.capacity() * size_of::<ProcessId>()
        }
        Body::Note { text, .. } => text.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests;
