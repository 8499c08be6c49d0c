//! The format of an FTS5 index with `detail=none`, as far as the list of one term needs it: the structure record, and the
//! leaves of its segments.
//!
//! `fts5_index.c` of SQLite describes it in its first comments; `fts5StructureDecode`, `fts5LeafSeek`,
//! `fts5SegIterReverseInitPage` and `fts5SegIterLoadNPos` read it. A varint is SQLite's: seven bits a byte, the highest
//! first, all eight of the ninth byte.
//!
//! | what | bytes |
//! |---|---|
//! | structure record | cookie (4), varints: levels, segments, write counter, then each level |
//! | level | varints: segments that are being merged, segments, then each segment, the oldest first |
//! | segment | varints: id, first leaf, last leaf (both 0 once all of it is merged) |
//! | leaf | offset of the first rowid of a list that began on an earlier leaf, or 0 (2); offset of the footer (2); that list's part; terms, each with its list; footer |
//! | term | the first of a leaf: varint length, bytes; others: varint bytes in common with the term before, varint length of the rest, the rest |
//! | list | varint rowid, then varint differences; behind a rowid `00` if it is deleted, `00 00` if it was deleted and added again |
//! | footer | varints: offset of the first term, then the difference to each next one |
//!
//! The first rowid of a list's part on a leaf is stored whole, so each leaf is read by itself. The terms of the index
//! without prefixes begin with the byte `0`.
//!
//! Pure. The bytes are stored data: whatever they are, nothing here panics or takes more steps than there are bytes.

use std::ops::Range;

/// What begins each term: FTS5 has further indexes of prefixes, this program none.
pub(crate) const TERM_MARK: u8 = b'0';

/// The version of the format, in table `term_index_config`. A higher one is written by `secure-delete`.
pub(crate) const VERSION: i64 = 4;

/// What stands behind the cookie if a structure record has fields of `contentless_delete`.
const OTHER_STRUCTURE: [u8; 4] = [0xFF, 0x00, 0x00, 0x01];

/// Bytes of a leaf's header.
const HEADER_BYTES: usize = 4;

/// Bytes of a list's part that are decoded together, at least.
const BLOCK_BYTES: usize = 256;

/// The bytes are not of this format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Malformed;

/// A segment: sorted terms with their lists, on numbered leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) id: i64,
    pub(crate) first_leaf: i64,
    pub(crate) last_leaf: i64,
}

impl Segment {
    /// Returns the number under which table `term_index_data` has a leaf: the segment's id in front of 37 bits.
    pub(crate) fn leaf_id(&self, leaf: i64) -> i64 {
        (self.id << 37) + leaf
    }
}

/// Returns the segments that a structure record names, the newest first. What a segment says of a rowid holds against what
/// the ones behind it say.
///
/// # Errors
/// [`Malformed`] also for a record of another format.
pub(crate) fn segments(record: &[u8]) -> Result<Vec<Segment>, Malformed> {
    let mut rest = Bytes(record.get(4..).ok_or(Malformed)?);
    if rest.0.starts_with(&OTHER_STRUCTURE) {
        return Err(Malformed);
    }
    let (levels, count, _) = (rest.varint()?, rest.varint()?, rest.varint()?);
    let mut segments = Vec::new();
    for _ in 0..levels {
        let (_, of_level) = (rest.varint()?, rest.varint()?);
        let first = segments.len();
        for _ in 0..of_level {
            let (id, first_leaf, last_leaf) = (rest.number(0xFFFF)?, rest.number(i32::MAX)?, rest.number(i32::MAX)?);
            segments.push(Segment { id, first_leaf, last_leaf });
        }
        segments[first..].reverse();
    }
    if segments.len() as u64 != count {
        return Err(Malformed);
    }
    segments.retain(|segment| segment.last_leaf > 0);
    Ok(segments)
}

/// A rowid of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ListEntry {
    pub(crate) rowid: i64,
    /// Older segments may have the rowid; it is not in the list any more.
    pub(crate) is_deleted: bool,
}

/// A leaf of a segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leaf<'b> {
    /// All but the footer.
    body: &'b [u8],
    footer: &'b [u8],
}

/// The list of a term on the leaf that has the term.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TermList {
    pub(crate) place: Range<usize>,
    /// No term follows on the leaf, so the list may go on on the next one.
    pub(crate) is_last: bool,
}

