//! `/proc/net/tcp` and `tcp6`: what every kernel shows to everybody, when `sock_diag` is not to be
//! had. No cookie, no shutdown mask, no filter in the kernel, and 4 KiB a read.
//!
//! The traps: a socket has no name here but its 4-tuple, so a later incarnation is told by inode
//! and state; and a row can be skipped or shown twice, so gone is only what two reads lack.

pub mod parse;

use std::fs::File;
use std::io::{self, Read, Seek};

use crate::model::{
    Answer, Body, FourTuple, Look, Observation, Sample, SockId, SourceName, TcpState, Timestamp,
};
use crate::source::netns::Place;
use crate::source::table::{Seen, Table};
use crate::source::{Poller, Request, SourceError, clock, host};
use parse::Table as Text;

/// A file each.
const FILES: [(&str, Text); 2] = [("tcp", Text::Tcp4), ("tcp6", Text::Tcp6)];

/// What tells rows apart: the 4-tuple, and for listeners, of which several can share an address
/// (SO_REUSEPORT), the inode.
type Key = (FourTuple, Option<u32>);

/// The source.
pub struct ProcNet {
    request: Request,
    table: Table<Key>,
    text: Vec<u8>,
    /// Of a process whose namespace is looked at from outside: they show it when the process has
    /// ended, too.
    held: [Option<File>; 2],
    /// Asked for, to be answered after the next look.
    asked: Vec<SockId>,
    host: host::Watched,
    /// Rows that the last look could not read: said when the number changes.
    unreadable: usize,
}

impl ProcNet {
    /// The source; files are opened at each look.
    pub fn open(request: Request) -> Self {
        Self {
            table: Table::new(SourceName::Proc),
            text: Vec::new(),
            held: [None, None],
            asked: Vec::new(),
            host: host::Watched::of(request.scope, request.place.clone(), SourceName::Proc),
            unreadable: 0,
            request,
        }
    }

    /// Reads one file into the table; says how many rows could not be read.
    fn read(&mut self, index: usize, name: &str, kind: Text) -> io::Result<usize> {
        self.text.clear();
        let begun = clock::now();
        self.read_file(index, name)?;
        // Timers count from here, so that an age is never too high. They are late by what the
        // reading took, which varies.
        let at = clock::now();
        let seen = Seen { since: begun, at };
        let Self {
            request,
            table,
            text,
            ..
        } = self;
        let filter = &request.filter;
        let unreadable = parse::parse_table(text, kind, request.scope, at, |sample| {
            let tuple = &sample.id.tuple;
            let wanted = match sample.state {
                TcpState::Listen => filter.keeps_listener(&tuple.local),
                // On its way out, and not in the state any more in which it was last seen.
                TcpState::Close => false,
                _ => filter.keeps(tuple),
            };
            if wanted {
                table.row(key(&sample), &sample, 0, seen);
            }
        });
        Ok(unreadable)
    }

    fn read_file(&mut self, index: usize, name: &str) -> io::Result<()> {
        let place = &self.request.place;
        match (place, self.held.get_mut(index)) {
            (Place::Through(_), Some(held)) => {
                let file = match held {
                    Some(file) => file,
                    None => held.insert(place.open(name)?),
                };
                file.rewind()?;
                file.read_to_end(&mut self.text)?;
            }
            _ => {
                place.open(name)?.read_to_end(&mut self.text)?;
            }
        }
        Ok(())
    }

    fn read_all(&mut self) -> Result<usize, SourceError> {
        let mut unreadable = 0;
        for (index, (name, kind)) in FILES.into_iter().enumerate() {
            match self.read(index, name, kind) {
                Ok(count) => unreadable += count,
                // A kernel without IPv6 has no tcp6.
                Err(error) if kind == Text::Tcp6 && error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(SourceError::Proc {
                        path: self.request.place.path(name),
                        error,
                    });
                }
            }
        }
        Ok(unreadable)
    }

    /// Each look is a whole one.
    fn look_once(
        &mut self,
        with_keyframe: bool,
        out: &mut Vec<Observation>,
    ) -> Result<(), SourceError> {
        self.host.before_look(out);
        let begun = clock::now();
        self.table.begin();
        let unreadable = self.read_all()?;
        let at = clock::now();
        if unreadable != std::mem::replace(&mut self.unreadable, unreadable) && unreadable > 0 {
            out.push(Observation {
                host: 0,
                at,
                source: SourceName::Proc,
                body: Body::Lost {
                    count: Some(unreadable as u64),
                    why: "rows that could not be read".into(),
                },
            });
        }
        // A row that can't be read costs that row alone: the look counts as complete.
        self.table.finish(Look::Whole, begun, at, true, out);
        if with_keyframe {
            out.push(self.table.keyframe(begun, at));
        }
        self.answer(begun, at, out);
        Ok(())
    }

    /// Answers what was asked before this look: absent twice is gone.
    fn answer(&mut self, begun: Timestamp, at: Timestamp, out: &mut Vec<Observation>) {
        if self.asked.is_empty() {
            return;
        }
        self.host.before_gone(out);
        self.table.flush(at, out);
        for asked in std::mem::take(&mut self.asked) {
            let key = (asked.tuple, None);
            let answer = match self.find(&asked) {
                Some(sample) => Answer::Found(*sample),
                None if self.table.was_missing_before(&key, begun) => {
                    self.table.gone(&key);
                    Answer::Gone
                }
                // Absent once: the next look answers.
                None => {
                    self.asked.push(asked);
                    continue;
                }
            };
            out.push(Observation {
                host: 0,
                at,
                source: SourceName::Proc,
                body: Body::Lookup {
                    asked,
                    begun,
                    unchanged: None,
                    answer,
                },
            });
        }
    }

    /// The socket, if the look at hand shows it. Of listeners on one address any will do.
    fn find(&self, asked: &SockId) -> Option<&Sample> {
        if asked.tuple.remote.port() != 0 {
            return self.table.present(&(asked.tuple, None));
        }
        self.table.any_present(|(tuple, _)| *tuple == asked.tuple)
    }
}

fn key(sample: &Sample) -> Key {
    let listener = (sample.state == TcpState::Listen).then_some(sample.inode);
    (sample.id.tuple, listener.flatten())
}

impl Poller for ProcNet {
    fn name(&self) -> SourceName {
        SourceName::Proc
    }

    fn look(&mut self, out: &mut Vec<Observation>) -> Result<(), SourceError> {
        self.look_once(false, out)
    }

    fn look_at_all(&mut self, out: &mut Vec<Observation>) -> Result<(), SourceError> {
        self.look_once(true, out)
    }

    fn confirm(&mut self, asked: &[SockId], _: &mut Vec<Observation>) -> Result<(), SourceError> {
        self.asked.extend_from_slice(asked);
        Ok(())
    }
}
