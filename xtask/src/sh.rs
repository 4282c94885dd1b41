//! Running other programs, from the root of the repository.

use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// The root of the repository: this crate's parent directory.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// The cargo that runs us, with `arguments` that stand apart at blanks.
pub fn cargo(arguments: &str) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments.split_whitespace()).current_dir(root()).stdin(Stdio::null());
    command
}

/// What a program that has ended printed.
pub struct Printed {
    pub ok: bool,
    pub stdout: String,
    pub stderr: String,
}

/// Runs `command` to its end and collects what it prints.
pub fn output(command: &mut Command) -> Result<Printed, String> {
    let output = command.output().map_err(|error| cannot_start(command, &error))?;
    Ok(Printed {
        ok: output.status.success(),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

/// Copies what a program prints, and hears each line of it.
pub fn pass_on(mut from: impl BufRead, to: &mut impl Write, mut hear: impl FnMut(&str)) -> std::io::Result<()> {
    let mut line = Vec::new();
    while from.read_until(b'\n', &mut line)? > 0 {
        to.write_all(&line)?;
        hear(String::from_utf8_lossy(&line).trim_end());
        line.clear();
    }
    to.flush()
}

/// One line on a program that did not start.
pub fn cannot_start(command: &Command, error: &std::io::Error) -> String {
    format!("cannot start `{}`: {error}; is it installed?", command.get_program().to_string_lossy())
}

/// The last lines of `text`, at most `lines` of them, indented.
pub fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].iter().map(|line| format!("    {line}\n")).collect()
}

/// Where things live that outlast a clone and a `cargo clean`: `$XDG_CACHE_HOME/dynamo-lock`, else `~/.cache/…`.
pub fn cache() -> Result<PathBuf, String> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("XDG_CACHE_HOME")
        .filter(|path| path.is_absolute())
        .or_else(|| set("HOME").map(|home| home.join(".cache")))
        .map(|path| path.join("dynamo-lock"))
        .ok_or_else(|| "neither XDG_CACHE_HOME nor HOME is set: set one, the test server is installed there".into())
}

/// The directory of this name in the cache, made once by `make`: beside its place first, then renamed, so that nobody
/// sees half of it, two runs at once neither.
pub fn once(what: &str, name: &str, make: impl FnOnce(&Path) -> Result<(), String>) -> Result<PathBuf, String> {
    let directory = cache()?.join(name);
    if directory.exists() {
        return Ok(directory);
    }
    println!("installing {what} (once) into {}", directory.display());
    let half = directory.with_extension(format!("{}.half", std::process::id()));
    let moved = make(&half).and_then(|()| match std::fs::rename(&half, &directory) {
        Err(error) if !directory.exists() => Err(format!("cannot make {}: {error}", directory.display())),
        _ => Ok(()), // by us, or by another run at the same time
    });
    let _ = std::fs::remove_dir_all(&half);
    moved.map(|()| directory)
}

/// FNV-1a, 64 bits: a name for a list, the same with each compiler.
pub fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Whether this is the CI, where nothing may be left out quietly.
pub fn ci() -> bool {
    std::env::var("CI").is_ok_and(|value| !matches!(value.as_str(), "" | "0" | "false"))
}
