//! Starts the two processes of an experiment, gives them their cues, and tells what they did.
//!
//! Reads no clock: who hears an [`Announcement`] stamps it. Knows nothing of what is watched; its
//! caller learns the port before the client connects, and sees to it.
//!
//! The trap: an experiment may be left at any moment, by any side. All that can happen arrives in
//! one channel (an answer, the end of a process, the wish to stop), so that no wait is deaf to the
//! rest; and whatever ends the experiment, `Cast` is dropped, which leaves no process behind.

use std::convert::Infallible;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use crate::lab::experiments::{Experiment, LoopbackFamily, OPENING, Outcome, Place, Role, Step};

/// How long an actor may take to answer: more than the 5 s that its calls may block.
const ANSWER_TIME: Duration = Duration::from_secs(10);

/// How long an actor may take to leave by itself when its commands have ended.
const LEAVE_TIME: Duration = Duration::from_secs(1);

/// How long stopping waits for the experiment's thread, which may be held up by a full channel of
/// the very caller that stops it.
const STOP_TIME: Duration = Duration::from_secs(4);

/// An experiment that cannot be started.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// Another program listens there.
    #[error("port {port} on {addr} is taken (EADDRINUSE); choose another with --port")]
    PortTaken {
        /// Where.
        addr: IpAddr,
        /// Which.
        port: u16,
    },
    /// A port for which a privilege is missing.
    #[error("port {0} may not be used without privileges (EACCES); choose another with --port")]
    PortPrivileged(u16),
    /// No IPv6 here.
    #[error("IPv6 is not available on this host ({0}); run the experiment over IPv4")]
    NoIpv6(String),
    /// The server cannot listen for another reason.
    #[error("the server cannot listen: {0}")]
    Listen(String),
    /// A process, or the thread that serves it, cannot be started.
    #[error("cannot start the experiment's {what} ({}): {source}", program.display())]
    Spawn {
        /// What was to be started.
        what: String,
        /// The program.
        program: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

/// What is to be run, and where.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// The experiment.
    pub experiment: &'static Experiment,
    /// The addresses.
    pub family: LoopbackFamily,
    /// The server's port; 0 lets the kernel choose.
    pub port: u16,
    /// The pause before each step.
    pub step: Duration,
}

/// What is told while an experiment runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Announcement {
    /// A process made a call.
    Step {
        /// The process.
        pid: u32,
        /// Who it is.
        role: Role,
        /// The call and its outcome, as a programmer would write it; control characters escaped.
        text: String,
        /// What it means, in words.
        say: &'static str,
    },
    /// All steps are done and both processes have ended. Nothing follows.
    Finished,
    /// The experiment cannot go on, and why; both processes have ended. Nothing follows.
    Failed(String),
}

/// An experiment whose server listens, and whose client has not connected.
#[derive(Debug)]
pub struct Conductor {
    /// The port that the server listens on.
    pub port: u16,
    /// The first step, which is done: told here, and not again by [`Conductor::run`].
    pub opening: Announcement,
    cast: Cast,
    steps: &'static [Step],
}

impl Conductor {
    /// Starts both processes, from `executable lab-actor ROLE`, and lets the server listen.
    pub fn start(executable: &Path, plan: Plan) -> Result<Self, LabError> {
        let place = Place {
            family: plan.family,
            port: plan.port,
        };
        let mut cast = Cast::hire(executable, place, plan.step)?;
        let answer = cast
            .perform(&OPENING)
            .map_err(|halt| LabError::Listen(halt.to_string()))?;
        let text = answer.result.map_err(|text| why_not(text, place))?;
        let port = listening_port(&text)
            .ok_or_else(|| LabError::Listen(format!("its answer names no port: {text:?}")))?;
        cast.place.port = port;
        Ok(Self {
            port,
            opening: announce(&OPENING, answer.pid, text),
            cast,
            steps: plan.experiment.steps,
        })
    }

    /// Performs the remaining steps in a thread of its own, a pause before each, and tells them to
    /// `tell`, which returns false when nobody listens any more: then the experiment is left.
    pub fn run(
        self,
        tell: impl Fn(Announcement) -> bool + Send + 'static,
    ) -> Result<Running, LabError> {
        let Self { cast, steps, .. } = self;
        let stop = cast.post.clone();
        let program = cast.program.clone();
        let (alive, ended) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("lab".to_owned())
            .spawn(move || {
                // Dropped last: the experiment has ended when its processes have.
                let _alive: Sender<Infallible> = alive;
                conduct(cast, steps, tell);
            });
        match thread {
            Ok(_) => Ok(Running { stop, ended }),
            Err(source) => Err(LabError::Spawn {
                what: "thread".to_owned(),
                program,
                source,
            }),
        }
    }
}

