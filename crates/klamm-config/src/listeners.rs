//! The listeners of a node are read: where it accepts connections, what it tells others, and who
//! may reach it.

use std::collections::BTreeMap;

use crate::ConfigError;
use crate::listener::{
    Listener, ListenerName, ListenersConfig, MetricsListener, SecurityProtocol, is_loopback,
    parse_host_port,
};
use crate::node::Roles;
use crate::reader::Reader;
use crate::value::items;

type ProtocolMap = BTreeMap<ListenerName, SecurityProtocol>;

pub(crate) fn read(r: &Reader<'_>, roles: Roles) -> ListenersConfig {
    let controller_names: Vec<_> =
        items(&r.text("controller.listener.names")).map(ListenerName::new).collect();
    let map = protocol_map(r, &controller_names);
    let listeners = parse_list(r, "listeners", &map);
    check_listeners(r, &listeners);
    let advertised = match r.given_text("advertised.listeners") {
        Some(text) if !text.trim().is_empty() => parse_advertised(r, &listeners, &map),
        _ => derived_advertised(r, &listeners, &controller_names),
    };
    let inter_broker = inter_broker_listener(r, &advertised);
    let config = ListenersConfig { listeners, advertised, controller_names, inter_broker };
    check_roles(r, &config, roles);
    check_protection(r, &config);
    config
}

/// Without an explicit map, a listener name that is a protocol means that protocol, and a
/// controller listener of another name is plaintext (Kafka:
/// `effectiveListenerSecurityProtocolMap`).
fn protocol_map(r: &Reader<'_>, controller_names: &[ListenerName]) -> ProtocolMap {
    let mut map = ProtocolMap::new();
    for item in items(&r.text("listener.security.protocol.map")) {
        let parsed = item
            .split_once(':')
            .and_then(|(name, protocol)| Some((name, SecurityProtocol::parse(protocol)?)));
        match parsed {
            Some((name, protocol)) => {
                map.insert(ListenerName::new(name), protocol);
            }
            None => r.refuse(
                "listener.security.protocol.map",
                format!("'{item}' is not NAME:PROTOCOL with a protocol of Kafka's"),
            ),
        }
    }
    if r.given_text("listener.security.protocol.map").is_none() {
        for name in controller_names {
            map.entry(name.clone()).or_insert(SecurityProtocol::Plaintext);
        }
    }
    map
}

fn parse_list(r: &Reader<'_>, key: &'static str, map: &ProtocolMap) -> Vec<Listener> {
    let mut listeners = Vec::new();
    for item in items(&r.text(key)) {
        let parsed = item.split_once("://").and_then(|(name, address)| {
            let (host, port) = parse_host_port(address)?;
            (!name.is_empty()).then_some((ListenerName::new(name), host, port))
        });
        let Some((name, host, port)) = parsed else {
            r.refuse(key, format!("'{item}' is not NAME://host:port"));
            continue;
        };
        match map.get(&name) {
            Some(protocol) => listeners.push(Listener { name, host, port, protocol: *protocol }),
            None => r.refuse(
                key,
                format!("no protocol for listener {name} in listener.security.protocol.map"),
            ),
        }
    }
    listeners
}

fn check_listeners(r: &Reader<'_>, listeners: &[Listener]) {
    if listeners.is_empty() && !r.has_errors() {
        r.refuse("listeners", "at least one is needed".to_owned());
    }
    for (i, listener) in listeners.iter().enumerate() {
        for other in &listeners[..i] {
            if other.name == listener.name {
                r.refuse("listeners", format!("two listeners have the name {}", other.name));
            }
            let versions_differ = other.host.contains(':') != listener.host.contains(':');
            if other.port == listener.port && listener.port != 0 && !versions_differ {
                let both = format!("{other} and {listener}");
                r.refuse("listeners", format!("two listeners have the same port: {both}"));
            }
        }
    }
}

fn parse_advertised(r: &Reader<'_>, listeners: &[Listener], map: &ProtocolMap) -> Vec<Listener> {
    let key = "advertised.listeners";
    let advertised = parse_list(r, key, map);
    for (i, listener) in advertised.iter().enumerate() {
        if is_no_address(&listener.host) {
            r.refuse(key, format!("clients cannot connect to {}; name an address", listener.host));
        }
        if advertised[..i].iter().any(|other| other.name == listener.name) {
            r.refuse(key, format!("two listeners have the name {}", listener.name));
        }
        if !listeners.iter().any(|other| other.name == listener.name) {
            r.refuse(key, format!("{} is not in listeners", listener.name));
        }
    }
    advertised
}

