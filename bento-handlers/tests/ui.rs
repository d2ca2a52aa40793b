//! The messages of the compiler for mistakes with handlers. `TRYBUILD=overwrite` writes them again;
//! read them as a user would.

#[test]
fn every_mistake_has_its_message() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/ui/*.rs");
    cases.compile_fail("tests/ui/projection/*.rs");
}
