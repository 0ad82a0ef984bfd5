//! Reads a price file (the built-in one and an operator's overrides have the same form, described
//! at the top of `data/prices.toml`) and reports everything that is wrong with it at once.

use std::collections::BTreeSet;

use jiff::civil::Date;
use jiff::tz::Offset;
use toml::{Table, Value};

use crate::cost::prices::{Item, TIERS_MAX, Tiers};
use crate::record::FunctionRef;
use crate::units::{AccountId, EventTime};

/// The longest price file that is read, in bytes: fifty times the built-in one.
const FILE_BYTES_MAX: usize = 1 << 20;

/// The most rows of a file. All regions × items × a change every month for a year is 3,300.
const ROWS_MAX: usize = 10_000;

/// The largest tier boundary, in GB-seconds: what still fits an integer as MB·ms.
const BOUNDARY_MAX: i64 = 10_000_000_000_000;

/// Stands for every region in an override file.
pub(super) const EVERY_REGION: &str = "*";

/// One thing that is wrong with a price file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {problem}")]
pub struct PriceProblem {
    /// Where, for example `price[2].usd`.
    pub key: String,
    /// What, with the accepted range.
    pub problem: String,
}

/// A file that was read without a problem.
#[derive(Debug, Default)]
pub(super) struct PriceFile {
    pub(super) version: Option<String>,
    pub(super) rows: Vec<Row>,
}

/// One price for some regions.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) item: Item,
    pub(super) regions: Vec<String>,
    /// First instant at which the row holds.
    pub(super) from: EventTime,
    pub(super) prices: Tiers,
    pub(super) assumed: bool,
}

/// Reads a whole file.
pub(super) fn parse(text: &str) -> Result<PriceFile, Vec<PriceProblem>> {
    let mut problems = Problems::default();
    let mut file = PriceFile::default();
    if text.len() > FILE_BYTES_MAX {
        problems.add("file", format!("{} bytes, accepted: up to {FILE_BYTES_MAX}", text.len()));
        return Err(problems.0);
    }
    let table = match text.parse::<Table>() {
        Ok(table) => table,
        Err(error) => {
            problems.add("file", format!("not TOML: {}", error.message()));
            return Err(problems.0);
        }
    };
    for (key, value) in &table {
        match (key.as_str(), value) {
            ("version", Value::String(version)) if is_version(version) => {
                file.version = Some(version.clone());
            }
            ("version", _) => problems.add(key, "accepted: 1 to 64 printable characters"),
            ("price", Value::Array(rows)) if rows.len() <= ROWS_MAX => {
                file.rows = read_rows(rows, &mut problems);
            }
            ("price", _) => problems.add(key, format!("accepted: up to {ROWS_MAX} [[price]] rows")),
            _ => problems.add(key, "unknown key, accepted: version, price"),
        }
    }
    if problems.0.is_empty() { Ok(file) } else { Err(problems.0) }
}

fn read_rows(rows: &[Value], problems: &mut Problems) -> Vec<Row> {
    let mut seen = BTreeSet::new();
    let mut read = Vec::with_capacity(rows.len());
    for (index, value) in rows.iter().enumerate() {
        let place = format!("price[{index}]");
        let Value::Table(table) = value else {
            problems.add(&place, "not a table, accepted: [[price]] rows");
            continue;
        };
        let Some(row) = read_row(table, &place, problems) else {
            continue;
        };
        for region in &row.regions {
            if !seen.insert((row.item, region.clone(), row.from)) {
                let item = row.item.key();
                problems.add(
                    format!("{place}.regions"),
                    format!("{item} of {region} is priced twice for the same day; keep one"),
                );
            }
        }
        read.push(row);
    }
    read
}

/// One row; `None` after at least one problem was added.
fn read_row(table: &Table, place: &str, problems: &mut Problems) -> Option<Row> {
    const KEYS: [&str; 7] =
        ["item", "regions", "usd", "up_to_gb_seconds", "from", "source", "assumed"];
    let before = problems.0.len();
    for key in table.keys().filter(|key| !KEYS.contains(&key.as_str())) {
        let accepted = KEYS.join(", ");
        problems.add(format!("{place}.{key}"), format!("unknown key, accepted: {accepted}"));
    }
    let item = table.get("item").and_then(Value::as_str).and_then(Item::from_key);
    if item.is_none() {
        let accepted = Item::ALL.map(Item::key).join(", ");
        problems.add(format!("{place}.item"), format!("accepted: {accepted}"));
    }
    let regions = read_regions(table.get("regions"), &format!("{place}.regions"), problems);
    let from = read_day(table.get("from"), &format!("{place}.from"), problems);
    if !matches!(table.get("source"), None | Some(Value::String(_))) {
        problems.add(format!("{place}.source"), "accepted: a text");
    }
    let assumed = match table.get("assumed") {
        None => false,
        Some(Value::Boolean(assumed)) => *assumed,
        Some(_) => {
            problems.add(format!("{place}.assumed"), "accepted: true, false");
            false
        }
    };
    let prices = item.and_then(|item| read_prices(item, table, place, problems));
    if problems.0.len() > before {
        return None;
    }
    Some(Row { item: item?, regions, from: from?, prices: prices?, assumed })
}

