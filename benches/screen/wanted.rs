//! What an expression of `--filter` costs when it is asked of every connection that is known, as the
//! list does it a few times a second while one types.

use std::hint::black_box;

use tcpwatch::model::filter::{Filter, PortSet};
use tcpwatch::view::{Asked, facts};

use crate::rounds::{self, Contender, take};
use crate::world::{Kind, World};

const OF_A_PORT: &str = "--port alone";

pub fn bench(many: usize, rounds: usize) {
    let world = World::of(Kind::Troubled, many);
    let by = |text: &str| Filter {
        expr: facts::parse(text).unwrap(),
        ..Filter::default()
    };
    let by_port = Filter {
        ports: PortSet::one(50_008),
        ..Filter::default()
    };
    let states = by("state close-wait and not (unread > 4k or age > 1h)");
    let (found, named) = (by("severity >= warn"), by("not gunicorn"));
    let contender = |name, against, filter| {
        let world = &world;
        Contender::new(name, against, move || {
            let asked = Asked::of(filter, &world.known, world.now);
            take(1, || {
                let all = asked.tracker.connections();
                black_box(all.filter(|connection| asked.wants(connection)).count());
            })
        })
    };
    let contenders = vec![
        contender(OF_A_PORT, None, &by_port),
        contender("states, queues, ages", Some(OF_A_PORT), &states),
        contender("findings", Some(OF_A_PORT), &found),
        contender("names of processes", Some(OF_A_PORT), &named),
    ];
    let title = format!("what is wanted of {many} connections");
    print!("{}", rounds::run(&title, "a pass", rounds, contenders));
}
