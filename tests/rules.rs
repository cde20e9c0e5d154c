//! The rules against data files: observations in, findings out, no kernel.
//!
//! `fixtures/rules/CODE.toml` makes a rule fire, and `CODE.not.toml` (`.not-WHY.toml`) is just short of
//! it, or its healthy look-alike. A file's findings are compared whole: what it does not name must
//! not be found. How they are written is in tests/common/scenario.rs.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may fail loudly"
)]

#[path = "common/scenario.rs"]
mod scenario;

use std::collections::BTreeSet;
use std::path::Path;

use scenario::{ExpectFinding, files, load, told};
use tcpwatch::diagnosis::finding::{Code, Finding};
use tcpwatch::diagnosis::{Known, News, Settings, Severity, Subject};
use tcpwatch::model::{Observation, Timestamp};
use tcpwatch::timeline::Tracker;

fn known_of(observations: &[Observation]) -> (Known, Vec<News>) {
    let mut known = Known::new(Tracker::default(), Settings::default());
    let mut news = Vec::new();
    for observation in observations {
        known.take(observation);
        news.extend_from_slice(known.news());
        known.asks();
    }
    (known, news)
}

fn name(subject: &Subject) -> String {
    match subject {
        Subject::End(conn, side) => format!("{conn}{}", side.token()),
        Subject::Pair {
            close_wait,
            fin_wait2,
        } => format!(
            "{}{} {}{}",
            close_wait.0,
            close_wait.1.token(),
            fin_wait2.0,
            fin_wait2.1.token()
        ),
        Subject::Listener(id) => format!("listener {}", id.tuple.local),
        Subject::Destination { local, remote, .. } => format!("{local} to {remote}"),
    }
}

const fn ms(at: Timestamp) -> u64 {
    at.nanos() / 1_000_000
}

fn told_as(finding: &Finding) -> String {
    format!(
        "{} {} {} at {} over {:?}: {}\n      {}\n      {}",
        finding.code.token(),
        name(&finding.subject),
        finding.severity.token(),
        ms(finding.at),
        finding.over.map(ms),
        finding.what,
        finding.evidence.join("; "),
        finding.advice
    )
}

fn is(expected: &ExpectFinding, finding: &Finding) -> bool {
    let words = told_as(finding);
    finding.code.token() == expected.code
        && name(&finding.subject) == expected.on
        && finding.severity.token() == expected.severity
        && ms(finding.at) == expected.at
        && finding.over.map(ms) == expected.over
        && expected.says.iter().all(|part| words.contains(part))
}

fn check(file: &Path) -> BTreeSet<Code> {
    let scenario = load(file);
    let (known, news) = known_of(&told(&scenario, 0));
    let findings: Vec<&Finding> = known.diagnosis.findings().collect();
    let all = findings
        .iter()
        .map(|finding| format!("    {}\n", told_as(finding)))
        .collect::<String>();
    for expected in &scenario.finding {
        let count = findings.iter().filter(|found| is(expected, found)).count();
        assert_eq!(count, 1, "{file:?}: {expected:?} is not among\n{all}");
    }
    assert_eq!(
        findings.len(),
        scenario.finding.len(),
        "{file:?}: more is found than it says:\n{all}"
    );
    for finding in findings {
        assert!(!finding.evidence.is_empty(), "{file:?}: no evidence");
        assert!(!finding.what.is_empty() && !finding.advice.is_empty());
        assert!(!finding.what.ends_with('.'), "{file:?}: {}", finding.what);
        let of_it = || {
            news.iter()
                .filter(|news| news.finding().number == finding.number)
        };
        let said: Vec<Severity> = of_it()
            .filter(|news| matches!(news, News::Found(_)))
            .map(|news| news.finding().severity)
            .collect();
        // Again only when it has become worse.
        assert!(
            !said.is_empty() && said.is_sorted_by(|a, b| a < b),
            "{file:?}: {said:?}"
        );
        let over = of_it().filter(|news| matches!(news, News::Over(_))).count();
        assert_eq!(over, usize::from(finding.over.is_some()), "{file:?}");
    }
    let known = |word: &str| Code::of(word).unwrap_or_else(|| panic!("{file:?}: {word}"));
    let codes = scenario.finding.iter().map(|found| known(&found.code));
    codes.collect()
}

