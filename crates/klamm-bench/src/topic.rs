//! Topics of a load: made before it, deleted after it, and waited for until they take records.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use klamm_protocol::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use klamm_protocol::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use klamm_protocol::produce_response::ProduceResponse;
use klamm_protocol::{
    CreateTopicsRequest, DeleteTopicsRequest, IncrementalAlterConfigsRequest, ProduceRequest,
};
use klamm_stdx::Str;

use crate::LoadError;
use crate::payload::{PRODUCE_VERSION, Payload, Shape, TIMEOUT_MS};
use crate::wire::Connection;

/// Versions by name.
const CREATE_VERSION: i16 = 5;
const DELETE_VERSION: i16 = 5;
const ALTER_VERSION: i16 = 1;

/// Kafka's `ConfigResource.Type.TOPIC` and `AlterConfigOp.OpType.SET`.
const TOPIC_RESOURCE: i8 = 2;
const SET: i8 = 0;

/// Pause between two attempts: short beside what is measured, long beside one attempt.
const AGAIN: Duration = Duration::from_millis(1);

/// Longest wait for a broker to start: a cold JVM on one busy core needs a tenth of it.
const START_WAIT_MAX: Duration = Duration::from_secs(90);

const TOPIC_ALREADY_EXISTS: i16 = 36;

/// A topic to make.
#[derive(Debug, Clone, Copy)]
pub struct Topic<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its partitions, all of one replica.
    pub partition_count: i32,
}

/// Makes a topic and appends one record to each partition, trying again until all are
/// acknowledged. Works from before the broker is started.
///
/// # Errors
/// The broker does not acknowledge in time.
pub fn make(address: SocketAddr, topic: Topic<'_>) -> Result<(), LoadError> {
    let payload = Payload::new(Shape { value_bytes: 100, batch_bytes_max: 0 })?;
    let start = Instant::now();
    let mut connection: Option<Connection> = None;
    let mut partition = 0;
    let mut is_created = false;
    while partition < topic.partition_count {
        let attempt = attempt(&mut connection, address, |connection| {
            if !is_created {
                create(connection, topic)?;
            }
            let mut frame = payload.produce_frame(topic.name, partition)?;
            let id = connection.send(&mut frame)?;
            check_produced(&connection.receive::<ProduceRequest>(id, PRODUCE_VERSION)?)
        });
        match attempt {
            Ok(()) => {
                is_created = true;
                partition += 1;
            }
            Err(error) if start.elapsed() > START_WAIT_MAX => return Err(error),
            Err(LoadError::Refused { .. }) => std::thread::sleep(AGAIN),
            Err(_) => {
                connection = None;
                std::thread::sleep(AGAIN);
            }
        }
    }
    Ok(())
}

fn attempt(
    connection: &mut Option<Connection>,
    address: SocketAddr,
    act: impl FnOnce(&mut Connection) -> Result<(), LoadError>,
) -> Result<(), LoadError> {
    let open = match connection.take() {
        Some(open) => open,
        None => Connection::open(address)?,
    };
    act(connection.insert(open))
}

fn create(connection: &mut Connection, topic: Topic<'_>) -> Result<(), LoadError> {
    create_all(connection, &[topic])
}

/// Makes topics with one request. One that is there already is no error.
///
/// # Errors
/// The broker refuses one, or leaves one out.
pub fn create_all(connection: &mut Connection, topics: &[Topic<'_>]) -> Result<(), LoadError> {
    // The records' time is a constant: to a server that deletes by time they would be old.
    let forever =
        CreatableTopicConfig { name: Str::from("retention.ms"), value: Some(Str::from("-1")) };
    let wanted = |topic: &Topic<'_>| CreatableTopic {
        name: Str::from(topic.name),
        num_partitions: topic.partition_count,
        replication_factor: 1,
        configs: vec![forever.clone()],
        ..CreatableTopic::default()
    };
    let request = CreateTopicsRequest {
        topics: topics.iter().map(wanted).collect(),
        timeout_ms: TIMEOUT_MS,
        validate_only: false,
    };
    let answer = connection.ask(&request, CREATE_VERSION)?;
    if answer.topics.len() != topics.len() {
        return Err(LoadError::unexpected("an answer without the topic"));
    }
    match answer
        .topics
        .iter()
        .map(|t| t.error_code)
        .find(|c| ![0, TOPIC_ALREADY_EXISTS].contains(c))
    {
        None => Ok(()),
        Some(code) => Err(LoadError::Refused { what: "a topic", code }),
    }
}

/// Sets a config of a topic while it is in use.
///
/// # Errors
/// The broker refuses.
pub fn configure(
    connection: &mut Connection,
    topic: &str,
    (name, value): (&str, &str),
) -> Result<(), LoadError> {
    let config = AlterableConfig {
        name: Str::from(name),
        config_operation: SET,
        value: Some(Str::from(value)),
    };
    let request = IncrementalAlterConfigsRequest {
        resources: vec![AlterConfigsResource {
            resource_type: TOPIC_RESOURCE,
            resource_name: Str::from(topic),
            configs: vec![config],
        }],
        validate_only: false,
    };
    let answer = connection.ask(&request, ALTER_VERSION)?;
    match answer.responses.first().map(|resource| resource.error_code) {
        Some(0) => Ok(()),
        Some(code) => Err(LoadError::Refused { what: "a config", code }),
        None => Err(LoadError::unexpected("an answer without the config")),
    }
}

/// Deletes a topic, so that its bytes do not burden the next window.
///
/// # Errors
/// The broker refuses.
pub fn delete(address: SocketAddr, name: &str) -> Result<(), LoadError> {
    let request = DeleteTopicsRequest {
        topic_names: vec![Str::from(name)],
        timeout_ms: TIMEOUT_MS,
        ..DeleteTopicsRequest::default()
    };
    let answer = Connection::open(address)?.ask(&request, DELETE_VERSION)?;
    match answer.responses.first().map(|topic| topic.error_code) {
        Some(0) => Ok(()),
        Some(code) => Err(LoadError::Refused { what: "the end of a topic", code }),
        None => Err(LoadError::unexpected("an answer without the topic")),
    }
}

/// Checks that the one partition of a produce request took its records.
///
/// # Errors
/// It did not.
pub fn check_produced(answer: &ProduceResponse) -> Result<(), LoadError> {
    let partition = answer.responses.first().and_then(|topic| topic.partition_responses.first());
    match partition.map(|partition| partition.error_code) {
        Some(0) => Ok(()),
        Some(code) => Err(LoadError::Refused { what: "a batch", code }),
        None => Err(LoadError::unexpected("an answer without the partition")),
    }
}
