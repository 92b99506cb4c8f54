//! Kafka's own tool for groups, `kafka-consumer-groups`, with everything that it can do, on a group
//! of each protocol. What has to come out is what it prints about a broker of Apache Kafka 4.3.1.

use std::path::PathBuf;

use klamm_testkit::{Broker, BrokerOptions, JavaProgram, Process, Tools, WAIT_MAX, wait_until};

const COMMANDS: &str = include_str!("java_sources/Commands.java");
const MEMBERS: &str = include_str!("java_sources/Members.java");
/// A group of the classic protocol, one of the consumer protocol, and one whose member is static.
const CLASSIC: &str = "range-dynamic-pattern";
const CONSUMER: &str = "consumer-dynamic-pattern";
const STATIC: &str = "range-static-names";
/// Records of each partition.
const RECORDS: usize = 50;

/// The tool, and a process with a member of each group.
struct Office {
    broker: Broker,
    tool: Process,
    asked: usize,
    members: Process,
    /// Their classes are loaded while they run.
    _programs: [JavaProgram; 2],
}

impl Office {
    fn new() -> Self {
        let options = BrokerOptions::default()
            .with("offsets.topic.num.partitions", "3")
            .with("group.consumer.min.heartbeat.interval.ms", "500")
            .with("group.consumer.heartbeat.interval.ms", "500");
        let broker = Broker::start_with("group-tool", options);
        let bootstrap = broker.bootstrap();
        let values: String = (0..RECORDS).map(|n| format!("{n}\n")).collect();
        for topic in ["work-1", "work-2"] {
            broker.client().create_topic(topic, 2, &[]);
            for partition in ["0", "1"] {
                let args = ["-b", &bootstrap, "-P", "-t", topic, "-p", partition];
                Tools::kcat(&args, values.as_bytes()).ok();
            }
        }
        let programs =
            [JavaProgram::compile("Members", MEMBERS), JavaProgram::compile("Commands", COMMANDS)];
        let members = programs[0].process(&[&bootstrap, "m", CLASSIC, CONSUMER, STATIC]);
        let tool = programs[1].process(&[&bootstrap]);
        Self { broker, tool, asked: 0, members, _programs: programs }
    }

    /// What the tool says, in order of its lines, since some have none of their own. Ids of
    /// members are `ID`, the broker is `BROKER`.
    fn ask(&mut self, command: &str) -> Vec<String> {
        self.tool.write_line(command);
        let from = self.asked;
        let said = self.tool.stdout.wait(WAIT_MAX, |lines| {
            let end = lines[from..].iter().position(|line| line == "END")?;
            Some(lines[from..from + end].to_vec())
        });
        let said = said.unwrap_or_else(|| panic!("{command}: {:?}", self.tool.stdout));
        self.asked += said.len() + 1;
        let is_trace = |line: &String| {
            ["\tat ", "Caused by: ", "java.util", "org.apache"].iter().any(|s| line.starts_with(s))
        };
        let lines = said.iter().filter(|line| !line.is_empty() && !is_trace(line));
        let mut lines: Vec<String> = lines.map(|line| self.without_ids(line)).collect();
        lines.sort();
        lines
    }

    fn without_ids(&self, line: &str) -> String {
        let broker = self.broker.bootstrap();
        let word = |word: &str| match word {
            word if word == broker => "BROKER".to_owned(),
            word if word.starts_with("m-") => "ID".to_owned(),
            word if word.len() == 22 && word.contains(char::is_uppercase) => "ID".to_owned(),
            word => word.to_owned(),
        };
        line.split_whitespace().map(word).collect::<Vec<_>>().join(" ")
    }

    /// Asks, and compares every line.
    #[track_caller]
    fn check(&mut self, command: &str, expected: &[&str]) {
        let mut expected: Vec<String> = expected.iter().map(|line| (*line).to_owned()).collect();
        expected.sort();
        assert_eq!(self.ask(command), expected, "{command}");
    }

    /// Asks for a reset of a group, and compares what it says of each partition.
    #[track_caller]
    fn check_reset(&mut self, group: &str, how: &str, places: &[&str]) {
        let lines: Vec<String> = places.iter().map(|place| format!("{group} {place}")).collect();
        let mut expected: Vec<&str> = lines.iter().map(String::as_str).collect();
        expected.push("GROUP TOPIC PARTITION NEW-OFFSET");
        self.check(&format!("--reset-offsets --group {group} {how}"), &expected);
    }

