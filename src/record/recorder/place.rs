//! Where a recording goes: which file, made how, and what may be overwritten.
//!
//! A file is made anew, for its owner alone, or refused when it is there. Told to overwrite, we
//! write a new file beside it and rename it once its first lines are on the disk: until then the
//! old one is whole. Later files of a recording are made so too: none is ever seen empty.
//!
//! The traps: a name can be a link, and a link is replaced and never followed to be overwritten.
//! And what is removed as the oldest of a recording must still be the file that we made.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use crate::record::recorder::Plan;
use crate::record::recorder::error::RecordError;
use crate::record::recorder::output::{OwnFile, Sink, Stream};

/// Where to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Standard output.
    Stdout,
    /// A file, or a pipe or device that has a name.
    File(PathBuf),
}

/// What becomes of a file that is there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existing {
    /// It stays, and there is no recording.
    Refuse,
    /// The recording takes its place.
    Replace,
}

/// The file that tells whether a name still means it.
type Identity = (u64, u64);

/// A file that has been opened.
pub(super) struct Opened {
    pub(super) sink: Box<dyn Sink>,
    pub(super) path: PathBuf,
    /// Of a file of ours.
    made: Option<Made>,
}

struct Made {
    identity: Identity,
    /// It is still under this name, and is to take its own, or that of another.
    temporary: Option<(PathBuf, Existing)>,
}

impl Opened {
    /// Of a sink that is given.
    pub(super) fn given(sink: Box<dyn Sink>) -> Self {
        Self {
            sink,
            path: PathBuf::from("recording"),
            made: None,
        }
    }

    /// Its first lines are on the disk: now it is there by its name, and stays.
    pub(super) fn settle(&mut self) -> io::Result<()> {
        let Some(made) = &mut self.made else {
            return Ok(());
        };
        if let Some((temporary, existing)) = &made.temporary {
            take_name(temporary, &self.path, *existing)?;
            made.temporary = None;
        }
        match File::open(folder(&self.path)).and_then(|folder| folder.sync_all()) {
            // Not every file system can, and a folder need not be readable.
            Err(error) if is_of_the_disk(&error) => Err(error),
            _ => Ok(()),
        }
    }

    /// Nothing was written: it goes again.
    pub(super) fn discard(&self) {
        if let Some(made) = &self.made {
            let path = made.temporary.as_ref().map_or(&self.path, |(path, _)| path);
            // What can't be removed is empty, and stays.
            let _ = remove(path, made.identity);
        }
    }

    /// The file, to be removed one day.
    pub(super) fn finished(&self) -> Option<Finished> {
        let made = self.made.as_ref()?;
        Some(Finished {
            path: self.path.clone(),
            identity: made.identity,
        })
    }

    /// What is to be written to, taken out.
    pub(super) fn take_sink(&mut self) -> Box<dyn Sink> {
        std::mem::replace(&mut self.sink, Box::new(Nowhere))
    }
}

struct Nowhere;

impl Sink for Nowhere {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }
}

/// A file of the recording that is written to the end.
pub(super) struct Finished {
    path: PathBuf,
    identity: Identity,
}

impl Finished {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Removes it, if its name still means it.
    pub(super) fn remove(&self) -> io::Result<()> {
        remove(&self.path, self.identity)
    }
}

