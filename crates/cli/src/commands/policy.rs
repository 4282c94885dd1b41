//! `policy`: prints the IAM policy for a use of the table.

use dynamo_lock::store::DynamoDbUrl;
use dynamo_lock::store::iam::{Resource, Use};

use crate::args::{PermittedUse, PolicyArgs};
use crate::{exit::Exit, failure::Failure, ui::output};

/// Parts of an ARN that are not known. IAM accepts no policy with them, because `<` is not part of an ARN.
const UNKNOWN_REGION: &str = "<REGION>";
const UNKNOWN_ACCOUNT: &str = "<ACCOUNT>";

/// Partitions of AWS by the beginnings of the names of their Regions. All other Regions are in the partition `aws`.
const PARTITIONS: [(&str, &str); 7] = [
    ("cn-", "aws-cn"),
    ("us-gov-", "aws-us-gov"),
    ("eusc-", "aws-eusc"),
    ("us-iso-", "aws-iso"),
    ("us-isob-", "aws-iso-b"),
    ("eu-isoe-", "aws-iso-e"),
    ("us-isof-", "aws-iso-f"),
];

/// Prints the policy.
pub fn policy(url: &DynamoDbUrl, args: &PolicyArgs, env: impl Fn(&str) -> Option<String>) -> Result<Exit, Failure> {
    match (&args.prefix, args.permitted) {
        (Some(_), PermittedUse::List) => {
            return Err(Failure::usage(
                "cannot restrict `list` to a prefix: `ls` sends a Scan, which dynamodb:LeadingKeys does not restrict, \
                 so it would read all locks; leave --prefix out, or use another table",
            ));
        }
        (Some(_), PermittedUse::Admin) => {
            return Err(Failure::usage(
                "cannot restrict `admin` to a prefix: it manages the table as a whole; leave --prefix out",
            ));
        }
        _ => {}
    }
    let table = TableArn::new(url, args.account.as_deref(), env)?;
    let statements = statements(&table, args.permitted.into(), args.prefix.as_deref());
    let statements = statements.join(",\n    ");
    let text = format!("{{\n  \"Version\": \"2012-10-17\",\n  \"Statement\": [\n    {statements}\n  ]\n}}");
    if args.json {
        // White space is not part of names, which are strings.
        let value: serde_json::Value = serde_json::from_str(&text).map_err(Failure::internal)?;
        output::print(&value.to_string())?;
    } else {
        output::print(&text)?;
        explanations(args).into_iter().for_each(output::message);
    }
    if let Some(placeholders) = table.placeholders() {
        output::message(&placeholders);
    }
    Ok(Exit::Success)
}

/// Address of the table in policies.
struct TableArn {
    partition: String,
    region: String,
    account: String,
    name: String,
}

impl TableArn {
    /// Takes the parts from the ARN, else from the options, else the Region from the environment.
    fn new(url: &DynamoDbUrl, account: Option<&str>, env: impl Fn(&str) -> Option<String>) -> Result<Self, Failure> {
        if let ["arn", partition, _, region, own_account, resource] = url.table.split(':').collect::<Vec<_>>()[..] {
            if account.is_some_and(|account| account != own_account) {
                return Err(Failure::usage("--account differs from the account in the table's ARN: leave it out"));
            }
            let name = resource.rsplit('/').next().unwrap_or_default();
            let [partition, region, account, name] = [partition, region, own_account, name].map(str::to_owned);
            return Ok(Self { partition, region, account, name });
        }
        let variable = |name| env(name).filter(|value| !value.is_empty());
        let region = url.region.clone().or_else(|| variable("AWS_REGION")).or_else(|| variable("AWS_DEFAULT_REGION"));
        let region = region.unwrap_or_else(|| UNKNOWN_REGION.to_owned());
        let found = PARTITIONS.iter().find(|(start, _)| region.starts_with(start));
        Ok(Self {
            partition: found.map_or("aws", |(_, partition)| partition).to_owned(),
            region,
            account: account.unwrap_or(UNKNOWN_ACCOUNT).to_owned(),
            name: url.table.clone(),
        })
    }

    fn arn(&self, resource: Resource) -> String {
        let Self { partition, region, account, name } = self;
        match resource {
            Resource::Item | Resource::Table => format!("arn:{partition}:dynamodb:{region}:{account}:table/{name}"),
            // These ARNs contain no Region.
            Resource::GlobalTable => format!("arn:{partition}:dynamodb::{account}:global-table/{name}"),
        }
    }

