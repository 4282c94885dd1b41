//! Mutants: faults made from outside, each of which the simulator has to notice.
//!
//! Those of the table's meaning and of the world are the simulator's own. Those of the machines and the drive loop are
//! made here: their source is copied, each fault is put into the copy behind a switch, and the copy is built once. The
//! product's own source knows nothing of it.

mod equivalent;
mod source;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::sh;

/// The environment variable that switches one fault on.
const SWITCH: &str = "DYNAMO_LOCK_MUTANT";
const MEMBERS: &[&str] = &["crates/protocol", "crates/dynamo-lock", "crates/sim"];
/// Within so many seeds a fault has to be noticed.
const SEEDS: u64 = 20_000;
/// So many are tried before the search breadth first is.
const SEEDS_SOON: u64 = 1_000;
/// The configurations of the search breadth first: those of seconds, and those of more.
const QUICK: &[&str] = &[
    "release", "renewals", "copies", "ghost", "crash", "drops", "hold", "drift", "slewed", "leases", "three",
    "service", "freeze", "unsure",
];
const SLOW: &[&str] = &["basics", "sleep", "revoke", "force", "abandoned", "legacy", "ttl", "dateless"];
/// So many failing seeds are looked at, to see which checks notice.
const KILLS: u64 = 10;

/// Where the switched copy is made and built.
fn place() -> PathBuf {
    sh::root().join("target/mutants")
}

/// Makes and builds the copy; the path of its simulator.
fn build() -> Result<PathBuf, String> {
    let copy = place().join("src");
    let mut files = copies()?;
    bend(&mut files)?;
    for (path, text) in &files {
        write_changed(&copy.join(path), text)?;
    }
    let target = place().join("build");
    let mut cargo = sh::cargo("build --quiet --package dynamo-lock-sim --profile sim --target-dir");
    cargo.arg(&target).current_dir(&copy).env("RUSTFLAGS", "-Awarnings");
    let built = cargo.status().map_err(|error| sh::cannot_start(&cargo, &error))?;
    if !built.success() {
        return Err("the copy with the mutants does not build: one of them is no Rust any more".into());
    }
    Ok(target.join("sim/dynamo-lock-sim"))
}

/// Every file of the copy, by its path.
fn copies() -> Result<BTreeMap<String, String>, String> {
    let mut files = BTreeMap::new();
    for member in MEMBERS {
        collect(member, &mut files)?;
    }
    files.insert("Cargo.lock".into(), read("Cargo.lock")?);
    let manifest = read("Cargo.toml")?;
    let line = |line: &str| match line.starts_with("members = ") {
        true => format!("members = {MEMBERS:?}"),
        false => line.to_owned(),
    };
    files.insert("Cargo.toml".into(), manifest.lines().map(line).collect::<Vec<_>>().join("\n"));
    Ok(files)
}

fn read(path: &str) -> Result<String, String> {
    std::fs::read_to_string(sh::root().join(path)).map_err(|error| format!("cannot read {path}: {error}"))
}

fn collect(path: &str, files: &mut BTreeMap<String, String>) -> Result<(), String> {
    let wrong = |error: std::io::Error| format!("cannot read {path}: {error}");
    for entry in std::fs::read_dir(sh::root().join(path)).map_err(wrong)? {
        let entry = entry.map_err(wrong)?;
        let inside = format!("{path}/{}", entry.file_name().to_string_lossy());
        match entry.file_type().map_err(wrong)?.is_dir() {
            true if inside.ends_with("/npm") => {}
            true => collect(&inside, files)?,
            false if inside.ends_with(".rs") || inside.ends_with(".toml") || inside.ends_with(".md") => {
                files.insert(inside.clone(), read(&inside)?);
            }
            false => {}
        }
    }
    Ok(())
}

