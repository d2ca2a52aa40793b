//! The message of the compiler for each mistake. `TRYBUILD=overwrite` writes the messages anew;
//! read them as a user would.

#[test]
fn every_mistake_has_its_message() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/*/*.rs");
}
