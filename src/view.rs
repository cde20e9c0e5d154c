//! What is shown: screen, lines, JSON. Formats what it is given; reads no clock, opens no source.

pub mod duration;
pub mod json;
pub mod palette;
pub mod plain;
pub mod text;
pub mod tui;
pub mod wall;
