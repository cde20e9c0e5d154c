//! The quick thread: what must not wait for the next dump. It reads the kernel's events as they
//! come, or, where there are none, listens for freed sockets; and it looks at single ends up to a
//! thousand times a second, within a budget of CPU time.
//!
//! It sleeps in poll() until something is asked, comes in, or is due, and without end when nobody
//! is followed. Knows nothing of connections or of what follows from an observation.
//!
//! The trap is `drained`: everything up to that moment has been handed out, so it is what the
//! event source said before the lookups were made, never the time of the lookups. They are later
//! than it and wait outside until it has passed them.

mod asker;
mod batch;
mod following;
mod questions;
mod wait;

use std::os::fd::BorrowedFd;
use std::time::Duration;

use crate::model::{Body, Event, FourTuple, Observation, SockId, SourceName, Timestamp, What};
use crate::source::bpf::{Bpf, Options};
use crate::source::netns::Place;
use crate::source::sock_diag::DiagError;
use crate::source::sock_diag::destroy::{Destroy, Heard, TOO_MANY, Verdict};
use crate::source::sock_diag::follow::{Follower, Manner};
use crate::source::{Request, SourceError, clock};
pub use asker::Asker;
use asker::{Asked, channel};
pub use batch::Batch;
use batch::{batches, lost, off, running};
use following::Following;
use wait::{Gap, sharpen_timers, wait};

/// The multicast is read by the lot: not again for this long.
const DESTROY_GAP: Duration = Duration::from_millis(3);
/// The ring is read by the lot: not again for this long, unless there is more.
const RING_GAP: Duration = Duration::from_millis(2);
/// The same under load, when a pause fills it well.
const BUSY_RING_GAP: Duration = Duration::from_millis(10);
/// So many events in one go are load.
const BUSY: usize = 1000;

/// Whether the kernel's events are wanted (`--events`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Events {
    /// If they can be had.
    #[default]
    Auto,
    /// Or nothing.
    On,
    /// Not at all, for this reason.
    Off(&'static str),
}

/// What is wanted of the quick thread.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// The kernel's events.
    pub events: Events,
    /// CPU time for lookups, as a share of one core.
    pub budget: f64,
    /// Looks a second at an end that moves.
    pub rate: u32,
    /// The distance of two dumps, of which the feed makes its looks.
    pub discover: Duration,
    /// Bytes of the events' ring.
    pub ring: usize,
    /// Whether `sock_diag` may be used; the user can forbid it (`--source proc`).
    pub sock_diag: bool,
    /// Bytes of the receive queue of the destroy multicast.
    pub destroy_room: usize,
}

impl Default for Wanted {
    fn default() -> Self {
        Self {
            events: Events::Auto,
            budget: 0.05,
            rate: 1000,
            discover: Duration::from_millis(100),
            ring: 8 << 20,
            sock_diag: true,
            destroy_room: 1 << 20,
        }
    }
}

/// A source of kernel events.
pub trait EventReader: Send {
    /// Hands out what has come, and says up to which moment that is all.
    fn drain(&mut self, out: &mut Vec<Observation>) -> Timestamp;
    /// Whether a drain ended before the ring was empty.
    fn has_more(&self) -> bool;
    /// When it wants to be drained although nothing new has come.
    fn next_due(&self) -> Option<Timestamp>;
    /// Readable when there is anything in the ring.
    fn fd(&self) -> BorrowedFd<'_>;
    /// What this kernel does not let it see.
    fn limits(&self) -> Option<String>;
}

impl EventReader for Bpf {
    fn drain(&mut self, out: &mut Vec<Observation>) -> Timestamp {
        Self::drain(self, out)
    }

    fn has_more(&self) -> bool {
        Self::has_more(self)
    }

    fn next_due(&self) -> Option<Timestamp> {
        Self::next_due(self)
    }

    fn fd(&self) -> BorrowedFd<'_> {
        Self::fd(self)
    }

    fn limits(&self) -> Option<String> {
        Self::limits(self)
    }
}

