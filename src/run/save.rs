//! What the user saves from the running screen: the screen itself as a picture, or what it shows as an
//! export of a recording would.
//!
//! The ending of the name says which. The trap: the screen is up, so that nothing is printed here,
//! and nothing may be asked: a file that is there stays, and what became of it is a line for the
//! screen to say. And a live run must not wait for a large one: it goes on while a thread writes it.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, bail};
use ratatui::buffer::Buffer;

use crate::cli::export::format_of;
use crate::diagnosis::words::counted;
use crate::diagnosis::{Finding, Known};
use crate::model::Timestamp;
use crate::run::export::{Each, write};
use crate::run::output::Draft;
use crate::timeline::{Connection, Totals};
use crate::view::export::{Format, screen};
use crate::view::palette::Background;
use crate::view::report::{About, Losses, Shown, Summary};
use crate::view::size::size;
use crate::view::tui::Listed;

/// What the screen shows.
pub(super) struct Scene<'a> {
    /// Its cells, as they were drawn, and what on.
    pub(super) cells: (&'a Buffer, Background),
    /// What it lists.
    pub(super) listed: Listed<'a>,
    /// What it is about.
    pub(super) about: About,
    /// What was missed.
    pub(super) losses: Losses,
    /// From which age on states count.
    pub(super) older_than: Duration,
}

/// The same, owned: whoever writes it needs nothing that goes on.
enum Kept {
    /// The screen.
    Cells(Buffer, Background),
    /// What it lists.
    Listed(Box<List>),
}

struct List {
    all: Vec<(Connection, Vec<Finding>)>,
    at: Timestamp,
    about: About,
    totals: Totals,
    losses: Losses,
    older_than: Duration,
}

impl Kept {
    fn of(scene: Scene<'_>, format: Format) -> Self {
        if format == Format::Svg {
            let (cells, background) = scene.cells;
            return Self::Cells(cells.clone(), background);
        }
        let listed = scene.listed;
        let of = |one: &&Connection| ((*one).clone(), found(one, listed.known));
        Self::Listed(Box::new(List {
            all: listed.connections.iter().map(of).collect(),
            at: listed.at,
            about: scene.about,
            totals: listed.known.tracker.totals(),
            losses: scene.losses,
            older_than: scene.older_than,
        }))
    }
}

/// Saves it under that name, as it was typed. Gives what is to be said of it.
pub(super) fn save(name: &str, scene: Scene<'_>) -> String {
    match File::asked(name) {
        Ok(file) => {
            let kept = Kept::of(scene, file.format);
            file.save(kept)
        }
        Err(error) => not_saved(&error),
    }
}

/// Files that are written beside a loop that must not wait for them.
pub(super) struct Saving {
    tell: Sender<String>,
    said: Receiver<String>,
    writers: Vec<JoinHandle<()>>,
}

impl Saving {
    pub(super) fn new() -> Self {
        let (tell, said) = mpsc::channel();
        Self {
            tell,
            said,
            writers: Vec::new(),
        }
    }

    /// Begins. Gives what is to be said of it by now.
    pub(super) fn begin(&mut self, name: &str, scene: Scene<'_>) -> String {
        let file = match File::asked(name) {
            Ok(file) => file,
            Err(error) => return not_saved(&error),
        };
        let (kept, tell) = (Kept::of(scene, file.format), self.tell.clone());
        let saying = format!("saving {} ...", file.name);
        let writer = thread::Builder::new().name("save".to_owned());
        let started = writer.spawn(move || {
            // Nobody listens when it is over; the file is there all the same.
            let _ = tell.send(file.save(kept));
        });
        match started {
            Ok(writer) => {
                self.writers.push(writer);
                saying
            }
            Err(error) => not_saved(&error.into()),
        }
    }

    /// What has become of one that was begun.
    pub(super) fn done(&mut self) -> Option<String> {
        let said = self.said.try_recv().ok()?;
        self.writers.retain(|writer| !writer.is_finished());
        Some(said)
    }
}

/// What was asked for is written to its end.
impl Drop for Saving {
    fn drop(&mut self) {
        for writer in self.writers.drain(..) {
            let _ = writer.join();
        }
    }
}

fn not_saved(error: &anyhow::Error) -> String {
    format!("not saved: {error:#}")
}

/// A file that is asked for.
struct File {
    /// As it was typed.
    name: String,
    path: PathBuf,
    format: Format,
}

