//! [`OutputFile`]: a file, pipe or descriptor that the user has named for a result.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::fd::RawFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::{fcntl::OFlag, libc};

use crate::{startup, sys};

/// A result that is written as a whole, once. Dropping it without a write leaves a regular file as it was.
#[derive(Debug)]
pub struct OutputFile {
    path: PathBuf,
    file: File,
    /// Path of `file` if it is a temporary file that replaces the regular file at `path` when it is complete. `None`
    /// for a pipe or a descriptor, which is written to.
    temporary: Option<PathBuf>,
}

impl OutputFile {
    /// Opens a regular file for replacement, or a pipe. `-`, /dev/stderr or /dev/fd/3 are descriptors of this process.
    ///
    /// Call this before other files are opened, because a descriptor that was not passed to this process could be one
    /// of its own later.
    pub fn open(path: &Path) -> io::Result<Self> {
        let (file, temporary) = match descriptor(path) {
            Some(descriptor) => (duplicate(descriptor)?, None),
            None => open(path)?,
        };
        Ok(Self { path: path.to_owned(), file, temporary })
    }

    /// Writes the text. A regular file contains all of it or is not changed.
    pub fn write(mut self, text: &str) -> io::Result<()> {
        self.file.write_all(text.as_bytes())?;
        if let Some(temporary) = &self.temporary {
            fs::rename(temporary, &self.path)?;
            self.temporary = None;
        }
        Ok(())
    }
}

impl Drop for OutputFile {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            let _missing = fs::remove_file(temporary);
        }
    }
}

/// Returns the descriptor of this process that the path stands for.
fn descriptor(path: &Path) -> Option<RawFd> {
    match path.to_str()? {
        "-" | "/dev/stdout" => Some(libc::STDOUT_FILENO),
        "/dev/stderr" => Some(libc::STDERR_FILENO),
        path => {
            let number = ["/dev/fd/", "/proc/self/fd/"].iter().find_map(|directory| path.strip_prefix(directory))?;
            number.parse().ok().filter(|number| *number >= 0)
        }
    }
}

/// Returns a file with the same offset as the descriptor. If the descriptor is a regular file that was opened anew, the
/// next program that writes to it would overwrite the text.
fn duplicate(descriptor: RawFd) -> io::Result<File> {
    if descriptor == libc::STDOUT_FILENO && startup::started_without_stdout() {
        return Err(Errno::EBADF.into());
    }
    sys::duplicate(descriptor).map(File::from)
}

/// Opens the file to write to. Returns its path too if it is a temporary file next to `path`.
fn open(path: &Path) -> io::Result<(File, Option<PathBuf>)> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.is_file() => return Ok((open_special(path, found.is_symlink())?, None)),
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut name = path.file_name().ok_or(ErrorKind::IsADirectory)?.to_owned();
    // The process ID would not be unique, because it is often 1 in containers, and an earlier run may have left its
    // temporary file.
    name.push(format!(".{:08x}.part", getrandom::u32().map_err(io::Error::other)?));
    let temporary = path.with_file_name(name);
    Ok((File::create_new(&temporary)?, Some(temporary)))
}

/// Opens a pipe or a terminal. Only links in /dev and /proc are followed, because in a directory that others may write
/// to, a link can lead to any file.
fn open_special(path: &Path, is_link: bool) -> io::Result<File> {
    let may_follow = ["/dev", "/proc"].iter().any(|parent| path.starts_with(parent)) && !path.starts_with("/dev/shm");
    if is_link && !may_follow {
        return Err(io::Error::other("it is a symbolic link"));
    }
    let flags = if may_follow { OFlag::empty() } else { OFlag::O_NOFOLLOW };
    OpenOptions::new().append(true).custom_flags(flags.bits()).open(path)
}
