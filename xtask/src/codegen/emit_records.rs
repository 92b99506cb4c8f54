//! Rust for the enums over all records of a log: which number is which record. The enums
//! themselves are made by a macro of the crate; here is only the list.

use std::fmt::Write as _;

use super::jars::Source;

/// The enums of an area; nothing if its records have no numbers.
pub(crate) fn kinds(area: &str, sources: &[&Source]) -> String {
    match area {
        "metadata" => list(
            sources,
            &List {
                name: "MetadataRecord",
                kind: "metadata",
                suffix: "Record",
                what: "A record of the metadata log",
                of: "metadata record",
            },
        ),
        "group" | "transaction" | "share" => {
            let stem = super::names::camel(area);
            let stem = stem[..1].to_uppercase() + &stem[1..];
            let key = list(
                sources,
                &List {
                    name: &format!("{stem}RecordKey"),
                    kind: "coordinator-key",
                    suffix: "Key",
                    what: &format!("A key in the {area} coordinator's log"),
                    of: &format!("{area} coordinator record"),
                },
            );
            let value = list(
                sources,
                &List {
                    name: &format!("{stem}RecordValue"),
                    kind: "coordinator-value",
                    suffix: "Value",
                    what: &format!("A value in the {area} coordinator's log"),
                    of: &format!("{area} coordinator record"),
                },
            );
            key + &value
        }
        _ => String::new(),
    }
}

struct List<'a> {
    name: &'a str,
    kind: &'a str,
    suffix: &'a str,
    what: &'a str,
    of: &'a str,
}

fn list(sources: &[&Source], list: &List<'_>) -> String {
    let List { name, kind, suffix, what, of } = list;
    let mut members: Vec<_> =
        sources.iter().map(|source| &source.schema).filter(|s| s.kind == *kind).collect();
    members.sort_by_key(|schema| schema.api_key);
    // Client quotas are floating point, which is never quite equal to itself.
    let derive = if *kind == "metadata" { "" } else { "#[derive(Eq)]\n" };
    let mut out =
        format!("\ncrate::kinds::record_kinds! {{\n/// {what}.\n{derive}{name} of \"{of}\" {{\n");
    for schema in members {
        let variant = schema.name.strip_suffix(suffix).unwrap_or(&schema.name);
        let _ = writeln!(out, "{variant}({}) = {},", schema.name, schema.api_key.unwrap_or(-1));
    }
    out + "}\n}\n"
}
