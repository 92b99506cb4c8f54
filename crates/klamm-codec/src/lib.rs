//! Kafka's encodings: budgeted reader, writer and the Message trait.
