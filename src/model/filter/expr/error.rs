//! Where an expression is wrong, and what is allowed there.

use std::ops::Range;

/// What is wrong with a text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ExprError {
    /// Where, in bytes; empty at the end of a text that lacks something.
    pub range: Range<usize>,
    /// What is wrong, and what is allowed.
    pub message: String,
}

impl ExprError {
    pub(super) fn new(range: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            range,
            message: message.into(),
        }
    }

    /// The column of the text in which it begins, from 1, in letters.
    pub fn column(&self, text: &str) -> usize {
        let before = text.get(..self.range.start).unwrap_or(text);
        before.chars().count() + 1
    }
}
