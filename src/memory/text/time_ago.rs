//! Times that are counted back from now: *two days ago*, *the last three weeks*, *vor zwei Wochen am Freitag*.
//!
//! Pure.

use jiff::ToSpan;

use crate::memory::text::time_number::{COUNTS, FEW, last_number, number};
use crate::memory::text::time_question::{Days, Question};
use crate::memory::text::time_words::Unit::{self, Week};
use crate::memory::text::time_words::{SPACELESS_UNITS, UNITS, UP_TO_NOW, UP_TO_NOW_SOME, has, phrases, unit};

/// Most units that *a few* are; the least is two. Picked.
const FEW_UNITS: i64 = 5;

impl Question<'_> {
    /// *two days ago*: the day; of weeks, the three days around it on either side, or the weekday that is named; of months
    /// and years, the whole one. *A few days ago* is two to five, and *the last three days* are those up to today.
    pub(super) fn ago(&self) -> Option<Days> {
        if let Some((count, unit)) = (0..self.words.len()).find_map(|at| self.up_to_now(at)) {
            let (first, last) = self.counted(unit, -if count == FEW { FEW_UNITS } else { count })?;
            let first = if unit == Week && count != FEW { self.today.checked_sub(count.weeks()).ok()? } else { first };
            return Some((first, last.max(self.today)));
        }
        let (count, unit) = (0..self.words.len()).find_map(|at| self.ago_at(at)).or_else(|| self.spaceless_ago())?;
        if count == FEW {
            return Some((self.counted(unit, -FEW_UNITS)?.0, self.counted(unit, -2)?.1));
        }
        match unit {
            Week => self.day_of_week(self.counted(unit, -count)?.0).or_else(|| {
                let day = self.today.checked_sub(count.weeks()).ok()?;
                Some((day.checked_sub(3.days()).ok()?, day.checked_add(3.days()).ok()?))
            }),
            unit => self.counted(unit, -count),
        }
    }

    /// Reads *the last N days* and its kin with the unit at this word.
    fn up_to_now(&self, at: usize) -> Option<(i64, Unit)> {
        let (unit, _, several) =
            UNITS.iter().find(|(_, one, several)| has(one, self.word(at)) || has(several, self.word(at)))?;
        if has(several, self.word(at)) && has(UP_TO_NOW_SOME, self.before(at)) {
            return number(self.before(at.saturating_sub(1))).or(Some(FEW)).map(|count| (count, *unit));
        }
        // *The last couple of days*.
        let at = at - usize::from(self.before(at) == "of");
        let (one, two) = (self.before(at), self.before(at.saturating_sub(1)));
        let three = self.before(at.saturating_sub(2));
        let count = number(one).filter(|_| has(UP_TO_NOW, two) || (two == "ein" && has(UP_TO_NOW, three)));
        count.or_else(|| number(two).filter(|_| has(UP_TO_NOW, one))).map(|count| (count, *unit))
    }

    /// Reads *N days ago* and its kin with the unit at this word.
    fn ago_at(&self, at: usize) -> Option<(i64, Unit)> {
        let unit = unit(self.word(at))?;
        let word = |from_unit: isize| at.checked_add_signed(from_unit).map_or("", |at| self.word(at));
        // *A couple of days*, *ein paar Tage*, *un par de días*.
        let place = if has(" of de di ", word(-1)) { -2 } else { -1 };
        let before = number(word(place));
        let is_some = before == Some(FEW) || has(" par paio couple ", word(place));
        let opening = place - 1 - isize::from(is_some && word(place - 1) != "a" && number(word(place - 1)) == Some(1));
        let own = number(word(0)).or_else(|| number(word(1)).filter(|_| word(-1) == "قبل"));
        let is_behind = has(" ago назад fa atras geleden ", word(1));
        // Portuguese *há*: the units of the others that fold to it end in other letters.
        let has_ha = |from: isize| {
            word(from) == "ha" && !has(" giorno settimana anno ", word(0)) && !word(0).ends_with(['i', 'e'])
        };
        let opens = |from: isize| {
            has(" vor hace قبل منذ ", word(from)) || (word(from) == "a" && word(from - 1) == "y") || has_ha(from)
        };
        let count = match () {
            () if is_behind => before.or((word(1) == "назад").then_some(1))?,
            () if before.is_some() && opens(opening) => before?,
            () if opens(-1) && word(-1) != "ha" => own.or((word(-1) != "vor").then_some(1))?,
            () => return None,
        };
        Some((count, unit))
    }

    fn spaceless_ago(&self) -> Option<(i64, Unit)> {
        let forms = SPACELESS_UNITS.iter().flat_map(|(unit, forms)| phrases(forms).map(move |form| (*unit, form)));
        let is_read = |count: &i64| *count == FEW || COUNTS.contains(count);
        let number_before = |form: &str| last_number(self.cue.split_once(form)?.0.trim_end_matches(['个', '個']));
        let count = |form: &str| number_before(form).filter(is_read);
        forms.filter_map(|(unit, form)| Some((count(form)?, unit))).next()
    }
}