impl<'b> Leaf<'b> {
    /// Returns the leaf that a row of table `term_index_data` has.
    pub(crate) fn of(block: &'b [u8]) -> Result<Leaf<'b>, Malformed> {
        let end = offset(block, 2)?;
        let (body, footer) = block.split_at_checked(end).ok_or(Malformed)?;
        if end < HEADER_BYTES { Err(Malformed) } else { Ok(Leaf { body, footer }) }
    }

    /// Returns the part that this leaf has of the list that is the last on the leaf before; empty if it has none.
    pub(crate) fn continued(&self) -> Result<&'b [u8], Malformed> {
        let start = offset(self.body, 0)?;
        let end = if self.footer.is_empty() { self.body.len() } else { Bytes(self.footer).varint()? as usize };
        match start {
            0 => Ok(&[]),
            1..HEADER_BYTES => Err(Malformed),
            _ => self.part(start..end),
        }
    }

    /// Returns what is at a place of the leaf.
    pub(crate) fn part(&self, place: Range<usize>) -> Result<&'b [u8], Malformed> {
        self.body.get(place).ok_or(Malformed)
    }

    /// Returns the list of a term; `None` if the term is not on this leaf.
    pub(crate) fn list(&self, term: &[u8]) -> Result<Option<TermList>, Malformed> {
        let mut footer = Bytes(self.footer);
        let (mut start, mut matched) = (0_usize, 0_usize);
        let mut is_first = true;
        while !footer.0.is_empty() {
            start = start.saturating_add(footer.varint()? as usize);
            let mut rest = Bytes(self.body.get(start..).ok_or(Malformed)?);
            let in_common = if is_first { 0 } else { rest.varint()? as usize };
            is_first = false;
            // Terms rise. `matched` bytes of the one before were those of the term.
            if in_common > matched {
                continue;
            }
            if in_common < matched {
                return Ok(None);
            }
            let length = rest.varint()?;
            let own = rest.take(length)?;
            let wanted = &term[matched..];
            let equal = own.iter().zip(wanted).take_while(|(a, b)| a == b).count();
            matched += equal;
            match (own.get(equal), wanted.get(equal)) {
                (None, None) => {
                    let (list, is_last) = (self.body.len() - rest.0.len(), footer.0.is_empty());
                    let end = if is_last { self.body.len() } else { start.saturating_add(footer.varint()? as usize) };
                    return Ok(Some(TermList { place: list..end, is_last }));
                }
                (Some(_), None) => return Ok(None),
                (Some(has), Some(want)) if has > want => return Ok(None),
                _ => {}
            }
        }
        Ok(None)
    }
}

/// The part of a list on one leaf, of which the last entries are taken first: of a long part only the end is decoded.
#[derive(Debug, Default)]
pub(crate) struct ListPart {
    /// The blocks that are not decoded.
    bytes: Vec<u8>,
    /// Where each block begins, and the rowid before it.
    blocks: Vec<(usize, i64)>,
    /// The entries of the last block that was decoded, without those that were taken.
    entries: Vec<ListEntry>,
}

impl ListPart {
    pub(crate) fn of(bytes: &[u8]) -> Result<ListPart, Malformed> {
        let mut blocks = Vec::with_capacity(bytes.len() / BLOCK_BYTES + 1);
        let mut rest = Bytes(bytes);
        // The first rowid is whole: a difference to 0.
        let (mut rowid, mut end) = (0_i64, 0);
        while !rest.0.is_empty() {
            let at = bytes.len() - rest.0.len();
            if at >= end {
                blocks.push((at, rowid));
                end = at + BLOCK_BYTES;
            }
            let difference = match rest.small_differences() {
                Some(sum) => sum,
                None => rest.varint()?,
            };
            rowid = rowid.wrapping_add(difference.cast_signed());
            rest.deletion_mark();
        }
        Ok(ListPart { bytes: bytes.to_vec(), blocks, entries: Vec::new() })
    }

    /// Returns the last entry that was not taken.
    pub(crate) fn last(&mut self) -> Result<Option<ListEntry>, Malformed> {
        if self.entries.is_empty()
            && let Some((start, before)) = self.blocks.pop()
        {
            let mut rest = Bytes(self.bytes.get(start..).ok_or(Malformed)?);
            let mut rowid = before;
            while !rest.0.is_empty() {
                rowid = rowid.wrapping_add(rest.varint()?.cast_signed());
                self.entries.push(ListEntry { rowid, is_deleted: rest.deletion_mark() });
            }
            self.bytes.truncate(start);
        }
        Ok(self.entries.last().copied())
    }

