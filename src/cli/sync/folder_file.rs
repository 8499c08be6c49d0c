//! A file of a folder: lines that one store appends, and that others read from where they stopped.
//!
//! Whatever carries the folder may have carried a part of a file, an older state of it, or a copy beside it. So each line
//! has its checksum and that of the line before, a reader remembers the line before its position, and a file that does not
//! have that line any more is read from its beginning. What follows the last whole line is left for the next run.

use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::cli::support::error::CliError;
use crate::cli::support::files;
use crate::cli::support::lines::{LineReader, RawLine};
use crate::cli::sync::frame::{self, Frame, MAX_FRAME_BYTES};
use crate::cli::sync::pipe::{FORMAT, is_store_id};
use crate::cli::sync::remote::version_mismatch;

/// Longest first line, in bytes: it has an id, a version and a machine's name.
const MAX_HEADER_BYTES: usize = 4 << 10;

/// The key of the checksum of the line before: so the last line that was read stands for all before it.
pub(crate) const BEFORE: &str = "before";

/// A position in a file, with the line before it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct FileMark {
    /// Behind the newline of the line: `start < end`, or both are 0 at the beginning of the file.
    pub(crate) end: u64,
    /// Where the line begins.
    pub(crate) start: u64,
    /// The number of the line.
    pub(crate) n: u64,
    /// The checksum of the line.
    pub(crate) sum: String,
}

/// Whose file it is, out of its first line.
#[derive(Debug, PartialEq, Eq)]
enum FileHeader {
    /// It is of this store.
    Of(String),
    /// It is of a release with another format: the format, and the release.
    OtherFormat(u64, String),
    /// Its first line is not one that a store writes.
    Damaged,
    /// It is no such file, or its first line is not there yet.
    None,
}

/// What was read of a file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct FileEnd {
    /// Behind the last line before which nothing is missing.
    pub(crate) mark: FileMark,
    /// Where a line is damaged or missing before others that are whole.
    pub(crate) damaged_at: Option<u64>,
}

impl FileMark {
    /// Returns the line before this position; `None` if the file does not have it.
    pub(crate) fn line(&self, file: &File) -> Option<Vec<u8>> {
        let bytes =
            self.end.checked_sub(self.start).filter(|bytes| (1..=MAX_FRAME_BYTES as u64 + 1).contains(bytes))?;
        let mut line = vec![0; usize::try_from(bytes).ok()?];
        file.read_exact_at(&mut line, self.start).ok()?;
        (line.pop() == Some(b'\n') && frame::checked_sum(&line) == Some(&self.sum)).then_some(line)
    }

    pub(crate) fn as_json(&self) -> Value {
        json!([self.end, self.start, self.n, self.sum])
    }

    /// Reads what [`FileMark::as_json`] wrote; the beginning of the file if it is something else.
    pub(crate) fn of_json(value: &Value) -> FileMark {
        let number = |at: usize| value[at].as_u64();
        match (number(0), number(1), number(2), value[3].as_str()) {
            (Some(end), Some(start), Some(n), Some(sum)) => FileMark { end, start, n, sum: sum.to_owned() },
            _ => FileMark::default(),
        }
    }
}

/// Opens a file that a store may have written, and returns the store's id. Returns `None` if none has.
///
/// # Errors
/// A sentence if it is no regular file, of another format, or cannot be read, and if a store's file by its name has a
/// damaged first line.
pub(crate) fn open(path: &Path) -> Result<Option<(String, File)>, String> {
    let file = match files::open_unlinked(path) {
        // The carrier has just replaced it.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.raw_os_error() == Some(libc::ELOOP) => {
            return Err("a symbolic link, which is not followed; move it away".into());
        }
        Err(error) => return Err(format!("{error}; it was left out")),
        Ok(file) => file,
    };
    match header(&file).map_err(|error| error.to_string())? {
        FileHeader::Of(store) => Ok(Some((store, file))),
        FileHeader::OtherFormat(format, version) => Err(version_mismatch("its writer", format, &version)),
        FileHeader::Damaged if is_named_by_store(path) => {
            Err("its first line is damaged; remove the file, and its store writes it again at its next sync".into())
        }
        FileHeader::Damaged | FileHeader::None => Ok(None),
    }
}

/// Returns true if a file has the name that a store gives to its own.
fn is_named_by_store(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.split_once('.'));
    name.is_some_and(|(store, _)| is_store_id(store))
}

