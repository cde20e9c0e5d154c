//! Where observations come from: the kernel's tables, looked at again and again.
//!
//! Sources import the model and nothing else of the house. A live source is a [`Poller`]; the
//! [`feed`] runs one in a thread of its own, paces it so that the watched machine does not feel
//! it, and falls back from `sock_diag` to /proc when it must.
//!
//! The trap: a source that sees nothing and a source that can't see look the same from outside.
//! Every failure is an error by name, or a counted loss; never an empty table.

pub mod bpf;
pub mod clock;
pub mod feed;
pub mod holders;
pub mod host;
pub mod info;
pub mod netns;
pub mod pace;
pub mod proc_net;
pub mod quick;
pub mod replay;
pub mod sock_diag;
pub mod table;

use crate::model::filter::Filter;
use crate::model::{Observation, Scope, SockId, SourceName};
use crate::source::netns::Place;

/// Why a source can't go on. Trouble that passes is an observation instead.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// `sock_diag` does not answer.
    #[error("sock_diag: {0}")]
    SockDiag(sock_diag::DiagError),
    /// Another namespace, that may only be looked at through /proc.
    #[error("{0}")]
    Outside(String),
    /// The kernel's events were asked for and can't be had.
    #[error("events: {0}")]
    Events(String),
    /// The quick thread could not be woken.
    #[error("can't make an eventfd: {0} (are there too many open files? see 'ulimit -n')")]
    Quick(std::io::Error),
    /// A file of /proc can't be read.
    #[error("proc: can't read {path}: {error} (is /proc mounted, and may this user read it?)")]
    Proc {
        /// The file.
        path: String,
        /// Why not.
        error: std::io::Error,
    },
}

impl From<sock_diag::DiagError> for SourceError {
    fn from(error: sock_diag::DiagError) -> Self {
        Self::SockDiag(error)
    }
}

/// What a source is asked for.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// What is wanted.
    pub filter: Filter,
    /// Where we look.
    pub scope: Scope,
    /// From where.
    pub place: Place,
}

/// Looks at the kernel's table of sockets.
pub trait Poller: Send {
    /// Who it is.
    fn name(&self) -> SourceName;

    /// Looks once and says what has changed, nothing when nothing has.
    ///
    /// # Errors
    /// When no later look can do better.
    fn look(&mut self, out: &mut Vec<Observation>) -> Result<(), SourceError>;

    /// As [`Poller::look`], at every state, and behind what is new all that is there, as a
    /// [`Body::Keyframe`](crate::model::Body::Keyframe); unless the look was not complete.
    ///
    /// # Errors
    /// As [`Poller::look`].
    fn look_at_all(&mut self, out: &mut Vec<Observation>) -> Result<(), SourceError>;

    /// Answers whether these sockets are still there, now or after the next look.
    ///
    /// # Errors
    /// When no later question can do better.
    fn confirm(&mut self, asked: &[SockId], out: &mut Vec<Observation>) -> Result<(), SourceError>;
}
