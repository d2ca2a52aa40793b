//! The line that says where a run was made.

use std::fs;
use std::thread;

/// Processor, cores, operating system and the version of the database, for the head of a report.
pub fn line(database_version: &str) -> String {
    let cores = thread::available_parallelism().map_or(0, usize::from);
    let (system, architecture) = (std::env::consts::OS, std::env::consts::ARCH);
    format!(
        "{} × {cores}, {architecture} {system}, {database_version}",
        processor()
    )
}

fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text
        .lines()
        .find(|line| line.starts_with("model name"))
        .and_then(|line| line.split_once(": "));
    model.map_or_else(|| "processor".to_owned(), |(_, model)| model.to_owned())
}
