//! Triggers know who asked, invocations what it cost; the request id that both carry joins them.

use crate::engine::batch::Dimension;
use crate::keep::{Bytes, Keep, Unfit, kept};

/// How many wait for their counterpart. A flood of five thousand requests a second finds its
/// invocations within a fifth of a second; slower ones are charged the mean.
const WAITING: usize = 1_024;

/// What is known of a request so far.
#[derive(Debug, Clone, Copy)]
pub(super) enum Known<const N: usize> {
    /// Who asked, by hash, 0 where unknown, and the cost that was assumed.
    Caller([u64; N], f64),
    /// What it cost.
    Cost(f64),
    /// Both stood in one record.
    Both,
}

/// Requests that wait, each in the one place that its id has; a newer one there ends the wait.
#[derive(Debug, Default)]
pub(super) struct Join<const N: usize> {
    places: Vec<(u64, Known<N>)>,
}

impl<const N: usize> Join<N> {
    /// What is known of a request.
    pub(super) fn get(&self, request: u64) -> Option<Known<N>> {
        let (held, known) = *self.places.get(Self::place(request))?;
        (held == request && request != 0).then_some(known)
    }

    /// Remembers what is known of a request; a request without an id is nobody's counterpart.
    pub(super) fn put(&mut self, request: u64, known: Known<N>) {
        if request == 0 {
            return;
        }
        if self.places.is_empty() {
            self.places = vec![(0, Known::Both); WAITING];
        }
        self.places[Self::place(request)] = (request, known);
    }

    fn place(request: u64) -> usize {
        usize::from(u16::from_le_bytes([request.to_le_bytes()[0], request.to_le_bytes()[1]]))
            % WAITING
    }
}

kept!(Join<{ Dimension::COUNT }> { places }
    if |join| join.places.is_empty() || join.places.len() == WAITING);

impl Keep for Known<{ Dimension::COUNT }> {
    fn keep(&self, out: &mut Vec<u8>) {
        match *self {
            Known::Both => out.push(0),
            Known::Cost(cost) => {
                out.push(1);
                cost.keep(out);
            }
            Known::Caller(hashes, assumed) => {
                out.push(2);
                (hashes, assumed).keep(out);
            }
        }
    }

    fn regain(from: &mut Bytes<'_>) -> Result<Self, Unfit> {
        Ok(match u8::regain(from)? {
            0 => Known::Both,
            1 => Known::Cost(f64::regain(from)?),
            2 => {
                let (hashes, assumed) = Keep::regain(from)?;
                Known::Caller(hashes, assumed)
            }
            _ => return Err(Unfit),
        })
    }
}
