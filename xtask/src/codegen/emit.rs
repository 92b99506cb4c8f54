//! Rust for one message: how its structs are read and written, and values for tests.
//! The text is formatted by rustfmt afterwards.

use std::fmt::Write as _;

use super::emit_struct::{base_type, declaration, default};
use super::schema::{Field, FieldType, Schema, Struct};
use super::versions::{Condition, Versions};
use super::{header, names};

/// The text of a message's file.
pub(crate) fn message(schema: &Schema) -> String {
    let name = &schema.name;
    let mut out = header(&format!("schema {name}")) + "use klamm_codec::prelude::*;\n";
    if schema.kind == "request" {
        out += "\nuse crate::{ApiKey, Request};\n";
    }
    for s in &schema.structs {
        out += &declaration(schema, s);
    }
    let (lowest, highest) = (schema.valid.lowest, schema.valid.highest);
    let flexible_from =
        schema.flexible_from.map_or_else(|| "None".to_owned(), |v| format!("Some({v})"));
    let _ = write!(
        out,
        "\nimpl Message for {name} {{
            const NAME: &'static str = \"{name}\";
            const VERSIONS: std::ops::RangeInclusive<i16> = {lowest}..={highest};
            const FLEXIBLE_FROM: Option<i16> = {flexible_from};
        }}\n"
    );
    if let Some(stem) = name.strip_suffix("Request").filter(|_| schema.kind == "request") {
        let response = format!("{stem}Response");
        let module = names::snake(&response);
        let _ = write!(
            out,
            "\nimpl Request for {name} {{
                const KEY: ApiKey = ApiKey::{stem};
                type Response = super::{module}::{response};
            }}\n"
        );
    }
    for s in &schema.structs {
        out += &element(schema, s);
        out += &arbitrary(s);
    }
    out
}

/// An expression that says whether a field has its default value.
fn is_default(f: &Field) -> String {
    let place = format!("self.{}", f.name);
    if f.is_optional() {
        return match (&f.kind, &f.default) {
            _ if f.default_is_null() => format!("{place}.is_none()"),
            (FieldType::String, Some(text)) => {
                format!("{place}.as_ref().is_some_and(|value| *value == {text:?})")
            }
            (FieldType::Struct(name), _) => {
                format!("{place}.as_ref().is_some_and(|value| *value == {name}::default())")
            }
            _ => format!("{place}.as_ref().is_some_and(|value| value.is_empty())"),
        };
    }
    match (&f.kind, &f.default) {
        (FieldType::Bool, Some(value)) if value == "true" => place,
        (FieldType::Bool, _) => format!("!{place}"),
        (FieldType::String, Some(text)) => format!("{place} == {text:?}"),
        (FieldType::String | FieldType::Bytes | FieldType::Array(_), _) => {
            format!("{place}.is_empty()")
        }
        _ => format!("{place} == {}", default(f)),
    }
}

/// The opposite of [`is_default`], without a needless `!`.
fn is_not_default(f: &Field) -> String {
    let text = is_default(f);
    if let Some(rest) = text.strip_prefix('!') {
        return rest.to_owned();
    }
    if text.contains("|value|") {
        return text
            .replace("is_some_and(|value| *value ==", "is_none_or(|value| *value !=")
            .replace("is_some_and(|value| value", "is_none_or(|value| !value");
    }
    if text.contains(" == ") {
        return text.replace(" == ", " != ");
    }
    if f.default_is_null() && f.is_optional() {
        return text.replace("is_none", "is_some");
    }
    format!("!{text}")
}

fn form(f: &Field) -> &'static str {
    if f.inflexible { "form.inflexible()" } else { "form" }
}

/// When null may be told, in those versions that have the field.
fn null_condition(f: &Field) -> Condition {
    f.nullable.map_or(Condition::Never, |nullable| nullable.within(f.versions))
}

