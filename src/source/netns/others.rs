//! The other namespaces of the host, and whether what is looked for lives in one of them.
//!
//! Processes are told apart by namespace through the inode of `/proc/PID/net/tcp`: each namespace
//! has a file of its own there, and everybody may ask for its number, where `/proc/PID/ns` is for
//! who may trace the process. A throw-away thread goes from one namespace to the next and never
//! comes back; whoever can't go reads /proc.
//!
//! The trap: what could not be looked into is not empty. It is said.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::mpsc::{self, SyncSender};
use std::thread;
use std::time::Duration;

use crate::model::filter::Filter;
use crate::model::{Body, Observation, Scope, TcpState};
use crate::source::feed::{Choice, Feed};
use crate::source::netns::{NAMED as NAMESPACES, Namespace, NetnsError, enter, named};
use crate::source::{Request, SourceError, clock};

/// A namespace that holds sockets of those that are looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elsewhere {
    /// Its inode, `None` where this user may not know it.
    pub netns: Option<u64>,
    /// What `ip netns` calls it, if anything. Not safe to print as it is.
    pub name: Option<String>,
    /// The process with the lowest number in it: of a container, its first. `None` for a
    /// namespace without any.
    pub process: Option<Resident>,
    /// So many sockets match in each state, listeners among them; the states that have any.
    pub states: Vec<(TcpState, usize)>,
}

/// A process in a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resident {
    /// Its number.
    pub pid: u32,
    /// Its name. Not safe to print as it is.
    pub comm: String,
}

impl Elsewhere {
    /// How many there are in one state.
    pub fn count(&self, state: TcpState) -> usize {
        let found = self.states.iter().find(|(of, _)| *of == state);
        found.map_or(0, |(_, count)| *count)
    }

    /// How many there are.
    pub fn sockets(&self) -> usize {
        self.states.iter().map(|(_, count)| count).sum()
    }

    /// What to tell a user to look there with, `--netns` and this: its name outlives its processes,
    /// and takes root.
    pub fn namespace(&self) -> Option<Namespace> {
        let is_root = rustix::process::geteuid().is_root();
        match is_root {
            true => self.by_name().or_else(|| self.by_process()),
            false => self.by_process().or_else(|| self.by_name()),
        }
    }

    /// What to enter it with: of a process, /proc can be read where that is not permitted.
    fn entrance(&self) -> Option<Namespace> {
        self.by_process().or_else(|| self.by_name())
    }

    fn by_process(&self) -> Option<Namespace> {
        let process = self.process.as_ref();
        process.map(|process| Namespace::Process(process.pid))
    }

    fn by_name(&self) -> Option<Namespace> {
        let name = self.name.as_ref()?;
        // A number is a process's.
        let is_number = name.bytes().all(|byte| byte.is_ascii_digit());
        Some(match is_number {
            true => Namespace::Path(Path::new(NAMESPACES[0]).join(name)),
            false => Namespace::Name(name.clone()),
        })
    }
}

/// What a look around shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Others {
    /// Those with sockets, the one with the most in CLOSE_WAIT first, then with the most.
    pub found: Vec<Elsewhere>,
    /// Other namespaces that were looked into, with sockets or without.
    pub looked_into: usize,
    /// What could not be looked into, in words.
    pub unseen: Vec<String>,
}

/// Which other namespaces of this host hold sockets that the filter keeps, by its ports and
/// addresses. Takes `limit` at most; what is left then is named in [`Others::unseen`]. `own` is the
/// one that has been looked into already.
pub fn others(filter: &Filter, own: Scope, limit: Duration) -> Others {
    let mut others = Others::default();
    let mut candidates = candidates(own, &mut others.unseen);
    let end = clock::now().plus(limit);
    let (tell, told) = mpsc::sync_channel(candidates.len());
    let (filter, asked) = (filter.clone(), candidates.clone());
    let thread = thread::Builder::new().name("others".into());
    let looks = thread.spawn(move || look_into_all(&asked, &filter, &tell));
    let mut forbidden = Vec::new();
    let mut failed = Vec::new();
    // Without the thread nothing comes, and all is unseen.
    while looks.is_ok()
        && let Ok((index, looked)) = told.recv_timeout(end.since(clock::now()))
    {
        let Some(seen) = candidates.get_mut(index) else {
            continue;
        };
        seen.is_over = true;
        match looked {
            Ok(states) => {
                others.looked_into += 1;
                seen.elsewhere.states = states;
            }
            // Its last process has ended meanwhile.
            Err(Trouble::Vanished) => {}
            Err(Trouble::Forbidden) => forbidden.push(seen.elsewhere.label()),
            Err(Trouble::Other(why)) => failed.push(format!("{}: {why}", seen.elsewhere.label())),
        }
    }
    let late = candidates.iter().filter(|one| !one.is_over);
    let late: Vec<String> = late.map(|one| one.elsewhere.label()).collect();
    others
        .unseen
        .extend(in_words(&forbidden, "only root may look into"));
    others.unseen.extend(in_words(&late, &no_time(limit)));
    others.unseen.extend(failed);
    others.found = candidates
        .into_iter()
        .map(|one| one.elsewhere)
        .filter(|elsewhere| !elsewhere.states.is_empty())
        .collect();
    let order = |one: &Elsewhere| (one.count(TcpState::CloseWait), one.sockets());
    others
        .found
        .sort_by_key(|one| std::cmp::Reverse(order(one)));
    others
}

/// A namespace that is not ours.
#[derive(Clone)]
struct Candidate {
    elsewhere: Elsewhere,
    is_over: bool,
}

