//! Who is followed, and whose turn it is.
//!
//! The unit is the couple: both ends of a 4-tuple, as far as they are followed, since they are
//! asked for in one datagram and one end that moves makes the other likely to. A couple stands in
//! exactly one [`Class`], by what its ends do; each class has its rate.
//!
//! The trap: thousands of ends. Nothing here walks them all at each tick: a class is a list with a
//! cursor, and what falls silent is found once a second.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use crate::model::{Cookie, FourTuple, Sample, SockId, TcpState, Timestamp};
use crate::source::pace::{Group, deal};
use crate::source::sock_diag::follow::end::End;

/// An end that did something within this time may do the next thing at any moment.
const LIVELY: Duration = Duration::from_secs(10);
/// An end whose state changed within this time is in the middle of it.
const MOVING: Duration = Duration::from_secs(1);
/// How often an idle end is looked at while such ends are few.
const IDLE_RATE: f64 = 100.0;
/// How often an orphan FIN_WAIT2 is looked at: it may become TIME_WAIT at any time.
const MINI_RATE: f64 = 10.0;
/// All idle ends together get at most this many looks a second.
const IDLE_LOOKS: f64 = 5000.0;
/// The kernel's timer of a TIME_WAIT fires no earlier than this after what it says.
const TIMER_GRAIN: Duration = Duration::from_millis(4);
/// How often what has fallen silent is looked for.
const SWEEP: Duration = Duration::from_secs(1);

/// How often a couple is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// In motion, or never looked at: at the full rate, first of all.
    Moving = 0,
    /// May move at any time: at the full rate, as far as the budget goes.
    Lively = 1,
    /// Only mini-sockets, one of them in FIN_WAIT2, or a TIME_WAIT whose time is over.
    Mini = 2,
    /// Nothing happens.
    Idle = 3,
    /// Nothing but TIME_WAIT: at its deadline.
    Waiting = 4,
}

const LISTS: usize = 4;

/// Both ends of a connection; more only while an incarnation gives way to the next.
pub(super) struct Couple {
    key: FourTuple,
    pub(super) ends: Vec<End>,
    class: Class,
    slot: usize,
    deadline: Option<Timestamp>,
    /// When it last did anything.
    moved: Timestamp,
    /// When a state last changed.
    stepped: Timestamp,
}

/// The looks that are asked for, by the user and by what else runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    /// The full rate, looks a second.
    pub(super) rate: f64,
    /// What looks slower than the dumps come is not worth it.
    pub(super) least: f64,
    /// Kernel events tell of motion: nothing needs to be fast.
    pub(super) events: bool,
}

#[derive(Default)]
struct List {
    couples: Vec<usize>,
    sockets: usize,
    cursor: usize,
    /// Couples whose turn it is, in parts of one.
    credit: f64,
}

/// Everybody.
pub(super) struct Roster {
    settings: Settings,
    couples: Vec<Option<Couple>>,
    free: Vec<usize>,
    by_key: HashMap<FourTuple, usize, foldhash::fast::RandomState>,
    by_cookie: HashMap<Cookie, usize, foldhash::fast::RandomState>,
    lists: [List; LISTS],
    waiting: BTreeSet<(Timestamp, usize)>,
    ends: usize,
    ticked: Timestamp,
    swept: Timestamp,
}

/// The same for both ends.
fn key(tuple: &FourTuple) -> FourTuple {
    (*tuple).min(tuple.mirror())
}