/// Puts every fault into the copy, switched off.
fn bend(files: &mut BTreeMap<String, String>) -> Result<(), String> {
    let mut places = BTreeMap::<(&str, &str), Vec<&source::Mutant>>::new();
    for mutant in source::NEEDED.iter().chain(source::ALL.iter().copied().flatten()) {
        places.entry((mutant.file, mutant.find)).or_default().push(mutant);
    }
    let mut cuts = BTreeMap::<&str, Vec<(usize, &str, String)>>::new();
    for ((file, find), mutants) in places {
        let text = files.get(file).ok_or_else(|| format!("{}: there is no {file}", mutants[0].name))?;
        let found: Vec<_> = text.match_indices(find).collect();
        let [(at, _)] = found[..] else {
            return Err(format!("{}: {find:?} occurs {} times in {file}, not once", mutants[0].name, found.len()));
        };
        cuts.entry(file).or_default().push((at, find, switched(find, &mutants)));
    }
    for (file, mut cuts) in cuts {
        cuts.sort_by_key(|(at, ..)| std::cmp::Reverse(*at));
        if let Some(pair) = cuts.windows(2).find(|pair| pair[1].0 + pair[1].1.len() > pair[0].0) {
            return Err(format!("{file}: {:?} and {:?} overlap", pair[1].1, pair[0].1));
        }
        let text = files.entry(file.to_owned()).or_default();
        cuts.iter().for_each(|(at, find, bent)| text.replace_range(*at..*at + find.len(), bent));
    }
    let protocol = files.get_mut("crates/protocol/src/lib.rs").ok_or("there is no protocol")?;
    let _ = write!(
        protocol,
        "\n/// Whether this fault is switched on.\npub fn mutated(name: &str) -> bool {{\n    static ON: std::sync::OnceLock<String> = std::sync::OnceLock::new();\n    ON.get_or_init(|| std::env::var({SWITCH:?}).unwrap_or_default()) == name\n}}\n"
    );
    let library = files.get_mut("crates/dynamo-lock/src/lib.rs").ok_or("there is no library")?;
    library.push_str("\npub(crate) use dynamo_lock_protocol::mutated;\n");
    Ok(())
}

/// What stands where `find` stood: itself, and behind their switches what it is bent to.
fn switched(find: &str, mutants: &[&source::Mutant]) -> String {
    if let [mutant] = mutants
        && (mutant.name.is_empty() || mutant.bent.contains("crate::mutated("))
    {
        return mutant.bent.to_owned();
    }
    let statement = find.ends_with(';');
    let ways: String =
        mutants.iter().map(|m| format!("if crate::mutated({:?}) {{ {} }} else ", m.name, m.bent)).collect();
    match statement {
        true => format!("{ways}{{ {find} }}"),
        false => format!("({ways}{{ {find} }})"),
    }
}

/// Writes what is not there yet, so that only what changed is built again.
fn write_changed(path: &Path, text: &str) -> Result<(), String> {
    let wrong = |error| format!("cannot write {}: {error}", path.display());
    if std::fs::read_to_string(path).is_ok_and(|there| there == text) {
        return Ok(());
    }
    std::fs::create_dir_all(path.parent().unwrap_or(path)).map_err(wrong)?;
    std::fs::write(path, text).map_err(wrong)
}

/// How one mutant fared.
struct Line {
    name: String,
    told: String,
    alive: bool,
    checks: usize,
}

