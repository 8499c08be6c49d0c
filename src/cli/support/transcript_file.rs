//! Continues to read a transcript within the file.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::transcript::TranscriptReader;

/// Bytes of the file's beginning, and before the offset, that are read again: they tell the session, its project, the
/// forms of the turns, and what the last ones were. 64 KiB: read in less than a millisecond.
const PRIMED_BYTES: u64 = 64 << 10;

/// Gives `reader` the lines before `offset`, which was reached earlier, that it needs to continue there.
///
/// # Errors
/// `UnexpectedEof` if the file is shorter than `offset`; otherwise any read error.
pub(crate) fn prime(reader: &mut TranscriptReader, file: &File, offset: u64) -> io::Result<()> {
    let is_short = offset <= 2 * PRIMED_BYTES;
    let head = if is_short { offset } else { PRIMED_BYTES };
    let tail = if is_short { offset } else { offset - PRIMED_BYTES };
    for (from, to, is_start) in [(0, head, true), (tail, offset, false)] {
        let mut bytes = vec![0; (to - from) as usize];
        file.read_exact_at(&mut bytes, from)?;
        // A piece may begin and end within a line.
        let lines = bytes.split_inclusive(|byte| *byte == b'\n').skip(usize::from(!is_start));
        lines.filter(|line| line.ends_with(b"\n")).for_each(|line| reader.prime(line));
    }
    Ok(())
}
