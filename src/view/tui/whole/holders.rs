//! Everybody who holds an end, or did: a line each, and below it the whole command line.
//!
//! The trap: a command line is a kilobyte of whatever a program was called with. It is broken where
//! the pane ends, wherever its words are, so that its height is its length.

use ratatui::text::Line;

use crate::model::{Descriptor, Holder, Seen, SourceName, SourceState};
use crate::timeline::{Certainty, Owners, Side, Track};
use crate::view::cause::certainty;
use crate::view::owners;
use crate::view::plain::plain;
use crate::view::tui::fit::{broken, count_of_broken, wrap_behind};
use crate::view::tui::{View, letter};

/// Columns before a holder, and before its command line.
const INDENT: usize = 3;
const DEEPER: usize = 5;

/// Whether the end is held, by how many, since when, and whether that can be all.
pub(super) fn summary(
    side: Side,
    track: &Track,
    view: &View<'_>,
    width: u16,
) -> Vec<Line<'static>> {
    let text = match track.owners() {
        Owners::Now(set) => format!("held by {}", processes(set.holders.len())),
        Owners::Before(set) => {
            format!(
                "was held by {}, now by nobody",
                processes(set.holders.len())
            )
        }
        Owners::Nobody | Owners::Hidden => {
            owners::words(track.owners()).unwrap_or_else(|| super::UNKNOWN.to_owned())
        }
        Owners::NotLooked => not_looked(track, view),
    };
    let since = track.owners().holding().map_or_else(String::new, |set| {
        let time = view.heard.time(set.from.not_after());
        let bounds = certainty(Certainty::Sampled, set.from);
        format!(", seen since {} ({bounds})", time.trim())
    });
    let partly = match track.owners() {
        Owners::Now(set) if set.seen == Seen::Partly => "; others may not be visible",
        _ => "",
    };
    let text = format!("{text}{since}{partly}");
    wrap_behind(&format!(" {} ", letter(side)), &text, width.into())
}

fn processes(count: usize) -> String {
    match count {
        1 => "1 process".to_owned(),
        count => format!("{count} processes"),
    }
}

/// Why nobody is named.
fn not_looked(track: &Track, view: &View<'_>) -> String {
    let source = view.heard.sources().get(&SourceName::Holders);
    match (source, track.beside().descriptor) {
        (Some(SourceState::Off { why }), _) => format!("- (nobody looks: {})", plain(why)),
        (_, Some(Descriptor::NotAccepted)) => "- (no program has accepted it)".to_owned(),
        (_, Some(Descriptor::Gone)) => {
            "- (nobody looked before its descriptor was gone)".to_owned()
        }
        _ => "- (nobody has looked)".to_owned(),
    }
}

/// A text that is broken wherever the pane ends, at its indent.
fn indented(text: &str, indent: usize, width: u16) -> impl Iterator<Item = Line<'static>> + use<> {
    let parts = broken(text, room(indent, width)).into_iter();
    parts.map(move |part| Line::raw(format!("{:indent$}{part}", "")))
}

fn room(indent: usize, width: u16) -> usize {
    usize::from(width).saturating_sub(indent).max(1)
}

pub(super) fn height(holder: &Holder, width: u16) -> usize {
    let cmdline = holder.program.cmdline.as_deref().unwrap_or_default();
    let of = |text: &str, indent| count_of_broken(text, room(indent, width));
    of(&who(holder), INDENT) + of(&plain(cmdline), DEEPER)
}

/// `python3[812] fds 3,4, user app (1000), parent 1`, and its command line.
pub(super) fn lines(holder: &Holder, width: u16) -> Vec<Line<'static>> {
    let cmdline = holder.program.cmdline.as_deref().unwrap_or_default();
    let who = indented(&who(holder), INDENT, width);
    who.chain(indented(&plain(cmdline), DEEPER, width))
        .collect()
}

fn who(holder: &Holder) -> String {
    let program = &holder.program;
    let user = match (&program.user, program.uid) {
        (Some(name), Some(uid)) => format!(", user {} ({uid})", plain(name)),
        (Some(name), None) => format!(", user {}", plain(name)),
        (None, Some(uid)) => format!(", user {uid}"),
        (None, None) => ", user -".to_owned(),
    };
    let parent = match program.parent {
        Some(parent) => format!(", parent {parent}"),
        None => String::new(),
    };
    let word = if holder.fds.len() > 1 { "fds" } else { "fd" };
    let fds: Vec<String> = holder.fds.iter().map(u32::to_string).collect();
    let process = owners::process(holder);
    format!("{process} {word} {}{user}{parent}", fds.join(","))
}