impl Elsewhere {
    /// How it is told from others.
    fn label(&self) -> String {
        match (&self.process, &self.name) {
            (_, Some(name)) => name.clone(),
            (Some(process), None) => format!("that of process {}", process.pid),
            (None, None) => "one without a name".to_owned(),
        }
    }
}

/// So many are named.
const NAMED: usize = 5;

fn no_time(limit: Duration) -> String {
    format!(
        "within {} ms no time was left to look into",
        limit.as_millis()
    )
}

fn in_words(labels: &[String], what: &str) -> Option<String> {
    let told = labels.get(..NAMED).unwrap_or(labels).join(", ");
    match labels.len() {
        0 => None,
        1 => Some(format!("{what} 1 network namespace: {told}")),
        many => {
            let more = if many > NAMED { ", .." } else { "" };
            Some(format!("{what} {many} network namespaces: {told}{more}"))
        }
    }
}

/// The namespaces that there are but ours: those of processes, in the order of their first ones,
/// then those that have names alone.
fn candidates(own: Scope, unseen: &mut Vec<String>) -> Vec<Candidate> {
    let number = |path: String| fs::metadata(path).ok().map(|found| found.ino());
    let ours = number("/proc/thread-self/net/tcp".to_owned());
    let mut first: BTreeMap<u64, u32> = BTreeMap::new();
    let mut sees_the_first = false;
    for pid in processes() {
        sees_the_first |= pid == 1;
        if let Some(table) = number(format!("/proc/{pid}/net/tcp"))
            && Some(table) != ours
        {
            let lowest = first.entry(table).or_insert(pid);
            *lowest = (*lowest).min(pid);
        }
    }
    if !sees_the_first {
        unseen.push(
            "/proc hides other users' processes (hidepid): the namespaces of those are not known"
                .to_owned(),
        );
    }
    let names: Vec<(String, u64)> = named()
        .filter_map(|(name, path)| Some((name, fs::metadata(path).ok()?)))
        .filter(|(_, found)| is_nsfs(found))
        .map(|(name, found)| (name, found.ino()))
        .collect();
    let mut pids: Vec<u32> = first.into_values().collect();
    pids.sort_unstable();
    let mut known: HashSet<u64> = own.netns.into_iter().collect();
    let mut all = Vec::new();
    for pid in pids {
        let netns = number(format!("/proc/{pid}/ns/net"));
        if netns.is_some_and(|netns| !known.insert(netns)) {
            continue;
        }
        let comm = fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
        let named = names.iter().find(|(_, inode)| Some(*inode) == netns);
        all.push(Candidate::of(Elsewhere {
            netns,
            name: named.map(|(name, _)| name.clone()),
            process: Some(Resident {
                pid,
                comm: String::from_utf8_lossy(comm.trim_ascii_end()).into_owned(),
            }),
            states: Vec::new(),
        }));
    }
    for (name, inode) in names {
        if known.insert(inode) {
            all.push(Candidate::of(Elsewhere {
                netns: Some(inode),
                name: Some(name),
                process: None,
                states: Vec::new(),
            }));
        }
    }
    all
}

impl Candidate {
    fn of(elsewhere: Elsewhere) -> Self {
        Self {
            elsewhere,
            is_over: false,
        }
    }
}

/// A name whose namespace is gone is an empty file of /run.
fn is_nsfs(found: &fs::Metadata) -> bool {
    fs::metadata("/proc/thread-self/ns/net").is_ok_and(|ours| ours.dev() == found.dev())
}

fn processes() -> impl Iterator<Item = u32> {
    let folder = fs::read_dir("/proc").ok();
    folder
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
}

/// Why a namespace was not looked into.
enum Trouble {
    Vanished,
    Forbidden,
    Other(String),
}

type Looked = Result<Vec<(TcpState, usize)>, Trouble>;

/// Goes from one to the next, until nobody listens any more.
fn look_into_all(all: &[Candidate], filter: &Filter, tell: &SyncSender<(usize, Looked)>) {
    for (index, candidate) in all.iter().enumerate() {
        let Some(namespace) = candidate.elsewhere.entrance() else {
            continue;
        };
        if tell.send((index, look_into(&namespace, filter))).is_err() {
            return;
        }
    }
}

fn look_into(namespace: &Namespace, filter: &Filter) -> Looked {
    let place = enter(namespace).map_err(|error| match error {
        NetnsError::NotPermitted { .. } => Trouble::Forbidden,
        NetnsError::NoProcess(_) | NetnsError::Ended(_) | NetnsError::NoName { .. } => {
            Trouble::Vanished
        }
        error => Trouble::Other(error.to_string()),
    })?;
    let request = Request {
        filter: filter.clone(),
        scope: place.scope(),
        place,
    };
    let mut out = Vec::new();
    Feed::open(Choice::Auto, request, Duration::ZERO, &mut out)
        .and_then(|mut feed| feed.look(&mut out))
        .map_err(|error| match error {
            SourceError::Proc { error, .. } if error.kind() == std::io::ErrorKind::NotFound => {
                Trouble::Vanished
            }
            error => Trouble::Other(error.to_string()),
        })?;
    Ok(counted(&out))
}

/// How many of the sockets that a look showed are in each state.
fn counted(looked: &[Observation]) -> Vec<(TcpState, usize)> {
    let mut states: BTreeMap<u8, (TcpState, usize)> = BTreeMap::new();
    for observation in looked {
        if let Body::Poll(poll) = &observation.body {
            for sample in &poll.appeared {
                let state = sample.state;
                states.entry(state as u8).or_insert((state, 0)).1 += 1;
            }
        }
    }
    states.into_values().collect()
}