/// Opens the kernel's events.
fn open_bpf(
    request: &Request,
    wanted: &Wanted,
    verifier_log: &mut Option<String>,
) -> Result<Box<dyn EventReader>, String> {
    let options = Options { ring: wanted.ring };
    match Bpf::open(request, &options) {
        Ok(bpf) => Ok(Box::new(bpf)),
        Err(error) => {
            *verifier_log = error.log().map(str::to_owned);
            Err(error.to_string())
        }
    }
}

/// The quick thread, before it runs.
pub struct Quick {
    request: Request,
    asked: Asked,
    events: Option<Box<dyn EventReader>>,
    following: Option<Following>,
    destroy: Option<Destroy>,
    destroy_gap: Gap,
    ring_gap: Gap,
    drained: Option<Timestamp>,
}

impl Quick {
    /// Opens the event source, or else the destroy multicast, and the lookups. What can't be had
    /// is said in `out` as off, with its reason: where `sock_diag` is forbidden or missing, only
    /// events run, and with neither the thread sleeps until nobody can ask any more. Must be
    /// called in the network namespace that is watched.
    ///
    /// `verifier_log` is filled when the kernel refuses the program.
    ///
    /// # Errors
    /// When events were asked for by [`Events::On`] and can't be had, or nobody could ever be
    /// woken.
    pub fn open(
        request: Request,
        wanted: Wanted,
        verifier_log: &mut Option<String>,
        out: &mut Vec<Observation>,
    ) -> Result<(Self, Asker), SourceError> {
        let events = match wanted.events {
            Events::Off(why) => {
                out.push(off(SourceName::Bpf, why.into()));
                None
            }
            choice => match open_bpf(&request, &wanted, verifier_log) {
                Ok(events) => Some(events),
                Err(why) if choice == Events::On => return Err(SourceError::Events(why)),
                Err(why) => {
                    out.push(off(SourceName::Bpf, why));
                    None
                }
            },
        };
        Self::with(events, request, &wanted, out)
    }

    /// Opens all but the event source.
    fn with(
        events: Option<Box<dyn EventReader>>,
        request: Request,
        wanted: &Wanted,
        out: &mut Vec<Observation>,
    ) -> Result<(Self, Asker), SourceError> {
        if let Some(events) = &events {
            let why = events.limits();
            out.push(running(SourceName::Bpf, RING_GAP, why));
        }
        let manner = Manner {
            rate: wanted.rate,
            discover: wanted.discover,
            events: events.is_some(),
        };
        let sock_diag = match &request.place {
            // It would show our own namespace.
            Place::Through(process) => Err(process.why()),
            Place::Own if wanted.sock_diag => Ok(()),
            Place::Own => Err("sock_diag is not to be used".into()),
        };
        let destroy = (sock_diag.is_ok() && events.is_none())
            .then(|| Destroy::open(&request, wanted.destroy_room));
        let follower = sock_diag
            .and_then(|()| Follower::open(&request, manner).map_err(|error| error.to_string()));
        let following = match follower {
            Ok(follower) => Some(Following::new(follower, manner, wanted.budget, out)),
            Err(why) => {
                out.push(off(SourceName::Follow, why));
                None
            }
        };
        let destroy = match destroy {
            Some(Ok(destroy)) => {
                out.push(running(SourceName::Destroy, DESTROY_GAP, None));
                Some(destroy)
            }
            Some(Err(error)) => {
                out.push(off(SourceName::Destroy, error.to_string()));
                None
            }
            None => None,
        };
        let (asker, asked) = channel().map_err(SourceError::Quick)?;
        let quick = Self {
            request,
            asked,
            events,
            following,
            destroy,
            destroy_gap: Gap::default(),
            ring_gap: Gap::default(),
            drained: None,
        };
        Ok((quick, asker))
    }

    /// Whether the kernel's events are read.
    pub fn events_run(&self) -> bool {
        self.events.is_some()
    }

