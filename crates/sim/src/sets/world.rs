//! Locks and clients, and the events that change them.

use super::client::{Client, Phase};
use super::{Config, Mutant};

/// Event of one client, by its index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The client acquires the lock that it waits for.
    Take(usize),
    /// The client looks at its guards, and follows its machine.
    Look(usize),
    /// The client releases all locks, because it has to.
    GiveBack(usize),
    /// The client has worked, and releases all locks.
    Finish(usize),
    /// The client loses this lock.
    Lose(usize, usize),
    /// The client stops waiting.
    TimeOut(usize),
}

/// A state of all locks and clients.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    /// Owner of each lock.
    owners: [Option<usize>; 3],
    clients: Vec<Client>,
    losses: u8,
    timeouts: u8,
}

impl World {
    pub fn new(config: &Config, mutant: Option<Mutant>) -> Self {
        let clients = config.sets.iter().map(|names| Client::new(names, mutant)).collect();
        Self { owners: [None; 3], clients, losses: config.losses, timeouts: config.timeouts }
    }

    /// Returns the events that can occur, those without a fault first, with the states after them.
    ///
    /// # Errors
    /// The event after which a property does not hold, with a description.
    pub fn successors(&self, mutant: Option<Mutant>) -> Result<Vec<(Action, World)>, (Action, String)> {
        let mut all = Vec::new();
        let indices = 0..self.clients.len();
        let own = [Action::Take, Action::Look, Action::GiveBack, Action::Finish];
        let progress = indices.clone().flat_map(|client| own.map(|action| action(client)));
        let losses = indices.clone().flat_map(|client| (0..3).map(move |lock| Action::Lose(client, lock)));
        let mut has_progress = false;
        for action in progress.chain(losses).chain(indices.map(Action::TimeOut)) {
            let next = self.after(action, mutant).map_err(|violation| (action, violation))?;
            if let Some(next) = next {
                next.check().map_err(|violation| (action, violation))?;
                has_progress |= !matches!(action, Action::Lose(..) | Action::TimeOut(_));
                all.push((action, next));
            }
        }
        let is_done = self.clients.iter().all(|client| client.phase == Phase::Done);
        if !is_done && !has_progress {
            let waiting = self.clients.iter().position(|client| client.phase != Phase::Done).unwrap_or_default();
            return Err((Action::Look(waiting), "clients wait for each other for ever".to_owned()));
        }
        Ok(all)
    }

    /// Returns the state after an event, `None` if it cannot occur.
    fn after(&self, action: Action, mutant: Option<Mutant>) -> Result<Option<World>, String> {
        let mut next = self.clone();
        let can_occur = match action {
            Action::Take(index) => {
                let awaited = next.clients[index].awaited().filter(|lock| next.owners[*lock].is_none());
                if let Some(lock) = awaited {
                    next.owners[lock] = Some(index);
                    next.clients[index].take();
                }
                awaited.is_some()
            }
            Action::Look(index) => next.clients[index].look(mutant)?,
            Action::GiveBack(index) => {
                let keeps = match mutant {
                    Some(Mutant::GivesBackAwaitedOnly) => !self.has_worked(index),
                    Some(Mutant::KeepsOthersAfterLoss) => self.has_worked(index),
                    _ => false,
                };
                self.clients[index].phase == Phase::GivingBack && next.release(index, keeps)
            }
            Action::Finish(index) => {
                let client = &mut next.clients[index];
                let is_working = client.phase == Phase::Working;
                if is_working {
                    client.finish();
                }
                is_working && next.release(index, false)
            }
            Action::Lose(index, lock) => next.lose(index, lock),
            Action::TimeOut(index) => {
                let waits = self.timeouts > 0 && self.clients[index].awaited().is_some();
                if waits {
                    next.timeouts -= 1;
                    next.clients[index].time_out();
                }
                waits
            }
        };
        Ok(Some(next).filter(|_| can_occur))
    }

    fn has_worked(&self, index: usize) -> bool {
        self.clients[index].valid.len() == self.clients[index].order.len()
    }

    /// Releases all locks of a client, unless a mutant keeps them.
    fn release(&mut self, index: usize, keeps: bool) -> bool {
        if !keeps {
            self.owners.iter_mut().for_each(|owner| _ = owner.take_if(|owner| *owner == index));
        }
        self.clients[index].given_back();
        true
    }

    fn lose(&mut self, index: usize, lock: usize) -> bool {
        let client = &mut self.clients[index];
        let position = client.order.iter().position(|owned| *owned == lock);
        let valid = position.and_then(|position| client.valid.get_mut(position)).filter(|valid| **valid);
        match valid {
            Some(valid) if self.losses > 0 && self.owners[lock] == Some(index) => {
                *valid = false;
                self.owners[lock] = None;
                self.losses -= 1;
                true
            }
            _ => false,
        }
    }

    /// Checks that clients which have ended own no lock.
    fn check(&self) -> Result<(), String> {
        let is_left = |owner: &usize| self.clients[*owner].phase == Phase::Done;
        match self.owners.iter().flatten().any(is_left) {
            true => Err("a client has ended, and still holds a lock".to_owned()),
            false => Ok(()),
        }
    }
}
