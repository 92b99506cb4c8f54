//! DescribeConfigs (key 32): values of configs, where they come from and what they mean. Served: v1-v4.
//!
//! v1 synonyms (KIP-226) · v3 types and documentation (KIP-569) · v4 flexible.

use std::ops::RangeInclusive;
use std::rc::Rc;

use klamm_config::{
    ConfigMap, ConfigType, DescribedConfig, Layers, describe_broker, describe_group, describe_topic,
};
use klamm_metadata::{CONFIG_BROKER, CONFIG_GROUP, CONFIG_TOPIC, ConfigResource};
use klamm_model::{ErrorCode, check_topic_name};
use klamm_protocol::describe_configs_request::DescribeConfigsResource;
use klamm_protocol::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use klamm_protocol::{DescribeConfigsRequest, DescribeConfigsResponse, Listener};
use klamm_stdx::Str;

use crate::Context;
use crate::api::{Api, Reply};
use crate::caller::Caller;

pub(crate) struct DescribeConfigs;

impl Api for DescribeConfigs {
    type Request = DescribeConfigsRequest;
    const VERSIONS: RangeInclusive<i16> = 1..=4;
    const LISTENERS: &'static [Listener] = &[Listener::Broker, Listener::Controller];

    async fn handle(
        ctx: Rc<Context>,
        _: Rc<Caller>,
        request: DescribeConfigsRequest,
        _: i16,
    ) -> Reply<DescribeConfigsResponse> {
        let told = Told {
            synonyms: request.include_synonyms,
            documentation: request.include_documentation,
        };
        let results =
            request.resources.into_iter().map(|resource| describe(&ctx, resource, told)).collect();
        DescribeConfigsResponse { results, ..DescribeConfigsResponse::default() }.into()
    }
}

/// What the client wants to be told besides values.
#[derive(Clone, Copy)]
struct Told {
    synonyms: bool,
    documentation: bool,
}

fn describe(ctx: &Context, asked: DescribeConfigsResource, told: Told) -> DescribeConfigsResult {
    let mut result = DescribeConfigsResult {
        resource_type: asked.resource_type,
        resource_name: asked.resource_name.clone(),
        ..DescribeConfigsResult::default()
    };
    match configs(ctx, asked.resource_type, &asked.resource_name) {
        Ok(configs) => {
            let wanted = asked.configuration_keys;
            let is_wanted = |config: &DescribedConfig| {
                wanted.as_ref().is_none_or(|keys| {
                    keys.is_empty() || keys.iter().any(|key| **key == *config.name)
                })
            };
            result.configs =
                configs.into_iter().filter(is_wanted).map(|config| line(config, told)).collect();
        }
        Err((code, message)) => {
            result.error_code = code.code();
            result.error_message = Some(Str::from(message));
        }
    }
    result
}

fn configs(
    ctx: &Context,
    resource_type: i8,
    name: &Str,
) -> Result<Vec<DescribedConfig>, (ErrorCode, String)> {
    let (per_broker, cluster) = dynamic(ctx);
    let layers = Layers { per_broker: &per_broker, cluster: &cluster, file: &ctx.properties };
    let own = overrides(ctx, resource_type, name);
    match resource_type {
        CONFIG_TOPIC => {
            if let Err(error) = check_topic_name(name) {
                return Err((ErrorCode::InvalidTopicException, error.to_string()));
            }
            match ctx.metadata.image().topics.by_name(name) {
                Some(_) => Ok(describe_topic(&layers, &own)),
                None => Err((
                    ErrorCode::UnknownTopicOrPartition,
                    format!("topic '{name}' does not exist"),
                )),
            }
        }
        CONFIG_BROKER if name.is_empty() => {
            // The cluster's defaults: only what was set.
            let described = describe_broker(&layers).into_iter();
            Ok(described.filter(|config| cluster.contains_key(config.name)).collect())
        }
        CONFIG_BROKER => match name.parse::<i32>() {
            Ok(id) if id == ctx.node_id.0 => Ok(describe_broker(&layers)),
            Ok(id) => {
                let message = format!(
                    "this is broker {}, configs of broker {id} were asked for",
                    ctx.node_id
                );
                Err((ErrorCode::InvalidRequest, message))
            }
            Err(_) => Err((ErrorCode::InvalidRequest, format!("'{name}' is no broker id"))),
        },
        CONFIG_GROUP if name.is_empty() => {
            Err((ErrorCode::InvalidRequest, "the group has no name".into()))
        }
        CONFIG_GROUP => Ok(describe_group(&layers, &own)),
        other => Err((
            ErrorCode::InvalidRequest,
            format!("configs of resource type {other} are not served"),
        )),
    }
}

/// What the metadata log says of a resource.
fn overrides(ctx: &Context, resource_type: i8, name: &Str) -> ConfigMap {
    let image = ctx.metadata.image();
    let configs = image.configs_of(&ConfigResource::new(resource_type, name.clone()));
    configs
        .map(|c| c.iter().map(|(k, v)| (k.to_string(), v.to_string())).collect())
        .unwrap_or_default()
}

/// What was changed while the node ran: for this broker, and for all.
pub(crate) fn dynamic(ctx: &Context) -> (ConfigMap, ConfigMap) {
    let own = overrides(ctx, CONFIG_BROKER, &Str::from(ctx.node_id.to_string()));
    (own, overrides(ctx, CONFIG_BROKER, &Str::new()))
}

fn line(config: DescribedConfig, told: Told) -> DescribeConfigsResourceResult {
    let synonym = |synonym: klamm_config::Synonym| DescribeConfigsSynonym {
        name: Str::from(synonym.name),
        value: synonym.value.map(Str::from),
        source: synonym.source.code(),
    };
    DescribeConfigsResourceResult {
        name: Str::from(config.name),
        value: config.value.map(Str::from),
        read_only: config.read_only,
        config_source: config.source.code(),
        is_sensitive: config.sensitive,
        synonyms: if told.synonyms {
            config.synonyms.into_iter().map(synonym).collect()
        } else {
            Vec::new()
        },
        config_type: type_code(config.config_type),
        documentation: told.documentation.then(|| Str::from_static(config.doc)),
    }
}

/// Kafka's numbers (`DescribeConfigsResponse.ConfigType`).
fn type_code(config_type: ConfigType) -> i8 {
    match config_type {
        ConfigType::Boolean => 1,
        ConfigType::String => 2,
        ConfigType::Int => 3,
        ConfigType::Short => 4,
        ConfigType::Long => 5,
        ConfigType::Double => 6,
        ConfigType::List => 7,
        ConfigType::Class => 8,
        ConfigType::Password => 9,
    }
}
