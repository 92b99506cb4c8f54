//! A response as a hostile broker sends it to our client: version, then bytes.
#![no_main]

use bytes::Bytes;
use klamm_codec::Message;
use libfuzzer_sys::fuzz_target;

macro_rules! decode {
    ($kind:expr, $version:expr, $body:expr; $($response:ident,)*) => {{
        let decoders: &[fn(Bytes, i16)] = &[$(|body, version| {
            drop(klamm_protocol::$response::decode_exact(body, version));
        },)*];
        decoders[usize::from($kind) % decoders.len()]($body, $version);
    }};
}

fuzz_target!(|data: &[u8]| {
    let [kind, version, body @ ..] = data else { return };
    decode!(*kind, i16::from(*version % 20), Bytes::copy_from_slice(body);
        ProduceResponse, FetchResponse, ListOffsetsResponse, MetadataResponse, OffsetCommitResponse,
        OffsetFetchResponse, FindCoordinatorResponse, JoinGroupResponse, SyncGroupResponse,
        DescribeGroupsResponse, ListGroupsResponse, ApiVersionsResponse, CreateTopicsResponse,
        DescribeConfigsResponse, DescribeLogDirsResponse, DescribeTopicPartitionsResponse,
    );
});
