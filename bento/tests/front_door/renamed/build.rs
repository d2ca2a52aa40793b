//! Writes the sources of the quickstart with the name that this package gives to the front door.

use std::path::Path;
use std::{env, fs, io};

const QUICKSTART: &str = "../../../../examples/quickstart/src";

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed={QUICKSTART}");
    let target = env::var_os("OUT_DIR").expect("cargo sets OUT_DIR");
    for file in fs::read_dir(QUICKSTART)? {
        let file = file?;
        let text = fs::read_to_string(file.path())?.replace("bento::", "events::");
        // What stands above the first module are attributes of a crate, which `include!` refuses.
        let items = match text.find("\nmod ") {
            Some(start) => &text[start..],
            None => &text,
        };
        fs::write(Path::new(&target).join(file.file_name()), items)?;
    }
    Ok(())
}
