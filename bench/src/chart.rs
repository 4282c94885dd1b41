//! The two charts, as SVG.

use crate::peer::Peer;
use crate::report::{Report, short};
use crate::stats::{median, quantile};

const OWN: &str = "#c2410c";
const PEER: &str = "#475569";
const FLOOR: &str = "#94a3b8";
const FAINT: &str = "#e2e8f0";

/// Draws cost and time of acquire + release: one row per library, two bars each.
pub fn cycle(report: &Report) -> Option<String> {
    let time = |subject: &str| report.median("cycle", subject, "time / minimal");
    let mut rows: Vec<(&str, f64, f64)> = Vec::new();
    for subject in report.subjects("cycle") {
        let requests = |measure| report.median("cycle", subject, measure).unwrap_or(0.0);
        let (Some(time), true) = (time(subject), subject != Peer::BareEqual.label()) else { continue };
        rows.push((subject, requests("writes") + requests("reads"), time));
    }
    rows.first()?;
    let (top, height) = (78.0, 34.0);
    let bottom = top + height * rows.len() as f64;
    let mut drawing = Drawing::new(860.0, bottom + 34.0, "Cost and time of acquire + release");
    let most = rows.iter().map(|row| row.2).fold(1.0, f64::max);
    let (left, middle) = (230.0, 490.0);
    drawing.text(left, top - 14.0, "requests", "start", "#0f172a", 13);
    drawing.text(middle, top - 14.0, "time, as a multiple of two bare calls in Rust", "start", "#0f172a", 13);
    let floor = middle + 270.0 / most;
    drawing.line(floor, top - 4.0, floor, bottom, FLOOR, "4 3");
    for (index, (subject, requests, time)) in rows.iter().enumerate() {
        let y = top + height * index as f64;
        let color = color(subject);
        drawing.text(left - 12.0, y + 20.0, subject, "end", color, 13);
        drawing.bar(left, y + 6.0, requests * 50.0, 20.0, color);
        let (writes, reads) = (report.median("cycle", subject, "writes"), report.median("cycle", subject, "reads"));
        let reads = reads.filter(|reads| *reads > 0.0).map_or(String::new(), |reads| format!(" + {} R", short(reads)));
        let requests_text = format!("{} W{reads}", short(writes.unwrap_or(0.0)));
        drawing.text(left + requests * 50.0 + 6.0, y + 20.0, &requests_text, "start", color, 12);
        drawing.bar(middle, y + 6.0, time * 270.0 / most, 20.0, color);
        drawing.text(middle + time * 270.0 / most + 6.0, y + 20.0, &short(*time), "start", color, 12);
    }
    let note = "W: write, R: read. npm dynamo-lock has no release. Libraries in Node and Python use their own SDK.";
    drawing.text(left, bottom + 22.0, note, "start", "#64748b", 11);
    Some(drawing.end())
}

/// A point of the chart of handoffs.
struct Point {
    label: String,
    cost: f64,
    latency: [f64; 3],
    own: bool,
}

/// Draws the cost of waiting against the latency of handoffs, both on logarithmic axes.
pub fn handoff(report: &Report) -> Option<String> {
    let points = points(report);
    points.first()?;
    let mut drawing =
        Drawing::new(900.0, 545.0, "Waiting: cost against latency of a handoff (uniform holds, 2 to 4.9 s)");
    let (left, right, top, bottom) = (90.0, 650.0, 72.0, 460.0);
    let costs = decades(points.iter().map(|point| point.cost));
    let latencies = decades(points.iter().flat_map(|point| point.latency));
    let x = |cost: f64| left + (right - left) * (cost.log10() - costs.0) / (costs.1 - costs.0);
    let y = |latency: f64| bottom - (bottom - top) * (latency.log10() - latencies.0) / (latencies.1 - latencies.0);
    for exponent in costs.0 as i32..=costs.1 as i32 {
        let value = 10f64.powi(exponent);
        drawing.line(x(value), top, x(value), bottom, FAINT, "");
        drawing.text(x(value), bottom + 20.0, &format!("{value}"), "middle", PEER, 12);
    }
    for exponent in latencies.0 as i32..=latencies.1 as i32 {
        let value = 10f64.powi(exponent);
        drawing.line(left, y(value), right, y(value), FAINT, "");
        let label =
            if value >= 1000.0 { format!("{} s", short(value / 1000.0)) } else { format!("{} ms", short(value)) };
        drawing.text(left - 10.0, y(value) + 4.0, &label, "end", PEER, 12);
    }
    if let Some(trip) = report.median("handoff", "round trip", "ms").filter(|trip| *trip > 0.0) {
        let floor = y(1.5 * trip);
        drawing.line(left, floor, right, floor, FLOOR, "4 3");
        drawing.text(left + 6.0, floor - 5.0, "1.5 round trips", "start", PEER, 11);
    }
    let axis = "cost of waiting: read units per second and waiter (a failed write counts as 5)";
    drawing.text((left + right) / 2.0, bottom + 46.0, axis, "middle", "#0f172a", 13);
    drawing.text(20.0, top - 20.0, "release to acquired: median, with quartiles", "start", "#0f172a", 13);
    let mut labels: Vec<f64> = Vec::new();
    let mut sorted: Vec<&Point> = points.iter().collect();
    sorted.sort_by(|a, b| b.latency[1].total_cmp(&a.latency[1]));
    for point in sorted {
        let color = if point.own { OWN } else { PEER };
        let (cx, cy) = (x(point.cost), y(point.latency[1]));
        drawing.line(cx, y(point.latency[0]), cx, y(point.latency[2]), color, "");
        drawing.circle(cx, cy, color);
        // Labels stand in a column on the right, at least 17 apart, joined to their points.
        let place = labels.last().map_or(cy, |last: &f64| cy.max(last + 17.0));
        labels.push(place);
        drawing.thin(cx + 6.0, cy, right + 12.0, place, color);
        drawing.text(right + 16.0, place + 4.0, &point.label, "start", color, 12);
    }
    drawing.text(left, 532.0, "Lower left is better: cheaper and quicker.", "start", "#64748b", 11);
    Some(drawing.end())
}

