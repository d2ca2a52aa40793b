//! The inbox on every back end.
