//! [`ProcessId`]: detection of a forked copy of this process.

use std::path::PathBuf;

/// Identity of a process. It differs in a forked copy of the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProcessId {
    pid: u32,
    /// PID namespace of the first process of a namespace, because a copy of it in a new namespace has the same process
    /// ID. `None` for all other processes, and if `/proc` does not show it.
    namespace: Option<Box<PathBuf>>,
}

impl ProcessId {
    /// Returns the identity of this process.
    pub(crate) fn current() -> Self {
        Self::new(std::process::id(), || std::fs::read_link("/proc/self/ns/pid").ok())
    }

    /// Returns whether this process is that one.
    pub(crate) fn is_current(&self) -> bool {
        *self == Self::current()
    }

    fn new(pid: u32, namespace: impl FnOnce() -> Option<PathBuf>) -> Self {
        Self { pid, namespace: if pid == 1 { namespace().map(Box::new) } else { None } }
    }

    /// Returns an identity that no process has.
    #[cfg(test)]
    pub(crate) fn of_parent() -> Self {
        Self::new(0, || None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copy_of_first_process_in_a_new_namespace_is_detected() {
        let of = |pid, namespace: &str| ProcessId::new(pid, || Some(namespace.into()));
        assert_ne!(of(1, "pid:[1]"), of(1, "pid:[2]"));
        assert_eq!(of(1, "pid:[1]"), of(1, "pid:[1]"));
        assert_ne!(of(2, "pid:[1]"), of(3, "pid:[1]"));
        assert_eq!(of(2, "pid:[1]"), ProcessId::new(2, || unreachable!("it is the first process only")));
        assert!(ProcessId::current().is_current());
    }
}
