//! Where intents are carried out: at once where the platform is in this process, else by a thread
//! of its own, so that a slow control plane holds up neither detection nor the next decision.

use std::collections::VecDeque;
use std::thread::Builder;
use std::time::Duration;

use anyhow::Context as _;
use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};

use super::dry_run::DryRun;
use super::{Actuator, Found, Held};
use crate::control::action::{Intent, Outcome, OutcomeKind, Place, Room, Setting};
use crate::units::EventTime;

/// Control waits for each outcome before it wants the next of a function, so what waits here is
/// bounded by the functions in trouble.
const JOBS_MAX: usize = 65_536;

/// What a hand has to say.
#[derive(Debug)]
pub enum Heard {
    /// What became of an intent.
    Done(Box<Intent>, Outcome),
    /// What stands where a restriction should be.
    Found(Found),
    /// What an account has left of its concurrency.
    Room(Place, Room),
    /// A round of looking after things, or the last one, is over.
    Rested,
}

enum Job {
    Apply(Box<Intent>),
    Tend(Vec<Held>),
    Finish,
}

enum Site {
    Here(Box<dyn Actuator>),
    Apart { jobs: Sender<Job>, words: Receiver<Heard>, tending: bool },
}

/// Control's hands.
pub struct Hands {
    site: Site,
    heard: VecDeque<Heard>,
    /// Intents whose outcome has not been heard.
    awaited: usize,
    finishing: bool,
    stopped: Option<Box<dyn Fn() -> Option<String> + Send>>,
    /// Stops them, or allows them again, for longer than this process lives.
    switch: Option<Box<dyn Fn(bool) -> anyhow::Result<()> + Send>>,
    /// Without such a switch, whether they are stopped.
    halted: bool,
}

impl std::fmt::Debug for Hands {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hands").field("awaited", &self.awaited).finish_non_exhaustive()
    }
}

impl Hands {
    /// Carried out within the call.
    pub fn here(actuator: Box<dyn Actuator>) -> Self {
        Self {
            site: Site::Here(actuator),
            heard: VecDeque::new(),
            awaited: 0,
            finishing: false,
            stopped: None,
            switch: None,
            halted: false,
        }
    }

    /// Carried out by a thread of its own, on which the hand is also made.
    ///
    /// # Errors
    /// The system refuses a thread, or the hand cannot be made.
    pub fn apart<A, F>(clock: fn() -> EventTime, make: F) -> anyhow::Result<Self>
    where
        A: Actuator,
        F: FnOnce() -> anyhow::Result<A> + Send + 'static,
    {
        let (made, is_made) = bounded(1);
        let (jobs, waiting) = bounded::<Job>(JOBS_MAX);
        let (tell, words) = unbounded();
        Builder::new().name("hands".into()).spawn(move || {
            let mut actuator = match make() {
                Ok(actuator) => actuator,
                Err(error) => return drop(made.send(Err(error))),
            };
            drop(made.send(Ok(())));
            for job in waiting {
                let told = match job {
                    Job::Apply(intent) => {
                        let outcome = actuator.apply(&intent, clock());
                        vec![Heard::Done(intent, outcome)]
                    }
                    Job::Tend(held) => {
                        let found = actuator.tend(&held, clock()).into_iter().map(Heard::Found);
                        let rooms = actuator.rooms(clock()).into_iter();
                        let rooms = rooms.map(|(place, room)| Heard::Room(place, room));
                        found.chain(rooms).chain([Heard::Rested]).collect()
                    }
                    Job::Finish => {
                        actuator.finish(clock());
                        vec![Heard::Rested]
                    }
                };
                if told.into_iter().any(|word| tell.send(word).is_err()) {
                    return;
                }
            }
        })?;
        is_made.recv().context("the thread that makes changes has died")??;
        let site = Site::Apart { jobs, words, tending: false };
        Ok(Self { site, ..Self::here(Box::new(DryRun)) })
    }

    /// With somebody who may say why nothing new is to be begun.
    pub fn stopped_by(mut self, why: impl Fn() -> Option<String> + Send + 'static) -> Self {
        self.stopped = Some(Box::new(why));
        self
    }

