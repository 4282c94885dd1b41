//! The running descendants of a process, in all sessions and process groups.

use std::io;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpgrp};

use crate::supervisor::process::{Process, children};
use crate::sys;

/// Running processes. Zombies are not included.
#[derive(Debug, Default)]
pub struct ProcessTree(Vec<Process>);

impl ProcessTree {
    /// Returns the running descendants of `root`, except the processes in `excluded` and their descendants.
    ///
    /// Processes that are forked during the call may be missing, with their descendants. An error does not mean that
    /// there are no descendants.
    pub fn descendants(root: Pid, excluded: &Self) -> io::Result<Self> {
        if root == Pid::this() && sys::has_no_child() {
            return Ok(Self::default()); // Listing all processes takes milliseconds.
        }
        let mut all = Process::all()?;
        let mut found = Vec::<Process>::new();
        let mut parents = vec![root];
        while let Some(parent) = parents.pop() {
            for child in children(parent)? {
                if !all.iter().any(|process| process.pid == child) {
                    all.extend(Process::read(child)?.or_else(|| Process::hidden(child, parent)));
                }
            }
            let is_child =
                |process: &&Process| process.parent == parent && !excluded.0.iter().any(|other| other.is_same(process));
            for process in all.iter().filter(is_child) {
                parents.push(process.pid);
                found.push(process.clone());
            }
        }
        found.retain(|process| !process.has_ended());
        Ok(Self(found))
    }

    /// Returns a tree that contains only this child of the current process.
    pub fn of_child(child: Pid) -> io::Result<Self> {
        Ok(Self(Process::read(child)?.or_else(|| Process::hidden(child, Pid::this())).into_iter().collect()))
    }

    /// Adds a child of the current process that has not been reaped, if it is missing. On systems where descendants
    /// cannot be listed, it is the only one.
    ///
    /// The child comes first, so that a supervisor that is killed cannot report the end of a command that is killed
    /// with it.
    pub fn with_child(mut self, child: Option<Pid>) -> Self {
        let missing = child.filter(|pid| !self.0.iter().any(|process| process.pid == *pid));
        let child = missing.and_then(|pid| Process::hidden(pid, Pid::this()));
        self.0.splice(..0, child);
        self
    }

    /// Removes the processes in this process's own group, because signals of the terminal reach them directly.
    pub fn outside_own_group(mut self) -> Self {
        let own = getpgrp();
        self.0.retain(|process| process.group != own);
        self
    }

    /// Sends the signal to each process.
    pub fn send(&self, signal: Signal) {
        // Listing all processes takes milliseconds. Meanwhile a process may have ended and its ID may be in use again.
        for process in self.0.iter().filter(|process| !process.was_replaced()) {
            // The process may have ended, or may now belong to another user. Neither can be helped here.
            let _gone = kill(process.pid, signal);
        }
    }

    /// Returns whether the process with this process ID is in the tree and stopped.
    pub fn is_stopped(&self, pid: Option<Pid>) -> bool {
        self.0.iter().any(|process| Some(process.pid) == pid && process.state == 'T')
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the names and process IDs for messages, for example `sh 1233, sleep 1234`.
    pub fn names(&self) -> String {
        self.0.iter().map(|process| format!("{} {}", process.name, process.pid)).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Child, Command};

    fn sleep() -> (Child, Pid) {
        let child = Command::new("sleep").arg("100").spawn().expect("sleep is there");
        let pid = Pid::from_raw(child.id() as i32);
        (child, pid)
    }

    /// Simulates a system where the kernel does not list descendants.
    #[test]
    fn unlisted_child_receives_signals() {
        let (mut child, pid) = sleep();
        let tree = ProcessTree::default().with_child(Some(pid)).with_child(Some(pid));
        assert_eq!(tree.0.len(), 1);
        tree.send(Signal::SIGKILL);
        assert_eq!(child.wait().expect("it is a child").signal(), Some(9));
        assert!(ProcessTree::default().with_child(None).is_empty());
    }

    /// Track record: a supervisor that was slow to end its command was killed after the command, and had reported by
    /// then that the command had ended by itself.
    #[test]
    #[cfg(target_os = "linux")]
    fn killed_child_comes_before_its_descendants() {
        let mut child = Command::new("sh").args(["-c", "sleep 100; true"]).spawn().expect("sh is there");
        let pid = Pid::from_raw(child.id() as i32);
        let below = || ProcessTree::descendants(pid, &ProcessTree::default()).expect("Linux lists them");
        while below().is_empty() {
            std::thread::yield_now();
        }
        let tree = below().with_child(Some(pid));
        assert_eq!(tree.0.iter().map(|process| process.pid == pid).collect::<Vec<_>>(), [true, false]);
        tree.send(Signal::SIGKILL);
        child.wait().expect("it is a child");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn child_is_listed_until_it_has_ended() {
        let (mut child, pid) = sleep();
        let is_listed = || {
            let tree = ProcessTree::descendants(Pid::this(), &ProcessTree::default()).expect("Linux lists them");
            tree.0.iter().any(|process| process.pid == pid)
        };
        assert!(is_listed());
        child.kill().expect("it is a child");
        child.wait().expect("it is a child");
        assert!(!is_listed());
    }

    /// Listing all processes takes milliseconds, in which a process ID may be reused.
    #[test]
    #[cfg(target_os = "linux")]
    fn process_with_reused_pid_receives_no_signal() {
        let (mut child, pid) = sleep();
        let mut tree = ProcessTree::of_child(pid).expect("it exists");
        tree.0.iter_mut().for_each(Process::set_earlier_start);
        tree.send(Signal::SIGKILL);
        ProcessTree::of_child(pid).expect("it exists").send(Signal::SIGTERM);
        assert_eq!(child.wait().expect("it is a child").signal(), Some(15));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn reused_pid_is_not_mistaken_for_exited_process() {
        let (mut child, pid) = sleep();
        let except =
            |excluded: &ProcessTree| ProcessTree::descendants(Pid::this(), excluded).expect("Linux lists them");
        let mut excluded = except(&ProcessTree::default());
        assert!(!except(&excluded).0.iter().any(|process| process.pid == pid));
        excluded.0.iter_mut().for_each(Process::set_earlier_start);
        assert!(except(&excluded).0.iter().any(|process| process.pid == pid));
        child.kill().expect("it is a child");
        child.wait().expect("it is a child");
    }
}
