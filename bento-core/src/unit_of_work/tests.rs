//! The rules of the module, one by one.
