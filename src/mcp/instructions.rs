//! What `initialize` tells a model about the memory.

/// The server's instructions for the model.
pub(crate) const INSTRUCTIONS: &str = "\
A memory that all of the user's assistants share. It keeps texts word for word, across sessions and projects.

Recall first: at the start of a task, before you search the repository or the web, and whenever the user refers to \
something said earlier. Call memory_recall with the question as cue and, in `also`, 5 to 16 other words that the answer \
may contain. Records are found by their words: \"what pets do we have?\" finds \"Rex is our golden retriever\" only by an \
`also` such as dog, retriever, cat, vet. A recall costs a few milliseconds and at most 1500 tokens.

Trust a hit's literal_surface over your own paraphrase. A hit with valid_to set no longer holds. A hit with `passage` is a \
part of its record: memory_read with its record_id gives the rest. A record about code or files is history: it says what \
was so at its ts, so check the repository before you rely on it.

Capture what will matter later: decisions and their reasons, preferences, corrections, facts about the user's people, \
projects and machines. One fact a call, in words that stand on their own. Never capture passwords or keys, output of \
tools, or what you have just recalled.

When the user corrects something that you recalled, call memory_contradict with that record's id instead of capturing \
the correction beside it. Nothing can be deleted.";
