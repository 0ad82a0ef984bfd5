use std::io::{self, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::TempDir;

use super::*;
use crate::units::EventTime;

/// Lines of these tests begin with their second.
fn peek(line: &[u8]) -> Option<EventTime> {
    let digits = line.split(|&byte| byte == b' ').next()?;
    let second: i64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    let second = second.saturating_add(1_700_000_000);
    Some(EventTime::saturating_from_ms(second.saturating_mul(1_000)))
}

fn no_peek(_: &[u8]) -> Option<EventTime> {
    panic!("a single input needs no look at times")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = zstd::Encoder::new(Vec::new(), 1).unwrap();
    // As the command-line tool does; without it broken data may pass for good.
    encoder.include_checksum(true).unwrap();
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

struct Files(TempDir, Vec<PathBuf>);

fn files(contents: &[&[u8]]) -> Files {
    let dir = TempDir::new().unwrap();
    let paths = (0..).zip(contents).map(|(index, content)| {
        let path = dir.path().join(format!("{index}.jsonl"));
        std::fs::write(&path, content).unwrap();
        path
    });
    let paths = paths.collect();
    Files(dir, paths)
}

type Seen = (u32, u64, String);

fn read_all(source: &mut FileSource, chunk: &mut Chunk) -> (Vec<Seen>, Vec<Seen>) {
    let (mut lines, mut problems) = (Vec::new(), Vec::new());
    loop {
        match source.read(chunk, Duration::from_secs(20)).unwrap() {
            Read::End => return (lines, problems),
            Read::Idle => panic!("a file is never idle"),
            Read::Messages => {}
        }
        lines.extend(chunk.messages().map(|m| {
            let text = String::from_utf8_lossy(m.payload).into_owned();
            (m.position.lane, m.position.offset, text)
        }));
        problems.extend(chunk.problems().map(|p| {
            let what = format!("{}: {}", p.reason.as_str(), p.detail);
            (p.position.lane, p.position.offset, what)
        }));
    }
}

fn read_files(contents: &[&[u8]], settings: FileSettings) -> (Vec<Seen>, Vec<Seen>) {
    let Files(_dir, paths) = files(contents);
    let peek = if contents.len() > 1 { peek } else { no_peek };
    let mut source = FileSource::open(&paths, peek, settings).unwrap();
    read_all(&mut source, &mut Chunk::new())
}

fn check(content: &[u8], expected: &[(u64, &str)]) {
    let (lines, problems) = read_files(&[content], FileSettings::default());
    let expected: Vec<Seen> =
        expected.iter().map(|&(number, text)| (0, number, text.to_owned())).collect();
    assert_eq!(lines, expected);
    assert_eq!(problems, []);
}

#[test]
fn lines_are_numbered_from_one_and_empty_ones_are_skipped_but_counted() {
    check(b"", &[]);
    check(b"\n\r\n\n", &[]);
    check(b"a\nb\n", &[(1, "a"), (2, "b")]);
    check(b"a\r\n\r\n\nb", &[(1, "a"), (4, "b")]);
    check(b"no end of line", &[(1, "no end of line")]);
}

#[test]
fn compression_is_told_by_content_also_in_several_members_and_frames() {
    let plain = b"a\nb\nhalf".as_slice();
    let rest = b" a line\nd\n".as_slice();
    let expected = [(1, "a"), (2, "b"), (3, "half a line"), (4, "d")];
    check(&[plain, rest].concat(), &expected);
    check(&[gzip(plain), gzip(rest)].concat(), &expected);
    check(&[zstd(plain), zstd(rest)].concat(), &expected);
    let skippable = [&[0x50, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 9, 9], &zstd(plain)[..]].concat();
    check(&[skippable, zstd(rest)].concat(), &expected);
}

#[test]
fn a_gzipped_document_without_a_line_end_is_one_message() {
    let document = r#"{"messageType":"DATA_MESSAGE","logEvents":[]}"#;
    check(&gzip(document.as_bytes()), &[(1, document)]);
}

#[test]
fn several_files_are_merged_by_time() {
    let (lines, problems) = read_files(
        &[b"1 a\n4 a\nno time\n", &gzip(b"2 b\n\n5 b\n"), &zstd(b"3 c\n4 c\n9 c\n")],
        FileSettings::default(),
    );
    let order: Vec<_> = lines.iter().map(|(lane, number, _)| (*lane, *number)).collect();
    assert_eq!(order, [(0, 1), (1, 1), (2, 1), (0, 2), (0, 3), (2, 2), (1, 3), (2, 3)]);
    assert_eq!(problems, []);
}

#[test]
fn many_long_files_are_merged_without_loss_through_small_chunks() {
    let mut contents = vec![Vec::new(); 7];
    let count = 30_000_usize;
    for second in 0..count {
        // Uneven shares, and lines of up to some hundred bytes so that buffers wrap everywhere.
        let content = &mut contents[(second * second + second / 7) % 7];
        writeln!(content, "{second} {}", "x".repeat(second % 313)).unwrap();
    }
    let contents: Vec<Vec<u8>> = (0..)
        .zip(contents)
        .map(|(index, content)| match index % 3 {
            0 => gzip(&content),
            1 => zstd(&content),
            _ => content,
        })
        .collect();
    let Files(_dir, paths) = files(&contents.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let mut source = FileSource::open(&paths, peek, FileSettings::default()).unwrap();
    let mut chunk = Chunk::with_limits(100, 10_000);
    let (lines, _) = read_all(&mut source, &mut chunk);
    assert_eq!(lines.len(), count);
    for (second, (_, _, line)) in lines.iter().enumerate() {
        let expected = format!("{second} {}", "x".repeat(second % 313));
        assert_eq!(line, &expected);
    }
    let progress = source.progress();
    assert_eq!(Some(progress.bytes_read), progress.bytes_total);
}

#[test]
fn an_oversize_line_is_reported_and_reading_goes_on_behind_it() {
    let settings = FileSettings { line_bytes_max: 1_000, ..FileSettings::default() };
    // Within one buffer, over many buffers, and as the unfinished last line.
    for length in [1_001, 2_000, 131_072, 1_000_000] {
        let giant = "x".repeat(length);
        let content = format!("a\n{giant}\nb\n{}\n{giant}", "y".repeat(1_000));
        let (lines, problems) = read_files(&[content.as_bytes()], settings);
        let numbers: Vec<_> = lines.iter().map(|(_, number, _)| *number).collect();
        assert_eq!(numbers, [1, 3, 4], "{length}");
        let what = format!("oversize: line of {length} bytes");
        assert_eq!(problems, [(0, 2, what.clone()), (0, 5, what)]);
    }
}

#[test]
fn a_line_larger_than_the_buffer_is_read_whole_below_the_limit() {
    let long = "x".repeat(3_000_000);
    check(format!("{long}\nb\n").as_bytes(), &[(1, &long), (2, "b")]);
}

#[test]
fn damage_ends_its_lane_after_what_was_read_and_no_other_lane() {
    let mut text = Vec::new();
    for second in 0..20_000_u32 {
        writeln!(text, "{second} {}", second.wrapping_mul(2_654_435_761)).unwrap();
    }
    let broken = |mut bytes: Vec<u8>| {
        let middle = bytes.len() / 2;
        bytes[middle..middle + 64].fill(0xff);
        bytes
    };
    let cut = |bytes: Vec<u8>| bytes[..bytes.len() / 2].to_vec();
    let garbage = [gzip(&text), b"garbage".to_vec()].concat();
    for (name, bytes, least) in [
        ("cut gzip", cut(gzip(&text)), 5_000),
        ("cut zstd", cut(zstd(&text)), 1),
        ("broken gzip", broken(gzip(&text)), 5_000),
        ("broken zstd", broken(zstd(&text)), 0),
        ("gzip and garbage", garbage, 20_000),
        ("gzip header only", gzip(&text)[..5].to_vec(), 0),
    ] {
        let (lines, problems) = read_files(&[&bytes, b"1 b\n99999 b\n"], FileSettings::default());
        let good = lines.iter().filter(|line| line.0 == 0).count();
        assert!(good >= least, "{name}: {good}");
        assert_eq!(lines.iter().filter(|line| line.0 == 1).count(), 2, "{name}");
        assert_eq!(problems.len(), 1, "{name}: {problems:?}");
        let (lane, number, what) = &problems[0];
        // Broken data may hold line ends before it is found to be broken.
        assert!(*lane == 0 && *number > good as u64, "{name}: {number} {good}");
        assert!(what.starts_with("damage: "), "{name}: {what}");
    }
}

#[test]
fn inputs_that_cannot_be_read_are_named() {
    let dir = TempDir::new().unwrap();
    let missing = dir.path().join("missing.jsonl");
    let many = vec![missing.clone(); INPUTS_MAX + 1];
    let dash = PathBuf::from("-");
    for (paths, words) in [
        (vec![], "at least one file"),
        (vec![missing], "missing.jsonl"),
        (vec![dir.path().to_path_buf()], "is a directory, name the files in it"),
        (vec![dash.clone(), dash], "named twice"),
        (many, "513 inputs"),
    ] {
        let error = FileSource::open(&paths, peek, FileSettings::default()).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(error.retry(), crate::source::Retry::Fatal);
    }
}

fn pipe(name: &str) -> (io::PipeWriter, (String, Input)) {
    let (reader, writer) = io::pipe().unwrap();
    let input = Input::piped(move || input::decoded(reader)).unwrap();
    (writer, (name.to_owned(), input))
}

fn next(source: &mut FileSource, wait: Duration) -> (Read, Vec<String>) {
    let mut chunk = Chunk::new();
    let read = source.read(&mut chunk, wait).unwrap();
    let text = |m: crate::source::Message<'_>| String::from_utf8_lossy(m.payload).into_owned();
    (read, chunk.messages().map(text).collect())
}

const LONG: Duration = Duration::from_secs(20);

#[test]
fn a_pipe_gives_what_it_has_and_is_idle_in_between() {
    let (mut writer, lane) = pipe("-");
    let mut source = FileSource::over(vec![lane], no_peek, FileSettings::default());
    assert_eq!(next(&mut source, Duration::from_millis(1)), (Read::Idle, vec![]));
    writer.write_all(b"first\nsec").unwrap();
    assert_eq!(next(&mut source, LONG), (Read::Messages, vec!["first".to_owned()]));
    assert_eq!(next(&mut source, Duration::ZERO), (Read::Idle, vec![]));
    writer.write_all(b"ond\nlast").unwrap();
    assert_eq!(next(&mut source, LONG), (Read::Messages, vec!["second".to_owned()]));
    drop(writer);
    assert_eq!(next(&mut source, LONG), (Read::Messages, vec!["last".to_owned()]));
    assert_eq!(next(&mut source, LONG), (Read::End, vec![]));
}

#[test]
fn a_silent_pipe_is_left_out_after_the_idle_time_and_joins_again() {
    let settings = FileSettings { idle: Duration::from_millis(20), ..FileSettings::default() };
    let (mut one, first) = pipe("one");
    let (mut two, second) = pipe("two");
    let mut source = FileSource::over(vec![first, second], peek, settings);
    one.write_all(b"5 a\n").unwrap();
    assert_eq!(next(&mut source, LONG), (Read::Messages, vec!["5 a".to_owned()]));
    two.write_all(b"6 b\n").unwrap();
    assert_eq!(next(&mut source, LONG), (Read::Messages, vec!["6 b".to_owned()]));
    drop((one, two));
    assert_eq!(next(&mut source, LONG).0, Read::End);
}

#[test]
fn a_compressed_pipe_that_breaks_off_is_damage_and_not_an_error() {
    let (mut writer, lane) = pipe("-");
    let mut source = FileSource::over(vec![lane], no_peek, FileSettings::default());
    let bytes = gzip(b"a\nb\n");
    writer.write_all(&bytes[..bytes.len() - 4]).unwrap();
    drop(writer);
    let (lines, problems) = read_all(&mut source, &mut Chunk::new());
    assert_eq!(lines.len(), 2);
    assert_eq!(problems[0].2, "damage: compressed data is cut off after line 2");
}

#[test]
fn after_closing_there_is_nothing_more() {
    let Files(_dir, paths) = files(&[b"a\nb\n"]);
    let mut source = FileSource::open(&paths, no_peek, FileSettings::default()).unwrap();
    let mut chunk = Chunk::with_limits(1, 1);
    assert_eq!(source.read(&mut chunk, LONG).unwrap(), Read::Messages);
    source.close();
    assert_eq!(source.read(&mut chunk, LONG).unwrap(), Read::End);
    assert_eq!(source.lanes(), [paths[0].display().to_string()]);
    assert!(Path::new(&source.lanes()[0]).exists());
}
