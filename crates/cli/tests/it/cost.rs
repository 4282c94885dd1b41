//! `cost`.

use serde_json::{Value, json};

use crate::support::{Fixture, dynamodb_error, server_by_operation, server_with_response};

fn estimate(fixture: &Fixture, arguments: &[&str]) -> Value {
    let finished = fixture.run(&[&["cost", "--json"], arguments].concat()).exits_with(0);
    serde_json::from_str(&finished.stdout).expect("JSON")
}

/// A thousand locks that are renewed each 5 s, 9 that wait, and an acquisition a minute of each lock.
const LOAD: &[&str] = &["--locks", "1000", "--lease", "20s", "--waiters", "9", "--acquisitions", "1440"];

#[test]
fn cost_prints_formula_and_price_of_each_part() {
    let fixture = Fixture::new();
    let finished = fixture.run(&[&["cost"], LOAD].concat()).exits_with(0);
    let expected = "\
renewals      1,000 held × 2,592,000 s / 5s              = 518,400,000 write units  $324.00
acquisitions  1,000 locks × 1,440 a day × 30 × 3 writes  = 129,600,000 write units  $81.00
waiting       9 waiters × 6 looks/s × 2,592,000 s × 0.5  = 69,984,000 read units    $8.75
total         1,000 locks, 1,000 held, 9 waiters                                    $413.75 a month of 30 days
prices of a million units: $0.625 for writes, $0.125 for reads (us-east-1, on demand, 2026-11; others with \
--write-price and --read-price)
";
    assert_eq!((finished.stdout.as_str(), finished.stderr.as_str()), (expected, ""));
    // No store was opened.
    assert!(!fixture.path("locks.db").exists());
}

#[test]
fn cost_as_json_has_exact_units_and_given_prices() {
    let fixture = Fixture::new();
    let expected = json!({
        "locks": 1000.0, "held": 1000.0, "waiters": 9.0, "renewalWriteUnits": 518_400_000.0,
        "acquisitionWriteUnits": 129_600_000.0, "waitingReadUnits": 69_984_000.0, "writePrice": 0.625,
        "readPrice": 0.125, "pricesAsOf": "2026-11", "dollars": 413.748,
    });
    assert_eq!(estimate(&fixture, LOAD), expected);
    let other = estimate(&fixture, &["--holders", "0.5", "--write-price", "1", "--lease", "1h"]);
    assert_eq!((&other["dollars"], &other["pricesAsOf"]), (&json!(0.004_32), &Value::Null));
    fixture.run(&["cost", "--lease", "2h"]).exits_with(64);
    fixture.run(&["cost", "--locks", "-1"]).exits_with(64);
    fixture.run(&["cost", "--from-table", "--locks", "3"]).exits_with(64);
}

/// The page states what the formulas of its own text and `cost` give.
#[test]
fn table_of_leases_in_the_page_on_tuning_is_exact() {
    let fixture = Fixture::new();
    let page = include_str!("../../../../docs/tuning.md");
    let rows = page.lines().skip_while(|line| !line.starts_with("| lease | renewed every")).skip(2);
    let mut leases = 0;
    for row in rows.take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let lease = cells[0].trim_end_matches(" (default)").replace(' ', "");
        let length = humantime::parse_duration(&lease).expect("a lease").as_secs_f64();
        let interval =
            humantime::parse_duration(&cells[1].replace(' ', "").replace("0.25s", "250ms").replace("2.5s", "2500ms"));
        assert_eq!(interval.expect("an interval").as_secs_f64(), (length / 4.0).min(300.0), "{row}");
        let end = length * 1.005 + (length / 20.0).clamp(0.25, 1.0);
        let shown =
            if end < 3600.0 { format!("{:.1} s", (end * 10.0 - 1e-6).ceil() / 10.0) } else { "1 h 19 s".into() };
        assert_eq!(cells[2], shown, "{row}");
        assert!(end < 3600.0 || end.round() == 3619.0, "{end}");
        let dollars = estimate(&fixture, &["--lease", &lease])["dollars"].as_f64().expect("a number");
        assert_eq!(cells[4], format!("${dollars:.2}"), "{row}");
        leases += 1;
    }
    assert_eq!(leases, 6);
}

/// Two locks of a lease of 20 s are held, and a hold. A free lock costs nothing.
#[test]
fn cost_from_table_counts_its_leases() {
    let item = |name: &str, rest: &str| {
        let id = r#"{"S":"0123456789abcdef0123456789abcdef"}"#;
        format!(
            r#"{{"name":{{"S":"{name}"}},"v":{{"N":"1"}},"guid":{id},"leaseId":{id},"token":{{"N":"7"}},"ttl":{{"N":"1"}},{rest}}}"#
        )
    };
    let held = |lease: &str| format!(r#""expiresOn":{{"N":"9790000020000"}},"leaseMs":{{"N":"{lease}"}}"#);
    let items = [
        item("a", &held("20000")),
        item("b", &held("20000")),
        item("c", &held("7200000")),
        item("d", r#""expiresOn":{"N":"0"}"#),
    ];
    let fixture = server_with_response("200 OK", &format!(r#"{{"Items":[{}],"Count":4}}"#, items.join(",")));
    let found = estimate(&fixture, &["--from-table"]);
    assert_eq!((&found["locks"], &found["held"]), (&json!(4.0), &json!(2.0)));
    assert_eq!((&found["renewalWriteUnits"], &found["dollars"]), (&json!(1_036_800.0), &json!(0.648)));
    fixture.run(&["cost", "--from-table"]).exits_with(0).prints_line("1 hold is left out");
    Fixture::new().run(&["cost", "--from-table"]).exits_with(64).prints("name a table with --table");
    let missing = server_by_operation(|_| ("400 Bad Request", dynamodb_error("ResourceNotFoundException", "?")));
    missing.run(&["cost", "--from-table"]).exits_with(78);
}
