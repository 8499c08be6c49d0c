//! The property that the fuzz target checks, as a function that a unit test also runs. Compiled only for these.

use crate::transcript::TranscriptReader;

/// Checks that a reader takes each whole record, in order, whatever the lines beside it and the bytes before it in its
/// line are, and that it reads a file again as it read it first.
///
/// # Panics
/// If it does not.
pub fn whole_records_are_taken(data: &[u8]) {
    let mut lines = Vec::new();
    let mut want = Vec::new();
    for (at, garbage) in data.split(|byte| *byte == b'\n').enumerate() {
        for (kind, place) in [("own", 0), ("glued", 1)] {
            let text = format!("the record {at} of the {kind} kind {at}");
            let record = format!(
                r#"{{"type":"user","uuid":"{text}","sessionId":"s","cwd":"/p","message":{{"content":"{text}"}}}}"#
            );
            if place == 0 {
                lines.push(garbage.to_vec());
                lines.push(record.into_bytes());
            } else {
                lines.push([garbage, record.as_bytes()].concat());
            }
            want.push(text);
        }
    }
    let read = || {
        let mut reader = TranscriptReader::default();
        let mut turns: Vec<_> = lines.iter().flat_map(|line| reader.read(line).turns).collect();
        turns.extend(reader.finish());
        (turns, reader.tally())
    };
    let (turns, tally) = read();
    let mut texts = turns.iter().map(|turn| turn.text.as_str());
    for text in &want {
        assert!(texts.any(|other| other == text), "lost: {text}");
    }
    assert!(tally.user_turns >= want.len() as u64);
    assert_eq!(read(), (turns, tally));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_records_are_taken_beside_anything() {
        for data in [
            b"".as_slice(),
            b"{",
            b"{\"a\":",
            b"{\"type\":\"user\",\"sessionId\":\"s\",\"message\":",
            b"{\"type\":\"user\",\"sessionId\":\"s\",\"message\":{\"content\":\"cut off",
            b"{\"a\":\"\\",
            b"\xff\xfe{\"\n\0\0\0\n[{\"a\":[",
            b"{\"type\":\"queue-operation\",\"operation\":\"popAll\"}\n{\"payload\":1}\n{\"payload\":{},\"type\":\"session_meta\"}",
            b"{\"type\":\"session_meta\",\"payload\":{\"source\":{\"subagent\":1}}}",
        ] {
            whole_records_are_taken(data);
        }
        whole_records_are_taken("{\"a\":".repeat(2000).as_bytes());
        whole_records_are_taken("[".repeat(2000).as_bytes());
    }
}