    /// Committed offsets of a group without members, by `TOPIC PARTITION OFFSET`.
    fn committed(&mut self, group: &str) -> Vec<String> {
        let lines = self.ask(&format!("--describe --group {group}"));
        let lines = lines.iter().filter_map(|line| line.strip_prefix(group)?.strip_prefix(' '));
        lines.map(|line| line.splitn(4, ' ').take(3).collect::<Vec<_>>().join(" ")).collect()
    }
}

#[test]
fn groups_of_both_protocols_are_listed_described_reset_and_deleted_as_on_kafka() {
    let mut office = Office::new();
    let all = format!("{CLASSIC} work-2 1 50 50 0 ID /127.0.0.1 m");
    for group in [CLASSIC, CONSUMER, STATIC] {
        wait_until("all to be read", WAIT_MAX, || {
            let lines = office.ask(&format!("--describe --group {group}"));
            let done = lines.iter().filter(|line| line.contains(" 50 50 0 ID /127.0.0.1 m"));
            (done.count() == if group == STATIC { 2 } else { 4 }).then_some(())
        });
    }
    assert!(office.ask(&format!("--describe --group {CLASSIC}")).contains(&all));
    check_lists(&mut office);
    check_descriptions(&mut office);
    check_refusals_to_groups_in_use(&mut office);
    office.members.close_input();
    office.members.wait(WAIT_MAX);
    check_descriptions_without_members(&mut office);
    for group in [CLASSIC, CONSUMER] {
        check_resets(&mut office, group);
        check_plans(&mut office, group);
        check_deletion_of_offsets(&mut office, group);
    }
    check_new_group_and_deletion(&mut office);
}

fn check_lists(office: &mut Office) {
    office.check("--list", &[CONSUMER, CLASSIC, STATIC]);
    office.check(
        "--list --state --type",
        &[
            "GROUP TYPE STATE",
            "consumer-dynamic-pattern Consumer Stable",
            "range-dynamic-pattern Classic Stable",
            "range-static-names Classic Stable",
        ],
    );
    office.check("--list --state Empty", &["GROUP STATE"]);
    office.check("--list --type consumer", &["GROUP TYPE", "consumer-dynamic-pattern Consumer"]);
    office.check(
        "--list --state stable,empty --type classic",
        &[
            "GROUP TYPE STATE",
            "range-dynamic-pattern Classic Stable",
            "range-static-names Classic Stable",
        ],
    );
}

fn check_descriptions(office: &mut Office) {
    office.check(
        &format!("--describe --group {CONSUMER} --offsets --verbose"),
        &[
            "GROUP TOPIC PARTITION LEADER-EPOCH CURRENT-OFFSET LOG-END-OFFSET LAG CONSUMER-ID HOST CLIENT-ID",
            "consumer-dynamic-pattern work-1 0 0 50 50 0 ID /127.0.0.1 m",
            "consumer-dynamic-pattern work-1 1 0 50 50 0 ID /127.0.0.1 m",
            "consumer-dynamic-pattern work-2 0 0 50 50 0 ID /127.0.0.1 m",
            "consumer-dynamic-pattern work-2 1 0 50 50 0 ID /127.0.0.1 m",
        ],
    );
    let members = "GROUP CONSUMER-ID HOST CLIENT-ID #PARTITIONS CURRENT-EPOCH CURRENT-ASSIGNMENT \
                   TARGET-EPOCH TARGET-ASSIGNMENT";
    let classic = "range-dynamic-pattern ID /127.0.0.1 m 4 - work-1:0,1;work-2:0,1 - -";
    office.check(&format!("--describe --group {CLASSIC} --members --verbose"), &[members, classic]);
    let lines = office.ask(&format!("--describe --group {CONSUMER} --members --verbose"));
    assert_eq!(lines[0], members);
    let [_, _, _, _, "4", current, "work-1:0,1;work-2:0,1", target, "work-1:0,1;work-2:0,1"] =
        lines[1].split(' ').collect::<Vec<_>>()[..]
    else {
        panic!("{lines:?}");
    };
    assert_eq!(current, target);
    office.check(
        &format!("--describe --group {STATIC} --members"),
        &[
            "GROUP CONSUMER-ID GROUP-INSTANCE-ID HOST CLIENT-ID #PARTITIONS",
            "range-static-names ID m /127.0.0.1 m 2",
        ],
    );
    let state = "GROUP COORDINATOR (ID) ASSIGNMENT-STRATEGY STATE #MEMBERS";
    office.check(
        "--describe --all-groups --state",
        &[
            state,
            state,
            state,
            "consumer-dynamic-pattern BROKER (1) uniform Stable 1",
            "range-dynamic-pattern BROKER (1) range Stable 1",
            "range-static-names BROKER (1) range Stable 1",
        ],
    );
    office.check(
        &format!("--describe --group {CLASSIC} --state --verbose"),
        &[
            "GROUP COORDINATOR (ID) ASSIGNMENT-STRATEGY STATE GROUP-EPOCH TARGET-ASSIGNMENT-EPOCH #MEMBERS",
            "range-dynamic-pattern BROKER (1) range Stable - - 1",
        ],
    );
    office.check(
        "--describe --group unknown",
        &["Error: Executing consumer group command failed due to \
           org.apache.kafka.common.errors.GroupIdNotFoundException: Group unknown not found."],
    );
}

