//! The past, which all policies share, and the window under each of them.

use super::{Hand, LoopError, Run, Scene, Stage, all, window};
use crate::cost::{CostSettings, PriceBook};
use crate::simulation::plant::lock;
use crate::simulation::platform::{Packing, Platform, PlatformSettings, Tariff};
use crate::simulation::scenario::Scenario;

/// Where every policy begins.
pub(super) struct Opening<'a> {
    pub(super) stage: Stage<'a>,
    platform: Platform,
    pub(super) scene: Scene,
}

impl<'a> Opening<'a> {
    /// The beginning of the past.
    pub(super) fn new(scenario: &'a Scenario, seed: u64) -> Result<Self, LoopError> {
        let settings =
            PlatformSettings { ledger: true, packing: Packing::Typed, ..scenario.platform.clone() };
        let platform = Platform::new(seed, settings, scenario.functions.clone())?;
        let scene = Scene::new(scenario, seed)?;
        let (charges, book) = (CostSettings::default(), PriceBook::builtin());
        let tariff = Tariff::new(platform.functions(), &charges, &book, scenario.start);
        let stage = Stage { scenario, catalog: platform.clone(), tariff };
        Ok(Self { stage, platform, scene })
    }

    /// The past goes by; policies learn from it.
    ///
    /// # Errors
    /// Recorded load breaks off.
    pub(super) fn past(&mut self, policies: &mut [Hand]) -> Result<(), LoopError> {
        let Self { stage, platform, scene } = self;
        while scene.now < stage.scenario.start {
            scene.step(stage, platform, &mut |_, _, _| {});
            let second = scene.second(false);
            for (policy, plant) in &mut *policies {
                if policy.reads() {
                    policy.read(&stage.catalog, &scene.deliveries, scene.now);
                }
                if let Some(second) = &second {
                    policy.second(second, plant);
                }
            }
            scene.clear();
        }
        scene.whole()
    }

    /// The window under each policy, on up to `threads` threads; the first is nobody's doing.
    ///
    /// # Errors
    /// Recorded load breaks off.
    pub(super) fn runs(&self, hands: Vec<Hand>, threads: usize) -> Result<Vec<Run>, LoopError> {
        let depends = |hand: &Hand| hand.0.watches_budget() || hand.0.needs_attack();
        let places = hands.into_iter().enumerate();
        let (later, mut first): (Vec<_>, Vec<_>) = places.partition(|(_, hand)| depends(hand));
        // Who reads takes longest, and the threads are to be done together.
        first.sort_by_key(|(_, hand)| !hand.0.reads());
        let run = |(place, hand)| self.run(hand).map(|run| (place, run));
        let mut runs = all(first, threads, run).into_iter().collect::<Result<Vec<_>, _>>()?;
        // Nobody's doing tells which of the others will do anything else.
        let nothing = runs.iter().find(|(place, _)| *place == 0).map(|(_, run)| run.clone());
        let nothing = nothing.unwrap_or_default();
        let run = |(place, hand)| self.run_beside(&nothing, hand).map(|run| (place, run));
        for run in all(later, threads, run) {
            runs.push(run?);
        }
        runs.sort_by_key(|(place, _)| *place);
        Ok(runs.into_iter().map(|(_, run)| run).collect())
    }

    /// The window under one policy; nobody's doing once more where it will never do anything.
    ///
    /// # Errors
    /// Recorded load breaks off.
    fn run_beside(&self, nothing: &Run, hand: Hand) -> Result<Run, LoopError> {
        let budget = self.stage.scenario.money.monthly;
        let is_idle = hand.0.watches_budget() && budget.is_none_or(|budget| nothing.spent < budget);
        let is_aimless = hand.0.needs_attack() && self.scene.world.attacks().is_empty();
        if is_idle || is_aimless {
            let (policy, claims) = (hand.0.name(), hand.0.claims());
            return Ok(Run { policy, claims, is_idle, ..nothing.clone() });
        }
        self.run(hand)
    }

    /// The window under one policy.
    ///
    /// # Errors
    /// Recorded load breaks off.
    pub(super) fn run(&self, (policy, plant): Hand) -> Result<Run, LoopError> {
        let mut platform = self.platform.clone();
        if !policy.reads() {
            platform.mute();
        }
        lock(&plant).begin(platform);
        window(&self.stage, self.scene.clone(), policy, &plant)
    }
}