impl Roster {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            settings,
            couples: Vec::new(),
            free: Vec::new(),
            by_key: HashMap::default(),
            by_cookie: HashMap::default(),
            lists: Default::default(),
            waiting: BTreeSet::new(),
            ends: 0,
            ticked: Timestamp::default(),
            swept: Timestamp::default(),
        }
    }

    /// How many ends are followed.
    pub(super) const fn len(&self) -> usize {
        self.ends
    }

    pub(super) fn couple(&mut self, index: usize) -> Option<&mut Couple> {
        self.couples.get_mut(index)?.as_mut()
    }

    /// The couple of a 4-tuple, either way round.
    pub(super) fn of_tuple(&self, tuple: &FourTuple) -> Option<usize> {
        self.by_key.get(&key(tuple)).copied()
    }

    /// The followed end of this cookie, and its couple.
    pub(super) fn of_cookie(&self, cookie: Cookie) -> Option<(usize, SockId)> {
        let index = *self.by_cookie.get(&cookie)?;
        let couple = self.couples.get(index)?.as_ref()?;
        let end = couple
            .ends
            .iter()
            .find(|end| end.id.cookie == Some(cookie))?;
        Some((index, end.id))
    }

    /// Every couple.
    pub(super) fn all(&self) -> Vec<usize> {
        let mut all: Vec<usize> = self.by_key.values().copied().collect();
        all.sort_unstable();
        all
    }

    /// Follows an end. One that is followed already is looked at at once.
    pub(super) fn follow(&mut self, id: SockId, now: Timestamp) {
        let index = self.of_tuple(&id.tuple).unwrap_or_else(|| {
            let couple = Couple {
                key: key(&id.tuple),
                ends: Vec::with_capacity(2),
                class: Class::Moving,
                slot: 0,
                deadline: None,
                moved: now,
                stepped: Timestamp::default(),
            };
            self.insert(couple)
        });
        let Some(couple) = self.couple(index) else {
            return;
        };
        couple.moved = now;
        let same = |end: &&mut End| {
            end.id.tuple == id.tuple
                && (end.id.cookie == id.cookie || end.id.cookie.is_none() || id.cookie.is_none())
        };
        match couple.ends.iter_mut().find(same) {
            Some(end) => {
                let cookie = id.cookie.or(end.id.cookie);
                end.rename(cookie, end.device);
            }
            None => {
                couple.ends.push(End::new(id));
                self.ends += 1;
                self.list_of(index, |list| list.sockets += 1);
            }
        }
        if let Some(cookie) = id.cookie {
            self.by_cookie.insert(cookie, index);
        }
        self.place(index, Class::Moving, None);
    }

    /// Follows an end no more.
    pub(super) fn leave(&mut self, id: &SockId, now: Timestamp) {
        let Some(index) = self.of_tuple(&id.tuple) else {
            return;
        };
        let Some(couple) = self.couple(index) else {
            return;
        };
        let left = couple.ends.iter().position(|end| {
            end.id.tuple == id.tuple && (id.cookie.is_none() || end.id.cookie == id.cookie)
        });
        if let Some(place) = left {
            self.remove(index, place, now);
        }
    }

    /// Takes an end out of its couple, and the couple out when it was the last.
    pub(super) fn remove(&mut self, index: usize, place: usize, now: Timestamp) {
        let Some(couple) = self.couple(index) else {
            return;
        };
        let end = couple.ends.swap_remove(place);
        let is_empty = couple.ends.is_empty();
        if let Some(cookie) = end.id.cookie {
            self.by_cookie.remove(&cookie);
        }
        self.ends -= 1;
        self.list_of(index, |list| list.sockets -= 1);
        if is_empty {
            self.unlist(index);
            if let Some(couple) = self.couples.get_mut(index).and_then(Option::take) {
                self.by_key.remove(&couple.key);
            }
            self.free.push(index);
        } else {
            self.classify(index, now);
        }
    }

    /// An end's cookie became known by its answer.
    pub(super) fn pin(&mut self, cookie: Option<Cookie>, index: usize) {
        if let Some(cookie) = cookie {
            self.by_cookie.insert(cookie, index);
        }
    }

    /// What an answer showed of the couple.
    pub(super) fn note(&mut self, index: usize, moved: bool, stepped: bool, now: Timestamp) {
        if let Some(couple) = self.couple(index) {
            if moved {
                couple.moved = now;
            }
            if stepped {
                couple.stepped = now;
            }
        }
    }

    /// Puts a couple where it belongs.
    pub(super) fn classify(&mut self, index: usize, now: Timestamp) {
        let settings = self.settings;
        let Some(couple) = self.couple(index) else {
            return;
        };
        let class = class_of(couple, settings, now);
        let deadline = match class {
            Class::Waiting => couple
                .ends
                .iter()
                .filter_map(End::time_wait_deadline)
                .min()
                .map(|deadline| deadline.plus(TIMER_GRAIN)),
            _ => None,
        };
        self.place(index, class, deadline);
    }

    fn insert(&mut self, couple: Couple) -> usize {
        let key = couple.key;
        let index = match self.free.pop() {
            Some(index) => {
                if let Some(place) = self.couples.get_mut(index) {
                    *place = Some(couple);
                }
                index
            }
            None => {
                self.couples.push(Some(couple));
                self.couples.len() - 1
            }
        };
        self.by_key.insert(key, index);
        self.enlist(index, Class::Moving, None);
        index
    }

    fn place(&mut self, index: usize, class: Class, deadline: Option<Timestamp>) {
        let same = self
            .couple(index)
            .is_some_and(|couple| couple.class == class && couple.deadline == deadline);
        if !same {
            self.unlist(index);
            self.enlist(index, class, deadline);
        }
    }

    fn enlist(&mut self, index: usize, class: Class, deadline: Option<Timestamp>) {
        let slot = self
            .lists
            .get(class as usize)
            .map_or(0, |list| list.couples.len());
        let Some(couple) = self.couple(index) else {
            return;
        };
        (couple.class, couple.slot, couple.deadline) = (class, slot, deadline);
        let sockets = couple.ends.len();
        if let Some(list) = self.lists.get_mut(class as usize) {
            list.couples.push(index);
            list.sockets += sockets;
        }
        if let Some(deadline) = deadline {
            self.waiting.insert((deadline, index));
        }
    }

    fn unlist(&mut self, index: usize) {
        let Some(couple) = self.couple(index) else {
            return;
        };
        let (class, slot, sockets) = (couple.class, couple.slot, couple.ends.len());
        if let Some(deadline) = couple.deadline.take() {
            self.waiting.remove(&(deadline, index));
        }
        let Some(list) = self.lists.get_mut(class as usize) else {
            return;
        };
        list.sockets -= sockets;
        list.couples.swap_remove(slot);
        // The last one took its slot.
        if let Some(&moved) = list.couples.get(slot)
            && let Some(moved) = self.couple(moved)
        {
            moved.slot = slot;
        }
    }

    fn list_of(&mut self, index: usize, change: impl FnOnce(&mut List)) {
        let class = self.couple(index).map(|couple| couple.class);
        if let Some(list) = class.and_then(|class| self.lists.get_mut(class as usize)) {
            change(list);
        }
    }

    /// Looks a second of each socket, by class, when so many lookups are allowed.
    pub(super) fn rates(&self, allowed: f64) -> [f64; LISTS] {
        let Settings { rate, least, .. } = self.settings;
        let sockets = |class: Class| self.lists.get(class as usize).map_or(0, |l| l.sockets);
        let slow = |wanted: f64, sockets: usize| Group {
            sockets,
            wanted: wanted.min(rate).min(IDLE_LOOKS / sockets.max(1) as f64),
            least: least.min(wanted).min(rate),
        };
        deal(
            allowed,
            [
                Group {
                    sockets: sockets(Class::Moving),
                    wanted: rate,
                    least: 0.0,
                },
                Group {
                    sockets: sockets(Class::Lively),
                    wanted: rate,
                    least: least.min(rate),
                },
                slow(MINI_RATE, sockets(Class::Mini)),
                slow(IDLE_RATE, sockets(Class::Idle)),
            ],
        )
    }

    /// How many ends want the full rate, and how many looks a second each of the last of them
    /// gets.
    pub(super) fn fast(&self, rates: &[f64; LISTS]) -> (usize, f64) {
        let [moving, lively, ..] = &self.lists;
        let rate = if lively.sockets > 0 {
            rates[Class::Lively as usize]
        } else {
            rates[Class::Moving as usize]
        };
        (moving.sockets + lively.sockets, rate)
    }

    /// When somebody's turn comes next.
    pub(super) fn due(&self, rates: &[f64; LISTS]) -> Option<Timestamp> {
        let top = rates.iter().copied().fold(0.0, f64::max);
        let tick = (top > 0.0).then(|| self.ticked.plus(Duration::from_secs_f64(1.0 / top)));
        let deadline = self.waiting.first().map(|(deadline, _)| *deadline);
        // Who is too many to be looked at falls silent all the same.
        let sweep = self
            .lists
            .iter()
            .take(2)
            .any(|list| !list.couples.is_empty())
            .then(|| self.swept.plus(SWEEP));
        [tick, deadline, sweep].into_iter().flatten().min()
    }

    /// Whose turn it is.
    pub(super) fn turn(&mut self, rates: &[f64; LISTS], now: Timestamp, out: &mut Vec<usize>) {
        let top = rates.iter().copied().fold(0.0, f64::max);
        let period = if top > 0.0 { 1.0 / top } else { 0.0 };
        // A tick that comes a little late is a whole tick; the next keeps to the beat.
        let passed = now.since(self.ticked).as_secs_f64();
        if top > 0.0 && passed >= period {
            let late = (passed - period) < period;
            let beat = self.ticked.plus(Duration::from_secs_f64(period));
            self.ticked = if late { beat } else { now };
            let ticks = if late { 1.0 } else { passed / period };
            for (list, &rate) in self.lists.iter_mut().zip(rates) {
                list.serve(rate * period * ticks, out);
            }
        }
        while let Some(&(deadline, index)) = self.waiting.first()
            && deadline <= now
        {
            // Should it be there still, it is looked at as a mini-socket until it is not.
            self.place(index, Class::Mini, None);
            out.push(index);
        }
        if now.since(self.swept) >= SWEEP {
            self.swept = now;
            for class in [Class::Moving, Class::Lively] {
                let silent: Vec<usize> = self
                    .lists
                    .get(class as usize)
                    .map(|list| list.couples.clone())
                    .unwrap_or_default();
                for index in silent {
                    self.classify(index, now);
                }
            }
        }
    }
}