fn check_refusals_to_groups_in_use(office: &mut Office) {
    for group in [CLASSIC, CONSUMER] {
        let inactive = format!(
            "Error: Assignments can only be reset if the group '{group}' is inactive, \
             but the current state is Stable."
        );
        office.check(
            &format!("--reset-offsets --group {group} --all-topics --to-earliest --execute"),
            &[&inactive, "GROUP TOPIC PARTITION NEW-OFFSET"],
        );
        let subscribed = |partition: usize| {
            format!(
                "work-1 {partition} Error: \
                 org.apache.kafka.common.errors.GroupSubscribedToTopicException: Deleting offsets \
                 of a topic is forbidden while the consumer group is actively subscribed to it."
            )
        };
        office.check(
            &format!("--delete-offsets --group {group} --topic work-1"),
            &[PARTITION_ERROR, "TOPIC PARTITION STATUS", &subscribed(0), &subscribed(1)],
        );
        let not_empty = format!(
            "* Group '{group}' could not be deleted due to: \
             org.apache.kafka.common.errors.GroupNotEmptyException: The group is not empty."
        );
        office.check(&format!("--delete --group {group}"), &[DELETION_ERROR, &not_empty]);
    }
    office.check("--delete --group unknown", &[DELETION_ERROR, UNKNOWN_GROUP]);
}

const PARTITION_ERROR: &str =
    "Error: Encountered some partition-level error, see the follow-up details.";
const DELETION_ERROR: &str = "Error: Deletion of some consumer groups failed:";
const UNKNOWN_GROUP: &str = "* Group 'unknown' could not be deleted due to: \
    org.apache.kafka.common.errors.GroupIdNotFoundException: The group id does not exist.";

fn check_descriptions_without_members(office: &mut Office) {
    // A static member does not leave: it is missed when its session ends.
    wait_until("the static member to be missed", WAIT_MAX, || {
        let lines = office.ask("--list --state Empty");
        lines.contains(&format!("{STATIC} Empty")).then_some(())
    });
    for (group, assignor) in [(CLASSIC, "-"), (CONSUMER, "uniform")] {
        let nobody = format!("Consumer group '{group}' has no active members.");
        office.check(
            &format!("--describe --group {group} --members"),
            &[&nobody, "GROUP CONSUMER-ID HOST CLIENT-ID #PARTITIONS"],
        );
        office.check(
            &format!("--describe --group {group} --state"),
            &[
                &nobody,
                "GROUP COORDINATOR (ID) ASSIGNMENT-STRATEGY STATE #MEMBERS",
                &format!("{group} BROKER (1) {assignor} Empty 0"),
            ],
        );
    }
}

