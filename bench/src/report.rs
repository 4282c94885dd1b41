//! The results: samples by scenario, subject and measure; as JSON and as Markdown tables.

use serde_json::{Value, json};

use crate::stats::{median, quantile};

/// Samples of one measure.
pub struct Series {
    pub scenario: String,
    pub subject: String,
    pub measure: String,
    pub samples: Vec<f64>,
}

#[derive(Default)]
pub struct Report {
    series: Vec<Series>,
    /// Remarks on scenarios that could not run.
    pub notes: Vec<String>,
}

impl Report {
    /// Adds samples. Series without samples are left out.
    pub fn add(&mut self, scenario: &str, subject: &str, measure: &str, samples: impl Into<Vec<f64>>) {
        let samples = samples.into();
        if !samples.is_empty() {
            let text = |text: &str| text.to_owned();
            let (scenario, subject, measure) = (text(scenario), text(subject), text(measure));
            self.series.push(Series { scenario, subject, measure, samples });
        }
    }

    /// Adds a single figure.
    pub fn figure(&mut self, scenario: &str, subject: &str, measure: &str, value: f64) {
        self.add(scenario, subject, measure, [value]);
    }

    pub fn samples(&self, scenario: &str, subject: &str, measure: &str) -> Option<&[f64]> {
        let found = self
            .series
            .iter()
            .find(|series| series.scenario == scenario && series.subject == subject && series.measure == measure);
        found.map(|series| &series.samples[..])
    }

    pub fn median(&self, scenario: &str, subject: &str, measure: &str) -> Option<f64> {
        self.samples(scenario, subject, measure).map(median)
    }

    /// Returns the subjects of a scenario in the order in which they were added.
    pub fn subjects(&self, scenario: &str) -> Vec<&str> {
        distinct(self.series.iter().filter(|series| series.scenario == scenario).map(|series| &*series.subject))
    }

    pub fn json(&self) -> Value {
        let series = self.series.iter().map(|series| {
            let spread = [0.0, 0.25, 0.5, 0.75, 1.0].map(|part| quantile(&series.samples, part));
            json!({
                "scenario": series.scenario, "subject": series.subject, "measure": series.measure,
                "min": spread[0], "p25": spread[1], "median": spread[2], "p75": spread[3], "max": spread[4],
                "samples": series.samples,
            })
        });
        json!({"series": series.collect::<Vec<_>>(), "notes": self.notes})
    }

    /// Reads a report that [`json`](Report::json) has written.
    pub fn parse(value: &Value) -> Report {
        let notes = value["notes"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let mut report = Report { series: Vec::new(), notes: notes.map(str::to_owned).collect() };
        for series in value["series"].as_array().into_iter().flatten() {
            let text = |key: &str| series[key].as_str().unwrap_or_default();
            let samples = series["samples"].as_array().into_iter().flatten().filter_map(Value::as_f64);
            report.add(text("scenario"), text("subject"), text("measure"), samples.collect::<Vec<_>>());
        }
        report
    }

    /// Returns one Markdown table for each scenario, with the median and the quartiles of each measure.
    pub fn tables(&self) -> String {
        let mut text = String::new();
        for scenario in distinct(self.series.iter().map(|series| &*series.scenario)) {
            let all: Vec<&Series> = self.series.iter().filter(|series| series.scenario == scenario).collect();
            let measures = distinct(all.iter().map(|series| &*series.measure));
            text += &format!("### {scenario}\n\n| | {} |\n|---|", measures.join(" | "));
            text += &"---|".repeat(measures.len());
            text.push('\n');
            for subject in self.subjects(scenario) {
                let cell = |measure: &&str| self.samples(scenario, subject, measure).map_or("–".into(), cell);
                let cells: Vec<String> = measures.iter().map(cell).collect();
                text += &format!("| {subject} | {} |\n", cells.join(" | "));
            }
            text.push('\n');
        }
        text
    }
}

fn cell(samples: &[f64]) -> String {
    let [low, middle, high] = [0.25, 0.5, 0.75].map(|part| short(quantile(samples, part)));
    if low == high { middle } else { format!("{middle} ({low} to {high})") }
}

/// Returns a number with three significant digits, and integers in full.
pub fn short(value: f64) -> String {
    let size = value.abs();
    let digits =
        if value.fract() == 0.0 || size >= 100.0 { 0 } else { 2 - (size.max(0.01).log10().floor() as i32).min(2) };
    format!("{value:.*}", digits.clamp(0, 3) as usize)
}

fn distinct<'a>(names: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    let mut distinct = Vec::new();
    names.for_each(|name| {
        if !distinct.contains(&name) {
            distinct.push(name);
        }
    });
    distinct
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits() {
        assert_eq!(
            [1234.5, 12.345, 1.2345, 0.12345, 0.0012, 3.0].map(short),
            ["1234", "12.3", "1.23", "0.123", "0.001", "3"]
        );
    }

    #[test]
    fn table_has_a_dash_where_nothing_was_measured() {
        let mut report = Report::default();
        report.add("cycle", "a", "ms", [1.0, 2.0, 3.0]);
        report.figure("cycle", "b", "reads", 2.0);
        assert!(report.tables().contains("| a | 2 (1.50 to 2.50) | – |\n| b | – | 2 |"), "{}", report.tables());
        let parsed = Report::parse(&report.json());
        assert_eq!(parsed.tables(), report.tables());
    }
}
