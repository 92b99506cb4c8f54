//! Kafka's Java consumer 4.3.1 in groups of every kind: by either protocol, with members that are
//! static or not, which name their topics or describe them by a pattern. All of these groups live
//! through the same at once: members join, come back and are killed, the broker is killed, a topic
//! comes. Every record is read, commits never go back, no partition has two owners.

mod commits;
mod members;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use commits::Commits;
use klamm_testkit::{Broker, BrokerOptions, JavaProgram, Tools, WAIT_MAX};
use members::{Member, check_owners};

const MEMBERS: &str = include_str!("../java_sources/Members.java");
/// Partitions of each topic: a multiple of any number of members.
const PARTITIONS: i32 = 6;
/// What stands before the first value of the second topic.
const SECOND: usize = 100_000;
/// Pause between two looks at what the members say.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// A group for each combination, called after it.
fn groups() -> Vec<String> {
    let mut groups = Vec::new();
    for assignor in ["range", "cooperative", "consumer"] {
        for kind in ["dynamic", "static"] {
            groups.extend(["names", "pattern"].map(|how| format!("{assignor}-{kind}-{how}")));
        }
    }
    groups
}

struct Room {
    broker: Broker,
    program: JavaProgram,
    groups: Vec<String>,
    /// Everyone that ever lived.
    members: Vec<Member>,
    commits: Commits,
    written: BTreeMap<&'static str, usize>,
}

impl Room {
    fn new() -> Self {
        let options = BrokerOptions::default()
            .with("offsets.topic.num.partitions", "4")
            .with("group.consumer.min.session.timeout.ms", "6000")
            .with("group.consumer.session.timeout.ms", "6000")
            .with("group.consumer.min.heartbeat.interval.ms", "500")
            .with("group.consumer.heartbeat.interval.ms", "500");
        let broker = Broker::start_with("java-groups", options);
        broker.client().create_topic("work-1", PARTITIONS, &[]);
        broker.client().create_topic("other", PARTITIONS, &[]);
        let program = JavaProgram::compile("Members", MEMBERS);
        let (members, commits, written) = (Vec::new(), Commits::default(), BTreeMap::new());
        Self { broker, program, groups: groups(), members, commits, written }
    }

    /// A process with a member of each group; gives its place among all.
    fn join(&mut self, name: &'static str) -> usize {
        let bootstrap = self.broker.bootstrap();
        let mut args = vec![&*bootstrap, name];
        args.extend(self.groups.iter().map(String::as_str));
        self.members.push(Member::new(name, self.program.process(&args)));
        self.members.len() - 1
    }

    fn write(&mut self, topic: &'static str, count: usize) {
        let written = self.written.entry(topic).or_default();
        let first = if topic == "work-1" { *written } else { SECOND + *written };
        *written += count;
        // The number is the key as well, so that all partitions get some.
        let text: String = (first..first + count).map(|n| format!("{n}:{n}\n")).collect();
        let bootstrap = self.broker.bootstrap();
        let produce = ["-b", &bootstrap, "-P", "-t", topic, "-K", ":", "-X", "acks=all"];
        Tools::kcat(&produce, text.as_bytes()).ok();
    }

    /// Waits until `condition` says of every group that nothing is missing.
    #[track_caller]
    fn wait(&mut self, what: &str, condition: impl Fn(&Self, &str) -> Option<String>) {
        let start = Instant::now();
        loop {
            self.commits.look(&mut self.broker.client(), &self.groups);
            let missing = |group: &String| Some(format!("{group}: {}", condition(self, group)?));
            let missing: Vec<String> = self.groups.iter().filter_map(missing).collect();
            if missing.is_empty() {
                println!("{what} after {} ms", start.elapsed().as_millis());
                return;
            }
            let said = || self.members.iter().map(|m| (m.name, &m.process.stderr));
            let is_late = start.elapsed() > WAIT_MAX;
            assert!(!is_late, "{what}: {missing:#?} {:#?}", said().collect::<Vec<_>>());
            std::thread::park_timeout(LOOK_AGAIN);
        }
    }

