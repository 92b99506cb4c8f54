//! Copies of records that an image keeps: none of them keeps the batch alive that it was read
//! from.

use bytes::Bytes;
use klamm_persisted::metadata::register_controller_record::{
    ControllerEndpoint, ControllerFeature, RegisterControllerRecord,
};
use klamm_persisted::metadata::{
    AccessControlEntryRecord, DelegationTokenRecord, UserScramCredentialRecord,
};
use klamm_stdx::Str;

pub(crate) fn acl(record: &AccessControlEntryRecord) -> AccessControlEntryRecord {
    AccessControlEntryRecord {
        resource_name: record.resource_name.detached(),
        principal: record.principal.detached(),
        host: record.host.detached(),
        ..record.clone()
    }
}

pub(crate) fn scram(record: &UserScramCredentialRecord) -> UserScramCredentialRecord {
    UserScramCredentialRecord {
        name: record.name.detached(),
        salt: Bytes::copy_from_slice(&record.salt),
        stored_key: Bytes::copy_from_slice(&record.stored_key),
        server_key: Bytes::copy_from_slice(&record.server_key),
        ..record.clone()
    }
}

pub(crate) fn delegation_token(record: &DelegationTokenRecord) -> DelegationTokenRecord {
    DelegationTokenRecord {
        owner: record.owner.detached(),
        requester: record.requester.detached(),
        renewers: record.renewers.iter().map(Str::detached).collect(),
        token_id: record.token_id.detached(),
        ..record.clone()
    }
}

pub(crate) fn controller(record: &RegisterControllerRecord) -> RegisterControllerRecord {
    let endpoint = |e: &ControllerEndpoint| ControllerEndpoint {
        name: e.name.detached(),
        host: e.host.detached(),
        ..e.clone()
    };
    let feature =
        |f: &ControllerFeature| ControllerFeature { name: f.name.detached(), ..f.clone() };
    RegisterControllerRecord {
        end_points: record.end_points.iter().map(endpoint).collect(),
        features: record.features.iter().map(feature).collect(),
        ..record.clone()
    }
}
