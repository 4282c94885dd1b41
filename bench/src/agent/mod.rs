//! The Rust agent: a process that uses one library as the driver tells it, one command per line of standard input.
//!
//! The agents in Node and Python understand the same commands, as far as their libraries can do them. All results are
//! JSON lines; times are nanoseconds of [`clock::now`].
//!
//! | command | effect | result |
//! |---|---|---|
//! | `cycle N` | acquires and releases N times | `ns`, `cpu` |
//! | `renew N` | acquires, renews N times, and releases | `ns`, `cpu` of the renewals |
//! | `rtt N` | reads an item N times | `ns`, the median |
//! | `hold MS` | acquires, waits, and releases | `acquired`, then `releasing`, then `released` |
//! | `tasks N MS` | N tasks wait for a lock that the process holds; each holds it once | `ns`, `bytes` per waiter |
//! | `ask N S MS` | N tasks acquire, hold and ask again for S seconds | `from`, `acquired` with `waited` |
//! | `held N` | acquires N locks, and keeps them | `bytes` per lock |
//! | `spread N S` | N tasks acquire and release a lock of their own for S seconds | `cycles`, `errors` |
//! | `cpu` | | `cpu`, `at` |

mod bare;
pub mod library;

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::{Outcome, clock, memory};
use library::Library;

/// Settings of an agent: `key=value` arguments.
pub struct Settings(HashMap<String, String>);

impl Settings {
    fn parse(arguments: &[String]) -> Settings {
        Settings(arguments.iter().filter_map(|text| text.split_once('=')).map(|(k, v)| (k.into(), v.into())).collect())
    }

    fn text(&self, key: &str) -> Outcome<&str> {
        Ok(self.0.get(key).ok_or_else(|| format!("the agent needs {key}=…"))?)
    }

    fn number(&self, key: &str) -> Option<u64> {
        self.0.get(key)?.parse().ok()
    }

    fn millis(&self, key: &str) -> Option<Duration> {
        self.number(key).map(Duration::from_millis)
    }
}

/// Runs the agent `name` until standard input ends.
#[tokio::main(flavor = "current_thread")]
pub async fn run(name: &str, arguments: &[String]) -> Outcome<()> {
    let settings = Settings::parse(arguments);
    let library = Rc::new(Library::open(name, &settings).await?);
    print(json!({"ready": true}));
    let (sender, mut commands) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    tokio::task::LocalSet::new()
        .run_until(async {
            while let Some(line) = commands.recv().await {
                let words: Vec<&str> = line.split_whitespace().collect();
                let number = |index: usize| words.get(index).and_then(|word| word.parse::<u64>().ok()).unwrap_or(0);
                match words[..] {
                    ["cycle", _] => cycle(&library, number(1)).await?,
                    ["renew", _] => library.renew(number(1)).await?,
                    ["rtt", _] => library.round_trips(number(1)).await?,
                    ["hold", _] => hold(&library, Duration::from_micros((1000.0 * float(words[1])) as u64)).await?,
                    ["tasks", ..] => tasks(&library, number(1), Duration::from_millis(number(2))).await?,
                    ["ask", ..] => ask(&library, number(1), number(2), Duration::from_millis(number(3))).await?,
                    ["held", _] => held(&library, number(1)).await?,
                    ["spread", ..] => spread(&library, number(1), number(2)).await?,
                    ["cpu"] => print(json!({"cpu": clock::cpu(), "at": clock::now()})),
                    _ => return Err(format!("the agent cannot understand `{line}`").into()),
                }
            }
            Ok(())
        })
        .await
}

fn float(word: &str) -> f64 {
    word.parse().unwrap_or(0.0)
}

/// Prints one line, at once.
pub fn print(value: Value) {
    use std::io::Write;
    let mut stdout = std::io::stdout().lock();
    let _ = writeln!(stdout, "{value}").and_then(|()| stdout.flush()); // the driver has ended if this fails
}

async fn cycle(library: &Library, cycles: u64) -> Outcome<()> {
    let (start, cpu) = (clock::now(), clock::cpu());
    for _ in 0..cycles {
        library.cycle().await?;
    }
    print(json!({"ns": clock::now() - start, "cpu": clock::cpu() - cpu}));
    Ok(())
}

async fn hold(library: &Library, hold: Duration) -> Outcome<()> {
    library
        .hold("", async || {
            print(json!({"acquired": clock::now()}));
            tokio::time::sleep(hold).await;
            print(json!({"releasing": clock::now()}));
        })
        .await?;
    print(json!({"released": clock::now()}));
    Ok(())
}

async fn tasks(library: &Rc<Library>, tasks: u64, hold: Duration) -> Outcome<()> {
    let mut set = JoinSet::new();
    let mut measured = (0, 0);
    library
        .hold("", async || {
            let before = memory::in_use();
            let mut own = 0;
            for _ in 0..tasks {
                let library = library.clone();
                let task = async move {
                    let held = library.hold("", async || tokio::time::sleep(hold).await).await;
                    held.map_err(|error| error.to_string())
                };
                own += size_of_val(&task); // belongs to the agent; the library's futures are boxed
                set.spawn_local(task);
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
            measured = (clock::now(), memory::in_use().saturating_sub(before + own) as u64 / tasks.max(1));
        })
        .await?;
    while let Some(done) = set.join_next().await {
        done??;
    }
    print(json!({"ns": clock::now() - measured.0, "bytes": measured.1}));
    Ok(())
}

async fn ask(library: &Rc<Library>, tasks: u64, seconds: u64, hold: Duration) -> Outcome<()> {
    let from = clock::now();
    let end = from + seconds * 1_000_000_000;
    let log = Rc::new(RefCell::new(Vec::new()));
    let mut set = JoinSet::new();
    for task in 0..tasks {
        let (library, log) = (library.clone(), log.clone());
        set.spawn_local(async move {
            while clock::now() < end {
                let asked = clock::now();
                let held = async || {
                    let now = clock::now();
                    log.borrow_mut().push(json!([now, now - asked, task]));
                    tokio::time::sleep(hold).await;
                };
                library.hold("", held).await.map_err(|error| error.to_string())?;
            }
            Ok::<_, String>(())
        });
    }
    while let Some(done) = set.join_next().await {
        done??;
    }
    print(json!({"from": from, "acquired": log.take()}));
    Ok(())
}

async fn held(library: &Library, locks: u64) -> Outcome<()> {
    library.warm().await?;
    let before = memory::in_use();
    let mut guards = Vec::with_capacity(locks as usize);
    for index in 0..locks {
        guards.push(library.acquire(&format!("-{index}")).await?);
    }
    print(json!({"bytes": memory::in_use().saturating_sub(before) as u64 / locks.max(1)}));
    std::mem::forget(guards); // the driver ends this process
    Ok(())
}

async fn spread(library: &Rc<Library>, tasks: u64, seconds: u64) -> Outcome<()> {
    let start = clock::now();
    let end = start + seconds * 1_000_000_000;
    let mut set = JoinSet::new();
    for task in 0..tasks {
        let library = library.clone();
        set.spawn_local(async move {
            let (mut cycles, mut errors) = (0, 0);
            while clock::now() < end {
                match library.hold(&format!("-{task}"), async || ()).await {
                    Ok(()) => cycles += 1,
                    Err(_) => errors += 1,
                }
            }
            (cycles, errors)
        });
    }
    let mut sum = (0, 0);
    while let Some(done) = set.join_next().await {
        let done = done?;
        sum = (sum.0 + done.0, sum.1 + done.1);
    }
    print(json!({"cycles": sum.0, "errors": sum.1, "ns": clock::now() - start}));
    Ok(())
}
