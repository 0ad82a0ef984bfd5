//! `bursar score`: rows in, rows with score and alarm out.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::support::{bursar, run};

/// Four days of five-minute values with a daily course, a spike on the third day and some holes.
fn export() -> String {
    let mut text = "timestamp,value,host\n".to_owned();
    let mut noise = 7_u32;
    for record in 0..4 * 288_u32 {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let value = match record {
            700 => "900".to_owned(),
            100 | 400 => String::new(),
            101 | 401 => "NaN".to_owned(),
            402 => "many".to_owned(),
            _ => format!("{}.{}", 100 + record % 288 / 8, noise >> 26),
        };
        writeln!(text, "{},{value},\"web, 1\"", 1_700_000_000 + 300 * record).unwrap();
    }
    text
}

/// The rows of the output that are alarms, by their number after the header.
fn alarms(output: &str) -> Vec<usize> {
    let rows = output.lines().skip(1).enumerate();
    rows.filter(|(_, row)| row.ends_with(",1")).map(|(record, _)| record).collect()
}

#[test]
fn every_row_comes_back_with_a_score_and_the_spike_is_an_alarm() {
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("metric.csv");
    let output = folder.path().join("scored.csv");
    let text = export();
    fs::write(&input, &text).unwrap();
    let mut command = bursar(["score", "--output"]);
    let done = run(command.arg(&output).arg(&input)).succeeded();
    assert_eq!(done.stdout, "");
    let scored = fs::read_to_string(&output).unwrap();
    let told = alarms(&scored);
    let notes = format!(
        "1152 records, {} alarms, 1 values that are no numbers were passed over",
        told.len()
    );
    assert_eq!(done.stderr.trim_end(), notes);
    assert!(told.contains(&700), "{told:?}");
    assert!(told.iter().all(|&record| record >= 288), "{told:?}");
    assert_eq!(scored.lines().next(), Some("timestamp,value,host,score,alarm"));
    assert_eq!(scored.lines().count(), text.lines().count());
    for (row, given) in scored.lines().zip(text.lines()).skip(1) {
        let said = row.strip_prefix(given).unwrap();
        let (score, alarm) = said.strip_prefix(',').unwrap().split_once(',').unwrap();
        assert!((0.0..=1.0).contains(&score.parse::<f64>().unwrap()), "{row}");
        assert!(["0", "1"].contains(&alarm), "{row}");
    }
}

#[test]
fn a_pipe_a_packed_file_and_one_without_a_header_score_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let text = export();
    fs::write(path("metric.csv"), &text).unwrap();
    fs::write(path("bare.csv"), text.split_once('\n').unwrap().1).unwrap();
    fs::write(path("windows.csv"), format!("\u{feff}{}", text.replace('\n', "\r\n"))).unwrap();
    let mut packed =
        GzEncoder::new(File::create(path("metric.csv.gz")).unwrap(), Compression::fast());
    packed.write_all(text.as_bytes()).unwrap();
    packed.finish().unwrap();
    let scored = |name: &str| run(bursar(["score"]).arg(path(name))).succeeded().stdout;
    let expected = scored("metric.csv");
    assert_eq!(scored("metric.csv.gz"), expected);
    assert_eq!(scored("windows.csv"), expected);
    assert_eq!(scored("bare.csv"), expected.split_once('\n').unwrap().1);
    let mut command = bursar(["score", "-"]);
    command.stdin(File::open(path("metric.csv")).unwrap());
    assert_eq!(run(&mut command).succeeded().stdout, expected);
}

#[test]
fn what_is_no_metric_export_is_refused_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metric.csv");
    for (content, code, said) in [
        (&b""[..], 0, "0 records, 0 alarms"),
        (b"timestamp,value\n", 0, "0 records, 0 alarms"),
        (b"value\n1\n", 1, "line 1: one column only"),
        (b"timestamp,value\n1,2\n\xff,3\n", 1, "line 3: "),
        (&[b'x'; 70_000], 1, "line 1: longer than"),
    ] {
        fs::write(&path, content).unwrap();
        let done = run(bursar(["score"]).arg(&path));
        assert_eq!(done.code(), Some(code), "{done:#?}");
        assert!(done.stderr.contains(said), "{said}: {done:#?}");
    }
    fs::write(&path, "1,2\n").unwrap();
    let done = run(bursar(["score", "--output"]).args([&path, &path]));
    assert!(done.stderr.contains("name another file for the output"), "{done:#?}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "1,2\n");
}
