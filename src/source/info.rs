//! The sockets' own counters (`tcp_info`): how long ago data and acknowledgements came.
//!
//! The kernel takes a socket's lock to read them, and a program that holds it can sleep: it waits
//! for a page of its own memory in the middle of recv(), say. Whoever asks then waits with it, and
//! nothing ends that. So a process of its own asks (see [`helper`]), and we wait for its answers as
//! long as we like.
//!
//! Questions go out many in one datagram, and the kernel answers them in order: the first that has
//! no answer is the one that blocks. What stands behind it goes to another helper. The trap: on a
//! machine under load a helper is slow and not blocked, so its state is looked at, too; and who was
//! given up is still listened to.

mod helper;
mod live;

use std::collections::{HashMap, VecDeque};
use std::os::fd::AsFd;
use std::time::Duration;

use netlink_sys::Socket;
use rustix::event::{PollFd, PollFlags, poll};

use crate::model::{Body, Counters, Info, InfoAnswer, Observation, SockId, SourceName, Timestamp};
use crate::source::sock_diag::devices::Devices;
use crate::source::sock_diag::tcp_info::counters;
use crate::source::sock_diag::wire::{Message, counters_request, messages, set_sequence};
use crate::source::sock_diag::{DiagError, open_socket};
use crate::source::{SourceError, clock};
use helper::{Helper, Sent};
pub use live::run;

/// The answers to this many fit into the default receive queue (166 overrun it).
const BATCH: usize = 100;
/// An answer takes a microsecond; after this long without one it is time to see who blocks.
const SUSPICION: Duration = Duration::from_millis(20);
/// So many processes at most: as many sockets can block before others get no answer.
const HELPERS: usize = 4;
/// An answer that was lost on its way is asked for again so often.
const TRIES: u8 = 3;
/// A row with `tcp_info` has some 400 bytes.
const PLACE: usize = 4 << 10;
const OPERATION: &str = "asking for a socket's counters";

/// Asks for the counters of these sockets and waits for `limit` at most: an observation for each
/// that has any, [`InfoAnswer::Silent`] for each that does not answer in time. None for one that
/// is gone or is a mini-socket, and none for one that is known without a cookie.
///
/// # Errors
/// When the kernel can't be asked.
pub fn ask_once(ids: &[SockId], limit: Duration) -> Result<Vec<Observation>, SourceError> {
    Inquiry::default().ask(ids, limit)
}

/// Asks again and again: as [`ask_once`], and whoever blocks is not asked anew while it does.
#[derive(Default)]
pub struct Inquiry {
    helpers: Vec<Asking>,
    devices: Option<Devices>,
}

/// One question.
#[derive(Clone, Copy)]
struct Question {
    id: SockId,
    /// What the socket is bound to.
    device: u32,
    tries: u8,
}

/// A helper, and what it was given to ask.
struct Asking {
    helper: Helper,
    socket: Socket,
    /// In the order in which they are asked; those without an answer.
    open: VecDeque<(u32, Question)>,
    sequence: u32,
    begun: Timestamp,
    /// The last answer came then.
    moved: Timestamp,
}

/// One call.
struct Call {
    deadline: Timestamp,
    waiting: VecDeque<Question>,
    /// How many questions are out for each socket that has not answered.
    wanted: HashMap<SockId, usize>,
    out: Vec<Observation>,
}

impl Inquiry {
    /// As [`ask_once`].
    ///
    /// # Errors
    /// When the kernel can't be asked.
    pub fn ask(
        &mut self,
        ids: &[SockId],
        limit: Duration,
    ) -> Result<Vec<Observation>, SourceError> {
        let begun = clock::now();
        let mut call = Call {
            deadline: begun.plus(limit),
            waiting: VecDeque::new(),
            wanted: HashMap::new(),
            out: Vec::new(),
        };
        for id in ids.iter().filter(|id| id.cookie.is_some()) {
            if call.wanted.insert(*id, 1).is_none() && !self.blocks(id) {
                call.waiting.push_back(Question {
                    id: *id,
                    device: id.tuple.local.interface().unwrap_or(0),
                    tries: 0,
                });
            }
        }
        while !call.wanted.is_empty() {
            self.hand_out(&mut call)?;
            if clock::now() >= call.deadline {
                break;
            }
            self.wait(&call);
            self.take_in(&mut call)?;
            self.pass_on(&mut call);
        }
        self.withdraw();
        Ok(call.end(ids, begun))
    }

