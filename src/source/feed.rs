//! Runs a source: opens the best one that works, paces its looks, hands on what it says, and
//! changes to /proc when `sock_diag` is not to be had.
//!
//! The trap: a fallback that nobody notices. Every change of source is an observation with its
//! reason, and a source that the user named is never replaced.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use crate::model::{Ask, Body, Observation, SockId, SourceName, SourceState, Timestamp};
use crate::source::netns::Place;
use crate::source::pace::Pace;
use crate::source::proc_net::ProcNet;
use crate::source::sock_diag::SockDiag;
use crate::source::{Poller, Request, SourceError, clock};

/// Which source the user wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// The best one that works.
    Auto,
    /// This one or none.
    Only(SourceName),
}

/// The running source.
pub struct Feed {
    choice: Choice,
    request: Request,
    poller: Box<dyn Poller>,
    pace: Pace,
    /// The period that was asked for.
    asked: Duration,
    /// Why this source and not a better one.
    why: Option<String>,
    announced: Option<Announced>,
    /// Somebody asks for a keyframe, and no look since was complete.
    keyframe_asked: bool,
}

/// What was last said of the pace, so that only what differs is said.
#[derive(Clone, Copy, PartialEq)]
struct Announced {
    source: SourceName,
    period: Duration,
    cost_known: bool,
}

impl Feed {
    /// Opens a source. What there is to say of it goes to `out`.
    ///
    /// # Errors
    /// When the chosen source, or in auto the last one left, can't run.
    pub fn open(
        choice: Choice,
        request: Request,
        period: Duration,
        out: &mut Vec<Observation>,
    ) -> Result<Self, SourceError> {
        let mut why = match choice {
            Choice::Auto => None,
            Choice::Only(name) => Some(format!("--source {}", name.token().replace('_', "-"))),
        };
        let poller: Box<dyn Poller> = match (choice, &request.place) {
            (Choice::Only(SourceName::SockDiag), Place::Through(process)) => {
                let why = process.why();
                return Err(SourceError::Outside(format!(
                    "{why}; --source proc needs no right"
                )));
            }
            (Choice::Auto, Place::Through(process)) => {
                let outside = SourceError::Outside(process.why());
                out.push(turned_off(&outside, &mut why));
                Box::new(ProcNet::open(request.clone()))
            }
            (Choice::Only(SourceName::Proc), _) => Box::new(ProcNet::open(request.clone())),
            _ => match SockDiag::open(request.clone()) {
                Ok(source) => Box::new(source),
                Err(error) if choice == Choice::Auto => {
                    out.push(turned_off(&error.into(), &mut why));
                    Box::new(ProcNet::open(request.clone()))
                }
                Err(error) => return Err(error.into()),
            },
        };
        Ok(Self {
            choice,
            request,
            poller,
            pace: Pace::new(period),
            why,
            asked: period,
            announced: None,
            keyframe_asked: false,
        })
    }

    /// Looks once.
    ///
    /// # Errors
    /// When no source that may run can.
    pub fn look(&mut self, out: &mut Vec<Observation>) -> Result<(), SourceError> {
        let before = clock::thread_cpu();
        if let Err(error) = self.look_as_asked(out) {
            self.fall_back(error, out)?;
            self.look_as_asked(out)?;
        }
        self.pace.note(clock::thread_cpu().saturating_sub(before));
        self.announce(out);
        Ok(())
    }

    fn look_as_asked(&mut self, out: &mut Vec<Observation>) -> Result<(), SourceError> {
        if !self.keyframe_asked {
            return self.poller.look(out);
        }
        self.poller.look_at_all(out)?;
        let is_keyframe = |told: &Observation| matches!(told.body, Body::Keyframe(_));
        self.keyframe_asked = !out.iter().any(is_keyframe);
        Ok(())
    }

    /// Answers what the tracker wants to know. A keyframe comes with the next look.
    ///
    /// # Errors
    /// As [`Feed::look`].
    pub fn answer(&mut self, asks: &[Ask], out: &mut Vec<Observation>) -> Result<(), SourceError> {
        self.keyframe_asked |= asks.contains(&Ask::Keyframe);
        let ids: Vec<SockId> = asks.iter().filter_map(Ask::to_confirm).collect();
        if ids.is_empty() {
            return Ok(());
        }
        match self.poller.confirm(&ids, out) {
            Ok(()) => Ok(()),
            Err(error) => self.fall_back(error, out),
        }
    }

    fn fall_back(
        &mut self,
        error: SourceError,
        out: &mut Vec<Observation>,
    ) -> Result<(), SourceError> {
        if self.choice != Choice::Auto || self.poller.name() != SourceName::SockDiag {
            return Err(error);
        }
        out.push(turned_off(&error, &mut self.why));
        self.poller = Box::new(ProcNet::open(self.request.clone()));
        Ok(())
    }

    /// Says at what pace the source runs, when that is new or has changed by a fifth.
    fn announce(&mut self, out: &mut Vec<Observation>) {
        let now = Announced {
            source: self.poller.name(),
            period: self.pace.period(),
            cost_known: self.pace.cost().is_some(),
        };
        let is_news = self.announced.is_none_or(|before| {
            before.source != now.source
                || before.cost_known != now.cost_known
                || before.period.abs_diff(now.period) * 5 > before.period
        });
        if !is_news {
            return;
        }
        self.announced = Some(now);
        out.push(Observation {
            host: 0,
            at: clock::now(),
            source: now.source,
            body: Body::Source(SourceState::Running {
                period: now.period,
                cost: self.pace.cost(),
                why: self.why(now.period),
            }),
        });
    }

