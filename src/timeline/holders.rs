//! Who held an end, over time: fork, a copy closed, the last copy closed.
//!
//! A set of holders belongs to an inode, and an inode to one socket for as long as that has a
//! file. What was known last is remembered when the file is gone: a TIME_WAIT and an orphan name
//! those who held them. The trap: "nobody" has three meanings. Nobody has looked; nobody who could
//! be looked into holds it; nobody holds it at all.

use std::sync::Arc;

use crate::model::filter::ProcessSet;
use crate::model::{
    Ask, Descriptor, Holder, Holders, InfoAnswer, ProcessId, Program, Scope, Seen, SockId,
    TcpState, Timestamp,
};
use crate::timeline::{Change, EndRef, Listener, MarkKind, Process, Track, Tracker, When};

/// So many sets of holders are kept of an end: the first, and the newest others.
pub const SETS: usize = 32;

/// A set of holders, from a moment on.
#[derive(Clone, Debug, PartialEq)]
pub struct Holding {
    /// Since when.
    pub from: When,
    /// The processes, by pid.
    pub holders: Arc<[Holder]>,
    /// Those of the set before that had ended.
    pub ended: Arc<[ProcessId]>,
    /// Whether there can be others.
    pub seen: Seen,
}

impl Holding {
    /// Whether a process is one of them.
    pub fn has(&self, id: ProcessId) -> bool {
        self.holders.iter().any(|holder| holder.program.id == id)
    }

    /// Those who were not in the set `before`.
    pub fn came_after<'a>(&'a self, before: Option<&'a Self>) -> impl Iterator<Item = &'a Holder> {
        let is_new = move |holder: &&Holder| before.is_none_or(|b| !b.has(holder.program.id));
        self.holders.iter().filter(is_new)
    }

    /// Those of the set `before` who are not in this one.
    pub fn left_since<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = &'a Holder> {
        let is_gone = |holder: &&Holder| !self.has(holder.program.id);
        before.holders.iter().filter(is_gone)
    }

    /// Takes the user and the command line of each holder from a set that is otherwise the same;
    /// gives whether they were others. That is no change of who holds it.
    fn takes_words_of(&mut self, told: &Holders) -> bool {
        let known = self.holders.iter().map(|holder| &holder.program);
        let same = known.eq(told.holders.iter().map(|holder| &holder.program));
        if !same {
            self.holders = told.holders.as_slice().into();
        }
        !same
    }

    /// Whether a process that left did so by its end, not by closing its copy.
    pub fn has_ended(&self, id: ProcessId) -> bool {
        self.ended.contains(&id)
    }
}

/// Who holds a socket, as far as that is known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Owners<'a> {
    /// Nobody has looked, or not yet.
    NotLooked,
    /// No process that may be looked into holds it; there are others.
    Hidden,
    /// Every process that lets anybody look was looked into, and none holds it: its descriptor is on
    /// its way over a UNIX socket, is registered in an io_uring, or the socket is the kernel's own.
    Nobody,
    /// These hold it.
    Now(&'a Holding),
    /// Nobody holds it any more; these did last.
    Before(&'a Holding),
}

impl<'a> Owners<'a> {
    fn of(sets: &'a [Holding], is_held: bool) -> Self {
        let Some(last) = sets.last() else {
            return Self::NotLooked;
        };
        let somebody = sets.iter().rev().find(|set| !set.holders.is_empty());
        match (last.holders.is_empty(), is_held, somebody) {
            (false, true, _) => Self::Now(last),
            (_, false, Some(set)) => Self::Before(set),
            (true, _, _) | (_, false, None) => match last.seen {
                Seen::All => Self::Nobody,
                Seen::Partly => Self::Hidden,
            },
        }
    }

    /// The set, of those who hold it or did last; `None` when nobody is known.
    pub const fn holding(self) -> Option<&'a Holding> {
        match self {
            Self::Now(holding) | Self::Before(holding) => Some(holding),
            Self::NotLooked | Self::Hidden | Self::Nobody => None,
        }
    }

    /// The holders known last, by pid; none when nobody is known.
    pub fn holders(self) -> &'a [Holder] {
        self.holding().map_or(&[], |holding| &holding.holders)
    }
}

/// Whose socket file an inode is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Held {
    End(EndRef),
    Listener(SockId),
}

