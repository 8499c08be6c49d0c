//! Types of tool arguments and results, serialized as JSON Schema (2020-12).
//!
//! Only the constructs that the tools need. Nothing is validated here; the daemon checks its params.

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;

/// The type of a value.
#[derive(Debug)]
pub(crate) enum JsonSchema {
    /// Any value.
    Any,
    /// A string.
    Text,
    /// One of these strings.
    Choice(&'static [&'static str]),
    /// An integer from the first number to the second, inclusive.
    Integer(i64, i64),
    /// An integer of at least 0.
    Count,
    Number,
    /// A number from 0 to 1.
    Fraction,
    /// An array.
    List(&'static JsonSchema),
    /// An array of at most this many items.
    ListUpTo(u32, &'static JsonSchema),
    /// An object with arbitrary keys and values of this type.
    Map(&'static JsonSchema),
    /// An object with these fields. Further fields are allowed.
    Object(&'static [SchemaField]),
    /// The value or null. Only for strings and numbers.
    Nullable(&'static JsonSchema),
}

/// Whether a field must be present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    Required,
    Optional,
}

/// A field of an object.
#[derive(Debug)]
pub(crate) struct SchemaField {
    pub(crate) name: &'static str,
    pub(crate) schema: JsonSchema,
    pub(crate) presence: Presence,
    /// The value if it is absent, as a JSON text. `None` if there is no default.
    pub(crate) default: Option<&'static str>,
    /// Empty if the name is enough.
    pub(crate) description: &'static str,
}

impl SchemaField {
    /// Creates a required field.
    pub(crate) const fn required(name: &'static str, schema: JsonSchema, description: &'static str) -> SchemaField {
        SchemaField { name, schema, presence: Presence::Required, default: None, description }
    }

    /// Creates an optional field without a default.
    pub(crate) const fn optional(name: &'static str, schema: JsonSchema, description: &'static str) -> SchemaField {
        SchemaField { name, schema, presence: Presence::Optional, default: None, description }
    }

    /// Creates an optional field with a default, a JSON text.
    pub(crate) const fn with_default(
        name: &'static str,
        schema: JsonSchema,
        default: &'static str,
        description: &'static str,
    ) -> SchemaField {
        SchemaField { name, schema, presence: Presence::Optional, default: Some(default), description }
    }
}

impl JsonSchema {
    /// Returns the name of the JSON type, or `None` for any type.
    fn type_name(&self) -> Option<&'static str> {
        match self {
            JsonSchema::Any => None,
            JsonSchema::Text | JsonSchema::Choice(_) => Some("string"),
            JsonSchema::Integer(..) | JsonSchema::Count => Some("integer"),
            JsonSchema::Number | JsonSchema::Fraction => Some("number"),
            JsonSchema::List(_) | JsonSchema::ListUpTo(..) => Some("array"),
            JsonSchema::Map(_) | JsonSchema::Object(_) => Some("object"),
            JsonSchema::Nullable(inner) => inner.type_name(),
        }
    }

    fn limits<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        match self {
            JsonSchema::Any | JsonSchema::Text | JsonSchema::Number => Ok(()),
            JsonSchema::Choice(values) => map.serialize_entry("enum", values),
            JsonSchema::Integer(least, most) => {
                map.serialize_entry("minimum", least)?;
                map.serialize_entry("maximum", most)
            }
            JsonSchema::Count => map.serialize_entry("minimum", &0),
            JsonSchema::Fraction => {
                map.serialize_entry("minimum", &0)?;
                map.serialize_entry("maximum", &1)
            }
            JsonSchema::List(items) => map.serialize_entry("items", items),
            JsonSchema::ListUpTo(most, items) => {
                map.serialize_entry("items", items)?;
                map.serialize_entry("maxItems", most)
            }
            JsonSchema::Map(values) => map.serialize_entry("additionalProperties", values),
            JsonSchema::Object(fields) => {
                map.serialize_entry("properties", &Properties(fields))?;
                let required: Vec<_> = fields
                    .iter()
                    .filter(|field| field.presence == Presence::Required)
                    .map(|field| field.name)
                    .collect();
                if required.is_empty() { Ok(()) } else { map.serialize_entry("required", &required) }
            }
            JsonSchema::Nullable(inner) => inner.limits(map),
        }
    }

    fn entries<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        match (self, self.type_name()) {
            (JsonSchema::Nullable(_), Some(name)) => map.serialize_entry("type", &[name, "null"])?,
            (_, Some(name)) => map.serialize_entry("type", name)?,
            (_, None) => {}
        }
        self.limits(map)
    }
}

impl Serialize for JsonSchema {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.entries(&mut map)?;
        map.end()
    }
}

impl Serialize for SchemaField {
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

struct Properties(&'static [SchemaField]);

impl Serialize for Properties {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|field| (field.name, field)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn rendered(schema: &JsonSchema) -> Value {
        serde_json::to_value(schema).unwrap()
    }

    #[test]
    fn each_type_is_its_json_schema() {
        const FIELDS: &[SchemaField] = &[
            SchemaField::required("a", JsonSchema::Text, "the first"),
            SchemaField::with_default("b", JsonSchema::Integer(1, 9), "3", ""),
            SchemaField::optional("c", JsonSchema::Any, ""),
        ];
        for (schema, want) in [
            (JsonSchema::Any, json!({})),
            (JsonSchema::Text, json!({"type": "string"})),
            (JsonSchema::Choice(&["x", "y"]), json!({"type": "string", "enum": ["x", "y"]})),
            (JsonSchema::Integer(1, 5), json!({"type": "integer", "minimum": 1, "maximum": 5})),
            (JsonSchema::Count, json!({"type": "integer", "minimum": 0})),
            (JsonSchema::Number, json!({"type": "number"})),
            (JsonSchema::Fraction, json!({"type": "number", "minimum": 0, "maximum": 1})),
            (JsonSchema::List(&JsonSchema::Text), json!({"type": "array", "items": {"type": "string"}})),
            (JsonSchema::ListUpTo(2, &JsonSchema::Any), json!({"type": "array", "items": {}, "maxItems": 2})),
            (
                JsonSchema::Map(&JsonSchema::Number),
                json!({"type": "object", "additionalProperties": {"type": "number"}}),
            ),
            (
                JsonSchema::Nullable(&JsonSchema::Fraction),
                json!({"type": ["number", "null"], "minimum": 0, "maximum": 1}),
            ),
            (JsonSchema::Object(&[]), json!({"type": "object", "properties": {}})),
            (
                JsonSchema::Object(FIELDS),
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
