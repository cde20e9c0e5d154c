//! What the terminal says of its background: OSC 11 (xterm's ctlseqs, "Change VT100 text background
//! color"), asked for once, answered among the keys.
//!
//! The answer is looked for where the keys are read, however late it comes, so nobody waits for it
//! and no key that is typed meanwhile is lost. The trap: to a reader of keys it is Alt-] and twenty
//! letters, and letters are keys here. So what may be the answer is held back until it is one, or can
//! be none.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use crate::view::palette::Background;

/// The question.
pub(super) const QUESTION: &str = "\x1b]11;?\x1b\\";
/// How an answer begins.
const BEGINNING: &str = "\x1b]11;";
/// No answer is longer: `rgba:` with four times four digits, and its end.
const LONGEST: usize = 40;

/// What came of a key.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// These are keys, in the order in which they were pressed.
    Keys(Vec<KeyEvent>),
    /// It may belong to the answer.
    Part,
    /// The answer, as far as it is understood.
    Answer(Option<Background>),
}

/// Looks for the answer among the keys.
#[derive(Debug, Default)]
pub(super) struct Listener {
    /// Keys that may be a part of it, and what they are as bytes.
    held: Vec<KeyEvent>,
    text: String,
}

impl Listener {
    pub(super) fn take(&mut self, key: KeyEvent) -> Heard {
        self.held.push(key);
        if !push(&mut self.text, &key) || !may_become_answer(&self.text) {
            return Heard::Keys(self.give_up());
        }
        let ended = ["\x07", "\x1b\\"].iter();
        let mut ended = ended.filter_map(|end| self.text.strip_suffix(end));
        let Some(answer) = ended.next().and_then(|text| text.strip_prefix(BEGINNING)) else {
            return Heard::Part;
        };
        let background = background(answer);
        self.give_up();
        Heard::Answer(background)
    }

    /// Nothing more has come for now. The key Esc may be the first byte of the answer, and mostly is
    /// the key: it is given, and what comes next may still go on from there.
    pub(super) fn pause(&mut self) -> Vec<KeyEvent> {
        match self.text == "\x1b" {
            true => std::mem::take(&mut self.held),
            false => Vec::new(),
        }
    }

    /// Nothing has come for a while: what was held back are keys.
    pub(super) fn give_up(&mut self) -> Vec<KeyEvent> {
        self.text.clear();
        std::mem::take(&mut self.held)
    }
}

fn may_become_answer(text: &str) -> bool {
    let is_inside = |rest: &str| {
        let rest = rest.trim_end_matches(['\x07', '\\', '\x1b']);
        rest.len() <= LONGEST && rest.bytes().all(|byte| byte.is_ascii_graphic())
    };
    BEGINNING.starts_with(text) || text.strip_prefix(BEGINNING).is_some_and(is_inside)
}

/// Adds the bytes from which the key was read; false for keys that are in no answer.
fn push(text: &mut String, key: &KeyEvent) -> bool {
    let held = key.modifiers - KeyModifiers::SHIFT;
    match key.code {
        KeyCode::Esc if held.is_empty() => text.push('\x1b'),
        KeyCode::Char('g') if held == KeyModifiers::CONTROL => text.push('\x07'),
        KeyCode::Char(c) if held == KeyModifiers::ALT => text.extend(['\x1b', c]),
        KeyCode::Char(c) if held.is_empty() => text.push(c),
        _ => return false,
    }
    true
}

