//! Comparing an expansion with the one that is expected.

use expect_test::ExpectFile;
use proc_macro2::TokenStream;

/// Compares an expansion, laid out as Rust, with a snapshot. `UPDATE_EXPECT=1` writes the snapshots
/// anew.
pub(crate) fn check(expansion: TokenStream, expected: ExpectFile) {
    let file = syn::parse2(expansion).expect("the expansion parses");
    // Cargo tells the macros the version of this package, which no snapshot follows.
    let version = format!("{:?}", env!("CARGO_PKG_VERSION"));
    expected.assert_eq(&prettyplease::unparse(&file).replace(&version, "\"1.2.3\""));
}
