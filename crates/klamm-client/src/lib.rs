//! The native client: admin, producer and consumers over one small connection type.
//!
//! Single-threaded: a [`Client`] and what is made from it live on one worker
//! ([`klamm_env::task::run_worker`]). Errors say whether a request was certainly not done or
//! whether that is unknown ([`ClientError::is_certain`]).

mod admin;
mod admin_configs;
mod admin_group_offsets;
mod admin_groups;
mod admin_transactions;
mod client_options;
mod cluster;
mod connection;
mod consumer;
mod coordinator;
mod error;
mod group;
mod hanging;
mod offsets;
mod partitioner;
mod producer;
mod retry;

pub use admin::{CreatedTopic, NewTopic};
pub use admin_configs::{ConfigChange, ConfigEntry, ConfigOrigin, ConfigResource};
pub use admin_groups::{GroupDescription, GroupFilter, GroupMember, GroupOffset};
pub use admin_transactions::{TransactionFilter, TransactionListing};
pub use client_options::ClientOptions;
pub use cluster::{AutoCreate, Client, Purpose, TopicInfo};
pub use connection::{Connection, ConnectionOptions, PendingAnswer};
pub use consumer::{Consumer, ConsumerOptions, ConsumerRecord, OffsetReset, StartAt};
pub use coordinator::Coordinated;
pub use error::{ClientError, Result};
pub use group::{GroupConsumer, GroupOptions};
pub use hanging::{
    ActiveProducer, HangingTransaction, ProducersByPartition, TransactionDescription,
};
pub use offsets::OffsetSpec;
pub use partitioner::{Partitioner, murmur2, partition_for_key};
pub use producer::{
    Delivery, GroupMetadata, Idempotence, Producer, ProducerOptions, ProducerRecord,
    RecordMetadata, TransactionOptions, TransactionalProducer,
};
