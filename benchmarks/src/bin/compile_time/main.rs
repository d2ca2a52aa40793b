//! `cargo run --release --bin compile_time [-- --rounds 7] [--events 100] [--aggregates 20]`
//!
//! The processor time that the compiler needs for a crate of events and aggregates, and for the
//! same structs with serde alone.
//!
//! The two crates are written below `target/compile_time`, their dependencies are built once, and
//! then each is compiled in turn. The program is the wrapper of the compiler as well: cargo starts
//! it in place of `rustc`, so that what is measured is the compiler alone.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use bento_benchmarks::cost::Cost;
use bento_benchmarks::rounds::{Measure, Rounds, cell};
use bento_benchmarks::{Result, arguments, environment};

mod compiler;
mod sources;

use self::sources::Size;

/// The compiled sources.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Contender {
    /// Events and aggregates of Bento.
    Bento,
    /// The same structs with serde, each written and read once.
    Serde,
}

/// The extent of the compilation.
#[derive(Clone, Copy, Debug)]
enum Extent {
    /// `cargo check`: metadata, no machine code.
    Check,
    /// `cargo build`.
    Build,
}

fn main() -> Result {
    if compiler::is_wrapper() {
        return compiler::run();
    }
    arguments::expect_only(&["rounds", "events", "aggregates"])?;
    let rounds: usize = arguments::option("rounds", 7)?;
    let size = Size {
        events: arguments::option("events", 100)?,
        aggregates: arguments::option("aggregates", 20)?,
    };
    let workspace = Workspace::write(size)?;
    println!("{}\n", environment::line(&compiler::version()?));
    println!(
        "{} events, {} aggregates, {rounds} rounds; processor time of rustc\n",
        size.events, size.aggregates
    );
    println!("| | Bento | serde alone | Bento ÷ serde |\n|---|---:|---:|---:|");
    for extent in [Extent::Check, Extent::Build] {
        let measured = workspace.measure(extent, rounds)?;
        let median = |contender| {
            cell(
                measured
                    .median(Measure::Processor, contender)
                    .map(|time| format!("{:.2} s", time.as_secs_f64())),
            )
        };
        let ratio = cell(measured.ratio(Measure::Processor, Contender::Bento, Contender::Serde));
        println!(
            "| `cargo {extent}` | {} | {} | {ratio} |",
            median(Contender::Bento),
            median(Contender::Serde)
        );
    }
    Ok(())
}

/// The two crates on the disk.
struct Workspace {
    root: PathBuf,
}

impl Workspace {
    fn write(size: Size) -> Result<Self> {
        let benchmarks = Path::new(env!("CARGO_MANIFEST_DIR"));
        let (bento_core, root) = (
            benchmarks.join("../bento-core").canonicalize()?,
            benchmarks.join("target/compile_time"),
        );
        fs::create_dir_all(&root)?;
        fs::write(root.join("Cargo.toml"), sources::WORKSPACE)?;
        // The versions of the dependencies are those of the other benchmarks.
        fs::copy(benchmarks.join("Cargo.lock"), root.join("Cargo.lock"))?;
        for contender in [Contender::Bento, Contender::Serde] {
            let package = root.join(contender.package());
            fs::create_dir_all(package.join("src"))?;
            fs::write(
                package.join("Cargo.toml"),
                sources::manifest(contender, &bento_core),
            )?;
            fs::write(
                package.join("src/lib.rs"),
                sources::library(contender, size),
            )?;
        }
        Ok(Self { root })
    }

    fn measure(&self, extent: Extent, rounds: usize) -> Result<Rounds<Contender>> {
        let mut measured = Rounds::new(&[Contender::Bento, Contender::Serde]);
        // The first compilations build the dependencies.
        for contender in [Contender::Bento, Contender::Serde] {
            self.compile(extent, contender)?;
        }
        for round in 0..rounds {
            for contender in measured.turns(round) {
                let processor = self.compile(extent, contender)?;
                measured.record(
                    contender,
                    Cost {
                        elapsed: processor,
                        processor: Some(processor),
                        client: None,
                    },
                );
            }
        }
        Ok(measured)
    }

    /// The processor time of the compiler for one of the crates, whose sources are touched before.
    fn compile(&self, extent: Extent, contender: Contender) -> Result<Duration> {
        let library = self.root.join(contender.package()).join("src/lib.rs");
        fs::File::options()
            .append(true)
            .open(&library)?
            .set_modified(std::time::SystemTime::now())?;
        let report = self.root.join("processor_time");
        fs::write(&report, "")?;
        let mut cargo = Command::new("cargo");
        cargo
            .arg(extent.to_string())
            .args(["--quiet", "--lib", "--package", contender.package()]);
        compiler::wrap(&mut cargo, &report)?;
        let status = cargo
            .current_dir(&self.root)
            .env("CARGO_INCREMENTAL", "0")
            .env_remove("CARGO_TARGET_DIR")
            .status()?;
        if !status.success() {
            return Err(
                format!("`cargo {extent} --package {}` failed", contender.package()).into(),
            );
        }
        compiler::reported(&report)
    }
}

impl Contender {
    fn package(self) -> &'static str {
        match self {
            Self::Bento => "events-of-bento",
            Self::Serde => "structs-of-serde",
        }
    }
}

impl fmt::Display for Extent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Check => "check",
            Self::Build => "build",
        })
    }
}
