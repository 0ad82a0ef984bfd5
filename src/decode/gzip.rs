//! Gzip (RFC 1952) into a buffer that is used again and that has a limit.
//!
//! The header is read here and the body inflated raw, because a raw stream can be reset and used
//! for the next message, where the library's gzip reader allocates its 40 KiB state anew.

use flate2::{Crc, Decompress, FlushDecompress, Status};

use super::outcome::{Reason, Refused};

const MAGIC: [u8; 3] = [0x1f, 0x8b, 8];
/// Magic, flags, time, extra flags, system.
const HEADER_BYTES: usize = 10;
/// Checksum and length.
const TRAILER_BYTES: usize = 8;
/// The most that one byte of deflate can become: 258 bytes from two bits. The length in the trailer
/// is the sender's word, so the first allocation believes it only this far.
const RATIO_MAX: usize = 1_032;
/// Room behind the last byte that lets the inflater keep its fast path to the end.
const SLACK_BYTES: usize = 512;
/// A buffer that one giant message made larger than this is not kept for the next.
const RETAINED_BYTES_MAX: usize = 8 << 20;

const FLAG_CHECKSUM: u8 = 2;
const FLAG_EXTRA: u8 = 4;
const FLAG_NAME: u8 = 8;
const FLAG_COMMENT: u8 = 16;
const FLAGS_RESERVED: u8 = 0xe0;

/// Whether these bytes start like gzip.
pub(super) fn tells(message: &[u8]) -> bool {
    message.starts_with(&MAGIC)
}

/// The inflater's state and its output.
pub(super) struct Inflater {
    stream: Decompress,
    plain: Vec<u8>,
}

impl Inflater {
    pub(super) fn new() -> Self {
        Self { stream: Decompress::new(false), plain: Vec::new() }
    }

    /// Inflates one message of one member, up to `bytes_max`, and checks it against its trailer.
    pub(super) fn inflate(&mut self, message: &[u8], bytes_max: usize) -> Result<&[u8], Refused> {
        let body = body(message)?;
        self.prepare(body, bytes_max);
        let mut rest = body;
        loop {
            let before = self.stream.total_in();
            let status = self
                .stream
                .decompress_vec(rest, &mut self.plain, FlushDecompress::None)
                .map_err(|error| Refused::new(Reason::InvalidGzip, error))?;
            let read = usize::try_from(self.stream.total_in() - before).unwrap_or(usize::MAX);
            rest = rest.get(read..).unwrap_or_default();
            if self.plain.len() > bytes_max {
                let detail = format!("more than {bytes_max} bytes when decompressed");
                return Err(Refused::new(Reason::GzipTooLarge, detail));
            }
            if status == Status::StreamEnd {
                break;
            }
            if self.plain.len() < self.plain.capacity() {
                return Err(truncated());
            }
            self.plain.reserve(self.plain.len().max(SLACK_BYTES));
        }
        self.check(rest)?;
        Ok(&self.plain)
    }

    fn prepare(&mut self, body: &[u8], bytes_max: usize) {
        let told = match body.last_chunk() {
            Some(length) => usize::try_from(u32::from_le_bytes(*length)).unwrap_or(bytes_max),
            None => 0,
        };
        let believed = told.min(bytes_max).min(body.len().saturating_mul(RATIO_MAX));
        self.plain.clear();
        if self.plain.capacity() > RETAINED_BYTES_MAX {
            self.plain.shrink_to(RETAINED_BYTES_MAX);
        }
        self.plain.reserve(believed + SLACK_BYTES);
        self.stream.reset(false);
    }

    fn check(&self, trailer: &[u8]) -> Result<(), Refused> {
        let &[c0, c1, c2, c3, l0, l1, l2, l3] = trailer else {
            if trailer.len() < TRAILER_BYTES {
                return Err(truncated());
            }
            let detail = "something follows the compressed data";
            return Err(Refused::new(Reason::InvalidGzip, detail));
        };
        let mut crc = Crc::new();
        crc.update(&self.plain);
        let same_length = u32::from_le_bytes([l0, l1, l2, l3]) == crc.amount();
        if crc.sum() == u32::from_le_bytes([c0, c1, c2, c3]) && same_length {
            Ok(())
        } else {
            Err(Refused::new(Reason::InvalidGzip, "checksum does not match"))
        }
    }
}

/// The start of the plain text, as much as `plain` has room for; empty where it cannot be read.
pub(super) fn head<'a>(message: &[u8], plain: &'a mut [u8]) -> &'a [u8] {
    let Ok(body) = body(message) else {
        return &[];
    };
    let mut stream = Decompress::new(false);
    if stream.decompress(body, plain, FlushDecompress::None).is_err() {
        return &[];
    }
    let written = usize::try_from(stream.total_out()).unwrap_or_default();
    plain.get(..written).unwrap_or_default()
}