    /// Why this source, and why not as often as asked.
    fn why(&self, period: Duration) -> Option<String> {
        let stretched = (period > self.asked).then(|| {
            format!(
                "stretched from {:?}: a twentieth of a core at most",
                self.asked
            )
        });
        let reasons: Vec<String> = self.why.clone().into_iter().chain(stretched).collect();
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }

    /// Looks and answers until nobody listens: `send` says so by returning false, and the asking
    /// side by hanging up.
    ///
    /// # Errors
    /// When no source that may run can.
    pub fn run(
        mut self,
        asks: &Receiver<Vec<Ask>>,
        mut send: impl FnMut(Vec<Observation>) -> bool,
    ) -> Result<(), SourceError> {
        let mut due: Option<Timestamp> = None;
        loop {
            let begun = clock::now();
            let mut out = Vec::new();
            if due.is_some_and(|due| begun.since(due) > HELD_UP) {
                out.push(held_up(self.poller.name(), begun));
            }
            self.look(&mut out)?;
            if !out.is_empty() && !send(out) {
                return Ok(());
            }
            let next = begun.plus(self.pace.period());
            let soonest = begun.plus(self.pace.least());
            loop {
                // A keyframe does not wait for the next look, which can be an hour away. Whoever
                // asks for one after the other is held to what looks may cost; who asks
                // twice in that time gets one.
                let is_early = self.keyframe_asked && soonest < next;
                let until = if is_early { soonest } else { next };
                due = (!is_early).then_some(next);
                match asks.recv_timeout(until.since(clock::now())) {
                    Ok(batch) => {
                        let mut out = Vec::new();
                        self.answer(&batch, &mut out)?;
                        if !out.is_empty() && !send(out) {
                            return Ok(());
                        }
                    }
                    Err(RecvTimeoutError::Timeout) => break,
                    Err(RecvTimeoutError::Disconnected) => return Ok(()),
                }
            }
        }
    }
}

/// A look that comes later than this has left a gap worth a word: this program or the whole
/// machine was stopped or starved.
const HELD_UP: Duration = Duration::from_secs(1);

fn held_up(source: SourceName, at: Timestamp) -> Observation {
    Observation {
        host: 0,
        at,
        source,
        body: Body::Lost {
            count: None,
            why: "a look came more than a second late: what was shorter was not seen".into(),
        },
    }
}

fn turned_off(error: &SourceError, why: &mut Option<String>) -> Observation {
    let reason = match error {
        SourceError::SockDiag(error) => error.to_string(),
        other => other.to_string(),
    };
    *why = Some(format!("instead of sock_diag: {reason}"));
    Observation {
        host: 0,
        at: clock::now(),
        source: SourceName::SockDiag,
        body: Body::Source(SourceState::Off { why: reason }),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::sync::{Arc, mpsc};

    use super::*;
    use crate::model::Keyframe;

    /// A source whose looks cost that much.
    struct Costly(Duration, Arc<AtomicU32>);

    impl Poller for Costly {
        fn name(&self) -> SourceName {
            SourceName::Proc
        }

        fn look(&mut self, _: &mut Vec<Observation>) -> Result<(), SourceError> {
            let begun = clock::thread_cpu();
            while clock::thread_cpu().saturating_sub(begun) < self.0 {
                std::hint::spin_loop();
            }
            Ok(())
        }

        fn look_at_all(&mut self, out: &mut Vec<Observation>) -> Result<(), SourceError> {
            self.look(out)?;
            self.1.fetch_add(1, Ordering::SeqCst);
            let begun = clock::now();
            out.push(Observation {
                host: 0,
                at: begun,
                source: SourceName::Proc,
                body: Body::Keyframe(Keyframe {
                    begun,
                    samples: Vec::new(),
                }),
            });
            Ok(())
        }

        fn confirm(&mut self, _: &[SockId], _: &mut Vec<Observation>) -> Result<(), SourceError> {
            Ok(())
        }
    }

    fn is_keyframe(told: &Observation) -> bool {
        matches!(told.body, Body::Keyframe(_))
    }

    fn feed(cost: Duration) -> (Feed, Arc<AtomicU32>) {
        let count = Arc::default();
        let feed = Feed {
            choice: Choice::Only(SourceName::Proc),
            request: Request::default(),
            poller: Box::new(Costly(cost, Arc::clone(&count))),
            pace: Pace::new(Duration::from_secs(3600)),
            asked: Duration::from_secs(3600),
            why: None,
            announced: None,
            keyframe_asked: false,
        };
        (feed, count)
    }

    #[test]
    fn one_keyframe_does_for_all_who_ask() {
        let (feed, count) = feed(Duration::ZERO);
        let (ask, asks) = mpsc::channel();
        for _ in 0..100 {
            ask.send(vec![Ask::Keyframe]).unwrap();
        }
        // It does not wait for the next look, an hour away.
        feed.run(&asks, |batch| !batch.iter().any(is_keyframe))
            .unwrap();
        assert_eq!(count.load(Ordering::SeqCst), 1);
        assert_eq!(asks.try_iter().count(), 0, "asks that are left over");
    }

    #[test]
    fn keyframes_are_held_to_what_looks_may_cost() {
        let cost = Duration::from_millis(2);
        let (feed, _) = feed(cost);
        let (ask, asks) = mpsc::channel();
        ask.send(vec![Ask::Keyframe]).unwrap();
        let mut came = Vec::new();
        feed.run(&asks, |batch| {
            if batch.iter().any(is_keyframe) {
                came.push(clock::now());
                // Whoever asks again at once.
                ask.send(vec![Ask::Keyframe]).unwrap();
            }
            came.len() < 6
        })
        .unwrap();
        // Five times a fortieth of a second; from the end of one to that of the next.
        let time = came[5].since(came[0]);
        assert!(time >= cost * 20 * 5 - cost * 10, "{time:?}");
    }
}
