//! Network namespaces: where sockets live, and how to look into one that is not ours.
//!
//! A namespace belongs to a thread, and a thread is born into its parent's. So a run enters the
//! namespace once, in its first thread, before there is another: all that it opens and starts is
//! inside then, whenever that is. What may not be entered can still be read as far as /proc shows
//! it of a process in it.
//!
//! The traps: `/proc/PID/ns` is for who may trace the process, `/proc/PID/net` for everybody. A
//! pid is given again, so a process is held by its folder in /proc. And a file in /run/netns is a
//! namespace only while it is mounted there.

mod others;

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use rustix::fs::{AtFlags, Mode, OFlags, open, openat, statat};
use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::model::Scope;
use crate::source::host;
pub use others::{Elsewhere, Others, Resident, others};

/// Where `ip netns` keeps its names.
const NAMED: [&str; 2] = ["/run/netns", "/var/run/netns"];
/// So many names are told to who has mistyped one.
const NAMES_TOLD: usize = 8;
/// `PID_MAX_LIMIT` (include/linux/threads.h).
const LAST_PID: u32 = 1 << 22;

/// A network namespace, as the user names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Namespace {
    /// That of this process.
    Process(u32),
    /// The one that `ip netns` calls so.
    Name(String),
    /// The one that is mounted here, or `/proc/PID/ns/net`.
    Path(PathBuf),
}

/// A word that names no namespace.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "allowed: the PID of a process in it, a NAME of 'ip netns', or a PATH with a '/' such as \
     /run/netns/blue"
)]
pub struct NoNamespaceName;

impl FromStr for Namespace {
    type Err = NoNamespaceName;

    fn from_str(text: &str) -> Result<Self, NoNamespaceName> {
        if text.contains('/') {
            return Ok(Self::Path(text.into()));
        }
        if text.bytes().all(|byte| byte.is_ascii_digit()) {
            let pid = text.parse().map_err(|_| NoNamespaceName)?;
            return match pid {
                1..=LAST_PID => Ok(Self::Process(pid)),
                _ => Err(NoNamespaceName),
            };
        }
        match text {
            "." | ".." => Err(NoNamespaceName),
            name => Ok(Self::Name(name.to_owned())),
        }
    }
}

/// As it was written.
impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process(pid) => write!(f, "{pid}"),
            Self::Name(name) => f.write_str(name),
            Self::Path(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Why a namespace can't be looked into.
#[derive(Debug, thiserror::Error)]
pub enum NetnsError {
    /// Nobody has that number, or nobody that we may see.
    #[error(
        "--netns {0}: there is no process {0} (or /proc hides it from this user; a namespace that \
         is called {0} is named by its path, /run/netns/{0})"
    )]
    NoProcess(u32),
    /// It has left its namespace.
    #[error("--netns {0}: process {0} has ended; name another one in that namespace")]
    Ended(u32),
    /// No such name.
    #[error("--netns {name}: 'ip netns' knows no namespace of that name ({known})")]
    NoName {
        /// The name.
        name: String,
        /// What there is.
        known: String,
    },
    /// The file can't be opened.
    #[error("--netns {path}: can't open it: {error}")]
    NoPath {
        /// Which.
        path: String,
        /// Why not.
        error: io::Error,
    },
    /// It is a file, and no network namespace.
    #[error(
        "--netns {what}: that is no network namespace (or not any more: 'ip netns' and \
         /proc/PID/ns/net name them)"
    )]
    NotANamespace {
        /// As the user wrote it.
        what: String,
    },
    /// No right to enter it.
    #[error(
        "--netns {what}: entering it is not permitted (needs root, or CAP_SYS_ADMIN; without, the \
         PID of a process in it will do: what /proc shows of it is read)"
    )]
    NotPermitted {
        /// As the user wrote it.
        what: String,
    },
    /// Something else.
    #[error("--netns {what}: can't enter it: {error}")]
    Other {
        /// As the user wrote it.
        what: String,
        /// Why not.
        error: io::Error,
    },
}

/// Where a source looks.
#[derive(Clone, Debug, Default)]
pub enum Place {
    /// At its thread's own namespace, which may have been entered before.
    #[default]
    Own,
    /// At one that may not be entered, through /proc.
    Through(Process),
}

/// A process whose namespace is looked at from outside.
#[derive(Clone, Debug)]
pub struct Process {
    pid: u32,
    /// `/proc/PID`: of this process, whoever gets its number after it.
    folder: Arc<OwnedFd>,
}

impl Process {
    /// Why /proc is read, and what would bring the rest.
    pub fn why(&self) -> String {
        let pid = self.pid;
        format!(
            "the network namespace of process {pid} may not be entered (needs root, or CAP_SYS_ADMIN)"
        )
    }

    fn open(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = openat(&*self.folder, format!("net/{name}"), flags, Mode::empty());
        file.map(File::from).map_err(|errno| match errno {
            // Of a process that has ended.
            Errno::SRCH => io::ErrorKind::NotFound.into(),
            errno => errno.into(),
        })
    }
}

impl Place {
    /// Opens a file of /proc/net of that namespace.
    ///
    /// # Errors
    /// When it can't be opened; not found when the process has ended.
    pub fn open(&self, name: &str) -> io::Result<File> {
        match self {
            Self::Own => File::open(self.path(name)),
            Self::Through(process) => process.open(name),
        }
    }

    /// What that file is called.
    pub fn path(&self, name: &str) -> String {
        match self {
            Self::Own => format!("/proc/thread-self/net/{name}"),
            Self::Through(process) => format!("/proc/{}/net/{name}", process.pid),
        }
    }

