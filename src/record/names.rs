//! Which number is which socket, and which is which process. Numbers only grow within a file and
//! are never used again there.
//!
//! Knows names and numbers and nothing of lines. Memory is bounded: the newest numbers take the
//! places of the oldest, and clones share what neither has changed since.
//!
//! The trap: lines of another recording can stand in a file, and the header between the two can be
//! lost. A row of the wrong socket is worse than none, so a number that is given twice to different
//! sockets names nobody from then on.

use std::sync::Arc;

use crate::model::Program;
use crate::record::NAMES_KNOWN;
use crate::record::decode::{Known, Named};

/// Places that clones share.
const PAGE: usize = 128;
/// Twice as many places as have a number at a time: the writer forgets all at once, and what it is
/// about to write may have been named just before.
const PLACES: usize = 2 * NAMES_KNOWN;

/// A number, and who it names; nobody when that is disputed.
type Place<T> = Option<(u64, Option<T>)>;

/// Sockets and processes by their numbers.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    sockets: Numbered<Named>,
    processes: Numbered<Arc<Program>>,
}

impl Names {
    pub(super) fn insert(&mut self, number: u64, id: Named) {
        if self.sockets.insert(number, id) == Begun::Another {
            self.processes = Numbered::default();
        }
    }

    pub(super) fn insert_process(&mut self, number: u64, program: Arc<Program>) {
        if self.processes.insert(number, program) == Begun::Another {
            self.sockets = Numbered::default();
        }
    }
}

impl Known for Names {
    #[inline]
    fn socket(&self, number: u64) -> Option<Named> {
        self.sockets.get(number).copied()
    }

    fn process(&self, number: u64) -> Option<Arc<Program>> {
        self.processes.get(number).cloned()
    }
}

/// Whether it is still the file that it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Begun {
    Same,
    /// Another file has begun, and its header is lost.
    Another,
}

/// What has a number.
#[derive(Clone, Debug)]
struct Numbered<T> {
    pages: Vec<Arc<[Place<T>; PAGE]>>,
}

impl<T> Default for Numbered<T> {
    fn default() -> Self {
        Self { pages: Vec::new() }
    }
}

const fn place_of(number: u64) -> (usize, usize) {
    let place = (number % PLACES as u64) as usize;
    (place / PAGE, place % PAGE)
}

impl<T: Clone + PartialEq> Numbered<T> {
    fn insert(&mut self, number: u64, id: T) -> Begun {
        let is_another =
            number == 0 && matches!(self.place(0), Some((0, known)) if known.as_ref() != Some(&id));
        if is_another {
            self.pages.clear();
        }
        let (page, place) = place_of(number);
        while self.pages.len() <= page {
            self.pages.push(Arc::new([const { None }; PAGE]));
        }
        let place = &mut Arc::make_mut(&mut self.pages[page])[place];
        *place = match place.take() {
            Some((known, there)) if known == number => {
                Some((number, there.filter(|there| *there == id)))
            }
            Some((known, there)) if known > number => Some((known, there)),
            _ => Some((number, Some(id))),
        };
        match is_another {
            true => Begun::Another,
            false => Begun::Same,
        }
    }

    #[inline]
    fn place(&self, number: u64) -> &Place<T> {
        let (page, place) = place_of(number);
        self.pages.get(page).map_or(&None, |page| &page[place])
    }

    #[inline]
    fn get(&self, number: u64) -> Option<&T> {
        match self.place(number) {
            Some((known, id)) if *known == number => id.as_ref(),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event::Comm;
    use crate::model::{Cookie, Endpoint, FourTuple, ProcessId, Scope, SockId};

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
            names.socket(100_000 - NAMES_KNOWN as u64),
            Some(id(100_000 - NAMES_KNOWN as u64))
        );
        assert_eq!(names.socket(0), None);
        assert_eq!(names.socket(u64::MAX), None);
        // An old line in the wrong place takes nothing from the newer one.
        names.insert(99_999 - PLACES as u64, id(1));
        assert_eq!(names.socket(99_999), Some(id(99_999)));
        names.insert(u64::MAX, id(7));
        assert_eq!(names.socket(u64::MAX), Some(id(7)));
        assert!(names.sockets.pages.len() <= PLACES / PAGE);
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
    fn another_first_process_is_another_file_too() {
        let program = |pid| {
            Arc::new(Program {
                id: ProcessId { pid, started: 1 },
                parent: None,
                comm: Comm([0; 16]),
                uid: None,
                user: None,
                cmdline: None,
            })
        };
        let mut names = Names::default();
        names.insert(3, id(3));
        names.insert_process(0, program(10));
        names.insert_process(1, program(11));
        assert_eq!(names.process(1), Some(program(11)));
        assert_eq!(names.socket(1), None, "numbers of their own");
        names.insert_process(0, program(20));
        assert_eq!((names.process(1), names.socket(3)), (None, None));
        names.insert(0, id(1));
        names.insert(0, id(2));
        assert_eq!(names.process(0), None);
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
