//! The program for a user who is not root.
//!
//! The trap: the build's own directory may be closed to others, so that nobody but root could start
//! what is in it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::sockets::while_nobody_starts;
use crate::watcher::PROGRAM;

/// A copy where everybody may run it: the build's own directory may be closed to others.
pub struct Copy {
    directory: PathBuf,
}

impl Copy {
    /// Makes it; `name` tells it from others.
    pub fn new(name: &str) -> Self {
        let own = format!("tcpwatch-test-{name}-{}", std::process::id());
        let directory = std::env::temp_dir().join(own);
        // Left over from a process of the same number that was killed, if at all.
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir(&directory).unwrap();
        let everybody = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&directory, everybody.clone()).unwrap();
        let copy = Self { directory };
        // A process that is being started would hold the copy open for writing: ETXTBSY.
        while_nobody_starts(|| fs::copy(PROGRAM, copy.program())).unwrap();
        fs::set_permissions(copy.program(), everybody).unwrap();
        copy
    }

    /// Where it is.
    pub fn program(&self) -> PathBuf {
        self.directory.join("tcpwatch")
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}
