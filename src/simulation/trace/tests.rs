use std::io::Write as _;

use super::*;
use crate::simulation::wire::gzip;

const CALLS: &str = "HashOwner,HashApp,HashFunction,Trigger,480,481,482,483\n\
    o1,a1,f1,http,1,2,3,4\n\
    o1,a1,f2,timer,0,0,1,0\r\n\
    o2,a2,f3,queue,10,20,30,40\n";
const DURATIONS: &str = "HashOwner,HashApp,HashFunction,Average,percentile_Average_0,\
    percentile_Average_1,percentile_Average_25,percentile_Average_50,percentile_Average_75,\
    percentile_Average_99,percentile_Average_100\n\
    o1,a1,f1,10,1,2,4,8,16,32,64\n\
    o9,a9,f9,10,1,2,4,8,16,32,64\n";
const MEMORY: &str = "HashFunction,SampleCount,AverageAllocatedMb\nf1,9,129.5\nf2,9,12\nf3,9,1e9\n";

fn window(first: Option<u32>, minutes: u32) -> Window {
    Window { first, minutes }
}

fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        let mut file = std::fs::File::create(folder.path().join(name)).unwrap();
        file.write_all(bytes).unwrap();
    }
    folder
}

fn paths(folder: &tempfile::TempDir, calls: &str) -> TracePaths {
    let calls = folder.path().join(calls);
    TracePaths { calls, durations: None, memory: None }.with_siblings()
}

/// Reads a lone table of calls.
fn read(calls: &str, window: Window) -> Result<Trace, TraceError> {
    let folder = folder(&[("calls.csv", calls.as_bytes())]);
    Trace::read(&paths(&folder, "calls.csv"), window)
}

#[test]
fn a_window_is_read_and_joined_with_the_tables_beside_it() {
    let files = [
        ("calls.csv.gz", &gzip(CALLS.as_bytes())[..]),
        ("durations.csv.gz", &gzip(DURATIONS.as_bytes())),
        ("memory.csv", MEMORY.as_bytes()),
    ];
    let folder = folder(&files);
    let trace = Trace::read(&paths(&folder, "calls.csv.gz"), window(Some(481), 2)).unwrap();
    assert_eq!((trace.first_minute, trace.minutes), (481, 2));
    let [first, second, third] = &trace.functions[..] else { panic!("{trace:?}") };
    assert_eq!(first.counts, [2, 3]);
    assert_eq!(&*first.key.name, "f1");
    assert_eq!(&*first.key.region, "us-east-1");
    assert_eq!(first.key.account.to_string().len(), 12);
    assert_eq!(first.key.account, second.key.account);
    assert_ne!(first.key.account, third.key.account);
    assert!((first.duration.quantile(0.5) - 8.0).abs() < 1e-9);
    let memory: Vec<_> = trace.functions.iter().map(|function| function.memory.get()).collect();
    assert_eq!(memory, [192, 128, 10_240]);
    assert_eq!(second.trigger, TriggerGroup::Timer);
    assert!(first.spec().api.is_some());
    assert!(second.spec().api.is_none() && third.spec().api.is_none());
}

#[test]
fn series_without_durations_get_plausible_ones() {
    let mut text = "series,m1,m2,m3\n".to_owned();
    (0..200).for_each(|row| text.push_str(&format!("{row},1,0,{row}\n")));
    let trace = read(&text, window(None, 3)).unwrap();
    assert_eq!(trace.first_minute, 1);
    assert_eq!(trace.functions[7].counts, [1, 0, 7]);
    assert_eq!(&*trace.functions[7].key.name, "series-7");
    let median = |function: &TraceFunction| function.duration.quantile(0.5);
    let mut medians: Vec<_> = trace.functions.iter().map(median).collect();
    medians.sort_by(f64::total_cmp);
    assert!((200.0..1_000.0).contains(&medians[100]), "{}", medians[100]);
    assert!(medians[0] >= 4.9 && medians[199] <= 30_001.0);
}

#[test]
fn the_busiest_functions_are_kept_in_their_order() {
    let mut trace = read(CALLS, window(None, 4)).unwrap();
    trace.keep_busiest(2);
    let names: Vec<_> = trace.functions.iter().map(|function| &*function.key.name).collect();
    assert_eq!(names, ["f1", "f3"]);
    trace.keep_busiest(9);
    assert_eq!(trace.functions.len(), 2);
}

#[test]
fn errors_name_file_line_and_column() {
    let long = format!("{CALLS}{}", "x".repeat(LINE_BYTES_MAX + 1));
    for (calls, asked, parts) in [
        ("", 1, &["line 1", "empty"][..]),
        ("a,b\n1,2\n", 1, &["line 1", "HashOwner"]),
        ("series,x\n", 1, &["line 1", "no minute columns"]),
        ("series,m1,m3\n", 1, &["line 1, column 3 (m3)", "expected minute 2"]),
        ("series,99999\n", 1, &["column 2 (99999)", "up to 44640"]),
        ("series,m1\ns,-1\n", 1, &["line 2, column 2 (m1)", "0 to 2000000"]),
        ("series,m1\ns,2000001\n", 1, &["line 2, column 2 (m1)", "0 to 2000000"]),
        ("series,m1\ns,1\ns,1\n", 1, &["line 3, column 1 (series)", "twice"]),
        ("series,m1\na b,1\n", 1, &["line 2, column 1 (series)", "without spaces"]),
        ("series,m1\n,1\n", 1, &["line 2, column 1 (series)", "empty"]),
        (
            "series,m1,m2\ns,1\n",
            1,
            &["line 2, column 2 (m1)".split(',').next().unwrap(), "2 columns"],
        ),
        (CALLS, 5, &["4 minutes from 480", "--minutes"]),
        (CALLS, 0, &["4 minutes from 480", "--minutes"]),
        (&long, 1, &["line 5", "524288"]),
    ] {
        let error = read(calls, window(None, asked)).unwrap_err().to_string();
        assert!(error.contains("calls.csv"), "{error}");
        for part in parts {
            assert!(error.contains(part), "{error}: {part}");
        }
    }
}

#[test]
fn errors_in_the_tables_beside_it_name_them() {
    let bad_order = DURATIONS.replace("f1,10,1,2,4,8", "f1,10,9,2,4,8");
    let no_number = MEMORY.replace("129.5", "big");
    for (name, text, parts) in [
        ("durations.csv", bad_order.as_str(), ["line 2, column 5 (percentile_Average_0)", "below"]),
        ("durations.csv", "HashFunction,Average\n", ["line 1", "percentile_Average_0"]),
        ("memory.csv", &no_number, ["line 2, column 3 (AverageAllocatedMb)", "\"big\""]),
    ] {
        let folder = folder(&[("calls.csv", CALLS.as_bytes()), (name, text.as_bytes())]);
        let error = Trace::read(&paths(&folder, "calls.csv"), window(None, 1)).unwrap_err();
        let error = error.to_string();
        assert!(error.contains(name) && parts.iter().all(|part| error.contains(part)), "{error}");
    }
}

#[test]
fn other_compressions_and_missing_files_say_what_to_do() {
    let folder =
        folder(&[("calls.csv.xz", b"\xfd7zXZ\0rest"), ("calls.csv.gz", b"\x1f\x8bbroken")]);
    for (name, text) in [
        ("calls.csv.xz", "decompress it with `xz -d`"),
        ("calls.csv.gz", "line 1"),
        ("absent.csv", "absent.csv"),
    ] {
        let error = Trace::read(&paths(&folder, name), window(None, 1)).unwrap_err().to_string();
        assert!(error.contains(text), "{error}");
    }
}
