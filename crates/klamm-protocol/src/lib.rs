//! Kafka's requests and responses, generated from its schemas.