fn read_regions(value: Option<&Value>, place: &str, problems: &mut Problems) -> Vec<String> {
    let names = value.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if names.is_empty() {
        problems.add(place, "accepted: a list of region names, or [\"*\"] for every region");
    }
    let mut regions = Vec::with_capacity(names.len());
    for (index, name) in names.iter().enumerate() {
        match name.as_str() {
            Some(name) if name == EVERY_REGION || is_region(name) => regions.push(name.to_owned()),
            _ => problems.add(
                format!("{place}[{index}]"),
                "accepted: a region name (1 to 32 of a-z, 0-9 and -), or *",
            ),
        }
    }
    regions
}

/// A missing day is the beginning of accepted time.
fn read_day(value: Option<&Value>, place: &str, problems: &mut Problems) -> Option<EventTime> {
    let text = match value {
        None => return Some(EventTime::MIN),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Datetime(stamp)) => stamp.to_string(),
        Some(_) => String::new(),
    };
    let day = text.parse::<Date>().ok().and_then(|date| {
        let midnight = date.to_datetime(jiff::civil::Time::midnight());
        let stamp = Offset::UTC.to_timestamp(midnight).ok()?;
        EventTime::try_from_ms(stamp.as_millisecond()).ok()
    });
    if day.is_none() {
        problems.add(place, "accepted: a day from 2014-01-01 to 2099-12-31");
    }
    day
}

fn read_prices(item: Item, table: &Table, place: &str, problems: &mut Problems) -> Option<Tiers> {
    let usd = match table.get("usd") {
        Some(Value::Array(list)) => list.as_slice(),
        Some(single) => std::slice::from_ref(single),
        None => &[],
    };
    let boundaries = table.get("up_to_gb_seconds");
    let steps = match boundaries {
        None => &[][..],
        Some(value) => value.as_array().map_or(&[][..], Vec::as_slice),
    };
    if boundaries.is_some() && !item.has_tiers() {
        problems.add(
            format!("{place}.up_to_gb_seconds"),
            "only x86_64_gb_second and arm64_gb_second have tiers; remove it",
        );
    }
    if usd.is_empty() || usd.len() > TIERS_MAX || usd.len() != steps.len() + 1 {
        problems.add(
            format!("{place}.usd"),
            format!("accepted: 1 to {TIERS_MAX} prices, one more than up_to_gb_seconds has"),
        );
        return None;
    }
    let mut femto = Vec::with_capacity(usd.len());
    for (index, value) in usd.iter().enumerate() {
        match number(value).and_then(|usd| item.femto_usd(usd)) {
            Some(price) => femto.push(price),
            None => problems.add(
                format!("{place}.usd[{index}]"),
                format!("{}, accepted: 0 to {} dollars", shown(value), item.usd_max()),
            ),
        }
    }
    let mut bounds = Vec::with_capacity(steps.len());
    let mut last = 0;
    for (index, value) in steps.iter().enumerate() {
        match value.as_integer().filter(|bound| (last + 1..=BOUNDARY_MAX).contains(bound)) {
            Some(bound) => {
                last = bound;
                bounds.push(bound.unsigned_abs());
            }
            None => problems.add(
                format!("{place}.up_to_gb_seconds[{index}]"),
                format!("{}, accepted: {} to {BOUNDARY_MAX}", shown(value), last + 1),
            ),
        }
    }
    Tiers::try_new(&femto, &bounds)
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Float(number) => Some(*number),
        Value::Integer(number) => Some(*number as f64),
        _ => None,
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        other => format!("a {}", other.type_str()),
    }
}

fn is_region(name: &str) -> bool {
    FunctionRef::try_new(AccountId::default(), name, "-").is_ok()
}

fn is_version(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

#[derive(Default)]
struct Problems(Vec<PriceProblem>);

impl Problems {
    fn add(&mut self, key: impl Into<String>, problem: impl Into<String>) {
        self.0.push(PriceProblem { key: key.into(), problem: problem.into() });
    }
}
