//! What the engine and its detector are told; validated by `config`.

/// Sizes and times of the engine.
#[derive(Debug, Clone, PartialEq)]
pub struct EngineSettings {
    /// How far behind the newest event time a record may be and still count in the detector's
    /// one-second buckets, in whole seconds. Later ones count in totals and spend only.
    pub lateness_seconds: u32,
    /// The most functions that are tracked; beyond it the idlest make room, else their usage goes
    /// to the overflow totals.
    pub functions_max: usize,
    /// The most log-event identities remembered per virtual partition, to recognise duplicates.
    pub deliveries_max: usize,
}

impl Default for EngineSettings {
    fn default() -> Self {
        Self { lateness_seconds: 10, functions_max: 1_000_000, deliveries_max: 4_096 }
    }
}

/// The promise and the money below which nothing is worth a page.
#[derive(Debug, Clone, PartialEq)]
pub struct DetectionSettings {
    /// False pages per day over the whole estate that the thresholds stand for.
    pub pages_per_day: f64,
    /// How many functions the estate has, which shares the promise among them.
    pub estate_functions: u64,
    /// Rates up to this many times the learned baseline are normal.
    pub envelope: f64,
    /// Excess spend below this, in dollars an hour, is tolerated: nothing is even noticed.
    pub notice_floor_usd_per_hour: f64,
    /// An excess that nobody in particular carries wakes nobody below this, in dollars an hour.
    pub page_floor_usd_per_hour: f64,
    /// Nor before it has cost this much, in dollars.
    pub page_after_usd: f64,
}

impl Default for DetectionSettings {
    fn default() -> Self {
        Self {
            pages_per_day: 0.1,
            estate_functions: 10_000,
            envelope: 1.6,
            notice_floor_usd_per_hour: 0.02,
            page_floor_usd_per_hour: 0.75,
            page_after_usd: 0.05,
        }
    }
}
