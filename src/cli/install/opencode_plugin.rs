//! The plugin for opencode, which has no hooks: a file of ours in the folder `plugin` of its settings. Pure.

use serde_json::Value;

use super::invocation::Invocation;
use crate::transcript::Assistant;

/// Path of the plugin in opencode's folder.
pub(crate) const PATH: &str = "plugin/iaid.js";

/// The plugin, with an empty command.
const TEMPLATE: &str = include_str!("opencode_plugin.js");

/// First line of the plugin, in each release.
const MARK: &str = "// Written by iaid install; iaid uninstall removes it.\n";

/// What stands before and after the command.
const COMMAND: (&str, &str) = ("const COMMAND = ", ";\n");

/// Returns the plugin that runs this program.
pub(crate) fn text(call: &Invocation) -> String {
    // The plugin appends the event.
    let mut words = call.hook_words("", Assistant::Opencode);
    words.retain(|word| !word.is_empty());
    TEMPLATE.replacen("[]", &Value::from(words).to_string(), 1)
}

/// Returns true if a file is a plugin that install wrote.
pub(crate) fn is_ours(text: &str) -> bool {
    text.starts_with(MARK)
}

/// Returns the program and the arguments that a plugin runs, without the event.
pub(crate) fn command(text: &str) -> Option<Vec<String>> {
    let (_, rest) = text.split_once(COMMAND.0)?;
    serde_json::from_str(rest.split_once(COMMAND.1)?.0).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plugin_has_the_command() {
        let call =
            Invocation { program: "/a b/ia\"id".into(), socket: Some("/s; x".into()), store: Some("/st".into()) };
        let text = text(&call);
        let want = ["/a b/ia\"id", "--socket", "/s; x", "hook", "--store", "/st", "--assistant", "opencode"];
        assert_eq!(command(&text), Some(want.map(str::to_owned).to_vec()), "{text}");
        assert!(is_ours(&text) && !is_ours("// mine"), "{text}");
        assert_eq!(command("const COMMAND = 5;\n"), None);
    }
}
