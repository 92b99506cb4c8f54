//! Kafka's requests and responses, generated from its schemas, and their headers.
//!
//! Each message has a module with its parts, and is itself at the root: the topics of a
//! [`ProduceRequest`] are [`produce_request::TopicProduceData`]. Numbers, texts and nulls are
//! those of the wire; what they mean is said elsewhere. Never reads a socket and never decides.
//!
//! ```
//! use klamm_codec::Message;
//! use klamm_protocol::{ApiKey, MetadataRequest, Request};
//!
//! let request = MetadataRequest { topics: None, ..MetadataRequest::default() };
//! let bytes = request.to_bytes(12).unwrap();
//! assert_eq!(MetadataRequest::decode_exact(bytes, 12), Ok(request));
//! assert_eq!(MetadataRequest::KEY, ApiKey::Metadata);
//! ```

mod api_key;
#[expect(clippy::too_many_lines, reason = "the largest schemas have dozens of fields")]
mod generated;
mod header;

pub use api_key::{Listener, Request};
pub use generated::*;
pub use header::{HeaderError, RequestHead, decode_response_header, encode_response_header};
