//! `tcpwatch export`: recordings as a file for another program.

use std::io::Write;

use crate::cli::Export;
use crate::run::clocks::complain_of;
use crate::run::load::Loaded;
use crate::run::output::Output;
use crate::run::report::outcome;
use crate::run::{Outcome, complain};
use crate::view::export;
use crate::view::report::{About, Shown, Summary};

pub(super) fn export(config: &Export) -> anyhow::Result<Outcome> {
    let output = Output::new(&config.out, &config.chosen.files)?;
    let loaded = Loaded::new(&config.chosen)?;
    let (about, summary) = (&loaded.about, &loaded.summary);
    let mut left_out = 0;
    output.write(|out| {
        let all = |each: Each<'_>| loaded.connections(each);
        left_out = write(config.format, (about, summary), all, out)?;
        Ok(())
    })?;
    complain_of(&about.clocks);
    if left_out > 0 {
        complain(&format!(
            "{left_out} of {} connections are left out, it has no room for them: choose with \
             --conn, --verdict, --port, --from or --until",
            summary.seen
        ));
    }
    Ok(outcome(&loaded))
}

/// What is to be done with each connection.
pub(super) type Each<'a> = &'a mut dyn FnMut(&Shown<'_>) -> anyhow::Result<()>;

/// Writes all that `connections` gives. Says how many it had no room for.
pub(super) fn write(
    format: export::Format,
    (about, summary): (&About, &Summary),
    connections: impl FnOnce(Each<'_>) -> anyhow::Result<()>,
    out: &mut dyn Write,
) -> anyhow::Result<u64> {
    let mut text = String::new();
    let put = |text: &mut String, out: &mut dyn Write| {
        let written = out.write_all(text.as_bytes());
        text.clear();
        written
    };
    let mut export = export::Export::begin(format, about, summary, &mut text)?;
    put(&mut text, out)?;
    connections(&mut |shown| {
        export.connection(shown, &mut text)?;
        Ok(put(&mut text, out)?)
    })?;
    let left_out = export.end(&mut text)?;
    put(&mut text, out)?;
    Ok(left_out)
}
