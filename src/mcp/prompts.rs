//! The prompts that the bridge offers: requests that a user picks from a menu, in words for the model. Pure.

use super::json_text::{self, ObjectText};
use crate::dispatch::{CallError, Params, code};

/// The result of `prompts/list`.
pub(crate) const PROMPTS: &str = concat!(
    r#"[{"name":"recall","description":"Look up what the memory holds about something","#,
    r#""arguments":[{"name":"about","description":"a question or a topic","required":true}]},"#,
    r#"{"name":"remember","description":"Store what matters, word for word","#,
    r#""arguments":[{"name":"what","description":"the text; without it, what this conversation has settled","required":false}]},"#,
    r#"{"name":"what-changed","description":"Sum up what the memory has taken in lately","#,
    r#""arguments":[{"name":"since","description":"a date or an age such as 3 days; by default the last day","required":false}]}]"#,
);

const RECALL: &str = "\
Call memory_recall with the question below as cue and, in `also`, 5 to 16 other words that the answer may contain. If the \
hits do not settle it, try once more in other words. Answer from the hits: say who said it and when, quote \
literal_surface where the wording matters, and pass over what has valid_to set. If nothing is found, say so.\n\n";

const REMEMBER: &str = "\
Store the following with memory_capture, one fact a call, in words that stand on their own. First look with \
memory_recall whether a record says otherwise; if one does, call memory_contradict with its record_id instead. Then say \
what you have stored.\n\n";

const REMEMBER_CONVERSATION: &str = "\
Go through this conversation and store with memory_capture what a later one should know: decisions and their reasons, \
preferences, corrections, facts about people, projects and machines. One fact a call, in words that stand on their own; \
no secrets, no output of tools, nothing that came from the memory. Correct records that no longer hold with \
memory_contradict. Then say what you have stored.";

const WHAT_CHANGED: &str = "\
Call memory_recall with an empty cue, limit 50, budget_tokens 6000 and, as `since`, the time below in ISO 8601. Sum up \
what the records say, by topic: what was decided, what was corrected or no longer holds, what is still open. Say when, \
and keep it short. Since: ";

/// Returns the messages of a prompt as a JSON text.
///
/// # Errors
/// Code -32602 if there is no such prompt, or an argument is missing or not a string.
pub(crate) fn messages(name: &str, arguments: &Params<'_>) -> Result<String, CallError> {
    let argument = |name: &str| arguments.string_opt(name).map(|text| text.filter(|text| !text.trim().is_empty()));
    let text = match name {
        "recall" => RECALL.to_owned() + &argument("about")?.ok_or_else(|| CallError::missing("about"))?,
        "remember" => match argument("what")? {
            Some(what) => REMEMBER.to_owned() + &what,
            None => REMEMBER_CONVERSATION.to_owned(),
        },
        "what-changed" => WHAT_CHANGED.to_owned() + argument("since")?.as_deref().unwrap_or("24 hours ago"),
        _ => return Err(CallError { code: code::INVALID_PARAMS, message: format!("unknown prompt '{name}'") }),
    };
    let content = ObjectText::new().string("type", "text").string("text", &text).end();
    Ok(json_text::array(&[ObjectText::new().string("role", "user").raw("content", &content).end()]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    #[test]
    fn each_prompt_has_its_messages() {
        let listed: Value = serde_json::from_str(PROMPTS).unwrap();
        let names: Vec<&str> = listed.as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
        assert_eq!(names, ["recall", "remember", "what-changed"]);
        for (name, arguments, end) in [
            ("recall", r#"{"about":"our \"pets\""}"#, "\n\nour \"pets\""),
            ("remember", r#"{"what":"tea is at five"}"#, "\n\ntea is at five"),
            ("remember", r#"{"what":" "}"#, "Then say what you have stored."),
            ("remember", "{}", "Then say what you have stored."),
            ("what-changed", "{}", "Since: 24 hours ago"),
            ("what-changed", r#"{"since":"Monday"}"#, "Since: Monday"),
        ] {
            let got = messages(name, &Params::read(Some(arguments)).unwrap()).unwrap();
            let got: Value = serde_json::from_str(&got).unwrap();
            assert_eq!((&got[0]["role"], &got[0]["content"]["type"]), (&"user".into(), &"text".into()));
            let text = got[0]["content"]["text"].as_str().unwrap();
            assert!(text.ends_with(end), "{name}: {text}");
        }
        for (name, arguments, message) in [
            ("recall", "{}", "missing required param: 'about'"),
            ("recall", r#"{"about":7}"#, "param 'about' must be a string"),
            ("nothing", "{}", "unknown prompt 'nothing'"),
        ] {
            assert_eq!(messages(name, &Params::read(Some(arguments)).unwrap()).unwrap_err().message, message);
        }
    }
}
