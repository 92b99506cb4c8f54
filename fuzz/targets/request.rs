//! A frame as a client sends it: header, then the request that the header names. What decodes
//! must encode to the same bytes again where the form is canonical, and must never panic.
#![no_main]

use bytes::Bytes;
use klamm_codec::{Message, Reader, Writer};
use klamm_protocol::{ApiKey, RequestHead};
use libfuzzer_sys::fuzz_target;

macro_rules! decode {
    ($head:expr, $reader:expr; $($key:ident: $request:ident,)*) => {
        match $head.api_key {
            $(ApiKey::$key => round_trip::<klamm_protocol::$request>($reader, $head.api_version),)*
            _ => {}
        }
    };
}

fn round_trip<M: Message>(reader: &mut Reader, version: i16) {
    if let Ok(message) = M::decode(reader, version) {
        let mut w = Writer::new();
        message.encode(&mut w, version).expect("what was decoded can be encoded");
        let again = M::decode_exact(Bytes::from(w.into_vec()), version).expect("and decoded again");
        assert_eq!(again, message);
    }
}

fuzz_target!(|data: &[u8]| {
    let mut reader = Reader::new(Bytes::copy_from_slice(data));
    let Ok(head) = RequestHead::decode(&mut reader) else { return };
    decode!(head, &mut reader;
        Produce: ProduceRequest, Fetch: FetchRequest, ListOffsets: ListOffsetsRequest,
        Metadata: MetadataRequest, OffsetCommit: OffsetCommitRequest, OffsetFetch: OffsetFetchRequest,
        FindCoordinator: FindCoordinatorRequest, JoinGroup: JoinGroupRequest, Heartbeat: HeartbeatRequest,
        LeaveGroup: LeaveGroupRequest, SyncGroup: SyncGroupRequest, DescribeGroups: DescribeGroupsRequest,
        ListGroups: ListGroupsRequest, ApiVersions: ApiVersionsRequest, CreateTopics: CreateTopicsRequest,
        DeleteTopics: DeleteTopicsRequest, DeleteRecords: DeleteRecordsRequest,
        InitProducerId: InitProducerIdRequest, OffsetForLeaderEpoch: OffsetForLeaderEpochRequest,
        DescribeConfigs: DescribeConfigsRequest, DescribeLogDirs: DescribeLogDirsRequest,
        CreatePartitions: CreatePartitionsRequest, DeleteGroups: DeleteGroupsRequest,
        IncrementalAlterConfigs: IncrementalAlterConfigsRequest, DescribeCluster: DescribeClusterRequest,
        DescribeTopicPartitions: DescribeTopicPartitionsRequest,
    );
});
