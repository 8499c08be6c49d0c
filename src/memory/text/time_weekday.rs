//! Weekdays in a question: *on Monday*, *last Friday*, *what did we decide Tuesday?*, *金曜に*.
//!
//! Pure.

use crate::memory::text::time_number::last_number;
use crate::memory::text::time_question::{Days, Question, weekday_before};
use crate::memory::text::time_words::{
    ASKING, BEFORE_NAME, BEFORE_NO_DAY, BEFORE_ROMANCE_NAME, BEFORE_SHORT, BEHIND_DAY, BEHIND_NO_DAY, LAST_BEFORE,
    LAST_BEHIND, ORDINAL_WEEKDAYS, PARTS_OF_DAY, SHORT_WEEKDAYS, SPACELESS_WEEKDAYS, compound_weekday, has, phrases,
    weekday,
};

impl Question<'_> {
    /// *on Monday*, *last Friday*, *what did we decide Tuesday?*: the last one before today.
    pub(super) fn weekday(&self) -> Option<Days> {
        let spaced = (0..self.words.len()).find_map(|at| {
            let named = weekday(self.word(at)).or_else(|| compound_weekday(self.word(at)))?;
            self.is_day(at).then_some(named)
        });
        weekday_before(self.today, spaced.or_else(|| self.spaceless_weekday())?)
    }

    /// Returns true if the weekday at this word is a day, and no other word or name.
    fn is_day(&self, at: usize) -> bool {
        let (word, before, behind) = (self.word(at), self.before(at), self.word(at + 1));
        let is_last = behind.is_empty();
        if has(SHORT_WEEKDAYS, word) {
            return has(BEFORE_SHORT, before);
        }
        if has(BEHIND_NO_DAY, behind) {
            return false;
        }
        let is_english = word.ends_with("day");
        let is_opened = has(BEFORE_NAME, before)
            || has(LAST_BEFORE, before)
            || has(LAST_BEHIND, behind)
            || (behind == "feira" && !has(BEFORE_NO_DAY, before))
            || (!is_english && has(BEFORE_ROMANCE_NAME, before));
        if has(ORDINAL_WEEKDAYS, word) {
            return is_opened && (is_last || behind == "feira" || has(PARTS_OF_DAY, self.word(at + 2)));
        }
        if is_opened || self.words.len() == 1 {
            return true;
        }
        // Without a preposition in a question.
        let asks = self.cue.contains(['?', '？', '؟']) || has(ASKING, self.word(0));
        let stands_alone = is_last || has(PARTS_OF_DAY, behind) || !is_english || has(BEHIND_DAY, behind);
        asks && at > 1 && stands_alone && !has(BEFORE_NO_DAY, before)
    }

    /// *金曜に*, *周五*, but neither *日曜大工* nor *每周五*.
    pub(super) fn spaceless_weekday(&self) -> Option<i8> {
        let is_time = |name: &str| {
            self.cue.match_indices(name).any(|(at, _)| {
                let (before, behind) = (&self.cue[..at], &self.cue[at + name.len()..]);
                let goes_on = |c: char| matches!(c, '\u{30A0}'..='\u{30FF}' | '\u{4E00}'..='\u{9FFF}') && c != '日';
                let is_counted = name.starts_with(['周', '週']) && last_number(before).is_some();
                let is_begun = name.ends_with('曜') && behind.starts_with(goes_on);
                !(is_each(before) || is_counted || is_begun)
            })
        };
        if self.cue.is_ascii() {
            return None;
        }
        SPACELESS_WEEKDAYS.iter().position(|names| phrases(names).any(is_time)).map(|at| at as i8 + 1)
    }
}

/// Returns true if what follows is said to be each one: *每周五*, *毎週月曜*.
pub(super) fn is_each(before: &str) -> bool {
    before.trim_end_matches(['週', '周']).ends_with(['每', '毎'])
}
