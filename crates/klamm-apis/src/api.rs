//! What an API is: one file, one type, one line in the registry.

use std::ops::RangeInclusive;
use std::rc::Rc;

use klamm_codec::{EncodeError, Message, Writer};
use klamm_env::FileSlice;
use klamm_network as network;
use klamm_protocol::{Listener, Request, RequestHead};

use crate::Context;
use crate::caller::Caller;

/// One of Kafka's APIs.
pub(crate) trait Api {
    /// Its request; the response follows from it.
    type Request: Request;

    /// The versions that are served; tidy compares them with the file's first line.
    const VERSIONS: RangeInclusive<i16>;

    /// Where it is served.
    const LISTENERS: &'static [Listener];

    /// Whether a second request of this kind may start before the first is answered.
    const PIPELINED: bool = false;

    /// Does it.
    fn handle(
        ctx: Rc<Context>,
        caller: Rc<Caller>,
        request: Self::Request,
        version: i16,
    ) -> impl Future<Output = Reply<<Self::Request as Request>::Response>>;
}

/// What an API answers. Protocol violations and acks=0 are values, not exceptions.
pub(crate) enum Reply<R> {
    /// Send this.
    Send(R),
    /// Send this, with ranges of files where its records are deferred.
    SendWithFiles(R, Vec<FileSlice>),
    /// Send nothing.
    Silent,
    /// Close the connection, for this reason.
    Close(String),
}

impl<R> From<R> for Reply<R> {
    fn from(response: R) -> Self {
        Self::Send(response)
    }
}

/// Encodes an API's answer into a frame.
pub(crate) fn into_frame<R: Message>(
    head: &RequestHead,
    version: i16,
    reply: Reply<R>,
) -> network::Reply {
    let (response, files) = match reply {
        Reply::Send(response) => (response, Vec::new()),
        Reply::SendWithFiles(response, files) => (response, files),
        Reply::Silent => return network::Reply::Silent,
        Reply::Close(reason) => return network::Reply::Close(reason),
    };
    match encode(head, version, &response, files) {
        Ok(response) => network::Reply::Send(response),
        Err(error) => {
            // Ours, not the client's: a field was filled that this version cannot tell.
            tracing::error!(api = %head.api_key, version, %error, "a response could not be encoded");
            network::Reply::Close(format!("the response could not be encoded: {error}"))
        }
    }
}

fn encode<R: Message>(
    head: &RequestHead,
    version: i16,
    response: &R,
    files: Vec<FileSlice>,
) -> Result<network::Response, EncodeError> {
    let mut w = Writer::new();
    w.i32(0);
    head.encode_response(&mut w);
    response.encode(&mut w, version)?;
    let len = w.len() + w.deferred_bytes() - network::FRAME_LEN_BYTES;
    w.set_i32(0, i32::try_from(len).unwrap_or(i32::MAX));
    let (bytes, cuts) = w.into_parts();
    assert_eq!(cuts.len(), files.len(), "each deferred field has a file range");
    Ok(network::Response { bytes, cuts, files })
}