/// `rgb:1e1e/1e1e/2e2e`, with one to four digits each: XParseColor(3).
fn background(answer: &str) -> Option<Background> {
    let (_, parts) = answer.split_once(':')?;
    let mut parts = parts.split('/').map(|part| {
        let unused = 32_u32.checked_sub(4 * u32::try_from(part.len()).ok()?)?;
        let most = u32::MAX.checked_shr(unused)?;
        let value = u32::from_str_radix(part, 16).ok()?;
        Some(f64::from(value) / f64::from(most))
    });
    let mut next = || parts.next().flatten();
    let (red, green, blue) = (next()?, next()?, next()?);
    // Rec. 709 luma: green is bright, blue is not.
    let brightness = 0.2126 * red + 0.7152 * green + 0.0722 * blue;
    Some(match brightness > 0.5 {
        true => Background::Light,
        false => Background::Dark,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(c: char) -> KeyEvent {
        let shift = match c.is_uppercase() {
            true => KeyModifiers::SHIFT,
            false => KeyModifiers::NONE,
        };
        KeyEvent::new(KeyCode::Char(c), shift)
    }

    /// The keys that a reader of keys takes these bytes for.
    fn keys(text: &str) -> Vec<KeyEvent> {
        let mut keys = Vec::new();
        let mut chars = text.chars();
        while let Some(c) = chars.next() {
            keys.push(match c {
                '\x07' => KeyEvent::new(KeyCode::Char('g'), KeyModifiers::CONTROL),
                '\x1b' => match chars.next() {
                    Some(c) => KeyEvent::new(KeyCode::Char(c), KeyModifiers::ALT),
                    None => KeyCode::Esc.into(),
                },
                c => plain(c),
            });
        }
        keys
    }

    /// What comes of all of them, without those that are still held.
    fn heard(keys: &[KeyEvent]) -> (Vec<KeyEvent>, Vec<Option<Background>>) {
        let mut listener = Listener::default();
        let (mut given, mut answers) = (Vec::new(), Vec::new());
        for key in keys {
            match listener.take(*key) {
                Heard::Keys(keys) => given.extend(keys),
                Heard::Part => {}
                Heard::Answer(background) => answers.push(background),
            }
        }
        (given, answers)
    }

    #[test]
    fn answers_are_understood() {
        for (answer, background) in [
            ("rgb:0000/0000/0000", Some(Background::Dark)),
            ("rgb:1e1e/1E1E/2e2e", Some(Background::Dark)),
            ("rgb:ffff/ffff/dddd", Some(Background::Light)),
            ("rgb:f/f/f", Some(Background::Light)),
            ("rgb:fd/f6/e3", Some(Background::Light)),
            ("rgb:0000/0000/ffff", Some(Background::Dark)),
            ("rgba:ffff/ffff/ffff/ffff", Some(Background::Light)),
            ("rgb:ffff/ffff", None),
            ("rgb:fffff/fffff/fffff", Some(Background::Light)),
            ("rgb:/ffff/ffff", None),
            ("rgb:123456789/0/0", None),
            ("?", None),
        ] {
            for end in ["\x07", "\x1b\\"] {
                let keys = keys(&format!("\x1b]11;{answer}{end}"));
                assert_eq!(heard(&keys), (Vec::new(), vec![background]), "{answer}");
            }
        }
    }

    #[test]
    fn keys_around_the_answer_are_keys() {
        let (given, answers) = heard(&keys("jq\x1b]11;rgb:ffff/ffff/ffff\x07k?"));
        assert_eq!(given, keys("jqk?"));
        assert_eq!(answers, [Some(Background::Light)]);
    }

    #[test]
    fn what_only_begins_like_an_answer_are_keys() {
        for typed in ["\x1b]q", "\x1b]11q", "\x1b]11;\u{e9}", "\x1b[", "\x1bx"] {
            assert_eq!(heard(&keys(typed)), (keys(typed), Vec::new()), "{typed:?}");
        }
        let endless = format!("\x1b]11;{}", "f".repeat(LONGEST + 1));
        assert_eq!(heard(&keys(&endless)).0, keys(&endless));
        let mut listener = Listener::default();
        let arrow = KeyEvent::from(KeyCode::Up);
        assert_eq!(listener.take(keys("\x1b]")[0]), Heard::Part);
        let both = vec![keys("\x1b]")[0], arrow];
        assert_eq!(listener.take(arrow), Heard::Keys(both));
    }

    /// A slow line can cut anywhere.
    #[test]
    fn an_answer_that_is_cut_behind_its_first_byte_is_one() {
        let mut listener = Listener::default();
        let esc = KeyEvent::from(KeyCode::Esc);
        assert_eq!(listener.take(esc), Heard::Part);
        assert_eq!(listener.pause(), [esc]);
        let rest = "]11;rgb:ffff/ffff/ffff";
        assert!(rest.chars().all(|c| listener.take(plain(c)) == Heard::Part));
        assert_eq!(listener.take(esc), Heard::Part);
        assert!(listener.pause().is_empty());
        assert_eq!(
            listener.take(plain('\\')),
            Heard::Answer(Some(Background::Light))
        );
        // And Esc before another key is Esc.
        assert_eq!(listener.take(esc), Heard::Part);
        assert_eq!(listener.pause(), [esc]);
        assert_eq!(listener.take(plain('q')), Heard::Keys(vec![plain('q')]));
    }

    #[test]
    fn what_is_held_back_comes_out_when_nothing_follows() {
        let mut listener = Listener::default();
        let typed = keys("\x1b]1");
        assert!(typed.iter().all(|key| listener.take(*key) == Heard::Part));
        assert!(listener.pause().is_empty());
        assert_eq!(listener.give_up(), typed);
        assert!(listener.give_up().is_empty());
    }
}
