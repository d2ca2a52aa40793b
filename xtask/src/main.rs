//! `cargo xtask <command>`: the project's own commands.
//!
//! One module per command. What several of them need is in [`workspace`].
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "printing is what this program is for"
)]

use std::error::Error;
use std::process::ExitCode;

mod bless;
mod ci;
mod examples;
mod features;
mod servers;
mod test;
mod tidy;
mod wasm;
mod workspace;

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

const USAGE: &str = "\
usage: cargo xtask <command>

  test [--only sqlite,postgres,mysql,nats,rabbitmq,redis,kafka] [-- filter…]
             run the tests on every back end and broker that is found, and count them
  examples [--bless] [name…]
             run the examples, alone and on every server that is found, and compare
             what they print with expected_output.txt
  features   check every cargo feature of every published crate alone, and none
  tidy       test the repository itself: module order, sizes, quotations, links
  wasm       build bento-core and bento-macros for wasm32, if the target is installed
  ci         all that CI does (.ci/run)
  bless [cargo test arguments…]
             rewrite the expected compile errors and snapshots";

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let command = arguments.next().unwrap_or_default();
    let arguments: Vec<String> = arguments.collect();
    match run(&command, &arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cargo xtask {command}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &str, arguments: &[String]) -> Result {
    match command {
        "test" => test::run(arguments),
        "examples" => examples::run(arguments),
        "features" => features::run(),
        "tidy" => tidy::run(),
        "wasm" => wasm::run(),
        "ci" => ci::run(),
        "bless" => bless::run(arguments),
        _ => Err(USAGE.into()),
    }
}
