//! A progress line on standard error, redrawn in place. Nothing is drawn if standard error is not a terminal.
//! Time is a parameter.

use std::time::{Duration, Instant};

use crate::cli::support::console::Console;
use crate::cli::support::values::grouped;

/// Shortest time between two redraws. Picked: looks smooth, and costs little beside the work itself.
const REDRAW: Duration = Duration::from_millis(100);

/// Width of the bar, in columns. The whole line stays under 80 columns.
const BAR_COLUMNS: usize = 30;

/// A line of free text, redrawn in place.
#[derive(Debug, Default)]
pub(crate) struct StatusLine {
    drawn: Option<Instant>,
}

/// A bar with the share of the input done, the number of lines and their rate.
#[derive(Debug)]
pub(crate) struct ProgressBar {
    total_bytes: Option<u64>,
    started: Instant,
    line: StatusLine,
}

impl StatusLine {
    /// Draws `text` if [`REDRAW`] has passed since the last drawing.
    pub(crate) fn show(&mut self, text: &str, now: Instant, console: &mut Console) {
        if self.is_due(now, console) {
            self.drawn = Some(now);
            // A failed write to the terminal does not stop the work.
            drop(write!(console.err, "\r\x1b[K{text}"));
        }
    }

    /// Erases the line, so that other output can take its place.
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
    /// Returns a bar for work that starts `now` on `total_bytes` of input, if the total is known.
    pub(crate) fn new(total_bytes: Option<u64>, now: Instant) -> ProgressBar {
        ProgressBar { total_bytes: total_bytes.filter(|bytes| *bytes > 0), started: now, line: StatusLine::default() }
    }

    /// Draws the bar if [`REDRAW`] has passed since the last drawing.
    pub(crate) fn show(&mut self, bytes: u64, lines: u64, now: Instant, console: &mut Console) {
        if self.line.is_due(now, console) {
            let text = render(bytes, self.total_bytes, lines, now.saturating_duration_since(self.started));
            self.line.show(&text, now, console);
        }
    }

    /// Erases the bar, so that other output can take its place.
    pub(crate) fn clear(&mut self, console: &mut Console) {
        self.line.clear(console);
    }
}

fn render(bytes: u64, total_bytes: Option<u64>, lines: u64, elapsed: Duration) -> String {
    let rate = (lines as f64 / elapsed.as_secs_f64().max(0.001)) as u64;
    let figures = format!("{} lines, {}/s", grouped(lines), grouped(rate));
    let Some(total) = total_bytes else { return figures };
    let share = (bytes as f64 / total as f64).min(1.0);
    let full = (share * BAR_COLUMNS as f64) as usize;
    format!("[{}{}] {:3.0} %  {figures}", "=".repeat(full), " ".repeat(BAR_COLUMNS - full), (share * 100.0).floor())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::support::console::tests::console;
    use crate::cli::support::console::{OutputFormat, StreamKind};

    #[test]
    fn the_bar_shows_the_share_done() {
        let second = Duration::from_secs(1);
        for (bytes, total, lines, text) in [
            (0, Some(100), 0, "[                              ]   0 %  0 lines, 0/s"),
            (50, Some(100), 1200, "[===============               ]  50 %  1 200 lines, 1 200/s"),
            (100, Some(100), 3, "[==============================] 100 %  3 lines, 3/s"),
            // A file that grew while being read.
            (150, Some(100), 3, "[==============================] 100 %  3 lines, 3/s"),
            (150, None, 3, "3 lines, 3/s"),
        ] {
            assert_eq!(render(bytes, total, lines, second), text);
        }
        assert!(render(u64::MAX, Some(u64::MAX), 999_999_999, second).len() < 80);
    }

    #[test]
    fn it_is_drawn_on_terminals_at_most_every_100_ms() {
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
