//! The event store on any connection: an append, the events of one aggregate, its snapshots, pages
//! of events.

pub(crate) mod append;
pub(crate) mod load;
pub(crate) mod page;
mod place;
mod row;
pub(crate) mod snapshot;
mod span;