    /// Reads such a file, empty when it can't be read.
    pub(in crate::source) fn read(&self, name: &str) -> String {
        let mut text = String::new();
        match self
            .open(name)
            .and_then(|mut file| file.read_to_string(&mut text))
        {
            Ok(_) => text,
            Err(_) => String::new(),
        }
    }

    /// Which namespace it is.
    pub fn scope(&self) -> Scope {
        match self {
            Self::Own => host::scope(),
            Self::Through(process) => Scope {
                host: 0,
                netns: statat(&*process.folder, "ns/net", AtFlags::empty())
                    .ok()
                    .map(|stat| stat.st_ino),
            },
        }
    }
}

/// Enters a namespace with the calling thread, and so with each that it starts later. Where that is
/// not permitted and a process is named, the place from which it can be looked at.
///
/// # Errors
/// When there is no such namespace, or no way to look into it.
pub fn enter(namespace: &Namespace) -> Result<Place, NetnsError> {
    let what = namespace.to_string();
    match namespace {
        Namespace::Process(pid) => enter_that_of(*pid, what),
        Namespace::Path(path) => {
            let file = open_namespace(path).map_err(|errno| match errno {
                Errno::ACCESS | Errno::PERM => NetnsError::NotPermitted { what: what.clone() },
                errno => NetnsError::NoPath {
                    path: what.clone(),
                    error: errno.into(),
                },
            })?;
            join(&file, what)
        }
        Namespace::Name(name) => {
            let mut places = NAMED.iter().map(|folder| Path::new(folder).join(name));
            let file = places.find_map(|path| open_namespace(&path).ok());
            let file = file.ok_or_else(|| NetnsError::NoName {
                name: name.clone(),
                known: known_names(),
            })?;
            join(&file, what)
        }
    }
}

fn enter_that_of(pid: u32, what: String) -> Result<Place, NetnsError> {
    let folder = open(
        format!("/proc/{pid}"),
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(|_| NetnsError::NoProcess(pid))?;
    if shares_our_table(&folder) {
        return Ok(Place::Own);
    }
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let entered = match openat(&folder, "ns/net", flags, Mode::empty()) {
        Ok(file) => join(&file, what),
        Err(Errno::ACCESS | Errno::PERM) => Err(NetnsError::NotPermitted { what }),
        Err(Errno::NOENT | Errno::SRCH) => Err(NetnsError::Ended(pid)),
        Err(errno) => Err(NetnsError::Other {
            what,
            error: errno.into(),
        }),
    };
    match entered {
        Err(NetnsError::NotPermitted { what }) => {
            let process = Process {
                pid,
                folder: Arc::new(folder),
            };
            match process.open("tcp") {
                Ok(_) => Ok(Place::Through(process)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    Err(NetnsError::Ended(pid))
                }
                Err(error) => Err(NetnsError::Other { what, error }),
            }
        }
        entered => entered,
    }
}

/// Nothing waits for what stands there in place of a namespace, such as a pipe.
fn open_namespace(path: &Path) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    open(path, flags, Mode::empty())
}

fn join(namespace: &OwnedFd, what: String) -> Result<Place, NetnsError> {
    if is_ours(namespace) {
        // It takes no right to stay.
        return Ok(Place::Own);
    }
    match move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)) {
        Ok(()) => Ok(Place::Own),
        Err(Errno::PERM) if is_namespace(namespace) => Err(NetnsError::NotPermitted { what }),
        Err(Errno::INVAL | Errno::PERM) => Err(NetnsError::NotANamespace { what }),
        Err(errno) => Err(NetnsError::Other {
            what,
            error: errno.into(),
        }),
    }
}

/// Whether a process is in our namespace, which takes no right to tell: each namespace has a table
/// of its own in /proc.
fn shares_our_table(process: &OwnedFd) -> bool {
    let ours = rustix::fs::stat("/proc/thread-self/net/tcp");
    match (ours, statat(process, "net/tcp", AtFlags::empty())) {
        (Ok(ours), Ok(other)) => (ours.st_dev, ours.st_ino) == (other.st_dev, other.st_ino),
        _ => false,
    }
}

fn is_ours(namespace: &OwnedFd) -> bool {
    let ours = rustix::fs::stat("/proc/thread-self/ns/net");
    match (ours, rustix::fs::fstat(namespace)) {
        (Ok(ours), Ok(other)) => (ours.st_dev, ours.st_ino) == (other.st_dev, other.st_ino),
        _ => false,
    }
}

/// Whether it is a namespace of any kind: a file of nsfs.
fn is_namespace(file: &OwnedFd) -> bool {
    // NSFS_MAGIC (include/uapi/linux/magic.h)
    rustix::fs::fstatfs(file).is_ok_and(|found| found.f_type == 0x6e73_6673)
}

/// The names that there are, in words.
fn known_names() -> String {
    let mut names = named().map(|(name, _)| name).collect::<Vec<_>>();
    names.sort();
    if names.is_empty() {
        return "it knows none; a container's is named by the PID of a process in it".to_owned();
    }
    let more = if names.len() > NAMES_TOLD { ", .." } else { "" };
    names.truncate(NAMES_TOLD);
    format!("there are: {}{more}", names.join(", "))
}

/// The namespaces that have names.
fn named() -> impl Iterator<Item = (String, PathBuf)> {
    let folder = NAMED.iter().find_map(|folder| fs::read_dir(folder).ok());
    folder
        .into_iter()
        .flatten()
        .filter_map(Result::ok)
        .filter_map(|entry| Some((entry.file_name().into_string().ok()?, entry.path())))
}