/// Runs the mutants of these names, or all, and prints who noticed them.
pub fn run(asked: &[String]) -> Result<bool, String> {
    let simulator = build()?;
    let names = names(&simulator)?;
    let wrong = asked.iter().find(|name| !names.iter().any(|(known, _)| known == *name));
    if let Some(wrong) = wrong {
        return Err(format!("there is no mutant {wrong}"));
    }
    let (mut good, mut killed, mut by_more, mut elsewhere, mut equivalent) = (true, 0, 0, 0, 0);
    for (name, in_source) in names.iter().filter(|(name, _)| asked.is_empty() || asked.contains(name)) {
        let of = |list: &[(&str, &'static str)]| list.iter().find(|(known, _)| known == name).map(|(_, why)| *why);
        let (why, test) = (of(equivalent::ALL), of(equivalent::ELSEWHERE));
        let line = hunt(&simulator, name, *in_source, why.is_some() || test.is_some())?;
        let verdict = match (line.alive, why, test) {
            (true, Some(why), _) => format!("makes no difference: {why}"),
            (true, _, Some(test)) => format!("too rare for worlds, killed by the test {test}"),
            (true, None, None) => format!("SURVIVES: {}", line.told),
            (false, Some(_), _) => format!("MAKES A DIFFERENCE after all: {}", line.told),
            (false, None, _) => line.told.clone(),
        };
        good &= if line.alive { why.is_some() || test.is_some() } else { why.is_none() };
        killed += usize::from(!line.alive);
        elsewhere += usize::from(line.alive && test.is_some());
        equivalent += usize::from(why.is_some());
        by_more += usize::from(line.checks > 1);
        println!("{:<30} {verdict}", line.name);
    }
    println!(
        "{killed} killed, {by_more} of them by more than one check, and {elsewhere} by a test; {equivalent} make no difference"
    );
    Ok(good)
}

/// All mutants, and whether they are in the source.
fn names(simulator: &Path) -> Result<Vec<(String, bool)>, String> {
    let printed = sh::output(Command::new(simulator).args(["run", "--mutants"]))?;
    let mut names: Vec<_> = printed.stdout.lines().map(|name| (name.to_owned(), false)).collect();
    names.extend(source::ALL.iter().copied().flatten().map(|mutant| (mutant.name.to_owned(), true)));
    Ok(names)
}

/// Random worlds first, for most are noticed there soon; then the search breadth first, if the fault is in the source that
/// it explores; then as many worlds as a fault is given. One that is expected to live is looked for less.
fn hunt(simulator: &Path, name: &str, in_source: bool, may_live: bool) -> Result<Line, String> {
    let soon = random(simulator, name, in_source, 0..SEEDS_SOON)?;
    if !soon.alive {
        return Ok(soon);
    }
    let slow = if may_live { &[][..] } else { SLOW };
    for config in QUICK.iter().chain(slow).filter(|_| in_source) {
        if breadth_first(simulator, name, config)? {
            let told = format!("killed breadth first, in {config}; alive after {SEEDS_SOON} seeds");
            return Ok(Line { told, alive: false, checks: 1, ..soon });
        }
    }
    if may_live { Ok(soon) } else { random(simulator, name, in_source, SEEDS_SOON..SEEDS) }
}

fn random(simulator: &Path, name: &str, in_source: bool, seeds: std::ops::Range<u64>) -> Result<Line, String> {
    let mut command = Command::new(simulator);
    let (from, many) = (seeds.start.to_string(), (seeds.end - seeds.start).to_string());
    command.args(["run", "--from", &from, "--seeds", &many, "--kills", &KILLS.to_string()]);
    match in_source {
        true => command.env(SWITCH, name),
        false => command.args(["--mutant", name]),
    };
    let printed = sh::output(&mut command)?;
    let told = printed.stdout.lines().last().unwrap_or("nothing was printed").to_owned();
    let alive = told.starts_with("alive");
    if !alive && !told.starts_with("killed") {
        return Err(format!("{name}: the simulator broke off:\n{}", sh::tail(&printed.stderr, 10)));
    }
    // From which seed on it was looked is said, too.
    let told = if seeds.start > 0 { format!("{told} (from seed {from})") } else { told };
    Ok(Line { name: name.to_owned(), checks: told.matches(" x").count(), told, alive })
}

/// Whether a search breadth first finds the fault in this configuration.
fn breadth_first(simulator: &Path, name: &str, config: &str) -> Result<bool, String> {
    let printed = sh::output(Command::new(simulator).args(["explore", config]).env(SWITCH, name))?;
    Ok(printed.stdout.contains("VIOLATION"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_that_is_bent_occurs_once() {
        let mut files = copies().expect("the sources are there");
        assert_eq!(bend(&mut files), Ok(()));
    }

    #[test]
    fn a_text_that_is_gone_is_told_by_its_mutant() {
        let mut files = copies().expect("the sources are there");
        files.insert("crates/protocol/src/time.rs".into(), String::new());
        let wrong = bend(&mut files).expect_err("nothing is there to be bent");
        assert!(wrong.contains("occurs 0 times in crates/protocol/src/time.rs"), "{wrong}");
    }

    #[test]
    fn what_is_switched_off_is_what_was_there() {
        let mutant = source::Mutant { name: "m", file: "f", find: "a + b", bent: "a - b" };
        assert_eq!(switched("a + b", &[&mutant]), "(if crate::mutated(\"m\") { a - b } else { a + b })");
        let mutant = source::Mutant { name: "m", file: "f", find: "go();", bent: "" };
        assert_eq!(switched("go();", &[&mutant]), "if crate::mutated(\"m\") {  } else { go(); }");
    }

    #[test]
    fn every_test_that_notices_a_mutant_is_there() {
        let files = copies().expect("the sources are there");
        for (name, test) in equivalent::ELSEWHERE {
            let there = files.values().any(|text| text.contains(&format!("fn {test}()")));
            assert!(there, "{name}: no test {test}");
        }
    }

    #[test]
    fn every_mutant_that_makes_no_difference_is_one() {
        let known = |name: &str| source::ALL.iter().copied().flatten().any(|mutant| mutant.name == name);
        for (name, why) in equivalent::ALL {
            assert!(known(name) || name.contains('-'), "{name}");
            assert!(why.len() > 20, "{name}: an argument");
        }
    }
}