    /// Works until nobody listens: `send` says so by returning false, and the askers by hanging
    /// up.
    ///
    /// # Errors
    /// None so far: what fails is said, and the rest goes on.
    pub fn run(mut self, mut send: impl FnMut(Batch) -> bool) -> Result<(), SourceError> {
        sharpen_timers();
        let mut out = Vec::new();
        loop {
            let [asked, freed, ring] = self.wait();
            let mut is_prompted = false;
            if asked {
                match self.take_asks() {
                    Some(prompted) => is_prompted = prompted,
                    None => return Ok(()),
                }
            }
            let now = clock::now();
            let is_drained = self.drain(ring || is_prompted, now, &mut out);
            self.hear(freed, now, &mut out);
            self.look(&mut out);
            if (is_drained || !out.is_empty()) && !self.hand_out(&mut out, &mut send) {
                return Ok(());
            }
        }
    }

    /// Sleeps until there is something to do: questions, freed sockets, events, or the time.
    fn wait(&self) -> [bool; 3] {
        let now = clock::now();
        let freed = self.destroy.as_ref().and_then(Destroy::fd);
        let ring = self.events.as_ref().map(|events| events.fd());
        let dues = [
            self.following.as_ref().and_then(Following::due),
            self.destroy.as_ref().and_then(Destroy::due),
            freed.and_then(|_| self.destroy_gap.end(now)),
            ring.and_then(|_| self.ring_gap.end(now)),
            self.events.as_ref().and_then(|events| events.next_due()),
            self.events
                .as_ref()
                .and_then(|events| events.has_more().then_some(now)),
        ];
        let until = dues.into_iter().flatten().min();
        wait(
            [
                Some(self.asked.fd()),
                freed.filter(|_| self.destroy_gap.is_over(now)),
                ring.filter(|_| self.ring_gap.is_over(now)),
            ],
            until,
        )
    }

    fn take_asks(&mut self) -> Option<bool> {
        let following = &mut self.following;
        self.asked.take(|ask| {
            if let Some(following) = following {
                following.take(ask);
            }
        })
    }

    /// Reads the events, and asks what they leave open.
    fn drain(&mut self, is_readable: bool, now: Timestamp, out: &mut Vec<Observation>) -> bool {
        let Some(events) = &mut self.events else {
            return false;
        };
        let is_due = events.next_due().is_some_and(|due| due <= now);
        if !is_readable && !is_due && !events.has_more() {
            return false;
        }
        self.drained = Some(events.drain(out));
        let gap = if out.len() > BUSY {
            BUSY_RING_GAP
        } else {
            RING_GAP
        };
        let now = clock::now();
        self.ring_gap.until(now.plus(gap));
        let mut answers = Vec::new();
        if let Some(following) = &mut self.following {
            let result = following.answer(out, now, &mut answers);
            self.go_on(result, &mut answers);
        }
        out.append(&mut answers);
        true
    }

    /// Reads who was freed, and looks at what was left of them.
    fn hear(&mut self, is_readable: bool, now: Timestamp, out: &mut Vec<Observation>) {
        let result = self.try_to_hear(is_readable, now, out);
        if let Err(error) = result {
            self.destroy = None;
            out.push(off(SourceName::Destroy, error.to_string()));
        }
    }

