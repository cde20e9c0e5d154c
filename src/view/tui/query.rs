//! What was typed behind `/`: the expression of `--filter`, while the screen is there.

use crate::timeline::Connection;
use crate::view::tui::rows::Of;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Truth {
    Yes,
    No,
    Unknown,
}

/// What can't be read, and at which byte.
pub(super) struct Wrong {
    pub(super) at: Option<usize>,
    pub(super) text: String,
}

/// An expression, and its text as it was typed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Query {
    text: String,
}

impl Query {
    pub(super) fn parse(text: &str) -> Result<Option<Self>, Wrong> {
        if text == "!" {
            return Err(Wrong {
                at: None,
                text: String::new(),
            });
        }
        Ok((!text.trim().is_empty()).then(|| Self {
            text: text.to_owned(),
        }))
    }
    pub(super) fn text(&self) -> &str {
        &self.text
    }
    pub(super) fn depends_on_time(&self) -> bool {
        false
    }
    pub(super) fn truth(&self, connection: &Connection, _of: Of<'_>) -> Truth {
        let text = format!(
            "{} {}",
            connection.endpoint(crate::timeline::Side::A),
            connection.endpoint(crate::timeline::Side::B)
        );
        match text.contains(&self.text) {
            true => Truth::Yes,
            false if text.len() == 1 => Truth::Unknown,
            false => Truth::No,
        }
    }
}
