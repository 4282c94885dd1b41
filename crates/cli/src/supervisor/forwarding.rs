//! Forwarding of signals and stops between the wrapper and the command with its descendants.
//!
//! If the terminal sends a signal, the kernel sends it to the terminal's whole process group. The supervisor does not
//! send it to the processes of that group again.

use dynamo_lock_protocol::ClockReading;
use nix::sys::signal::Signal;

use super::{STOP_SETTLE_TIME, Supervisor, ending::Due, message::Event, message::Order, process_tree::ProcessTree};
use crate::clock;

impl Supervisor {
    /// Executes an order of the wrapper.
    pub(super) fn execute(&mut self, order: Order) {
        match order {
            Order::RunUntil(grant) => self.grant = grant,
            // Only the command is expected to handle these. They would end most of its descendants.
            Order::Signal(signal @ (Signal::SIGUSR1 | Signal::SIGUSR2)) | Order::Warn(signal) => {
                ProcessTree::default().with_child(self.command).send(signal);
            }
            Order::Signal(signal) => self.without_signal(signal).send(signal),
            Order::Stop => {
                self.wrapper_stopped = true;
                self.without_signal(Signal::SIGTSTP).send(Signal::SIGSTOP);
            }
            Order::Continue => {
                self.wrapper_stopped = false;
                // A command that was stopped until its time had passed is killed without being continued.
                if self.due(clock::now()) != Some(Due::Kill) {
                    let tree = self.descendants();
                    // If the terminal has stopped the group again, the group stays stopped. The processes in other
                    // groups were stopped by the supervisor, and no other process continues them.
                    let stopped = self.signals.stopped_by_terminal();
                    if stopped { tree.outside_own_group() } else { tree }.send(Signal::SIGCONT);
                }
            }
        }
    }

    /// Returns the processes that have not received this signal, which the wrapper has received. If the terminal has
    /// sent it, the processes in the terminal's group have received it too.
    fn without_signal(&mut self, signal: Signal) -> ProcessTree {
        let tree = self.descendants();
        if self.signals.take_from_terminal(signal) { tree.outside_own_group() } else { tree }
    }

    /// Reports to the wrapper that the command has stopped itself, as `less` does on Ctrl-Z.
    ///
    /// The terminal would otherwise hang, because the shell sees that the wrapper is still running. The wrapper then
    /// stops too, as if the terminal had stopped the whole group.
    pub(super) fn report_stop(&mut self, now: ClockReading) {
        if self.wrapper_stopped || self.signals.stopped_by_terminal() {
            self.stopped = None;
        }
        let has_settled = |at: &mut ClockReading| now.holder_elapsed_since(*at) >= STOP_SETTLE_TIME;
        if self.stopped.take_if(has_settled).is_some() && self.descendants().is_stopped(self.command) {
            self.send(Event::Stopped);
        }
    }
}
