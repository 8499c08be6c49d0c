//! The hooks of the assistants, which all have Claude Code's format. Pure.
//!
//! A handler is ours if its command is `iaid hook EVENT` with the options that install writes, whatever the folder of the
//! program. Its command is updated in place, so that a timeout or matcher that the user has set stays. A handler that runs
//! `iaid hook` in another form is the user's: it is kept, and no second one is added to its event.

use serde_json::json;

use super::invocation::Invocation;
use super::json_edit::{EditError, JsonDocument};
use super::shell_words::{arguments, is_this_program, words};
use crate::cli::support::assistants::{AssistantRules, HOOK_EVENTS};
use crate::transcript::Assistant;

const HOOKS: &str = "hooks";

/// A handler that runs this program.
struct Handler {
    /// Index of the group among those of the event.
    group: usize,
    /// Index of the handler in the group.
    at: usize,
    command: String,
}

/// Returns event and command of each of our handlers.
///
/// # Errors
/// [`EditError::NotJson`] if the text is not a JSON object.
pub(crate) fn commands(text: &str, assistant: Assistant) -> Result<Vec<(String, String)>, EditError> {
    let json = document(text, assistant)?;
    let of_event =
        |event: String| handlers(&json, &event).into_iter().map(move |handler| (event.clone(), handler.command));
    Ok(json.keys(&[HOOKS]).into_iter().flat_map(of_event).collect())
}

/// Returns the commands that run a hook of this program in a form that install does not write.
///
/// # Errors
/// [`EditError::NotJson`] if the text is not a JSON object.
pub(crate) fn variants(text: &str, assistant: Assistant) -> Result<Vec<String>, EditError> {
    let json = document(text, assistant)?;
    let of_event = |event: String| handlers_that(&json, &event, is_variant).into_iter().map(|handler| handler.command);
    Ok(json.keys(&[HOOKS]).into_iter().flat_map(of_event).collect())
}

/// Returns the text with one handler of ours for each event.
///
/// # Errors
/// [`EditError::NotJson`] if the text is not a JSON object; [`EditError::WrongType`] if a value on the path to the handlers
/// is not an object or array.
pub(crate) fn enter(text: &str, assistant: Assistant, call: &Invocation) -> Result<String, EditError> {
    let mut json = document(text, assistant)?;
    let rules = AssistantRules::of(assistant);
    for event in json.keys(&[HOOKS]) {
        let is_wanted = rules.named_events().any(|(theirs, _)| theirs == event);
        // A second handler would do the same once more.
        for handler in handlers(&json, &event).iter().skip(usize::from(is_wanted)).rev() {
            take_out(&mut json, &event, handler)?;
        }
    }
    for (event, ours) in rules.named_events() {
        let wanted = call.hook(ours, assistant);
        match handlers(&json, event).first() {
            Some(handler) if handler.command == wanted => {}
            Some(handler) => {
                edit(&mut json, event, handler.group, |group| {
                    let mut entry = JsonDocument::read_commented(group.elements(&[HOOKS])[handler.at])?;
                    entry.set(&["command"], &wanted.clone().into())?;
                    group.replace_element(&[HOOKS], handler.at, &entry.into_text());
                    Ok(())
                })?;
            }
            // The user runs the hook in a way of their own.
            None if !handlers_that(&json, event, is_variant).is_empty() => {}
            None => {
                let handler = json!({"type": "command", "command": wanted, "timeout": rules.hook_timeout});
                json.push(&[HOOKS, event], &json!({ HOOKS: [handler] }))?;
            }
        }
    }
    Ok(json.into_text())
}

/// Returns the text without our handlers, and without the groups, events and `hooks` that become empty and that
/// `original`, the file before our entry, does not have.
///
/// # Errors
/// [`EditError::NotJson`] if the text is not a JSON object.
pub(crate) fn remove(text: &str, assistant: Assistant, original: Option<&JsonDocument>) -> Result<String, EditError> {
    let is_original = |path: &[&str]| original.is_some_and(|json| json.at(path).is_some());
    let mut json = document(text, assistant)?;
    for event in json.keys(&[HOOKS]) {
        let ours = handlers(&json, &event);
        for handler in ours.iter().rev() {
            take_out(&mut json, &event, handler)?;
        }
        let path = [HOOKS, &*event];
        if !ours.is_empty() && json.elements(&path).is_empty() && !is_original(&path) {
            json.remove(&path);
            if json.keys(&[HOOKS]).is_empty() && !is_original(&[HOOKS]) {
                json.remove(&[HOOKS]);
            }
        }
    }
    Ok(json.into_text())
}

/// Reads a settings file. Claude Code and Codex accept no comments in theirs.
pub(crate) fn document(text: &str, assistant: Assistant) -> Result<JsonDocument, EditError> {
    match assistant {
        Assistant::ClaudeCode | Assistant::Codex => JsonDocument::read(text),
        _ => JsonDocument::read_commented(text),
    }
}

