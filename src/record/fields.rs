//! One line of JSON, field by field, without an allocation and without a tree.
//!
//! A recording has a hundred million lines a day on a busy host, and all of them are flat objects.
//! So a line is walked once: the caller takes what it knows by name and skips what it doesn't.
//! Knows JSON and nothing of what the fields mean.
//!
//! The traps: what is skipped must still be well-formed as far as its end can be found, however
//! deep it is nested, so no recursion; and a number that does not fit is an error, never a wrapped
//! one.

use std::borrow::Cow;

/// The line is not what it should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// The fields of a line, from first to last.
pub(super) struct Fields<'a> {
    /// What is left of it.
    rest: &'a [u8],
    begun: bool,
}

/// A value as it stands in the line.
#[derive(Clone, Copy)]
pub(super) struct Value<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    /// Of a line without its newline.
    pub(super) fn of(line: &'a [u8]) -> Result<Self, Malformed> {
        match skip_space(line) {
            [b'{', rest @ ..] => Ok(Self { rest, begun: false }),
            _ => Err(Malformed),
        }
    }

    /// The next field, `None` behind the last one. Its name is as it stands there, and may be no
    /// text at all.
    #[inline]
    pub(super) fn next(&mut self) -> Result<Option<(&'a [u8], Value<'a>)>, Malformed> {
        let mut rest = skip_space(self.rest);
        match rest {
            [b'}', tail @ ..] if skip_space(tail).is_empty() => return Ok(None),
            [b',', tail @ ..] if self.begun => rest = skip_space(tail),
            _ if self.begun => return Err(Malformed),
            _ => {}
        }
        self.begun = true;
        let [b'"', rest @ ..] = rest else {
            return Err(Malformed);
        };
        let length = string_length(rest)?;
        let name = &rest[..length];
        let [b':', rest @ ..] = skip_space(&rest[length + 1..]) else {
            return Err(Malformed);
        };
        let rest = skip_space(rest);
        let length = value_length(rest)?;
        let (value, rest) = rest.split_at(length);
        self.rest = rest;
        Ok(Some((name, Value(value))))
    }
}

impl<'a> Value<'a> {
    /// A whole number that fits.
    #[inline]
    pub(super) fn number<N: TryFrom<u64>>(self) -> Result<N, Malformed> {
        // The longest u64 has twenty digits.
        if self.0.is_empty() || self.0.len() > 20 || (self.0[0] == b'0' && self.0.len() > 1) {
            return Err(Malformed);
        }
        // Nineteen digits always fit.
        let (first, last) = self.0.split_at(self.0.len().min(19));
        let mut number = 0u64;
        for &byte in first {
            number = number * 10 + digit(byte)?;
        }
        for &byte in last {
            let digit = digit(byte)?;
            number = number
                .checked_mul(10)
                .and_then(|number| number.checked_add(digit))
                .ok_or(Malformed)?;
        }
        N::try_from(number).map_err(|_| Malformed)
    }

    /// A number, or `null`.
    pub(super) fn number_or_null<N: TryFrom<u64>>(self) -> Result<Option<N>, Malformed> {
        match self.0 {
            b"null" => Ok(None),
            _ => self.number().map(Some),
        }
    }

    pub(super) const fn boolean(self) -> Result<bool, Malformed> {
        match self.0 {
            b"true" => Ok(true),
            b"false" => Ok(false),
            _ => Err(Malformed),
        }
    }

    /// A boolean, or `null`.
    pub(super) const fn boolean_or_null(self) -> Result<Option<bool>, Malformed> {
        match (self.0, self.boolean()) {
            (b"null", _) => Ok(None),
            (_, Ok(value)) => Ok(Some(value)),
            (_, Err(error)) => Err(error),
        }
    }

    /// A text without escapes: one of the words that we write.
    #[inline]
    pub(super) fn word(self) -> Result<&'a str, Malformed> {
        match self.0 {
            [b'"', word @ .., b'"'] if !word.contains(&b'\\') => {
                str::from_utf8(word).map_err(|_| Malformed)
            }
            _ => Err(Malformed),
        }
    }

    /// Any text.
    pub(super) fn text(self) -> Result<Cow<'a, str>, Malformed> {
        match self.word() {
            Ok(word) if !word.bytes().any(|byte| byte < b' ') => Ok(Cow::Borrowed(word)),
            _ => serde_json::from_slice(self.0)
                .map(Cow::Owned)
                .map_err(|_| Malformed),
        }
    }
}

#[inline]
fn digit(byte: u8) -> Result<u64, Malformed> {
    match byte.wrapping_sub(b'0') {
        digit @ 0..=9 => Ok(digit.into()),
        _ => Err(Malformed),
    }
}

