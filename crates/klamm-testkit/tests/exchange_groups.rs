//! One directory, two programs, and clients that stay: groups of both protocols and transactions,
//! ended and open, live on while Apache Kafka hands over to Klamm and Klamm back to Apache Kafka.

#[path = "java_groups/commits.rs"]
mod commits;
#[path = "java_groups/members.rs"]
mod members;
#[path = "transactions/scripted.rs"]
mod scripted;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use commits::Commits;
use klamm_model::ErrorCode;
use klamm_protocol::{ConsumerGroupDescribeRequest, DescribeGroupsRequest};
use klamm_stdx::Str;
use klamm_testkit::{
    Client, House, JavaProgram, RawConnection, Tools, WAIT_MAX, check_log, stop, wait_until,
};
use members::{Member, Place, check_owners};
use scripted::{Make, Scripted, committed, read, visible};

const MEMBERS: &str = include_str!("java_sources/Members.java");
const PROPERTIES: &str = "group.consumer.min.session.timeout.ms=6000\n\
    group.consumer.session.timeout.ms=6000\n\
    group.consumer.min.heartbeat.interval.ms=500\n\
    group.consumer.heartbeat.interval.ms=500\n\
    transaction.abort.timed.out.transaction.cleanup.interval.ms=500\n";
/// What members of these have is in their names.
const GROUPS: [&str; 4] = [
    "range-dynamic-names",
    "cooperative-static-pattern",
    "consumer-dynamic-names",
    "consumer-static-pattern",
];
const PARTITIONS: i32 = 4;
/// A transaction that nobody will end is aborted after this long.
const LOST_MS: u32 = 6_000;
/// Pause between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The members of the groups.
struct Crowd<'a> {
    house: &'a House,
    groups: Vec<String>,
    members: Vec<Member>,
    commits: Commits,
    written: usize,
    _program: JavaProgram,
}

impl<'a> Crowd<'a> {
    fn gather(house: &'a House) -> Self {
        let program = JavaProgram::compile("Members", MEMBERS);
        let groups = GROUPS.map(str::to_owned).to_vec();
        let bootstrap = house.address().to_string();
        let start = |name| {
            let args = [&[&*bootstrap, name], &GROUPS[..]].concat();
            Member::new(name, program.process(&args))
        };
        let members = vec![start("a"), start("b")];
        let commits = Commits::default();
        let mut crowd = Self { house, groups, members, commits, written: 0, _program: program };
        crowd.wait("members to share", |crowd, group| {
            crowd.members.iter().all(|member| member.has(group).len() == 2)
        });
        crowd
    }

    fn wait(&mut self, what: &str, condition: impl Fn(&Self, &str) -> bool) {
        let start = Instant::now();
        loop {
            self.commits.look(&mut client(self.house), &self.groups);
            let open = |group: &&String| !condition(self, group);
            let open: Vec<&String> = self.groups.iter().filter(open).collect();
            if open.is_empty() {
                println!("{what} after {} ms", start.elapsed().as_millis());
                return;
            }
            let said = || self.members.iter().map(|m| (m.name, m.has(open[0]), &m.process.stderr));
            let is_late = start.elapsed() > WAIT_MAX;
            assert!(!is_late, "{what}: {open:?} {:#?}", said().collect::<Vec<_>>());
            std::thread::park_timeout(LOOK_AGAIN);
        }
    }

    /// Writes, and waits until each group has read all that there is and says so.
    fn work(&mut self) {
        let values = self.written..self.written + 200;
        let text: String = values.map(|n| format!("{n}:{n}\n")).collect();
        let bootstrap = self.house.address().to_string();
        let produce = ["-b", &bootstrap, "-P", "-t", "work-1", "-K", ":", "-X", "acks=all"];
        Tools::kcat(&produce, text.as_bytes()).ok();
        self.written += 200;
        let all: BTreeSet<usize> = (0..self.written).collect();
        self.wait("all to be read", |crowd, group| {
            let read = crowd.members.iter().flat_map(|member| member.read(group));
            read.collect::<BTreeSet<_>>() == all && crowd.commits.total(group) == crowd.written
        });
    }

    /// What each member of each group has.
    fn shares(&self) -> Vec<(String, BTreeSet<Place>)> {
        let of = |group: &String| {
            let share = |member: &Member| (group.clone(), member.has(group));
            self.members.iter().map(share).collect::<Vec<_>>()
        };
        self.groups.iter().flat_map(of).collect()
    }

    /// Who is in each group, as its coordinator says: the ids of its members, with their epochs in
    /// the consumer protocol. Whoever is forgotten comes back with another.
    fn known(&self) -> BTreeSet<(Str, i32)> {
        let mut client = client(self.house);
        let groups: Vec<Str> = GROUPS.map(Str::from).to_vec();
        let request =
            DescribeGroupsRequest { groups: groups.clone(), ..DescribeGroupsRequest::default() };
        let classic = client.ask(&request, 5).groups;
        let request = ConsumerGroupDescribeRequest {
            group_ids: groups,
            ..ConsumerGroupDescribeRequest::default()
        };
        let consumer = client.ask(&request, 1).groups;
        let classic = classic.iter().flat_map(|group| &group.members);
        let classic = classic.map(|member| (member.member_id.clone(), 0));
        let consumer = consumer.iter().flat_map(|group| &group.members);
        let consumer = consumer.map(|member| (member.member_id.clone(), member.member_epoch));
        classic.chain(consumer).collect()
    }
}

