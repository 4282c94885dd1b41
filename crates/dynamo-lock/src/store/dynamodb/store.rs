use std::sync::Arc;
use std::{collections::HashMap, time::Duration};

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{
    Config, SharedInterceptor, StalledStreamProtectionConfig, retry::RetryConfig, timeout::TimeoutConfig,
};
use aws_sdk_dynamodb::operation::{put_item::PutItemError, update_item::UpdateItemError};
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValue, ReturnValuesOnConditionCheckFailure as OnFailure};

use super::error::{self, Action, Request};
use super::expression::{NpmCondition, TextCache};
use super::{
    date_source::responses_come_from_aws,
    identity::IdentityCache,
    identity::IdentityLoad,
    item,
    response_reader::{Response, ResponseReader},
    shape::Shape,
};
use crate::ConfigError;
use crate::store::{
    Answer, BoxFuture, Condition, Consistency, LockName, Op, Outcome, Page, Row, Store, StoreError, StoreErrorCause,
    StoreErrorKind, StoreOperation, attr, check_partition_key, holds,
};

type Item = HashMap<String, AttributeValue>;

/// Default time limit of one request.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);

/// Locks in a DynamoDB table. Clones are cheap and share their connections.
///
/// The table has a partition key of type string and no sort key. [`create_table`](DynamoDb::create_table) creates such
/// a table, and [`check_table`](DynamoDb::check_table) checks an existing one.
///
/// The store copies the configuration of the SDK client: Region, credentials, endpoint, HTTP client and interceptors.
/// The SDK's retries are disabled and each request has a time limit, because the protocol repeats requests itself and
/// must know when each one was sent.
///
/// The store has its own identity cache, also if the client has one, so that slow credentials cannot cost a lock:
/// credentials are loaded before a request and its time limit begin, refreshed up to five minutes before they expire,
/// and used until then. One load may take two minutes. If it fails, it is repeated while the old credentials are valid;
/// after that the store counts as one that does not answer.
#[derive(Clone, Debug)]
pub struct DynamoDb {
    pub(super) client: Client,
    /// Client without time limits and interceptors, for requests that are stopped before they are sent.
    probe: Client,
    identities: IdentityCache,
    pub(super) table: Arc<str>,
    pub(super) key: Arc<str>,
    /// Expressions that were written for this partition key.
    texts: Arc<TextCache>,
    /// AWS profile that the user named, for messages.
    pub(super) profile: Option<Arc<str>>,
    service_clock: bool,
}

impl DynamoDb {
    /// Creates a store for the table with this name or ARN. Sends no request.
    ///
    /// The service clock is enabled unless the client has a custom endpoint that is outside AWS or uses `http`, an
    /// endpoint resolver of its own, or an HTTP client of its own.
    pub fn new(client: Client, table_name_or_arn: impl Into<String>) -> Self {
        let identities = IdentityCache::new(client.config());
        let mut config = client.config().to_builder().identity_cache(identities.clone());
        config.push_interceptor(SharedInterceptor::permanent(ResponseReader));
        let config = config.build();
        let probe = probe(&config);
        Self {
            client: with_timeout(&config, ATTEMPT_TIMEOUT),
            service_clock: responses_come_from_aws(&probe),
            probe,
            identities,
            table: table_name_or_arn.into().into(),
            key: attr::NAME.into(),
            texts: Arc::default(),
            profile: None,
        }
    }

    /// Sets the name of the table's partition key, which must be of type string. Default: `name`.
    ///
    /// # Errors
    /// [`ConfigError`] if the name does not have 1 to 255 bytes, or is that of another attribute of a lock.
    pub fn partition_key(mut self, name: impl Into<String>) -> Result<Self, ConfigError> {
        let name = name.into();
        check_partition_key(&name)?;
        (self.key, self.texts) = (name.into(), Arc::default());
        Ok(self)
    }

    /// Sets whether the `Date` of responses may determine the end of leases. That is only safe if all servers that
    /// respond keep their clocks within 2 s of each other, as AWS does. Default: enabled if requests go to an `https`
    /// endpoint of AWS over the SDK's own HTTP client. Enable it for another HTTP client, or for a proxy in front of
    /// AWS, only if none of them changes the `Date`.
    /// [`ClientBuilder::service_clock`](crate::ClientBuilder::service_clock) overrides it for one client.
    #[must_use]
    pub fn service_clock(mut self, on: bool) -> Self {
        self.service_clock = on;
        self
    }

