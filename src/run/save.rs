//! What the user saves from the running screen: the screen itself as a picture, or what it shows as an
//! export of a recording would.
//!
//! The ending of the name says which. The trap: the screen is up, so that nothing is printed here,
//! and nothing may be asked: a file that is there stays, and what became of it is a line for the
//! screen to say.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, bail};
use ratatui::buffer::Buffer;

use crate::cli::export::format_of;
use crate::diagnosis::words::counted;
use crate::diagnosis::{Finding, Known};
use crate::model::Timestamp;
use crate::run::export::{Each, write};
use crate::run::output::Draft;
use crate::timeline::Connection;
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

/// Saves it under that name, as it was typed. Gives what is to be said of it.
pub(super) fn save(name: &str, scene: &Scene<'_>) -> String {
    match attempt(name.trim(), scene) {
        Ok(said) => format!("saved {said}"),
        Err(error) => format!("not saved: {error:#}"),
    }
}

fn attempt(name: &str, scene: &Scene<'_>) -> anyhow::Result<String> {
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
    let draft = Draft::create(&path)?;
    let mut out = BufWriter::new(&draft.file);
    let what = put(format, scene, &mut out).with_context(|| format!("write {name}"))?;
    out.flush().with_context(|| format!("write {name}"))?;
    drop(out);
    let bytes = draft.file.metadata().map_or(0, |known| known.len());
    draft.keep(false)?;
    Ok(format!("{name}: {what}, {}", size(bytes)))
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
fn put(format: Format, scene: &Scene<'_>, out: &mut dyn Write) -> anyhow::Result<String> {
    if format == Format::Svg {
        let (cells, background) = scene.cells;
        out.write_all(screen::svg(cells, background).as_bytes())?;
        return Ok("the screen".to_owned());
    }
    let all: Vec<(&Connection, Vec<Rc<Finding>>)> = scene
        .listed
        .connections
        .iter()
        .map(|one| (*one, found(one, scene.listed.known)))
        .collect();
    let shown = || all.iter().map(|one| shown(one, scene.listed.at));
    let mut summary = Summary::new(scene.older_than);
    shown().for_each(|one| summary.take(&one));
    summary.totals = scene.listed.known.tracker.totals();
    summary.losses = scene.losses.clone();
    let each = |each: Each<'_>| shown().try_for_each(|one| each(&one));
    let left_out = write(format, (&scene.about, &summary), each, out)?;
    let what = counted(summary.seen.saturating_sub(left_out), "connection");
    Ok(match left_out {
        0 => what,
        left_out => format!("{what} ({left_out} more have no room in it)"),
    })
}

/// As they are known now: what was queued at earlier steps is not kept.
fn shown<'a>(one: &'a (&'a Connection, Vec<Rc<Finding>>), at: Timestamp) -> Shown<'a> {
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

fn found(connection: &Connection, known: &Known) -> Vec<Rc<Finding>> {
    let about = known.diagnosis.about(connection.id());
    let mut found: Vec<Rc<Finding>> = about.cloned().map(Rc::new).collect();
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