    /// Topics that a group reads.
    fn topics(&self, group: &str) -> Vec<&'static str> {
        let is_read = |topic: &&'static str| group.ends_with("pattern") || *topic == "work-1";
        self.written.keys().copied().filter(is_read).collect()
    }

    /// Waits until these members share what there is, each as much as the other.
    #[track_caller]
    fn wait_for_shares(&mut self, of: &[usize]) {
        let partitions = usize::try_from(PARTITIONS).expect("few");
        self.wait(&format!("{} members share", of.len()), |room, group| {
            let all = partitions * room.topics(group).len();
            let shares = of.iter().map(|at| room.members[*at].has(group)).collect::<Vec<_>>();
            let had: BTreeSet<_> = shares.iter().flatten().collect();
            let is_fair = shares.iter().all(|share| share.len() == all / of.len());
            (!is_fair || had.len() != all).then(|| format!("{shares:?}"))
        });
    }

    /// Waits until each group has read everything and committed that it has.
    #[track_caller]
    fn wait_for_all_read(&mut self) {
        self.wait("all is read and committed", |room, group| {
            let read: BTreeSet<usize> =
                room.members.iter().flat_map(|member| member.read(group)).collect();
            let mut values = 0;
            for topic in room.topics(group) {
                let first = if topic == "work-1" { 0 } else { SECOND };
                let count = room.written[topic];
                values += count;
                if let Some(n) = (first..first + count).find(|n| !read.contains(n)) {
                    return Some(format!("{n} is not read"));
                }
            }
            let committed = room.commits.total(group);
            (committed != values).then(|| format!("{committed} of {values} are committed"))
        });
    }
}

/// How often something changed hands for a member.
fn change_count(member: &Member, group: &str) -> usize {
    let lines = member.process.stdout.all();
    let rest = lines.iter().filter_map(|line| line.strip_prefix(group));
    rest.filter(|rest| !rest.starts_with(" =")).count()
}

#[test]
fn groups_of_every_kind_live_through_joins_kills_and_a_restart_and_read_everything() {
    let mut room = Room::new();
    room.write("work-1", 300);
    let (a, b) = (room.join("a"), room.join("b"));
    room.wait_for_shares(&[a, b]);
    room.wait_for_all_read();

    let c = room.join("c");
    room.wait_for_shares(&[a, b, c]);
    room.write("work-1", 300);
    room.wait_for_all_read();

    // Whoever is static comes back to what it had, and nobody else hears of it.
    let seen = |room: &Room, group: &str| {
        [a, c].map(|at| (change_count(&room.members[at], group), room.members[at].has(group)))
    };
    let before: Vec<_> = room.groups.iter().map(|group| seen(&room, group)).collect();
    room.members[b].process.write_line("again");
    let closed = room.members[b].process.stdout.wait_for("closed", WAIT_MAX);
    assert!(closed.is_some(), "{:?}", room.members[b].process.stderr);
    room.write("work-1", 300);
    room.wait_for_shares(&[a, b, c]);
    room.wait_for_all_read();
    for (group, before) in room.groups.iter().zip(before) {
        if group.contains("static") {
            assert_eq!(seen(&room, group), before, "{group}");
        }
    }

    room.members[c].kill();
    room.write("work-1", 300);
    room.wait_for_shares(&[a, b]);
    room.wait_for_all_read();

    room.broker.kill();
    room.broker.start_again();
    room.write("work-1", 300);
    room.wait_for_all_read();
    room.broker.client().create_topic("work-2", PARTITIONS, &[]);
    room.write("work-2", 300);
    let c = room.join("c");
    room.wait_for_shares(&[a, b, c]);
    room.wait_for_all_read();
    for group in &room.groups {
        println!("{group}: {} ownerships", check_owners(&room.members, group));
    }
}
