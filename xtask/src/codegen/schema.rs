//! Kafka's message schemas as types. Reads their JSON, which has comments; writes nothing.

use serde::Deserialize;

use super::names;
use super::versions::Versions;

/// A message and its structs.
pub(crate) struct Schema {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) api_key: Option<i16>,
    pub(crate) valid: Versions,
    pub(crate) flexible_from: Option<i16>,
    pub(crate) latest_version_unstable: bool,
    pub(crate) listeners: Vec<String>,
    /// The message itself first, then the structs in it.
    pub(crate) structs: Vec<Struct>,
}

pub(crate) struct Struct {
    pub(crate) name: String,
    pub(crate) versions: Versions,
    pub(crate) fields: Vec<Field>,
}

pub(crate) struct Field {
    /// As in the schema.
    pub(crate) schema_name: String,
    /// As in Rust.
    pub(crate) name: String,
    pub(crate) kind: FieldType,
    /// Those of the struct's versions that have the field.
    pub(crate) versions: Versions,
    pub(crate) nullable: Option<Versions>,
    pub(crate) tag: Option<u32>,
    pub(crate) default: Option<String>,
    pub(crate) ignorable: bool,
    /// Whether the field keeps fixed-width lengths in flexible versions.
    pub(crate) inflexible: bool,
}

impl Field {
    /// Whether the Rust type has room for null. Records have a null of their own.
    pub(crate) fn is_optional(&self) -> bool {
        self.nullable.is_some() && self.kind != FieldType::Records
    }

