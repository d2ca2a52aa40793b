//! `cargo xtask ci`: what CI does. The steps are in `.ci/run`, in one place.

use std::process::Command;

use crate::Result;
use crate::workspace::{root, succeed};

pub(crate) fn run() -> Result {
    succeed(Command::new(root().join(".ci/run")).current_dir(root()))
}
