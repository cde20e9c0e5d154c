//! tcpwatch
pub mod diagnosis;
pub mod model;
pub mod source;
pub mod timeline;
