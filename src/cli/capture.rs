//! `iaid capture`: stores one record from an argument, or one record per line of standard input.
//!
//! Text is sent unchanged. The line end (`\n` or `\r\n`) is not part of a line, and blank lines are skipped. A line that
//! cannot become a record is reported and the next ones are still read; any other failure stops the command.

use std::io;
use std::mem;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::cli::support::console::{Console, OutputFormat};
use crate::cli::support::error::CliError;
use crate::cli::support::lines::{InputLine, LineReader};
use crate::cli::support::progress::ProgressBar;
use crate::cli::support::values::{counted, grouped};
use crate::client::{Client, ClientError, DeliveryGuarantee, FAILED, Pipeline, PipelineReply, RemoteError};

const METHOD: &str = "memory_capture";

/// Longest text of a record; `memory_capture` refuses more.
const MAX_TEXT_BYTES: usize = 64 << 10;

/// Store a text verbatim
#[derive(Debug, clap::Args)]
pub(crate) struct CaptureArgs {
    #[command(flatten)]
    about: CaptureMetadata,
    /// Text to store; - or nothing reads one text per line from standard input
    text: Option<String>,
}

/// The fields of a record beside its text. For a missing field the daemon uses its default.
#[derive(Clone, Debug, Default, Serialize, clap::Args)]
struct CaptureMetadata {
    /// Session it belongs to [default: -]
    #[arg(long = "session", value_name = "ID")]
    #[serde(skip_serializing_if = "Option::is_none")]
    session_id: Option<String>,
    /// Who wrote it [default: user]
    #[arg(long, value_parser = ["user", "assistant", "system"])]
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<String>,
    /// Kind of memory [default: episodic]
    #[arg(long, value_parser = ["working", "episodic", "semantic", "procedural", "parametric"])]
    #[serde(skip_serializing_if = "Option::is_none")]
    tier: Option<String>,
    /// Additional words to find it by
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    cue: Option<String>,
    /// Time of the text, ISO 8601; UTC if it has no offset [default: now]
    #[arg(long, value_name = "TIME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    ts: Option<String>,
    /// Folder or name of the project it belongs to
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    project: Option<String>,
}

#[derive(Serialize)]
struct Record<'a> {
    text: &'a str,
    #[serde(flatten)]
    about: &'a CaptureMetadata,
}

#[derive(Deserialize)]
struct Outcome {
    status: Status,
    record_id: Option<String>,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    secrets: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Inserted,
    Reinforced,
    Skipped,
}

pub(crate) fn run(args: &CaptureArgs, client: &mut Client, console: &mut Console) -> Result<(), CliError> {
    match args.text.as_deref() {
        Some("-") => bulk(&args.about, client, console),
        Some(text) => one(text, &args.about, client, console),
        None if console.input_kind.is_terminal() => {
            Err(CliError::Usage("nothing to capture: give TEXT, or - to type one text per line".into()))
        }
        None => bulk(&args.about, client, console),
    }
}

fn one(text: &str, about: &CaptureMetadata, client: &mut Client, console: &mut Console) -> Result<(), CliError> {
    let result = client.call(METHOD, &Record { text, about })?;
    if console.format == OutputFormat::Json {
        return console.say(result.get()).map_err(CliError::Output);
    }
    let Outcome { status, record_id, reason, secrets } =
        serde_json::from_str(result.get()).map_err(|e| CliError::Reply(METHOD, e))?;
    let id = record_id.as_deref().unwrap_or("without an id");
    let line = match status {
        Status::Inserted => format!("inserted {id}"),
        Status::Reinforced => format!("reinforced {id}: already stored"),
        Status::Skipped => format!("skipped: {reason}"),
    };
    console.say(line).map_err(CliError::Output)?;
    if !secrets.is_empty() {
        let kinds = secrets.join(", ");
        console.warn(format_args!("the text looks like it has secrets ({kinds}); to remove it: iaid forget {id}"));
    }
    Ok(())
}

fn bulk(about: &CaptureMetadata, client: &mut Client, console: &mut Console) -> Result<(), CliError> {
    let input = mem::replace(&mut console.input, Box::new(io::empty()));
    let mut work = BulkCapture {
        about,
        lines: LineReader::new(input, MAX_TEXT_BYTES),
        pipeline: client.pipeline(DeliveryGuarantee::AtLeastOnce),
        tally: Tally::default(),
        progress: ProgressBar::new(console.input_bytes, Instant::now()),
    };
    let outcome = work.feed(console);
    work.progress.clear(console);
    let said = match console.format {
        OutputFormat::Json => console.say(work.tally.as_json()),
        OutputFormat::Text => console.say(work.tally.in_words()),
    };
    outcome?;
    said.map_err(CliError::Output)?;
    if work.tally.failed > 0 { Err(CliError::LinesFailed(work.tally.failed)) } else { Ok(()) }
}