    /// Whether somebody waits for this socket's lock since an earlier call.
    fn blocks(&self, id: &SockId) -> bool {
        self.helpers
            .iter()
            .any(|asking| asking.open.iter().any(|(_, open)| open.id == *id))
    }

    /// Gives questions to whoever has nothing to do, and to somebody new when nobody gets on.
    fn hand_out(&mut self, call: &mut Call) -> Result<(), SourceError> {
        while !call.waiting.is_empty() {
            let free = self.helpers.iter().position(|one| !one.helper.is_busy());
            let index = match free {
                Some(index) => index,
                None if self.helpers.len() < HELPERS && self.nobody_gets_on() => {
                    self.helpers.push(Asking::open()?);
                    self.helpers.len() - 1
                }
                None => return Ok(()),
            };
            let many = call.waiting.len().min(BATCH);
            let batch: Vec<Question> = call.waiting.drain(..many).collect();
            if let Some(asking) = self.helpers.get_mut(index)
                && asking.ask(&batch).is_err()
            {
                // It was killed. Others may be luckier.
                self.helpers.remove(index);
                call.again(batch);
            }
        }
        Ok(())
    }

    fn nobody_gets_on(&self) -> bool {
        let now = clock::now();
        self.helpers.iter().all(|asking| asking.is_blocked(now))
    }

    /// Waits for an answer, and no longer than until it is time to see who blocks.
    fn wait(&self, call: &Call) {
        let mut left = call.deadline.since(clock::now());
        let is_behind = |asking: &Asking| asking.helper.is_busy() && asking.open.len() > 1;
        if !call.waiting.is_empty() || self.helpers.iter().any(is_behind) {
            left = left.min(SUSPICION);
        }
        let mut fds: Vec<PollFd<'_>> = Vec::new();
        for asking in self.helpers.iter().filter(|one| one.helper.is_busy()) {
            fds.push(PollFd::new(&asking.socket, PollFlags::IN));
            fds.extend(
                asking
                    .helper
                    .fd()
                    .map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)),
            );
        }
        if let Ok(left) = left.try_into() {
            // Whatever it says, what there is is read.
            let _ = poll(&mut fds, Some(&left));
        }
    }

    fn take_in(&mut self, call: &mut Call) -> Result<(), SourceError> {
        let devices = &mut self.devices;
        let mut ended = Vec::new();
        for (index, asking) in self.helpers.iter_mut().enumerate() {
            if !asking.helper.is_busy() {
                continue;
            }
            // In this order: what was sent has its answers there already.
            let sent = asking.helper.sent();
            asking.receive(|question, begun, reply| call.hear(question, begun, reply, devices))?;
            match sent {
                Sent::NotYet => continue,
                Sent::Done(0) => {}
                Sent::Done(errno) => return Err(DiagError::refused(OPERATION, errno).into()),
                Sent::Ended => ended.push(index),
            }
            // Their answers were lost.
            call.again(asking.open.drain(..).map(|(_, question)| question));
        }
        for index in ended.into_iter().rev() {
            self.helpers.remove(index);
        }
        Ok(())
    }

    /// What stands behind a question that blocks goes to somebody else, if there is anybody.
    fn pass_on(&mut self, call: &mut Call) {
        let now = clock::now();
        let has_room = self.helpers.len() < HELPERS
            || self.helpers.iter().any(|asking| !asking.helper.is_busy());
        for asking in &mut self.helpers {
            if has_room && asking.is_blocked(now) && asking.open.len() > 1 {
                let rest = asking.open.drain(1..).map(|(_, question)| question);
                call.waiting.extend(rest);
            }
        }
    }

    /// The call is over. Who blocks is remembered; the others are of no interest any more.
    fn withdraw(&mut self) {
        for asking in &mut self.helpers {
            asking.open.truncate(1);
        }
    }

    /// Whether somebody still waits for a lock.
    fn is_stuck(&self) -> bool {
        self.helpers.iter().any(|asking| asking.helper.is_busy())
    }
}

/// What came for a question.
enum Reply {
    Counters(Counters),
    /// It has none.
    Nothing,
    /// It is not there.
    NoEntry,
}