fn points(report: &Report) -> Vec<Point> {
    let mut points = Vec::new();
    for waiters in ["1 waiter", "2 waiters", "20 waiters"] {
        let scenario = format!("handoff, {waiters}, uniform holds");
        for subject in report.subjects(&scenario) {
            let own = subject == Peer::DynamoLock.label();
            let (Some(times), Some(cost)) = (
                report.samples(&scenario, subject, "release to acquired, ms"),
                report.median(&scenario, subject, "read units per waiter-second"),
            ) else {
                continue;
            };
            let latency = [quantile(times, 0.25), median(times), quantile(times, 0.75)].map(|ms| ms.max(1.0));
            points.push(Point { label: format!("{subject}, {waiters}"), cost: cost.max(0.01), latency, own });
        }
    }
    points
}

/// Returns the powers of ten that enclose the values.
fn decades(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) =
        values.fold((f64::INFINITY, 0.0), |(low, high), value| (f64::min(low, value), f64::max(high, value)));
    let (low, high) = (low.log10().floor(), high.log10().ceil());
    (low, high.max(low + 1.0))
}

fn color(subject: &str) -> &'static str {
    match subject {
        _ if subject == Peer::Bare.label() => FLOOR,
        _ if subject.starts_with("dynamo-lock") => OWN,
        _ => PEER,
    }
}

/// SVG under construction.
struct Drawing(String);

impl Drawing {
    fn new(width: f64, height: f64, title: &str) -> Drawing {
        let mut drawing = Drawing(format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
             font-family=\"system-ui, 'DejaVu Sans', sans-serif\" role=\"img\">\n<title>{}</title>\n\
             <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n",
            escape(title)
        ));
        drawing.text(20.0, 28.0, title, "start", "#0f172a", 16);
        drawing
    }

    fn text(&mut self, x: f64, y: f64, text: &str, anchor: &str, color: &str, size: u32) {
        self.0 += &format!(
            "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\" fill=\"{color}\" font-size=\"{size}\">{}</text>\n",
            escape(text)
        );
    }

    fn line(&mut self, x1: f64, y1: f64, x2: f64, y2: f64, color: &str, dashes: &str) {
        self.0 += &format!(
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{color}\" stroke-width=\"1.5\" \
             stroke-dasharray=\"{dashes}\"/>\n"
        );
    }

    fn thin(&mut self, x1: f64, y1: f64, x2: f64, y2: f64, color: &str) {
        self.0 += &format!(
            "<line x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\" stroke=\"{color}\" stroke-width=\"0.5\" \
             opacity=\"0.6\"/>\n"
        );
    }

    fn bar(&mut self, x: f64, y: f64, width: f64, height: f64, color: &str) {
        self.0 += &format!(
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" rx=\"2\" fill=\"{color}\"/>\n"
        );
    }

    fn circle(&mut self, x: f64, y: f64, color: &str) {
        self.0 += &format!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"5\" fill=\"{color}\"/>\n");
    }

    fn end(mut self) -> String {
        self.0 += "</svg>\n";
        self.0
    }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