    fn try_to_hear(
        &mut self,
        is_readable: bool,
        now: Timestamp,
        out: &mut Vec<Observation>,
    ) -> Result<(), DiagError> {
        let Some(destroy) = &mut self.destroy else {
            return Ok(());
        };
        let is_due = destroy.due().is_some_and(|due| due <= now);
        if !is_readable && !is_due {
            return Ok(());
        }
        let mut freed = Vec::new();
        let mut heard = Heard::default();
        if is_readable {
            heard = destroy.drain(|id| freed.push(id))?;
        }
        let verdict = destroy.judge(now)?;
        if let Verdict::Left(_) = verdict {
            // What came until then.
            destroy.drain(|id| freed.push(id))?;
        }
        let now = clock::now();
        let gap = if heard.more {
            Duration::ZERO
        } else {
            DESTROY_GAP
        };
        self.destroy_gap.until(now.plus(gap));
        if heard.lost {
            out.push(lost(now));
        }
        self.tell_freed(&freed, now, out);
        let mut answers = Vec::new();
        if heard.lost
            && let Some(following) = &mut self.following
        {
            // Who is not followed is not asked for: the feed's next dump is at hand.
            let result = following.look_at_all(&mut answers);
            self.go_on(result, &mut answers);
        }
        out.append(&mut answers);
        match verdict {
            Verdict::Stay => {}
            Verdict::Left(rate) => out.push(off(
                SourceName::Destroy,
                format!(
                    "left: {rate} sockets are freed a second (more than {TOO_MANY}), listening to \
                     that would slow the host"
                ),
            )),
            Verdict::Back => out.push(running(SourceName::Destroy, DESTROY_GAP, None)),
        }
        Ok(())
    }

    /// Says who was freed, and what is there in their place.
    fn tell_freed(&mut self, freed: &[SockId], at: Timestamp, out: &mut Vec<Observation>) {
        let mut tuples: Vec<FourTuple> = Vec::new();
        for id in freed {
            let known = self.following.as_ref().and_then(|f| f.known(id));
            // Without a remote port it is a listener, a socket that was never used, or one whose
            // 4-tuple was wiped and whom nobody knows.
            let is_wanted = id.tuple.remote.port() != 0 && self.request.filter.keeps(&id.tuple);
            let Some(id) = known.or(is_wanted.then_some(*id)) else {
                continue;
            };
            tuples.push(id.tuple);
            out.push(Observation {
                host: 0,
                at,
                source: SourceName::Destroy,
                body: Body::Event(Event {
                    id,
                    what: What::Freed,
                    moment: None,
                    caller: None,
                }),
            });
        }
        if let Some(following) = &mut self.following {
            let mut answers = Vec::new();
            let result = following.look_at(&tuples, &mut answers);
            self.go_on(result, &mut answers);
            out.append(&mut answers);
        }
    }

    /// Looks at the ends whose turn it is.
    fn look(&mut self, out: &mut Vec<Observation>) {
        if let Some(following) = &mut self.following {
            let result = following.round(clock::now(), out);
            self.go_on(result, out);
        }
    }

    /// Without lookups the rest goes on.
    fn go_on(&mut self, result: Result<(), DiagError>, out: &mut Vec<Observation>) {
        if let Err(error) = result {
            self.following = None;
            out.push(off(SourceName::Follow, error.to_string()));
        }
    }

    fn hand_out(
        &mut self,
        out: &mut Vec<Observation>,
        send: &mut impl FnMut(Batch) -> bool,
    ) -> bool {
        batches(std::mem::take(out), self.drained).all(send)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::os::fd::{AsFd, OwnedFd};
    use std::sync::mpsc;
    use std::thread;

    use rustix::event::{EventfdFlags, eventfd};

    use super::batch::tests::{event, ns};
    use super::*;
    use crate::model::{Ask, Endpoint, Scope, SourceState};

    /// Events as they were put in, so many at a drain.
    struct Fake {
        ready: OwnedFd,
        events: VecDeque<Observation>,
        at_a_time: usize,
        drains: mpsc::Sender<Timestamp>,
    }

    impl EventReader for Fake {
        fn drain(&mut self, out: &mut Vec<Observation>) -> Timestamp {
            let _ = rustix::io::read(&self.ready, &mut [0; 8]);
            let part = self.at_a_time.min(self.events.len());
            out.extend(self.events.drain(..part));
            let now = clock::now();
            let _ = self.drains.send(now);
            match self.events.front() {
                Some(next) => next.at.minus(Duration::from_nanos(1)),
                None => now,
            }
        }

        fn has_more(&self) -> bool {
            !self.events.is_empty()
        }

        fn next_due(&self) -> Option<Timestamp> {
            None
        }

        fn fd(&self) -> BorrowedFd<'_> {
            self.ready.as_fd()
        }

        fn limits(&self) -> Option<String> {
            Some("a fake".into())
        }
    }

