//! Two clients whose tasks ask again and again.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use test_support::{World, acquire, lock, ms, secs};
use tokio::time::sleep;

/// From second 5 on, each of two processes gets 30 to 70 of any 100 acquisitions. Before, none waits for more than 5 s.
#[tokio::test(start_paused = true)]
async fn two_processes_with_many_tasks_share_a_lock() {
    let world = World::new();
    let acquired = Arc::new(Mutex::new(Vec::<(Duration, usize)>::new()));
    let mut tasks = Vec::new();
    for process in 0..2 {
        let client = world.host().builder().lease(secs(20)).build().unwrap();
        for _ in 0..25 {
            let (world, client, acquired) = (world.clone(), client.clone(), acquired.clone());
            tasks.push(tokio::spawn(async move {
                while world.time() < secs(30) {
                    let guard = acquire(&client).await;
                    lock(&acquired).push((world.time(), process));
                    sleep(ms(10)).await;
                    guard.release().await.unwrap();
                }
            }));
        }
    }
    for task in tasks {
        task.await.unwrap();
    }
    let acquired = lock(&acquired);
    let first = |process| acquired.iter().find(|(_, by)| *by == process).map(|(time, _)| *time);
    assert!(first(0) <= Some(secs(5)) && first(1) <= Some(secs(5)), "{:?} {:?}", first(0), first(1));
    let later: Vec<_> = acquired.iter().filter(|(time, _)| *time >= secs(5)).map(|(_, by)| *by).collect();
    let shares: Vec<_> = later.windows(100).map(|window| window.iter().filter(|by| **by == 0).count()).collect();
    let (least, most) = (shares.iter().min(), shares.iter().max());
    assert!(least >= Some(&30) && most <= Some(&70), "{least:?} to {most:?} of 100, {} in all", acquired.len());
}
