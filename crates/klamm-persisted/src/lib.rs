//! What Kafka keeps in its logs and files, generated from its schemas: metadata records, the
//! coordinators' keys and values, control records, quorum state, producer snapshots, and the
//! subscriptions and assignments of consumers.
//!
//! Each area is a module with a module for each message; [`metadata::MetadataRecord`] and the
//! keys and values of the coordinators say which number is which record. Never opens a file,
//! and never says what a record means.
//!
//! ```
//! use klamm_persisted::metadata::{MetadataRecord, TopicRecord};
//!
//! let record = MetadataRecord::from(TopicRecord { name: "a".into(), ..TopicRecord::default() });
//! let frame = record.to_frame(0).unwrap();
//! assert_eq!(&frame[..3], [1, 2, 0]);
//! assert_eq!(MetadataRecord::from_frame(frame), Ok((record, 0)));
//! ```

mod coordinator_frame;
mod generated;
mod kinds;
mod metadata_frame;

pub use generated::*;
