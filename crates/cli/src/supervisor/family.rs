//! Who descends from a process: whatever it has started, and what those have, in whatever session.

use std::fs::ReadDir;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::str::FromStr;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getpgid, getpgrp};

/// Processes that live, zombies aside.
#[derive(Debug, Default)]
pub struct Family(Vec<Member>);

#[derive(Clone, Debug)]
struct Member {
    pid: Pid,
    /// As the kernel tells it, by its first 15 bytes: other people's words.
    name: String,
    parent: Pid,
    group: Pid,
    state: char,
    threads: u64,
    /// When it was, in the kernel's ticks: numbers are used again.
    started: u64,
}

/// All that lives and descends from this process, but for these others and what descends from them. What is forked
/// meanwhile may be missing, with what had forked it. An error is not nobody.
pub fn descendants(of: Pid, but: &Family) -> io::Result<Family> {
    let mut all = processes()?;
    let mut family = Vec::<Member>::new();
    let mut parents = vec![of];
    while let Some(parent) = parents.pop() {
        for child in children(parent)? {
            if !all.iter().any(|one| one.pid == child) {
                all.extend(look(child)?.or_else(|| Member::hidden(child, parent)));
            }
        }
        let ours = |one: &&Member| one.parent == parent && !but.0.iter().any(|other| other.is(one));
        for member in all.iter().filter(ours) {
            parents.push(member.pid);
            family.push(member.clone());
        }
    }
    family.retain(|member| !member.has_ended());
    Ok(Family(family))
}

/// Whether it is our own numbers that the kernel tells of processes; also if it tells of none. Mounted for another PID
/// namespace, it would be those of others.
pub fn are_told_by_our_numbers() -> bool {
    let myself = Path::new("/proc/self");
    let ours = std::fs::read_link(myself).is_ok_and(|pid| pid == Path::new(&Pid::this().to_string()));
    // Where we are in none of its numbers it is there and leads nowhere.
    ours || myself.symlink_metadata().is_err()
}

impl Member {
    /// Of which no more is known than that it is there, and whose child it is.
    fn hidden(pid: Pid, parent: Pid) -> Option<Self> {
        let group = match getpgid(Some(pid)) {
            Err(Errno::ESRCH) => return None,
            group => group.unwrap_or_else(|_| getpgrp()),
        };
        Some(Self { pid, name: "process".to_owned(), parent, group, state: '?', threads: 1, started: 0 })
    }

    fn is(&self, other: &Self) -> bool {
        (self.pid, self.started) == (other.pid, other.started)
    }

    /// A process whose first thread has ended looks like a zombie too, but its other threads go on.
    fn has_ended(&self) -> bool {
        matches!(self.state, 'Z' | 'X') && self.threads <= 1
    }
}

impl Family {
    /// This child of ours alone.
    pub fn of_one(child: Pid) -> io::Result<Self> {
        Ok(Self(look(child)?.or_else(|| Member::hidden(child, Pid::this())).into_iter().collect()))
    }

    /// With this child of ours, which has not been waited for: where the kernel tells of no others, it alone is known.
    pub fn with(mut self, child: Option<Pid>) -> Self {
        let unseen = child.filter(|pid| !self.0.iter().any(|member| member.pid == *pid));
        self.0.extend(unseen.and_then(|pid| Member::hidden(pid, Pid::this())));
        self
    }

    /// Sends it to each.
    pub fn send(&self, signal: Signal) {
        for member in &self.0 {
            // It may have ended just now, or be another user's by now: then there is nothing to be done.
            let _gone = kill(member.pid, signal);
        }
    }

    /// Those that the terminal's signals to our process group do not reach.
    pub fn of_other_groups(mut self) -> Self {
        let ours = getpgrp();
        self.0.retain(|member| member.group != ours);
        self
    }