/// An experiment that runs. Dropped, it stops.
#[derive(Debug)]
pub struct Running {
    stop: Sender<News>,
    ended: Receiver<Infallible>,
}

impl Running {
    /// Leaves the experiment where it is: ends both processes, and with them every socket.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails only when the experiment has ended already.
        let _ = self.stop.send(News::Stop);
        let _ = self.ended.recv_timeout(STOP_TIME);
    }
}

/// Why no further step is made.
#[derive(Debug, thiserror::Error)]
enum Halt {
    #[error("the experiment was stopped")]
    Stopped,
    #[error("{0}")]
    Failed(String),
}

fn conduct(mut cast: Cast, steps: &[Step], tell: impl Fn(Announcement) -> bool) {
    let end = steps.iter().try_for_each(|step| {
        cast.pause()?;
        let answer = cast.perform(step)?;
        let verdict = answer.verdict(step);
        if !tell(announce(step, answer.pid, answer.into_text())) {
            return Err(Halt::Stopped);
        }
        verdict
    });
    // Before the end is told: whoever hears of it finds no process left.
    drop(cast);
    // The last words; there is nothing to leave when nobody hears them.
    let _ = match end {
        Ok(()) => tell(Announcement::Finished),
        Err(Halt::Failed(why)) => tell(Announcement::Failed(why)),
        Err(Halt::Stopped) => false,
    };
}

fn announce(step: &Step, pid: u32, text: String) -> Announcement {
    Announcement::Step {
        pid,
        role: step.who,
        text,
        say: step.say,
    }
}

/// What an actor said of a step.
struct Answer {
    pid: u32,
    result: Result<String, String>,
}

impl Answer {
    fn verdict(&self, step: &Step) -> Result<(), Halt> {
        match (&self.result, step.outcome) {
            (Ok(_), Outcome::Works) => Ok(()),
            (Err(text), Outcome::Fails(errno)) if errno_of(text) == Some(errno) => Ok(()),
            (Ok(text), Outcome::Fails(errno)) => Err(Halt::Failed(format!(
                "the {}'s {text} worked, and should have failed with {errno}",
                step.who
            ))),
            (Err(text), _) => Err(Halt::Failed(format!("the {}'s {text}", step.who))),
        }
    }

    fn into_text(self) -> String {
        self.result.unwrap_or_else(|text| text)
    }
}

fn errno_of(text: &str) -> Option<&str> {
    text.rsplit_once(" = ").map(|(_, errno)| errno)
}

fn why_not(text: String, place: Place) -> LabError {
    let addr = place.family.listens_on();
    match errno_of(&text) {
        Some("EADDRINUSE") if place.port != 0 => LabError::PortTaken {
            addr,
            port: place.port,
        },
        Some("EACCES") => LabError::PortPrivileged(place.port),
        // Left out of the kernel, or switched off: then ::1 is on no interface.
        Some("EAFNOSUPPORT" | "EADDRNOTAVAIL") if addr.is_ipv6() => LabError::NoIpv6(text),
        _ => LabError::Listen(text),
    }
}

fn listening_port(text: &str) -> Option<u16> {
    let bound = text.strip_prefix("listen(")?.strip_suffix(')')?;
    bound.parse().ok().map(|addr: SocketAddr| addr.port())
}

/// All that can happen while an experiment waits.
#[derive(Debug)]
enum News {
    Answer(Role, String),
    Ended(Role),
    Stop,
}

/// Both processes, and the one channel of what happens. Dropped, it sends them home.
#[derive(Debug)]
struct Cast {
    server: Actor,
    client: Actor,
    news: Receiver<News>,
    post: Sender<News>,
    program: PathBuf,
    place: Place,
    step: Duration,
}

impl Cast {
    fn hire(program: &Path, place: Place, step: Duration) -> Result<Self, LabError> {
        let (post, news) = mpsc::channel();
        let hire = |role: Role| {
            Actor::hire(program, role, post.clone()).map_err(|source| LabError::Spawn {
                what: format!("{role} process"),
                program: program.to_owned(),
                source,
            })
        };
        Ok(Self {
            server: hire(Role::Server)?,
            client: hire(Role::Client)?,
            news,
            post,
            program: program.to_owned(),
            place,
            step,
        })
    }

