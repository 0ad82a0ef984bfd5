//! The ledger: per minute and function, what was used and what it cost. Rows come from the shards
//! in the order of their sweeps; they are held until their minute is complete everywhere and then
//! written in the order of minute and function, so the file does not depend on the shards.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::Serialize;

use crate::engine::alarm::MinuteRow;
use crate::record::FunctionKey;
use crate::units::{EventTime, NanoUsd};

/// Every partition is swept once a minute, so two minutes later a minute is complete.
const COMPLETE_AFTER_MINUTES: i64 = 3;

#[derive(Debug, Serialize)]
struct Line<'a> {
    kind: &'static str,
    minute: EventTime,
    function: &'a FunctionKey,
    requests: u64,
    mb_ms: u64,
    refused: u64,
    nano_usd: NanoUsd,
}

/// Rows on their way to a writer.
#[derive(Debug)]
pub struct Ledger<W> {
    writer: W,
    held: BTreeMap<(i64, FunctionKey), MinuteRow>,
}

impl<W: Write> Ledger<W> {
    /// An empty ledger.
    pub fn new(writer: W) -> Self {
        Self { writer, held: BTreeMap::new() }
    }

    /// Rows that wait, to be written down.
    pub fn held(&self) -> impl ExactSizeIterator<Item = &MinuteRow> {
        self.held.values()
    }

    /// Takes in a row; parts of the same minute are added.
    pub fn row(&mut self, row: &MinuteRow) {
        let key = (row.minute, row.function.clone());
        let held = self.held.entry(key).or_insert_with(|| MinuteRow {
            usage: crate::cost::Usage::ZERO,
            nano_usd: NanoUsd::ZERO,
            ..row.clone()
        });
        held.usage += row.usage;
        held.nano_usd += row.nano_usd;
    }

    /// Writes what is complete now that event time has come to `now`.
    ///
    /// # Errors
    /// The writer's.
    pub fn write_complete(&mut self, now: EventTime) -> io::Result<()> {
        let complete = now.minute() - COMPLETE_AFTER_MINUTES;
        while let Some(entry) = self.held.first_entry() {
            if entry.key().0 > complete {
                return Ok(());
            }
            write(&mut self.writer, &entry.remove())?;
        }
        Ok(())
    }

    /// Passes on what is written.
    ///
    /// # Errors
    /// The writer's.
    pub fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }

    /// Writes everything.
    ///
    /// # Errors
    /// The writer's.
    pub fn finish(&mut self) -> io::Result<()> {
        for row in std::mem::take(&mut self.held).into_values() {
            write(&mut self.writer, &row)?;
        }
        self.writer.flush()
    }
}

fn write(writer: &mut impl Write, row: &MinuteRow) -> io::Result<()> {
    let line = Line {
        kind: "minute",
        minute: EventTime::saturating_from_ms(row.minute.saturating_mul(60_000)),
        function: &row.function,
        requests: row.usage.requests,
        mb_ms: row.usage.mb_ms.0,
        refused: row.usage.refused,
        nano_usd: row.nano_usd,
    };
    serde_json::to_writer(&mut *writer, &line)?;
    writer.write_all(b"\n")
}
