//! Orders that people give a running bursar: from the HTTP API, which takes them, to the pipeline,
//! which carries them out between two chunks of its input.

use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use tokio::sync::oneshot;

use crate::record::FunctionKey;

/// Orders that wait for the pipeline; of more, people are told to come again.
const WAITING_MAX: usize = 64;
/// The pipeline looks ten times a second. One that has not looked for so long hangs.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a person wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Gives a function back that is restricted, and leaves it alone for `control.veto`.
    Restore(FunctionKey),
    /// The same whether it is restricted or not.
    LeaveAlone(FunctionKey),
    /// Gives everything back, and leaves those functions alone.
    RestoreAll,
    /// Lets an alarm be acted on, by its name.
    Approve(String),
    /// Says that a decision was carried out elsewhere, by its name.
    Acknowledge(String),
    /// Begins nothing new.
    Stop,
    /// Begins anew.
    Resume,
}

impl Order {
    /// As it is written.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Order::Restore(_) => "restore",
            Order::LeaveAlone(_) => "leave_alone",
            Order::RestoreAll => "restore_all",
            Order::Approve(_) => "approve",
            Order::Acknowledge(_) => "acknowledge",
            Order::Stop => "stop",
            Order::Resume => "resume",
        }
    }

    /// The function or decision that it is about, if it is about one.
    pub fn target(&self) -> Option<String> {
        match self {
            Order::Restore(function) | Order::LeaveAlone(function) => Some(function.to_string()),
            Order::Approve(id) | Order::Acknowledge(id) => Some(id.clone()),
            Order::RestoreAll | Order::Stop | Order::Resume => None,
        }
    }
}

/// An order with whoever gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signed {
    /// What is wanted.
    pub order: Order,
    /// The name that the key has in the access file.
    pub who: String,
    /// The address that it came from.
    pub from: String,
    /// What was given as the reason; may be empty.
    pub why: String,
}

/// What came of an order: how many restrictions it ends, or why it is refused.
pub type Taken = Result<usize, String>;

/// An order on its way.
#[derive(Debug)]
pub struct Waiting {
    /// The order.
    pub signed: Signed,
    answer: oneshot::Sender<Taken>,
}

impl Waiting {
    /// Tells whoever waits what came of it; who has gone is not missed.
    pub fn answer(self, taken: Taken) {
        drop(self.answer.send(taken));
    }
}

/// Where orders are handed in.
#[derive(Debug, Clone)]
pub struct Counter {
    orders: Sender<Waiting>,
}

/// Why nobody knows what becomes of an order.
#[derive(Debug, thiserror::Error)]
pub enum Unheard {
    /// It was not even taken.
    #[error("too many orders are waiting; try again")]
    Full,
    /// The pipeline hangs or is gone. The order may yet be carried out.
    #[error(
        "the pipeline does not answer; `bursar restore` and `bursar stop-actions` work without it"
    )]
    Silent,
}

impl Counter {
    /// A counter, and where its orders come out.
    pub fn open() -> (Self, Receiver<Waiting>) {
        let (orders, waiting) = bounded(WAITING_MAX);
        (Self { orders }, waiting)
    }

    /// Hands an order in whose outcome nobody waits for. Says whether there was room.
    pub fn drop_in(&self, signed: Signed) -> bool {
        let (answer, _) = oneshot::channel();
        self.orders.try_send(Waiting { signed, answer }).is_ok()
    }

    /// Hands an order in and waits for what comes of it.
    ///
    /// # Errors
    /// The pipeline is not heard from.
    pub async fn hand_in(&self, signed: Signed) -> Result<Taken, Unheard> {
        let (answer, taken) = oneshot::channel();
        let handed = self.orders.try_send(Waiting { signed, answer });
        handed
            .map_err(|refused| if refused.is_full() { Unheard::Full } else { Unheard::Silent })?;
        match tokio::time::timeout(PATIENCE, taken).await {
            Ok(Ok(taken)) => Ok(taken),
            Ok(Err(_)) | Err(_) => Err(Unheard::Silent),
        }
    }
}