    #[test]
    fn events_are_drained_by_the_lot_and_lookups_follow_them() {
        let now = clock::now();
        let (drains, drained) = mpsc::channel();
        let fake = Fake {
            ready: eventfd(1, EventfdFlags::NONBLOCK).unwrap(),
            events: (0..10)
                .map(|n| event(now.plus(Duration::from_nanos(n))))
                .collect(),
            at_a_time: 4,
            drains,
        };
        let wake = rustix::io::dup(&fake.ready).unwrap();
        let mut opening = Vec::new();
        let wanted = Wanted::default();
        let request = Request::default();
        let (quick, asker) =
            Quick::with(Some(Box::new(fake)), request, &wanted, &mut opening).unwrap();
        assert!(quick.events_run() && quick.destroy.is_none());
        assert!(opening.iter().any(|told| told.source == SourceName::Bpf));
        let (tell, told) = mpsc::channel();
        let thread = thread::spawn(move || quick.run(|batch| tell.send(batch).is_ok()));
        let mut events = 0;
        let mut handed_out = ns(0);
        let mut answers = 0;
        while events < 10 {
            let batch = told.recv().unwrap();
            assert!(batch.observations.is_sorted_by_key(|told| told.at));
            let up_to = batch.drained.unwrap();
            assert!(up_to >= handed_out);
            for told in &batch.observations {
                match &told.body {
                    Body::Event(_) => {
                        assert!(told.at > handed_out && told.at <= up_to);
                        events += 1;
                    }
                    // Nobody has the 4-tuple: asked, and answered after the event.
                    Body::Lookup { begun, .. } => {
                        assert!(*begun > now && told.at >= *begun);
                        answers += 1;
                    }
                    other => panic!("{other:?}"),
                }
            }
            handed_out = up_to;
        }
        assert_eq!(answers, 10);
        // There was more, so it did not pause; an idle ring is not drained at all.
        let begun: Vec<Timestamp> = drained.try_iter().collect();
        assert_eq!(begun.len(), 3);
        for _ in 0..100 {
            rustix::io::write(&wake, &1_u64.to_ne_bytes()).unwrap();
            thread::park_timeout(Duration::from_micros(200));
        }
        let times: Vec<Timestamp> = drained.try_iter().collect();
        assert!(!times.is_empty());
        for pair in times.windows(2) {
            assert!(
                pair[1].since(pair[0]) >= RING_GAP,
                "woken by each: {times:?}"
            );
        }
        asker.send(&[Ask::Confirm(SockId {
            scope: Scope::default(),
            cookie: None,
            tuple: FourTuple {
                local: Endpoint::new([127, 0, 0, 1].into(), 1),
                remote: Endpoint::new([127, 0, 0, 1].into(), 2),
            },
        })]);
        let other = asker.clone();
        drop(asker);
        assert!(!thread.is_finished());
        drop(other);
        thread.join().unwrap().unwrap();
    }

    #[test]
    fn without_any_source_it_says_so_and_sleeps() {
        let wanted = Wanted {
            sock_diag: false,
            ..Wanted::default()
        };
        let mut opening = Vec::new();
        let (quick, asker) = Quick::with(None, Request::default(), &wanted, &mut opening).unwrap();
        assert!(matches!(
            &opening[..],
            [Observation {
                host: 0,
                source: SourceName::Follow,
                body: Body::Source(SourceState::Off { .. }),
                ..
            }]
        ));
        let thread = thread::spawn(move || quick.run(|_| panic!("there is nothing to say")));
        drop(asker);
        thread.join().unwrap().unwrap();
    }
}
