//! TextAnnotations: what a client says about a text beside it, such as how certain it is. A record keeps each as a tag
//! (`epistemic_status:estimate`), and its hits give it back.
//!
//! Pure.

/// Longest value of an annotation, in bytes of UTF-8. Picked: a sentence.
pub(crate) const ANNOTATION_BYTES: usize = 200;

/// A param of a capture that annotates the text.
#[derive(Debug)]
pub(crate) struct AnnotationKey {
    /// The name of the param, and the beginning of the tag.
    pub(crate) name: &'static str,
    /// The values that it may have; empty if any text is one.
    pub(crate) values: &'static [&'static str],
    /// The value that says nothing and is not kept.
    pub(crate) neutral: &'static str,
}

/// All keys.
pub(crate) static ANNOTATION_KEYS: [AnnotationKey; 5] = [
    AnnotationKey {
        name: "epistemic_status",
        values: &["fact", "estimate", "hypothesis", "opinion", "unknown"],
        neutral: "unknown",
    },
    AnnotationKey { name: "salience_level", values: &["unflagged", "notable", "critical"], neutral: "unflagged" },
    AnnotationKey { name: "next_action", values: &[], neutral: "" },
    AnnotationKey { name: "focus", values: &[], neutral: "" },
    AnnotationKey { name: "goal", values: &[], neutral: "" },
];

impl AnnotationKey {
    /// Returns the tag that keeps a value.
    pub(crate) fn tag(&self, value: &str) -> String {
        format!("{}:{value}", self.name)
    }
}

/// Returns the value of each of [`ANNOTATION_KEYS`] that one of the tags keeps.
pub(crate) fn from_tags(tags: &[String]) -> [Option<String>; ANNOTATION_KEYS.len()] {
    let value = |key: &AnnotationKey| {
        let of_tag = |tag: &String| tag.strip_prefix(key.name)?.strip_prefix(':').map(str::to_owned);
        tags.iter().find_map(of_tag)
    };
    std::array::from_fn(|at| value(&ANNOTATION_KEYS[at]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_keep_each_annotation() {
        let values = ["fact", "notable", "call: Ana", "", "a: b"];
        let mut tags: Vec<String> = ANNOTATION_KEYS.iter().zip(values).map(|(key, value)| key.tag(value)).collect();
        assert_eq!(tags[2], "next_action:call: Ana");
        assert_eq!(from_tags(&tags), values.map(|value| Some(value.to_owned())));
        tags.remove(1);
        tags.extend(["pinned", "focusing:x", "salience_level", ""].map(str::to_owned));
        assert_eq!(from_tags(&tags)[1], None);
    }
}
