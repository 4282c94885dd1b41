//! Requests that show whether a table is set up right, for the command line. None of them changes anything.

use std::sync::{Arc, Mutex};

use aws_config::SdkConfig;
use aws_credential_types::provider::{self, ProvideCredentials, SharedCredentialsProvider};
use aws_sdk_dynamodb::config::{ConfigBag, Credentials, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::{BoxError, SdkError};
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{BillingMode, ConditionCheck, TableDescription, TransactWriteItem};
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextRef,
};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;

use super::error::{self, Action};
use super::table::{check_status, is_strong};
use super::{DynamoDb, TableFault, date_source, response_reader::Response};
use crate::clock::{Clock, ClockReading, SystemClock};
use crate::store::{DynamoDbUrl, LockName, ServiceDate, StoreError, StoreErrorKind};
use crate::sync::lock;

/// Condition that no row fulfils, so that a write with it changes nothing.
const NEVER: &str = "attribute_exists(#key) AND attribute_not_exists(#key)";

/// Request that shows whether an action is permitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// Reads one row.
    Get,
    /// Writes one row under a condition that never holds.
    Update,
    /// Reads at most one row of the table.
    Scan,
    /// Checks, in a transaction, a condition that never holds.
    Check,
}

impl Probe {
    /// All probes.
    pub const ALL: [Self; 4] = [Self::Get, Self::Update, Self::Scan, Self::Check];

    /// Returns the action that the request needs, without `dynamodb:`.
    pub fn action(self) -> &'static str {
        match self {
            Self::Get => "GetItem",
            Self::Update => "UpdateItem",
            Self::Scan => "Scan",
            Self::Check => "ConditionCheckItem",
        }
    }
}

/// Result of one request, with facts about its way.
#[derive(Debug)]
pub struct Reply {
    /// Scheme, host and port of the server, if the request was sent.
    pub endpoint: Option<String>,
    /// Whether a response has arrived, also if it is an error.
    pub is_answered: bool,
    /// Clocks before the request was sent, after its identity was loaded.
    pub sent: ClockReading,
    /// Clocks after the end of the request.
    pub received: ClockReading,
    /// `Date` that DynamoDB has set, also if the response is an error.
    pub date: Option<ServiceDate>,
    /// Error of the request, if it shows anything else than that the action is permitted.
    pub result: Result<(), StoreError>,
}

/// Properties of a table that exists.
#[derive(Debug)]
pub struct Description {
    table: TableDescription,
    /// Problem of its status.
    pub status: Option<TableFault>,
    /// Problems of its key.
    pub key: Vec<TableFault>,
    /// Read and write units of provisioned capacity. `None` if it is billed per request.
    pub provisioned: Option<(i64, i64)>,
    /// Whether it is protected from deletion.
    pub deletion_protection: bool,
    /// Whether it is a global table with strong consistency, which has no time to live and no transactions.
    pub is_strong: bool,
}

/// A table under examination, and the AWS configuration that leads to it.
#[derive(Debug)]
pub struct Examination {
    store: DynamoDb,
    config: SdkConfig,
    credentials: Arc<Mutex<Option<Credentials>>>,
}

impl Examination {
    /// Opens the table of a URL. Sends no request to DynamoDB.
    ///
    /// # Errors
    /// Those of `StoreUrl::open`.
    ///
    /// # Cancel safety
    /// Has no side effects.
    pub async fn open(url: &DynamoDbUrl) -> Result<Self, StoreError> {
        let config = DynamoDb::load_config(url).await?;
        let credentials = Arc::default();
        let recorded = config
            .credentials_provider()
            .map(|source| SharedCredentialsProvider::new(Recorder { source, credentials: Arc::clone(&credentials) }));
        let mut config = config.into_builder();
        config.set_credentials_provider(recorded);
        let config = config.build();
        Ok(Self { store: DynamoDb::from_config(url, &config)?, config, credentials })
    }

    /// Returns the store that is examined.
    pub fn store(&self) -> &DynamoDb {
        &self.store
    }

    /// Returns the AWS configuration, for clients of other services.
    pub fn config(&self) -> &SdkConfig {
        &self.config
    }

    /// Returns the credentials that the last load has returned.
    pub fn credentials(&self) -> Option<Credentials> {
        lock(&self.credentials).clone()
    }

    /// Sends a request for the row with this name.
    ///
    /// # Cancel safety
    /// May be dropped at any time, because the request changes nothing.
    pub async fn probe(&self, probe: Probe, name: &LockName) -> Reply {
        self.store.load_identity().await;
        let way = Way::default();
        let sent = SystemClock.now();
        let (result, date) = Response::scope(async { (self.send(probe, name, &way).await, Response::date()) }).await;
        let WayState { endpoint, is_answered } = lock(&way.0).clone();
        Reply { endpoint, is_answered, sent, received: SystemClock.now(), date, result }
    }

