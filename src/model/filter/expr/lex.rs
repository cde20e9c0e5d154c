//! The words and signs of an expression, each with its place.
//!
//! The trap: almost every letter can be part of a value (`::1`, `10.0.0.0/8`, `/usr/bin/nginx`),
//! so only the few signs of the language end a word; what has one of them in it is quoted.

use std::borrow::Cow;
use std::ops::Range;

use crate::model::filter::expr::{Compare, ExprError};

/// A sign that compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    Is(Compare),
    IsNot,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind<'a> {
    Word(&'a str),
    Quoted(Cow<'a, str>),
    Open,
    Close,
    And,
    Or,
    Not,
    Comma,
    Sign(Sign),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token<'a> {
    pub(super) kind: Kind<'a>,
    pub(super) range: Range<usize>,
}

/// Whether a word ends before this.
pub(super) fn is_sign(letter: char) -> bool {
    letter.is_whitespace()
        || matches!(
            letter,
            '(' | ')' | '!' | '&' | '|' | '=' | '<' | '>' | ',' | '"' | '\''
        )
}

pub(super) fn tokens(text: &str) -> Result<Vec<Token<'_>>, ExprError> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(letter) = text[at..].chars().next() {
        if letter.is_whitespace() {
            at += letter.len_utf8();
            continue;
        }
        let (kind, length) = token(text, at, letter)?;
        tokens.push(Token {
            kind,
            range: at..at + length,
        });
        at += length;
    }
    Ok(tokens)
}

fn token(text: &str, at: usize, letter: char) -> Result<(Kind<'_>, usize), ExprError> {
    let rest = &text[at..];
    let starts = |sign: &str| rest.starts_with(sign);
    let is = |compare| Kind::Sign(Sign::Is(compare));
    Ok(match letter {
        '(' => (Kind::Open, 1),
        ')' => (Kind::Close, 1),
        ',' => (Kind::Comma, 1),
        '!' if starts("!=") => (Kind::Sign(Sign::IsNot), 2),
        '!' => (Kind::Not, 1),
        '=' if starts("==") => (is(Compare::Equal), 2),
        '=' => (is(Compare::Equal), 1),
        '<' if starts("<=") => (is(Compare::AtMost), 2),
        '<' => (is(Compare::Less), 1),
        '>' if starts(">=") => (is(Compare::AtLeast), 2),
        '>' => (is(Compare::More), 1),
        '&' if starts("&&") => (Kind::And, 2),
        '|' if starts("||") => (Kind::Or, 2),
        '&' | '|' => {
            let message = format!("'{letter}' is written twice (allowed: &&, ||, and, or)");
            return Err(ExprError::new(at..at + 1, message));
        }
        '"' | '\'' => quoted(text, at, letter)?,
        _ => {
            let length = rest.find(is_sign).unwrap_or(rest.len());
            let word = &rest[..length];
            (keyword(word).unwrap_or(Kind::Word(word)), length)
        }
    })
}

/// The words that join conditions.
pub(super) fn keyword(word: &str) -> Option<Kind<'static>> {
    let is = |keyword| word.eq_ignore_ascii_case(keyword);
    match () {
        () if is("and") => Some(Kind::And),
        () if is("or") => Some(Kind::Or),
        () if is("not") => Some(Kind::Not),
        () => None,
    }
}

/// A text between two marks; within it a backslash takes what follows as it is.
fn quoted(text: &str, at: usize, mark: char) -> Result<(Kind<'_>, usize), ExprError> {
    let inner = at + 1;
    let mut unescaped = String::new();
    let mut letters = text[inner..].char_indices();
    let mut is_plain = true;
    while let Some((offset, letter)) = letters.next() {
        if letter == mark {
            let value = match is_plain {
                true => Cow::Borrowed(&text[inner..inner + offset]),
                false => Cow::Owned(unescaped),
            };
            return Ok((Kind::Quoted(value), offset + 2));
        }
        if letter == '\\' {
            is_plain = false;
            unescaped.extend(letters.next().map(|(_, letter)| letter));
        } else {
            unescaped.push(letter);
        }
    }
    let message = format!("the text that begins here is not ended: write {mark} behind it");
    Err(ExprError::new(at..text.len(), message))
}
