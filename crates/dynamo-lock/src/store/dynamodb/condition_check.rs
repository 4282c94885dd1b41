use aws_sdk_dynamodb::types::{ConditionCheck, ReturnValuesOnConditionCheckFailure as OnFailure};

use super::{DynamoDb, expression::Texts, shape::Shape};
use crate::renewal::Holding;
use crate::store::{Condition, LockName, TableMismatch};
use crate::{Guard, GuardSet, Permit};

impl DynamoDb {
    /// Returns a `ConditionCheck` that passes only while `guard` holds its lock. Put it into your own
    /// `TransactWriteItems`: the other writes of the transaction are then applied only if the lock is held.
    ///
    /// Renewals do not invalidate the check. After the lock was released, was revoked or has passed to another holder,
    /// the check fails for ever. It still passes after the lease has expired as long as no other client has acquired
    /// the lock, because the row shows no other holder. Sends no request.
    ///
    /// # Errors
    /// [`TableMismatch`] unless the guard's client was built with this store, a clone of it, or another [`DynamoDb`]
    /// with the same table name or ARN and the same partition key. Accounts, Regions and endpoints are not compared:
    /// the check passes only in a table that contains the lock's row, so send it to the table of the lock.
    pub fn condition_check(&self, guard: &Guard) -> Result<ConditionCheck, TableMismatch> {
        self.check_of(&guard.holding)
    }

    /// Returns one `ConditionCheck` for each lock of `guards`, sorted by name, as
    /// [`condition_check`](DynamoDb::condition_check) does for one lock. Put all of them into your own
    /// `TransactWriteItems`, which may have up to 100 items. Sends no request.
    ///
    /// # Errors
    /// [`TableMismatch`] as for one lock.
    pub fn condition_checks(&self, guards: &GuardSet) -> Result<Vec<ConditionCheck>, TableMismatch> {
        guards.holdings().iter().map(|holding| self.check_of(holding)).collect()
    }

    /// Returns a `ConditionCheck` that passes only while `permit` holds its slot, as
    /// [`condition_check`](DynamoDb::condition_check) does for a lock. Sends no request.
    ///
    /// # Errors
    /// [`TableMismatch`] as for a lock.
    pub fn condition_check_of_permit(&self, permit: &Permit) -> Result<ConditionCheck, TableMismatch> {
        self.check_of(&permit.guard().holding)
    }

    fn check_of(&self, holding: &Holding) -> Result<ConditionCheck, TableMismatch> {
        let store: &dyn std::any::Any = &*holding.core.store;
        match store.downcast_ref::<Self>() {
            Some(store) if store.table == self.table && store.key == self.key => {
                Ok(self.check(&holding.name, &holding.lease.with(|held| held.condition())))
            }
            _ => Err(TableMismatch { name: holding.name.clone(), table: self.table.to_string() }),
        }
    }

    /// Returns a `ConditionCheck` for any condition, so that tests can compare the expressions with
    /// [`holds`](crate::store::holds).
    #[cfg(feature = "conformance")]
    #[doc(hidden)]
    pub fn check_condition(&self, name: &LockName, condition: &Condition) -> ConditionCheck {
        self.check(name, condition)
    }

    fn check(&self, name: &LockName, condition: &Condition) -> ConditionCheck {
        let shape = Shape::of_condition(condition);
        let texts = Texts::new(&self.key, &shape);
        ConditionCheck::builder()
            .table_name(&*self.table)
            .set_key(Some(self.item_key(name.as_str())))
            .condition_expression(&*texts.condition)
            .set_expression_attribute_names(Some(texts.names(&shape)))
            .set_expression_attribute_values(Some(shape.into_values()).filter(|values| !values.is_empty()))
            .return_values_on_condition_check_failure(OnFailure::AllOld)
            .build()
            .expect("table, key and condition are set")
    }
}
