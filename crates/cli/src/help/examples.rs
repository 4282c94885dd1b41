//! The examples of each command, for `--help` and the manual page. A test runs them as printed.

/// Shell lines with their purpose.
#[derive(Clone, Copy, Debug)]
pub struct Example {
    pub purpose: &'static str,
    pub lines: &'static str,
}

const fn example(purpose: &'static str, lines: &'static str) -> Example {
    Example { purpose, lines }
}

/// Examples by command, in the order of the commands. The empty name is the program itself.
const EXAMPLES: &[(&str, &[Example])] = &[
    (
        "",
        &[
            example("Run a report on one host at a time", "dynamo-lock run nightly -- ./report.sh"),
            example(
                "From cron on many hosts, with locks in DynamoDB",
                "dynamo-lock --table Lock run --skip nightly -- ./report.sh",
            ),
            example("List the locks that are held", "dynamo-lock ls --held"),
        ],
    ),
    (
        "run",
        &[
            example("Run a backup, and wait while another host runs it", "dynamo-lock run backup -- ./backup.sh"),
            example("From cron: do nothing if another host runs it", "dynamo-lock run --skip nightly -- ./report.sh"),
            example(
                "Wait for at most a minute, and end the command within an hour",
                "dynamo-lock run -w 1m --max-hold 1h deploy -- ./deploy.sh",
            ),
            example(
                "Pass the fencing token on to the storage that the lock protects",
                "dynamo-lock run migrate -- sh -c './migrate.sh --fence \"$DYNAMO_LOCK_TOKEN\"'",
            ),
            example("Keep one instance of a service active", "dynamo-lock run --forever scheduler -- ./scheduler.sh"),
            example("Let three runs work at the same time", "dynamo-lock run --slots 3 convert -- ./convert.sh"),
        ],
    ),
    (
        "once",
        &[
            example(
                "Run a migration on one of the hosts that try",
                "dynamo-lock once orders/migration-7 -- ./migrate.sh",
            ),
            example("Run a job once a night", "dynamo-lock once --for 23h nightly-job -- ./report.sh"),
            example(
                "Forget a success, so that the command runs again",
                "dynamo-lock once --reset --yes orders/migration-7",
            ),
        ],
    ),
    (
        "hold",
        &[
            example("Hold a lock from a script", "token=$(dynamo-lock hold maintenance 10m --owner \"$USER\")"),
            example("Send one digest a day", "dynamo-lock hold \"digest/$(date +%F)\" 1d && ./send.sh"),
        ],
    ),
    (
        "show",
        &[
            example("Find out who holds a lock", "dynamo-lock show deploy"),
            example("Read its token in a script", "dynamo-lock show deploy --json | jq .token"),
        ],
    ),
    (
        "ls",
        &[
            example("List the held locks with a common prefix", "dynamo-lock ls --held --prefix orders/"),
            example("Count the locks in each state", "dynamo-lock ls --json | jq -r .state | sort | uniq -c"),
        ],
    ),
    #[cfg(feature = "ui")]
    (
        "ui",
        &[
            example("Show the locks of a table in the browser", "dynamo-lock --table Lock ui"),
            example("Let the page revoke, and scan once a minute", "dynamo-lock ui --allow-revoke --interval 1m"),
        ],
    ),
    (
        "revoke",
        &[
            example(
                "End the acquisition of a holder that is stuck",
                "token=$(dynamo-lock show deploy --json | jq .token)\n\
                 dynamo-lock revoke deploy --token \"$token\" --yes",
            ),
            example(
                "Free the lock at once, if its holder has certainly ended",
                "token=$(dynamo-lock show deploy --json | jq .token)\n\
                 dynamo-lock revoke deploy --token \"$token\" --force --yes",
            ),
        ],
    ),
    ("reset", &[example("Use a name with --slots again for a plain lock", "dynamo-lock reset convert")]),
    (
        "table create",
        &[
            example("Create the table that --table names", "dynamo-lock --table Lock table create"),
            example("The same with fixed capacity", "dynamo-lock --table Lock table create --provisioned 5,5"),
        ],
    ),
    (
        "table print",
        &[
            example(
                "Describe the table for Terraform",
                "dynamo-lock --table Lock table print --terraform --tag team=payments > lock.tf",
            ),
            example(
                "Describe it for CloudFormation",
                "dynamo-lock --table Lock table print --cloudformation > lock.json",
            ),
            example(
                "With alarms for CloudWatch",
                "dynamo-lock --table Lock table print --terraform --alarms > lock.tf",
            ),
        ],
    ),
    ("table delete", &[example("Delete the table without a question", "dynamo-lock --table Lock table delete --yes")]),
    ("table check", &[example("Check key, TTL and status of the table", "dynamo-lock --table Lock table check")]),
    (
        "cost",
        &[
            example("Estimate a thousand locks that are held all day", "dynamo-lock cost --locks 1000 --lease 60s"),
            example(
                "Estimate a nightly job on 20 hosts",
                "dynamo-lock cost --holders 0 --acquisitions 1 --waiters 0.1",
            ),
        ],
    ),
    (
        "doctor",
        &[
            example("Check the way to a table, and the table", "dynamo-lock --table Lock doctor"),
            example(
                "List what is not ok with the default store",
                "dynamo-lock doctor --json | jq -r '.checks[] | select(.state != \"ok\")'",
            ),
        ],
    ),
    (
        "policy",
        &[
            example(
                "Permit a service to use the locks below orders/",
                "dynamo-lock --table Lock policy run --prefix orders/ \\\n  \
                 --region us-east-1 --account 123456789012 > policy.json",
            ),
            example("See what operators need", "dynamo-lock --table Lock policy operate"),
        ],
    ),
    (
        "completions",
        &[
            example("Complete commands in this shell", "source <(dynamo-lock completions bash)"),
            example(
                "Complete them in each new shell",
                "dynamo-lock completions fish > ~/.config/fish/completions/dynamo-lock.fish",
            ),
        ],
    ),
    ("man", &[example("Read the manual page", "dynamo-lock man | man -l -")]),
];

/// Returns the examples of a command, or those of the commands below it.
pub fn of(path: &str) -> Vec<Example> {
    let below = |name: &str| !path.is_empty() && name.strip_prefix(path).is_some_and(|rest| rest.starts_with(' '));
    let found = EXAMPLES.iter().filter(|(name, _)| *name == path || below(name));
    found.flat_map(|(_, examples)| *examples).copied().collect()
}

#[cfg(test)]
pub fn commands() -> impl Iterator<Item = &'static str> {
    EXAMPLES.iter().map(|(name, _)| *name)
}
