//! The data sets, as they are published: plain, gzip, or with `xz -dc` for those that are packed.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use bursar::score::table::{Columns, Field};
use flate2::read::MultiGzDecoder;

use crate::nab::Truth;

/// A metric with its labels.
#[derive(Debug)]
pub(crate) struct Series {
    pub(crate) times: Vec<Option<i64>>,
    pub(crate) values: Vec<Option<f64>>,
    pub(crate) truth: Truth,
}

/// The NAB files under `root/data`, with the windows of `root/windows.json` or, as in the
/// repository, `root/labels/combined_windows.json`. Windows of files that are not there are left
/// out.
pub(crate) fn nab(root: &Path) -> anyhow::Result<Vec<Series>> {
    let places = [root.join("windows.json"), root.join("labels/combined_windows.json")];
    let labels = places.iter().find(|path| path.exists()).context("no windows.json")?;
    let labels: BTreeMap<String, Vec<[String; 2]>> = serde_json::from_slice(&fs::read(labels)?)?;
    let mut all = Vec::new();
    for path in tables(&root.join("data"))? {
        let text = text(&path)?;
        let name = name(&root.join("data"), &path);
        let windows = labels.get(&name).with_context(|| format!("no windows of {name}"))?;
        let times: Vec<&str> = text.lines().skip(1).map(stamp).collect();
        let windows = windows.iter().map(|[first, last]| {
            let first = times.iter().position(|time| *time >= stamp(first));
            let last = times.iter().rposition(|time| *time <= stamp(last));
            Some(first?..=last?)
        });
        let windows: Option<Vec<_>> = windows.collect();
        let windows = windows.with_context(|| format!("a window outside of {name}"))?;
        all.push(series(&name, &text, windows)?);
    }
    Ok(all)
}

/// The Microsoft cloud monitoring files under `root`; a window is an unbroken run of labels.
pub(crate) fn cloud_monitoring(root: &Path) -> anyhow::Result<Vec<Series>> {
    let mut all = Vec::new();
    for path in tables(root)? {
        let text = text(&path)?;
        let label = |line: &str| line.rsplit(',').next().is_some_and(|last| last.contains('1'));
        let mut windows = Vec::new();
        for (record, line) in text.lines().skip(1).enumerate() {
            if !label(line) {
                continue;
            }
            match windows.pop() {
                Some(window) if *RangeInclusive::end(&window) + 1 == record => {
                    windows.push(*window.start()..=record);
                }
                before => windows.extend(before.into_iter().chain([record..=record])),
            }
        }
        all.push(series(&name(root, &path), &text, windows)?);
    }
    Ok(all)
}

fn series(name: &str, text: &str, windows: Vec<RangeInclusive<usize>>) -> anyhow::Result<Series> {
    let mut lines = text.lines();
    let columns = lines.next().and_then(Columns::of).with_context(|| format!("no {name}"))?;
    let times: Vec<_> = lines.clone().map(|line| columns.time(line)).collect();
    let value = |line| match columns.value(line) {
        Field::Number(value) => Some(value),
        Field::Missing | Field::Unreadable => None,
    };
    let values: Vec<_> = lines.map(value).collect();
    let truth = Truth { records: values.len(), windows };
    Ok(Series { times, values, truth })
}

/// Date and time without parts of a second: the windows have six digits of them, the files none.
fn stamp(text: &str) -> &str {
    text.get(..19).unwrap_or(text)
}

/// The name as the labels have it: below the folder and without what packing adds.
fn name(root: &Path, path: &Path) -> String {
    let below = path.strip_prefix(root).unwrap_or(path).display().to_string();
    let packed = below.strip_suffix(".xz").or_else(|| below.strip_suffix(".gz"));
    packed.unwrap_or(&below).to_owned()
}

fn tables(root: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut folders = vec![root.to_path_buf()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).with_context(|| folder.display().to_string())?;
        for entry in entries {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.display().to_string().contains(".csv") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

fn text(path: &Path) -> anyhow::Result<String> {
    let mut text = String::new();
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("xz") => {
            let output = Command::new("xz").arg("-dc").arg(path).output();
            let output = output.context("xz is needed to unpack, install it")?;
            ensure!(output.status.success(), "xz cannot unpack {}", path.display());
            text = String::from_utf8(output.stdout)?;
        }
        Some("gz") => drop(MultiGzDecoder::new(File::open(path)?).read_to_string(&mut text)?),
        _ => text = fs::read_to_string(path)?,
    }
    Ok(text)
}
