//! [`AcquireAll`]: the order in which several locks are acquired, all or none.

/// Next step of an [`AcquireAll`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AcquireAllStep {
    /// Acquire the lock with this index, while the locks before it are renewed. Call [`AcquireAll::acquired`] or
    /// [`AcquireAll::stop`] at its end. If a held lock is lost meanwhile, end the acquisition and ask for the next step.
    Acquire(usize),
    /// Release all locks that are held, then call [`AcquireAll::given_back`].
    GiveBack,
    /// Report all locks as held, at once. The machine has ended.
    Acquired,
    /// Report that the locks were not acquired. None is held, and the machine has ended.
    Stopped,
}

/// State machine that acquires several locks, all or none: one after the other, in the order of their names.
///
/// The machine decides only the order. Each lock is acquired, renewed and released by the machines of a single lock.
/// The caller runs this loop:
///
/// 1. Compute whether every lock that is held is still valid (R3), and pass that to [`next`](Self::next).
/// 2. Perform the step, and report its end.
///
/// The loss of a held lock while another one is awaited is noticed by the first step, and so is a loss during the last
/// request, before the locks are reported (R5). All locks are then given back, and the acquisition begins anew: a
/// client that kept the others would ask for locks out of order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct AcquireAll {
    /// Number of all locks.
    count: usize,
    /// Number of locks that are held, the first ones in their order.
    held: usize,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum State {
    Acquiring,
    /// All locks are being released, to begin anew.
    Restarting,
    /// All locks are being released, because one could not be acquired.
    Stopping,
    Stopped,
}

impl AcquireAll {
    /// Creates a machine for this number of locks.
    pub fn new(count: usize) -> Self {
        Self { count, held: 0, state: State::Acquiring }
    }

    /// Returns the next step. `all_valid` is whether every lock that is held is valid now.
    pub fn next(&mut self, all_valid: bool) -> AcquireAllStep {
        if self.state == State::Acquiring && !all_valid {
            self.state = State::Restarting;
        }
        match self.state {
            State::Acquiring if self.held == self.count => AcquireAllStep::Acquired,
            State::Acquiring => AcquireAllStep::Acquire(self.held),
            State::Restarting | State::Stopping => AcquireAllStep::GiveBack,
            State::Stopped => AcquireAllStep::Stopped,
        }
    }

    /// Takes the acquisition of the lock that was awaited.
    pub fn acquired(&mut self) {
        self.held += 1;
    }

    /// Ends the acquisition, because the lock that was awaited could not be acquired, or because the caller stops.
    pub fn stop(&mut self) {
        self.state = if self.held == 0 { State::Stopped } else { State::Stopping };
    }

    /// Takes the end of the releases, whatever their results are.
    pub fn given_back(&mut self) {
        self.held = 0;
        self.state = if self.state == State::Restarting { State::Acquiring } else { State::Stopped };
    }
}
