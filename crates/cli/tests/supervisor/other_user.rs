//! Programs run as a user other than root, because limits and permissions do not apply to root.

use std::{os::unix::fs::chown, process::Command};

use crate::support::{Fixture, PROGRAM, report_skipped};

/// A user other than root: this user, or `nobody` if the tests run as root.
pub struct OtherUser<'a>(&'a Fixture);

impl<'a> OtherUser<'a> {
    /// Gives the directory to the user. If the tests run as root and `setpriv` does not work, reports the test as
    /// skipped and returns `None`.
    pub fn new(test: &str, fixture: &'a Fixture) -> Option<Self> {
        let other_user = Self(fixture);
        let version = other_user.command(PROGRAM, &["--version"]).status();
        if is_root() {
            chown(fixture.path(""), Some(NOBODY_ID), Some(NOBODY_ID)).expect("root may change the owner");
        }
        let can_run = version.is_ok_and(|status| status.success());
        if !can_run {
            report_skipped(test, &format!("no user other than root can run {PROGRAM} with `setpriv`"));
        }
        can_run.then_some(other_user)
    }

    /// Returns a command that runs the program as this user.
    pub fn command(&self, program: &str, arguments: &[&str]) -> Command {
        if !is_root() {
            return self.0.command_of(program, arguments);
        }
        let (user, group) = (format!("--reuid={NOBODY_ID}"), format!("--regid={NOBODY_ID}"));
        self.0.command_of("setpriv", &[&[&user, &group, "--clear-groups", "--", program], arguments].concat())
    }
}

/// User and group ID of `nobody`.
const NOBODY_ID: u32 = 65534;

pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}