    /// Sets the time limit of one request, after which it counts as unanswered. Default: 5 s.
    ///
    /// A client also limits its requests to a quarter of the lease and at most 10 s, so a time above that limit has an
    /// effect only on [`create_table`](DynamoDb::create_table), [`delete_table`](DynamoDb::delete_table) and
    /// [`check_table`](DynamoDb::check_table).
    #[must_use]
    pub fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.client = with_timeout(self.client.config(), timeout);
        self
    }

    /// Returns the name or ARN of the table.
    pub fn table(&self) -> &str {
        &self.table
    }

    /// Returns the name of the table's partition key.
    pub fn key(&self) -> &str {
        &self.key
    }

    pub(super) fn item_key(&self, name: &str) -> Item {
        HashMap::from([(self.key.to_string(), AttributeValue::S(name.to_owned()))])
    }

    /// Describes a request for the messages of its errors.
    pub(super) fn request(&self, action: Action) -> Request<'_> {
        let region = self.client.config().region().map(AsRef::as_ref);
        Request { action, table: &self.table, key: &self.key, region, profile: self.profile.as_deref() }
    }

    /// Waits until a request need not load an identity, by a request that is stopped before it is signed.
    pub(super) async fn load_identity(&self) {
        if !self.identities.is_settled() {
            // The error of a load is that of the next request, too.
            let _stopped = self.probe.list_tables().customize().interceptor(IdentityLoad).send().await;
        }
    }

    /// Returns the row of an item.
    fn row(&self, item: Item) -> Row {
        item::row(item, &self.key)
    }

    async fn perform(&self, op: &Op) -> Result<Outcome, StoreError> {
        let condition = op.condition();
        let shape = match Shape::of_write(&condition, op.changes()) {
            Ok(shape) => shape,
            Err(row) => return self.put(op, row).await,
        };
        let texts = self.texts.get(&self.key, &shape);
        let request = self
            .client
            .update_item()
            .table_name(&*self.table)
            .set_key(Some(self.item_key(op.name.as_str())))
            .condition_expression(&*texts.condition)
            .update_expression(&*texts.update)
            .set_expression_attribute_names(Some(texts.names(&shape)))
            .set_expression_attribute_values(Some(shape.into_values()))
            .set_return_values(op.kind.returns_row().then_some(ReturnValue::AllNew))
            .return_values_on_condition_check_failure(OnFailure::AllOld);
        match request.send().await {
            Ok(output) => {
                let row = output.attributes.map(|item| self.row(item));
                let is_readable = if op.kind.returns_row() { row.is_some() } else { Response::has_body() };
                if !is_readable {
                    return Err(self.request(Action::UPDATE_ITEM).unreadable());
                }
                Ok(Outcome::Applied(row))
            }
            Err(error) => match error::definite(&error) {
                Some(UpdateItemError::ConditionalCheckFailedException(failed)) => {
                    self.conflict(&condition, failed.item.clone().map(|item| self.row(item)))
                }
                _ => Err(self.request(Action::UPDATE_ITEM).error(error)),
            },
        }
    }

    /// Replaces a row as npm dynamo-lock does, with the same texts in the request. Users of npm dynamo-lock test with
    /// mocks of DynamoDB that may know only these texts.
    async fn put(&self, op: &Op, row: Row) -> Result<Outcome, StoreError> {
        let condition = NpmCondition::new(&op.condition());
        let mut item: Item = row.attributes().map(|(n, v)| (n.to_owned(), item::attribute(v))).collect();
        item.extend(self.item_key(op.name.as_str()));
        let request = self
            .client
            .put_item()
            .table_name(&*self.table)
            .set_item(Some(item))
            .condition_expression(condition.text)
            .set_expression_attribute_names(condition.names)
            .set_expression_attribute_values(condition.values)
            .return_values_on_condition_check_failure(OnFailure::AllOld);
        match request.send().await {
            Ok(_) if Response::has_body() => Ok(Outcome::Applied(None)),
            Ok(_) => Err(self.request(Action::PUT_ITEM).unreadable()),
            Err(error) => match error::definite(&error) {
                // A mock may return no row. The caller then reads the row.
                Some(PutItemError::ConditionalCheckFailedException(failed)) => {
                    Ok(Outcome::Conflict(failed.item.clone().map(|item| self.row(item))))
                }
                _ => Err(self.request(Action::PUT_ITEM).error(error)),
            },
        }
    }

    /// Returns the conflict, unless the server does not support `ALL_OLD` for a failed condition: its rows would seem
    /// to be missing all the time.
    fn conflict(&self, condition: &Condition, row: Option<Row>) -> Result<Outcome, StoreError> {
        if row.is_none() && holds(None, condition) {
            let problem = format!("the server of table {} does not return the row of a failed condition", self.table);
            return Err(StoreError::new(StoreErrorKind::Refused, problem)
                .with_operation(StoreOperation::Write)
                .with_cause(StoreErrorCause::NoConflictRow)
                .with_fix("upgrade the server to one that supports ReturnValuesOnConditionCheckFailure"));
        }
        Ok(Outcome::Conflict(row))
    }

    async fn get(&self, name: &str, strong: bool) -> Result<Option<Row>, StoreError> {
        let key = Some(self.item_key(name));
        let request = self.client.get_item().table_name(&*self.table).set_key(key).consistent_read(strong);
        let output = request.send().await;
        let output = output.map_err(|error| self.request(Action::GET_ITEM).error(error))?;
        Ok(output.item.map(|item| self.row(item)))
    }

    async fn scan(&self, after: Option<&str>) -> Result<Page, StoreError> {
        let start = after.map(|after| self.item_key(after));
        let request = self.client.scan().table_name(&*self.table).set_exclusive_start_key(start);
        let output = request.send().await;
        let output = output.map_err(|error| self.request(Action::SCAN).error(error))?;
        let name = |item: &Item| item.get(&*self.key)?.as_s().ok().cloned();
        let next = output.last_evaluated_key.as_ref().and_then(name);
        let rows = output.items.unwrap_or_default().into_iter();
        Ok(Page { rows: rows.filter_map(|item| Some((name(&item)?, self.row(item)))).collect(), next })
    }
}

