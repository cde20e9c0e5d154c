//! stub
pub mod terminal {
    /// x
    pub fn restore() {}
}
/// x
pub enum Input {}
