//! Exact lookups of known ends, as often as what they do is worth, both ends in one datagram.
//!
//! Says only what differs, with the newest moment at which it was still as before. Knows nothing
//! of connections: two 4-tuples that mirror each other are asked for together, that is all.
//!
//! The traps: what was not found by its cookie may be bound to a device, or another incarnation
//! may have its 4-tuple, so "gone" takes a second question; and before "gone" is said, the host's
//! counters are read, so that a reset is known by then. An answer may be late, so every datagram's
//! answers are bounded by its own two stamps.

mod class;
mod end;
mod roster;

use std::time::Duration;

use crate::model::{
    Answer, Body, Cookie, FourTuple, Observation, Sample, Scope, SockId, SourceName, Timestamp,
};
use crate::source::sock_diag::devices::Devices;
use crate::source::sock_diag::discover::Dumper;
use crate::source::sock_diag::lookup::{BATCH, Lookups};
use crate::source::sock_diag::wire::Message;
use crate::source::sock_diag::{DiagError, lost};
use crate::source::{Request, clock, host};
use class::Settings;
use end::{Taken, lookup};
use roster::Roster;

const OPERATION: &str = "lookup of a followed socket";

/// How follow shall look.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// Looks a second at an end that moves.
    pub rate: u32,
    /// The distance of two dumps: to look less often than that is worth nothing.
    pub discover: Duration,
    /// Kernel events tell when something moves.
    pub events: bool,
}

/// Follows ends.
pub struct Follower {
    scope: Scope,
    lookups: Lookups,
    devices: Devices,
    host: host::Watched,
    roster: Roster,
    /// Lookups made so far.
    made: u64,
    /// Kept to save the allocation.
    turn: Vec<usize>,
    batch: Vec<Place>,
}

/// An end in the roster: its couple, and its place there.
#[derive(Clone, Copy)]
struct Place {
    couple: usize,
    end: usize,
}

/// An end that did not answer to its cookie.
struct Missed {
    place: Place,
    id: SockId,
    device: u32,
    begun: Timestamp,
}

impl Follower {
    /// Opens a socket for lookups.
    ///
    /// # Errors
    /// When `sock_diag` is not to be had. A kernel without `tcp_diag` is found out here: later it
    /// would look as if every socket were gone.
    pub fn open(request: &Request, manner: Manner) -> Result<Self, DiagError> {
        let scope = request.scope;
        Dumper::open(&request.filter)?.listeners(scope, &mut |_, _| {})?;
        let dumps_a_second = 1.0 / manner.discover.as_secs_f64().max(0.001);
        Ok(Self {
            scope,
            lookups: Lookups::open()?,
            devices: Devices::open(),
            host: host::Watched::new(scope, SourceName::SockDiag),
            roster: Roster::new(Settings {
                rate: f64::from(manner.rate.max(1)),
                least: dumps_a_second,
                events: manner.events,
            }),
            made: 0,
            turn: Vec::new(),
            batch: Vec::new(),
        })
    }

    /// Follows an end. Said again, the end is looked at at once.
    pub fn follow(&mut self, id: SockId) {
        if id.scope == self.scope {
            self.roster.follow(id, clock::now());
        }
    }

    /// Follows an end no more.
    pub fn leave(&mut self, id: &SockId) {
        self.roster.leave(id, clock::now());
    }

    /// How many ends are followed.
    pub const fn len(&self) -> usize {
        self.roster.len()
    }

    /// Whether nobody is.
    pub const fn is_empty(&self) -> bool {
        self.roster.len() == 0
    }

    /// Lookups made so far.
    pub const fn made(&self) -> u64 {
        self.made
    }

    /// The followed end of a cookie: of a 4-tuple that was wiped the cookie alone is left.
    pub fn known(&self, cookie: Cookie) -> Option<SockId> {
        self.roster.of_cookie(cookie).map(|(_, id)| id)
    }

    /// Whether the other end of this 4-tuple is followed and waits for its peer's FIN without a
    /// descriptor.
    pub fn mirror_is_orphan(&mut self, id: &SockId) -> bool {
        let mirror = id.tuple.mirror();
        let couple = self.roster.of_tuple(&mirror);
        couple
            .and_then(|index| self.roster.couple(index))
            .is_some_and(|couple| {
                couple.ends.iter().any(|end| {
                    end.id.tuple == mirror && end.said().is_some_and(Sample::is_mini_socket)
                })
            })
    }

    /// When somebody's turn comes next, when so many lookups a second are allowed.
    pub fn due(&self, allowed: f64) -> Option<Timestamp> {
        self.roster.due(&self.roster.rates(allowed))
    }

