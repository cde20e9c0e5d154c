//! The connections by their numbers, in order.
//!
//! Every event asks for its connection several times, hundreds of thousands of times a second, so
//! finding one must not be a walk down a tree of all. Numbers are given in sequence, so sixty-four
//! neighbours share a page, and few pages make a flat tree that stays in the cache. The trap: a
//! connection can outlive its neighbours by days, so a page of which one is left must be small.
//!
//! A copy of a book shares its connections with it until either changes one: a pause, and each place
//! that replay can go back to, is such a copy, and most of what it holds never changes again.

use std::collections::BTreeMap;
use std::ops::{Bound, RangeBounds};
use std::rc::Rc;

use crate::timeline::{ConnId, Connection};

const PAGE: u64 = 64;

#[derive(Clone, Debug)]
struct Page {
    filled: u32,
    places: Box<[Option<Rc<Connection>>; PAGE as usize]>,
}

/// Connections in the order of their numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct Book {
    pages: BTreeMap<u64, Page>,
    len: usize,
}

const fn place(id: ConnId) -> (u64, usize) {
    (id.0 / PAGE, (id.0 % PAGE) as usize)
}

impl Book {
    pub(super) fn insert(&mut self, connection: Rc<Connection>) {
        let (number, place) = place(connection.id);
        let page = self.pages.entry(number).or_insert_with(|| Page {
            filled: 0,
            places: Box::new([const { None }; PAGE as usize]),
        });
        if page.places[place].replace(connection).is_none() {
            page.filled += 1;
            self.len += 1;
        }
    }

    #[inline]
    pub(super) fn get(&self, id: &ConnId) -> Option<&Connection> {
        let (number, place) = place(*id);
        self.pages.get(&number)?.places[place].as_deref()
    }

    #[inline]
    pub(super) fn get_mut(&mut self, id: &ConnId) -> Option<&mut Connection> {
        let (number, place) = place(*id);
        let shared = self.pages.get_mut(&number)?.places[place].as_mut()?;
        Some(Rc::make_mut(shared))
    }

    pub(super) fn remove(&mut self, id: &ConnId) -> Option<Rc<Connection>> {
        let (number, place) = place(*id);
        let page = self.pages.get_mut(&number)?;
        let connection = page.places[place].take()?;
        page.filled -= 1;
        if page.filled == 0 {
            self.pages.remove(&number);
        }
        self.len -= 1;
        Some(connection)
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    /// All of them, oldest first.
    pub(super) fn values(
        &self,
    ) -> impl DoubleEndedIterator<Item = &Connection> + ExactSizeIterator + Clone {
        let all = self.pages.values().flat_map(Page::connections);
        Counted {
            all,
            left: self.len,
        }
    }

    /// Those whose numbers lie in `range`, oldest first.
    pub(super) fn range(
        &self,
        range: impl RangeBounds<ConnId>,
    ) -> impl DoubleEndedIterator<Item = &Connection> {
        let bounds = (range.start_bound().cloned(), range.end_bound().cloned());
        let first = match bounds.0 {
            Bound::Included(id) | Bound::Excluded(id) => id.0 / PAGE,
            Bound::Unbounded => 0,
        };
        let last = match bounds.1 {
            Bound::Included(id) | Bound::Excluded(id) => id.0 / PAGE,
            Bound::Unbounded => u64::MAX,
        };
        self.pages
            .range(first..=last.max(first))
            .flat_map(|(_, page)| page.connections())
            .filter(move |connection| bounds.contains(&connection.id))
    }
}

impl Page {
    fn connections(&self) -> impl DoubleEndedIterator<Item = &Connection> + Clone {
        self.places.iter().filter_map(Option::as_deref)
    }
}

/// An iterator that knows how many are left.
#[derive(Clone)]
struct Counted<I> {
    all: I,
    left: usize,
}

impl<I: Iterator> Iterator for Counted<I> {
    type Item = I::Item;

    fn next(&mut self) -> Option<I::Item> {
        let next = self.all.next();
        self.left = self.left.saturating_sub(1);
        next
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl<I: DoubleEndedIterator> DoubleEndedIterator for Counted<I> {
    fn next_back(&mut self) -> Option<I::Item> {
        let next = self.all.next_back();
        self.left = self.left.saturating_sub(1);
        next
    }
}

impl<I: Iterator> ExactSizeIterator for Counted<I> {}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Endpoint, FourTuple, Scope, Timestamp};

    fn connection(id: u64) -> Rc<Connection> {
        let end = Endpoint::new([127, 0, 0, 1].into(), 1);
        let tuple = FourTuple {
            local: end,
            remote: end,
        };
        let at = Timestamp::from_nanos(0);
        Rc::new(Connection::new(ConnId(id), Scope::default(), tuple, at))
    }

    fn book(ids: &[u64]) -> Book {
        let mut book = Book::default();
        for &id in ids {
            book.insert(connection(id));
        }
        book
    }

    fn ids<'a>(connections: impl Iterator<Item = &'a Connection>) -> Vec<u64> {
        connections.map(|connection| connection.id.0).collect()
    }

    #[test]
    fn connections_are_found_and_go() {
        let mut book = book(&[1, 63, 64, 200]);
        assert_eq!(book.get(&ConnId(64)).map(|c| c.id), Some(ConnId(64)));
        assert!(book.get(&ConnId(2)).is_none() && book.get(&ConnId(9999)).is_none());
        assert!(book.remove(&ConnId(64)).is_some() && book.remove(&ConnId(64)).is_none());
        assert_eq!(book.len(), 3);
        assert_eq!(book.pages.len(), 2, "an empty page goes");
        assert!(book.get_mut(&ConnId(63)).is_some());
    }

    #[test]
    fn they_come_in_order_from_both_sides_and_are_counted() {
        let book = book(&[200, 1, 64, 63]);
        assert_eq!(ids(book.values()), [1, 63, 64, 200]);
        assert_eq!(ids(book.values().rev()), [200, 64, 63, 1]);
        let mut all = book.values();
        all.next();
        assert_eq!(all.len(), 3);
    }

    #[test]
    fn a_range_is_cut_at_its_numbers() {
        let book = book(&[1, 63, 64, 65, 200]);
        assert_eq!(ids(book.range(ConnId(63)..ConnId(65))), [63, 64]);
        assert_eq!(ids(book.range(ConnId(64)..)), [64, 65, 200]);
        assert_eq!(ids(book.range(..=ConnId(64)).rev()), [64, 63, 1]);
        let after = (Bound::Excluded(ConnId(64)), Bound::Unbounded);
        assert_eq!(ids(book.range(after)), [65, 200]);
        assert_eq!(ids(book.range(ConnId(300)..)), [0; 0]);
    }
}
