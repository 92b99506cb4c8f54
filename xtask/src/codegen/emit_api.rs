//! Rust for `ApiKey`: one variant for each request that has a version left.

use std::fmt::Write as _;

use super::header;
use super::jars::Source;
use super::schema::Schema;

pub(crate) fn api_key(sources: &[&Source]) -> String {
    let mut requests: Vec<&Schema> =
        sources.iter().map(|source| &source.schema).filter(|s| s.kind == "request").collect();
    requests.sort_by_key(|schema| schema.api_key);
    let name = |schema: &Schema| schema.name.trim_end_matches("Request").to_owned();
    let mut out = header("schemas of requests");
    out += "use crate::api_key::{ApiFacts, Listener};\n\n\
            /// The kind of a request.\n\
            #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]\n#[repr(i16)]\n\
            pub enum ApiKey {\n";
    for schema in &requests {
        let code = schema.api_key.unwrap_or(-1);
        let _ = writeln!(
            out,
            "/// `{}`, v{} to v{}.",
            name(schema),
            schema.valid.lowest,
            schema.valid.highest
        );
        let _ = writeln!(out, "{} = {code},", name(schema));
    }
    out += "}\n\nimpl ApiKey {\n/// Every kind, by code.\npub const ALL: &'static [Self] = &[";
    for schema in &requests {
        let _ = write!(out, "Self::{},", name(schema));
    }
    out += "];\n\n/// The kind with this code.\n#[must_use]\n\
            pub const fn from_code(code: i16) -> Option<Self> {\nSome(match code {";
    for schema in &requests {
        let _ = write!(out, "{} => Self::{},", schema.api_key.unwrap_or(-1), name(schema));
    }
    out += "_ => return None,})\n}\n\npub(crate) const fn facts(self) -> &'static ApiFacts {\n\
            &FACTS[self as usize - GAPS_BEFORE[self as usize]]\n}\n}\n";
    // Codes have gaps where Kafka took requests out; each code knows how many lie below it.
    let highest = requests.iter().filter_map(|s| s.api_key).max().unwrap_or(0);
    let mut gaps = Vec::new();
    for code in 0..=highest {
        let known = requests.iter().filter(|s| s.api_key.is_some_and(|key| key < code)).count();
        gaps.push(code as usize - known);
    }
    let _ = writeln!(
        out,
        "\n/// For each code, how many lower codes belong to no request.\n\
         const GAPS_BEFORE: [usize; {}] = {gaps:?};\n\nconst FACTS: [ApiFacts; {}] = [",
        gaps.len(),
        requests.len()
    );
    for schema in &requests {
        out += &facts(schema, &name(schema));
    }
    out + "];\n"
}

fn facts(schema: &Schema, name: &str) -> String {
    let flexible = schema.flexible_from.map_or_else(|| "None".to_owned(), |v| format!("Some({v})"));
    let listeners: Vec<_> = schema
        .listeners
        .iter()
        .map(|listener| match listener.as_str() {
            "controller" => "Listener::Controller",
            _ => "Listener::Broker",
        })
        .collect();
    format!(
        "ApiFacts {{ name: \"{name}\", lowest: {}, highest: {}, highest_is_unstable: {}, \
         flexible_from: {flexible}, listeners: &[{}] }},\n",
        schema.valid.lowest,
        schema.valid.highest,
        schema.latest_version_unstable,
        listeners.join(", ")
    )
}
