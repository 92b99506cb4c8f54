//! A server.properties as anybody might write it.
#![no_main]

use klamm_config::{BrokerConfig, Properties};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(properties) = Properties::parse(data) {
        drop(BrokerConfig::load(&properties));
    }
});
