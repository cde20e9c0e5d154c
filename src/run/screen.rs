//! The screen as a way to show a live run. It follows in the next commits; until then asking for
//! it is an error that says so.

use std::sync::mpsc::SyncSender;
use std::time::Duration;

use crate::cli::Live;
use crate::lab::judge::Conclusion;
use crate::model::{Observation, Timestamp};
use crate::run::live::{Flow, Message, Show};
use crate::timeline::{Change, Tracker};
use crate::view::tui::Input;

pub(super) struct ScreenShow;

impl ScreenShow {
    pub(super) fn open(_: &Live, _: SyncSender<Message>) -> anyhow::Result<Self> {
        anyhow::bail!("the screen is not built yet; use --format text or json")
    }
}

impl Show for ScreenShow {
    fn take(&mut self, _: &Observation, _: &[Change], _: &Tracker) -> anyhow::Result<()> {
        Ok(())
    }
    fn settle(&mut self, _: &Tracker, _: Timestamp) -> anyhow::Result<Flow> {
        Ok(Flow::On)
    }
    fn input(&mut self, _: Input, _: &Tracker, _: Timestamp) -> anyhow::Result<Flow> {
        Ok(Flow::On)
    }
    fn patience(&self, _: Timestamp) -> Duration {
        Duration::from_secs(1)
    }
    fn conclusion(&mut self, _: &str, _: &Conclusion, _: Timestamp) -> anyhow::Result<()> {
        Ok(())
    }
    fn conclude(&mut self) -> anyhow::Result<()> {
        Ok(())
    }
}