/// Returns the header of a file.
fn header(file: &File) -> io::Result<FileHeader> {
    let mut start = vec![0; MAX_HEADER_BYTES];
    let mut read = 0;
    while read < start.len() {
        match file.read_at(&mut start[read..], read as u64) {
            Ok(0) => break,
            Ok(count) => read += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let Some(end) = memchr::memchr(b'\n', &start[..read]) else { return Ok(FileHeader::None) };
    let Some(Frame { about, .. }) = frame::decode(&start[..end]) else { return Ok(FileHeader::Damaged) };
    let text = |key: &str| about[key].as_str().unwrap_or_default().to_owned();
    Ok(match about["iaid_sync"].as_u64() {
        Some(FORMAT) if is_store_id(&text("store")) => FileHeader::Of(text("store")),
        Some(format) if format != FORMAT => FileHeader::OtherFormat(format, text("version")),
        _ => FileHeader::None,
    })
}

/// Passes each whole line behind `from` to `each`; all of them if the file does not have the line before it.
///
/// # Errors
/// [`ReadFault::File`] of reading, and the error of `each`.
pub(crate) fn read(
    mut file: File,
    from: &FileMark,
    each: &mut dyn FnMut(&Frame<'_>, u64) -> Result<(), CliError>,
) -> Result<FileEnd, ReadFault> {
    let mut mark = if from.line(&file).is_some() { from.clone() } else { FileMark::default() };
    let base = mark.end;
    file.seek(SeekFrom::Start(base)).map_err(ReadFault::File)?;
    let mut lines = LineReader::new(Box::new(file), MAX_FRAME_BYTES);
    let (mut bad_at, mut damaged_at) = (None, None);
    loop {
        let start = base + lines.bytes;
        let line = match lines.next_raw().map_err(ReadFault::File)? {
            Some(line) if !lines.is_cut_off => line,
            _ => return Ok(FileEnd { mark, damaged_at }),
        };
        let end = base + lines.bytes;
        let whole = match &line {
            RawLine::Bytes(line) => frame::decode(line),
            RawLine::TooLong => None,
        };
        let Some(frame) = whole else {
            bad_at = bad_at.or(Some(start));
            continue;
        };
        if frame.about[BEFORE].as_str().unwrap_or_default() != mark.sum {
            bad_at = bad_at.or(Some(start));
        }
        damaged_at = damaged_at.or(bad_at);
        each(&frame, lines.bytes).map_err(ReadFault::Entries)?;
        if bad_at.is_none() {
            mark = FileMark { end, start, n: frame.n, sum: frame.sum.to_owned() };
        }
    }
}

/// Why a file was not read to its end.
#[derive(Debug)]
pub(crate) enum ReadFault {
    /// It cannot be read.
    File(io::Error),
    /// The daemon did not take what it has.
    Entries(CliError),
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    use proptest::prelude::*;

    use crate::cli::sync::frame::{NO_ENTRIES, encode};
    use crate::cli::sync::pipe::greeting;

    /// Returns the lines of a file of so many batches, with its header.
    fn lines(batches: u64) -> Vec<String> {
        lines_of(&(2..batches + 2).collect::<Vec<u64>>())
    }

    /// Returns the lines of a file with a batch for each of these entries, with its header.
    fn lines_of(entries: &[u64]) -> Vec<String> {
        let mut lines = vec![encode(1, &greeting(&"5".repeat(32), "desk", None), NO_ENTRIES).unwrap()];
        for (entry, n) in entries.iter().zip(2..) {
            let before = frame::checked_sum(lines[lines.len() - 1].trim_end().as_bytes()).unwrap().to_owned();
            let about = json!({"next": format!("c{n}"), "before": before});
            lines.push(encode(n, &about, &format!("[{{\"e\":{entry}}}]")).unwrap());
        }
        lines
    }

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    /// Returns the entries behind a mark, and where reading ended.
    fn entries(bytes: &[u8], from: &FileMark) -> (Vec<String>, FileEnd) {
        let mut got = Vec::new();
        let end = read(file(bytes), from, &mut |frame, _| {
            got.extend(frame.entries.iter().map(|entry| entry.get().to_owned()));
            Ok(())
        });
        (got, end.unwrap())
    }

    fn wanted(batches: std::ops::Range<u64>) -> Vec<String> {
        batches.map(|n| format!("{{\"e\":{}}}", n + 2)).collect()
    }

    #[test]
    fn a_file_that_is_cut_anywhere_gives_its_whole_lines_and_the_rest_later() {
        let whole = lines(3).concat().into_bytes();
        for cut in 0..=whole.len() {
            let (mut got, end) = entries(&whole[..cut], &FileMark::default());
            assert_eq!(end.damaged_at, None, "cut at {cut}");
            let (rest, last) = entries(&whole, &end.mark);
            got.extend(rest);
            assert_eq!((got, last.mark.end, last.damaged_at), (wanted(0..3), whole.len() as u64, None), "cut at {cut}");
            assert_eq!(
                header(&file(&whole[..cut])).unwrap() == FileHeader::Of("5".repeat(32)),
                cut >= lines(0)[0].len()
            );
        }
    }

    #[test]
    fn a_file_that_was_cut_short_or_replaced_is_read_from_its_beginning() {
        let whole = lines(3).concat().into_bytes();
        let (_, end) = entries(&whole, &FileMark::default());
        assert_eq!(FileMark::of_json(&end.mark.as_json()), end.mark);
        // Its last lines have the same entries.
        let others = lines_of(&[9, 3, 4, 5]).concat();
        for replaced in [&whole[..whole.len() - 1], &lines(1).concat().into_bytes(), b"", others.as_bytes()] {
            let (got, _) = entries(replaced, &end.mark);
            assert_eq!(got, entries(replaced, &FileMark::default()).0);
        }
        for wrong in [json!(null), json!([1, 2]), json!([9, 5, 1, "x"]), json!([u64::MAX, 0, 1, "x"])] {
            assert_eq!(entries(&whole, &FileMark::of_json(&wrong)).0, wanted(0..3), "{wrong}");
        }
    }

    #[test]
    fn what_is_damaged_or_missing_is_named_and_read_again() {
        let all = lines(4);
        let at = |line: usize| all[..line].concat().len() as u64;
        let damaged = all.concat().replace("\"e\":3", "\"e\":7");
        let zeros = [all[..3].concat().as_bytes(), &[0; 512], b"\n", all[3].as_bytes()].concat();
        let missing = [&all[..2], &all[3..]].concat().concat();
        let doubled = [&all[..3], &all[2..]].concat().concat();
        for (bytes, place, got) in [
            (damaged.as_bytes(), Some(at(2)), vec![0, 2, 3]),
            (&zeros, Some(at(3)), vec![0, 1, 2]),
            (missing.as_bytes(), Some(at(2)), vec![0, 2, 3]),
            (doubled.as_bytes(), Some(at(3)), vec![0, 1, 1, 2, 3]),
            (&all[..3].concat().into_bytes().into_iter().chain([0; 99]).collect::<Vec<u8>>(), None, vec![0, 1]),
        ] {
            let (entries, end) = entries(bytes, &FileMark::default());
            let got: Vec<String> = got.into_iter().flat_map(|n| wanted(n..n + 1)).collect();
            assert_eq!((entries, end.damaged_at), (got, place));
            assert!(place.is_none_or(|place| end.mark.end <= place));
        }
    }

    #[test]
    fn other_files_have_no_header() {
        for other in ["", "\n", "notes\n", "{\"iaid_sync\":1,\"store\":\"s1\"}\n", "[]\n"] {
            let want = if other.is_empty() { FileHeader::None } else { FileHeader::Damaged };
            assert_eq!(header(&file(other.as_bytes())).unwrap(), want, "{other}");
        }
        let newer = encode(1, &json!({"iaid_sync": 2, "version": "9.0", "store": "s1"}), NO_ENTRIES).unwrap();
        assert_eq!(header(&file(newer.as_bytes())).unwrap(), FileHeader::OtherFormat(2, "9.0".into()));
    }

    proptest! {
        #[test]
        fn any_states_of_a_growing_file_give_each_entry_at_least_once(
            mut cuts in prop::collection::vec(0..2000_usize, 1..8),
        ) {
            let whole = lines(5).concat().into_bytes();
            // A carrier may bring an older state after a newer one.
            cuts.push(whole.len());
            let (mut mark, mut got) = (FileMark::default(), Vec::new());
            for cut in cuts {
                let (new, end) = entries(&whole[..cut.min(whole.len())], &mark);
                prop_assert_eq!(end.damaged_at, None);
                mark = end.mark;
                got.extend(new);
            }
            got.sort();
            got.dedup();
            prop_assert_eq!(got, wanted(0..5));
        }
    }
}
