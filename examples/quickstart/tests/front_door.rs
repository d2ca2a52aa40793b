//! The example of the README, through the front door alone.

use std::process::Command;

#[test]
fn the_readme_example_runs_through_the_front_door() {
    let program = Command::new(env!("CARGO_BIN_EXE_quickstart"))
        .env_remove("DATABASE_URL")
        .output()
        .expect("the program runs");
    let printed = String::from_utf8_lossy(&program.stdout);
    let expected = include_str!("../expected_output.txt");
    assert_eq!(
        printed,
        expected,
        "{}",
        String::from_utf8_lossy(&program.stderr)
    );
}
