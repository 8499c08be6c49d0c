//! Writes JSON texts member by member. A derived serializer generates more code than the few objects need. Pure.

/// The text of an object that is being written.
#[derive(Debug)]
pub(crate) struct ObjectText(String);

impl ObjectText {
    pub(crate) fn new() -> ObjectText {
        ObjectText("{".into())
    }

    /// Appends a member whose value is a JSON text.
    pub(crate) fn raw(&mut self, name: &str, value: &str) -> &mut ObjectText {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        self.0.push_str(&string(name));
        self.0.push(':');
        self.0.push_str(value);
        self
    }

    /// Appends a member whose value is a string.
    pub(crate) fn string(&mut self, name: &str, value: &str) -> &mut ObjectText {
        self.raw(name, &string(value))
    }

    /// Returns the text of the object.
    pub(crate) fn end(&mut self) -> String {
        self.0.push('}');
        std::mem::take(&mut self.0)
    }
}

/// Returns a string as a JSON text.
pub(crate) fn string(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

/// Returns an array of JSON texts.
pub(crate) fn array(items: &[String]) -> String {
    format!("[{}]", items.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_separated_and_strings_escaped() {
        assert_eq!(ObjectText::new().end(), "{}");
        let text = ObjectText::new().string("a", "\"\n").raw("b", &array(&["1".into(), "{}".into()])).end();
        assert_eq!(text, r#"{"a":"\"\n","b":[1,{}]}"#);
    }
}
