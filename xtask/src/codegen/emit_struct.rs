//! Rust for the structs themselves: their fields, types and defaults.

use std::fmt::Write as _;

use super::schema::{Field, FieldType, Schema, Struct};

/// A struct with its fields and defaults.
pub(crate) fn declaration(schema: &Schema, s: &Struct) -> String {
    let natural = s.fields.iter().all(default_is_natural);
    let float = |kind: &FieldType| *kind == FieldType::Float64;
    let has_float = s.fields.iter().any(|f| float(&f.kind) || holds_float(schema, &f.kind));
    let derives = ["Clone", "Debug", "PartialEq"]
        .into_iter()
        .chain((!has_float).then_some("Eq"))
        .chain(natural.then_some("Default"))
        .collect::<Vec<_>>()
        .join(", ");
    let docs = if s.name == schema.name {
        let flexible =
            schema.flexible_from.map_or(String::new(), |v| format!(", flexible from v{v}"));
        format!("`{}`, v{} to v{}{flexible}.", s.name, s.versions.lowest, s.versions.highest)
    } else {
        format!("Part of [`{}`], {}.", schema.name, s.versions.text(schema.valid))
    };
    let mut out = format!("\n/// {docs}\n#[derive({derives})]\npub struct {} {{", s.name);
    for f in &s.fields {
        let mut docs = f.versions.text(s.versions);
        if let Some(nullable) = f.nullable {
            docs += if nullable == f.versions { ", nullable" } else { ", nullable from " };
            if nullable != f.versions {
                docs += &nullable.text(f.versions);
            }
        }
        if let Some(tag) = f.tag {
            let _ = write!(docs, ", tag {tag}");
        }
        let _ = write!(out, "\n/// {docs}.\npub {}: {},", f.name, rust_type(f));
    }
    out += "\n}\n";
    if !natural {
        let _ = write!(out, "\nimpl Default for {} {{\nfn default() -> Self {{\nSelf {{", s.name);
        for f in &s.fields {
            let _ = write!(out, "{}: {},", f.name, default(f));
        }
        out += "}\n}\n}\n";
    }
    out
}

fn holds_float(schema: &Schema, kind: &FieldType) -> bool {
    kind.struct_name().is_some_and(|name| {
        let fields = &schema.find_struct(name).fields;
        fields.iter().any(|f| f.kind == FieldType::Float64 || holds_float(schema, &f.kind))
    })
}

/// The Rust type of a value that is not null.
pub(crate) fn base_type(kind: &FieldType) -> String {
    match kind {
        FieldType::Bool => "bool".to_owned(),
        FieldType::Int8 => "i8".to_owned(),
        FieldType::Int16 => "i16".to_owned(),
        FieldType::Uint16 => "u16".to_owned(),
        FieldType::Int32 => "i32".to_owned(),
        FieldType::Uint32 => "u32".to_owned(),
        FieldType::Int64 => "i64".to_owned(),
        FieldType::Float64 => "f64".to_owned(),
        FieldType::String => "Str".to_owned(),
        FieldType::Bytes => "Bytes".to_owned(),
        FieldType::Records => "RecordsField".to_owned(),
        FieldType::Uuid => "Uuid".to_owned(),
        FieldType::Struct(name) => name.clone(),
        FieldType::Array(element) => format!("Vec<{}>", base_type(element)),
    }
}

fn rust_type(f: &Field) -> String {
    let base = base_type(&f.kind);
    if f.is_optional() { format!("Option<{base}>") } else { base }
}

fn is_number(kind: &FieldType) -> bool {
    matches!(
        kind,
        FieldType::Int8
            | FieldType::Int16
            | FieldType::Uint16
            | FieldType::Int32
            | FieldType::Uint32
            | FieldType::Int64
            | FieldType::Float64
    )
}

/// The schema's default, or what Kafka takes where the schema has none: zero and empty.
pub(crate) fn default(f: &Field) -> String {
    if f.default_is_null() && f.is_optional() {
        return "None".to_owned();
    }
    let value = match (&f.kind, &f.default) {
        (FieldType::Bool, given) => given.clone().unwrap_or_else(|| "false".to_owned()),
        (FieldType::Float64, _) => "0.0".to_owned(),
        (kind, given) if is_number(kind) => given.clone().unwrap_or_else(|| "0".to_owned()),
        (FieldType::String, Some(text)) => format!("Str::from_static({text:?})"),
        (FieldType::String, None) => "Str::new()".to_owned(),
        (FieldType::Bytes, _) => "Bytes::new()".to_owned(),
        (FieldType::Records, _) => "RecordsField::Null".to_owned(),
        (FieldType::Uuid, _) => "Uuid::ZERO".to_owned(),
        (FieldType::Array(_), _) => "Vec::new()".to_owned(),
        (kind, _) => format!("{}::default()", base_type(kind)),
    };
    if f.is_optional() { format!("Some({value})") } else { value }
}

fn default_is_natural(f: &Field) -> bool {
    if f.is_optional() {
        return f.default_is_null();
    }
    f.default.is_none()
        || f.kind == FieldType::Records
        || matches!(f.default.as_deref(), Some("0" | "false"))
}
