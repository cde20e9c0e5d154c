//! The threads beside the looks: each is asked about what is known and says more of it, in its own
//! time. Nobody waits for them.
//!
//! The trap: what they need of the capabilities they must have before the main thread gives its
//! own up, so they are started first.

use std::sync::mpsc::{self, Sender, SyncSender};
use std::thread;

use anyhow::Context;

use crate::cli::{Format, Live};
use crate::model::{Ask, Observation, Scope};
use crate::run::live::{Message, Shown};
use crate::run::merge::Stream;
use crate::source::{bpf, holders, info};

/// The threads beside, and what each wants to be asked.
#[derive(Default)]
pub(super) struct Beside {
    helpers: Vec<Helper>,
}

struct Helper {
    wants: fn(&Ask) -> bool,
    asks: Sender<Vec<Ask>>,
}

impl Beside {
    /// Starts them. What there is to say of them goes to `out`; with the holders' command lines, if
    /// anybody is to see them.
    pub(super) fn start(
        scope: Scope,
        cmdlines: bool,
        to_main: &SyncSender<Message>,
        out: &mut Vec<Observation>,
    ) -> anyhow::Result<Self> {
        let mut beside = Self::default();
        beside.watch_holders(scope, cmdlines, to_main.clone(), out)?;
        beside.ask_for_counters(to_main.clone())?;
        Ok(beside)
    }

    fn watch_holders(
        &mut self,
        scope: Scope,
        cmdlines: bool,
        to_main: SyncSender<Message>,
        out: &mut Vec<Observation>,
    ) -> anyhow::Result<()> {
        let watch = holders::Watch::open(scope, cmdlines, out);
        let (asks, asked) = mpsc::channel();
        self.helpers.push(Helper {
            wants: |ask| matches!(ask, Ask::Holders(_) | Ask::NoHolders(_) | Ask::Keyframe),
            asks,
        });
        let send = move |batch| {
            to_main
                .send(Message::Beside(Stream::Holders, batch))
                .is_ok()
        };
        thread::Builder::new()
            .name("holders".into())
            .spawn(move || watch.run(&asked, send))
            .context("start the thread that looks who holds the sockets")?;
        Ok(())
    }

    fn ask_for_counters(&mut self, to_main: SyncSender<Message>) -> anyhow::Result<()> {
        let (asks, asked) = mpsc::channel();
        self.helpers.push(Helper {
            wants: |ask| matches!(ask, Ask::Info(_)),
            asks,
        });
        let send = move |batch| to_main.send(Message::Beside(Stream::Info, batch)).is_ok();
        thread::Builder::new()
            .name("info".into())
            .spawn(move || {
                // It needs none, and neither do the processes that it forks.
                let _ = bpf::drop_capabilities();
                info::run(&asked, send);
            })
            .context("start the thread that asks sockets for their counters")?;
        Ok(())
    }

    /// Hands each what it wants to be asked.
    pub(super) fn ask(&self, asks: &[Ask]) {
        for helper in &self.helpers {
            let wanted: Vec<Ask> = asks.iter().copied().filter(helper.wants).collect();
            if !wanted.is_empty() {
                // One that has ended has nothing to say.
                let _ = helper.asks.send(wanted);
            }
        }
    }

    /// Those who say all they know again when they are asked for a keyframe.
    pub(super) fn who_say_all(&self) -> Vec<Sender<Vec<Ask>>> {
        let wanting = self.helpers.iter().filter(|h| (h.wants)(&Ask::Keyframe));
        wanting.map(|helper| helper.asks.clone()).collect()
    }
}

/// Whether anybody is to see command lines: the screen, or who wants them recorded. Lines are to be
/// printed again from the recording beside them, so they hold none that it does not.
pub(super) fn shows_cmdlines(config: &Live, shown: Shown) -> bool {
    let has_screen = shown == Shown::Wanted && config.format == Format::Tui;
    has_screen || config.record.as_ref().is_none_or(|plan| plan.cmdlines)
}
