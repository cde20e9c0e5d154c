//! What was typed behind `/`: the expression of `--filter`, while the screen is there.

use crate::model::filter::Filter;
use crate::timeline::Connection;
pub(super) use crate::view::facts::Truth;
use crate::view::{Asked, facts};

/// What can't be read, and at which byte.
#[derive(Debug)]
pub(super) struct Wrong {
    pub(super) at: usize,
    pub(super) text: String,
}

/// An expression, and its text as it was typed.
#[derive(Clone, Debug)]
pub(super) struct Query {
    text: String,
    /// The expression, and nothing else.
    filter: Filter,
}

impl Query {
    /// Reads what was typed; `None` when that is nothing.
    pub(super) fn parse(text: &str) -> Result<Option<Self>, Wrong> {
        let read = facts::parse(text).map_err(|error| Wrong {
            at: error.range.start,
            text: error.message,
        })?;
        Ok(read.map(|expr| Self {
            text: text.trim().to_owned(),
            filter: Filter {
                expr: Some(expr),
                ..Filter::default()
            },
        }))
    }

    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// Whether it may be the begin of another: `ag`, of `age > 30s`.
    pub(super) fn is_unfinished(&self) -> bool {
        let expr = self.filter.expr.as_ref();
        expr.is_some_and(|expr| expr.is_unfinished(&self.text))
    }

    /// Whether it can become otherwise without anything being observed.
    pub(super) fn depends_on_time(&self) -> bool {
        self.filter.depends_on_time()
    }

    /// Whether it is so of a connection of the picture that is asked.
    pub(super) fn truth(&self, connection: &Connection, asked: Asked<'_>) -> Truth {
        self.asked(asked).truth_of_expr(connection)
    }

    /// The same question, asked of the same picture.
    pub(super) const fn asked<'a>(&'a self, asked: Asked<'a>) -> Asked<'a> {
        let filter = &self.filter;
        Asked { filter, ..asked }
    }
}