    async fn send(&self, probe: Probe, name: &LockName, way: &Way) -> Result<(), StoreError> {
        let DynamoDb { client, table, key, .. } = &self.store;
        let row = Some(self.store.item_key(name.as_str()));
        match probe {
            Probe::Get => {
                let request = client.get_item().table_name(&**table).set_key(row).consistent_read(true);
                let sent = request.customize().interceptor(way.clone()).send().await;
                sent.map(drop).map_err(|error| self.store.request(Action::GET_ITEM).error(error))
            }
            Probe::Scan => {
                let request = client.scan().table_name(&**table).limit(1);
                let sent = request.customize().interceptor(way.clone()).send().await;
                sent.map(drop).map_err(|error| self.store.request(Action::SCAN).error(error))
            }
            Probe::Update => {
                let request = client.update_item().table_name(&**table).set_key(row);
                let request = request.condition_expression(NEVER).expression_attribute_names("#key", &**key);
                match request.customize().interceptor(way.clone()).send().await {
                    Ok(_) => Err(self.ignores_conditions()),
                    Err(error) => match error::definite(&error) {
                        Some(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(()),
                        _ => Err(self.store.request(Action::UPDATE_ITEM).error(error)),
                    },
                }
            }
            Probe::Check => {
                let check = ConditionCheck::builder().table_name(&**table).set_key(row);
                let check = check.condition_expression(NEVER).expression_attribute_names("#key", &**key);
                let check = check.build().expect("table, key and condition are set");
                let request = client.transact_write_items();
                let request = request.transact_items(TransactWriteItem::builder().condition_check(check).build());
                match request.customize().interceptor(way.clone()).send().await {
                    Ok(_) => Err(self.ignores_conditions()),
                    Err(error) => self.cancelled(error),
                }
            }
        }
    }

    /// Returns the result of a transaction that was not committed. Its reasons contain the error of the check.
    fn cancelled(&self, error: SdkError<TransactWriteItemsError, HttpResponse>) -> Result<(), StoreError> {
        let request = self.store.request(Action::TRANSACT);
        let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) = error::definite(&error) else {
            return Err(request.error(error));
        };
        let reasons = cancelled.cancellation_reasons().iter();
        let mut reasons =
            reasons.map(|reason| (reason.code().unwrap_or_default(), reason.message().unwrap_or_default()));
        match reasons.find(|(code, _)| *code != "ConditionalCheckFailed") {
            None => Ok(()),
            Some((code, message)) => Err(request.coded(code, message)),
        }
    }

    fn ignores_conditions(&self) -> StoreError {
        let problem = format!("the server of table {} accepts a write whose condition is false", self.store.table());
        StoreError::new(StoreErrorKind::Refused, problem).with_fix("use DynamoDB itself, or another emulator")
    }

    /// Describes the table. Returns `None` if it does not exist.
    ///
    /// # Errors
    /// [`StoreError`] if the request fails.
    ///
    /// # Cancel safety
    /// Has no side effects.
    pub async fn describe(&self) -> Result<Option<Description>, StoreError> {
        let Some(table) = self.store.describe().await? else { return Ok(None) };
        let is_on_demand = table.billing_mode_summary().and_then(|summary| summary.billing_mode())
            == Some(&BillingMode::PayPerRequest);
        let units = table.provisioned_throughput();
        let units = units.map(|units| (units.read_capacity_units(), units.write_capacity_units()));
        let units = units.and_then(|(read, write)| read.zip(write)).filter(|units| *units != (0, 0));
        Ok(Some(Description {
            status: check_status(&table),
            key: self.store.check_key(&table),
            provisioned: units.filter(|_| !is_on_demand),
            deletion_protection: table.deletion_protection_enabled() == Some(true),
            is_strong: is_strong(&table),
            table,
        }))
    }

    /// Returns the problem of the table's time to live.
    ///
    /// # Errors
    /// [`StoreError`] if the request fails.
    ///
    /// # Cancel safety
    /// Has no side effects.
    pub async fn check_ttl(&self) -> Result<Option<TableFault>, StoreError> {
        self.store.check_ttl().await
    }

    /// Returns the problem of the table's replicas.
    ///
    /// # Errors
    /// [`StoreError`] if a request fails.
    ///
    /// # Cancel safety
    /// Has no side effects.
    pub async fn check_replicas(&self, description: &Description) -> Result<Option<TableFault>, StoreError> {
        self.store.check_replicas(&description.table).await
    }
}

/// Returns whether an endpoint certainly belongs to AWS.
pub fn is_aws(endpoint: &str) -> bool {
    date_source::is_aws(endpoint)
}

/// Source of credentials that records them.
#[derive(Debug)]
struct Recorder {
    source: SharedCredentialsProvider,
    credentials: Arc<Mutex<Option<Credentials>>>,
}

impl ProvideCredentials for Recorder {
    fn provide_credentials<'a>(&'a self) -> provider::future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        provider::future::ProvideCredentials::new(async {
            let credentials = self.source.provide_credentials().await?;
            *lock(&self.credentials) = Some(credentials.clone());
            Ok(credentials)
        })
    }
}

/// Interceptor that records the way of one request.
#[derive(Clone, Debug, Default)]
struct Way(Arc<Mutex<WayState>>);

#[derive(Clone, Debug, Default)]
struct WayState {
    endpoint: Option<String>,
    is_answered: bool,
}

impl Intercept for Way {
    fn name(&self) -> &'static str {
        "dynamo-lock way"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        lock(&self.0).endpoint = origin(context.request().uri());
        Ok(())
    }

    fn read_before_deserialization(
        &self,
        _: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        lock(&self.0).is_answered = true;
        Ok(())
    }
}

/// Returns scheme, host and port of a URL, without the user and password that it may contain.
pub fn origin(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    Some(format!("{scheme}://{}", authority.rsplit('@').next()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::iam::{Resource, Use};

    /// A use without a probe would be reported as permitted without a request.
    #[test]
    fn every_action_that_locks_need_has_a_probe() {
        for permitted in [Use::Run, Use::List, Use::Operate, Use::Transaction] {
            for action in [Resource::Item, Resource::Table].into_iter().flat_map(|part| permitted.actions(part)) {
                assert!(Probe::ALL.iter().any(|probe| probe.action() == action), "{permitted:?}: {action}");
            }
        }
    }

    #[test]
    fn origin_has_no_password() {
        assert_eq!(origin("https://me:secret@host:8000/path?a@b").as_deref(), Some("https://host:8000"));
        assert_eq!(origin("http://localhost").as_deref(), Some("http://localhost"));
        assert_eq!(origin("localhost"), None);
    }
}
