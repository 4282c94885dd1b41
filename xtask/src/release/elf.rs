//! Requirements of a program or an addon on the system that loads it, as `readelf` prints them.

use crate::sh;
use std::path::Path;
use std::process::Command;

/// Fails if the program needs a dynamic linker or a library.
pub fn require_static(program: &Path) -> Result<(), String> {
    let printed = readelf("-ldW", program)?;
    let found: Vec<&str> =
        printed.lines().filter(|line| line.contains("INTERP") || line.contains("(NEEDED)")).collect();
    if found.is_empty() { Ok(()) } else { Err(format!("{} is not static:\n{}", program.display(), found.join("\n"))) }
}

/// Fails if the file does not contain the list of its crates that cargo-auditable writes.
pub fn require_crate_list(file: &Path) -> Result<(), String> {
    let listed = readelf("-SW", file)?.contains(" .dep-v0 ");
    if listed { Ok(()) } else { Err(format!("{} has no section .dep-v0 with its crates", file.display())) }
}

/// Returns the newest version of glibc that the file needs, and fails if it is newer than `most`.
pub fn require_glibc(file: &Path, most: (u32, u32)) -> Result<String, String> {
    glibc(&readelf("-VW", file)?, most).map_err(|error| format!("{}: {error}", file.display()))
}

/// Returns the newest `GLIBC_` version of the text, and fails if it is newer than `most` or if there is none.
fn glibc(text: &str, most: (u32, u32)) -> Result<String, String> {
    let versions = text.split("GLIBC_").skip(1).filter_map(|rest| {
        let mut numbers = rest.split(|c: char| !c.is_ascii_digit());
        Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
    });
    match versions.max() {
        Some(newest) if newest <= most => Ok(format!("{}.{}", newest.0, newest.1)),
        Some((major, minor)) => Err(format!("needs glibc {major}.{minor}, and may need at most {}.{}", most.0, most.1)),
        None => Err("needs no version of glibc, so it is not what was to be checked".into()),
    }
}

fn readelf(option: &str, file: &Path) -> Result<String, String> {
    sh::stdout(Command::new("readelf").arg(option).arg(file).env("LC_ALL", "C"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn too_new_glibc_is_refused() {
        let text = "Name: GLIBC_2.17  Flags: none\nName: GLIBC_2.2.5\nName: GLIBC_PRIVATE\nName: GLIBCXX_3.4";
        assert_eq!(glibc(text, (2, 17)), Ok("2.17".into()));
        assert!(glibc(text, (2, 16)).is_err_and(|error| error.contains("2.17")));
        assert!(glibc(&text.replace("2.2.5", "2.100"), (2, 28)).is_err(), "100 is more than 28");
        assert!(glibc("no versions", (2, 17)).is_err());
    }

    /// This test itself is dynamically linked, and built without cargo-auditable.
    #[test]
    fn dynamic_program_without_crate_list_is_refused() {
        let program = std::env::current_exe().expect("a path");
        if readelf("-hW", &program).is_err() {
            let _ = writeln!(std::io::stdout(), "{}dynamic_program: no readelf", crate::tally::SKIP_MARK);
            return;
        }
        assert!(require_static(&program).is_err_and(|error| error.contains("NEEDED")));
        assert!(require_crate_list(&program).is_err_and(|error| error.contains(".dep-v0")));
        assert!(require_glibc(&program, (2, 1)).is_err());
    }
}
