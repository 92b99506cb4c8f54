//! Transactional producers of other people's making, told what to do step by step, and what a
//! consumer sees of it.

use klamm_model::ErrorCode;
use klamm_protocol::OffsetFetchRequest;
use klamm_protocol::offset_fetch_request::OffsetFetchRequestTopic;
use klamm_stdx::Str;
use klamm_testkit::{Client, JavaProgram, Process, RawConnection, Tools, WAIT_MAX, wait_until};

const JAVA: &str = include_str!("../java_sources/Scripted.java");
const PYTHON: &str = include_str!("../python/scripted.py");

/// Whose client.
pub(crate) enum Make {
    /// Kafka's own, which speaks transactions v2.
    Java(JavaProgram),
    /// librdkafka, which speaks v1.
    Librdkafka,
}

impl Make {
    /// Both.
    pub(crate) fn all() -> [Self; 2] {
        [Self::Java(JavaProgram::compile("Scripted", JAVA)), Self::Librdkafka]
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Java(_) => "java",
            Self::Librdkafka => "librdkafka",
        }
    }

    /// A producer, started and fenced off from any before it.
    pub(crate) fn producer(&self, bootstrap: &str, transactional_id: &str) -> Scripted {
        self.producer_with(bootstrap, transactional_id, 60_000)
    }

    /// A producer with its own transaction timeout.
    pub(crate) fn producer_with(
        &self,
        bootstrap: &str,
        transactional_id: &str,
        timeout_ms: u32,
    ) -> Scripted {
        let timeout_ms = timeout_ms.to_string();
        let args = [bootstrap, transactional_id, &timeout_ms];
        let process = match self {
            Self::Java(program) => program.process(&args),
            Self::Librdkafka => Tools::python_process(PYTHON, &args),
        };
        let mut scripted = Scripted { process, asked: 0 };
        scripted.must("init");
        scripted
    }
}

/// A producer that waits for its next line.
pub(crate) struct Scripted {
    process: Process,
    asked: usize,
}

impl Scripted {
    /// Does something; gives the name of its error.
    pub(crate) fn act(&mut self, line: &str) -> Result<(), String> {
        self.process.write_line(line);
        let at = self.asked;
        self.asked += 1;
        let answer = self.process.stdout.wait(WAIT_MAX, |lines| lines.get(at).cloned());
        let answer =
            answer.unwrap_or_else(|| panic!("{line:?} has no answer: {:?}", self.process.stderr));
        match answer.strip_prefix("error ") {
            Some(name) => Err(name.to_owned()),
            None => Ok(()),
        }
    }

    /// Does something that succeeds.
    #[track_caller]
    pub(crate) fn must(&mut self, line: &str) {
        assert_eq!(self.act(line), Ok(()), "{line}");
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }
}

/// What a read_committed consumer sees of a topic now: each record as `PARTITION VALUE`, in order
/// within its partition.
pub(crate) fn visible(bootstrap: &str, topic: &str) -> Vec<String> {
    read(bootstrap, topic, "read_committed")
}

/// What a consumer of an isolation sees of a topic now.
pub(crate) fn read(bootstrap: &str, topic: &str, isolation: &str) -> Vec<String> {
    let isolation = format!("isolation.level={isolation}");
    let args = ["-b", bootstrap, "-q", "-C", "-t", topic, "-o", "beginning", "-e", "-f", "%p %s\n"];
    let args = [&args[..], &["-X", &isolation]].concat();
    Tools::kcat(&args, b"").ok().text().lines().map(ToOwned::to_owned).collect()
}

/// What is committed for a group of the first partition of "out", as a consumer asks that wants to
/// be sure, from a coordinator that has loaded the group.
pub(crate) fn committed(bootstrap: &str, group: &str) -> Result<i64, ErrorCode> {
    let topic = OffsetFetchRequestTopic { name: Str::from("out"), partition_indexes: vec![0] };
    let request = OffsetFetchRequest {
        group_id: Str::from(group),
        topics: Some(vec![topic]),
        require_stable: true,
        ..OffsetFetchRequest::default()
    };
    let address = bootstrap.parse().expect("an address");
    let mut client = Client::new(RawConnection::open(address).expect("a connection"));
    wait_until("the coordinator", WAIT_MAX, || {
        let answer = client.ask(&request, 7);
        let line = answer.topics.first().and_then(|topic| topic.partitions.first());
        let code = line.map_or(answer.error_code, |line| line.error_code);
        match ErrorCode::from_code(code).expect("a known code") {
            ErrorCode::CoordinatorLoadInProgress | ErrorCode::NotCoordinator => None,
            ErrorCode::None => Some(Ok(line.expect("it was asked for").committed_offset)),
            code => Some(Err(code)),
        }
    })
}