fn client(house: &House) -> Client {
    Client::new(RawConnection::open(house.address()).expect("the tenant listens"))
}

/// A transaction of each make's that is open when the tenants change.
struct Open {
    producer: Scripted,
    group: String,
    offset: i64,
}

/// Transactions that are committed, aborted, open and lost, each with a record and an offset.
struct Ledger<'a> {
    bootstrap: String,
    makes: &'a [Make],
    visible: Vec<String>,
    ended: Vec<(String, i64)>,
    open: Vec<Open>,
}

impl Ledger<'_> {
    fn write(&mut self, turn: &str, offset: i64) {
        let start = Instant::now();
        for make in self.makes {
            let name = make.name();
            let mut ended = make.producer(&self.bootstrap, &format!("ended-{name}"));
            let group = format!("readers-{name}");
            ended.must("begin");
            ended.must(&format!("send out 0 {turn}-{name}-committed"));
            ended.must(&format!("offset {group} out 0 {offset}"));
            ended.must("commit");
            ended.must("begin");
            ended.must(&format!("send out 0 {turn}-{name}-aborted"));
            ended.must(&format!("offset {group} out 0 {}", offset + 1));
            ended.must("abort");
            let mut open = make.producer(&self.bootstrap, &format!("open-{name}"));
            let open_group = format!("late-{name}");
            open.must("begin");
            open.must(&format!("send out 1 {turn}-{name}-open"));
            open.must(&format!("offset {open_group} out 0 {offset}"));
            let mut lost = make.producer_with(&self.bootstrap, &format!("lost-{name}"), LOST_MS);
            lost.must("begin");
            lost.must(&format!("send out 2 {turn}-{name}-lost"));
            lost.kill();
            // Nobody sees this before what is lost is aborted.
            ended.must("begin");
            ended.must(&format!("send out 2 {turn}-{name}-behind"));
            ended.must("commit");
            let seen = [(0, "committed"), (1, "open"), (2, "behind")];
            self.visible.extend(seen.map(|(p, what)| format!("{p} {turn}-{name}-{what}")));
            self.ended.push((group, offset));
            self.open.push(Open { producer: open, group: open_group, offset });
        }
        println!("transactions are written after {} ms", start.elapsed().as_millis());
    }

    /// The next tenant knows what was ended, and ends what was open.
    fn settle(&mut self) {
        let start = Instant::now();
        for (group, offset) in self.ended.drain(..) {
            wait_until("the group's log", WAIT_MAX, || committed(&self.bootstrap, &group).ok());
            assert_eq!(committed(&self.bootstrap, &group), Ok(offset), "{group}");
        }
        for mut open in self.open.drain(..) {
            let before = committed(&self.bootstrap, &open.group);
            assert_eq!(before, Err(ErrorCode::UnstableOffsetCommit), "{}", open.group);
            open.producer.must("commit");
            wait_until("the offset", WAIT_MAX, || committed(&self.bootstrap, &open.group).ok());
            assert_eq!(committed(&self.bootstrap, &open.group), Ok(open.offset), "{}", open.group);
        }
        println!("what was open is ended after {} ms", start.elapsed().as_millis());
        self.visible.sort();
        let start = Instant::now();
        loop {
            let mut seen = visible(&self.bootstrap, "out");
            seen.sort();
            if seen == self.visible {
                println!("what was lost is aborted after {} ms", start.elapsed().as_millis());
                break;
            }
            assert!(start.elapsed() < WAIT_MAX, "{seen:#?} instead of {:#?}", self.visible);
        }
        // What is aborted or lost is stored all the same.
        let stored = read(&self.bootstrap, "out", "read_uncommitted").len();
        assert_eq!(stored, self.visible.len() / 3 * 5);
    }
}

#[test]
fn groups_and_transactions_live_on_while_kafka_and_klamm_hand_over_to_each_other() {
    let house = House::new("exchange-groups", PROPERTIES);
    house.format_by_kafka();
    let kafka = house.start_kafka();
    client(&house).create_topic("work-1", PARTITIONS, &[]);
    client(&house).create_topic("out", 3, &[]);
    let mut crowd = Crowd::gather(&house);
    crowd.work();
    let (shares, known) = (crowd.shares(), crowd.known());
    assert_eq!(known.len(), 2 * GROUPS.len());
    let (bootstrap, makes) = (house.address().to_string(), Make::all());
    let (visible, ended, open) = (Vec::new(), Vec::new(), Vec::new());
    let mut ledger = Ledger { bootstrap, makes: &makes, visible, ended, open };
    ledger.write("kafka", 10);
    stop(kafka);

    let mut klamm = house.start_klamm();
    ledger.settle();
    crowd.work();
    assert_eq!(crowd.shares(), shares);
    assert_eq!(crowd.known(), known);
    ledger.write("klamm", 20);
    check_log(&klamm);
    klamm.kill();
    house.check_with_kafkas_reader();

    let kafka = house.start_kafka();
    ledger.settle();
    crowd.work();
    assert_eq!((crowd.shares(), crowd.known()), (shares, known));
    crowd.members[1].kill();
    crowd.wait("one to have everything", |crowd, group| crowd.members[0].has(group).len() == 4);
    crowd.work();
    for group in GROUPS {
        check_owners(&crowd.members, group);
    }
    stop(kafka);
}
