//! `ls --watch`.

use std::sync::atomic::{AtomicU32, Ordering};
use std::{fs::File, path::Path};

use crate::listing::row;
use crate::support::{Fixture, Running, dynamodb_error, server_by_operation, server_with_response, wait_until};

/// Returns the first lines of standard output, and ends the program.
fn first_lines(mut running: Running, count: usize, output: &Path) -> Vec<String> {
    let lines = || std::fs::read_to_string(output).unwrap_or_default();
    wait_until("the table was printed again", || lines().lines().count() >= count);
    running.signal("INT");
    wait_until("the listing ends", || !running.is_running());
    lines().lines().take(count).map(str::to_owned).collect()
}

#[test]
fn watch_in_pipe_prints_table_per_interval() {
    let fixture = Fixture::new();
    fixture.insert_row("a", &row(r#""token":{"N":"7"},"expiresOn":{"N":"0"}"#));
    let (mut command, path) = (fixture.command(&["ls", "--watch", "1s"]), fixture.path("listed"));
    command.stdout(File::create(&path).expect("a file"));
    let lines = first_lines(Running::spawn(command), 6, &path);
    let table = ["NAME  STATE  TOKEN  OWNER  AGE  ENDS", "a     free   7      -      -    -"];
    assert_eq!((&lines[..2], &lines[4..6]), (&table.map(str::to_owned)[..], &table.map(str::to_owned)[..]));
    assert!(lines[2].starts_with("# 2") && lines[2].ends_with(" UTC, every 1s"), "{lines:?}");
    assert_eq!(lines[3], "");
}

#[test]
fn watch_of_dynamodb_states_its_read_units() {
    let fixture = server_with_response("200 OK", r#"{"Items":[],"Count":0}"#);
    let (mut command, path) = (fixture.command(&["ls", "--watch"]), fixture.path("listed"));
    command.stdout(File::create(&path).expect("a file"));
    let lines = first_lines(Running::spawn(command), 1, &path);
    assert!(lines[0].ends_with(", every 2s, about 0.5 read units each time"), "{lines:?}");
}

#[test]
fn watch_on_terminal_redraws_and_ends_by_interrupt() {
    let fixture = Fixture::new();
    for name in 'a'..='z' {
        fixture.insert_row(&name.to_string(), &row(r#""token":{"N":"7"},"expiresOn":{"N":"0"}"#));
    }
    let (running, terminal) = fixture.spawn_on_terminal(&["ls", "--watch", "1"]);
    wait_until("it was drawn again", || terminal.contents().matches("\x1b[H").count() >= 2);
    let drawn = terminal.contents();
    assert_eq!(drawn.matches("\x1b[2J").count(), 1, "the screen is erased once: {drawn:?}");
    assert!(drawn.contains("… and 6 more; name some with --prefix"), "{drawn:?}");
    running.signal("INT");
    assert_eq!(running.wait().signal, Some(2));
}

#[test]
fn watch_prints_later_failures_and_goes_on() {
    let answers = AtomicU32::new(0);
    let fixture = server_by_operation(move |_| match answers.fetch_add(1, Ordering::Relaxed) {
        1 => ("500 Internal Server Error", dynamodb_error("InternalServerError", "?")),
        _ => ("200 OK", r#"{"Items":[],"Count":0}"#.to_owned()),
    });
    let (mut command, path) = (fixture.command(&["ls", "--watch", "1s"]), fixture.path("listed"));
    command.stdout(File::create(&path).expect("a file"));
    let running = fixture.spawn_with_stderr_file(command);
    let lines = first_lines(running, 3, &path);
    assert!(lines[2].contains("read units"), "{lines:?}");
    assert!(fixture.read("stderr").contains("; listing again in 1s"), "{}", fixture.read("stderr"));
    // The first listing fails at once, for example because of a wrong address.
    let fixture = server_with_response("400 Bad Request", &dynamodb_error("ResourceNotFoundException", "?"));
    fixture.run(&["ls", "--watch"]).exits_with(78);
}