impl Call {
    fn hear(
        &mut self,
        question: Question,
        begun: Timestamp,
        reply: Reply,
        devices: &mut Option<Devices>,
    ) {
        let Some(count) = self.wanted.get_mut(&question.id) else {
            return;
        };
        match reply {
            Reply::Counters(counters) => {
                self.wanted.remove(&question.id);
                self.out.push(Observation {
                    host: 0,
                    at: clock::now(),
                    source: SourceName::Info,
                    body: Body::Info(Info {
                        id: question.id,
                        begun,
                        answer: InfoAnswer::Counters(counters),
                    }),
                });
            }
            Reply::Nothing => {
                self.wanted.remove(&question.id);
            }
            Reply::NoEntry => {
                *count -= 1;
                if question.device == 0 {
                    // A socket that is bound to a device is found by that alone.
                    let devices = devices.get_or_insert_with(Devices::open);
                    let numbers = devices.numbers(begun);
                    *count += numbers.len();
                    self.waiting.extend(
                        numbers
                            .iter()
                            .map(|&device| Question { device, ..question }),
                    );
                }
                if *count == 0 {
                    self.wanted.remove(&question.id);
                }
            }
        }
    }

    /// These have to be asked again; after so many times they are not answered.
    fn again(&mut self, questions: impl IntoIterator<Item = Question>) {
        let again = questions.into_iter().filter_map(|question| {
            let tries = question.tries + 1;
            (tries < TRIES).then_some(Question { tries, ..question })
        });
        self.waiting.extend(again);
    }

    /// All that was heard, and who was not.
    fn end(mut self, ids: &[SockId], begun: Timestamp) -> Vec<Observation> {
        let at = clock::now();
        for id in ids {
            if self.wanted.remove(id).is_some() {
                self.out.push(silent(*id, begun, at));
            }
        }
        self.out
    }
}

fn silent(id: SockId, begun: Timestamp, at: Timestamp) -> Observation {
    Observation {
        host: 0,
        at,
        source: SourceName::Info,
        body: Body::Info(Info {
            id,
            begun,
            answer: InfoAnswer::Silent(at.since(begun)),
        }),
    }
}

impl Asking {
    fn open() -> Result<Self, DiagError> {
        let socket = open_socket()?;
        let helper = Helper::start(socket.as_fd()).map_err(|error| DiagError::Io {
            operation: "start a process that asks for counters",
            error,
        })?;
        let now = clock::now();
        Ok(Self {
            helper,
            socket,
            open: VecDeque::new(),
            sequence: 0,
            begun: now,
            moved: now,
        })
    }

    fn is_blocked(&self, now: Timestamp) -> bool {
        now.since(self.moved) >= SUSPICION && self.helper.is_blocked()
    }

    /// Has all of these asked.
    fn ask(&mut self, batch: &[Question]) -> std::io::Result<()> {
        let mut bytes = Vec::new();
        self.open.clear();
        for question in batch {
            self.sequence = self.sequence.wrapping_add(1);
            let Question { id, device, .. } = question;
            let mut request = counters_request(&id.tuple, id.cookie, *device, 0);
            set_sequence(&mut request, self.sequence);
            bytes.extend(request);
            self.open.push_back((self.sequence, *question));
        }
        self.begun = clock::now();
        self.moved = self.begun;
        self.helper.send(&bytes)
    }

    /// Hands on the answers that are there.
    fn receive(
        &mut self,
        mut take: impl FnMut(Question, Timestamp, Reply),
    ) -> Result<(), DiagError> {
        let mut place = [0; PLACE];
        loop {
            let length = match self.socket.recv(&mut &mut place[..], libc::MSG_DONTWAIT) {
                Ok(length) => length,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                // Some are lost (ENOBUFS), which shows when all has been sent.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => continue,
                Err(_) => return Ok(()),
            };
            for (sequence, _, message) in messages(place.get(..length).unwrap_or_default()) {
                let Some(index) = self.open.iter().position(|(open, _)| *open == sequence) else {
                    continue;
                };
                let reply = match message {
                    Message::Row(payload) => {
                        counters(payload).map_or(Reply::Nothing, Reply::Counters)
                    }
                    Message::Error(libc::ENOENT | libc::ESTALE) => Reply::NoEntry,
                    Message::Error(errno) => return Err(DiagError::refused(OPERATION, errno)),
                    Message::Done | Message::Overrun => continue,
                };
                self.moved = clock::now();
                if let Some((_, question)) = self.open.remove(index) {
                    take(question, self.begun, reply);
                }
            }
        }
    }
}