fn skip_space(bytes: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r');
    match bytes.first() {
        Some(first) if is_space(first) => {
            let text = bytes.iter().position(|byte| !is_space(byte));
            &bytes[text.unwrap_or(bytes.len())..]
        }
        _ => bytes,
    }
}

/// The length of a string's inside; `bytes` begin behind its first quote.
#[inline]
fn string_length(bytes: &[u8]) -> Result<usize, Malformed> {
    let mut at = 0;
    loop {
        match bytes.get(at) {
            Some(b'"') => return Ok(at),
            Some(b'\\') => at += 2,
            Some(_) => at += 1,
            None => return Err(Malformed),
        }
    }
}

fn value_length(bytes: &[u8]) -> Result<usize, Malformed> {
    match bytes.first() {
        Some(b'"') => Ok(string_length(&bytes[1..])? + 2),
        Some(b'{' | b'[') => nested_length(bytes),
        _ => {
            let end = bytes
                .iter()
                .position(|byte| matches!(byte, b',' | b'}' | b']' | b' ' | b'\t' | b'\r'));
            match end {
                Some(0) | None => Err(Malformed),
                Some(length) => Ok(length),
            }
        }
    }
}

/// The length of an object or an array. Which bracket closes which is not looked at: nobody wants
/// what is in it.
fn nested_length(bytes: &[u8]) -> Result<usize, Malformed> {
    let mut depth = 0usize;
    let mut at = 0;
    loop {
        match bytes.get(at) {
            Some(b'{' | b'[') => depth += 1,
            Some(b'}' | b']') => {
                depth -= 1;
                if depth == 0 {
                    return Ok(at + 1);
                }
            }
            Some(b'"') => at += 1 + string_length(&bytes[at + 1..])?,
            Some(_) => {}
            None => return Err(Malformed),
        }
        at += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(line: &str) -> Result<Vec<String>, Malformed> {
        let mut fields = Fields::of(line.as_bytes())?;
        let mut names = Vec::new();
        while let Some((name, _)) = fields.next()? {
            names.push(String::from_utf8(name.to_vec()).unwrap());
        }
        Ok(names)
    }

    fn value(line: &str) -> Value<'_> {
        Fields::of(line.as_bytes())
            .unwrap()
            .next()
            .unwrap()
            .unwrap()
            .1
    }

    #[test]
    fn a_line_is_walked_whatever_is_in_it() {
        assert_eq!(names("{}"), Ok(vec![]));
        let line = r#" { "a" : 1 , "b":"x\"}{", "c":{"d":[1,{"e":"]"}]}, "f":null } "#;
        assert_eq!(
            names(line),
            Ok(["a", "b", "c", "f"].map(String::from).to_vec())
        );
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(names(&deep), Ok(vec!["a".to_owned()]));
    }

    #[test]
    fn what_is_no_object_is_malformed() {
        for line in [
            "",
            "[]",
            "null",
            "{",
            r#"{"a"}"#,
            r#"{"a":}"#,
            r#"{"a":1"#,
            r#"{"a":1,}"#,
            r#"{"a":1 "b":2}"#,
            r#"{"a":1}}"#,
            r#"{"a":1} x"#,
            r#"{"a":"\"#,
            r#"{"a":"#,
            r#"{"a":[1}"#,
            "{a:1}",
            r#"{,"a":1}"#,
        ] {
            let wrong = names(line);
            // A bracket of the wrong kind is taken for the right one; then the end is missing.
            assert_eq!(wrong, Err(Malformed), "{line}");
        }
    }

    #[test]
    fn numbers_fit_or_are_refused() {
        let number = |text: &str| value(&format!("{{\"a\":{text}}}")).number::<u64>();
        assert_eq!(number("18446744073709551615"), Ok(u64::MAX));
        for text in [
            "18446744073709551616",
            "99999999999999999999999",
            "-1",
            "1.5",
            "1e3",
            "01",
            "\"1\"",
            "null",
        ] {
            assert_eq!(number(text), Err(Malformed), "{text}");
        }
        assert_eq!(value(r#"{"a":256}"#).number::<u8>(), Err(Malformed));
        assert_eq!(value(r#"{"a":null}"#).number_or_null::<u8>(), Ok(None));
        assert_eq!(value(r#"{"a":null}"#).boolean_or_null(), Ok(None));
        assert_eq!(value(r#"{"a":yes}"#).boolean_or_null(), Err(Malformed));
    }

    #[test]
    fn a_text_comes_without_its_escapes() {
        assert_eq!(value(r#"{"a":"x\ny\u001b"}"#).text().unwrap(), "x\ny\u{1b}");
        assert!(matches!(
            value(r#"{"a":"plain"}"#).text(),
            Ok(Cow::Borrowed("plain"))
        ));
        assert!(value(r#"{"a":"\ud800"}"#).text().is_err());
        assert!(value(r#"{"a":"x\ny"}"#).word().is_err());
    }
}
