//! A process as `/proc` describes it.

use std::io::{self, ErrorKind};
use std::{fs::ReadDir, path::Path, str::FromStr};

use nix::errno::Errno;
use nix::unistd::{Pid, getpgid, getpgrp};

/// A process.
#[derive(Clone, Debug)]
pub struct Process {
    pub pid: Pid,
    /// Name in the kernel, at most 15 bytes. It is untrusted: a process can set its own name.
    pub name: String,
    pub parent: Pid,
    pub group: Pid,
    /// State as in proc(5), for example `T` if the process is stopped. `?` if it is unknown.
    pub state: char,
    threads: u64,
    /// Start time in kernel ticks. It distinguishes processes that had the same process ID.
    start_time: u64,
}

impl Process {
    /// Reads a process from `/proc`. Returns `None` if it has ended or is hidden from this user.
    pub fn read(pid: Pid) -> io::Result<Option<Self>> {
        let stat = if_visible(std::fs::read(format!("/proc/{pid}/stat")))?;
        Ok(stat.and_then(|stat| Self::parse(pid, &stat)))
    }

    /// Returns a process of which only the process ID and the parent are known, or `None` if it does not exist.
    pub fn hidden(pid: Pid, parent: Pid) -> Option<Self> {
        let group = match getpgid(Some(pid)) {
            Err(Errno::ESRCH) => return None,
            group => group.unwrap_or_else(|_| getpgrp()),
        };
        Some(Self { pid, name: "process".to_owned(), parent, group, state: '?', threads: 1, start_time: 0 })
    }

    /// Returns all processes that `/proc` lists, or none on systems without `/proc`.
    pub fn all() -> io::Result<Vec<Self>> {
        let entries = match std::fs::read_dir("/proc") {
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            entries => Some(entries?),
        };
        numeric_names(entries)?.into_iter().filter_map(|pid| Self::read(pid).transpose()).collect()
    }

    /// Parses a line such as `17 (a b) c) S 1 17 …`. The name in parentheses may contain any bytes.
    fn parse(pid: Pid, stat: &[u8]) -> Option<Self> {
        let stat = String::from_utf8_lossy(stat);
        let (before, after) = stat.rsplit_once(") ")?;
        let name = before.split_once('(')?.1.to_owned();
        let fields: Vec<_> = after.split(' ').collect();
        let (parent, group) = (field(&fields, 4).map(Pid::from_raw)?, field(&fields, 5).map(Pid::from_raw)?);
        let (state, threads, start_time) = (field(&fields, 3)?, field(&fields, 20)?, field(&fields, 22)?);
        Some(Self { pid, name, parent, group, state, threads, start_time })
    }

    /// Returns whether both values describe the same process, and not two processes with the same process ID.
    pub fn is_same(&self, other: &Self) -> bool {
        (self.pid, self.start_time) == (other.pid, other.start_time)
    }

    /// Returns whether another process has this process ID now. Returns `false` if that is not visible.
    pub fn was_replaced(&self) -> bool {
        let is_known = self.start_time != 0;
        is_known && matches!(Self::read(self.pid), Ok(Some(now)) if !now.is_same(self))
    }

    /// Returns whether the process has ended. If only its first thread has ended, the kernel shows the process as a
    /// zombie although its other threads are running.
    pub fn has_ended(&self) -> bool {
        matches!(self.state, 'Z' | 'X') && self.threads <= 1
    }

    #[cfg(test)]
    pub fn set_earlier_start(&mut self) {
        self.start_time -= 1;
    }
}

/// Returns the children of a process, including the orphans that it has adopted, or none if the kernel does not list
/// them.
///
/// A process that is hidden by the mount option `hidepid` is missing in [`Process::all`], but its process ID is listed
/// here.
pub fn children(parent: Pid) -> io::Result<Vec<Pid>> {
    let tasks = format!("/proc/{parent}/task");
    let mut all = Vec::new();
    for task in numeric_names(if_visible(std::fs::read_dir(&tasks))?)? {
        let text = if_visible(std::fs::read_to_string(format!("{tasks}/{task}/children")))?.unwrap_or_default();
        all.extend(text.split_whitespace().filter_map(|pid| pid.parse().ok()).map(Pid::from_raw));
    }
    Ok(all)
}

/// Returns whether the process IDs in `/proc` are those of this process's PID namespace, or `true` without `/proc`.
///
/// If `/proc` was mounted for another namespace, its process IDs belong to unrelated processes.
pub fn proc_matches_namespace() -> bool {
    let myself = Path::new("/proc/self");
    let matches = std::fs::read_link(myself).is_ok_and(|pid| pid == Path::new(&Pid::this().to_string()));
    // The link exists but cannot be resolved if the namespace of `/proc` does not contain this process.
    matches || myself.symlink_metadata().is_err()
}

/// Returns the numeric names of the entries of a directory.
fn numeric_names(directory: Option<ReadDir>) -> io::Result<Vec<Pid>> {
    let mut all = Vec::new();
    for entry in directory.into_iter().flatten() {
        let Some(entry) = if_visible(entry)? else { break };
        all.extend(entry.file_name().to_str().and_then(|name| name.parse().ok()).map(Pid::from_raw));
    }
    Ok(all)
}

/// Returns `None` in place of the errors for processes that have ended or are hidden.
fn if_visible<T>(read: io::Result<T>) -> io::Result<Option<T>> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => Ok(None),
        Err(error) if error.raw_os_error() == Some(Errno::ESRCH as i32) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns a field by its number in proc(5), where the name is field 2. `fields` begins after the name.
fn field<T: FromStr>(fields: &[&str], number: usize) -> Option<T> {
    fields.get(number - 3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn process_name_may_contain_any_bytes() {
        let line = b"17 (a) S 9 (\xff) T 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20\n";
        let process = Process::parse(Pid::from_raw(17), line).expect("a line of the kernel");
        assert_eq!((process.name.as_str(), process.state), ("a) S 9 (\u{fffd}", 'T'));
        assert_eq!((process.parent, process.group), (Pid::from_raw(1), Pid::from_raw(2)));
        assert_eq!((process.threads, process.start_time), (17, 19));
        assert!(Process::parse(Pid::from_raw(17), b"nonsense").is_none());
    }
}
