//! Test support: nodes, a raw client, real Kafka clients.
