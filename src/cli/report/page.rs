//! The HTML of a report. All stored text goes through `escape.rs`; the page's own script and style are constant, and its
//! policy allows no other.

use std::io::{self, Write};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;

use super::escape::html;
use super::totals::{Bar, Counts, SPEAKERS, Totals};
use crate::cli::recall::local_time;
use crate::cli::support::values::grouped;

/// The beginning of each report, by which an earlier one is known.
pub(crate) const MARK: &str = "<!doctype html>\n<!-- A report of iaid -->\n";

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The hash of [`SCRIPT`], the only script that the page's policy allows. A test computes it.
const SCRIPT_HASH: &str = "sha256-CurxErmlTzmHzuNdseWaqRfO6d3Ger14QaAC5Dp43yo=";

/// Characters of a text that are shown at first, and at most. Picked: a paragraph, and some pages.
const BEGINNING_CHARS: usize = 400;
const MAX_TEXT_CHARS: usize = 8000;

/// A project and its records; or how many other projects there are, without a name.
pub(crate) struct ProjectCount {
    pub(crate) name: String,
    pub(crate) records: u64,
    pub(crate) others: u64,
}

/// Writes the parts of a page, in order.
pub(crate) struct PageWriter<'w, W> {
    pub(crate) out: &'w mut W,
    pub(crate) zone: &'w TimeZone,
}