fn check_resets(office: &mut Office, group: &str) {
    let zero = ["work-1 0 0", "work-1 1 0", "work-2 0 0", "work-2 1 0"];
    office.check_reset(group, "--all-topics --to-earliest --dry-run", &zero);
    assert_eq!(office.committed(group)[0], "work-1 0 50", "a dry run changes nothing");
    office.check_reset(group, "--all-topics --to-earliest --execute", &zero);
    assert_eq!(office.committed(group), zero);
    // Each begins where the one before it ended.
    for (how, first, second) in [
        ("--to-latest", 50, 50),
        ("--to-offset 7", 7, 7),
        ("--shift-by -5", 2, 2),
        ("--shift-by 500", 50, 50),
        ("--to-offset 1000", 50, 50),
        ("--to-current", 50, 50),
        ("--by-duration PT1H", 0, 0),
        ("--to-latest", 50, 50),
        ("--to-datetime 2000-01-01T00:00:00.000", 0, 0),
    ] {
        let places = [format!("work-1 0 {first}"), format!("work-1 1 {second}")];
        let places: Vec<&str> = places.iter().map(String::as_str).collect();
        office.check_reset(group, &format!("--topic work-1 {how} --execute"), &places);
        assert_eq!(office.committed(group)[..2], places);
    }
    office.check_reset(group, "--topic work-1:1 --to-offset 7 --execute", &["work-1 1 7"]);
    office.check_reset(
        group,
        "--topic work-1:0,1 --topic work-2:1 --shift-by 3 --execute",
        &["work-1 0 3", "work-1 1 10", "work-2 1 3"],
    );
    let expected = ["work-1 0 3", "work-1 1 10", "work-2 0 0", "work-2 1 3"];
    assert_eq!(office.committed(group), expected);
    for time in ["--by-duration PT0S", "--to-datetime 2099-01-01T00:00:00.000"] {
        let empty = "Warn: Partition 0 from topic work-2 is empty. \
                     Falling back to latest known offset.";
        office.check(
            &format!("--reset-offsets --group {group} --topic work-2:0 {time} --dry-run"),
            &[empty, "GROUP TOPIC PARTITION NEW-OFFSET", &format!("{group} work-2 0 50")],
        );
    }
    office.check(
        &format!("--reset-offsets --group {group} --topic nothing --to-earliest --execute"),
        &["Error: Executing consumer group command failed due to \
           This server does not host this topic-partition."],
    );
    office.check(
        &format!("--reset-offsets --group {group} --topic work-1:9 --to-earliest --execute"),
        &["Error: Executing consumer group command failed due to \
           The partitions \"work-1-9\" do not exist"],
    );
}

/// A plan is written by one command and carried out by another.
fn check_plans(office: &mut Office, group: &str) {
    let export = "--topic work-1 --to-offset 9 --dry-run --export";
    let plan = office.ask(&format!("--reset-offsets --group {group} {export}"));
    assert_eq!(plan, ["work-1,0,9", "work-1,1,9"]);
    let file: PathBuf = office.broker.scratch().join("plan.csv");
    std::fs::write(&file, "work-1,0,9\nwork-2,1,11\n").expect("it can be written");
    let how = format!("--from-file {} --execute", file.display());
    office.check_reset(group, &how, &["work-1 0 9", "work-2 1 11"]);
    let expected = ["work-1 0 9", "work-1 1 10", "work-2 0 0", "work-2 1 11"];
    assert_eq!(office.committed(group), expected);
}

fn check_deletion_of_offsets(office: &mut Office, group: &str) {
    let deleted = format!("Request succeeded for deleting offsets from group {group}.");
    let head = "TOPIC PARTITION STATUS";
    office.check(
        &format!("--delete-offsets --group {group} --topic work-1:0"),
        &[&deleted, head, "work-1 0 Successful"],
    );
    let unknown = "Error: org.apache.kafka.common.errors.UnknownTopicOrPartitionException: \
                   This server does not host this topic-partition.";
    office.check(
        &format!("--delete-offsets --group {group} --topic work-1:9"),
        &[PARTITION_ERROR, head, &format!("work-1 9 {unknown}")],
    );
    office.check(
        &format!("--delete-offsets --group {group} --topic nothing"),
        &[&deleted, head, &format!("nothing - {unknown}")],
    );
    assert_eq!(office.committed(group), ["work-1 1 10", "work-2 0 0", "work-2 1 11"]);
    office.check(
        &format!("--delete-offsets --group {group} --topic work-2"),
        &[&deleted, head, "work-2 0 Successful", "work-2 1 Successful"],
    );
    assert_eq!(office.committed(group), ["work-1 1 10"]);
}

fn check_new_group_and_deletion(office: &mut Office) {
    let fresh = ["work-1 0 3", "work-1 1 3"];
    office.check_reset("fresh", "--topic work-1 --to-offset 3 --execute", &fresh);
    assert_eq!(office.committed("fresh"), fresh);
    office.check(
        &format!("--delete --group {CLASSIC} --group {CONSUMER} --group unknown"),
        &[
            DELETION_ERROR,
            UNKNOWN_GROUP,
            "These consumer groups were deleted successfully: 'consumer-dynamic-pattern', 'range-dynamic-pattern'",
        ],
    );
    office.check("--list", &["fresh", STATIC]);
    office.check(
        "--delete --all-groups",
        &["Deletion of requested consumer groups ('range-static-names', 'fresh') was successful."],
    );
    office.check("--list", &[]);
}