    pub(crate) fn default_is_null(&self) -> bool {
        self.default.as_deref() == Some("null")
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FieldType {
    Bool,
    Int8,
    Int16,
    Uint16,
    Int32,
    Uint32,
    Int64,
    Float64,
    String,
    Bytes,
    Records,
    Uuid,
    Struct(String),
    Array(Box<FieldType>),
}

impl FieldType {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(match text {
            "bool" => Self::Bool,
            "int8" => Self::Int8,
            "int16" => Self::Int16,
            "uint16" => Self::Uint16,
            "int32" => Self::Int32,
            "uint32" => Self::Uint32,
            "int64" => Self::Int64,
            "float64" => Self::Float64,
            "string" => Self::String,
            "bytes" => Self::Bytes,
            "records" => Self::Records,
            "uuid" => Self::Uuid,
            _ => match text.strip_prefix("[]") {
                Some(element) => Self::Array(Box::new(Self::parse(element)?)),
                None if text.starts_with(|c: char| c.is_ascii_uppercase()) => {
                    Self::Struct(text.to_owned())
                }
                None => return Err(format!("'{text}' is no type")),
            },
        })
    }

    /// The struct that values of this type are or hold.
    pub(crate) fn struct_name(&self) -> Option<&str> {
        match self {
            Self::Struct(name) => Some(name),
            Self::Array(element) => element.struct_name(),
            _ => None,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawSchema {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    api_key: Option<i16>,
    valid_versions: String,
    flexible_versions: Option<String>,
    #[serde(default)]
    latest_version_unstable: bool,
    #[serde(default)]
    listeners: Vec<String>,
    #[serde(default)]
    fields: Vec<RawField>,
    #[serde(default)]
    common_structs: Vec<RawStruct>,
}

#[derive(Deserialize)]
struct RawStruct {
    name: String,
    versions: String,
    fields: Vec<RawField>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawField {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    versions: Option<String>,
    nullable_versions: Option<String>,
    tagged_versions: Option<String>,
    flexible_versions: Option<String>,
    tag: Option<u32>,
    // JSON's null without quotes is no default at all, for Kafka's generator too: a nullable
    // struct then starts out empty, not null. Only the text "null" makes null the default.
    default: Option<serde_json::Value>,
    #[serde(default)]
    ignorable: bool,
    #[serde(default)]
    fields: Vec<RawField>,
}

/// Reads a schema; `Ok(None)` is one without any version left.
pub(crate) fn parse(text: &str) -> Result<Option<Schema>, String> {
    let raw: RawSchema =
        serde_json::from_str(&without_comments(text)).map_err(|error| error.to_string())?;
    let Some(valid) = Versions::parse(&raw.valid_versions)? else { return Ok(None) };
    let flexible = raw.flexible_versions.as_deref().map_or(Ok(None), Versions::parse)?;
    let mut schema = Schema {
        flexible_from: flexible.and_then(|flexible| flexible.intersect(valid)).map(|v| v.lowest),
        kind: raw.kind,
        api_key: raw.api_key,
        latest_version_unstable: raw.latest_version_unstable,
        listeners: raw.listeners,
        structs: Vec::new(),
        name: raw.name.clone(),
        valid,
    };
    schema.add_struct(&raw.name, valid, &raw.fields)?;
    for common in &raw.common_structs {
        let versions = Versions::parse(&common.versions)?.and_then(|v| v.intersect(valid));
        if let Some(versions) = versions {
            schema.add_struct(&common.name, versions, &common.fields)?;
        }
    }
    schema.check()?;
    Ok(Some(schema))
}

impl Schema {
    fn add_struct(
        &mut self,
        name: &str,
        versions: Versions,
        fields: &[RawField],
    ) -> Result<(), String> {
        let mut parsed = Vec::new();
        let mut inner = Vec::new();
        for raw in fields {
            let field = parse_field(raw, versions)
                .map_err(|error| format!("{name}.{}: {error}", raw.name))?;
            let Some(field) = field else { continue };
            if let (Some(struct_name), false) = (field.kind.struct_name(), raw.fields.is_empty()) {
                inner.push((struct_name.to_owned(), field.versions, &raw.fields));
            }
            parsed.push(field);
        }
        self.structs.push(Struct { name: name.to_owned(), versions, fields: parsed });
        inner
            .iter()
            .try_for_each(|(name, versions, fields)| self.add_struct(name, *versions, fields))
    }

    pub(crate) fn find_struct(&self, name: &str) -> &Struct {
        self.structs
            .iter()
            .find(|s| s.name == name)
            .expect("`check` has found every struct that a field names")
    }

    /// What the generated code takes for granted.
    fn check(&self) -> Result<(), String> {
        for (i, s) in self.structs.iter().enumerate() {
            if self.structs[..i].iter().any(|other| other.name == s.name) {
                return Err(format!("struct {} is declared twice", s.name));
            }
            for field in &s.fields {
                let Some(name) = field.kind.struct_name() else { continue };
                let inner = self.structs.iter().find(|s| s.name == name);
                let inner = inner.ok_or_else(|| format!("struct {name} is not declared"))?;
                if inner.versions.intersect(field.versions) != Some(field.versions) {
                    return Err(format!("{}.{} is older than {name}", s.name, field.schema_name));
                }
            }
        }
        Ok(())
    }
}

/// Reads a field; `Ok(None)` is one that no version of the struct has.
fn parse_field(raw: &RawField, scope: Versions) -> Result<Option<Field>, String> {
    let range = |text: &Option<String>| text.as_deref().map_or(Ok(None), Versions::parse);
    let tagged = range(&raw.tagged_versions)?;
    let versions = range(&raw.versions)?.or(tagged).ok_or("no versions")?;
    let Some(versions) = versions.intersect(scope) else { return Ok(None) };
    if tagged.is_some_and(|tagged| tagged.intersect(scope) != Some(versions)) {
        return Err("tagged in some of its versions only".to_owned());
    }
    let inflexible = raw.flexible_versions.as_deref() == Some("none");
    if raw.flexible_versions.is_some() && !inflexible {
        return Err("flexible versions of its own".to_owned());
    }
    let kind = FieldType::parse(&raw.kind)?;
    let nullable = range(&raw.nullable_versions)?.and_then(|v| v.intersect(versions));
    if matches!(kind, FieldType::Struct(_)) && nullable.is_some_and(|v| v != versions) {
        return Err("a struct that is nullable in some of its versions only".to_owned());
    }
    let default = raw.default.as_ref().map(|value| match value {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    });
    Ok(Some(Field {
        schema_name: raw.name.clone(),
        name: names::field(&raw.name),
        kind,
        versions,
        nullable,
        tag: tagged.and(raw.tag),
        default: default.filter(|text| !text.is_empty()),
        ignorable: raw.ignorable,
        inflexible,
    }))
}

/// Blanks `//` and `/* */` outside of texts.
fn without_comments(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(['"', '/']) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if rest.starts_with('"') {
            let length = text_length(rest);
            out.push_str(&rest[..length]);
            length
        } else {
            out.push('/');
            1
        };
        rest = &rest[length..];
    }
    out.push_str(rest);
    out
}

/// Length of the quoted text that `rest` starts with, quotes included.
fn text_length(rest: &str) -> usize {
    let mut escaped = false;
    for (i, c) in rest.char_indices().skip(1) {
        match c {
            '"' if !escaped => return i + 1,
            '\\' => escaped = !escaped,
            _ => escaped = false,
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_go_and_texts_stay() {
        assert_eq!(without_comments("{ // x \"y\"\n\"a//b\": 1 /* z */ }"), "{ \n\"a//b\": 1  }");
        assert_eq!(without_comments(r#""a\"//b" // c"#), r#""a\"//b" "#);
    }

    #[test]
    fn a_schema_without_versions_is_left_out() {
        let text = r#"{"name": "X", "type": "request", "validVersions": "none"}"#;
        assert!(parse(text).unwrap().is_none());
    }

    #[test]
    fn only_null_in_quotes_makes_null_the_default() {
        let default = |value: &str| {
            let text = format!(
                r#"{{"name": "X", "type": "data", "validVersions": "0", "fields": [{{"name": "A",
                "type": "string", "versions": "0+", "nullableVersions": "0+", "default": {value}}}]}}"#
            );
            parse(&text).unwrap().unwrap().structs[0].fields[0].default_is_null()
        };
        assert!(default("\"null\""));
        assert!(!default("null"));
    }

    #[test]
    fn a_field_of_an_unknown_type_is_refused() {
        let text = r#"{"name": "X", "type": "data", "validVersions": "0",
            "fields": [{"name": "A", "type": "int128", "versions": "0+"}]}"#;
        assert_eq!(parse(text).err().as_deref(), Some("X.A: 'int128' is no type"));
        assert!(parse(&text.replace("int128", "Missing")).is_err());
    }
}
