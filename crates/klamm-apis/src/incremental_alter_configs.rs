//! IncrementalAlterConfigs (key 44): changes single configs. Served: v0-v1.
//!
//! v1 flexible. Source: KIP-339.

use std::collections::HashSet;
use std::ops::RangeInclusive;
use std::rc::Rc;

use klamm_controller::{AlterConfigs, ApiError, ConfigChange, Mode};
use klamm_metadata::ConfigResource;
use klamm_model::ErrorCode;
use klamm_protocol::incremental_alter_configs_request::AlterConfigsResource;
use klamm_protocol::incremental_alter_configs_response::AlterConfigsResourceResponse;
use klamm_protocol::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse, Listener};
use klamm_stdx::Str;

use crate::Context;
use crate::api::{Api, Reply};
use crate::caller::Caller;

pub(crate) struct IncrementalAlterConfigs;

impl Api for IncrementalAlterConfigs {
    type Request = IncrementalAlterConfigsRequest;
    const VERSIONS: RangeInclusive<i16> = 0..=1;
    const LISTENERS: &'static [Listener] = &[Listener::Broker, Listener::Controller];

    async fn handle(
        ctx: Rc<Context>,
        _: Rc<Caller>,
        request: IncrementalAlterConfigsRequest,
        _: i16,
    ) -> Reply<IncrementalAlterConfigsResponse> {
        let mode = if request.validate_only { Mode::ValidateOnly } else { Mode::Apply };
        let mut responses = Vec::with_capacity(request.resources.len());
        let mut sound = Vec::new();
        for resource in request.resources {
            let target =
                ConfigResource::new(resource.resource_type, resource.resource_name.detached());
            match changes(resource) {
                Ok(changes) => sound.push(AlterConfigs { resource: target, changes }),
                Err(error) => responses.push(line(target, Err(error))),
            }
        }
        let targets: Vec<ConfigResource> =
            sound.iter().map(|request| request.resource.clone()).collect();
        match ctx.controller.alter_configs(sound, mode).await {
            Ok(altered) => {
                responses.extend(altered.into_iter().map(|(target, result)| line(target, result)));
            }
            Err(error) => {
                responses
                    .extend(targets.into_iter().map(|target| line(target, Err(error.clone()))));
            }
        }
        IncrementalAlterConfigsResponse { responses, ..IncrementalAlterConfigsResponse::default() }
            .into()
    }
}

fn changes(resource: AlterConfigsResource) -> Result<Vec<(Str, ConfigChange)>, ApiError> {
    let mut changes: Vec<(Str, ConfigChange)> = Vec::with_capacity(resource.configs.len());
    let mut names = HashSet::with_capacity(resource.configs.len());
    for config in resource.configs {
        if !names.insert(config.name.clone()) {
            let message = format!("config '{}' is named twice", config.name);
            return Err(ApiError::new(ErrorCode::InvalidRequest, message));
        }
        let value = config.value.map(|value| value.detached());
        let change = ConfigChange::from_request(&config.name, config.config_operation, value)?;
        changes.push((config.name.detached(), change));
    }
    Ok(changes)
}

fn line(resource: ConfigResource, result: Result<(), ApiError>) -> AlterConfigsResourceResponse {
    let error = result.err();
    AlterConfigsResourceResponse {
        error_code: error.as_ref().map_or(0, |error| error.code.code()),
        error_message: error
            .map(|e| Str::from(e.message.unwrap_or_else(|| e.code.name().to_owned()))),
        resource_type: resource.resource_type,
        resource_name: resource.name,
    }
}
