//! A folder in memory for data that ends with the run: making and dropping a database is work for
//! the file system above all, and takes a quarter of the time there.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::workspace::output;

/// The folder whose files Linux keeps in memory.
const MEMORY: &str = "/dev/shm";

/// The room that is needed: the servers write one gigabyte, the tests less.
const KILOBYTES: u64 = 3 << 20;

/// The folder for temporary files: in memory if there is room, else the usual one.
pub(crate) fn temporary_folder() -> PathBuf {
    let has_room = [room_in(Path::new(MEMORY)), free_memory()]
        .iter()
        .all(|kilobytes| kilobytes.is_some_and(|kilobytes| kilobytes >= KILOBYTES));
    if has_room {
        MEMORY.into()
    } else {
        env::temp_dir()
    }
}

fn room_in(folder: &Path) -> Option<u64> {
    let mut ask = Command::new("df");
    let table = output(ask.arg("-Pk").arg(folder)).ok()?;
    table
        .lines()
        .nth(1)?
        .split_whitespace()
        .nth(3)?
        .parse()
        .ok()
}

fn free_memory() -> Option<u64> {
    let memory = fs::read_to_string("/proc/meminfo").ok()?;
    let line = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_folder_is_there_and_a_missing_one_has_no_room() {
        assert!(temporary_folder().is_dir());
        assert!(room_in(&env::temp_dir()).is_some());
        assert_eq!(room_in(Path::new("/there/is/no/such/folder")), None);
    }
}