    /// How many ends want the full rate, and how many looks a second the last of them gets.
    pub fn fast(&self, allowed: f64) -> (usize, f64) {
        self.roster.fast(&self.roster.rates(allowed))
    }

    /// Looks at those whose turn it is.
    ///
    /// # Errors
    /// When no later lookup can do better.
    pub fn round(
        &mut self,
        allowed: f64,
        now: Timestamp,
        out: &mut Vec<Observation>,
    ) -> Result<(), DiagError> {
        let rates = self.roster.rates(allowed);
        let mut turn = std::mem::take(&mut self.turn);
        turn.clear();
        self.roster.turn(&rates, now, &mut turn);
        let result = self.look(&turn, out);
        self.turn = turn;
        result
    }

    /// Looks at these sockets and their other ends now. Who is not followed is answered whatever
    /// comes, who is only when it is news.
    ///
    /// # Errors
    /// As [`Follower::round`].
    pub fn ask(&mut self, asked: &[SockId], out: &mut Vec<Observation>) -> Result<(), DiagError> {
        let mut couples = Vec::new();
        let mut strangers = Vec::new();
        for id in asked {
            match self.roster.of_tuple(&id.tuple) {
                Some(couple) if id.cookie.is_none_or(|c| self.known(c).is_some()) => {
                    couples.push(couple);
                }
                _ => strangers.push(*id),
            }
        }
        couples.sort_unstable();
        couples.dedup();
        self.look(&couples, out)?;
        self.ask_strangers(&strangers, out)
    }

    /// Looks at the followed ends of these connections now.
    ///
    /// # Errors
    /// As [`Follower::round`].
    pub fn look_at(
        &mut self,
        tuples: &[FourTuple],
        out: &mut Vec<Observation>,
    ) -> Result<(), DiagError> {
        let mut couples: Vec<usize> = tuples
            .iter()
            .filter_map(|tuple| self.roster.of_tuple(tuple))
            .collect();
        couples.sort_unstable();
        couples.dedup();
        self.look(&couples, out)
    }

    /// Looks at everybody now.
    ///
    /// # Errors
    /// As [`Follower::round`].
    pub fn look_at_all(&mut self, out: &mut Vec<Observation>) -> Result<(), DiagError> {
        let all = self.roster.all();
        self.look(&all, out)
    }

    fn look(&mut self, couples: &[usize], out: &mut Vec<Observation>) -> Result<(), DiagError> {
        let mut batch = std::mem::take(&mut self.batch);
        batch.clear();
        let mut result = Ok(());
        for &couple in couples {
            let ends = self.roster.couple(couple).map_or(0, |c| c.ends.len());
            if batch.len() + ends > BATCH {
                result = self.look_at_batch(&batch, out);
                batch.clear();
            }
            if result.is_err() {
                break;
            }
            batch.extend((0..ends).take(BATCH).map(|end| Place { couple, end }));
        }
        if result.is_ok() {
            result = self.look_at_batch(&batch, out);
        }
        self.batch = batch;
        match result {
            Err(error) if error.passes() => {
                out.push(lost(None, error.loss()));
                self.lookups = Lookups::open()?;
                Ok(())
            }
            result => result,
        }
    }

    /// One datagram of questions, and its answers.
    fn look_at_batch(
        &mut self,
        batch: &[Place],
        out: &mut Vec<Observation>,
    ) -> Result<(), DiagError> {
        let Self {
            roster,
            lookups,
            scope,
            ..
        } = self;
        lookups.begin();
        for place in batch {
            let end = roster
                .couple(place.couple)
                .and_then(|couple| couple.ends.get(place.end));
            // Nobody is removed between the choice of a batch and here.
            let Some(end) = end else { return Ok(()) };
            lookups.add(end.request());
        }
        let start = out.len();
        let mut missed = Vec::new();
        let begun = clock::now();
        lookups.exchange(|index, message| {
            let Some(&place) = batch.get(index) else {
                return Ok(());
            };
            let taken = match message {
                Message::Row(payload) => roster
                    .couple(place.couple)
                    .and_then(|couple| couple.ends.get_mut(place.end))
                    .map_or(Taken::Unreadable, |end| {
                        end.take(payload, *scope, begun, clock::now)
                    }),
                Message::Error(libc::ENOENT | libc::ESTALE) => Taken::Stranger,
                Message::Error(errno) => return Err(DiagError::refused(OPERATION, errno)),
                Message::Overrun => {
                    return Err(DiagError::Overrun {
                        operation: OPERATION,
                    });
                }
                Message::Done => Taken::Unreadable,
            };
            settle(roster, place, taken, begun, &mut missed, out);
            Ok(())
        })?;
        self.made += batch.len() as u64;
        let at = clock::now();
        for told in out.iter_mut().skip(start) {
            told.at = at;
        }
        self.settle_missed(missed, out)?;
        let mut last = None;
        for place in batch {
            if last.replace(place.couple) != Some(place.couple) {
                self.roster.classify(place.couple, at);
            }
        }
        Ok(())
    }