    /// Whether this one is among them, and stopped.
    pub fn stopped(&self, one: Option<Pid>) -> bool {
        self.0.iter().any(|member| Some(member.pid) == one && member.state == 'T')
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// For people: `sleep 1234`.
    pub fn names(&self) -> Vec<String> {
        self.0.iter().map(|member| format!("{} {}", member.name, member.pid)).collect()
    }
}

/// As Linux tells them; elsewhere none is known.
fn processes() -> io::Result<Vec<Member>> {
    let entries = match std::fs::read_dir("/proc") {
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        entries => Some(entries?),
    };
    let mut all = Vec::new();
    for pid in numbers(entries)? {
        all.extend(look(pid)?);
    }
    Ok(all)
}

/// Those that this one has started, or been left, as far as the kernel tells that. Where `/proc` is mounted with `hidepid`,
/// it shows nothing of a process that guards its memory, but tells its number here.
fn children(of: Pid) -> io::Result<Vec<Pid>> {
    let tasks = format!("/proc/{of}/task");
    let mut all = Vec::new();
    for task in numbers(there(std::fs::read_dir(&tasks))?)? {
        let text = there(std::fs::read_to_string(format!("{tasks}/{task}/children")))?.unwrap_or_default();
        all.extend(text.split_whitespace().filter_map(|pid| pid.parse().ok()).map(Pid::from_raw));
    }
    Ok(all)
}

fn look(pid: Pid) -> io::Result<Option<Member>> {
    let stat = there(std::fs::read(format!("/proc/{pid}/stat")))?;
    Ok(stat.and_then(|stat| member(pid, &stat)))
}

/// What is called by a number there.
fn numbers(directory: Option<ReadDir>) -> io::Result<Vec<Pid>> {
    let mut all = Vec::new();
    for entry in directory.into_iter().flatten() {
        let Some(entry) = there(entry)? else { break };
        all.extend(entry.file_name().to_str().and_then(|name| name.parse().ok()).map(Pid::from_raw));
    }
    Ok(all)
}

/// `None` of what has ended meanwhile, or is of those that are kept from us.
fn there<T>(read: io::Result<T>) -> io::Result<Option<T>> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => Ok(None),
        Err(error) if error.raw_os_error() == Some(Errno::ESRCH as i32) => Ok(None),
        Err(error) => Err(error),
    }
}

/// From a line such as `17 (a b) c) S 1 17 …`: the name may have any bytes in it.
fn member(pid: Pid, stat: &[u8]) -> Option<Member> {
    let stat = String::from_utf8_lossy(stat);
    let (before, after) = stat.rsplit_once(") ")?;
    let name = before.split_once('(')?.1.to_owned();
    let words: Vec<_> = after.split(' ').collect();
    let (parent, group) = (field(&words, 4).map(Pid::from_raw)?, field(&words, 5).map(Pid::from_raw)?);
    let (state, threads, started) = (field(&words, 3)?, field(&words, 20)?, field(&words, 22)?);
    Some(Member { pid, name, parent, group, state, threads, started })
}

/// Counted as in proc(5), where the name is the second.
fn field<T: FromStr>(words_after_the_name: &[&str], number: usize) -> Option<T> {
    words_after_the_name.get(number - 3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    #[test]
    fn a_name_may_look_like_anything() {
        let line = b"17 (a) S 9 (\xff) T 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20\n";
        let one = member(Pid::from_raw(17), line).expect("a line of the kernel");
        assert_eq!((one.name.as_str(), one.state), ("a) S 9 (\u{fffd}", 'T'));
        assert_eq!((one.parent, one.group), (Pid::from_raw(1), Pid::from_raw(2)));
        assert_eq!((one.threads, one.started), (17, 19));
        assert!(member(Pid::from_raw(17), b"nonsense").is_none());
    }

    #[test]
    fn a_child_is_ended_also_where_the_kernel_tells_of_none() {
        let mut child = std::process::Command::new("sleep").arg("100").spawn().expect("sleep is there");
        let pid = Pid::from_raw(child.id() as i32);
        let twice = Family::default().with(Some(pid)).with(Some(pid));
        assert_eq!(twice.0.len(), 1);
        twice.send(Signal::SIGKILL);
        assert_eq!(child.wait().expect("ours").signal(), Some(9));
        assert!(Family::default().with(None).is_empty());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_child_is_seen_until_it_has_ended() {
        let mut child = std::process::Command::new("sleep").arg("100").spawn().expect("sleep is there");
        let pid = Pid::from_raw(child.id() as i32);
        let seen = || {
            let family = descendants(Pid::this(), &Family::default()).expect("Linux tells");
            family.0.iter().any(|member| member.pid == pid)
        };
        assert!(seen());
        child.kill().expect("ours");
        child.wait().expect("ours");
        assert!(!seen());
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn who_has_the_number_of_another_that_ended_is_not_that_one() {
        let mut child = std::process::Command::new("sleep").arg("100").spawn().expect("sleep is there");
        let pid = Pid::from_raw(child.id() as i32);
        let but = |others: &Family| descendants(Pid::this(), others).expect("Linux tells");
        let mut others = but(&Family::default());
        assert!(!but(&others).0.iter().any(|member| member.pid == pid));
        others.0.iter_mut().for_each(|other| other.started -= 1);
        assert!(but(&others).0.iter().any(|member| member.pid == pid));
        child.kill().expect("ours");
        child.wait().expect("ours");
    }
}