/// `CODE` and whether it is a near miss.
fn meant(file: &Path) -> (Code, bool) {
    let name = file.file_stem().unwrap().to_str().unwrap();
    let (code, rest) = name.split_once('.').unwrap_or((name, ""));
    let code = Code::of(code).unwrap_or_else(|| panic!("{file:?} is named after no code"));
    (code, rest.starts_with("not"))
}

#[test]
fn every_rule_fires_and_misses_as_its_files_say() {
    let failed = files("rules").into_iter().filter(|file| {
        let outcome = std::panic::catch_unwind(|| {
            let (code, is_near_miss) = meant(file);
            assert_eq!(check(file).contains(&code), !is_near_miss, "{file:?}");
        });
        outcome.is_err()
    });
    assert_eq!(failed.count(), 0, "each is told above");
}

#[test]
fn every_code_has_a_file_that_fires_a_near_miss_and_its_section() {
    let meant: BTreeSet<(Code, bool)> = files("rules").iter().map(|file| meant(file)).collect();
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/diagnosis.md");
    let docs = std::fs::read_to_string(docs).unwrap();
    for code in Code::ALL {
        let word = code.token();
        assert!(meant.contains(&(code, false)), "{word} has no {word}.toml");
        assert!(
            meant.contains(&(code, true)),
            "{word} has no {word}.not.toml"
        );
        let heading = format!("\n### {word}\n");
        let section = docs
            .split_once(&heading)
            .unwrap_or_else(|| panic!("{word} has no section in docs/diagnosis.md"));
        let section = section.1.split("\n#").next().unwrap();
        for part in [
            "Evidence:",
            "Threshold:",
            "What to do:",
            "When it is wrong:",
        ] {
            assert!(section.contains(part), "{word}: '{part}' is missing");
        }
    }
}

#[test]
fn the_same_observations_give_the_same_findings() {
    for file in files("rules").into_iter().chain(files("scenarios")) {
        let observations = told(&load(&file), 0);
        let print = || {
            let (known, news) = known_of(&observations);
            let findings: Vec<&Finding> = known.diagnosis.findings().collect();
            format!("{findings:?} {news:?}")
        };
        assert_eq!(print(), print(), "{file:?}");
    }
}

/// A look at sockets of these ports, in CLOSE_WAIT or gone from there.
fn look(ms: u64, ports: std::ops::Range<u32>, is_first: bool) -> Observation {
    use tcpwatch::model::{Body, Look, Poll, SourceName};
    let line = |n: u32| {
        let (host, port) = (n / 50_000, 10_000 + n % 50_000);
        format!("10.0.0.1:80>10.0.{host}.9:{port} CLOSE_WAIT ck={n} ino={n} shut=1")
    };
    let rows = ports.map(|n| scenario::sample(&line(n), scenario::at(ms)));
    Observation {
        host: 0,
        at: scenario::at(ms),
        source: SourceName::SockDiag,
        body: Body::Poll(Poll {
            begun: scenario::at(ms),
            look: Look::Whole,
            complete: true,
            first: is_first,
            appeared: rows.collect(),
            changed: Vec::new(),
            missing: Vec::new(),
        }),
    }
}

#[test]
fn what_there_is_no_room_for_is_counted_once_and_nothing_that_holds_goes() {
    use tcpwatch::diagnosis::watch::KEPT;
    let kept = u32::try_from(KEPT).unwrap();
    let mut known = Known::new(Tracker::default(), Settings::default());
    known.take(&look(1, 1..kept + 51, true));
    for later in [40_000, 50_000, 60_000] {
        known.take(&look(later, 0..0, false));
        let news = known.news().len();
        assert_eq!(news, if later == 40_000 { KEPT } else { 0 }, "at {later}");
        assert_eq!(known.diagnosis.findings().len(), KEPT);
        assert_eq!(known.diagnosis.dropped(), 50);
    }
}
