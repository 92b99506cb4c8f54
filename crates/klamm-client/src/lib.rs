//! The native client: admin, producer and consumer.
