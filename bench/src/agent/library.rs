//! The libraries in Rust behind one interface.

use std::time::Duration;

use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use dlock::{DLock, DynamodbLease, DynamodbProvider, Lease as _};
use dynamo_lock::{Client, DynamoDb, Guard, Sqlite};
use serde_json::json;

use super::{Settings, bare::Bare, print};
use crate::{Outcome, clock};

/// Suffix of the lock that opens a connection.
pub const WARM: &str = "-warm";

/// The library under test, with the lock that the agent uses.
pub struct Library {
    kind: Kind,
    lock: String,
    dynamodb: Option<(aws_sdk_dynamodb::Client, String)>,
}

enum Kind {
    DynamoLock(Client),
    Lease(dynamodb_lease::Client),
    Dlock { provider: DynamodbProvider, lease: Duration, retry: Duration },
    Bare(Box<Bare>),
}

/// A held lock.
pub enum Held {
    DynamoLock(Guard),
    Lease(dynamodb_lease::Lease),
    Dlock(DynamodbLease),
    Bare,
}

impl Library {
    /// Opens the library `name`, which is one of those in `peer.rs`.
    pub async fn open(name: &str, settings: &Settings) -> Outcome<Library> {
        let lock = settings.text("lock")?.to_owned();
        let lease = settings.millis("lease").unwrap_or(Duration::from_secs(20));
        if name == "embedded" {
            let client = Client::builder(Sqlite::open(settings.text("file")?)?).lease(lease).build()?;
            return Ok(Library { kind: Kind::DynamoLock(client), lock, dynamodb: None });
        }
        let (client, table) = (connect(settings.text("url")?), settings.text("table")?.to_owned());
        let kind = match name {
            "dynamo-lock" => {
                let service_clock = settings.number("service_clock").is_some_and(|on| on != 0);
                let mut builder = Client::builder(DynamoDb::new(client.clone(), table.as_str()))
                    .lease(lease)
                    .service_clock(service_clock);
                if let Some(heartbeat) = settings.millis("heartbeat") {
                    builder = builder.heartbeat(heartbeat);
                }
                Kind::DynamoLock(builder.build()?)
            }
            "dynamodb-lease" => {
                let mut builder = dynamodb_lease::Client::builder()
                    .table_name(table.as_str())
                    .lease_ttl_seconds(lease.as_secs() as u32);
                if let Some(heartbeat) = settings.millis("heartbeat") {
                    builder = builder.extend_every(heartbeat);
                }
                if let Some(pause) = settings.millis("pause") {
                    builder = builder.acquire_cooldown(pause);
                }
                Kind::Lease(builder.build_and_check_db(client.clone()).await?)
            }
            "dlock" => {
                let provider = DynamodbProvider::builder().client(client.clone()).table_name(table.clone()).build();
                let retry = settings.millis("pause").unwrap_or(Duration::from_millis(100));
                Kind::Dlock { provider, lease, retry }
            }
            "bare" => Kind::Bare(Box::new(Bare::new(client.clone(), &table, settings)?)),
            _ => return Err(format!("there is no agent for {name}").into()),
        };
        Ok(Library { kind, lock, dynamodb: Some((client, table)) })
    }

    fn dlock(&self, name: String) -> Option<DLock<DynamodbProvider>> {
        let Kind::Dlock { provider, lease, retry } = &self.kind else { return None };
        let lock = DLock::builder().name(name).owner("bench".into()).duration(*lease).retry(*retry);
        Some(lock.provider(provider.clone()).build())
    }

