//! How the screen looks on terminals that are poorer, lighter or more colourful; what it says in its
//! last line.

use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use ratatui::style::Color;
use tcpwatch::view::palette::{Background, Colors};
use tcpwatch::view::tui::{Glyphs, Input, Looks, Reaction};

use crate::build::{Story, at};
use crate::{closed_by_a, zoo};

const PLAIN: Looks = Looks {
    colors: Colors::Sixteen,
    background: Background::Dark,
    glyphs: Glyphs::Unicode,
};

fn in_ascii(mut story: Story) -> Story {
    story.app.show_as(Looks {
        glyphs: Glyphs::Ascii,
        ..PLAIN
    });
    story
}

fn snapshot(name: &str, story: &mut Story, ms: u64) {
    for (width, height) in [(80, 24), (120, 40), (200, 60)] {
        let screen = story.screen(width, height, ms);
        insta::assert_snapshot!(format!("{name}_{width}x{height}"), screen);
    }
}

#[test]
fn in_ascii_everything_is_still_said() {
    snapshot("ascii_closed", &mut in_ascii(closed_by_a()), 21_000);
    snapshot("ascii_zoo", &mut in_ascii(zoo()), 18_000);
    let mut helping = in_ascii(closed_by_a());
    helping.press(KeyCode::Char('?'), 21_000);
    snapshot("ascii_help", &mut helping, 21_000);
}

/// The colours in which something is written.
fn colours(screen: &TestBackend) -> Vec<Color> {
    let cells = screen.buffer().content.iter();
    let mut all: Vec<Color> = cells.flat_map(|cell| [cell.fg, cell.bg]).collect();
    all.sort_unstable_by_key(|color| format!("{color:?}"));
    all.dedup();
    all
}

fn coloured(colors: Colors, background: Background) -> Vec<Color> {
    let mut story = zoo();
    story.app.show_as(Looks {
        colors,
        background,
        ..PLAIN
    });
    colours(&story.screen(120, 40, 18_000))
}

#[test]
fn colours_are_those_of_the_terminal_and_its_background() {
    let [dark, light] = [Background::Dark, Background::Light];
    for background in [dark, light] {
        assert_eq!(coloured(Colors::None, background), [Color::Reset]);
        let many = coloured(Colors::Many, background);
        let is_known = |color: &&Color| matches!(color, Color::Indexed(16..) | Color::Reset);
        assert_eq!(many.iter().filter(is_known).count(), many.len(), "{many:?}");
        assert!(many.len() > 4);
    }
    assert!(coloured(Colors::Sixteen, dark).contains(&Color::Yellow));
    let on_light = coloured(Colors::Sixteen, light);
    for faint in [Color::Yellow, Color::LightYellow, Color::Cyan, Color::White] {
        assert!(!on_light.contains(&faint), "{on_light:?}");
    }
    assert!(on_light.contains(&Color::Magenta));
}

#[test]
fn the_terminal_tells_its_background_unless_the_user_has_chosen() {
    let mut story = closed_by_a();
    let background = |story: &Story| story.app.looks().background;
    let hear = |story: &mut Story, found| {
        let heard = Input::Background(found);
        let reaction = story.app.update(heard, &story.known, at(10_000));
        assert_eq!(reaction, Reaction::Redraw);
    };
    hear(&mut story, Background::Light);
    assert_eq!(background(&story), Background::Light);
    story.app.toggle_background();
    assert_eq!(background(&story), Background::Dark);
    hear(&mut story, Background::Light);
    assert_eq!(background(&story), Background::Dark);
    story.app.toggle_background();
    assert_eq!(background(&story), Background::Light);
}

#[test]
fn what_was_done_is_said_until_the_next_key() {
    let mut story = closed_by_a();
    let last_line = |story: &mut Story| {
        let screen = story.screen(80, 24, 21_000).to_string();
        let last = screen.lines().last().unwrap();
        last.trim_matches('"').trim().to_owned()
    };
    let footer = last_line(&mut story);
    story.app.say("saved as a\u{1b}[2J.svg".to_owned());
    assert_eq!(last_line(&mut story), "saved as a\\u{1b}[2J.svg");
    for input in [Input::Resize, Input::Continued] {
        story.app.update(input, &story.known, at(21_000));
        assert!(last_line(&mut story).starts_with("saved as"));
    }
    // A key without a meaning: the line is to be drawn all the same.
    assert_eq!(story.press(KeyCode::F(9), 21_000), Reaction::Redraw);
    assert_eq!(last_line(&mut story), footer);
    assert_eq!(story.press(KeyCode::F(9), 21_000), Reaction::Nothing);
    story.app.say("copied".to_owned());
    let press = Input::Mouse(MouseEvent {
        kind: MouseEventKind::Down(MouseButton::Middle),
        column: 79,
        row: 23,
        modifiers: KeyModifiers::NONE,
    });
    assert_eq!(
        story.app.update(press, &story.known, at(21_000)),
        Reaction::Redraw
    );
    assert_eq!(last_line(&mut story), footer);
}

/// There are no panes while nothing is there, and none under the help: the first line is not the last.
#[test]
fn a_click_beside_the_last_line_asks_for_no_key() {
    let press = |row| {
        Input::Mouse(MouseEvent {
            kind: MouseEventKind::Down(MouseButton::Left),
            column: 1,
            row,
            modifiers: KeyModifiers::NONE,
        })
    };
    let mut story = Story::on_port("50008").running();
    for is_helping in [false, true] {
        if is_helping {
            story.press(KeyCode::Char('?'), 3000);
        }
        story.screen(80, 24, 3000);
        for row in 0..23 {
            let reaction = story.app.update(press(row), &story.known, at(3000));
            assert_eq!(reaction, Reaction::Nothing, "row {row}");
        }
        let quit = story.app.update(press(23), &story.known, at(3000));
        assert_eq!(quit, Reaction::Quit);
    }
}