/// What follows the header.
fn body(message: &[u8]) -> Result<&[u8], Refused> {
    let (header, mut rest) = message.split_first_chunk::<HEADER_BYTES>().ok_or_else(truncated)?;
    let flags = header[3];
    if flags & FLAGS_RESERVED != 0 {
        return Err(Refused::new(Reason::InvalidGzip, "unknown header flags"));
    }
    if flags & FLAG_EXTRA != 0 {
        let (length, after) = rest.split_first_chunk().ok_or_else(truncated)?;
        let length = usize::from(u16::from_le_bytes(*length));
        rest = after.get(length..).ok_or_else(truncated)?;
    }
    for flag in [FLAG_NAME, FLAG_COMMENT] {
        if flags & flag != 0 {
            let end = memchr::memchr(0, rest).ok_or_else(truncated)?;
            rest = rest.get(end + 1..).unwrap_or_default();
        }
    }
    if flags & FLAG_CHECKSUM != 0 {
        rest = rest.get(2..).ok_or_else(truncated)?;
    }
    Ok(rest)
}

fn truncated() -> Refused {
    Refused::new(Reason::TruncatedGzip, "the compressed data stop before their end")
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, GzBuilder};

    use super::*;

    const PLAIN: &[u8] = b"a line, a line, a line, and then another line";

    fn zipped(builder: GzBuilder, plain: &[u8]) -> Vec<u8> {
        let mut writer = builder.write(Vec::new(), Compression::new(6));
        writer.write_all(plain).unwrap();
        writer.finish().unwrap()
    }

    fn reason(message: &[u8], bytes_max: usize) -> Reason {
        let mut inflater = Inflater::new();
        inflater.inflate(message, bytes_max).unwrap_err().reason
    }

    #[test]
    fn every_optional_part_of_the_header_is_skipped() {
        let mut inflater = Inflater::new();
        for builder in [
            GzBuilder::new(),
            GzBuilder::new().extra([1, 2, 3]),
            GzBuilder::new().filename("log"),
            GzBuilder::new().extra([9]).filename("log").comment("hello"),
        ] {
            let message = zipped(builder, PLAIN);
            assert_eq!(inflater.inflate(&message, 100).unwrap(), PLAIN);
            assert_eq!(head(&message, &mut [0; 6]), b"a line");
        }
    }

    #[test]
    fn every_shorter_prefix_is_truncated() {
        let message = zipped(GzBuilder::new().filename("log"), PLAIN);
        for end in MAGIC.len()..message.len() {
            assert_eq!(reason(&message[..end], 100), Reason::TruncatedGzip, "{end}");
        }
    }

    #[test]
    fn damage_and_leftovers_are_refused() {
        let message = zipped(GzBuilder::new(), PLAIN);
        let mut wrong_sum = message.clone();
        let at = message.len() - TRAILER_BYTES;
        wrong_sum[at] ^= 1;
        let mut wrong_length = message.clone();
        wrong_length[at + 4] ^= 1;
        let mut wrong_flags = message.clone();
        wrong_flags[3] = 0x80;
        let mut longer = message.clone();
        longer.push(0);
        for damaged in [wrong_sum, wrong_length, wrong_flags, longer] {
            assert_eq!(reason(&damaged, 100), Reason::InvalidGzip);
        }
    }

    #[test]
    fn the_limit_is_inclusive_and_a_bomb_costs_no_more_than_twice_the_limit() {
        let message = zipped(GzBuilder::new(), PLAIN);
        let mut inflater = Inflater::new();
        assert_eq!(inflater.inflate(&message, PLAIN.len()).unwrap(), PLAIN);
        assert_eq!(reason(&message, PLAIN.len() - 1), Reason::GzipTooLarge);

        let bomb = zipped(GzBuilder::new(), &vec![b' '; 32 << 20]);
        let bytes_max = 1 << 20;
        let refused = inflater.inflate(&bomb, bytes_max).unwrap_err();
        assert_eq!(refused.reason, Reason::GzipTooLarge);
        assert!(inflater.plain.capacity() <= 2 * bytes_max);
        assert_eq!(inflater.inflate(&message, bytes_max).unwrap(), PLAIN);
    }

    #[test]
    fn a_length_that_lies_does_not_decide_how_much_is_allocated() {
        let mut message = zipped(GzBuilder::new(), PLAIN);
        let at = message.len() - 4;
        message[at..].copy_from_slice(&u32::MAX.to_le_bytes());
        let mut inflater = Inflater::new();
        assert!(inflater.inflate(&message, 64 << 20).is_err());
        assert!(inflater.plain.capacity() < 1 << 20);
    }
}