    /// Takes the last entry, if it is decoded and its rowid is above this one.
    pub(crate) fn pop_above(&mut self, rowid: i64) -> Option<ListEntry> {
        self.entries.pop_if(|entry| entry.rowid > rowid)
    }

    /// Takes the last entry if it is of this rowid, after [`Self::last`] has returned it.
    pub(crate) fn take(&mut self, rowid: i64) {
        self.entries.pop_if(|entry| entry.rowid == rowid);
    }
}

/// Returns the offset that stands at this place of a leaf's header.
fn offset(block: &[u8], at: usize) -> Result<usize, Malformed> {
    let bytes = block.get(at..at + 2).ok_or(Malformed)?;
    Ok(usize::from(bytes[0]) << 8 | usize::from(bytes[1]))
}

/// Bytes that are read one value after another.
struct Bytes<'b>(&'b [u8]);

impl<'b> Bytes<'b> {
    #[inline]
    fn varint(&mut self) -> Result<u64, Malformed> {
        match self.0.split_first() {
            Some((&byte, rest)) if byte < 0x80 => {
                self.0 = rest;
                Ok(u64::from(byte))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0;
        for count in 1..=9 {
            let (&byte, rest) = self.0.split_first().ok_or(Malformed)?;
            self.0 = rest;
            if count == 9 {
                return Ok(value << 8 | u64::from(byte));
            }
            value = value << 7 | u64::from(byte & 0x7F);
            if byte < 0x80 {
                break;
            }
        }
        Ok(value)
    }

    /// Returns a varint up to `most`.
    fn number(&mut self, most: i32) -> Result<i64, Malformed> {
        i64::try_from(self.varint()?).ok().filter(|&number| number <= i64::from(most)).ok_or(Malformed)
    }

    fn take(&mut self, length: u64) -> Result<&'b [u8], Malformed> {
        let length = usize::try_from(length).map_err(|_| Malformed)?;
        let (taken, rest) = self.0.split_at_checked(length).ok_or(Malformed)?;
        self.0 = rest;
        Ok(taken)
    }

    /// Passes over eight differences of one byte each, if nothing else comes before them or between them. Returns their sum.
    fn small_differences(&mut self) -> Option<u64> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        let word = u64::from_le_bytes(*bytes);
        // A byte's highest bit is set here if the byte is more than 127, or 0.
        if (word | word.wrapping_sub(0x0101_0101_0101_0101)) & 0x8080_8080_8080_8080 != 0 {
            return None;
        }
        self.0 = rest;
        let pairs = (word & 0x00FF_00FF_00FF_00FF) + (word >> 8 & 0x00FF_00FF_00FF_00FF);
        Some(pairs.wrapping_mul(0x0001_0001_0001_0001) >> 48)
    }

