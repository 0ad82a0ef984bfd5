//! Who may be connected at once. When all seats are taken, whoever has been given nothing for the
//! longest makes room: that is an idle connection, a request that trickles in or an answer that
//! nobody reads, and not somebody who is being answered. So ten thousand connections hold up a
//! scrape no longer than it takes to accept them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// The seats.
#[derive(Debug)]
pub(super) struct Seats {
    most: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    /// Counts whatever happens here, which says what came before what.
    turn: u64,
    seats: BTreeMap<u64, Holder>,
}

#[derive(Debug)]
struct Holder {
    /// The turn at which it was last given something, or taken.
    served: u64,
    evicted: Arc<Notify>,
}

/// A seat; it is free again when this goes out of scope.
#[derive(Debug)]
pub(super) struct Seat {
    number: u64,
    seats: Arc<Seats>,
    /// Told when somebody else is to sit here.
    pub(super) evicted: Arc<Notify>,
}

impl Seats {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, taken: Mutex::default() })
    }

    /// Takes a seat, somebody else's if there is none left.
    pub(super) fn take(self: &Arc<Self>) -> Seat {
        let mut taken = self.lock();
        if taken.seats.len() >= self.most {
            let idlest = taken.seats.iter().min_by_key(|(_, seat)| seat.served);
            let idlest = idlest.map(|(number, _)| *number);
            if let Some(seat) = idlest.and_then(|number| taken.seats.remove(&number)) {
                seat.evicted.notify_one();
            }
        }
        taken.turn += 1;
        let number = taken.turn;
        let evicted = Arc::new(Notify::new());
        let holder = Holder { served: number, evicted: Arc::clone(&evicted) };
        taken.seats.insert(number, holder);
        Seat { number, seats: Arc::clone(self), evicted }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// Whoever sits here has been given something.
    pub(super) fn served(&self) {
        let mut taken = self.seats.lock();
        taken.turn += 1;
        let turn = taken.turn;
        if let Some(seat) = taken.seats.get_mut(&self.number) {
            seat.served = turn;
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.seats.lock().seats.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_that_was_given_nothing_for_the_longest_makes_room() {
        let seats = Seats::new(2);
        let (first, second) = (seats.take(), seats.take());
        first.served();
        let third = seats.take();
        let has = |seat: &Seat| seats.lock().seats.contains_key(&seat.number);
        assert_eq!([has(&first), has(&second), has(&third)], [true, false, true]);
        drop(first);
        drop(second);
        assert_eq!(seats.lock().seats.len(), 1);
    }
}