impl File {
    fn asked(name: &str) -> anyhow::Result<Self> {
        let name = name.trim();
        let path = path(name);
        let Some(format) = format_of(&path) else {
            bail!(
                "{name}: its ending says what it is (allowed: .svg the screen, .mmd, .csv, .json for \
                 Perfetto)"
            );
        };
        if path.symlink_metadata().is_ok() {
            bail!("{name} is there already: name another file");
        }
        Ok(Self {
            name: name.to_owned(),
            path,
            format,
        })
    }

    /// Says what has become of it.
    fn save(&self, kept: Kept) -> String {
        match self.attempt(kept) {
            Ok(said) => format!("saved {said}"),
            Err(error) => not_saved(&error),
        }
    }

    fn attempt(&self, kept: Kept) -> anyhow::Result<String> {
        let name = &self.name;
        let draft = Draft::create(&self.path)?;
        let mut out = BufWriter::new(&draft.file);
        let what = put(self.format, kept, &mut out).with_context(|| format!("write {name}"))?;
        out.flush().with_context(|| format!("write {name}"))?;
        drop(out);
        let bytes = draft.file.metadata().map_or(0, |known| known.len());
        // Without a wait for the disk, which can take seconds: nobody's run hangs on this file.
        draft.keep(false)?;
        Ok(format!("{name}: {what}, {}", size(bytes)))
    }
}

/// A shell would know the user's home; here is none.
fn path(name: &str) -> PathBuf {
    let home = std::env::var_os("HOME").filter(|home| !home.is_empty());
    match (name.strip_prefix("~/"), home) {
        (Some(rest), Some(home)) => Path::new(&home).join(rest),
        _ => PathBuf::from(name),
    }
}

/// Says what it was.
fn put(format: Format, kept: Kept, out: &mut dyn Write) -> anyhow::Result<String> {
    let list = match kept {
        Kept::Cells(cells, background) => {
            out.write_all(screen::svg(&cells, background).as_bytes())?;
            return Ok("the screen".to_owned());
        }
        Kept::Listed(list) => *list,
    };
    let shared = |found: Vec<Finding>| found.into_iter().map(Rc::new).collect();
    let all: Vec<(Connection, Vec<Rc<Finding>>)> = list
        .all
        .into_iter()
        .map(|(one, found)| (one, shared(found)))
        .collect();
    let shown = || all.iter().map(|one| shown(one, list.at));
    let mut summary = Summary::new(list.older_than);
    (summary.totals, summary.losses) = (list.totals, list.losses);
    shown().for_each(|one| summary.take(&one));
    let each = |each: Each<'_>| shown().try_for_each(|one| each(&one));
    let left_out = write(format, (&list.about, &summary), each, out)?;
    let what = counted(summary.seen.saturating_sub(left_out), "connection");
    Ok(match left_out {
        0 => what,
        left_out => format!("{what} ({left_out} more have no room in it)"),
    })
}

/// As they are known now: what was queued at earlier steps is not kept.
fn shown(one: &(Connection, Vec<Rc<Finding>>), at: Timestamp) -> Shown<'_> {
    let (connection, findings) = one;
    Shown {
        connection,
        until: at,
        dropped: false,
        from: None,
        queued: &[],
        findings,
    }
}

