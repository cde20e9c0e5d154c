//! Goes where the user wants to look, before anything is opened and before there is a second thread:
//! all that a run opens or starts later is there, too.

use crate::model::filter::Filter;
use crate::source::Request;
use crate::source::netns::{Namespace, Place, enter};

/// Enters the namespace, if one is named, and gives what sources are to be opened with.
///
/// # Errors
/// When there is no such namespace, or no way to look into it.
pub(super) fn request(filter: &Filter, netns: Option<&Namespace>) -> anyhow::Result<Request> {
    let place = netns.map(enter).transpose()?.unwrap_or_default();
    Ok(Request {
        filter: filter.clone(),
        scope: place.scope(),
        place,
    })
}

/// Enters the namespace, if one is named, with what is to be started in it.
///
/// # Errors
/// When there is no such namespace, or it may not be entered.
pub(super) fn enter_with_all(netns: Option<&Namespace>) -> anyhow::Result<()> {
    match netns.map(enter).transpose()? {
        Some(Place::Through(process)) => anyhow::bail!(
            "--netns: processes can't be started there: {}",
            process.why()
        ),
        Some(Place::Own) | None => Ok(()),
    }
}