/// An expression that reads the field, in versions that have it.
fn read(f: &Field) -> String {
    let form = form(f);
    let plain = match &f.kind {
        FieldType::String => format!("r.string({form})?"),
        FieldType::Bytes => format!("r.bytes({form})?"),
        FieldType::Records => format!("r.records({form})?"),
        FieldType::Array(_) => format!("r.array({form})?"),
        FieldType::Struct(name) => format!("{name}::read(r, {form})?"),
        kind => format!("r.{}()?", base_type(kind).to_lowercase()),
    };
    let nullable = match &f.kind {
        FieldType::Struct(_) if f.tag.is_some() => format!("r.tagged_nullable_struct({form})?"),
        FieldType::Struct(_) => format!("r.nullable_struct({form})?"),
        _ => plain.replacen("r.", "r.nullable_", 1),
    };
    let plain = if f.is_optional() { format!("Some({plain})") } else { plain };
    match null_condition(f) {
        Condition::Never => plain,
        Condition::Always => nullable,
        Condition::When(when) => format!("if {when} {{ {nullable} }} else {{ {plain} }}"),
    }
}

/// A call that writes the field, and whether it can fail.
fn write_call(f: &Field) -> (String, bool) {
    let (form, name) = (form(f), &f.name);
    let text = match (&f.kind, f.is_optional()) {
        (FieldType::String, false) => format!("w.string(&self.{name}, {form})"),
        (FieldType::String, true) => format!("w.nullable_string(self.{name}.as_ref(), {form})"),
        (FieldType::Bytes, false) => format!("w.bytes(&self.{name}, {form})"),
        (FieldType::Bytes, true) => format!("w.nullable_bytes(self.{name}.as_ref(), {form})"),
        (FieldType::Records, _) => format!("w.records(&self.{name}, {form})"),
        (FieldType::Array(_), false) => format!("w.array(&self.{name}, {form})"),
        (FieldType::Array(_), true) => format!("w.nullable_array(self.{name}.as_deref(), {form})"),
        (FieldType::Struct(_), false) => format!("self.{name}.write(w, {form})"),
        (FieldType::Struct(_), true) if f.tag.is_some() => {
            format!("w.tagged_nullable_struct(self.{name}.as_ref(), {form})")
        }
        (FieldType::Struct(_), true) => {
            format!("w.nullable_struct(self.{name}.as_ref(), {form})")
        }
        (kind, _) => {
            return (format!("w.{}(self.{name})", base_type(kind).to_lowercase()), false);
        }
    };
    (text, true)
}

/// Statements that write a field that is not tagged.
fn write_field(s: &Struct, f: &Field) -> String {
    let (call, fallible) = write_call(f);
    let mut present = String::new();
    let has_null = f.is_optional() || f.kind == FieldType::Records;
    let value = match f.kind {
        FieldType::Records => format!("self.{} != RecordsField::Null", f.name),
        _ => format!("self.{}.is_some()", f.name),
    };
    let field = format!("\"{}.{}\", form.version", s.name, f.name);
    match null_condition(f) {
        Condition::Never if has_null => {
            let _ = write!(present, "present({value}, {field})?;");
        }
        Condition::When(when) => {
            let _ = write!(present, "present({when} || {value}, {field})?;");
        }
        Condition::Never | Condition::Always => {}
    }
    present += &call;
    present += if fallible { "?;\n" } else { ";\n" };
    match f.versions.within(s.versions) {
        Condition::When(when) if f.ignorable => format!("if {when} {{ {present} }}\n"),
        Condition::When(when) => {
            format!("if {when} {{ {present} }} else {{ absent({}, {field})?; }}\n", is_default(f))
        }
        _ => present,
    }
}