    fn actor(&mut self, role: Role) -> &mut Actor {
        match role {
            Role::Server => &mut self.server,
            Role::Client => &mut self.client,
        }
    }

    /// Lets a step's time pass, unless something happens in it: nothing should.
    fn pause(&mut self) -> Result<(), Halt> {
        match self.news.recv_timeout(self.step) {
            Err(RecvTimeoutError::Timeout) => Ok(()),
            Err(RecvTimeoutError::Disconnected) | Ok(News::Stop) => Err(Halt::Stopped),
            Ok(News::Ended(role)) => Err(self.lost(role)),
            Ok(News::Answer(role, line)) => Err(out_of_turn(role, &line)),
        }
    }

    fn perform(&mut self, step: &Step) -> Result<Answer, Halt> {
        let command = step.act.command(self.place);
        if self.actor(step.who).command(&command).is_err() {
            return Err(self.lost(step.who));
        }
        match self.news.recv_timeout(ANSWER_TIME) {
            Ok(News::Answer(role, line)) if role == step.who => self.understand(role, &line),
            Ok(News::Answer(role, line)) => Err(out_of_turn(role, &line)),
            Ok(News::Ended(role)) => Err(self.lost(role)),
            Ok(News::Stop) | Err(RecvTimeoutError::Disconnected) => Err(Halt::Stopped),
            Err(RecvTimeoutError::Timeout) => Err(Halt::Failed(format!(
                "the {} process does not answer to '{command}'",
                step.who
            ))),
        }
    }

    fn understand(&mut self, role: Role, line: &str) -> Result<Answer, Halt> {
        let result = match line.split_once(' ') {
            Some(("ok", text)) => Ok(text.to_owned()),
            Some(("err", text)) => Err(text.to_owned()),
            _ => return Err(out_of_turn(role, line)),
        };
        let pid = self.actor(role).child.id();
        Ok(Answer { pid, result })
    }

    fn lost(&mut self, role: Role) -> Halt {
        let actor = self.actor(role);
        actor.dismiss();
        Halt::Failed(format!(
            "the {role} process ({}) ended before the experiment did",
            actor.child.id()
        ))
    }
}

fn out_of_turn(role: Role, line: &str) -> Halt {
    Halt::Failed(format!(
        "the {role} process said something unexpected: {line:?}"
    ))
}

impl Drop for Cast {
    /// Ends their commands, upon which they leave; who stays is killed with its [`Actor`].
    fn drop(&mut self) {
        let mut awaited = [&mut self.server, &mut self.client]
            .into_iter()
            .filter_map(Actor::dismiss)
            .count();
        while awaited > 0 {
            match self.news.recv_timeout(LEAVE_TIME) {
                Ok(News::Ended(_)) => awaited -= 1,
                Ok(News::Answer(..) | News::Stop) => {}
                Err(_) => return,
            }
        }
    }
}

/// One process. Dropped, it is dead and buried.
#[derive(Debug)]
struct Actor {
    child: Child,
    /// None once it was dismissed.
    commands: Option<ChildStdin>,
}

impl Actor {
    fn hire(program: &Path, role: Role, post: Sender<News>) -> io::Result<Self> {
        let mut child = Command::new(program)
            .args(["lab-actor", role.token()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            // Ctrl-C is for the one who conducts: it decides what becomes of its actors.
            .process_group(0)
            .spawn()?;
        let (commands, answers) = (child.stdin.take(), child.stdout.take());
        // From here on the process is ended also when the thread cannot be had.
        let actor = Self { child, commands };
        let answers = answers.ok_or(io::ErrorKind::BrokenPipe)?;
        thread::Builder::new()
            .name(format!("lab {role}"))
            .spawn(move || listen_to(role, answers, &post))?;
        Ok(actor)
    }

    fn command(&mut self, command: &str) -> io::Result<()> {
        let commands = self.commands.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        commands.write_all(format!("{command}\n").as_bytes())
    }

    /// Ends its commands; `None` when that was done before.
    fn dismiss(&mut self) -> Option<()> {
        self.commands.take().map(drop)
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        self.dismiss();
        // Fails only when it is gone already; until it is waited for, its pid is no one else's.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn listen_to(role: Role, answers: ChildStdout, post: &Sender<News>) {
    for line in BufReader::new(answers).lines().map_while(Result::ok) {
        if post.send(News::Answer(role, line)).is_err() {
            return;
        }
    }
    // Nobody waits for it when the experiment is over.
    let _ = post.send(News::Ended(role));
}
