//! Kafka's records on disk, generated from its schemas.