/// Statements that end a struct: its tagged fields in the order of their tags.
fn write_end(schema: &Schema, s: &Struct) -> String {
    let flexible = flexible_condition(schema, s);
    let mut tagged: Vec<_> = s.fields.iter().filter(|f| f.tag.is_some()).collect();
    tagged.sort_by_key(|f| f.tag);
    let mut out = String::new();
    for f in &tagged {
        let when = f.versions.within(s.versions);
        if let (Condition::When(when), false) = (when, f.ignorable) {
            let _ = writeln!(
                out,
                "absent({when} || {}, \"{}.{}\", form.version)?;",
                is_default(f),
                s.name,
                f.name
            );
        }
    }
    match (flexible, tagged.is_empty()) {
        (Condition::Never, _) => {}
        (_, true) => out += "w.end_struct(form);\n",
        (Condition::Always, false) => out += &write_tags(tag_scope(schema, s), &tagged),
        (Condition::When(when), false) => {
            let _ = writeln!(out, "if {when} {{ {} }}", write_tags(tag_scope(schema, s), &tagged));
        }
    }
    out
}

fn flexible_condition(schema: &Schema, s: &Struct) -> Condition {
    schema.flexible_from.map_or(Condition::Never, |lowest| {
        Versions { lowest, highest: i16::MAX }.within(s.versions)
    })
}

/// The versions of the struct in which it ends with tagged fields.
fn tag_scope(schema: &Schema, s: &Struct) -> Versions {
    let lowest = schema.flexible_from.unwrap_or(s.versions.lowest).max(s.versions.lowest);
    Versions { lowest, highest: s.versions.highest }
}

fn write_tags(flexible: Versions, tagged: &[&Field]) -> String {
    let mut out = "let mut tags = w.tags();\n".to_owned();
    for f in tagged {
        let (call, fallible) = write_call(f);
        let body = if fallible { call } else { format!("{{ {call}; Ok(()) }}") };
        let mut when = is_not_default(f);
        if let Condition::When(version) = f.versions.within(flexible) {
            when = format!("{version} && {when}");
        }
        let tag = f.tag.expect("only tagged fields are given");
        let _ = writeln!(out, "if {when} {{ tags.field({tag}, |w| {body})?; }}");
    }
    out
}

fn element(schema: &Schema, s: &Struct) -> String {
    let mut fields = String::new();
    let mut arms = String::new();
    for f in &s.fields {
        let when = f.versions.within(s.versions);
        if let Some(tag) = f.tag {
            let _ = write!(fields, "{}: {},", f.name, default(f));
            let guard =
                if let Condition::When(when) = when { format!("if {when}") } else { String::new() };
            let _ = writeln!(arms, "{tag} {guard} => {{ value.{} = {}; }}", f.name, read(f));
        } else if let Condition::When(when) = when {
            let _ = write!(
                fields,
                "{}: if {when} {{ {} }} else {{ {} }},",
                f.name,
                read(f),
                default(f)
            );
        } else {
            let _ = write!(fields, "{}: {},", f.name, read(f));
        }
    }
    let flexible = flexible_condition(schema, s) != Condition::Never;
    let end = if !flexible {
        format!("Ok(Self {{ {fields} }})")
    } else if arms.is_empty() {
        format!("let value = Self {{ {fields} }};\nr.end_struct(form)?;\nOk(value)")
    } else {
        format!(
            "let mut value = Self {{ {fields} }};
            r.tags(form, |r, tag| {{ match tag {{ {arms} _ => return Ok(false), }} Ok(true) }})?;
            Ok(value)"
        )
    };
    let writes: String =
        s.fields.iter().filter(|f| f.tag.is_none()).map(|f| write_field(s, f)).collect();
    let body = format!("{writes}{}Ok(())", write_end(schema, s));
    let bytes_min = bytes_min(schema, s);
    let unused =
        |text: &str, name: &str| if uses(text, name) { name.to_owned() } else { "_".to_owned() };
    format!(
        "\nimpl Element for {} {{
            fn bytes_min({}: Form) -> usize {{ {bytes_min} }}

            fn read({}: &mut Reader, {}: Form) -> Result<Self, DecodeError> {{ {end} }}

            fn write(&self, {}: &mut Writer, {}: Form) -> Result<(), EncodeError> {{ {body} }}
        }}\n",
        s.name,
        unused(&bytes_min, "form"),
        unused(&end, "r"),
        unused(&end, "form"),
        unused(&body, "w"),
        unused(&body, "form"),
    )
}

