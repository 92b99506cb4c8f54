//! ApiVersions (key 18): what this broker serves, and the cluster's feature levels. Served: v0-v4.
//!
//! v3 flexible, the client names its software (KIP-511) · v4 features with a lowest level of 0
//! are told (KIP-1022). Any other version is answered in v0, so that a newer client can step down.

use std::ops::RangeInclusive;
use std::rc::Rc;

use klamm_metadata::supported_features;
use klamm_model::ErrorCode;
use klamm_network::Call;
use klamm_protocol::api_versions_response::{ApiVersion, FinalizedFeatureKey, SupportedFeatureKey};
use klamm_protocol::{ApiKey, ApiVersionsRequest, ApiVersionsResponse, Listener, RequestHead};
use klamm_stdx::Str;

use crate::Context;
use crate::api::{Api, Reply, into_frame};
use crate::caller::Caller;
use crate::registry::served;

/// Letters, digits and inner dots, dashes: what a client may call its software.
const SOFTWARE_NAME_LEN_MAX: usize = 1_000;

pub(crate) struct ApiVersions;

impl Api for ApiVersions {
    type Request = ApiVersionsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=4;
    const LISTENERS: &'static [Listener] = &[Listener::Broker, Listener::Controller];

    async fn handle(
        ctx: Rc<Context>,
        caller: Rc<Caller>,
        request: ApiVersionsRequest,
        version: i16,
    ) -> Reply<ApiVersionsResponse> {
        let named = [&request.client_software_name, &request.client_software_version];
        if version >= 3 && !named.into_iter().all(|name| is_software_name(name)) {
            let error_code = ErrorCode::InvalidRequest.code();
            return ApiVersionsResponse { error_code, ..ApiVersionsResponse::default() }.into();
        }
        response(&ctx, &caller, version).into()
    }
}

fn is_software_name(name: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    name.len() <= SOFTWARE_NAME_LEN_MAX
        && edge(name.chars().next())
        && edge(name.chars().next_back())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'))
}

fn response(ctx: &Context, caller: &Caller, version: i16) -> ApiVersionsResponse {
    let image = ctx.metadata.image();
    let supported =
        supported_features().into_iter().filter(|(_, levels)| version >= 4 || *levels.start() > 0);
    let finalized = image.features.levels.iter().map(|(name, level)| (name.clone(), *level));
    let metadata_version =
        (Str::from_static("metadata.version"), image.features.metadata_version.level());
    ApiVersionsResponse {
        api_keys: api_keys(caller.listener),
        supported_features: supported
            .map(|(name, levels)| SupportedFeatureKey {
                name: Str::from_static(name),
                min_version: *levels.start(),
                max_version: *levels.end(),
            })
            .collect(),
        finalized_features_epoch: image.provenance.next_offset.0 - 1,
        finalized_features: finalized
            .chain([metadata_version])
            .map(|(name, level)| FinalizedFeatureKey {
                name,
                max_version_level: level,
                min_version_level: level,
            })
            .collect(),
        ..ApiVersionsResponse::default()
    }
}

fn api_keys(listener: Listener) -> Vec<ApiVersion> {
    let here = served().into_iter().filter(|api| api.listeners.contains(&listener));
    here.map(|api| ApiVersion {
        api_key: api.key.code(),
        // librdkafka takes a lowest produce version above 0 for a broker that is too old
        // (KAFKA-18659); asking for those versions fails all the same.
        min_version: if api.key == ApiKey::Produce { 0 } else { *api.versions.start() },
        max_version: *api.versions.end(),
    })
    .collect()
}

/// The answer to a version that is not served.
pub(crate) fn unsupported(ctx: &Context, caller: &Caller, head: &RequestHead) -> Call {
    let response = ApiVersionsResponse {
        error_code: ErrorCode::UnsupportedVersion.code(),
        api_keys: api_keys(caller.listener),
        ..ApiVersionsResponse::default()
    };
    tracing::debug!(node_id = %ctx.node_id, version = head.api_version, "ApiVersions of an unknown version");
    Call::Now(into_frame(head, 0, Reply::Send(response)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn software_names_are_plain_words() {
        for name in ["apache-kafka-java", "4.3.1", "a", "v1.2.0-rc1"] {
            assert!(is_software_name(name), "{name}");
        }
        for name in ["", "-a", "a-", "a b", "a/b", "ä"] {
            assert!(!is_software_name(name), "{name}");
        }
    }
}
