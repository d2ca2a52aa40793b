//! Nothing: the package is there for what its `Cargo.toml` asks for.
