//! What the screen costs: pictures of many connections, a turn of the main loop beside a storm of
//! them, and the program itself on a terminal. `cargo bench --bench screen`; `-- pictures`, `-- wanted`,
//! `-- turns` and `-- live` measure one part.
//!
//! The limits: 2 ms of CPU for a picture with 10,000 connections known and 60 of them in sight, 1 % of a
//! core at rest, 50 ms from a key to its picture also beside 10,000 connections a second, one write a
//! picture. Nothing here fails on a figure. The live part needs root for a network namespace of its own.

#![allow(
    clippy::unwrap_used,
    reason = "a bench may fail loudly, and tells by where"
)]

#[path = "../house/count.rs"]
#[allow(dead_code, reason = "the other bench counts bytes")]
mod count;
#[path = "../house/crowd.rs"]
#[allow(dead_code, reason = "the other bench counts its sockets")]
mod crowd;
#[path = "../exact/story.rs"]
#[allow(dead_code, reason = "the other bench counts its events")]
mod events;
#[path = "../exact/generator.rs"]
#[allow(dead_code, reason = "the other bench pins its threads")]
mod generator;
mod live;
#[path = "../../tests/common/netns.rs"]
mod netns;
mod pictures;
#[path = "../../tests/pty/mod.rs"]
#[allow(
    dead_code,
    unsafe_code,
    reason = "a session with a terminal of its own is made between fork and exec"
)]
mod pty;
#[path = "../house/rounds.rs"]
#[allow(dead_code, reason = "the other bench divides by more units")]
mod rounds;
#[path = "../house/story.rs"]
#[allow(dead_code, reason = "the other bench counts the ends")]
mod story;
mod turns;
mod wanted;
mod world;

fn main() {
    generator::be_one_if_asked();
    // `cargo test --all-targets` runs this too: a short run then, to see that it works.
    let is_bench = std::env::args().any(|argument| argument == "--bench");
    let parts = ["pictures", "wanted", "turns", "live"];
    let is_chosen = |part: &str| std::env::args().any(|argument| argument == part);
    let wants = |part: &str| is_chosen(part) || !parts.into_iter().any(is_chosen);
    if wants("pictures") {
        let (many, rounds) = if is_bench { (10_000, 41) } else { (100, 1) };
        pictures::bench(many, rounds);
    }
    if wants("wanted") {
        let (many, rounds) = if is_bench { (10_000, 41) } else { (100, 1) };
        wanted::bench(many, rounds);
    }
    if wants("turns") {
        turns::bench(if is_bench { 400 } else { 2 });
    }
    if wants("live") {
        let sizes = if is_bench { live::FULL } else { live::SHORT };
        netns::in_fresh_netns("the screen at rest", || live::at_rest(&sizes));
        netns::in_fresh_netns("keys beside a storm", || live::beside_a_storm(&sizes));
    }
}
