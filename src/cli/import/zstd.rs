//! Decompresses files that Codex compressed with Zstandard, with a bound on memory and on the size of the result.

use std::io::{self, BufRead, BufReader, Read};

use ruzstd::decoding::{FrameDecoder, StreamingDecoder};

/// The first bytes of a Zstandard frame.
const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Largest window, which is the decoder's memory. 8 MiB: the window that RFC 8878 recommends every decoder to
/// support, and the largest that `zstd` uses by default.
const MAX_WINDOW_BYTES: u64 = 8 << 20;

/// Bytes that are decompressed at most: so many for each compressed byte, and these. A transcript shrinks to a twentieth;
/// a file made to fill memory or time, to less than a thousandth. Picked.
const MAX_RATIO: u64 = 200;
const MIN_LIMIT_BYTES: u64 = 64 << 20;

/// Returns the content of `input`: decompressed if it is compressed with Zstandard, else as it is.
///
/// # Errors
/// `InvalidData` if the first frame cannot be read; otherwise any read error.
pub(crate) fn decompressed(input: Box<dyn Read>) -> io::Result<Box<dyn Read>> {
    let mut input = BufReader::new(input);
    if !input.fill_buf()?.starts_with(&MAGIC) {
        return Ok(Box::new(input));
    }
    let decoder = decoder(CountedInput { input, bytes: 0 })?;
    Ok(Box::new(Decompressor { decoder: Some(decoder), bytes: 0 }))
}

/// Compressed input, and how much of it was read.
struct CountedInput {
    input: BufReader<Box<dyn Read>>,
    bytes: u64,
}

impl Read for CountedInput {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(into)?;
        self.bytes += count as u64;
        Ok(count)
    }
}

/// Reads frames one after the other.
struct Decompressor {
    /// `None` at the end.
    decoder: Option<StreamingDecoder<CountedInput, FrameDecoder>>,
    /// Bytes decompressed so far.
    bytes: u64,
}

impl Read for Decompressor {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        while let Some(mut frame) = self.decoder.take() {
            let count = frame.read(into).map_err(|_| invalid())?;
            self.bytes += count as u64;
            let limit = MIN_LIMIT_BYTES.max(frame.get_ref().bytes.saturating_mul(MAX_RATIO));
            if self.bytes > limit {
                let what = format!(
                    "decompresses to more than {MAX_RATIO} times its size; decompress it with zstd and import the result"
                );
                return Err(io::Error::new(io::ErrorKind::InvalidData, what));
            }
            if count > 0 {
                self.decoder = Some(frame);
                return Ok(count);
            }
            let mut rest = frame.into_inner();
            if !rest.input.fill_buf()?.is_empty() {
                self.decoder = Some(decoder(rest)?);
            }
        }
        Ok(0)
    }
}

fn decoder(input: CountedInput) -> io::Result<StreamingDecoder<CountedInput, FrameDecoder>> {
    StreamingDecoder::new_with_max_window_size(input, MAX_WINDOW_BYTES).map_err(|_| invalid())
}

/// The decoder's own errors are internals of it.
fn invalid() -> io::Error {
    let what =
        "damaged Zstandard file, cut off, or with a window over 8 MiB; if zstd -d decompresses it, import the result";
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a frame of blocks of 128 KiB of the byte `x`, with this window descriptor.
    fn frame(blocks: u32, window: u8) -> Vec<u8> {
        let mut bytes = [MAGIC.as_slice(), &[0, window]].concat();
        for at in 0..blocks {
            // Type 1, a repeated byte, and a flag at the last block.
            let header = (128 << 10 << 3) | (1 << 1) | u32::from(at + 1 == blocks);
            bytes.extend_from_slice(&header.to_le_bytes()[..3]);
            bytes.push(b'x');
        }
        bytes
    }

    fn read(bytes: Vec<u8>) -> io::Result<u64> {
        io::copy(&mut decompressed(Box::new(io::Cursor::new(bytes)))?, &mut io::sink())
    }

    #[test]
    fn frames_are_decompressed_and_other_files_are_not() {
        let mut text = String::new();
        decompressed(Box::new("{\"plain\":1}".as_bytes())).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "{\"plain\":1}");
        assert_eq!(read(Vec::new()).unwrap(), 0);
        assert_eq!(read(frame(3, 0x38)).unwrap(), 3 * (128 << 10));
        assert_eq!(read([frame(3, 0x38), frame(1, 0x38)].concat()).unwrap(), 4 * (128 << 10));
    }

    #[test]
    fn damage_and_excess_are_refused() {
        for bytes in [
            MAGIC.to_vec(),
            [MAGIC.as_slice(), &[0]].concat(),
            frame(3, 0x38)[..9].to_vec(),
            [frame(1, 0x38), b"rest".to_vec()].concat(),
        ] {
            let error = read(bytes.clone()).unwrap_err();
            assert!(error.to_string().contains("damaged Zstandard file"), "{bytes:?}: {error}");
        }
        let bomb = read(frame(600, 0x38)).unwrap_err();
        assert!(bomb.to_string().contains("200 times its size"), "{bomb}");
        // A window of 2 GiB.
        let window = read(frame(1, 0xa8)).unwrap_err();
        assert!(window.to_string().contains("damaged Zstandard file"), "{window}");
    }
}