    /// Waits for the lock with this suffix, and acquires it. The futures of the libraries are boxed, because the memory of
    /// a waiter would otherwise include the largest of them.
    pub async fn acquire(&self, suffix: &str) -> Outcome<Held> {
        let name = format!("{}{suffix}", self.lock);
        match &self.kind {
            Kind::DynamoLock(client) => Ok(Held::DynamoLock(Box::pin(client.lock(name)?.acquire()).await?)),
            Kind::Lease(client) => Ok(Held::Lease(Box::pin(client.acquire(name)).await?)),
            Kind::Dlock { .. } => {
                let lock = self.dlock(name).ok_or("not dlock")?;
                Ok(Held::Dlock(Box::pin(lock.acquire()).await.map_err(|error| error.to_string())?))
            }
            Kind::Bare(bare) => {
                Box::pin(bare.acquire(&name)).await?;
                Ok(Held::Bare)
            }
        }
    }

    /// Acquires and releases the lock, which must be free.
    pub async fn cycle(&self) -> Outcome<()> {
        match self.acquire("").await? {
            Held::DynamoLock(guard) => drop(guard.release().await?),
            Held::Lease(lease) => lease.release().await?,
            Held::Dlock(lease) => lease.release().await.map_err(|error| error.to_string())?,
            Held::Bare => {
                let Kind::Bare(bare) = &self.kind else { return Ok(()) };
                bare.release(&self.lock).await?;
            }
        }
        Ok(())
    }

    /// Waits for the lock, holds it while `work` runs, renews it meanwhile, and releases it.
    pub async fn hold(&self, suffix: &str, mut work: impl AsyncFnMut()) -> Outcome<()> {
        if let Some(lock) = self.dlock(format!("{}{suffix}", self.lock)) {
            // Only `with` waits and renews by itself.
            return Box::pin(lock.with(async |_| work().await)).await.map_err(|error| error.to_string().into());
        }
        match self.acquire(suffix).await? {
            Held::DynamoLock(guard) => {
                work().await;
                Box::pin(guard.release()).await?;
            }
            Held::Lease(lease) => {
                work().await;
                Box::pin(lease.release()).await?;
            }
            Held::Dlock(_) | Held::Bare => return Err("only locks can be held".into()),
        }
        Ok(())
    }

    /// Opens a connection, so that later requests find one.
    pub async fn warm(&self) -> Outcome<()> {
        let _held = self.acquire(WARM).await?;
        Ok(())
    }

    /// Sends renewals one after the other, and prints what they took.
    pub async fn renew(&self, renewals: u64) -> Outcome<()> {
        let held = self.acquire("").await?;
        let (start, cpu) = (clock::now(), clock::cpu());
        for _ in 0..renewals {
            match (&held, &self.kind) {
                (Held::DynamoLock(guard), _) => guard.renew().await.map_err(|lost| lost.to_string())?,
                (Held::Bare, Kind::Bare(bare)) => bare.renew(&self.lock).await?,
                _ => return Err("this library has no renewal on request".into()),
            }
        }
        let result = json!({"ns": clock::now() - start, "cpu": clock::cpu() - cpu});
        match (held, &self.kind) {
            (Held::DynamoLock(guard), _) => drop(guard.release().await?),
            (_, Kind::Bare(bare)) => bare.release(&self.lock).await?,
            _ => {}
        }
        print(result);
        Ok(())
    }

    /// Reads an item repeatedly, and prints the median of the round trips.
    pub async fn round_trips(&self, reads: u64) -> Outcome<()> {
        let (client, table) = self.dynamodb.as_ref().ok_or("only DynamoDB has round trips")?;
        let mut times = Vec::new();
        for _ in 0..reads {
            let start = clock::now();
            let key = aws_sdk_dynamodb::types::AttributeValue::S("round trips".into());
            client.get_item().table_name(table).key("name", key).send().await?;
            times.push(clock::now() - start);
        }
        times.sort_unstable();
        print(json!({"ns": times[times.len() / 2]}));
        Ok(())
    }
}

/// Returns an SDK client for the server at `url`.
pub fn connect(url: &str) -> aws_sdk_dynamodb::Client {
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(url)
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "bench"))
        .build();
    aws_sdk_dynamodb::Client::from_conf(config)
}
