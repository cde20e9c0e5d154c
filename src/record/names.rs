//! Which number is which socket. Numbers only grow within a file and are never used again there.
//!
//! Knows sockets and numbers and nothing of lines. Memory is bounded: the newest numbers take the
//! places of the oldest, and clones share what neither has changed since.
//!
//! The trap: lines of another recording can stand in a file, and the header between the two can be
//! lost. A row of the wrong socket is worse than none, so a number that is given twice to different
//! sockets names nobody from then on.

use std::sync::Arc;

use crate::record::SOCKETS_KNOWN;
use crate::record::decode::{Named, Sockets};

/// Places that clones share.
const PAGE: usize = 128;
/// Twice as many places as sockets have a number at a time: the writer forgets all at once, and
/// what it is about to write may have been named just before.
const PLACES: usize = 2 * SOCKETS_KNOWN;

/// A number, and who it names; nobody when that is disputed.
type Place = Option<(u64, Option<Named>)>;

/// Sockets by their numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    pages: Vec<Arc<[Place; PAGE]>>,
}

const fn place_of(number: u64) -> (usize, usize) {
    let place = (number % PLACES as u64) as usize;
    (place / PAGE, place % PAGE)
}

impl Names {
    pub(super) fn insert(&mut self, number: u64, id: Named) {
        if number == 0 && matches!(self.place(0), Some((0, known)) if *known != Some(id)) {
            // Another file begins, and its header is lost.
            self.pages.clear();
        }
        let (page, place) = place_of(number);
        while self.pages.len() <= page {
            self.pages.push(Arc::new([const { None }; PAGE]));
        }
        let place = &mut Arc::make_mut(&mut self.pages[page])[place];
        *place = match *place {
            Some((known, there)) if known == number => {
                Some((number, there.filter(|there| *there == id)))
            }
            Some((known, there)) if known > number => Some((known, there)),
            _ => Some((number, Some(id))),
        };
    }

    #[inline]
    fn place(&self, number: u64) -> &Place {
        let (page, place) = place_of(number);
        self.pages.get(page).map_or(&None, |page| &page[place])
    }
}

impl Sockets for Names {
    #[inline]
    fn socket(&self, number: u64) -> Option<Named> {
        match self.place(number) {
            Some((known, id)) if *known == number => *id,
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Cookie, Endpoint, FourTuple, Scope, SockId};

    fn id(cookie: u64) -> Named {
        let end = Endpoint::new([127, 0, 0, 1].into(), 1);
        let id = SockId {
            scope: Scope::default(),
            cookie: Some(Cookie(cookie)),
            tuple: FourTuple {
                local: end,
                remote: end,
            },
        };
        Named { id, cgroup: None }
    }

    #[test]
    fn the_newest_numbers_are_known() {
        let mut names = Names::default();
        for number in 0..100_000 {
            names.insert(number, id(number));
        }
        assert_eq!(names.socket(99_999), Some(id(99_999)));
        assert_eq!(
            names.socket(100_000 - SOCKETS_KNOWN as u64),
            Some(id(100_000 - SOCKETS_KNOWN as u64))
        );
        assert_eq!(names.socket(0), None);
        assert_eq!(names.socket(u64::MAX), None);
        // An old line in the wrong place takes nothing from the newer one.
        names.insert(99_999 - PLACES as u64, id(1));
        assert_eq!(names.socket(99_999), Some(id(99_999)));
        names.insert(u64::MAX, id(7));
        assert_eq!(names.socket(u64::MAX), Some(id(7)));
        assert!(names.pages.len() <= PLACES / PAGE);
    }

    #[test]
    fn a_number_given_twice_names_nobody() {
        let mut names = Names::default();
        names.insert(0, id(10));
        names.insert(5, id(1));
        names.insert(5, id(1));
        assert_eq!(names.socket(5), Some(id(1)));
        names.insert(5, id(2));
        assert_eq!(names.socket(5), None);
        names.insert(5, id(1));
        assert_eq!(names.socket(5), None);
        assert_eq!(names.socket(0), Some(id(10)));
    }

    #[test]
    fn another_first_socket_is_another_file() {
        let mut names = Names::default();
        names.insert(0, id(10));
        names.insert(1, id(11));
        names.insert(0, id(20));
        assert_eq!(names.socket(1), None);
        assert_eq!(names.socket(0), Some(id(20)));
    }

    #[test]
    fn a_clone_goes_its_own_way() {
        let mut names = Names::default();
        names.insert(3, id(1));
        let before = names.clone();
        names.insert(4, id(2));
        assert_eq!((before.socket(4), before.socket(3)), (None, Some(id(1))));
        assert_eq!(names.socket(4), Some(id(2)));
    }
}
