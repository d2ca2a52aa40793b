//! `cargo xtask bless`: rewrites the expected compile errors and snapshots; read the diff before
//! committing it.

use crate::Result;
use crate::workspace::{cargo, succeed};

pub(crate) fn run(arguments: &[String]) -> Result {
    let mut command = cargo();
    command
        .arg("test")
        .env("TRYBUILD", "overwrite")
        .env("UPDATE_EXPECT", "1");
    if arguments.is_empty() {
        command.arg("--workspace");
    }
    succeed(command.args(arguments))
}