impl<W: Write> PageWriter<'_, W> {
    /// Writes the beginning, with the sizes.
    ///
    /// # Errors
    /// Any error of writing, as for the other parts.
    pub(crate) fn head(
        &mut self,
        totals: &Totals,
        projects: &[ProjectCount],
        (first, last): (Option<Timestamp>, Option<Timestamp>),
        now: Timestamp,
    ) -> io::Result<()> {
        let day =
            |at: Option<Timestamp>| at.map_or_else(|| "–".into(), |at| self.zone.to_datetime(at).date().to_string());
        let at = local_time(&now.to_string(), self.zone);
        let project_count: u64 =
            projects.iter().map(|one| if one.others > 0 { one.others } else { u64::from(!one.name.is_empty()) }).sum();
        let policy = format!("default-src 'none'; style-src 'unsafe-inline'; script-src '{SCRIPT_HASH}'");
        write!(
            self.out,
            "{MARK}<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta http-equiv=\"Content-Security-Policy\" \
             content=\"{policy}\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta \
             name=\"referrer\" content=\"no-referrer\">\n<title>What is remembered</title>\n<style>{STYLE}</style>\n\
             </head>\n<body>\n<main>\n<h1>What is remembered</h1>\n<div class=\"soft\">{at}</div>\n<ul class=\"facts\">\n"
        )?;
        for (value, what) in [
            (grouped(totals.records), "records"),
            (size(totals.bytes), "of text"),
            (grouped(project_count), "projects"),
            (grouped(totals.superseded), "replaced by newer ones"),
            (day(first), "the first"),
            (day(last), "the last"),
        ] {
            writeln!(self.out, "<li><b>{value}</b>{what}</li>")?;
        }
        self.out.write_all(b"</ul>\n")
    }

    /// Writes the charts by day, speaker and project.
    pub(crate) fn charts(&mut self, totals: &Totals, projects: &[ProjectCount]) -> io::Result<()> {
        let (bars, width) = totals.bars();
        if let (Some(first), Some(last)) = (bars.first(), bars.last()) {
            let each = if width == 1 { String::new() } else { format!(", {width} days a bar") };
            write!(self.out, "<h2>By day</h2>\n<div class=\"card\">\n")?;
            self.day_chart(&bars)?;
            writeln!(
                self.out,
                "<div class=\"axis soft\"><span>{}</span><span>{}</span></div>",
                first.first, last.last
            )?;
            write!(self.out, "<div class=\"legend soft\">")?;
            for name in SPEAKERS {
                let square = "<svg viewBox=\"0 0 1 1\"><rect width=\"1\" height=\"1\" rx=\".2\" class=\"";
                write!(self.out, "<span>{square}{name}\"/></svg>{name}</span>")?;
            }
            writeln!(self.out, "{each}</div>\n</div>")?;
        }
        let speakers = SPEAKERS.iter().zip(totals.by_speaker);
        self.bars("By speaker", speakers.map(|(name, count)| ((*name).into(), *name, count)))?;
        let named = projects.iter().map(|one| {
            let name = match (one.others, one.name.as_str()) {
                (0, "") => "no project".into(),
                (0, name) => html(name).into_owned(),
                (count, _) => format!("{} others", grouped(count)),
            };
            (name, "plain", one.records)
        });
        self.bars("By project", named)
    }

    fn day_chart(&mut self, bars: &[Bar]) -> io::Result<()> {
        const HEIGHT: u64 = 100;
        let sum = |counts: &Counts| counts.iter().sum::<u64>();
        let most = bars.iter().map(|bar| sum(&bar.counts)).max().unwrap_or(1).max(1);
        // At least twenty places, so that the bars of a few days are not as wide as the page.
        let (places, from) = (bars.len().max(20), 20_usize.saturating_sub(bars.len()));
        let label = "role=\"img\" aria-label=\"Records by day\"";
        let view = format!("viewBox=\"0 0 {} {HEIGHT}\" preserveAspectRatio=\"none\"", places * 10);
        writeln!(self.out, "<svg class=\"days\" {view} {label}>")?;
        for (at, bar) in bars.iter().enumerate().filter(|(_, bar)| sum(&bar.counts) > 0) {
            let days =
                if bar.first == bar.last { bar.first.to_string() } else { format!("{} to {}", bar.first, bar.last) };
            write!(self.out, "<g><title>{days}: {}</title>", grouped(sum(&bar.counts)))?;
            let mut bottom = HEIGHT as f64;
            for (name, count) in SPEAKERS.iter().zip(bar.counts).filter(|(_, count)| *count > 0) {
                let height = (count as f64 / most as f64 * HEIGHT as f64).max(0.8);
                bottom -= height;
                let x = (from + at) * 10 + 1;
                let y = bottom.max(0.0);
                write!(self.out, "<rect x=\"{x}\" y=\"{y:.1}\" width=\"8\" height=\"{height:.1}\" class=\"{name}\"/>")?;
            }
            self.out.write_all(b"</g>\n")?;
        }
        self.out.write_all(b"</svg>\n")
    }

    /// Writes a bar for each name, which is HTML.
    fn bars(&mut self, title: &str, bars: impl Iterator<Item = (String, &'static str, u64)>) -> io::Result<()> {
        let bars: Vec<_> = bars.filter(|(_, _, count)| *count > 0).collect();
        let Some(most) = bars.iter().map(|(_, _, count)| *count).max() else { return Ok(()) };
        write!(self.out, "<h2>{title}</h2>\n<div class=\"card bars\">\n")?;
        for (name, class, count) in bars {
            let width = (count as f64 / most as f64 * 100.0).max(0.5);
            let rect = format!("<rect width=\"{width:.1}\" height=\"1\" class=\"{class}\"/>");
            writeln!(
                self.out,
                "<div title=\"{name}\"><bdi>{name}</bdi></div><div class=\"n\">{}</div><svg viewBox=\"0 0 100 1\" \
                 preserveAspectRatio=\"none\" aria-hidden=\"true\">{rect}</svg>",
                grouped(count)
            )?;
        }
        self.out.write_all(b"</div>\n")
    }

    /// Writes how the last consolidation cycles went, out of their events.
    pub(crate) fn cycles(&mut self, events: &[Value]) -> io::Result<()> {
        self.out.write_all(b"<h2>Sleep</h2>\n")?;
        if events.is_empty() {
            return self.out.write_all(b"<div class=\"card soft\">No consolidation has run yet.</div>\n");
        }
        self.out.write_all(
            b"<div class=\"card scroll\"><table>\n<tr><th>when</th><th>took</th><th>records</th><th>new links</th>\
              <th>new patterns</th><th>links faded</th></tr>\n",
        )?;
        for event in events {
            let data = &event["data"];
            let count = |step: &str, key: &str| -> String {
                let mut steps = data["steps"].as_array().into_iter().flatten();
                let found = steps.find(|one| one["step"] == step);
                found.and_then(|one| one["counts"][key].as_u64()).map_or_else(|| "–".into(), grouped)
            };
            let when = local_time(event["ts"].as_str().unwrap_or_default(), self.zone);
            write!(self.out, "<tr><td>{}</td>", html(&when))?;
            write!(self.out, "<td>{:.1} s</td>", data["duration_sec"].as_f64().unwrap_or(0.0))?;
            for (step, key) in
                [("associate", "examined"), ("associate", "linked"), ("induce", "induced"), ("decay", "pruned")]
            {
                write!(self.out, "<td>{}</td>", count(step, key))?;
            }
            self.out.write_all(b"</tr>\n")?;
        }
        self.out.write_all(b"</table></div>\n")
    }

    pub(crate) fn begin_records(&mut self) -> io::Result<()> {
        self.out.write_all(
            b"<h2>The newest records</h2>\n<input id=\"q\" type=\"search\" placeholder=\"Search\" aria-label=\"Search\" \
              autocomplete=\"off\">\n<div class=\"soft\" id=\"n\"></div>\n",
        )
    }

    /// Writes a record.
    pub(crate) fn record(&mut self, record: &Value) -> io::Result<()> {
        let text = |key: &str| record[key].as_str().unwrap_or_default();
        let role = SPEAKERS.into_iter().find(|name| *name == text("role")).unwrap_or("system");
        let is_over = record["valid_to"].is_string();
        let when = local_time(text("ts"), self.zone);
        let class = if is_over { "r over" } else { "r" };
        write!(
            self.out,
            "<article class=\"{class}\"><header><b class=\"{role}\">{role}</b><span>{}</span>",
            html(&when)
        )?;
        for (key, none) in [("project", ""), ("session_id", "-")] {
            if text(key) != none {
                write!(self.out, "<bdi>{}</bdi>", html(text(key)))?;
            }
        }
        if is_over {
            write!(self.out, "<span>replaced {}</span>", html(&local_time(text("valid_to"), self.zone)))?;
        }
        self.out.write_all(b"</header>")?;
        let whole = text("text");
        match whole.char_indices().nth(BEGINNING_CHARS) {
            None => write!(self.out, "<div class=\"t\" dir=\"auto\">{}</div>", html(whole))?,
            Some((end, _)) => {
                let (shown, rest) = match whole.char_indices().nth(MAX_TEXT_CHARS) {
                    Some((most, _)) => (&whole[end..most], whole.len() - most),
                    None => (&whole[end..], 0),
                };
                let beginning = html(&whole[..end]);
                write!(self.out, "<details><summary class=\"t\" dir=\"auto\">{beginning} …</summary>")?;
                write!(self.out, "<div class=\"t\" dir=\"auto\">… {}</div>", html(shown))?;
                if rest > 0 {
                    let id = html(text("record_id"));
                    write!(self.out, "<div class=\"soft\">{} more: iaid show {id}</div>", size(rest as u64))?;
                }
                self.out.write_all(b"</details>")?;
            }
        }
        self.out.write_all(b"</article>\n")
    }

    pub(crate) fn end(&mut self) -> io::Result<()> {
        write!(self.out, "</main>\n<script>{SCRIPT}</script>\n</body>\n</html>\n")
    }
}

/// Returns a size in the largest unit that leaves at least one, with a decimal under ten.
fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (bytes as f64, 0);
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let decimals = usize::from(unit > 0 && value < 10.0);
    format!("{value:.decimals$} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_a_unit() {
        for (bytes, want) in
            [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (20 << 20, "20 MiB"), (3 << 40, "3.0 TiB")]
        {
            assert_eq!(size(bytes), want);
        }
    }
}
