//! What a value may be, said once and written as JSON Schema (2020-12).
//!
//! Only what the tools need; nothing here validates. The daemon checks what it is sent.

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;

/// A kind of value.
#[derive(Debug)]
pub(crate) enum Schema {
    /// Anything.
    Any,
    Text,
    /// One of these texts.
    Choice(&'static [&'static str]),
    /// A whole number from the first to the second.
    Integer(i64, i64),
    /// A whole number from 0.
    Count,
    Number,
    /// A number from 0 to 1.
    Share,
    List(&'static Schema),
    /// The same with this many items at most.
    ListUpTo(u32, &'static Schema),
    /// An object whose keys may be any.
    Map(&'static Schema),
    /// An object with these fields; more are allowed.
    Object(&'static [Field]),
    /// The value or null; only around text and numbers.
    Nullable(&'static Schema),
}

/// Must a field be there?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    Always,
    Maybe,
}

/// A field of an object.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) schema: Schema,
    pub(crate) presence: Presence,
    /// What it is where it is not there: a JSON text. `None` where nothing is.
    pub(crate) default: Option<&'static str>,
    /// Empty where the name says it.
    pub(crate) description: &'static str,
}

impl Field {
    /// One that must be there.
    pub(crate) const fn always(name: &'static str, schema: Schema, description: &'static str) -> Field {
        Field { name, schema, presence: Presence::Always, default: None, description }
    }

    /// One that may be there.
    pub(crate) const fn maybe(name: &'static str, schema: Schema, description: &'static str) -> Field {
        Field { name, schema, presence: Presence::Maybe, default: None, description }
    }

    /// One that may be there and else is `default`, a JSON text.
    pub(crate) const fn or(
        name: &'static str,
        schema: Schema,
        default: &'static str,
        description: &'static str,
    ) -> Field {
        Field { name, schema, presence: Presence::Maybe, default: Some(default), description }
    }
}

impl Schema {
    /// The name of its JSON type, where it has one.
    fn kind(&self) -> Option<&'static str> {
        match self {
            Schema::Any => None,
            Schema::Text | Schema::Choice(_) => Some("string"),
            Schema::Integer(..) | Schema::Count => Some("integer"),
            Schema::Number | Schema::Share => Some("number"),
            Schema::List(_) | Schema::ListUpTo(..) => Some("array"),
            Schema::Map(_) | Schema::Object(_) => Some("object"),
            Schema::Nullable(inner) => inner.kind(),
        }
    }

    fn limits<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        match self {
            Schema::Any | Schema::Text | Schema::Number => Ok(()),
            Schema::Choice(of) => map.serialize_entry("enum", of),
            Schema::Integer(least, most) => {
                map.serialize_entry("minimum", least)?;
                map.serialize_entry("maximum", most)
            }
            Schema::Count => map.serialize_entry("minimum", &0),
            Schema::Share => {
                map.serialize_entry("minimum", &0)?;
                map.serialize_entry("maximum", &1)
            }
            Schema::List(items) => map.serialize_entry("items", items),
            Schema::ListUpTo(most, items) => {
                map.serialize_entry("items", items)?;
                map.serialize_entry("maxItems", most)
            }
            Schema::Map(values) => map.serialize_entry("additionalProperties", values),
            Schema::Object(fields) => {
                map.serialize_entry("properties", &Properties(fields))?;
                let required: Vec<_> =
                    fields.iter().filter(|field| field.presence == Presence::Always).map(|field| field.name).collect();
                if required.is_empty() { Ok(()) } else { map.serialize_entry("required", &required) }
            }
            Schema::Nullable(inner) => inner.limits(map),
        }
    }

    fn entries<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        match (self, self.kind()) {
            (Schema::Nullable(_), Some(kind)) => map.serialize_entry("type", &[kind, "null"])?,
            (_, Some(kind)) => map.serialize_entry("type", kind)?,
            (_, None) => {}
        }
        self.limits(map)
    }
}

impl Serialize for Schema {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.entries(&mut map)?;
        map.end()
    }
}

impl Serialize for Field {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.schema.entries(&mut map)?;
        if let Some(default) = self.default {
            let default: &RawValue = serde_json::from_str(default).map_err(serde::ser::Error::custom)?;
            map.serialize_entry("default", default)?;
        }
        if !self.description.is_empty() {
            map.serialize_entry("description", self.description)?;
        }
        map.end()
    }
}

struct Properties(&'static [Field]);

impl Serialize for Properties {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|field| (field.name, field)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn rendered(schema: &Schema) -> Value {
        serde_json::to_value(schema).unwrap()
    }

    #[test]
    fn each_kind_is_its_json_schema() {
        const FIELDS: &[Field] = &[
            Field::always("a", Schema::Text, "the first"),
            Field::or("b", Schema::Integer(1, 9), "3", ""),
            Field::maybe("c", Schema::Any, ""),
        ];
        for (schema, want) in [
            (Schema::Any, json!({})),
            (Schema::Text, json!({"type": "string"})),
            (Schema::Choice(&["x", "y"]), json!({"type": "string", "enum": ["x", "y"]})),
            (Schema::Integer(1, 5), json!({"type": "integer", "minimum": 1, "maximum": 5})),
            (Schema::Count, json!({"type": "integer", "minimum": 0})),
            (Schema::Number, json!({"type": "number"})),
            (Schema::Share, json!({"type": "number", "minimum": 0, "maximum": 1})),
            (Schema::List(&Schema::Text), json!({"type": "array", "items": {"type": "string"}})),
            (Schema::ListUpTo(2, &Schema::Any), json!({"type": "array", "items": {}, "maxItems": 2})),
            (Schema::Map(&Schema::Number), json!({"type": "object", "additionalProperties": {"type": "number"}})),
            (Schema::Nullable(&Schema::Share), json!({"type": ["number", "null"], "minimum": 0, "maximum": 1})),
            (Schema::Object(&[]), json!({"type": "object", "properties": {}})),
            (
                Schema::Object(FIELDS),
                json!({
                    "type": "object",
                    "properties": {
                        "a": {"type": "string", "description": "the first"},
                        "b": {"type": "integer", "minimum": 1, "maximum": 9, "default": 3},
                        "c": {},
                    },
                    "required": ["a"],
                }),
            ),
        ] {
            assert_eq!(rendered(&schema), want);
        }
    }
}
