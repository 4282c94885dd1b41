//! Running other programs, from the root of the repository.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Returns the root of the repository, which is this crate's parent directory.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// Returns a command for the cargo that runs this program. `arguments` are separated by blanks.
pub fn cargo(arguments: &str) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments.split_whitespace()).current_dir(root()).stdin(Stdio::null());
    command
}

/// Runs `command` with this program's output, and returns whether it succeeded.
pub fn succeeds(command: &mut Command) -> Result<bool, String> {
    command.status().map(|status| status.success()).map_err(|error| cannot_start(command, &error))
}

/// Runs `command` to its end, and returns whether it succeeded, its standard output and its standard error.
pub fn output(command: &mut Command) -> Result<(bool, String, String), String> {
    let output = command.output().map_err(|error| cannot_start(command, &error))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok((output.status.success(), text(&output.stdout), text(&output.stderr)))
}

/// Runs `command` and returns its standard output. If it fails, the error contains the end of its output.
pub fn stdout(command: &mut Command) -> Result<String, String> {
    let (ok, stdout, stderr) = output(command)?;
    let program = command.get_program().to_string_lossy();
    if ok { Ok(stdout) } else { Err(format!("`{program}` failed:\n{}", tail(&(stdout + &stderr), 40))) }
}

/// Returns the message for a program that could not be started.
pub fn cannot_start(command: &Command, error: &std::io::Error) -> String {
    format!("cannot start `{}`: {error}; is it installed?", command.get_program().to_string_lossy())
}

/// Returns the last lines of `text`, at most `lines` of them, indented.
pub fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].iter().map(|line| format!("    {line}\n")).collect()
}

/// Returns the cache directory, which outlasts a clone: `$XDG_CACHE_HOME/dynamo-lock`, else `~/.cache/dynamo-lock`.
pub fn cache() -> Result<PathBuf, String> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("XDG_CACHE_HOME")
        .filter(|path| path.is_absolute())
        .or_else(|| set("HOME").map(|home| home.join(".cache")))
        .map(|path| path.join("dynamo-lock"))
        .ok_or_else(|| "cannot find the cache directory: neither XDG_CACHE_HOME nor HOME is set; set one".into())
}

/// Returns the directory `name` in the cache. If it does not exist, `make` fills a temporary directory, which is then
/// renamed, so that a concurrent run never sees an incomplete one.
pub fn once(what: &str, name: &str, make: impl FnOnce(&Path) -> Result<(), String>) -> Result<PathBuf, String> {
    let directory = cache()?.join(name);
    if directory.exists() {
        return Ok(directory);
    }
    println!("installing {what} (once) into {}", directory.display());
    let part = directory.with_extension(format!("{}.part", std::process::id()));
    let moved = make(&part).and_then(|()| match std::fs::rename(&part, &directory) {
        Err(error) if !directory.exists() => Err(format!("cannot make {}: {error}", directory.display())),
        _ => Ok(()), // renamed by this run, or by another one at the same time
    });
    let _ = std::fs::remove_dir_all(&part);
    moved.map(|()| directory)
}

/// Compiles a tool of the crates registry once, and returns the folder of its programs. `options` are separated by
/// blanks. It is compiled outside of the repository, so that neither its settings nor its target directory are used.
pub fn tool(name: &str, version: &str, options: &str) -> Result<PathBuf, String> {
    let directory = once(&format!("{name}, which takes some minutes,"), &format!("{name}-{version}"), |to| {
        let mut install = cargo(&format!("install {name} --version ={version} --locked --quiet {options} --root"));
        stdout(install.arg(to).current_dir("/").env_remove("CARGO_TARGET_DIR")).map(drop)
    })?;
    Ok(directory.join("bin"))
}

/// Returns the 64-bit FNV-1a hash of `bytes`, which is the same for every compiler version.
pub fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Returns whether this run is in CI, where missing requirements are failures.
pub fn ci() -> bool {
    std::env::var("CI").is_ok_and(|value| !matches!(value.as_str(), "" | "0" | "false"))
}
