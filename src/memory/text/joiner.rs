//! Adjacent words that single marks connect, as one: *on-call* as *oncall*, *1,250,000* as *1250000*, *2.1.0* as a version.
//!
//! Pure.

use std::mem::take;

use crate::memory::text::spelling::{FORM_BYTES, NUMBER_BORDER};

/// Most words that one joined form has. Picked: longer ones are paths and addresses.
const MAX_PIECE_COUNT: u32 = 6;

/// Least digits that hyphens may separate in one number: telephone numbers and dates have more, ranges fewer.
const MIN_HYPHENED_DIGITS: usize = 5;

/// Most characters of each of two words that a slash joins: *TCP/IP*, *CI/CD*.
const MAX_SLASHED_CHARS: usize = 4;

/// Characters of a byte in a network address: *00:1A:2B*.
const HEX_PAIR_CHARS: usize = 2;

/// A form of adjacent words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form<'f> {
    /// All of them.
    Whole(&'f str),
    /// The first numbers of a version: `2·1` of *2.1.0*.
    Beginning(&'f str),
}

/// Joins adjacent words that single marks connect: *on-call*, *Node.js*, *1,250,000*, *2.1.0*.
#[derive(Debug, Default)]
pub(crate) struct Joiner {
    words: Chain,
    numbers: Chain,
}

#[derive(Debug, Default)]
struct Chain {
    /// The pieces, with [`NUMBER_BORDER`] between two numbers.
    form: String,
    /// The offset in the text behind the last piece.
    end: usize,
    pieces: u32,
    /// Characters of the last piece.
    last_chars: usize,
    /// The mark between numbers.
    mark: Option<char>,
    /// All pieces are numbers.
    is_number: bool,
    /// All numbers but the first have three digits, the first at most three.
    is_grouped: bool,
}

impl Joiner {
    /// Returns true if no word was added that a mark may join to the next one.
    pub(crate) fn is_empty(&self) -> bool {
        self.words.pieces == 0 && self.numbers.pieces == 0
    }

    /// Adds the folded `word` at `start..end` of `text`. Calls `sink` with each form that it ends.
    pub(crate) fn push(&mut self, text: &str, start: usize, end: usize, word: &str, mut sink: impl FnMut(Form<'_>)) {
        // Most words stand alone between spaces.
        let is_last = text.as_bytes().get(end).is_none_or(|next| matches!(next, b' ' | b'\n'));
        if is_last && self.is_empty() {
            return;
        }
        let gap = |chain: &Chain| single_char(text.get(chain.end..start).unwrap_or_default());
        let is_number = word.bytes().all(|b| b.is_ascii_digit());
        let versioned =
            word.strip_prefix('v').filter(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()));
        let is_version_part = is_number || versioned.is_some();
        match gap(&self.words).filter(|mark| self.words.takes(*mark, word, &text[start..end])) {
            Some(_) => self.words.add(word, end, is_version_part, None),
            None => {
                self.words.finish_words(&mut sink);
                self.words.restart(word, end, is_version_part);
            }
        }
        let mark = gap(&self.numbers).filter(|mark| is_number && self.numbers.takes_number(*mark));
        match mark {
            Some(mark) => self.numbers.add(word, end, true, Some(mark)),
            None => {
                self.numbers.finish_number(&mut sink);
                match versioned {
                    Some(number) => self.numbers.restart(number, end, true),
                    None if is_number => self.numbers.restart(word, end, true),
                    None => self.numbers.clear(),
                }
            }
        }
        if is_last {
            self.finish(sink);
        }
    }

    /// Calls `sink` with each form that ends here.
    pub(crate) fn finish(&mut self, mut sink: impl FnMut(Form<'_>)) {
        self.words.finish_words(&mut sink);
        self.words.clear();
        self.numbers.finish_number(&mut sink);
        self.numbers.clear();
    }
}

impl Chain {
    /// Removes all pieces. The form keeps its memory for the next ones.
    fn clear(&mut self) {
        let mut form = take(&mut self.form);
        form.clear();
        *self = Chain { form, ..Chain::default() };
    }

    /// Begins again with one piece.
    fn restart(&mut self, piece: &str, end: usize, is_number: bool) {
        self.clear();
        (self.is_number, self.is_grouped) = (true, true);
        self.add(piece, end, is_number, None);
    }

    fn add(&mut self, piece: &str, end: usize, is_number: bool, mark: Option<char>) {
        let digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
        if digit(self.form.chars().next_back()) && digit(piece.chars().next()) {
            self.form.push(NUMBER_BORDER);
        }
        self.form.push_str(piece);
        self.last_chars = piece.chars().count();
        self.is_grouped &= if self.pieces == 0 { piece.len() <= 3 } else { piece.len() == 3 };
        self.is_number &= is_number;
        self.pieces += 1;
        self.end = end;
        self.mark = mark.or(self.mark);
    }

    /// Returns true if `mark` joins `word`, written as `raw`, to the last piece.
    fn takes(&self, mark: char, word: &str, raw: &str) -> bool {
        match mark {
            ':' => self.pieces > 0 && self.last_chars == HEX_PAIR_CHARS && is_hex_pairs(word, 1),
            '-' | '_' | '.' | '&' | '·' | '\u{2010}' | '\u{2011}' | '\u{2027}' => self.pieces > 0,
            '/' => {
                self.pieces == 1 && self.last_chars <= MAX_SLASHED_CHARS && word.chars().count() <= MAX_SLASHED_CHARS
            }
            '\'' | '\u{2019}' => {
                self.pieces == 1 && self.last_chars <= 2 && raw.chars().next().is_some_and(char::is_uppercase)
            }
            _ => false,
        }
    }

    fn takes_number(&self, mark: char) -> bool {
        let is_mark =
            matches!(mark, ',' | '.' | ':' | '_' | '-' | '\'' | '\u{2019}' | '\u{A0}' | '\u{2009}' | '\u{202F}');
        self.pieces > 0 && is_mark && self.mark.is_none_or(|other| other == mark)
    }

    fn finish_words(&self, sink: &mut impl FnMut(Form<'_>)) {
        let joins = self.pieces > 1 && self.pieces <= MAX_PIECE_COUNT && !self.is_number;
        if joins && self.form.len() <= FORM_BYTES {
            sink(Form::Whole(&self.form));
            let digits = self.form.replace(NUMBER_BORDER, "");
            if digits.len() < self.form.len() && is_hex_pairs(&digits, self.pieces as usize) {
                sink(Form::Whole(&digits));
            }
        }
    }

    fn finish_number(&self, sink: &mut impl FnMut(Form<'_>)) {
        let Some(mark) = self.mark.filter(|_| self.pieces > 1 && self.form.len() <= FORM_BYTES) else { return };
        let digits = || self.form.replace(NUMBER_BORDER, "");
        match mark {
            '-' if self.form.bytes().filter(u8::is_ascii_digit).count() >= MIN_HYPHENED_DIGITS => {
                sink(Form::Whole(&digits()))
            }
            '-' => {}
            ':' if self.form.split(NUMBER_BORDER).all(|part| part.len() <= 2) => sink(Form::Whole(&self.form)),
            ':' => {}
            ',' if is_indian(&self.form) => sink(Form::Whole(&digits())),
            _ if self.is_grouped => sink(Form::Whole(&digits())),
            '.' | '_' => {
                let borders = self.form.match_indices(NUMBER_BORDER).skip(1);
                borders.for_each(|(end, _)| sink(Form::Beginning(&self.form[..end])));
                sink(Form::Whole(&self.form));
            }
            ',' if self.pieces == 2 => sink(Form::Whole(&self.form)),
            _ => {}
        }
    }
}

/// Returns true if a number is grouped as in India: *12,34,567*.
fn is_indian(form: &str) -> bool {
    let mut groups = form.rsplit(NUMBER_BORDER);
    groups.next().is_some_and(|last| last.len() == 3) && groups.all(|group| group.len() <= 2)
}

/// Returns true if the word is so many pairs of hexadecimal digits, as a network address has.
fn is_hex_pairs(word: &str, count: usize) -> bool {
    word.len() == count * HEX_PAIR_CHARS && word.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

fn single_char(text: &str) -> Option<char> {
    let mut chars = text.chars();
    chars.next().filter(|_| chars.next().is_none())
}
