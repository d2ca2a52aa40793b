//! The counts of the history tests: libtest shows nothing of a test that passes, so each leaves a
//! file.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use crate::Result;
use crate::servers::Kind;
use crate::workspace::target_directory;

/// The files that the history tests of this run leave.
#[derive(Debug)]
pub(super) struct Histories {
    /// The folder that cargo gives to the tests as `CARGO_TARGET_TMPDIR`.
    directory: PathBuf,
}

impl Histories {
    /// Removes what earlier runs left, so that what is there at the end is of this one.
    pub(super) fn begin() -> Result<Self> {
        Self::begin_in(target_directory()?.join("tmp"))
    }

    fn begin_in(directory: PathBuf) -> Result<Self> {
        let histories = Self { directory };
        for kind in Kind::ALL {
            match fs::remove_file(histories.file(kind)) {
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            }
        }
        Ok(histories)
    }

    /// Prints what was counted on each back end.
    pub(super) fn print(&self) -> Result {
        for (kind, counts) in self.read()? {
            println!("\nhistory on {}:", kind.name());
            counts.lines().for_each(|line| println!("  {line}"));
        }
        Ok(())
    }

    fn read(&self) -> Result<Vec<(Kind, String)>> {
        let mut written = Vec::new();
        for kind in Kind::ALL {
            match fs::read_to_string(self.file(kind)) {
                Ok(counts) => written.push((kind, counts)),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(written)
    }

    fn file(&self, kind: Kind) -> PathBuf {
        self.directory.join(format!("history-{}.txt", kind.name()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_this_run_wrote_is_read() {
        let directory =
            std::env::temp_dir().join(format!("bento-xtask-histories-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("history-postgres.txt"), "of an earlier run").unwrap();
        let histories = Histories::begin_in(directory.clone()).unwrap();
        fs::write(directory.join("history-mysql.txt"), "lost 0").unwrap();
        let read = histories.read().unwrap();
        fs::remove_dir_all(&directory).unwrap();
        assert_eq!(read, [(Kind::Mysql, "lost 0".to_owned())]);
    }
}
