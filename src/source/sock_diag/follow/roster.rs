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

use crate::model::{Cookie, FourTuple, SockId, Timestamp};
use crate::source::pace::{Group, deal};
use crate::source::sock_diag::follow::class::{Class, Doing, Settings, TIMER_GRAIN, class_of};
use crate::source::sock_diag::follow::end::End;

/// How often an idle end is looked at while such ends are few.
const IDLE_RATE: f64 = 100.0;
/// How often an orphan FIN_WAIT2 is looked at: it may become TIME_WAIT at any time.
const MINI_RATE: f64 = 10.0;
/// All idle ends together get at most this many looks a second.
const IDLE_LOOKS: f64 = 5000.0;
/// Looks that are worth a tick, and ticks a second that are made for their sake alone.
const A_TICK: f64 = 64.0;
const SPREAD: f64 = 100.0;
/// How often what has fallen silent is looked for.
const SWEEP: Duration = Duration::from_secs(1);

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
        let doing = Doing {
            ends: &couple.ends,
            moved: couple.moved,
            stepped: couple.stepped,
        };
        let class = class_of(&doing, settings, now);
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
                    // However seldom: a look that finds one in motion makes it quick.
                    least: 0.0,
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

    /// Ticks a second: as often as those who are looked at most often, and where many are looked
    /// at seldom, often enough that they do not come all at once.
    fn ticks(&self, rates: &[f64; LISTS]) -> f64 {
        let top = rates.iter().copied().fold(0.0, f64::max);
        let looks: f64 = self
            .lists
            .iter()
            .zip(rates)
            .map(|(list, rate)| list.sockets as f64 * rate)
            .sum();
        top.max((looks / A_TICK).min(SPREAD))
    }

    /// When somebody's turn comes next.
    pub(super) fn due(&self, rates: &[f64; LISTS]) -> Option<Timestamp> {
        let ticks = self.ticks(rates);
        let tick = (ticks > 0.0).then(|| self.ticked.plus(Duration::from_secs_f64(1.0 / ticks)));
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
        let beats = self.ticks(rates);
        let period = if beats > 0.0 { 1.0 / beats } else { 0.0 };
        // A tick that comes a little late is a whole tick; the next keeps to the beat.
        let passed = now.since(self.ticked).as_secs_f64();
        if beats > 0.0 && passed >= period {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Endpoint, Queues, Sample, Scope, Shutdown, TcpState, Timer, TimerKind};

    const SETTINGS: Settings = Settings {
        rate: 1000.0,
        least: 10.0,
        events: false,
    };

    fn ms(millis: u64) -> Timestamp {
        Timestamp::from_nanos(1_000_000_000_000).plus(Duration::from_millis(millis))
    }

    fn id(cookie: u64, local: u16, remote: u16) -> SockId {
        let endpoint = |port| Endpoint::new([127, 0, 0, 1].into(), port);
        SockId {
            scope: Scope::default(),
            cookie: Some(Cookie(cookie)),
            tuple: FourTuple {
                local: endpoint(local),
                remote: endpoint(remote),
            },
        }
    }

    fn sample(id: SockId, state: TcpState) -> Sample {
        let mini = state == TcpState::TimeWait;
        Sample {
            id,
            state,
            queues: Queues::Absent,
            timer: mini.then_some(Timer {
                kind: TimerKind::TimeWait,
                deadline: ms(60_000),
            }),
            retransmits: 0,
            inode: (!mini).then_some(1),
            uid: None,
            shutdown: Some(Shutdown::default()),
            cgroup: None,
            multipath: false,
        }
    }

    /// The ends of a couple are seen in this state.
    fn seen(roster: &mut Roster, index: usize, state: TcpState, at: Timestamp, stepped: bool) {
        for end in &mut roster.couple(index).unwrap().ends {
            end.found(&sample(end.id, state), 0, at, at, true);
        }
        roster.note(index, true, stepped, at);
        roster.classify(index, at);
    }

    fn class(roster: &mut Roster, index: usize) -> Class {
        roster.couple(index).unwrap().class
    }

    /// Lives for some milliseconds: how often each couple's turn came.
    fn live(roster: &mut Roster, from: u64, to: u64, allowed: f64) -> HashMap<usize, usize> {
        let mut turns = HashMap::new();
        for at in from..to {
            let rates = roster.rates(allowed);
            if roster.due(&rates).is_none_or(|due| due > ms(at)) {
                continue;
            }
            let mut turn = Vec::new();
            roster.turn(&rates, ms(at), &mut turn);
            let once: BTreeSet<usize> = turn.iter().copied().collect();
            assert_eq!(once.len(), turn.len(), "nobody twice in one turn");
            for index in turn {
                *turns.entry(index).or_insert(0) += 1;
            }
        }
        turns
    }

    #[test]
    fn both_ends_are_one_couple_and_nobody_is_nobodys_turn() {
        let mut roster = Roster::new(SETTINGS);
        assert_eq!(roster.due(&roster.rates(1e6)), None, "no ticks at all");
        roster.follow(id(1, 40000, 80), ms(0));
        roster.follow(id(2, 80, 40000), ms(0));
        roster.follow(id(2, 80, 40000), ms(0));
        assert_eq!(roster.len(), 2);
        let index = roster.of_tuple(&id(1, 40000, 80).tuple).unwrap();
        assert_eq!(roster.of_cookie(Cookie(2)), Some((index, id(2, 80, 40000))));
        assert_eq!(roster.all(), [index]);
        // Another life of the 4-tuple beside the old one, which then goes.
        roster.follow(id(3, 40000, 80), ms(1));
        assert_eq!(roster.len(), 3);
        roster.leave(&id(1, 40000, 80), ms(2));
        assert_eq!(roster.of_cookie(Cookie(1)), None);
        assert_eq!(roster.of_cookie(Cookie(3)), Some((index, id(3, 40000, 80))));
        roster.leave(&id(3, 40000, 80), ms(2));
        roster.leave(&id(2, 80, 40000), ms(2));
        assert_eq!((roster.len(), roster.all().len()), (0, 0));
        assert_eq!(roster.due(&roster.rates(1e6)), None);
    }

    #[test]
    fn what_does_nothing_is_looked_at_less_and_less() {
        let mut roster = Roster::new(SETTINGS);
        roster.follow(id(1, 40000, 80), ms(0));
        let index = roster.all()[0];
        assert_eq!(class(&mut roster, index), Class::Moving, "never seen");
        seen(&mut roster, index, TcpState::Established, ms(0), true);
        assert_eq!(live(&mut roster, 0, 1000, 1e6)[&index], 1000);
        roster.classify(index, ms(1001));
        assert_eq!(class(&mut roster, index), Class::Lively);
        assert_eq!(live(&mut roster, 1000, 2000, 1e6)[&index], 1000);
        // It is found to be idle by the sweep.
        live(&mut roster, 2000, 12_000, 1e6);
        assert_eq!(class(&mut roster, index), Class::Idle);
        let turns = live(&mut roster, 12_000, 13_000, 1e6)[&index];
        assert!((99..=101).contains(&turns), "{turns}");
        // A FIN that nobody acknowledges stays quick, and not before all others.
        seen(&mut roster, index, TcpState::FinWait1, ms(13_000), true);
        assert_eq!(class(&mut roster, index), Class::Moving);
        roster.classify(index, ms(40_000));
        assert_eq!(class(&mut roster, index), Class::Lively);
        // A TIME_WAIT is looked at when its time is over, and then until it is gone.
        seen(&mut roster, index, TcpState::TimeWait, ms(40_000), true);
        assert_eq!(class(&mut roster, index), Class::Waiting);
        assert!(live(&mut roster, 40_000, 60_003, 1e6).is_empty());
        assert_eq!(live(&mut roster, 60_003, 60_005, 1e6)[&index], 1);
        roster.classify(index, ms(60_005));
        assert_eq!(class(&mut roster, index), Class::Mini);
        let turns = live(&mut roster, 60_005, 61_005, 1e6)[&index];
        assert!((9..=11).contains(&turns), "{turns}");
    }

    #[test]
    fn what_moves_comes_first_and_idle_ends_cost_little() {
        let mut roster = Roster::new(SETTINGS);
        for port in 0..100 {
            roster.follow(id(u64::from(port) + 1, 1000 + port, 80), ms(0));
        }
        let all = roster.all();
        for &index in &all {
            seen(&mut roster, index, TcpState::Established, ms(0), false);
        }
        let moving = all[50];
        seen(&mut roster, moving, TcpState::CloseWait, ms(0), true);
        // A tenth of what 100 ends at 1 kHz take.
        let turns = live(&mut roster, 0, 1000, 10_000.0);
        assert_eq!(turns[&moving], 1000);
        for index in all.iter().filter(|index| **index != moving) {
            let turns = turns[index];
            assert!((85..=95).contains(&turns), "evenly: {turns}");
        }
        let (ends, rate) = roster.fast(&roster.rates(10_000.0));
        assert!(ends == 100 && (90.0..92.0).contains(&rate), "{ends} {rate}");
        // Idle, all of them share 5000 looks a second, and less than the dumps is none at all.
        live(&mut roster, 1000, 12_000, 1e6);
        let turns: usize = live(&mut roster, 12_000, 13_000, 1e6).values().sum();
        assert!((4900..=5100).contains(&turns), "{turns}");
        for port in 0..500 {
            roster.follow(id(u64::from(port) + 1000, 2000 + port, 80), ms(13_000));
        }
        for index in roster.all() {
            seen(&mut roster, index, TcpState::Established, ms(0), false);
        }
        live(&mut roster, 13_000, 15_000, 1e6);
        assert!(live(&mut roster, 15_000, 16_000, 1e6).is_empty());
    }

    #[test]
    fn thousands_do_not_come_all_at_once() {
        let mut roster = Roster::new(SETTINGS);
        for port in 0..10_000 {
            roster.follow(id(u64::from(port) + 1, 1000 + port, 80), ms(0));
        }
        let mut seen = BTreeSet::new();
        for at in 0..1100 {
            let rates = roster.rates(10_000.0);
            if roster.due(&rates).is_none_or(|due| due > ms(at)) {
                continue;
            }
            let mut turn = Vec::new();
            roster.turn(&rates, ms(at), &mut turn);
            assert!(at == 0 || turn.len() <= 220, "{} at {at}", turn.len());
            seen.extend(turn);
        }
        assert_eq!(seen.len(), 10_000);
    }

    #[test]
    fn with_events_nothing_is_fast() {
        let settings = Settings {
            events: true,
            ..SETTINGS
        };
        let mut roster = Roster::new(settings);
        roster.follow(id(1, 40000, 80), ms(0));
        let index = roster.all()[0];
        seen(&mut roster, index, TcpState::FinWait2, ms(0), true);
        assert_eq!(class(&mut roster, index), Class::Idle);
    }
}
