//! The threads of a live run: one that looks, one that reads events and follows.
//!
//! The trap: a full channel must not make the quick thread hold events without end, so that it has
//! so many batches on their way and no more.

use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;

use anyhow::Context;

use crate::cli::Live;
use crate::model::{Ask, Observation};
use crate::run::live::Message;
use crate::run::log::Log;
use crate::source::feed::Feed;
use crate::source::quick::{Asker, Quick};
use crate::source::{Request, bpf};

/// Opens the quick thread's sources. What only loading needed is given up then, before there is
/// any other thread of ours that looks at the network.
pub(super) fn open_quick(
    config: &Live,
    request: &Request,
    opening: &mut Vec<Observation>,
    log: &mut Log,
) -> anyhow::Result<(Quick, Asker)> {
    let mut verifier = None;
    let opened = Quick::open(request.clone(), config.quick, &mut verifier, opening);
    if let Some(text) = verifier {
        log.line(&text);
    }
    if opened.is_err() {
        // Nobody takes them in any more.
        opening.iter().for_each(|state| log.note(state));
    }
    let opened = opened?;
    bpf::drop_capabilities().context("drop the capabilities that are not needed any more")?;
    Ok(opened)
}

pub(super) fn spawn_source(
    feed: Feed,
    asks: Receiver<Vec<Ask>>,
    to_main: SyncSender<Message>,
) -> anyhow::Result<()> {
    thread::Builder::new()
        .name("source".into())
        .spawn(move || {
            let send = |batch| to_main.send(Message::Observed(batch)).is_ok();
            if let Err(error) = feed.run(&asks, send) {
                // When the main thread is gone, there is nobody left to tell.
                let _ = to_main.send(Message::SourceFailed(error));
            }
        })
        .context("start the thread of the source")?;
    Ok(())
}

/// So many batches may be on their way; a full ring is a loss that is counted, a full memory none.
const BATCHES_ON_THE_WAY: usize = 8;

/// Starts the quick thread; gives what has to be told when a batch is done with.
pub(super) fn spawn_quick(
    quick: Quick,
    to_main: SyncSender<Message>,
) -> anyhow::Result<SyncSender<()>> {
    let (give_back, permits) = mpsc::sync_channel(BATCHES_ON_THE_WAY);
    for _ in 0..BATCHES_ON_THE_WAY {
        // It has that much room.
        let _ = give_back.send(());
    }
    thread::Builder::new()
        .name("quick".into())
        .spawn(move || {
            let tell = to_main.clone();
            let send = |batch| permits.recv().is_ok() && tell.send(Message::Quick(batch)).is_ok();
            if let Err(error) = quick.run(send) {
                // When the main thread is gone, there is nobody left to tell.
                let _ = to_main.send(Message::SourceFailed(error));
            }
        })
        .context("start the quick thread")?;
    Ok(give_back)
}