    /// Passes over what stands behind a rowid that was deleted. Returns true if it was not added again.
    #[inline]
    fn deletion_mark(&mut self) -> bool {
        match self.0 {
            [0, 0, rest @ ..] => {
                self.0 = rest;
                false
            }
            [0, rest @ ..] => {
                self.0 = rest;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_are_read_newest_first_and_those_that_are_merged_are_left_out() {
        let segment = |id, first_leaf, last_leaf| Segment { id, first_leaf, last_leaf };
        for (record, want) in [
            (&b"\0\0\0\0\0\0\0"[..], Ok(vec![])),
            (b"\0\0\0\0\x01\x01\0\0\x01\x0E\x01\x87\x29", Ok(vec![segment(14, 1, 937)])),
            // Two segments of the first level are being merged, one of them wholly, into one of the second.
            (
                b"\0\0\0\x07\x02\x04\x05\x02\x03\x01\0\0\x02\x03\x09\x04\x01\x02\0\x01\x03\x01\x06",
                Ok(vec![segment(4, 1, 2), segment(2, 3, 9), segment(3, 1, 6)]),
            ),
            (b"", Err(Malformed)),
            (b"\0\0\0\0\x01\x01\0\0\x01\x0E\x01", Err(Malformed)),
            (b"\0\0\0\0\x01\x02\0\0\x01\x0E\x01\x02", Err(Malformed)),
            (b"\0\0\0\0\xFF\x00\x00\x01\0\0\0", Err(Malformed)),
            (b"\0\0\0\0\x8F\xFF\xFF\xFF\x7F\x01\0\0\0", Err(Malformed)),
        ] {
            assert_eq!(segments(record), want, "{record:?}");
        }
    }

    /// A leaf with the end of a list (rowids 300 and 301), and the terms `0ab`, `0abc` and `0b`.
    const LEAF: &[u8] =
        b"\0\x04\0\x1B\x82\x2C\x01\x030ab\x05\x02\0\x01\0\0\x03\x01c\x09\x01\x01b\x82\x2C\x01\x07\x0A\x04";

    #[test]
    fn a_term_has_its_list_and_a_list_goes_on() {
        let leaf = Leaf::of(LEAF).unwrap();
        let entries = |part: &[u8]| {
            let mut entries: Vec<_> =
                entries(part).unwrap().into_iter().map(|one| (one.rowid, one.is_deleted)).collect();
            entries.reverse();
            entries
        };
        assert_eq!(entries(leaf.continued().unwrap()), [(300, false), (301, false)]);
        for (term, want) in [
            (&b"0ab"[..], Some((vec![(5, false), (7, true), (8, false)], false))),
            (b"0abc", Some((vec![(9, false)], false))),
            (b"0b", Some((vec![(300, false), (301, false)], true))),
            (b"0", None),
            (b"0a", None),
            (b"0aa", None),
            (b"0abb", None),
            (b"0abcd", None),
            (b"0abd", None),
            (b"0c", None),
            (b"", None),
        ] {
            let found = leaf.list(term).unwrap().map(|list| (entries(leaf.part(list.place).unwrap()), list.is_last));
            assert_eq!(found, want, "{}", term.escape_ascii());
        }
    }

    #[test]
    fn rowids_of_all_sizes_are_read() {
        for (bytes, want) in [
            (&b"\x7F"[..], 127),
            (b"\x81\x00", 128),
            (b"\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x7F", (1 << 56) - 1),
            (b"\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", -1),
            (b"\xBF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF", i64::MAX),
        ] {
            assert_eq!(entries(bytes), Ok(vec![ListEntry { rowid: want, is_deleted: false }]), "{bytes:?}");
        }
        assert_eq!(entries(b"\x81"), Err(Malformed));
    }

    /// Returns the entries of a part, the last one first.
    fn entries(part: &[u8]) -> Result<Vec<ListEntry>, Malformed> {
        let mut part = ListPart::of(part)?;
        let mut entries = Vec::new();
        while let Some(entry) = part.last()? {
            part.take(entry.rowid);
            entries.push(entry);
        }
        Ok(entries)
    }

    #[test]
    fn a_long_part_is_read_from_its_end() {
        // Differences of one to three bytes, in runs of all lengths, and both marks.
        let (mut bytes, mut want, mut rowid) = (Vec::new(), Vec::new(), 0_i64);
        for n in 0..5000_i64 {
            let (difference, varint) = match n % 97 % 41 {
                7 => (128, vec![0x81, 0x00]),
                23 => (16_384, vec![0x81, 0x80, 0x00]),
                other => (1 + other, vec![1 + other as u8]),
            };
            let mark: &[u8] = match n % 61 {
                5 | 40 => b"\0",
                11 => b"\0\0",
                _ => b"",
            };
            rowid += difference;
            bytes.extend([&varint[..], mark].concat());
            want.push(ListEntry { rowid, is_deleted: mark.len() == 1 });
        }
        want.reverse();
        assert_eq!(entries(&bytes), Ok(want));
    }

    #[test]
    fn a_leaf_with_any_byte_wrong_or_cut_off_anywhere_is_read_to_some_end() {
        let read = |bytes: &[u8]| {
            let Ok(leaf) = Leaf::of(bytes) else { return };
            let lists = [b"0ab".as_slice(), b"0abc", b"0b", b"0"].map(|term| leaf.list(term).ok().flatten());
            let parts = lists.into_iter().flatten().filter_map(|list| leaf.part(list.place).ok());
            for part in parts.chain(leaf.continued()) {
                let _ = entries(part);
            }
        };
        for at in 0..LEAF.len() {
            read(&LEAF[..at]);
            for value in 0..=255 {
                let mut bytes = LEAF.to_vec();
                bytes[at] = value;
                read(&bytes);
            }
        }
    }
}
