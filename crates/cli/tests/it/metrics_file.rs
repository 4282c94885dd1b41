//! The metrics of `run --metrics-file`, for the textfile collector of node_exporter.

use std::collections::BTreeMap;
use std::path::Path;

use crate::support::{Fixture, HOLD};

const SUCCESS: &str = "dynamo_lock_run_last_success_time_seconds";
const FAILURE: &str = "dynamo_lock_run_last_failure_time_seconds";

/// A metric of a file in the text format of Prometheus.
#[derive(Debug)]
struct Gauge {
    help: String,
    label: String,
    value: f64,
}

/// Parses a file of gauges with the label `name`, as strictly as the format demands.
fn parse(text: &str) -> Result<BTreeMap<String, Gauge>, String> {
    let mut gauges = BTreeMap::new();
    let lines: Vec<&str> = text.split('\n').collect();
    let Some(("", lines)) = lines.split_last().map(|(last, lines)| (*last, lines)) else {
        return Err("the last line has no end".to_owned());
    };
    for lines in lines.chunks(3) {
        let [help, kind, sample] = lines else { return Err(format!("incomplete: {lines:?}")) };
        let (metric, help) = help.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' ')).ok_or(*help)?;
        let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        if !is_name(metric) || *kind != format!("# TYPE {metric} gauge") {
            return Err(format!("{metric}: {kind}"));
        }
        let rest = sample.strip_prefix(metric).and_then(|rest| rest.strip_prefix("{name=\"")).ok_or(*sample)?;
        let (label, value) = rest.rsplit_once("\"} ").ok_or(*sample)?;
        let value = value.parse().map_err(|_| (*sample).to_owned())?;
        let gauge = Gauge { help: help.to_owned(), label: unescape(label)?, value };
        if gauges.insert(metric.to_owned(), gauge).is_some() {
            return Err(format!("{metric} is there twice"));
        }
    }
    Ok(gauges)
}

/// Returns the value of a label without its escapes.
fn unescape(label: &str) -> Result<String, String> {
    let (mut text, mut chars) = (String::new(), label.chars());
    while let Some(next) = chars.next() {
        text.push(match next {
            '\\' => match chars.next() {
                Some('n') => '\n',
                Some(escaped @ ('\\' | '"')) => escaped,
                other => return Err(format!("escape {other:?} in {label}")),
            },
            '"' => return Err(format!("quote in {label}")),
            other => other,
        });
    }
    Ok(text)
}

/// Returns the values in the metrics file. Asserts that all metrics have this name as their label.
#[track_caller]
fn values(fixture: &Fixture, name: &str) -> BTreeMap<String, f64> {
    let gauges = parse(&fixture.read("job.prom")).expect("the text format");
    assert!(gauges.values().all(|gauge| gauge.label == name), "{gauges:?}");
    gauges.into_iter().map(|(metric, gauge)| (metric, gauge.value)).collect()
}

/// Returns exit code, whether the lock was acquired, and whether it was lost.
fn result(values: &BTreeMap<String, f64>) -> [f64; 3] {
    ["exit_code", "acquired", "lost"].map(|end| values[&format!("dynamo_lock_run_{end}")])
}

#[test]
fn metrics_file_has_result_of_each_run() {
    let fixture = Fixture::new();
    let run = |code: i32, arguments: &[&str]| {
        fixture.run(&[&["run", "--metrics-file", "job.prom"], arguments].concat()).exits_with(code);
        values(&fixture, "a")
    };
    let first = run(0, &["a", "sleep", "0.2"]);
    assert_eq!(result(&first), [0.0, 1.0, 0.0]);
    let [start, end, held] =
        ["start_time", "end_time", "held"].map(|name| first[&format!("dynamo_lock_run_{name}_seconds")]);
    assert!(start > 1.7e9 && end >= start + 0.2 && held >= 0.2, "{first:?}");
    assert_eq!((first[SUCCESS], first[FAILURE]), (end, 0.0));

    let second = run(3, &["a", "-c", "exit 3"]);
    assert_eq!(result(&second), [3.0, 1.0, 0.0]);
    assert_eq!((second[SUCCESS], second[FAILURE]), (end, second["dynamo_lock_run_end_time_seconds"]));

    let holder = fixture.start(HOLD);
    let third = run(75, &["-n", "a", "true"]);
    assert_eq!(result(&third), [75.0, 0.0, 0.0]);
    assert_eq!((third[SUCCESS], third["dynamo_lock_run_held_seconds"]), (end, 0.0));
    // A run that is skipped is no success of the command, and no failure.
    let fourth = run(0, &["--skip", "a", "true"]);
    assert_eq!(result(&fourth), [0.0, 0.0, 0.0]);
    assert_eq!((fourth[SUCCESS], fourth[FAILURE]), (end, third[FAILURE]));
    drop(holder);

    let files = std::fs::read_dir(fixture.path("")).expect("the directory").flatten();
    assert!(!files.map(|file| file.file_name()).any(|name| name.to_string_lossy().ends_with(".part")));
}

