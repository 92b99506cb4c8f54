//! Tests of [`super::alter_configs`].

use klamm_metadata::{CONFIG_CLIENT_METRICS, CONFIG_GROUP, ConfigResource};
use klamm_model::ErrorCode;
use klamm_stdx::Str;

use crate::alter_configs::{AlterConfigs, AlteredResources, ConfigChange, ReplaceConfigs};
use crate::testing::World;
use crate::{ApiError, Mode};

use ConfigChange::{Append, Delete, Set, Subtract};

fn world() -> World {
    let mut world = World::with_brokers(1);
    world.create("a", &[&[1]]);
    world
}

fn codes(results: AlteredResources) -> Vec<ErrorCode> {
    let code = |result: Result<(), ApiError>| result.map_or_else(|e| e.code, |()| ErrorCode::None);
    results.into_iter().map(|(_, result)| code(result)).collect()
}

fn request(resource: ConfigResource, changes: &[(&str, ConfigChange)]) -> AlterConfigs {
    let changes = changes.iter().map(|(name, change)| (Str::from(*name), change.clone()));
    AlterConfigs { resource, changes: changes.collect() }
}

fn alter(
    world: &mut World,
    resource: ConfigResource,
    changes: &[(&str, ConfigChange)],
) -> ErrorCode {
    let request = request(resource, changes);
    codes(world.run(|c, context| c.alter_configs(context, &[request], Mode::Apply)))[0]
}

fn topic() -> ConfigResource {
    ConfigResource::topic("a")
}

fn value(world: &World, resource: &ConfigResource, name: &str) -> Option<String> {
    world.image().config(resource, name).map(ToString::to_string)
}

#[test]
fn a_config_is_set_and_deleted() {
    let mut world = world();
    assert_eq!(alter(&mut world, topic(), &[("retention.ms", Set("5".into()))]), ErrorCode::None);
    assert_eq!(value(&world, &topic(), "retention.ms").as_deref(), Some("5"));
    assert_eq!(alter(&mut world, topic(), &[("retention.ms", Delete)]), ErrorCode::None);
    assert_eq!(value(&world, &topic(), "retention.ms"), None);
}

#[test]
fn a_value_that_is_set_already_is_no_record() {
    let mut world = world();
    alter(&mut world, topic(), &[("retention.ms", Set("5".into()))]);
    alter(&mut world, topic(), &[("retention.ms", Set("5".into())), ("cleanup.policy", Delete)]);
    assert!(world.written.is_empty());
}

#[test]
fn configs_that_do_not_go_together_are_refused_whoever_of_them_changes() {
    let mut world = world();
    let set = |name, value: &str| (name, Set(Str::from(value)));
    let both = [set("retention.ms", "5"), set("interval.ms", "6")];
    assert_eq!(alter(&mut world, topic(), &both), ErrorCode::InvalidConfig);
    assert_eq!(value(&world, &topic(), "retention.ms"), None, "all or nothing");
    assert_eq!(alter(&mut world, topic(), &both[..1]), ErrorCode::None);
    assert_eq!(alter(&mut world, topic(), &both[1..]), ErrorCode::InvalidConfig);
}

#[test]
fn a_list_grows_from_its_default_and_shrinks() {
    let mut world = world();
    alter(&mut world, topic(), &[("cleanup.policy", Append("compact".into()))]);
    assert_eq!(value(&world, &topic(), "cleanup.policy").as_deref(), Some("delete,compact"));
    alter(&mut world, topic(), &[("cleanup.policy", Append("compact,delete".into()))]);
    assert!(world.written.is_empty());
    alter(&mut world, topic(), &[("cleanup.policy", Subtract("delete, other".into()))]);
    assert_eq!(value(&world, &topic(), "cleanup.policy").as_deref(), Some("compact"));
}

#[test]
fn a_bad_change_leaves_the_whole_resource_as_it_was() {
    let mut world = world();
    let bad: [(&str, ConfigChange); 4] = [
        ("retention.ms", Set("x".into())),
        ("no.such.config", Set("1".into())),
        ("retention.ms", Append("1".into())),
        ("cleanup.policy", Set("a".repeat(40_000).into())),
    ];
    for (name, change) in bad {
        let code =
            alter(&mut world, topic(), &[("interval.ms", Set("1".into())), (name, change.clone())]);
        assert_eq!(code, ErrorCode::InvalidConfig, "{name} {change:?}");
    }
    assert!(world.image().configs_of(&topic()).is_none());
}

#[test]
fn a_name_or_a_resource_that_is_there_twice_is_refused() {
    let mut world = world();
    let twice = [("retention.ms", Set("1".into())), ("retention.ms", Delete)];
    assert_eq!(alter(&mut world, topic(), &twice), ErrorCode::InvalidRequest);
    let requests = [request(topic(), &[]), request(topic(), &[])];
    let results = world.run(|c, context| c.alter_configs(context, &requests, Mode::Apply));
    assert_eq!(codes(results), [ErrorCode::InvalidRequest; 2]);
}