/// Whether `text` has the identifier `name`.
fn uses(text: &str, name: &str) -> bool {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == name)
}

/// An expression for the fewest bytes that the struct takes in `form`.
fn bytes_min(schema: &Schema, s: &Struct) -> String {
    let mut ranges: Vec<(i16, usize)> = Vec::new();
    for version in s.versions.lowest..=s.versions.highest {
        let bytes = struct_bytes_min(schema, s, version);
        match ranges.last_mut() {
            Some((highest, last)) if *last == bytes => *highest = version,
            _ => ranges.push((version, bytes)),
        }
    }
    let Some((_, last)) = ranges.pop() else { return "1".to_owned() };
    if ranges.is_empty() {
        return last.to_string();
    }
    let mut out = "match form.version {".to_owned();
    let mut lowest = String::new();
    for (highest, bytes) in ranges {
        let range =
            if lowest == highest.to_string() { lowest } else { format!("{lowest}..={highest}") };
        let _ = write!(out, "{range} => {bytes},");
        lowest = (highest + 1).to_string();
    }
    let _ = write!(out, "_ => {last} }}");
    out
}

fn struct_bytes_min(schema: &Schema, s: &Struct, version: i16) -> usize {
    let flexible = schema.flexible_from.is_some_and(|from| version >= from);
    let present = s.fields.iter().filter(|f| f.tag.is_none() && f.versions.contains(version));
    let fields = present.map(|f| match (&f.kind, f.nullable) {
        (FieldType::Struct(_), Some(_)) => 1,
        (FieldType::Struct(name), None) => {
            struct_bytes_min(schema, schema.find_struct(name), version)
        }
        (FieldType::Bool | FieldType::Int8, _) => 1,
        (FieldType::Int16 | FieldType::Uint16, _) => 2,
        (FieldType::Int32 | FieldType::Uint32, _) => 4,
        (FieldType::Int64 | FieldType::Float64, _) => 8,
        (FieldType::Uuid, _) => 16,
        (FieldType::String, _) => {
            if flexible && !f.inflexible {
                1
            } else {
                2
            }
        }
        (FieldType::Bytes | FieldType::Records | FieldType::Array(_), _) => {
            if flexible && !f.inflexible { 1 } else { 4 }
        }
    });
    fields.sum::<usize>() + usize::from(flexible)
}

fn arbitrary(s: &Struct) -> String {
    let mut fields = String::new();
    for f in &s.fields {
        let nullable = match f.kind {
            FieldType::Records => "source.nullable_records(form)".to_owned(),
            _ => "source.value(form)".to_owned(),
        };
        let plain = if f.is_optional() { "Some(source.value(form))" } else { "source.value(form)" };
        let value = match null_condition(f) {
            Condition::Never => plain.to_owned(),
            Condition::Always => nullable,
            Condition::When(when) => format!("if {when} {{ {nullable} }} else {{ {plain} }}"),
        };
        let value = match f.versions.within(s.versions) {
            Condition::When(when) => format!("if {when} {{ {value} }} else {{ {} }}", default(f)),
            _ => value,
        };
        let _ = write!(fields, "{}: {value},", f.name);
    }
    let form = if uses(&fields, "form") { "form" } else { "_" };
    let source = if uses(&fields, "source") { "source" } else { "_" };
    format!(
        "\n#[cfg(feature = \"arbitrary\")]
        impl Arbitrary for {} {{
            fn arbitrary({source}: &mut Source, {form}: Form) -> Self {{ Self {{ {fields} }} }}
        }}\n",
        s.name
    )
}