impl Track {
    /// Who holds the socket now, or did last.
    pub fn owners(&self) -> Owners<'_> {
        let is_held = !self.is_over() && self.beside().descriptor == Some(Descriptor::Held);
        Owners::of(&self.holdings, is_held)
    }

    /// The sets of holders, oldest first: the first, and the newest of the others.
    pub fn holdings(&self) -> &[Holding] {
        &self.holdings
    }

    /// How many sets between the first and the others are not kept.
    pub const fn holdings_dropped(&self) -> u64 {
        self.holdings_dropped
    }

    /// The `nth` set of holders since the end was met, and the one before it; `None` when it is not
    /// kept any more.
    pub fn holding(&self, nth: usize) -> Option<(Option<&Holding>, &Holding)> {
        let dropped = self.holdings_dropped as usize;
        let index = match nth {
            0 => 0,
            _ => nth.checked_sub(dropped).filter(|&index| index > 0)?,
        };
        let before = index.checked_sub(1).and_then(|at| self.holdings.get(at));
        Some((before, self.holdings.get(index)?))
    }

    /// Whether one of these processes holds the end, has held it, or has made one of its calls.
    pub fn has_been_of(&self, wanted: &ProcessSet) -> bool {
        self.has_been_with(
            |program| wanted.has(program),
            |by| wanted.has_caller(by.pid, by.comm),
        )
    }

    /// The same of processes that are told by their holding, or by their calls.
    pub fn has_been_with(
        &self,
        holds: impl Fn(&Program) -> bool,
        calls: impl Fn(&Process) -> bool,
    ) -> bool {
        let mut sets = self.holdings.iter().map(|set| &set.holders);
        let steps = self.spans().iter().filter_map(|span| span.why.by);
        let marks = self.marks().iter().filter_map(|mark| mark.by);
        sets.any(|set| set.iter().any(|holder| holds(&holder.program)))
            || steps.chain(marks).any(|by| calls(&by))
    }

    fn hold(&mut self, holding: Holding) {
        if self.holdings.len() == SETS {
            // The first tells who had it to begin with.
            self.holdings.remove(1);
            self.holdings_dropped += 1;
        }
        self.holdings.push(holding);
    }
}