fn remove(path: &Path, identity: Identity) -> io::Result<()> {
    match fs::symlink_metadata(path) {
        Ok(now) if identity_of(&now) == identity => fs::remove_file(path),
        // Somebody has moved it, and knows why.
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

fn identity_of(metadata: &fs::Metadata) -> Identity {
    (metadata.dev(), metadata.ino())
}

fn is_of_the_disk(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::StorageFull || error.raw_os_error() == Some(EIO)
}

const EIO: i32 = rustix::io::Errno::IO.raw_os_error();

/// Where the files of a recording go.
pub(super) struct Place {
    /// `None` is a stream that was given, or standard output.
    path: Option<PathBuf>,
    existing: Existing,
    rotates: bool,
}

impl Place {
    pub(super) const fn given() -> Self {
        Self {
            path: None,
            existing: Existing::Refuse,
            rotates: false,
        }
    }

    pub(super) fn of(plan: &Plan) -> Result<Self, RecordError> {
        Ok(Self {
            path: match &plan.target {
                Target::Stdout => None,
                Target::File(path) => Some(path.clone()),
            },
            existing: plan.existing,
            rotates: plan.rotation.is_wanted(),
        })
    }

    /// Opens what the recording begins with.
    pub(super) fn open_first(&self) -> Result<Opened, RecordError> {
        let Some(path) = &self.path else {
            return stdout();
        };
        if self.rotates && self.existing == Existing::Refuse {
            refuse_later_files(path)?;
        }
        self.open(path)
    }

    /// Opens the file of that part. It has its name when its first lines are there.
    pub(super) fn open_part(&self, part: u32) -> Result<Opened, RecordError> {
        let Some(first) = &self.path else {
            return stdout();
        };
        let path = name_of_part(first, part);
        match fs::symlink_metadata(&path) {
            Ok(_) => self.open_existing(&path),
            // What is wrong with the folder is said when a file is made in it.
            Err(_) => beside(&path, Existing::Refuse),
        }
    }

    fn open(&self, path: &Path) -> Result<Opened, RecordError> {
        match make(path) {
            Ok(file) => own(file, path, None),
            // A name that ends in a slash is a directory's, also of one that is not there.
            Err(error)
                if error.kind() == io::ErrorKind::AlreadyExists
                    || error.kind() == io::ErrorKind::IsADirectory && path.exists() =>
            {
                self.open_existing(path)
            }
            Err(error) => Err(cannot_create(path, error)),
        }
    }

    fn open_existing(&self, path: &Path) -> Result<Opened, RecordError> {
        let is_link = fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink());
        let found = match fs::metadata(path) {
            Ok(found) => found,
            Err(_) if is_link && self.existing == Existing::Replace => {
                return beside(path, Existing::Replace);
            }
            Err(error) if is_link && error.kind() == io::ErrorKind::NotFound => {
                return Err(RecordError::Dangling(path.to_owned()));
            }
            Err(error) => return Err(cannot_create(path, error)),
        };
        let kind = found.file_type();
        let refused = |what| {
            Err(RecordError::NotAFile {
                path: path.to_owned(),
                what,
            })
        };
        if kind.is_dir() {
            refused("a directory")
        } else if kind.is_socket() {
            refused("a socket")
        } else if kind.is_block_device() {
            refused("a disk")
        } else if kind.is_fifo() || kind.is_char_device() {
            if self.rotates {
                return Err(RecordError::CannotRotate(path.to_owned()));
            }
            stream(path)
        } else if self.existing == Existing::Replace {
            beside(path, Existing::Replace)
        } else {
            Err(RecordError::Exists(path.to_owned()))
        }
    }
}

/// A file that was not there, for its owner alone.
fn make(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    // The umask may have taken more than was meant.
    file.set_permissions(Permissions::from_mode(0o600))?;
    Ok(file)
}

fn own(
    file: File,
    path: &Path,
    temporary: Option<(PathBuf, Existing)>,
) -> Result<Opened, RecordError> {
    let metadata = file
        .metadata()
        .map_err(|error| cannot_create(path, error))?;
    Ok(Opened {
        sink: Box::new(OwnFile(file)),
        path: path.to_owned(),
        made: Some(Made {
            identity: identity_of(&metadata),
            temporary,
        }),
    })
}

/// A new file beside the name that it is to take, and what may be there by then.
fn beside(path: &Path, existing: Existing) -> Result<Opened, RecordError> {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(format!(".{}.new", std::process::id()));
    let temporary = folder(path).join(name);
    let made = match make(&temporary) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            // Left over: our number has come round again.
            fs::remove_file(&temporary).and_then(|()| make(&temporary))
        }
        other => other,
    };
    let file = made.map_err(|error| cannot_create(path, error))?;
    own(file, path, Some((temporary, existing)))
}

/// The file takes its name. Where the file system can't do that without replacing, it is looked
/// first.
fn take_name(temporary: &Path, path: &Path, existing: Existing) -> io::Result<()> {
    if existing == Existing::Replace {
        return fs::rename(temporary, path);
    }
    match renameat_with(CWD, temporary, CWD, path, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS) if fs::symlink_metadata(path).is_err() => {
            fs::rename(temporary, path)
        }
        Err(Errno::INVAL | Errno::NOSYS) => Err(io::ErrorKind::AlreadyExists.into()),
        other => Ok(other?),
    }
}

/// A pipe or a device. A pipe that nobody reads yet is waited for.
fn stream(path: &Path) -> Result<Opened, RecordError> {
    let file = OpenOptions::new()
        .write(true)
        .open(path)
        .map_err(|error| cannot_create(path, error))?;
    Ok(Opened {
        sink: Box::new(Stream {
            file,
            is_on_disk: false,
            begins_at: None,
        }),
        path: path.to_owned(),
        made: None,
    })
}

fn stdout() -> Result<Opened, RecordError> {
    refuse_terminal(rustix::stdio::stdout())?;
    let path = PathBuf::from("standard output");
    let opened = rustix::io::dup(rustix::stdio::stdout())
        .map_err(io::Error::from)
        .and_then(|fd| Stream::over(File::from(fd)));
    match opened {
        Ok(stream) => Ok(Opened {
            sink: Box::new(stream),
            path,
            made: None,
        }),
        Err(error) => Err(cannot_create(&path, error)),
    }
}

