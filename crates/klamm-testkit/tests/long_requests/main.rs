//! Requests that name very many things: each costs as many steps as it names, not their square, so
//! that nobody is kept from the broker for longer than it takes to read the request.

mod groups;
mod topics;
mod transactions;

use std::time::{Duration, Instant};

use klamm_protocol::{FindCoordinatorRequest, Request};
use klamm_stdx::Str;
use klamm_testkit::{Broker, BrokerOptions, Client, WAIT_MAX, wait_until};

/// Names in a request: their square is far more than a debug build compares within [`WAIT_MAX`].
const NAMES: usize = 100_000;

/// A topic that there is.
const KNOWN: &str = "topic-known";

fn start(name: &str) -> Broker {
    let options = BrokerOptions::default()
        .with("offsets.topic.num.partitions", "1")
        .with("transaction.state.log.num.partitions", "1")
        .with("auto.create.topics.enable", "false");
    let broker = Broker::start_with(name, options);
    let mut client = broker.client();
    client.create_topic(KNOWN, 1, &[]);
    coordinators(&mut client);
    broker
}

/// Names that differ in their last letters and are as long as one another.
fn names() -> impl Iterator<Item = Str> {
    (0..NAMES).map(|n| Str::from(format!("name-{n:06}")))
}

/// As many unknown names, then the known one as often: whoever looks each name up by walking the
/// ones before walks furthest.
fn unknown_then_known() -> impl Iterator<Item = Str> {
    names().chain(std::iter::repeat_n(Str::from(KNOWN), NAMES))
}

/// Asks, and says how long the answer took. The connection itself gives up after [`WAIT_MAX`].
#[track_caller]
fn timed<R: Request>(client: &mut Client, request: &R, version: i16) -> R::Response {
    let begun = Instant::now();
    let answer = client.ask(request, version);
    let took: Duration = begun.elapsed();
    println!("{:?} v{version}: {} ms", R::KEY, took.as_millis());
    answer
}

/// Waits for the coordinators of groups and of transactional ids.
fn coordinators(client: &mut Client) {
    for key_type in [0, 1] {
        let coordinator_keys = vec![Str::from("any")];
        let request = FindCoordinatorRequest { key_type, coordinator_keys, ..Default::default() };
        wait_until("a coordinator", WAIT_MAX, || {
            let answer = client.ask(&request, 4);
            (answer.coordinators[0].error_code == 0).then_some(())
        });
    }
}