    /// Returns the message that the policy contains placeholders, if it does.
    fn placeholders(&self) -> Option<String> {
        let fixes = [
            (self.region == UNKNOWN_REGION, "<REGION>, unless --region gives it"),
            (self.account == UNKNOWN_ACCOUNT, "<ACCOUNT>, unless --account gives it"),
        ];
        let fixes: Vec<_> = fixes.into_iter().filter(|(is_unknown, _)| *is_unknown).map(|(_, fix)| fix).collect();
        (!fixes.is_empty()).then(|| format!("the policy has placeholders: replace {}", fixes.join(", and ")))
    }
}

/// Returns the statements, one for each kind of resource that the use needs.
fn statements(table: &TableArn, permitted: Use, prefix: Option<&str>) -> Vec<String> {
    let mut statements = Vec::new();
    for (resource, name) in
        [(Resource::Item, "Locks"), (Resource::Table, "Table"), (Resource::GlobalTable, "GlobalTable")]
    {
        // A Scan cannot be restricted, so that a policy with a prefix has none.
        if prefix.is_some() && resource != Resource::Item {
            continue;
        }
        let actions: Vec<_> = permitted.actions(resource).map(|action| format!("\"dynamodb:{action}\"")).collect();
        if actions.is_empty() {
            continue;
        }
        let condition = prefix.map(condition).unwrap_or_default();
        statements.push(format!(
            r#"{{
      "Sid": "{name}",
      "Effect": "Allow",
      "Action": [
        {}
      ],
      "Resource": {}{condition}
    }}"#,
            actions.join(",\n        "),
            serde_json::Value::from(table.arn(resource)),
        ));
    }
    statements
}

/// Returns the condition that admits only rows with a key that begins with the prefix.
///
/// `ForAllValues` is also true for a request without the condition key, so `Null` requires that it has one.
fn condition(prefix: &str) -> String {
    let pattern = serde_json::Value::from(escape(prefix) + "*");
    format!(
        r#",
      "Condition": {{
        "ForAllValues:StringLike": {{ "dynamodb:LeadingKeys": [{pattern}] }},
        "Null": {{ "dynamodb:LeadingKeys": "false" }}
      }}"#
    )
}

/// Escapes the characters that have a meaning in the patterns of IAM, by IAM's own variables for them.
fn escape(prefix: &str) -> String {
    let escaped = |c: char| if "*?$".contains(c) { format!("${{{c}}}") } else { c.to_string() };
    prefix.chars().map(escaped).collect()
}

/// Returns remarks about the policy.
fn explanations(args: &PolicyArgs) -> Vec<&'static str> {
    const SAME_REQUESTS: &str = "it also permits `revoke` and `reset`, because they send the same requests as `run`";
    let mut remarks = match args.permitted {
        PermittedUse::Run => vec!["the policy permits `run`, `once`, `hold` and `show`", SAME_REQUESTS],
        PermittedUse::List => vec!["the policy permits `ls`, which reads all rows of the table"],
        PermittedUse::Operate if args.prefix.is_some() => vec![
            "the policy permits `show`, `revoke` and `reset`, and the same requests of `run`",
            "it does not permit `ls`, because a Scan cannot be restricted to a prefix",
        ],
        PermittedUse::Operate => {
            vec!["the policy permits `ls`, `show`, `revoke` and `reset`, and the same requests of `run`"]
        }
        PermittedUse::Admin => vec!["the policy permits `table create`, `table check` and `table delete`"],
        PermittedUse::Transaction => vec![
            "the policy permits to acquire locks and to check them in TransactWriteItems",
            "the writes in your transactions need further permissions on your tables: PutItem, UpdateItem, DeleteItem \
             or ConditionCheckItem",
            SAME_REQUESTS,
        ],
    };
    if args.prefix.is_some() {
        remarks.push("it is restricted to names of locks that begin with the prefix");
    }
    remarks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partition_follows_from_the_region() {
        for (region, partition) in [
            ("eu-west-1", "aws"),
            ("us-east-1", "aws"),
            ("cn-north-1", "aws-cn"),
            ("us-gov-west-1", "aws-us-gov"),
            ("us-iso-east-1", "aws-iso"),
            ("us-isob-east-1", "aws-iso-b"),
            ("eusc-de-east-1", "aws-eusc"),
        ] {
            let url = DynamoDbUrl { table: "Lock".to_owned(), region: Some(region.to_owned()), ..Default::default() };
            let arn = TableArn::new(&url, Some("123456789012"), |_| None).expect("valid").arn(Resource::Table);
            assert_eq!(arn, format!("arn:{partition}:dynamodb:{region}:123456789012:table/Lock"));
        }
    }

    #[test]
    fn special_characters_of_patterns_are_escaped() {
        assert_eq!(escape("a*b?c${aws:username}"), "a${*}b${?}c${$}{aws:username}");
        assert_eq!(escape("plain/ü"), "plain/ü");
    }
}
