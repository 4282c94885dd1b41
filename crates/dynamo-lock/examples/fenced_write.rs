//! A write that takes effect only while its lock is held, whatever clocks and processes do: once in one transaction with
//! the lock's row, once by the fencing token in the data's own row.
//!
//! `cargo run -p dynamo-lock --example fenced_write` with AWS credentials, or with `AWS_ENDPOINT_URL` for another server.
//! It makes two tables, `dynamo-lock-example` and `dynamo-lock-example-orders`, and deletes them.

use std::error::Error;

use aws_sdk_dynamodb::Client as Aws;
use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem};
use dynamo_lock::{Client, DynamoDb, FenceExpression, Guard, TableOptions};

const ORDERS: &str = "dynamo-lock-example-orders";

/// With AWS's own ways to find credentials, a Region and an endpoint.
#[tokio::main(flavor = "current_thread")]
pub async fn main() -> Result<(), Box<dyn Error>> {
    let config = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
    fenced_writes(Aws::new(&config)).await
}

/// The example itself, on any DynamoDB.
pub async fn fenced_writes(aws: Aws) -> Result<(), Box<dyn Error>> {
    let store = DynamoDb::new(aws.clone(), "dynamo-lock-example");
    let orders = DynamoDb::new(aws.clone(), ORDERS);
    store.create_table(TableOptions::default()).await?;
    orders.create_table(TableOptions::default().ttl(false)).await?;

    let client = Client::builder(store.clone()).owner("the fenced write example").build()?;
    let lock = client.lock("orders/42")?;

    let guard = lock.acquire().await?;
    in_a_transaction(&aws, &store, &guard, "paid").await?;
    by_its_token(&aws, &guard, "shipped").await?;

    // A write that was prepared under the lock, and is sent only after the lock has gone to somebody else.
    let late = aws.transact_write_items().set_transact_items(Some(guarded_put(&store, &guard, "lost")?));
    let late_fence = FenceExpression::new(guard.token());
    guard.release().await?;
    let next = lock.acquire().await?;
    by_its_token(&aws, &next, "delivered").await?;

    assert!(late.send().await.is_err(), "the transaction of a former holder is refused");
    assert!(put_fenced(&aws, &late_fence, "lost").await.is_err(), "and so is its smaller token");
    println!("the former holder's writes were refused");

    next.release().await?;
    store.delete_table().await?;
    orders.delete_table().await?;
    Ok(())
}

/// The put and the check of the lock, one transaction: both or neither.
fn guarded_put(store: &DynamoDb, guard: &Guard, state: &str) -> Result<Vec<TransactWriteItem>, Box<dyn Error>> {
    let put = Put::builder()
        .table_name(ORDERS)
        .item("name", AttributeValue::S("transaction/42".into()))
        .item("state", AttributeValue::S(state.into()))
        .build()?;
    let check = store.condition_check(guard)?;
    Ok(vec![TransactWriteItem::builder().condition_check(check).build(), TransactWriteItem::builder().put(put).build()])
}

async fn in_a_transaction(aws: &Aws, store: &DynamoDb, guard: &Guard, state: &str) -> Result<(), Box<dyn Error>> {
    aws.transact_write_items().set_transact_items(Some(guarded_put(store, guard, state)?)).send().await?;
    println!("{state}, in a transaction with lock {} and token {}", guard.name(), guard.token());
    Ok(())
}

async fn by_its_token(aws: &Aws, guard: &Guard, state: &str) -> Result<(), Box<dyn Error>> {
    put_fenced(aws, &FenceExpression::new(guard.token()), state).await?;
    println!("{state}, fenced by token {}", guard.token());
    Ok(())
}

/// The row remembers the largest token that wrote it, and refuses smaller ones.
async fn put_fenced(aws: &Aws, fence: &FenceExpression, state: &str) -> Result<(), Box<dyn Error>> {
    aws.update_item()
        .table_name(ORDERS)
        .key("name", AttributeValue::S("order/42".into()))
        .update_expression(format!("SET #state = :state, {}", fence.set()))
        .condition_expression(fence.condition())
        .set_expression_attribute_names(Some(fence.names()))
        .set_expression_attribute_values(Some(fence.values()))
        .expression_attribute_names("#state", "state")
        .expression_attribute_values(":state", AttributeValue::S(state.into()))
        .send()
        .await?;
    Ok(())
}