/// Counts of the lines by outcome.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    inserted: u64,
    reinforced: u64,
    skipped: u64,
    failed: u64,
}

impl Tally {
    fn total(&self) -> u64 {
        self.inserted + self.reinforced + self.skipped + self.failed
    }

    fn as_json(&self) -> serde_json::Value {
        let Tally { inserted, reinforced, skipped, failed } = self;
        json!({"inserted": inserted, "reinforced": reinforced, "skipped": skipped, "failed": failed})
    }

    fn in_words(&self) -> String {
        let mut words = format!(
            "{}: {} inserted, {} reinforced, {} skipped",
            counted(self.total(), "line", "lines"),
            grouped(self.inserted),
            grouped(self.reinforced),
            grouped(self.skipped),
        );
        if self.failed > 0 {
            words.push_str(&format!(", {} failed", grouped(self.failed)));
        }
        words
    }
}

struct BulkCapture<'a> {
    about: &'a CaptureMetadata,
    lines: LineReader,
    pipeline: Pipeline<'a>,
    tally: Tally,
    progress: ProgressBar,
}

impl BulkCapture<'_> {
    fn feed(&mut self, console: &mut Console) -> Result<(), CliError> {
        loop {
            // Reports each line before blocking on the next one, for interactive input and growing logs.
            if !self.lines.ready() {
                self.settle(console)?;
            }
            let Some(line) = self.lines.next().map_err(CliError::Input)? else {
                return self.settle(console);
            };
            match line {
                InputLine::Text(text) if text.trim().is_empty() => {}
                InputLine::Text(text) => {
                    let record = Record { text: &text, about: self.about };
                    if let Err(error) = self.pipeline.send(self.lines.number, METHOD, &record) {
                        return Err(self.stopped(error, console));
                    }
                }
                InputLine::TooLong => {
                    let what = format!("longer than {MAX_TEXT_BYTES} bytes; split it into several lines");
                    self.fail(self.lines.number, FAILED, &what, console);
                }
                InputLine::NotUtf8 => self.fail(self.lines.number, FAILED, "not UTF-8; convert it with iconv", console),
            }
            self.collect(console)?;
        }
    }

    /// Waits for all outstanding replies and counts them.
    fn settle(&mut self, console: &mut Console) -> Result<(), CliError> {
        match self.pipeline.finish() {
            Ok(()) => self.collect(console),
            Err(error) => Err(self.stopped(error, console)),
        }
    }

    /// Counts the replies received so far and returns the error that stops the command.
    fn stopped(&mut self, error: ClientError, console: &mut Console) -> CliError {
        match self.collect(console) {
            Err(earlier) => earlier,
            Ok(()) => CliError::CaptureStopped(self.pipeline.unanswered().next().unwrap_or(self.lines.number), error),
        }
    }

    /// Counts the replies received so far.
    fn collect(&mut self, console: &mut Console) -> Result<(), CliError> {
        while let Some(PipelineReply { tag, outcome }) = self.pipeline.take_reply() {
            match outcome {
                Ok(result) => {
                    let outcome: Outcome =
                        serde_json::from_str(result.get()).map_err(|e| CliError::Reply(METHOD, e))?;
                    match outcome.status {
                        Status::Inserted => self.tally.inserted += 1,
                        Status::Reinforced => self.tally.reinforced += 1,
                        Status::Skipped => self.tally.skipped += 1,
                    }
                }
                // A full disk or a stopping daemon would fail every further line as well.
                Err(RemoteError { code: FAILED, message }) => {
                    return Err(CliError::CaptureStopped(tag, ClientError::Refused { code: FAILED, message }));
                }
                Err(RemoteError { code, message }) => self.fail(tag, code, &message, console),
            }
            self.progress.show(self.lines.bytes, self.tally.total(), Instant::now(), console);
        }
        Ok(())
    }

    fn fail(&mut self, line: u64, code: i32, what: &str, console: &mut Console) {
        self.tally.failed += 1;
        self.progress.clear(console);
        match console.format {
            OutputFormat::Text => console.warn(format_args!("line {line}: {what}")),
            OutputFormat::Json => console.warn(json!({"line": line, "error": {"code": code, "message": what}})),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::support::console::tests::console;
    use crate::cli::support::error::Exit;
    use crate::cli::support::testing::{error, result, with_daemon};
    use crate::client::Policy;

    use serde_json::Value;

    /// Returns a daemon's reply to a capture, chosen by its text.
    fn answer(call: &Value) -> Value {
        let status = |status: &str| result(call, json!({"status": status, "record_id": "id-1", "reason": "why"}));
        match call["params"]["text"].as_str().unwrap() {
            "again" => status("reinforced"),
            "short" => status("skipped"),
            "bad" => error(call, -32602, "param 'ts' must be a date"),
            "full" => error(call, FAILED, "the disk is full"),
            _ => status("inserted"),
        }
    }

    #[test]
    fn each_line_is_a_record_and_bad_lines_are_reported() {
        let mut input = b"first\nagain\n\nshort\nbad\n".to_vec();
        input.extend(std::iter::repeat_n(b'x', MAX_TEXT_BYTES * 3));
        input.extend_from_slice(b"\n\xff\n last ");
        let about = CaptureMetadata {
            session_id: Some("s1".into()),
            role: Some("assistant".into()),
            ..CaptureMetadata::default()
        };
        let (mut console, out, err) = console(OutputFormat::Text, &input);
        let (outcome, seen) = with_daemon(answer, |client| bulk(&about, client, &mut console));
        assert!(matches!(outcome, Err(CliError::LinesFailed(3))), "{outcome:?}");
        assert_eq!(out.text(), "7 lines: 2 inserted, 1 reinforced, 1 skipped, 3 failed\n");
        let mut said: Vec<_> = err.text().lines().map(str::to_owned).collect();
        said.sort();
        assert_eq!(
            said,
            [
                "line 5: param 'ts' must be a date",
                "line 6: longer than 65536 bytes; split it into several lines",
                "line 7: not UTF-8; convert it with iconv",
            ]
        );
        let texts: Vec<_> = seen.iter().map(|call| call["params"]["text"].as_str().unwrap()).collect();
        assert_eq!(texts, ["first", "again", "short", "bad", " last "]);
        assert_eq!(seen[0]["params"], json!({"text": "first", "session_id": "s1", "role": "assistant"}));
    }

    #[test]
    fn counts_and_errors_are_json_with_the_json_option() {
        let (mut console, out, err) = console(OutputFormat::Json, b"one\nbad\n");
        let (outcome, _) = with_daemon(answer, |client| bulk(&CaptureMetadata::default(), client, &mut console));
        assert!(matches!(outcome, Err(CliError::LinesFailed(1))));
        assert_eq!(out.text(), "{\"failed\":1,\"inserted\":1,\"reinforced\":0,\"skipped\":0}\n");
        let said: Value = serde_json::from_str(&err.text()).unwrap();
        assert_eq!(said, json!({"line": 2, "error": {"code": -32602, "message": "param 'ts' must be a date"}}));
    }

    #[test]
    fn a_failure_of_the_daemon_stops_the_command() {
        let (mut console, out, _) = console(OutputFormat::Text, b"one\ntwo\nfull\nthree\n");
        let (outcome, _) = with_daemon(answer, |client| bulk(&CaptureMetadata::default(), client, &mut console));
        let error = outcome.unwrap_err();
        assert!(matches!(error, CliError::CaptureStopped(3, _)), "{error}");
        assert_eq!(out.text(), "2 lines: 2 inserted, 0 reinforced, 0 skipped\n");

        let (mut console, _, _) = crate::cli::support::console::tests::console(OutputFormat::Text, b"one\n");
        let error = bulk(&CaptureMetadata::default(), &mut Client::new("/nowhere/s", Policy::default()), &mut console)
            .unwrap_err();
        assert!(matches!(error, CliError::CaptureStopped(1, _)));
        assert_eq!(error.exit(), Exit::Unreachable);
    }

    #[test]
    fn the_outcome_of_one_text_is_one_line() {
        for (text, line) in [
            ("a new one", "inserted id-1\n"),
            ("again", "reinforced id-1: already stored\n"),
            ("short", "skipped: why\n"),
        ] {
            let (mut console, out, _) = console(OutputFormat::Text, b"");
            let args = CaptureArgs { about: CaptureMetadata::default(), text: Some(text.into()) };
            let (outcome, _) = with_daemon(answer, |client| run(&args, client, &mut console));
            outcome.unwrap();
            assert_eq!(out.text(), line);
        }
    }
}