fn found(connection: &Connection, known: &Known) -> Vec<Finding> {
    let about = known.diagnosis.about(connection.id());
    let mut found: Vec<Finding> = about.cloned().collect();
    found.sort_by_key(|finding| finding.number);
    found
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::cli::{Config, parse};
    use crate::run::replay::open_whole;
    use crate::run::replay::showing::Showing;
    use crate::view::tui::draw;

    /// A recording at its end, on a screen.
    fn showing() -> Showing {
        let file = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/fixtures/recordings/v1/owners.jsonl"
        );
        let line = ["tcpwatch", "export", file, "--to", "screen"];
        let Ok(Config::Picture(picture)) = parse(line) else {
            panic!("no picture");
        };
        let replay = open_whole(&picture.replaying).unwrap();
        let mut showing = Showing::new(&picture.replaying, replay).unwrap();
        while showing.read_on(10_000).unwrap() {}
        showing.stop_at(None).unwrap();
        showing
    }

    fn saved(showing: &mut Showing, name: &str) -> String {
        let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
        let (app, known, at) = showing.picture().unwrap();
        terminal.draw(|frame| draw(frame, app, known, at)).unwrap();
        showing.save(name, terminal.backend().buffer());
        let (app, known, at) = showing.picture().unwrap();
        terminal.draw(|frame| draw(frame, app, known, at)).unwrap();
        let buffer = terminal.backend().buffer();
        let row = buffer.area.height - 1;
        let cells = (0..buffer.area.width).map(|x| buffer[(x, row)].symbol());
        cells.collect::<String>().trim().to_owned()
    }

    struct Folder(PathBuf);

    impl Folder {
        fn new() -> Self {
            let name = format!("tcpwatch-save-{}", std::process::id());
            let path = std::env::temp_dir().join(name);
            std::fs::create_dir(&path).unwrap();
            Self(path)
        }

        fn file(&self, name: &str) -> String {
            self.0.join(name).to_str().unwrap().to_owned()
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn the_ending_says_what_is_saved_and_nothing_is_replaced() {
        let folder = Folder::new();
        let mut showing = showing();
        for (name, what, begins) in [
            ("a.svg", "the screen", "<svg "),
            ("a.mmd", "2 connections", "sequenceDiagram"),
            ("a.csv", "2 connections", "time,at_ns,"),
            ("a.json", "2 connections", "{"),
        ] {
            let file = folder.file(name);
            let said = saved(&mut showing, &file);
            assert!(
                said.starts_with(&format!("saved {file}: {what}, ")),
                "{said}"
            );
            let text = std::fs::read_to_string(&file).unwrap();
            assert!(text.contains(begins), "{name}: {text}");
            let again = saved(&mut showing, &file);
            assert!(again.starts_with("not saved: "), "{again}");
            assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
        }
        let names = std::fs::read_dir(&folder.0).unwrap().count();
        assert_eq!(names, 4, "nothing half is left");
    }

    #[test]
    fn beside_a_run_it_is_begun_and_done_later() {
        let name = format!("tcpwatch-later-{}", std::process::id());
        let folder = Folder(std::env::temp_dir().join(name));
        std::fs::create_dir(&folder.0).unwrap();
        let (showing, cells) = (showing(), Buffer::default());
        let file = folder.file("a.csv");
        let mut saving = Saving::new();
        let said = saving.begin(&file, showing.scene(&cells));
        assert_eq!(said, format!("saving {file} ..."));
        let said = loop {
            match saving.done() {
                Some(said) => break said,
                None => std::thread::yield_now(),
            }
        };
        assert!(said.starts_with(&format!("saved {file}: 2 connections, ")));
        let refused = saving.begin(&file, showing.scene(&cells));
        assert!(refused.contains("is there already"), "{refused}");
        // Whoever quits at once has the file too.
        let last = folder.file("b.mmd");
        saving.begin(&last, showing.scene(&cells));
        drop(saving);
        let text = std::fs::read_to_string(last).unwrap();
        assert!(text.contains("sequenceDiagram"));
    }

    #[test]
    fn what_cannot_be_saved_is_said() {
        let mut showing = showing();
        for (name, why) in [
            ("a.png", "its ending says what it is"),
            ("", "its ending says what it is"),
            ("/nowhere/at/all.csv", "No such file"),
        ] {
            let said = saved(&mut showing, name);
            assert!(said.starts_with("not saved: "), "{said}");
            assert!(said.contains(why), "{said}");
        }
    }

    #[test]
    fn it_is_what_an_export_would_write() {
        let folder =
            Folder(std::env::temp_dir().join(format!("tcpwatch-same-{}", std::process::id())));
        std::fs::create_dir(&folder.0).unwrap();
        let mut showing = showing();
        let file = folder.file("a.mmd");
        saved(&mut showing, &file);
        let recording = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/fixtures/recordings/v1/owners.jsonl"
        );
        let Ok(Config::Export(export)) =
            parse(["tcpwatch", "export", recording, "--to", "mermaid"])
        else {
            panic!("no export");
        };
        let loaded = crate::run::load::Loaded::new(&export.chosen).unwrap();
        let mut exported = Vec::new();
        let all = |each: Each<'_>| loaded.connections(each);
        write(
            Format::Mermaid,
            (&loaded.about, &loaded.summary),
            all,
            &mut exported,
        )
        .unwrap();
        let saved = std::fs::read_to_string(&file).unwrap();
        assert_eq!(saved, String::from_utf8(exported).unwrap());
    }
}