impl List {
    /// Moves on by so many looks of each couple, at most one.
    fn serve(&mut self, looks: f64, out: &mut Vec<usize>) {
        let couples = self.couples.len();
        // Sums of parts fall short of one by a hair.
        self.credit = (self.credit + looks * couples as f64).min(couples as f64 + 1e-6);
        let turns = ((self.credit + 1e-6) as usize).min(couples);
        self.credit = (self.credit - turns as f64).max(0.0);
        for _ in 0..turns {
            self.cursor = if self.cursor + 1 < couples {
                self.cursor + 1
            } else {
                0
            };
            out.extend(self.couples.get(self.cursor));
        }
    }
}

/// Where a couple belongs.
fn class_of(couple: &Couple, settings: Settings, now: Timestamp) -> Class {
    let any = |wanted: fn(&End) -> bool| couple.ends.iter().any(wanted);
    if any(|end| end.said().is_none() || end.is_leaving()) {
        return Class::Moving;
    }
    let waits = |end: &End| end.time_wait_deadline();
    if couple.ends.iter().all(|end| waits(end).is_some()) {
        let over = |end: &End| waits(end).is_some_and(|at| at.plus(TIMER_GRAIN) <= now);
        return if couple.ends.iter().any(over) {
            Class::Mini
        } else {
            Class::Waiting
        };
    }
    if settings.events {
        return Class::Idle;
    }
    let is_mini = |end: &End| end.said().is_some_and(Sample::is_mini_socket);
    if couple.ends.iter().all(is_mini) {
        return Class::Mini;
    }
    let quiet = now.since(couple.moved);
    let in_between = any(|end| end.said().is_some_and(|said| is_passing(said.state)));
    if now.since(couple.stepped) < MOVING || (in_between && quiet < LIVELY) {
        Class::Moving
    } else if in_between || quiet < LIVELY {
        // A FIN that nobody acknowledges for minutes does not come before all others.
        Class::Lively
    } else {
        Class::Idle
    }
}

/// A state that a packet on its way ends.
const fn is_passing(state: TcpState) -> bool {
    matches!(
        state,
        TcpState::SynSent
            | TcpState::SynRecv
            | TcpState::FinWait1
            | TcpState::Closing
            | TcpState::LastAck
    )
}
