//! The past, which all policies share, and the window under each of them.

use super::{Hand, LoopError, Run, Scene, Stage, window};
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
    pub(super) fn past(&mut self, policies: &mut [Hand]) {
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
    }

    /// The window under one policy; nobody's doing once more where it will never do anything.
    pub(super) fn run_beside(&self, nothing: &Run, hand: Hand) -> Run {
        let budget = self.stage.scenario.money.monthly;
        let is_idle = hand.0.watches_budget() && budget.is_none_or(|budget| nothing.spent < budget);
        let is_aimless = hand.0.needs_attack() && self.scene.world.attacks().is_empty();
        if is_idle || is_aimless {
            let (policy, claims) = (hand.0.name(), hand.0.claims());
            return Run { policy, claims, is_idle, ..nothing.clone() };
        }
        self.run(hand)
    }

    /// The window under one policy.
    pub(super) fn run(&self, (policy, plant): Hand) -> Run {
        lock(&plant).begin(self.platform.clone());
        window(&self.stage, self.scene.clone(), policy, &plant)
    }
}