    /// With a switch by which that is said.
    pub fn switched_by(
        mut self,
        switch: impl Fn(bool) -> anyhow::Result<()> + Send + 'static,
    ) -> Self {
        self.switch = Some(Box::new(switch));
        self
    }

    /// Begins nothing new from now on, or does so again.
    ///
    /// # Errors
    /// It cannot be written down.
    pub fn set_stopped(&mut self, stopped: bool) -> anyhow::Result<()> {
        match &self.switch {
            Some(switch) => switch(stopped),
            None => {
                self.halted = stopped;
                Ok(())
            }
        }
    }

    /// Why nothing new is to be begun, if that is so.
    pub fn stopped(&self) -> Option<String> {
        let halted = || self.halted.then(|| "actions are stopped by order".to_owned());
        self.stopped.as_ref().and_then(|why| why()).or_else(halted)
    }

    /// Hands over an intent, decided on or before `at`.
    pub fn give(&mut self, intent: Intent, at: EventTime) {
        self.awaited += 1;
        match &mut self.site {
            Site::Here(actuator) => {
                let outcome = actuator.apply(&intent, at);
                self.heard.push_back(Heard::Done(Box::new(intent), outcome));
            }
            Site::Apart { jobs, .. } => {
                if let Err(refused) = jobs.try_send(Job::Apply(Box::new(intent))) {
                    let detail = if refused.is_full() {
                        "too many changes are waiting for the control plane"
                    } else {
                        "the thread that makes changes has died"
                    };
                    let outcome =
                        Outcome::of(OutcomeKind::Refused, Setting::Unknown, detail.to_owned());
                    if let Job::Apply(intent) = refused.into_inner() {
                        self.heard.push_back(Heard::Done(intent, outcome));
                    }
                }
            }
        }
    }

    /// Has what is in force looked after, unless that is still being done.
    pub fn tend(&mut self, held: Vec<Held>, at: EventTime) {
        match &mut self.site {
            Site::Here(actuator) => {
                self.heard.extend(actuator.tend(&held, at).into_iter().map(Heard::Found));
            }
            Site::Apart { jobs, tending, .. } => {
                if !*tending && jobs.try_send(Job::Tend(held)).is_ok() {
                    *tending = true;
                }
            }
        }
    }

    /// Nothing will be handed over any more. The word that this is done is the last one.
    pub fn finish(&mut self, at: EventTime) {
        match &mut self.site {
            Site::Here(actuator) => {
                actuator.finish(at);
                self.heard.push_back(Heard::Rested);
            }
            Site::Apart { jobs, .. } => {
                self.finishing = jobs.try_send(Job::Finish).is_ok();
            }
        }
    }

    /// The next word, if there is one.
    pub fn heard(&mut self) -> Option<Heard> {
        self.listen(Duration::ZERO)
    }

    /// Whether the last word is still to come.
    pub fn is_busy(&self) -> bool {
        self.awaited > 0 || self.finishing
    }

    /// How many outcomes are missing.
    pub fn awaited(&self) -> usize {
        self.awaited
    }

    /// The next word, if there is one within so long.
    pub fn listen(&mut self, patience: Duration) -> Option<Heard> {
        loop {
            let word = match (self.heard.pop_front(), &mut self.site) {
                (Some(word), _) => word,
                (None, Site::Here(_)) => return None,
                (None, Site::Apart { words, tending, .. }) => {
                    match words.recv_timeout(patience) {
                        Ok(Heard::Rested) if *tending => {
                            *tending = false;
                            continue;
                        }
                        Ok(word) => word,
                        Err(RecvTimeoutError::Timeout) => return None,
                        // What is awaited will not come; restrictions are in the journal.
                        Err(RecvTimeoutError::Disconnected) => return None,
                    }
                }
            };
            match word {
                Heard::Done(..) => self.awaited = self.awaited.saturating_sub(1),
                Heard::Rested => self.finishing = false,
                Heard::Found(_) | Heard::Room(..) => {}
            }
            return Some(word);
        }
    }
}
