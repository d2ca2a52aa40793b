//! `cargo xtask ci`: what CI does. The steps are in `.ci/run`, in one place.

use std::process::Command;

use crate::Result;
use crate::workspace::{at_the_root, root, succeed};

pub(crate) fn run() -> Result {
    let mut command = Command::new(root().join(".ci/run"));
    at_the_root(&mut command);
    succeed(&mut command)
}
