//! The standard streams of a client command, and which bytes each may receive.
//!
//! On a terminal, control characters in stored text are replaced by symbols, so that a record cannot move the
//! cursor or set the title. Pipes and files receive the exact bytes.

use std::borrow::Cow;
use std::env;
use std::fmt;
use std::io::{self, BufRead, BufReader, BufWriter, IsTerminal, Read, Write};
use std::os::fd::AsFd;

/// The format of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OutputFormat {
    /// Lines for people.
    Text,
    /// JSON for programs.
    Json,
}

/// The kind of a standard stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StreamKind {
    /// A file or a pipe: receives the exact bytes.
    Plain,
    /// A terminal; no color is written.
    Terminal,
    /// A terminal; color is written.
    Colored,
}

impl StreamKind {
    pub(crate) fn is_terminal(self) -> bool {
        self != StreamKind::Plain
    }
}

pub(crate) struct Console {
    pub(crate) format: OutputFormat,
    pub(crate) input: Box<dyn Read>,
    pub(crate) input_kind: StreamKind,
    /// Bytes left to read, if standard input is a regular file.
    pub(crate) input_bytes: Option<u64>,
    pub(crate) out: Box<dyn Write>,
    pub(crate) out_kind: StreamKind,
    pub(crate) err: Box<dyn Write>,
    pub(crate) err_kind: StreamKind,
}

impl Console {
    /// Returns a console over the standard streams of the process.
    pub(crate) fn standard(format: OutputFormat) -> Console {
        let wanted = |name: &str| env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
        // https://no-color.org: any value but an empty one.
        let terminal = if wanted("NO_COLOR") || dumb { StreamKind::Terminal } else { StreamKind::Colored };
        let kind = |is_terminal| if is_terminal { terminal } else { StreamKind::Plain };
        Console {
            format,
            input: Box::new(io::stdin().lock()),
            input_kind: kind(io::stdin().is_terminal()),
            input_bytes: remaining_input(),
            out: Box::new(BufWriter::new(io::stdout())),
            out_kind: kind(io::stdout().is_terminal()),
            err: Box::new(io::stderr()),
            err_kind: kind(io::stderr().is_terminal()),
        }
    }

    /// Writes a line to standard output.
    pub(crate) fn say(&mut self, line: impl fmt::Display) -> io::Result<()> {
        writeln!(self.out, "{line}")
    }

    /// Writes a line to standard error. A failed write is ignored: it must not change the command's outcome.
    pub(crate) fn warn(&mut self, line: impl fmt::Display) {
        drop(writeln!(self.err, "{}", visible(&line.to_string(), self.err_kind)));
    }

    /// Asks a question on the terminal. Returns true if the answer is yes.
    pub(crate) fn ask(&mut self, question: &str) -> io::Result<bool> {
        let answer = self.read_answer(&format!("{question} [y/N]"))?;
        Ok(matches!(answer.as_str(), "y" | "Y" | "yes"))
    }

    /// Writes a question and returns the line that is typed, without white space around it.
    pub(crate) fn read_answer(&mut self, question: &str) -> io::Result<String> {
        self.say(question)?;
        self.flush()?;
        let mut answer = String::new();
        BufReader::with_capacity(1, self.input.by_ref()).take(100).read_line(&mut answer)?;
        Ok(answer.trim().to_owned())
    }

    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Returns `text` as it may be written to a stream of this kind. On a terminal each control character except
/// newline and tab is replaced by its Unicode control picture, or by U+FFFD if it has none.
pub(crate) fn visible(text: &str, kind: StreamKind) -> Cow<'_, str> {
    let hidden = |c: char| c.is_control() && c != '\n' && c != '\t';
    if kind == StreamKind::Plain || !text.contains(hidden) {
        return Cow::Borrowed(text);
    }
    let picture = |c: char| match c {
        '\u{0}'..='\u{1f}' => char::from_u32(0x2400 + u32::from(c)).unwrap_or(char::REPLACEMENT_CHARACTER),
        '\u{7f}' => '\u{2421}',
        _ => char::REPLACEMENT_CHARACTER,
    };
    Cow::Owned(text.chars().map(|c| if hidden(c) { picture(c) } else { c }).collect())
}

/// Returns `text` in bold if the stream has color, otherwise unchanged.
pub(crate) fn bold(text: &str, kind: StreamKind) -> Cow<'_, str> {
    if kind == StreamKind::Colored { Cow::Owned(format!("\x1b[1m{text}\x1b[0m")) } else { Cow::Borrowed(text) }
}

fn remaining_input() -> Option<u64> {
    let mut file = std::fs::File::from(io::stdin().as_fd().try_clone_to_owned().ok()?);
    let metadata = file.metadata().ok().filter(std::fs::Metadata::is_file)?;
    let at = io::Seek::stream_position(&mut file).ok()?;
    Some(metadata.len().saturating_sub(at))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::rc::Rc;

    /// A writer whose bytes stay readable while the console owns a clone of it.
    #[derive(Clone, Default)]
    pub(crate) struct CapturedOutput(Rc<RefCell<Vec<u8>>>);

    impl CapturedOutput {
        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.borrow().clone()).unwrap()
        }
    }

    impl Write for CapturedOutput {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.borrow_mut().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Returns a console that reads `input` and captures standard output and standard error.
    pub(crate) fn console(format: OutputFormat, input: &[u8]) -> (Console, CapturedOutput, CapturedOutput) {
        let (out, err) = (CapturedOutput::default(), CapturedOutput::default());
        let console = Console {
            format,
            input: Box::new(io::Cursor::new(input.to_vec())),
            input_kind: StreamKind::Plain,
            input_bytes: None,
            out: Box::new(out.clone()),
            out_kind: StreamKind::Plain,
            err: Box::new(err.clone()),
            err_kind: StreamKind::Plain,
        };
        (console, out, err)
    }

    #[test]
    fn control_characters_are_replaced_on_terminals_only() {
        let text = "a\x1b]0;title\x07\tb\r\nc\u{9b}31m\u{7f} é";
        assert_eq!(visible(text, StreamKind::Plain), text);
        for kind in [StreamKind::Terminal, StreamKind::Colored] {
            assert_eq!(visible(text, kind), "a␛]0;title␇\tb␍\nc\u{fffd}31m␡ é");
            assert!(matches!(visible("plain\n\ttext", kind), Cow::Borrowed(_)));
        }
        assert_eq!(bold("x", StreamKind::Terminal), "x");
        assert_eq!(bold("x", StreamKind::Colored), "\x1b[1mx\x1b[0m");
    }
}
