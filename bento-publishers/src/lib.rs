//! Broker adapters of the Bento domain-event framework.
//!
//! One module and one cargo feature for each broker; see the features of the crate.
