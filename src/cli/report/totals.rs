//! What a report counts: records by day and speaker, and their sizes. Pure.

use jiff::civil::Date;

/// Bars of the chart by day, at most. Over a longer time, a bar has several days.
const MAX_BAR_COUNT: i64 = 120;

/// The speakers, in the order of the counts.
pub(crate) const SPEAKERS: [&str; 3] = ["user", "assistant", "system"];

/// Records of each of [`SPEAKERS`].
pub(crate) type Counts = [u64; 3];

/// The totals of all records.
#[derive(Debug, Default)]
pub(crate) struct Totals {
    pub(crate) records: u64,
    /// Bytes of all texts.
    pub(crate) bytes: u64,
    /// Records that no longer hold.
    pub(crate) superseded: u64,
    pub(crate) by_speaker: Counts,
    /// The days with records, the newest first.
    days: Vec<(Date, Counts)>,
}

/// A bar of the chart by day.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Bar {
    pub(crate) first: Date,
    pub(crate) last: Date,
    pub(crate) counts: Counts,
}

impl Totals {
    /// Counts a record. Records come with the newest first.
    pub(crate) fn add(&mut self, day: Date, role: &str, bytes: usize, is_superseded: bool) {
        let speaker = SPEAKERS.iter().position(|name| *name == role).unwrap_or(2);
        self.records += 1;
        self.bytes += bytes as u64;
        self.superseded += u64::from(is_superseded);
        self.by_speaker[speaker] += 1;
        if self.days.last().is_none_or(|(last, _)| *last != day) {
            self.days.push((day, Counts::default()));
        }
        if let Some((_, counts)) = self.days.last_mut() {
            counts[speaker] += 1;
        }
    }

    /// Returns the bars from the first day to the last, and how many days each has.
    pub(crate) fn bars(&self) -> (Vec<Bar>, i64) {
        let (Some((newest, _)), Some((oldest, _))) = (self.days.first(), self.days.last()) else {
            return (Vec::new(), 1);
        };
        // Dates without a zone differ by whole days.
        let number = |day: Date| i64::from((day - *oldest).get_days());
        let width = (number(*newest) / MAX_BAR_COUNT + 1).max(1);
        let mut bars: Vec<Bar> = (0..=number(*newest) / width)
            .map(|at| {
                let day = |days: i64| oldest.checked_add(jiff::Span::new().days(days)).unwrap_or(*newest);
                Bar { first: day(at * width), last: day(at * width + width - 1), counts: Counts::default() }
            })
            .collect();
        for (day, counts) in &self.days {
            if let Some(bar) = usize::try_from(number(*day) / width).ok().and_then(|at| bars.get_mut(at)) {
                bar.counts.iter_mut().zip(counts).for_each(|(sum, more)| *sum += more);
            }
        }
        (bars, width)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    #[test]
    fn days_without_records_have_a_bar_and_many_days_share_one() {
        let mut totals = Totals::default();
        assert_eq!(totals.bars(), (Vec::new(), 1));
        for (day, role) in [(date(2026, 3, 4), "user"), (date(2026, 3, 4), "assistant"), (date(2026, 3, 1), "user")] {
            totals.add(day, role, 10, role == "assistant");
        }
        let (bars, width) = totals.bars();
        assert_eq!((bars.len(), width, totals.bytes, totals.superseded), (4, 1, 30, 1));
        assert_eq!((bars[0].counts, bars[1].counts, bars[3].counts), ([1, 0, 0], [0; 3], [1, 1, 0]));
        totals.add(date(2020, 1, 1), "system", 1, false);
        let (bars, width) = totals.bars();
        assert!(bars.len() <= 121 && width > 1, "{} {width}", bars.len());
        assert_eq!((bars[0].first, bars[0].counts), (date(2020, 1, 1), [0, 0, 1]));
        assert_eq!(bars.iter().flat_map(|bar| bar.counts).sum::<u64>(), 4);
    }
}