#[test]
fn resources_that_do_not_exist_or_have_no_configs_are_refused() {
    let mut world = world();
    let cases = [
        (ConfigResource::topic("b"), ErrorCode::UnknownTopicOrPartition),
        (ConfigResource::topic(""), ErrorCode::InvalidRequest),
        (ConfigResource::topic("a/b"), ErrorCode::InvalidTopicException),
        (ConfigResource::broker("2"), ErrorCode::BrokerIdNotRegistered),
        (ConfigResource::broker("x"), ErrorCode::InvalidRequest),
        (ConfigResource::new(CONFIG_GROUP, ""), ErrorCode::InvalidRequest),
        (ConfigResource::new(CONFIG_CLIENT_METRICS, ""), ErrorCode::InvalidRequest),
        (ConfigResource::new(8, "1"), ErrorCode::InvalidRequest),
    ];
    for (resource, code) in cases {
        let set = [("interval.ms", Set("1".into()))];
        assert_eq!(alter(&mut world, resource.clone(), &set), code, "{resource:?}");
    }
    for resource in [
        ConfigResource::broker(""),
        ConfigResource::broker("1"),
        ConfigResource::new(CONFIG_GROUP, "g"),
        ConfigResource::new(CONFIG_CLIENT_METRICS, "m"),
    ] {
        let set = [("interval.ms", Set("1".into()))];
        assert_eq!(alter(&mut world, resource.clone(), &set), ErrorCode::None, "{resource:?}");
    }
}

#[test]
fn one_resource_fails_and_the_others_change() {
    let mut world = world();
    let set = [("retention.ms", Set("1".into()))];
    let requests = [request(ConfigResource::topic("b"), &set), request(topic(), &set)];
    let results = world.run(|c, context| c.alter_configs(context, &requests, Mode::Apply));
    assert_eq!(codes(results), [ErrorCode::UnknownTopicOrPartition, ErrorCode::None]);
    assert_eq!(value(&world, &topic(), "retention.ms").as_deref(), Some("1"));
}

#[test]
fn a_request_that_is_only_tried_changes_nothing() {
    let mut world = world();
    let requests = [request(topic(), &[("retention.ms", Set("1".into()))])];
    let results = world.run(|c, context| c.alter_configs(context, &requests, Mode::ValidateOnly));
    assert_eq!(codes(results), [ErrorCode::None]);
    assert!(world.image().configs_of(&topic()).is_none());
}

#[test]
fn replacing_removes_what_is_not_named() {
    let mut world = world();
    alter(&mut world, topic(), &[("retention.ms", Set("1".into()))]);
    let replace = |world: &mut World, configs: &[(&str, Option<&str>)]| {
        let configs = configs.iter().map(|(n, v)| (Str::from(*n), v.map(Str::from))).collect();
        let request = ReplaceConfigs { resource: topic(), configs };
        codes(world.run(|c, context| c.replace_configs(context, &[request], Mode::Apply)))[0]
    };
    assert_eq!(replace(&mut world, &[("interval.ms", Some("2"))]), ErrorCode::None);
    assert_eq!(value(&world, &topic(), "retention.ms"), None);
    assert_eq!(value(&world, &topic(), "interval.ms").as_deref(), Some("2"));
    assert_eq!(replace(&mut world, &[("interval.ms", None)]), ErrorCode::InvalidConfig);
    let twice = [("interval.ms", Some("2")), ("interval.ms", Some("3"))];
    assert_eq!(replace(&mut world, &twice), ErrorCode::InvalidRequest);
}

#[test]
fn with_eligible_leader_replicas_min_isr_is_the_clusters_and_stays() {
    let mut world = world();
    let set = [("min.insync.replicas", Set("2".into()))];
    assert_eq!(alter(&mut world, ConfigResource::broker("1"), &set), ErrorCode::InvalidConfig);
    assert_eq!(alter(&mut world, ConfigResource::broker(""), &set), ErrorCode::None);
    let delete = [("min.insync.replicas", Delete)];
    assert_eq!(alter(&mut world, ConfigResource::broker(""), &delete), ErrorCode::InvalidConfig);
    assert_eq!(alter(&mut world, topic(), &set), ErrorCode::None);
    assert_eq!(alter(&mut world, topic(), &delete), ErrorCode::None);
}

#[test]
fn operations_of_the_wire_are_known_or_refused() {
    let parse = |op, value: Option<&str>| {
        ConfigChange::from_request("a", op, value.map(Str::from)).map_err(|error| error.code)
    };
    assert_eq!(parse(0, Some("1")), Ok(Set("1".into())));
    assert_eq!(parse(1, None), Ok(Delete));
    assert_eq!(parse(2, Some("1")), Ok(Append("1".into())));
    assert_eq!(parse(3, Some("1")), Ok(Subtract("1".into())));
    for (operation, value) in [(0, None), (2, None), (3, None), (4, Some("1")), (-1, None)] {
        assert_eq!(parse(operation, value), Err(ErrorCode::InvalidRequest), "{operation}");
    }
}
