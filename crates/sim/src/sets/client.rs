//! A client that acquires several locks, works, and releases them.

use dynamo_lock_protocol::{AcquireAll, AcquireAllStep, LockNames};

use super::Mutant;

/// Progress of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    Acquiring,
    GivingBack,
    /// The locks were reported as held.
    Working,
    Done,
}

/// A client with its state machine.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Client {
    /// Locks in the order of their acquisition, as indices.
    pub order: Vec<usize>,
    pub phase: Phase,
    machine: AcquireAll,
    /// Whether the guard of each lock that was acquired is valid, in the same order.
    pub valid: Vec<bool>,
    /// Position of a lost lock that is awaited again, only with [`Mutant::KeepsRest`].
    again: Option<usize>,
}

impl Client {
    /// Creates a client of locks with these names. Names are letters from `a`.
    pub fn new(names: &[&str], mutant: Option<Mutant>) -> Self {
        let index = |name: &str| usize::from(name.as_bytes()[0] - b'a');
        let sorted = LockNames::new(names.iter().copied()).expect("valid names");
        let order = match mutant {
            Some(Mutant::Unsorted) => names.iter().map(|name| index(name)).collect(),
            _ => sorted.as_slice().iter().map(|name| index(name.as_str())).collect::<Vec<_>>(),
        };
        let machine = AcquireAll::new(order.len());
        Self { order, phase: Phase::Acquiring, machine, valid: Vec::new(), again: None }
    }

    /// Returns the lock that the client waits for.
    pub fn awaited(&self) -> Option<usize> {
        let position = self.again.unwrap_or(self.valid.len());
        self.order.get(position).copied().filter(|_| self.phase == Phase::Acquiring)
    }

    /// Takes the acquisition of the awaited lock.
    pub fn take(&mut self) {
        match self.again.take() {
            Some(position) => self.valid[position] = true,
            None => {
                self.valid.push(true);
                self.machine.acquired();
            }
        }
    }

    /// Stops waiting.
    pub fn time_out(&mut self) {
        self.machine.stop();
        self.again = None;
        self.follow(AcquireAllStep::GiveBack);
    }

    /// Looks at the own guards, and performs the next step. Returns whether that changed anything. Returns an error if
    /// a lock is reported as held that was lost.
    pub fn look(&mut self, mutant: Option<Mutant>) -> Result<bool, String> {
        let all_valid = self.valid.iter().all(|valid| *valid);
        match self.phase {
            Phase::Acquiring if self.again.is_some() => Ok(false),
            Phase::Acquiring if mutant == Some(Mutant::KeepsRest) && !all_valid => {
                self.again = self.valid.iter().position(|valid| !valid);
                Ok(true)
            }
            Phase::Acquiring => {
                let has_all = self.valid.len() == self.order.len();
                let step = self.machine.next(all_valid || has_all && mutant == Some(Mutant::NoLook));
                if step == AcquireAllStep::Acquired && !all_valid {
                    return Err("a lock is reported as held that was lost before".to_owned());
                }
                self.follow(step);
                Ok(self.phase != Phase::Acquiring)
            }
            Phase::Working if !all_valid => {
                self.finish();
                self.phase = Phase::GivingBack;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Ends the work, so that the releases are the end of the client.
    pub fn finish(&mut self) {
        self.machine.stop();
    }

    /// Takes the end of the releases.
    pub fn given_back(&mut self) {
        self.valid.clear();
        self.machine.given_back();
        let step = self.machine.next(true);
        self.follow(step);
    }

    fn follow(&mut self, step: AcquireAllStep) {
        self.phase = match step {
            AcquireAllStep::Acquire(_) => Phase::Acquiring,
            AcquireAllStep::GiveBack => Phase::GivingBack,
            AcquireAllStep::Acquired => Phase::Working,
            AcquireAllStep::Stopped => Phase::Done,
        };
    }
}