/// What is listened on is advertised too. An empty host stands for the machine's own name, which
/// the node fills in; the address of no interface cannot be advertised.
fn derived_advertised(
    r: &Reader<'_>,
    listeners: &[Listener],
    controller_names: &[ListenerName],
) -> Vec<Listener> {
    let own: Vec<Listener> =
        listeners.iter().filter(|l| !controller_names.contains(&l.name)).cloned().collect();
    for listener in own.iter().filter(|l| is_no_address(&l.host)) {
        let text = format!("clients cannot connect to {}; set advertised.listeners", listener.host);
        r.refuse("listeners", text);
    }
    own
}

fn is_no_address(host: &str) -> bool {
    matches!(host, "0.0.0.0" | "::")
}

fn inter_broker_listener(r: &Reader<'_>, advertised: &[Listener]) -> Option<ListenerName> {
    if let Some(name) = r.given_text("inter.broker.listener.name") {
        if r.given_text("security.inter.broker.protocol").is_some() {
            r.conflict(
                "inter.broker.listener.name and security.inter.broker.protocol are both set; \
                 set one"
                    .to_owned(),
            );
        }
        let name = ListenerName::new(&name);
        if !advertised.iter().any(|l| l.name == name) {
            r.refuse(
                "inter.broker.listener.name",
                "it is not one of the advertised broker listeners".to_owned(),
            );
        }
        return Some(name);
    }
    let protocol = r.text("security.inter.broker.protocol");
    let named = ListenerName::new(&protocol);
    let by_name = advertised.iter().find(|l| l.name == named);
    let protocol = SecurityProtocol::parse(&protocol);
    by_name
        .or_else(|| advertised.iter().find(|l| Some(l.protocol) == protocol))
        .map(|l| l.name.clone())
}

fn check_roles(r: &Reader<'_>, config: &ListenersConfig, roles: Roles) {
    let key = "controller.listener.names";
    if config.controller_names.is_empty() {
        r.refuse(key, "at least one name is needed".to_owned());
    }
    if roles.controller && config.controller().next().is_none() {
        r.refuse(key, "a controller needs at least one of these names in listeners".to_owned());
    }
    if !roles.controller && config.controller().next().is_some() {
        r.refuse(key, "a node that is only a broker cannot listen on them".to_owned());
    }
    if roles.broker && config.broker().next().is_none() {
        r.refuse("listeners", "a broker needs one that is not a controller listener".to_owned());
    }
    if !roles.broker && config.broker().next().is_some() {
        r.refuse(
            "listeners",
            "a node that is only a controller has only controller listeners".into(),
        );
    }
    if config.inter_broker.as_ref().is_some_and(|name| config.is_controller(name)) {
        r.refuse("inter.broker.listener.name", "it is a controller listener".to_owned());
    }
}

/// Nothing that should protect the node may be silently absent.
fn check_protection(r: &Reader<'_>, config: &ListenersConfig) {
    let exposed_allowed = r.flag("klamm.allow.insecure.listeners");
    for listener in &config.listeners {
        if listener.protocol != SecurityProtocol::Plaintext {
            r.fail(ConfigError::Unprotected {
                key: format!("{} of listener {}", listener.protocol.name(), listener.name),
                reason: "TLS and SASL are not built yet".to_owned(),
            });
        } else if !listener.is_loopback() && !exposed_allowed {
            r.fail(ConfigError::ExposedListener { listener: listener.to_string() });
        }
    }
}

pub(crate) fn read_metrics(r: &Reader<'_>) -> Vec<MetricsListener> {
    let key = "klamm.metrics.listeners";
    let required = r.given_text(key).is_some();
    let exposed_allowed = r.flag("klamm.allow.insecure.listeners");
    let mut listeners = Vec::new();
    for item in items(&r.text(key)) {
        match item.strip_prefix("http://").and_then(parse_host_port) {
            Some((host, port)) => {
                if !is_loopback(&host) && !exposed_allowed {
                    r.fail(ConfigError::ExposedListener { listener: item.to_owned() });
                }
                listeners.push(MetricsListener { host, port, required });
            }
            None => r.refuse(key, format!("'{item}' is not http://host:port")),
        }
    }
    listeners
}
