//! The original npm `dynamo-lock` 0.1.3 itself, on our table: its clock is wrong, and it is paused between its read and
//! its write. In virtual time; the original runs in node and takes its database, its clock and its pauses from here.

use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use dynamo_lock::store::{Row, Value};
use dynamo_lock::{Client, DynamoDb, Guard};
use serde_json::{Value as Json, json};
use test_support::dynamodb::Dynoxide;
use test_support::hosts::{Host, World};
use tokio::time::sleep;

const LEASE: Duration = Duration::from_secs(2);

/// Where `npm ci` has put the original; the test command says so.
fn modules(test: &str) -> Option<PathBuf> {
    let modules = std::env::var_os("DYNAMO_LOCK_TEST_NPM").map(|dir| PathBuf::from(dir).join("node_modules"));
    if modules.is_none() {
        let _ = writeln!(std::io::stdout(), "SKIPPED: {test}: `cargo xtask test` installs the original npm package");
    }
    modules
}

/// A process of the original client.
struct Original {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Original {
    fn start(modules: &PathBuf) -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../test-support/npm/npm_client.js");
        let mut child = Command::new("node")
            .arg(script)
            .arg(modules)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node runs");
        let (to, from) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, to, from }
    }

    /// Says a line, and hears the next one. Blocks the thread: virtual time stands still meanwhile.
    fn say(&mut self, line: Json) -> Json {
        writeln!(self.to, "{line}").unwrap();
        let mut heard = String::new();
        self.from.read_line(&mut heard).unwrap();
        serde_json::from_str(&heard).expect("the original said a line")
    }

    /// `getLock`: its wall clock is `ahead` by so many ms, and it stops for `pause` between its read and its write.
    /// What its callback was given.
    async fn get_lock(&mut self, world: &World, table: &Dynoxide, ahead: i64, ms: u64, pause: Duration) -> Json {
        let now = || world.epoch_ms().saturating_add_signed(ahead);
        let mut line = self.say(json!({ "now": now(), "getLock": "a", "ms": ms }));
        while let Some(operation) = line["operation"].as_str().map(str::to_owned) {
            let answer = table.call(&operation, line["params"].clone());
            let mut reply = match answer {
                Ok(data) => json!({ "data": data }),
                Err(error) => json!({ "error": format!("{error:?}") }),
            };
            reply["now"] = now().into();
            if operation == "GetItem" {
                // It has what it read, and computes what it will write from its clock of now; then it stops.
                line = self.say(reply);
                sleep(pause).await;
            } else {
                line = self.say(reply);
            }
        }
        line
    }
}

impl Drop for Original {
    fn drop(&mut self) {
        let _ended_before = self.child.kill();
        let _ended_before = self.child.wait();
    }
}

async fn table(world: &World) -> (Dynoxide, DynamoDb) {
    let dynoxide = Dynoxide::new();
    let clock = world.clone();
    dynoxide.set_clock(move || clock.epoch_ms() / 1000);
    let store = dynoxide.store("Lock").await.service_clock(true);
    (dynoxide, store)
}

fn client(host: &Host, store: &DynamoDb) -> Client {
    Client::builder(store.clone()).lease(LEASE).clock(host.clock.clone()).build().unwrap()
}

async fn acquire(client: &Client) -> Guard {
    client.lock("a").unwrap().acquire().await.unwrap()
}

#[tokio::test(start_paused = true)]
async fn lesson_30_the_original_paused_three_leases_cannot_overwrite_a_renewed_lock() {
    let Some(modules) = modules("lesson_30_the_original_paused_three_leases_cannot_overwrite_a_renewed_lock") else {
        return;
    };
    let world = World::new();
    let (dynoxide, store) = table(&world).await;
    let guard = acquire(&client(&world.host(), &store)).await;
    sleep(LEASE).await; // renewed already: what it reads is a renewal's version
    let mut original = Original::start(&modules);
    // An hour ahead: it takes every lock of ours for over.
    let callback = original.get_lock(&world, &dynoxide, 3_600_000, 10_000, LEASE * 3).await;
    assert_eq!(callback["error"], "ERROR");
    sleep(LEASE).await;
    assert!(guard.is_valid(), "the lock was renewed meanwhile, and is kept");
    guard.release().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn and_it_does_overwrite_a_row_whose_version_never_changed() {
    // The control: the same schedule, on the row of a client that writes its version once.
    let Some(modules) = modules("and_it_does_overwrite_a_row_whose_version_never_changed") else { return };
    let world = World::new();
    let (dynoxide, _store) = table(&world).await;
    let held = [
        ("guid".to_owned(), Value::S("constant".into())),
        ("expiresOn".to_owned(), Value::from(world.epoch_ms() + 60_000)),
    ];
    dynoxide.plant("Lock", "a", &Row::new(held));
    let mut original = Original::start(&modules);
    let callback = original.get_lock(&world, &dynoxide, 3_600_000, 10_000, LEASE * 3).await;
    assert_eq!(callback["success"], "SUCCESS");
}

#[tokio::test(start_paused = true)]
async fn lesson_30_two_of_our_guards_never_overlap_whatever_the_original_does_between() {
    let Some(modules) = modules("lesson_30_two_of_our_guards_never_overlap_whatever_the_original_does_between") else {
        return;
    };
    let (mut overwrites, mut handovers) = (0, 0);
    for ahead in [-86_400_000, 1_000, 9_000, 12_000, 86_400_000] {
        for ms in [1_u64, 3_000] {
            for pause in [Duration::ZERO, LEASE * 3] {
                let world = World::new();
                let (dynoxide, store) = table(&world).await;
                let first = acquire(&client(&world.host(), &store)).await;
                let second = tokio::spawn({
                    let client = client(&world.host(), &store);
                    async move { acquire(&client).await }
                });
                let mut original = Original::start(&modules);
                sleep(Duration::from_millis(700)).await;
                let callback = original.get_lock(&world, &dynoxide, ahead, ms, pause).await;
                overwrites += u32::from(callback["success"] == "SUCCESS");
                // The second is a guard only once its task has ended; a live first must have ended before that.
                for _ in 0..400 {
                    sleep(Duration::from_millis(50)).await;
                    assert!(!(first.is_valid() && second.is_finished()), "{ahead} {ms} {pause:?}");
                }
                if second.is_finished() {
                    let second = second.await.unwrap();
                    assert!(second.token() > first.token(), "{ahead} {ms} {pause:?}");
                    handovers += 1;
                } else {
                    second.abort();
                }
            }
        }
    }
    assert!(overwrites >= 4, "the original got in {overwrites} times: the schedule shows nothing");
    assert!(handovers >= 2, "the second got in {handovers} times: the schedule shows nothing");
}