/// Returns our handlers of an event, in order.
fn handlers(json: &JsonDocument, event: &str) -> Vec<Handler> {
    handlers_that(json, event, is_ours)
}

/// Returns the handlers of an event whose command fulfills a condition, in order.
fn handlers_that(json: &JsonDocument, event: &str, is_wanted: fn(&str) -> bool) -> Vec<Handler> {
    let mut found = Vec::new();
    for (group, text) in json.elements(&[HOOKS, event]).into_iter().enumerate() {
        let Ok(entries) = JsonDocument::read_commented(text) else { continue };
        for (at, entry) in entries.elements(&[HOOKS]).into_iter().enumerate() {
            let command = command(entry).filter(|command| is_wanted(command));
            found.extend(command.map(|command| Handler { group, at, command }));
        }
    }
    found
}

fn command(handler: &str) -> Option<String> {
    let handler = JsonDocument::read_commented(handler).ok()?;
    handler.at(&["command"]).and_then(|value| serde_json::from_str(value).ok())
}

/// Returns true if the command is a hook as install writes it, of any release.
fn is_ours(command: &str) -> bool {
    let words = words(command);
    let args = words.split_first().and_then(|(program, args)| arguments(program, args));
    matches!(args.as_deref(), Some(["hook", event]) if HOOK_EVENTS.contains(event))
}

/// Returns true if the command is a hook of this program in a form that install does not write.
fn is_variant(command: &str) -> bool {
    let words = words(command);
    let is_hook = |args: &[String]| args.iter().any(|arg| arg == "hook");
    !is_ours(command) && words.split_first().is_some_and(|(program, args)| is_this_program(program) && is_hook(args))
}

/// Removes a handler, and its group if it was the only one.
fn take_out(json: &mut JsonDocument, event: &str, handler: &Handler) -> Result<(), EditError> {
    let mut is_empty = false;
    edit(json, event, handler.group, |group| {
        group.remove_element(&[HOOKS], handler.at);
        is_empty = group.elements(&[HOOKS]).is_empty();
        Ok(())
    })?;
    if is_empty {
        json.remove_element(&[HOOKS, event], handler.group);
    }
    Ok(())
}

/// Edits a group of an event.
fn edit(
    json: &mut JsonDocument,
    event: &str,
    at: usize,
    change: impl FnOnce(&mut JsonDocument) -> Result<(), EditError>,
) -> Result<(), EditError> {
    let path = [HOOKS, event];
    let Some(text) = json.elements(&path).get(at).map(|text| (*text).to_owned()) else { return Ok(()) };
    let mut group = JsonDocument::read_commented(&text)?;
    change(&mut group)?;
    json.replace_element(&path, at, &group.into_text());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLAUDE: Assistant = Assistant::ClaudeCode;

    fn call() -> Invocation {
        Invocation { program: "/b/iaid".into(), socket: None, store: None }
    }

    #[test]
    fn our_handlers_are_updated_in_place_and_doubles_go() {
        let text = r#"{"hooks": {
  "Stop": [ {"matcher": "", "hooks": [ {"type": "command", "timeout": 30, "command": "'/o ld/iaid' hook stop"} ]},
            {"hooks": [ {"command": "notify"}, {"command": "/other/iaid-0.1 hook stop"} ]} ],
  "SessionStart": [{"hooks": [{"command": "/b/iaid hook session-start"}]}],
  "UserPromptSubmit": [{"hooks": [{"command": "/b/iaid hook user-prompt-submit"}]}],
  "SessionEnd": [{"hooks": [{"command": "/b/iaid hook session-end"}]}],
  "PreToolUse": [{"hooks": [{"command": "iaid hook stop"}]}, {"hooks": [{"command": "iaid-like hook x"}]}]
}}"#;
        let want = text
            .replace("'/o ld/iaid' hook stop", "/b/iaid hook stop")
            .replace(r#", {"command": "/other/iaid-0.1 hook stop"}"#, "")
            .replace(r#"{"hooks": [{"command": "iaid hook stop"}]}, "#, "");
        assert_eq!(enter(text, CLAUDE, &call()).as_deref(), Ok(&*want));
        assert_eq!(enter(&want, CLAUDE, &call()).as_deref(), Ok(&*want));
    }

    #[test]
    fn a_handler_of_the_user_is_kept_and_gets_no_second_one() {
        let text = r#"{"hooks":{"Stop":[{"hooks":[{"command":"/b/iaid hook stop 2>/dev/null"}]}]}}"#;
        let entered = enter(text, CLAUDE, &call()).unwrap();
        let events: Vec<String> = commands(&entered, CLAUDE).unwrap().into_iter().map(|(event, _)| event).collect();
        assert_eq!(events, ["SessionStart", "UserPromptSubmit", "SessionEnd"]);
        assert_eq!(variants(&entered, CLAUDE), Ok(vec!["/b/iaid hook stop 2>/dev/null".into()]));
        assert_eq!(remove(&entered, CLAUDE, None).as_deref(), Ok(text));
    }
}