/// Returns the answer to the request that `start` begins, with the `Date` of the response. The future of a request is
/// large, so it is created in its place.
fn answer<'a, T: 'a, F>(start: impl FnOnce() -> F + Send + 'a) -> BoxFuture<'a, Answer<T>>
where
    F: Future<Output = Result<T, StoreError>> + Send + 'a,
{
    Box::pin(Response::scope(async move { Answer { result: start().await, date: Response::date() } }))
}

impl Store for DynamoDb {
    fn ready(&self) -> Option<BoxFuture<'_, ()>> {
        if self.identities.is_settled() { None } else { Some(Box::pin(self.load_identity())) }
    }

    fn read<'a>(&'a self, name: &'a LockName, consistency: Consistency) -> BoxFuture<'a, Answer<Option<Row>>> {
        answer(move || self.get(name.as_str(), consistency == Consistency::Strong))
    }

    fn write<'a>(&'a self, op: &'a Op) -> BoxFuture<'a, Answer<Outcome>> {
        answer(move || self.perform(op))
    }

    fn list<'a>(&'a self, after: Option<&'a str>) -> BoxFuture<'a, Answer<Page>> {
        answer(move || self.scan(after))
    }

    fn service_clock(&self) -> bool {
        self.service_clock
    }
}

/// Returns a client with this time limit per request and without retries.
fn with_timeout(config: &Config, timeout: Duration) -> Client {
    let timeouts = config.timeout_config().map_or_else(TimeoutConfig::builder, TimeoutConfig::to_builder);
    let timeouts = timeouts.operation_attempt_timeout(timeout).build();
    let config = config.to_builder().retry_config(RetryConfig::disabled()).timeout_config(timeouts);
    // The time limit covers stalled responses too, which are a few hundred bytes long.
    let config = config.stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    Client::from_conf(config.build())
}

/// Returns a client for requests that are stopped before they are sent. It has no time limits, because there may be no
/// runtime yet and a load of an identity has its own, and none of the user's interceptors, because nothing is sent.
fn probe(config: &Config) -> Client {
    let mut quiet = config.to_builder().retry_config(RetryConfig::disabled()).timeout_config(TimeoutConfig::disabled());
    quiet.set_interceptors([]);
    Client::from_conf(quiet.build())
}