#[test]
fn metrics_file_of_lost_run_shows_loss() {
    let fixture = Fixture::new();
    let arguments = ["run", "--lease", "2", "--metrics-file", "job.prom", "a", "-c", "touch ready; exec sleep 100"];
    let run = fixture.start(&arguments);
    fixture.revoke();
    run.wait().exits_with(76);
    assert_eq!(result(&values(&fixture, "a")), [76.0, 1.0, 1.0]);
}

/// The time of the last success is kept also if the name has characters that the format escapes.
#[test]
fn metrics_file_escapes_name() {
    let (fixture, name) = (Fixture::new(), r#"a "b" \ {c="} é"#);
    fixture.run(&["run", "--metrics-file", "job.prom", name, "true"]).exits_with(0);
    let success = values(&fixture, name)[SUCCESS];
    fixture.run(&["run", "--metrics-file", "job.prom", name, "false"]).exits_with(1);
    assert_eq!(values(&fixture, name)[SUCCESS], success);
    // A file of another job, or of another program, is replaced.
    fixture.run(&["once", "--metrics-file", "job.prom", "key", "false"]).exits_with(1);
    assert_eq!(values(&fixture, "key")[SUCCESS], 0.0);
    std::fs::write(fixture.path("job.prom"), [0xff, b'\n']).expect("a file");
    fixture.run(&["once", "--metrics-file", "job.prom", "key", "true"]).exits_with(0);
    assert!(values(&fixture, "key")[SUCCESS] > 1.7e9);
}

/// The report of such a run contains the reason.
#[test]
fn unwritable_metrics_file_fails_before_command_runs() {
    let fixture = Fixture::new();
    let arguments = ["run", "--report", "report", "--metrics-file", "no/such.prom", "a", "touch", "ran"];
    fixture.run(&arguments).exits_with(78).prints_line("cannot write the metrics \"no/such.prom\"");
    assert!(!fixture.path("ran").exists());
    assert!(fixture.read("report").contains("no/such.prom"));
}

/// Returns the content of a file of the repository.
fn read(path: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    std::fs::read_to_string(root.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Returns the names of metrics of runs in a text.
fn names(text: &str) -> Vec<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("dynamo_lock_run_")).map(str::to_owned).collect()
}

#[test]
fn metrics_of_runs_are_those_of_the_documents() {
    let fixture = Fixture::new();
    fixture.run(&["run", "--metrics-file", "job.prom", "a", "true"]).exits_with(0);
    let gauges = parse(&fixture.read("job.prom")).expect("the text format");
    let page = read("docs/observability.md");
    let rows = page.lines().filter(|line| line.starts_with("| `dynamo_lock_run_"));
    let cell = |text: &str| text.trim().trim_matches('`').to_owned();
    let rows: BTreeMap<_, _> = rows.map(|row| row.split('|').skip(1).take(2).map(cell)).map(pair).collect();
    let helps: BTreeMap<_, _> = gauges.iter().map(|(metric, gauge)| (metric.clone(), gauge.help.clone())).collect();
    assert_eq!(rows, helps);
    for path in ["docs/observability/dashboard.json", "docs/observability/alerts.yml"] {
        let names = names(&read(path));
        assert!(!names.is_empty(), "control: {path}");
        assert!(names.iter().all(|name| gauges.contains_key(name)), "{path}: {names:?}");
    }
}

fn pair(mut cells: impl Iterator<Item = String>) -> (String, String) {
    (cells.next().unwrap_or_default(), cells.next().unwrap_or_default())
}

/// The parser of this test refuses what the collector would refuse.
#[test]
fn malformed_metrics_are_refused() {
    let good = "# HELP m Help\n# TYPE m gauge\nm{name=\"a\"} 1\n";
    assert!(parse(good).is_ok());
    for (from, to) in [
        ("1\n", "1"),
        ("1\n", "one\n"),
        ("gauge", "gauges"),
        ("# HELP m", "# HELP n"),
        ("\"a\"", "\"a\"\""),
        ("\"a\"", "\"\\a\""),
        ("m{", "n{"),
    ] {
        assert!(parse(&good.replace(from, to)).is_err(), "{from} {to}");
    }
    assert!(parse(&good.repeat(2)).is_err());
}
