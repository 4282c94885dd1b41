use std::time::Duration;

/// Number and size of the checks. The defaults suit a test against a local server.
#[derive(Clone, Debug)]
pub struct Options {
    /// Seed of all generated rows and ops. Default: 1.
    pub seed: u64,
    /// Generated rows of plain locks, each with up to six ops. There are twice as many shared rows, because they have
    /// more kinds of ops. With fewer than about 200, some kinds do not occur, and the check for that fails. Default:
    /// 500.
    pub cases: u32,
    /// Rounds of each race. Default: 40.
    pub rounds: u32,
    /// Concurrent writers in each race, half of them on each handle. Default: 8.
    pub writers: u32,
    /// Rows that are listed. Each has about 5 KB, so that 250 rows need more than one page of DynamoDB. Default: 250.
    pub listed: u32,
    /// Prefix of the names of all rows. The rows are removed at the end, except after a failure. Default:
    /// `conformance/`.
    pub prefix: String,
    /// Time limit of one request. Default: 30 s.
    pub timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seed: 1,
            cases: 500,
            rounds: 40,
            writers: 8,
            listed: 250,
            prefix: "conformance/".to_owned(),
            timeout: Duration::from_secs(30),
        }
    }
}
