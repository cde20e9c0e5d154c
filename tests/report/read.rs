//! Readers of what is exported, written from the formats' own rules and not from the program's.

use std::collections::BTreeMap;

use serde_json::Value;

/// A slice, in nanoseconds.
#[derive(Debug)]
pub struct Slice {
    pub begin: i128,
    pub end: i128,
}

/// The slices of every track, in the order in which they are written, which must be that of time.
pub fn tracks_of(trace: &Value) -> BTreeMap<(u64, u64), Vec<Slice>> {
    let mut tracks: BTreeMap<(u64, u64), Vec<Slice>> = BTreeMap::new();
    let mut last: BTreeMap<(u64, u64), i128> = BTreeMap::new();
    for event in trace["traceEvents"].as_array().unwrap() {
        let track = (
            event["pid"].as_u64().unwrap(),
            event["tid"].as_u64().unwrap(),
        );
        let kind = event["ph"].as_str().unwrap();
        if kind == "M" {
            assert!(event["args"].is_object());
            continue;
        }
        let begin = nanos(&event["ts"]);
        assert!(event["name"].is_string());
        if kind == "X" {
            let before = last.insert(track, begin);
            assert!(before.is_none_or(|before| before <= begin), "{event}");
            let end = begin + nanos(&event["dur"]);
            tracks.entry(track).or_default().push(Slice { begin, end });
        } else {
            assert_eq!(kind, "i", "{event}");
        }
    }
    tracks
}

/// Microseconds, to the nearest nanosecond, as the Perfetto UI takes them.
fn nanos(micros: &Value) -> i128 {
    (micros.as_f64().unwrap() * 1000.0).round() as i128
}

/// RFC 4180: cells between commas, quoted ones with doubled quotes, rows that end with CRLF.
pub fn csv_rows(text: &str) -> Vec<Vec<String>> {
    let mut rows = vec![vec![String::new()]];
    let mut letters = text.chars().peekable();
    let mut quoted = false;
    while let Some(letter) = letters.next() {
        let row = rows.last_mut().unwrap();
        let cell = row.last_mut().unwrap();
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                cell.push('"');
            }
            '"' if quoted => {
                quoted = false;
                assert!(matches!(letters.peek(), Some(',' | '\r')), "{row:?}");
            }
            '"' => {
                assert!(cell.is_empty(), "a quote within a cell: {row:?}");
                quoted = true;
            }
            ',' if !quoted => row.push(String::new()),
            '\r' if !quoted => {
                assert_eq!(letters.next(), Some('\n'));
                rows.push(vec![String::new()]);
            }
            letter => cell.push(letter),
        }
    }
    assert!(!quoted, "a quote is open");
    assert_eq!(
        rows.pop(),
        Some(vec![String::new()]),
        "the last line has an end"
    );
    rows
}

/// Checks that the document is well-formed, and has nothing in it that reaches outside; gives its
/// texts, with their entities resolved.
pub fn xml_texts(document: &str) -> Vec<String> {
    let body = document
        .strip_prefix("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n")
        .unwrap();
    assert!(document.chars().all(is_xml));
    let mut open: Vec<&str> = Vec::new();
    let mut texts = Vec::new();
    let mut rest = body;
    let mut roots = 0;
    while let Some(at) = rest.find('<') {
        let text = &rest[..at];
        assert!(!open.is_empty() || text.trim().is_empty(), "{text}");
        assert!(!text.contains("]]>"));
        if open.last() != Some(&"style") {
            texts.push(resolved(text));
        }
        let end = at + rest[at..].find('>').unwrap();
        let tag = &rest[at + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "closed out of order");
            continue;
        }
        let (tag, is_empty) = match tag.strip_suffix('/') {
            Some(tag) => (tag, true),
            None => (tag, false),
        };
        let (name, attributes) = tag.split_once(' ').unwrap_or((tag, ""));
        assert!(name.chars().all(|c| c.is_ascii_alphanumeric()), "{name}");
        assert!(!matches!(
            name,
            "script" | "image" | "use" | "a" | "foreignObject"
        ));
        check_attributes(attributes);
        roots += u32::from(open.is_empty());
        if !is_empty {
            open.push(name);
        }
    }
    assert!(open.is_empty() && rest.trim().is_empty(), "{open:?}");
    assert_eq!(roots, 1);
    texts
}

/// What XML 1.0 can hold.
fn is_xml(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

/// `name="value"`, each name once.
fn check_attributes(attributes: &str) {
    let mut names = Vec::new();
    let mut rest = attributes.trim();
    while !rest.is_empty() {
        let (name, behind) = rest.split_once("=\"").unwrap();
        let (value, behind) = behind.split_once('"').unwrap();
        assert!(!names.contains(&name), "{name} twice");
        assert!(!name.starts_with("on") && !name.contains("href"), "{name}");
        assert!(!value.contains('<'));
        assert!(name == "xmlns" || !value.contains("://"), "{value}");
        resolved(value);
        names.push(name);
        rest = behind.trim_start();
    }
}

fn resolved(text: &str) -> String {
    let mut out = String::new();
    let mut parts = text.split('&');
    out.push_str(parts.next().unwrap());
    for part in parts {
        let (entity, behind) = part.split_once(';').unwrap();
        out.push(match entity {
            "amp" => '&',
            "lt" => '<',
            "gt" => '>',
            "quot" => '"',
            "#39" => '\'',
            other => panic!("&{other};"),
        });
        out.push_str(behind);
    }
    out
}