    /// What became of those that were not found.
    fn settle_missed(
        &mut self,
        missed: Vec<Missed>,
        out: &mut Vec<Observation>,
    ) -> Result<(), DiagError> {
        if missed.is_empty() {
            return Ok(());
        }
        let questions: Vec<(SockId, u32)> = missed.iter().map(|m| (m.id, m.device)).collect();
        let devices = self.devices.numbers(clock::now());
        let answers = self.lookups.settle(&questions, devices, self.scope)?;
        if answers.iter().any(|(answer, _)| is_gone(answer)) {
            // Its time is before that of what follows.
            self.host.before_gone(out);
        }
        let at = clock::now();
        let mut gone = Vec::new();
        for (missed, (answer, device)) in missed.into_iter().zip(answers) {
            let Place { couple, end: place } = missed.place;
            let Some(end) = self
                .roster
                .couple(couple)
                .and_then(|couple| couple.ends.get_mut(place))
            else {
                continue;
            };
            match answer {
                Answer::Found(sample) => {
                    let taken = end.found(&sample, device, missed.begun, at, true);
                    let mut nobody = Vec::new();
                    let place = missed.place;
                    settle(
                        &mut self.roster,
                        place,
                        taken,
                        missed.begun,
                        &mut nobody,
                        out,
                    );
                }
                Answer::Gone | Answer::Other(_) => {
                    out.push(end.gone(answer, missed.begun, at));
                    gone.push(missed.place);
                }
            }
        }
        // From the back, so that the places in front stay.
        gone.sort_unstable_by_key(|place| std::cmp::Reverse((place.couple, place.end)));
        for place in gone {
            // Its other end is likely to go now.
            self.roster.note(place.couple, true, true, at);
            self.roster.remove(place.couple, place.end, at);
        }
        Ok(())
    }

    fn ask_strangers(
        &mut self,
        asked: &[SockId],
        out: &mut Vec<Observation>,
    ) -> Result<(), DiagError> {
        if asked.is_empty() {
            return Ok(());
        }
        let begun = clock::now();
        let device = |id: &SockId| id.tuple.local.interface().unwrap_or(0);
        let questions: Vec<(SockId, u32)> = asked.iter().map(|id| (*id, device(id))).collect();
        let devices = self.devices.numbers(begun);
        self.made += asked.len() as u64;
        let answers = match self.lookups.find(&questions, devices, self.scope) {
            Ok(answers) => answers,
            Err(error) if error.passes() => {
                out.push(lost(None, error.loss()));
                self.lookups = Lookups::open()?;
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        if answers.iter().flatten().any(is_gone) {
            self.host.before_gone(out);
        }
        let at = clock::now();
        for (id, answer) in asked.iter().zip(answers) {
            if let Some(answer) = answer {
                out.push(lookup(*id, begun, None, answer, at));
            }
        }
        Ok(())
    }
}

/// Brings the roster to an answer; what is news goes to `out`, with its time to be set.
fn settle(
    roster: &mut Roster,
    place: Place,
    taken: Taken,
    begun: Timestamp,
    missed: &mut Vec<Missed>,
    out: &mut Vec<Observation>,
) {
    match taken {
        Taken::Quiet { moved: false } | Taken::Unreadable => {}
        Taken::Quiet { moved: true } => roster.note(place.couple, true, false, begun),
        Taken::News { told, stepped } => {
            roster.note(place.couple, true, stepped, begun);
            if let Body::Lookup {
                answer: Answer::Found(sample),
                ..
            } = &told.body
            {
                roster.pin(sample.id.cookie, place.couple);
            }
            out.push(*told);
        }
        Taken::Stranger => {
            let end = roster
                .couple(place.couple)
                .and_then(|couple| couple.ends.get(place.end));
            if let Some(end) = end {
                missed.push(Missed {
                    place,
                    id: end.id,
                    device: end.device,
                    begun,
                });
            }
        }
    }
}

const fn is_gone(answer: &Answer) -> bool {
    !matches!(answer, Answer::Found(_))
}
