//! Something broken on purpose: what is looked for must be found where it is.

/// One way of breaking bursar or its hands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Defect {
    /// Caps are a thousand times too wide.
    WideCaps,
    /// Caps stop functions altogether.
    ZeroCaps,
    /// Nothing is ever given back, and it is said that it was.
    KeptRestrictions,
    /// Plans of mode observe are carried out.
    PlansCarriedOut,
    /// A function is capped that must not be touched.
    ForbiddenTouch,
    /// It is said that a cap is in force, and it is not.
    EmptyWord,
    /// The engine misses a message.
    MissedMessage,
    /// Every change is made twenty times.
    Hammering,
    /// Functions are seen that nobody has deployed.
    Phantoms,
    /// Alarms never close.
    DeafToClosing,
    /// Queues are no longer read.
    StoppedQueues,
    /// Silence leads to caps.
    ActsOnSilence,
    /// Requests that were turned away are taken for invocations.
    CountsRefusals,
    /// Everybody is capped as soon as the window begins.
    CapsEverybody,
    /// It panics.
    Panics,
}
