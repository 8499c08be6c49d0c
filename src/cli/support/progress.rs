//! How far something long is: one line on a terminal's standard error, redrawn in place.
//!
//! Time is a parameter; nothing is drawn where standard error is no terminal.

use std::time::{Duration, Instant};

use crate::cli::support::console::Console;
use crate::cli::support::values::grouped;

/// Least time between two drawings. Picked: smooth, and nothing beside the work itself.
const REDRAW: Duration = Duration::from_millis(100);

/// Width of the bar, in columns: with its figures it stays under 80.
const BAR: usize = 30;

/// The line.
#[derive(Debug, Default)]
pub(crate) struct StatusLine {
    drawn: Option<Instant>,
}

/// The line of a bulk capture.
#[derive(Debug)]
pub(crate) struct ProgressBar {
    total_bytes: Option<u64>,
    started: Instant,
    line: StatusLine,
}

impl StatusLine {
    /// Draws `text`, where it is time to.
    pub(crate) fn show(&mut self, text: &str, now: Instant, console: &mut Console) {
        if self.is_due(now, console) {
            self.drawn = Some(now);
            // A terminal that is gone stops no work.
            drop(write!(console.err, "\r\x1b[K{text}"));
        }
    }

    /// Takes it away, so that something else can stand there.
    pub(crate) fn clear(&mut self, console: &mut Console) {
        if self.drawn.take().is_some() {
            drop(write!(console.err, "\r\x1b[K"));
        }
    }

    fn is_due(&self, now: Instant, console: &Console) -> bool {
        console.err_kind.is_terminal() && self.drawn.is_none_or(|at| now >= at + REDRAW)
    }
}

impl ProgressBar {
    /// Work on `total_bytes` of input, where they are known, that starts `now`.
    pub(crate) fn new(total_bytes: Option<u64>, now: Instant) -> ProgressBar {
        ProgressBar { total_bytes: total_bytes.filter(|bytes| *bytes > 0), started: now, line: StatusLine::default() }
    }

    /// Draws, where it is time to.
    pub(crate) fn show(&mut self, bytes: u64, lines: u64, now: Instant, console: &mut Console) {
        if self.line.is_due(now, console) {
            let text = render(bytes, self.total_bytes, lines, now.saturating_duration_since(self.started));
            self.line.show(&text, now, console);
        }
    }

    /// Takes the line away, so that something else can stand there.
    pub(crate) fn clear(&mut self, console: &mut Console) {
        self.line.clear(console);
    }
}

fn render(bytes: u64, total_bytes: Option<u64>, lines: u64, elapsed: Duration) -> String {
    let rate = (lines as f64 / elapsed.as_secs_f64().max(0.001)) as u64;
    let figures = format!("{} lines, {}/s", grouped(lines), grouped(rate));
    let Some(total) = total_bytes else { return figures };
    let share = (bytes as f64 / total as f64).min(1.0);
    let full = (share * BAR as f64) as usize;
    format!("[{}{}] {:3.0} %  {figures}", "=".repeat(full), " ".repeat(BAR - full), (share * 100.0).floor())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::support::console::tests::console;
    use crate::cli::support::console::{OutputFormat, StreamKind};

    #[test]
    fn the_bar_is_as_long_as_the_share() {
        let second = Duration::from_secs(1);
        for (bytes, total, lines, text) in [
            (0, Some(100), 0, "[                              ]   0 %  0 lines, 0/s"),
            (50, Some(100), 1200, "[===============               ]  50 %  1 200 lines, 1 200/s"),
            (100, Some(100), 3, "[==============================] 100 %  3 lines, 3/s"),
            // A file that grew while it was read.
            (150, Some(100), 3, "[==============================] 100 %  3 lines, 3/s"),
            (150, None, 3, "3 lines, 3/s"),
        ] {
            assert_eq!(render(bytes, total, lines, second), text);
        }
        assert!(render(u64::MAX, Some(u64::MAX), 999_999_999, second).len() < 80);
    }

    #[test]
    fn it_is_drawn_for_terminals_and_not_too_often() {
        let (mut console, _, err) = console(OutputFormat::Text, b"");
        let start = Instant::now();
        let mut progress = ProgressBar::new(None, start);
        progress.show(1, 1, start, &mut console);
        progress.clear(&mut console);
        assert_eq!(err.text(), "");
        console.err_kind = StreamKind::Terminal;
        for (millis, drawings) in [(1000, 1), (1050, 1), (1100, 2), (1199, 2), (1200, 3)] {
            progress.show(1, 1, start + Duration::from_millis(millis), &mut console);
            assert_eq!(err.text().matches("lines").count(), drawings, "at {millis} ms");
        }
        progress.clear(&mut console);
        assert!(err.text().ends_with("\r\x1b[K"));
    }
}