/// Lines without end would pour over what is on it, and nobody reads them there.
fn refuse_terminal(output: impl AsFd) -> Result<(), RecordError> {
    if rustix::termios::isatty(output) {
        return Err(RecordError::Terminal);
    }
    Ok(())
}

fn cannot_create(path: &Path, error: io::Error) -> RecordError {
    RecordError::Create {
        path: path.to_owned(),
        error,
    }
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if folder != Path::new("") => folder,
        _ => Path::new("."),
    }
}

/// `night.jsonl`, `night.2.jsonl`, `night.3.jsonl`.
pub(super) fn name_of_part(first: &Path, part: u32) -> PathBuf {
    if part <= 1 {
        return first.to_owned();
    }
    let mut name = first.file_stem().unwrap_or_default().to_owned();
    name.push(format!(".{part}"));
    if let Some(ending) = first.extension() {
        name.push(".");
        name.push(ending);
    }
    first.with_file_name(name)
}

/// The later files of a recording that are there, in their order.
pub fn later_parts(first: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder(first));
    let entries = entries.into_iter().flatten().filter_map(Result::ok);
    let mut parts: Vec<u32> = entries
        .filter_map(|entry| part_of(first, &entry.path()))
        .collect();
    parts.sort_unstable();
    parts
        .into_iter()
        .map(|part| name_of_part(first, part))
        .filter(|path| path.is_file())
        .collect()
}

/// Which part a file of that name would be.
fn part_of(first: &Path, name: &Path) -> Option<u32> {
    let stem = first.file_stem()?.to_str()?;
    let name = name.file_name()?.to_str()?;
    let rest = name.strip_prefix(stem)?.strip_prefix('.')?;
    let number = match first.extension() {
        Some(ending) => rest.strip_suffix(ending.to_str()?)?.strip_suffix('.')?,
        None => rest,
    };
    number.parse().ok().filter(|&part| part > 1)
}

/// A recording that comes to a name that is taken would end there, in the middle of the night.
fn refuse_later_files(first: &Path) -> Result<(), RecordError> {
    // What can't be listed says so when the first file is made.
    let Ok(entries) = fs::read_dir(folder(first)) else {
        return Ok(());
    };
    let taken = entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| part_of(first, path).is_some());
    match taken {
        Some(path) => Err(RecordError::LaterExists(path)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::pty::{OpenptFlags, openpt};

    #[test]
    fn a_terminal_is_refused() {
        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        assert!(matches!(
            refuse_terminal(terminal),
            Err(RecordError::Terminal)
        ));
        refuse_terminal(File::open("/dev/null").unwrap()).unwrap();
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_later_file_has_its_name_when_it_is_whole() {
        let folder = std::env::temp_dir().join(format!("tcpwatch-part-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        let place = Place {
            path: Some(folder.join("n.jsonl")),
            existing: Existing::Refuse,
            rotates: true,
        };
        let mut opened = place.open_part(2).unwrap();
        let all = names(&folder);
        assert!(
            all.len() == 1 && all[0].starts_with(".n.2.jsonl."),
            "{all:?}"
        );
        opened.settle().unwrap();
        assert_eq!(names(&folder), ["n.2.jsonl"]);
        // One that fails leaves nothing, and what is taken stays as it is.
        place.open_part(3).unwrap().discard();
        assert_eq!(names(&folder), ["n.2.jsonl"]);
        assert!(matches!(place.open_part(2), Err(RecordError::Exists(_))));
        // Also what came while the file was made.
        let mut late = place.open_part(3).unwrap();
        fs::write(folder.join("n.3.jsonl"), "theirs").unwrap();
        let error = late.settle().unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        late.discard();
        assert_eq!(names(&folder), ["n.2.jsonl", "n.3.jsonl"]);
        assert_eq!(fs::read(folder.join("n.3.jsonl")).unwrap(), b"theirs");
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn a_part_has_its_number_before_the_ending() {
        for (first, second) in [
            ("night.jsonl", "night.2.jsonl"),
            ("/tmp/a.b/night", "/tmp/a.b/night.2"),
            (".night", ".night.2"),
            ("a.tar.gz", "a.tar.2.gz"),
        ] {
            let (first, second) = (Path::new(first), Path::new(second));
            assert_eq!(name_of_part(first, 2), second);
            assert_eq!(name_of_part(first, 1), first);
            assert_eq!(part_of(first, second), Some(2));
            assert_eq!(part_of(first, first), None);
        }
        assert_eq!(part_of(Path::new("n.jsonl"), Path::new("n.x.jsonl")), None);
        assert_eq!(part_of(Path::new("n.jsonl"), Path::new("n2.jsonl")), None);
    }
}