impl Tracker {
    /// Who listens there, as far as that is known.
    pub fn owners_of(&self, listener: &Listener) -> Owners<'_> {
        let sets = self.listener_holders.get(&listener.id).map(Vec::as_slice);
        Owners::of(sets.unwrap_or_default(), true)
    }

    /// The listeners that a connection to `local` may have come from: those of its address, or when
    /// there is none, those of every address.
    pub fn listeners_of(
        &self,
        local: crate::model::Endpoint,
        scope: Scope,
    ) -> impl Iterator<Item = &Listener> {
        let fits = move |listener: &&Listener| {
            listener.id.scope == scope && listener.local().port() == local.port()
        };
        let is_exact = move |listener: &&Listener| listener.local().addr() == local.addr();
        let of_the_port = move || self.listeners.values().filter(fits);
        let any_exact = of_the_port().any(|listener| is_exact(&listener));
        of_the_port().filter(move |listener| match any_exact {
            true => is_exact(listener),
            false => listener.local().is_any_address(),
        })
    }

    pub(super) fn ingest_holders(&mut self, told: &Holders, at: Timestamp) {
        let name = (told.scope.host, told.inode);
        let holding = |from: When| Holding {
            from,
            holders: told.holders.as_slice().into(),
            ended: told.ended.as_slice().into(),
            seen: told.seen,
        };
        let began = |first: Option<Timestamp>| match told.unchanged.or(first) {
            Some(since) => When::Between(since.min(at), at),
            None => When::Before(at),
        };
        match self.by_inode.get(&name).copied() {
            None => {}
            Some(Held::Listener(id)) => {
                let sets = self.listener_holders.entry(id).or_default();
                if let Some(last) = sets.last_mut().filter(|last| is_same(last, told)) {
                    if last.takes_words_of(told) {
                        self.touched_listeners.push(id);
                    }
                } else {
                    // Whoever listens is asked for as they are now; how they came to is not shown.
                    sets.clear();
                    sets.push(holding(began(None)));
                    self.touched_listeners.push(id);
                }
            }
            Some(Held::End(end)) => {
                let Some(track) = self.track_mut(end) else {
                    return;
                };
                let last = track.holdings.last_mut();
                if let Some(last) = last.filter(|last| is_same(last, told)) {
                    if last.takes_words_of(told) {
                        self.touch(end);
                    }
                    return;
                }
                let born = track.not_born_before();
                let first = born.filter(|_| track.holdings.is_empty());
                track.hold(holding(began(first)));
                let nth = track.holdings_dropped as usize + track.holdings.len() - 1;
                self.touch(end);
                self.say(
                    end,
                    Change::Held {
                        conn: end.conn,
                        side: end.side,
                        at,
                        nth,
                    },
                );
            }
        }
    }

    /// Asks who holds the end, when its file is one that was not asked for.
    pub(super) fn note_inode(&mut self, end: EndRef, inode: Option<u32>) {
        let Some(track) = self.track_mut(end) else {
            return;
        };
        if track.asked_for == inode {
            return;
        }
        let host = track.id().scope.host;
        let before = std::mem::replace(&mut track.asked_for, inode);
        if let Some(before) = before {
            // The number can be another socket's already, which then goes on to be asked for.
            if self.by_inode.get(&(host, before)) == Some(&Held::End(end)) {
                self.by_inode.remove(&(host, before));
                self.asks.push(Ask::NoHolders(before));
            }
        }
        if let Some(inode) = inode {
            self.by_inode.insert((host, inode), Held::End(end));
            self.asks.push(Ask::Holders(inode));
        }
    }

    /// The sides of a connection have changed places.
    pub(super) fn rename_inode(&mut self, end: EndRef) {
        if let Some(track) = self.track(end)
            && let Some(inode) = track.asked_for
        {
            let name = (track.id().scope.host, inode);
            self.by_inode.insert(name, Held::End(end));
        }
    }

    /// Takes in a listener as a look showed it, and asks who listens.
    pub(super) fn note_listener(&mut self, listener: Listener, at: Timestamp) {
        let id = listener.id;
        let known = self.listeners.get(&id);
        let was_full = known.and_then(|known| known.full_since);
        let inode_before = known.and_then(|known| known.inode);
        let full_since = listener.is_full().then(|| was_full.unwrap_or(at));
        self.listeners.insert(
            id,
            Listener {
                full_since,
                ..listener
            },
        );
        self.touched_listeners.push(id);
        if inode_before == listener.inode {
            return;
        }
        self.forget_listener_inode(&id, inode_before);
        if let Some(inode) = listener.inode {
            self.by_inode
                .insert((id.scope.host, inode), Held::Listener(id));
            self.asks.push(Ask::Holders(inode));
        }
    }

    /// Another source may name the listeners otherwise.
    pub(super) fn forget_the_listeners(&mut self, host: u16) {
        let of_host = |id: &&SockId| id.scope.host == host;
        let ids: Vec<SockId> = self.listeners.keys().filter(of_host).copied().collect();
        for id in ids {
            self.remove_listener(&id);
        }
    }

    /// A listener is gone.
    pub(super) fn remove_listener(&mut self, id: &SockId) {
        if let Some(listener) = self.listeners.remove(id) {
            self.listener_holders.remove(id);
            self.forget_listener_inode(id, listener.inode);
            self.touched_listeners.push(*id);
        }
    }

    fn forget_listener_inode(&mut self, id: &SockId, inode: Option<u32>) {
        if let Some(inode) = inode
            && self.by_inode.get(&(id.scope.host, inode)) == Some(&Held::Listener(*id))
        {
            self.by_inode.remove(&(id.scope.host, inode));
            self.asks.push(Ask::NoHolders(inode));
        }
    }

    /// An end in a state whose beginning was not seen, which the socket's counters can date.
    pub(super) fn ask_its_age(&mut self, end: EndRef) {
        let Some(track) = self.track(end) else {
            return;
        };
        let is_found = matches!(track.spans(), [span] if matches!(span.from, When::Before(_)));
        let is_dated = matches!(track.state(), TcpState::CloseWait | TcpState::FinWait2);
        let id = *track.id();
        if is_found && is_dated && id.cookie.is_some() && !track.last().is_mini_socket() {
            self.asks.push(Ask::Info(id));
        }
    }

    pub(super) fn ingest_info(&mut self, info: &crate::model::Info, at: Timestamp) {
        let Some(end) = self.find(&info.id) else {
            return;
        };
        match &info.answer {
            InfoAnswer::Silent(_) => self.mark_end(end, MarkKind::NoAnswer, None, at),
            InfoAnswer::Counters(counters) => {
                let begun = info.begun.min(at);
                let is_news = self.track_mut(end).is_some_and(|track| {
                    track.note_counters(counters, (begun, at));
                    track.date_what_was_found(counters, (begun, at))
                });
                if is_news {
                    self.touch(end);
                    let (conn, side) = (end.conn, end.side);
                    self.say(end, Change::Dated { conn, side, at });
                }
            }
        }
    }
}

/// Whether a set is the one that is known; who ended between them does not count, nor do the user
/// and the command line that a process has by now.
fn is_same(last: &Holding, told: &Holders) -> bool {
    last.seen == told.seen
        && last.holders.len() == told.holders.len()
        && last.holders.iter().zip(&told.holders).all(|(a, b)| {
            a.fds == b.fds && a.program.id == b.program.id && a.program.comm == b.program.comm
        })
}
