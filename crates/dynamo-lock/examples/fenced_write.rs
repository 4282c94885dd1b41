//! Writes that are applied only while the lock is held, even if a process is paused or a clock is wrong. The example
//! shows two ways: a transaction that checks the lock's row, and a fencing token that is stored in the written item.
//!
//! Run it with `cargo run -p dynamo-lock --example fenced_write` and AWS credentials, or with `AWS_ENDPOINT_URL` for
//! another server. It creates the tables `dynamo-lock-example` and `dynamo-lock-example-orders`, and deletes them.

use std::error::Error;

use dynamo_lock::aws_sdk_dynamodb::Client as Aws;
use dynamo_lock::aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem};
use dynamo_lock::{Client, DynamoDb, FenceExpression, Guard, TableOptions};

const ORDERS: &str = "dynamo-lock-example-orders";

/// Runs the example with the default credentials, Region and endpoint of AWS.
#[tokio::main(flavor = "current_thread")]
pub async fn main() -> Result<(), Box<dyn Error>> {
    let config = aws_config::load_defaults(aws_config::BehaviorVersion::latest()).await;
    fenced_writes(Aws::new(&config)).await
}

/// Runs the example on the server of `aws`.
pub async fn fenced_writes(aws: Aws) -> Result<(), Box<dyn Error>> {
    let store = DynamoDb::new(aws.clone(), "dynamo-lock-example");
    let orders = DynamoDb::new(aws.clone(), ORDERS);
    store.create_table(TableOptions::default()).await?;
    orders.create_table(TableOptions::default().ttl(false)).await?;

    let client = Client::builder(store.clone()).owner("fenced_write example").build()?;
    let lock = client.lock("orders/42")?;

    let guard = lock.acquire().await?;
    put_in_transaction(&aws, &store, &guard, "paid").await?;
    put_with_token(&aws, &guard, "shipped").await?;

    // These writes are prepared under the lock, but sent after another client has acquired it.
    let late = aws.transact_write_items().set_transact_items(Some(guarded_put(&store, &guard, "lost")?));
    let late_fence = FenceExpression::new(guard.token());
    guard.release().await?;
    let next = lock.acquire().await?;
    put_with_token(&aws, &next, "delivered").await?;

    assert!(late.send().await.is_err(), "the transaction of a former holder is rejected");
    assert!(put_fenced(&aws, &late_fence, "lost").await.is_err(), "the smaller token of a former holder is rejected");
    println!("the writes of the former holder were rejected");

    next.release().await?;
    store.delete_table().await?;
    orders.delete_table().await?;
    Ok(())
}

/// Returns a transaction that writes the order only if `guard` holds its lock.
fn guarded_put(store: &DynamoDb, guard: &Guard, state: &str) -> Result<Vec<TransactWriteItem>, Box<dyn Error>> {
    let put = Put::builder()
        .table_name(ORDERS)
        .item("name", AttributeValue::S("transaction/42".into()))
        .item("state", AttributeValue::S(state.into()))
        .build()?;
    let check = store.condition_check(guard)?;
    Ok(vec![TransactWriteItem::builder().condition_check(check).build(), TransactWriteItem::builder().put(put).build()])
}

async fn put_in_transaction(aws: &Aws, store: &DynamoDb, guard: &Guard, state: &str) -> Result<(), Box<dyn Error>> {
    aws.transact_write_items().set_transact_items(Some(guarded_put(store, guard, state)?)).send().await?;
    println!("{state}, in a transaction with lock {} and token {}", guard.name(), guard.token());
    Ok(())
}

async fn put_with_token(aws: &Aws, guard: &Guard, state: &str) -> Result<(), Box<dyn Error>> {
    put_fenced(aws, &FenceExpression::new(guard.token()), state).await?;
    println!("{state}, fenced by token {}", guard.token());
    Ok(())
}

/// Writes the order unless it contains a greater token, and stores the token in it.
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
