//! Why there is no recording, or no more of it: what was tried, on what, and what to do.

use std::io;
use std::path::PathBuf;

/// Why a recording can't be made or go on.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// It would overwrite something.
    #[error("{}: is there already (--force overwrites it)", shown(.0))]
    Exists(PathBuf),
    /// A later file of the recording would overwrite something.
    #[error(
        "{}: is there already, and this recording would come to it (--force overwrites it)",
        shown(.0)
    )]
    LaterExists(PathBuf),
    /// A link that leads nowhere.
    #[error(
        "{}: is a symbolic link to a file that is not there (name the file itself, or take \
         --force to replace the link)",
        shown(.0)
    )]
    Dangling(PathBuf),
    /// Neither a file nor something to write a stream to.
    #[error("{}: is {what}, and a recording is written to a file or a pipe", shown(.path))]
    NotAFile {
        /// It.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// Standard output is nothing that keeps it.
    #[error(
        "standard output is a terminal, and a recording goes into a file or a pipe (-o FILE, or \
         -o - | zstd > FILE)"
    )]
    Terminal,
    /// Only files have successors.
    #[error("{}: is no regular file, and only those rotate (leave out --max-size and --max-age)", shown(.0))]
    CannotRotate(PathBuf),
    /// It can't be made.
    #[error("{}: can't make the recording: {error}{}", shown(.path), hint(.error))]
    Create {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// It can't be written to any more.
    #[error("{}: can't write on: {error} (what is written stays readable)", shown(.path))]
    Write {
        /// The file.
        path: PathBuf,
        /// Why not.
        error: io::Error,
    },
    /// A header that is no JSON, which can't be.
    #[error("can't write the header: {0}")]
    Header(serde_json::Error),
    /// No thread for it.
    #[error("can't start the thread of the recorder: {0}")]
    Thread(io::Error),
    /// The end of the run did not wait any longer.
    #[error(
        "the rest of the recording could not be written in time (is the disk, or the reader of the pipe, stuck?)"
    )]
    Stuck,
}

impl RecordError {
    /// Whether the reader of a pipe has gone, which is no trouble.
    pub fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Write { error, .. } if error.kind() == io::ErrorKind::BrokenPipe)
    }
}

/// A path, without anything that a terminal would act on.
pub(super) fn shown(path: &std::path::Path) -> String {
    let text = path.display().to_string();
    if text.chars().any(char::is_control) {
        text.escape_default().to_string()
    } else {
        text
    }
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => " (is the directory there?)",
        io::ErrorKind::PermissionDenied => " (may this user write there?)",
        _ => "",
    }
}
