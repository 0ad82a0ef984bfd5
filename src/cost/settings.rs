//! What pricing is told; validated by `config`.

use crate::cost::drag::Drag;
use crate::cost::pattern::Pattern;
use crate::cost::price_file::PriceProblem;
use crate::cost::prices::PriceBook;
use crate::record::FunctionRef;

/// Charges beside Lambda for the functions that a pattern names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DragOverride {
    /// Which functions.
    pub functions: Pattern,
    /// Their charges, complete: nothing is inherited from the default.
    pub drag: Drag,
}

/// How usage becomes money. The default has no overrides, list prices and no free allowance: an
/// attack uses that up in seconds, and most organisations share it among many accounts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CostSettings {
    /// Charges beside Lambda where no override matches: an HTTP API request where access logs are
    /// seen, and 400 bytes of logs.
    pub drag: Drag,
    /// Overrides; the first that matches counts.
    pub functions: Vec<DragOverride>,
    /// Whether monthly totals are credited the free allowance. Decisions never are.
    pub free_tier: bool,
    /// The text of a price file that lies on top of the built-in prices.
    pub prices_override: Option<String>,
}

impl CostSettings {
    /// The charges of one function.
    pub fn drag_of(&self, function: &FunctionRef<'_>) -> &Drag {
        self.functions
            .iter()
            .find(|entry| entry.functions.matches(function))
            .map_or(&self.drag, |entry| &entry.drag)
    }

    /// The prices to use.
    ///
    /// # Errors
    /// Everything that is wrong with the override text.
    pub fn price_book(&self) -> Result<PriceBook, Vec<PriceProblem>> {
        match &self.prices_override {
            Some(text) => PriceBook::builtin().with_overrides(text),
            None => Ok(PriceBook::builtin()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::drag::Gateway;

    #[test]
    fn the_first_pattern_that_matches_decides_the_drag() {
        let queue = Drag { gateway: Gateway::None, ..Drag::default() };
        let settings = CostSettings {
            functions: vec![
                DragOverride { functions: Pattern::new("*-worker"), drag: queue },
                DragOverride { functions: Pattern::any(), drag: Drag::NONE },
            ],
            ..CostSettings::default()
        };
        let account = "111122223333".parse().unwrap();
        let worker = FunctionRef::try_new(account, "eu-west-1", "mail-worker").unwrap();
        let api = FunctionRef::try_new(account, "eu-west-1", "api").unwrap();
        assert_eq!(settings.drag_of(&worker), &queue);
        assert_eq!(settings.drag_of(&api), &Drag::NONE);
        assert_eq!(CostSettings::default().drag_of(&api), &Drag::default());
    }

    #[test]
    fn a_price_override_is_laid_on_top_or_its_problems_are_told() {
        let with = |text: &str| CostSettings {
            prices_override: Some(text.to_owned()),
            ..CostSettings::default()
        };
        assert_eq!(
            CostSettings::default().price_book().unwrap().version(),
            PriceBook::builtin().version()
        );
        assert!(with("version = \"acme-1\"").price_book().unwrap().version().ends_with("+acme-1"));
        assert_eq!(with("prices = 1").price_book().unwrap_err().len(), 1);
    }
}
