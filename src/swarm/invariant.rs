//! What must hold in every world, by name. A1 to A4 are explained in `control`, C1 to C3 in `cost`;
//! what only a whole run can show is named here.

/// Something that must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// No cap below the floor, and none above what the account has.
    A1,
    /// Every restriction is lifted: at the latest when it has not been renewed for its time.
    A2,
    /// In mode observe nothing is applied.
    A3,
    /// What must not be touched is not touched.
    A4,
    /// What control takes to be in force is in force, unless somebody else has changed it.
    A5,
    /// What somebody else sets while a restriction holds is not undone by lifting it.
    A6,
    /// No cap above what stood there before.
    A7,
    /// What is carried out while its answer is lost is given back, too.
    A8,
    /// The engine counts and prices exactly what was delivered, and that is what the platform bills
    /// where nothing was lost.
    C4,
    /// No more functions newly restricted in a minute than the settings allow, no restriction
    /// changed twice in one second of event time, and never more calls a second than the control
    /// plane takes from an account.
    Q1,
    /// As many functions are tracked as are deployed at most, and no more alarms and restrictions
    /// are open than these can have.
    B1,
    /// Every alarm is closed in the end, but for those that add up dollars over hours.
    L1,
    /// Every backlog is drained in the end.
    L2,
    /// Missing records begin and tighten nothing; where all are missing, nothing happens at all but
    /// that restrictions lapse.
    M1,
    /// What was turned away is no evidence: without the records of refusals the same alarms open
    /// first.
    M2,
    /// Nobody is better off without bursar: where no attack is on, it does nothing; where one is,
    /// it never costs more and turns more users away.
    M3,
    /// Nothing panics.
    P1,
}

impl Invariant {
    /// All of them.
    pub const ALL: [Invariant; 17] = [
        Invariant::A1,
        Invariant::A2,
        Invariant::A3,
        Invariant::A4,
        Invariant::A5,
        Invariant::A6,
        Invariant::A7,
        Invariant::A8,
        Invariant::C4,
        Invariant::Q1,
        Invariant::B1,
        Invariant::L1,
        Invariant::L2,
        Invariant::M1,
        Invariant::M2,
        Invariant::M3,
        Invariant::P1,
    ];

    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Invariant::A1 => "A1",
            Invariant::A2 => "A2",
            Invariant::A3 => "A3",
            Invariant::A4 => "A4",
            Invariant::A5 => "A5",
            Invariant::A6 => "A6",
            Invariant::A7 => "A7",
            Invariant::A8 => "A8",
            Invariant::C4 => "C4",
            Invariant::Q1 => "Q1",
            Invariant::B1 => "B1",
            Invariant::L1 => "L1",
            Invariant::L2 => "L2",
            Invariant::M1 => "M1",
            Invariant::M2 => "M2",
            Invariant::M3 => "M3",
            Invariant::P1 => "P1",
        }
    }
}

/// Something did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// What.
    pub invariant: Invariant,
    /// When, in seconds after the world began.
    pub second: i64,
    /// How, in plain words.
    pub words: String,
}

/// What is wrong so far; each invariant is told once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Findings(Vec<Broken>);

impl Findings {
    /// Notes that something did not hold.
    pub(super) fn note(&mut self, invariant: Invariant, second: i64, words: String) {
        if self.0.iter().all(|known| known.invariant != invariant) {
            self.0.push(Broken { invariant, second, words });
        }
    }

    /// Notes it unless it `holds`.
    pub(super) fn check(
        &mut self,
        invariant: Invariant,
        holds: bool,
        second: i64,
        words: impl FnOnce() -> String,
    ) {
        if !holds {
            self.note(invariant, second, words());
        }
    }

    pub(super) fn into_vec(self) -> Vec<Broken> {
        self.0
    }
}
