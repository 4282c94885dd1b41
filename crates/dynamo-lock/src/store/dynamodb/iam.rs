//! The IAM actions that requests to DynamoDB need, and the requests that each use of locks sends.

use Resource::{GlobalTable, Item, Table};
use Use::{Admin, List, Operate, Run, Transaction};

/// Use of locks that a policy can permit. The command line prints a policy for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Acquire, renew, release and read locks.
    Run,
    /// List locks.
    List,
    /// List and read locks, and end acquisitions.
    Operate,
    /// Create, check and delete the table.
    Admin,
    /// Acquire locks, and check them in transactions of the user.
    Transaction,
}

/// Resource that a policy names for an action.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// The table. The condition key `dynamodb:LeadingKeys` contains the partition key of the row.
    Item,
    /// The table as a whole.
    Table,
    /// The global table of version 2017.11.29 with the same name, which has an ARN of its own.
    GlobalTable,
}

/// One line of [`REQUIREMENTS`].
#[derive(Clone, Copy, Debug)]
pub struct Requirement {
    /// Operation of the request.
    pub operation: &'static str,
    /// Parameter of the request, or of an element of its `TransactItems`, that needs the action. `None` if each request
    /// needs it.
    pub parameter: Option<&'static str>,
    /// Action in IAM policies, without `dynamodb:`.
    pub action: &'static str,
    /// Resource of the action.
    pub resource: Resource,
    /// Uses that send such requests for this table.
    pub uses: &'static [Use],
}

/// The action that each request needs.
///
/// The operations without a use are those of npm dynamo-lock (`PutItem`), and the user's own writes in a transaction.
#[rustfmt::skip]
pub const REQUIREMENTS: &[Requirement] = &[
    row("GetItem",            None,                   "GetItem",             Item,        &[Run, Operate, Transaction]),
    row("UpdateItem",         None,                   "UpdateItem",          Item,        &[Run, Operate, Transaction]),
    row("PutItem",            None,                   "PutItem",             Item,        &[]),
    row("TransactWriteItems", Some("ConditionCheck"), "ConditionCheckItem",  Item,        &[Transaction]),
    row("TransactWriteItems", Some("Put"),            "PutItem",             Item,        &[]),
    row("TransactWriteItems", Some("Update"),         "UpdateItem",          Item,        &[]),
    row("TransactWriteItems", Some("Delete"),         "DeleteItem",          Item,        &[]),
    row("Scan",               None,                   "Scan",                Table,       &[List, Operate]),
    row("CreateTable",        None,                   "CreateTable",         Table,       &[Admin]),
    row("CreateTable",        Some("Tags"),           "TagResource",         Table,       &[Admin]),
    row("UpdateTimeToLive",   None,                   "UpdateTimeToLive",    Table,       &[Admin]),
    row("DescribeTable",      None,                   "DescribeTable",       Table,       &[Admin]),
    row("DescribeTimeToLive", None,                   "DescribeTimeToLive",  Table,       &[Admin]),
    row("DeleteTable",        None,                   "DeleteTable",         Table,       &[Admin]),
    row("DescribeGlobalTable",None,                   "DescribeGlobalTable", GlobalTable, &[Admin]),
];

const fn row(
    operation: &'static str,
    parameter: Option<&'static str>,
    action: &'static str,
    resource: Resource,
    uses: &'static [Use],
) -> Requirement {
    Requirement { operation, parameter, action, resource, uses }
}

impl Use {
    /// Returns the actions that this use needs on this resource, in the order of [`REQUIREMENTS`].
    pub fn actions(self, resource: Resource) -> impl Iterator<Item = &'static str> {
        let needed = REQUIREMENTS.iter().filter(move |row| row.uses.contains(&self) && row.resource == resource);
        needed.map(|row| row.action)
    }
}

/// Returns the action that is missing if DynamoDB denies a request with this operation and this message. AWS names the
/// action in the message; without a known one in it, this is the action that each such request needs.
pub(super) fn denied_action(operation: &'static str, message: &str) -> &'static str {
    let mut needed = REQUIREMENTS.iter().filter(|row| row.operation == operation).map(|row| row.action);
    let names = |action: &&str| {
        let mut words = message.split(|c: char| !c.is_ascii_alphanumeric() && c != ':');
        words.any(|word| word.strip_prefix("dynamodb:") == Some(action))
    };
    needed.find(names).unwrap_or(operation)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn denied_action_is_that_of_the_message() {
        let message = |action: &str| format!("User: u is not authorized to perform: dynamodb:{action} on resource: r");
        assert_eq!(denied_action("CreateTable", &message("TagResource")), "TagResource");
        assert_eq!(denied_action("CreateTable", &message("CreateTable")), "CreateTable");
        // Neither an unknown action nor a part of a name is taken from the text.
        assert_eq!(denied_action("CreateTable", &message("TagResourceX")), "CreateTable");
        assert_eq!(denied_action("UpdateItem", "no"), "UpdateItem");
    }

    /// The same action of two requests would appear twice in a policy.
    #[test]
    fn policy_names_each_action_once() {
        for case in [Run, List, Operate, Admin, Transaction] {
            let all = [Item, Table, GlobalTable].map(|resource| case.actions(resource).collect::<Vec<_>>()).concat();
            let mut unique = all.clone();
            unique.sort_unstable();
            unique.dedup();
            assert_eq!(unique.len(), all.len(), "{case:?}: {all:?}");
            assert!(!all.is_empty(), "{case:?}");
        }
    }
}
