//! Whole lines into a file or a pipe.
//!
//! The trap: a write that fails has mostly written a part, and half a line at the end of a file is
//! damage that a reader has to explain. So what is behind the last whole line is cut off again,
//! where it can be.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{OFlags, fcntl_getfl};

/// What lines are written to.
pub trait Sink: Send {
    /// Writes some of it.
    ///
    /// # Errors
    /// As the system says.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;

    /// Has the disk keep what was written. Nothing to do for what is no file.
    ///
    /// # Errors
    /// As the system says.
    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Makes it that long again, counted from where writing began.
    ///
    /// # Errors
    /// As the system says. What is no file can't be cut.
    fn cut(&mut self, _length: u64) -> io::Result<()> {
        Ok(())
    }
}

/// A file of our own.
pub(super) struct OwnFile(pub(super) File);

impl Sink for OwnFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }
}

/// A pipe, a device, or standard output.
pub(super) struct Stream {
    pub(super) file: File,
    /// Standard output can be a file.
    pub(super) is_on_disk: bool,
    /// Where writing began, in a file that we may cut: what is appended to is somebody else's too.
    pub(super) begins_at: Option<u64>,
}

impl Stream {
    /// What is behind standard output.
    pub(super) fn over(mut file: File) -> io::Result<Self> {
        let is_on_disk = file.metadata()?.is_file();
        let is_appended_to = fcntl_getfl(&file)?.contains(OFlags::APPEND);
        let begins_at = if is_on_disk && !is_appended_to {
            Some(file.stream_position()?)
        } else {
            None
        };
        Ok(Self {
            file,
            is_on_disk,
            begins_at,
        })
    }
}

impl Sink for Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.file.write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    // Somebody else who has the pipe has set it so.
                    poll(&mut [PollFd::new(&self.file, PollFlags::OUT)], None)?;
                }
                other => return other,
            }
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        if self.is_on_disk {
            self.file.sync_data()?;
        }
        Ok(())
    }

    fn cut(&mut self, length: u64) -> io::Result<()> {
        let Some(begins_at) = self.begins_at else {
            return Ok(());
        };
        // What stands behind was there before.
        if self.file.stream_position()? == self.file.metadata()?.len() {
            self.file.set_len(begins_at + length)?;
            self.file.seek(SeekFrom::Start(begins_at + length))?;
        }
        Ok(())
    }
}

/// A sink, and how much of it ends in a whole line.
pub(super) struct Output {
    sink: Box<dyn Sink>,
    whole: u64,
    is_synced: bool,
}

impl Output {
    pub(super) fn new(sink: Box<dyn Sink>) -> Self {
        Self {
            sink,
            whole: 0,
            is_synced: true,
        }
    }

    /// How many bytes were written.
    pub(super) const fn written(&self) -> u64 {
        self.whole
    }

    /// Writes lines, all of them whole.
    pub(super) fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        let mut written = 0;
        while written < lines.len() {
            let failure = match self.sink.write(&lines[written..]) {
                Ok(0) => io::ErrorKind::WriteZero.into(),
                Ok(length) => {
                    written += length;
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => error,
            };
            let last = lines[..written].iter().rposition(|&byte| byte == b'\n');
            self.whole += last.map_or(0, |last| last as u64 + 1);
            self.is_synced = false;
            // The failure is the news; that half a line stays is only untidy.
            let _ = self.sink.cut(self.whole);
            return Err(failure);
        }
        self.whole += lines.len() as u64;
        self.is_synced &= lines.is_empty();
        Ok(())
    }

    /// Has the disk keep what was written since the last time.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        if !self.is_synced {
            self.sink.sync()?;
            self.is_synced = true;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    /// A disk with room for so many bytes, that takes seven at a time.
    struct Small(Arc<Mutex<Vec<u8>>>, usize);

    impl Sink for Small {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut held = self.0.lock().unwrap();
            let length = bytes.len().min(7).min(self.1 - held.len());
            if length == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            held.extend_from_slice(&bytes[..length]);
            Ok(length)
        }

        fn cut(&mut self, length: u64) -> io::Result<()> {
            self.0.lock().unwrap().truncate(length as usize);
            Ok(())
        }
    }

    #[test]
    fn half_a_line_is_cut_off_a_file_unless_it_is_appended_to() {
        let path = std::env::temp_dir().join(format!("tcpwatch-cut-{}", std::process::id()));
        let open = |append| {
            let mut options = File::options();
            options.read(true).write(true).append(append);
            options.create(true).truncate(!append).open(&path).unwrap()
        };
        let left = |mut stream: Stream| {
            stream.write(b"whole\nhal").unwrap();
            stream.cut(6).unwrap();
            stream.write(b".").unwrap();
            std::fs::read_to_string(&path).unwrap()
        };
        let mut file = open(false);
        file.write_all(b"before\n").unwrap();
        assert_eq!(left(Stream::over(file).unwrap()), "before\nwhole\n.");
        let appended = left(Stream::over(open(true)).unwrap());
        assert_eq!(appended, "before\nwhole\n.whole\nhal.");
        // What stands behind is not ours.
        let mut file = open(false);
        file.write_all(b"something that was there before").unwrap();
        file.seek(SeekFrom::Start(0)).unwrap();
        let behind = left(Stream::over(file).unwrap());
        assert_eq!(behind, "whole\nhal.that was there before");
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_full_disk_keeps_whole_lines() {
        let lines = b"first line\nsecond\nthe third is longer\n";
        for room in 0..lines.len() {
            let held = Arc::default();
            let mut output = Output::new(Box::new(Small(Arc::clone(&held), room)));
            let error = output.write(lines).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::StorageFull);
            let held = held.lock().unwrap();
            let whole = lines[..room].iter().rposition(|&b| b == b'\n');
            assert_eq!(held.len(), whole.map_or(0, |at| at + 1), "room for {room}");
            assert_eq!(output.written(), held.len() as u64);
        }
    }
}
