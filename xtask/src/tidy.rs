//! `cargo xtask tidy`: tests of the repository itself.
//!
//! Each check is a module and answers with every fault it finds, as `path:line: what is wrong`.
//!
//! Decision: docs/decisions/0037-the-code-is-measured-before-and-after.md

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::Result;
use crate::workspace::{output, root};

mod back_ends;
mod cancel_safety;
mod columns;
mod decisions;
mod links;
mod messages;
mod modules;
mod openings;
mod paths;
mod promises;
mod quotations;
mod rust_text;
mod sources;

/// A text file of the repository.
#[derive(Debug)]
struct Source {
    /// From the root of the repository, with `/`.
    path: String,
    text: String,
}

impl Source {
    /// True for what a compiler or a macro is compared with, and writes itself.
    fn is_data(&self) -> bool {
        ["/ui/", "/snapshots/"]
            .iter()
            .any(|part| self.path.contains(part))
    }
}

pub(crate) fn run() -> Result {
    let rust = sources_ending_in(".rs")?;
    let markdown = sources_ending_in(".md")?;
    let checks: [(&str, Vec<String>); 12] = [
        ("module order", modules::faults(&rust, &markdown)),
        ("back ends", back_ends::faults(&rust)),
        ("sources", sources::faults(&rust)),
        ("openings of comments", openings::faults(&rust)),
        ("columns", columns::faults(&rust)),
        ("cancel safety", cancel_safety::faults(&rust)),
        ("quotations", quotations::faults(&markdown)),
        ("links", links::faults(&markdown)),
        ("paths", paths::faults(&markdown)),
        ("decisions", decisions::faults(&rust, &markdown)),
        ("promises", promises::faults(&rust, &markdown)),
        (
            "compile errors in the documents",
            messages::faults(&markdown, &sources_ending_in(".stderr")?)?,
        ),
    ];
    let mut count = 0;
    for (name, faults) in &checks {
        println!(
            "{name}: {}",
            if faults.is_empty() {
                "in order"
            } else {
                "faults"
            }
        );
        faults.iter().for_each(|fault| println!("  {fault}"));
        count += faults.len();
    }
    if count == 0 {
        Ok(())
    } else {
        Err(format!("{count} faults").into())
    }
}

/// The files that git knows or would add.
fn sources_ending_in(ending: &str) -> Result<Vec<Source>> {
    let listed = output(Command::new("git").current_dir(root()).args([
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
    ]))?;
    let mut paths: Vec<&str> = listed
        .lines()
        .filter(|path| path.ends_with(ending))
        .collect();
    paths.sort_unstable();
    paths.dedup();
    // A file that was removed but not yet committed is still listed.
    let present = paths.into_iter().filter(|path| root().join(path).is_file());
    present
        .map(|path| {
            Ok(Source {
                path: path.to_owned(),
                text: fs::read_to_string(root().join(path))?,
            })
        })
        .collect()
}

/// The file that a path names which is written in the file at `from`.
fn resolve(from: &str, target: &str) -> PathBuf {
    root()
        .join(from)
        .parent()
        .unwrap_or(Path::new(""))
        .join(target)
}
