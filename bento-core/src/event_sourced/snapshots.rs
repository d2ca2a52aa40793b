//! The state of an aggregate after one of its events, as it is kept to be loaded from.

use std::fmt;
use std::fmt::Write as _;
use std::num::NonZeroU32;
use std::sync::OnceLock;

use serde::Serialize;
use serde::de::DeserializeOwned;
use xxhash_rust::xxh64::xxh64;

use super::EventSourced;
use crate::event::EventDescriptor;
use crate::shape::{Shape, WireShape};

/// The snapshots of an event-sourced aggregate: `snapshots` in `#[aggregate(…)]`. Not public API:
/// an adapter stores them.
///
/// A state is kept under the fingerprint of what made it. A program with another shape of the
/// state, other events or another version has another fingerprint, so it finds none.
#[doc(hidden)]
pub struct Snapshots<A: EventSourced> {
    every: NonZeroU32,
    version: u32,
    write: fn(&A) -> serde_json::Result<Vec<u8>>,
    read: fn(&[u8]) -> serde_json::Result<A>,
    shape: fn() -> Shape,
    id: fn(&A) -> A::Id,
    fingerprint: fn() -> &'static OnceLock<u64>,
}

/// The type whose states are kept in snapshots. Reported where serde or the shape is missing.
#[doc(hidden)]
#[diagnostic::on_unimplemented(
    message = "the state of the aggregate `{Self}` cannot be kept in snapshots",
    label = "a snapshot is the JSON of this struct, beside its shape",
    note = "add `#[derive(serde::Serialize, serde::Deserialize, WireShape)]` to `{Self}`, or \
            remove `snapshots`"
)]
pub trait SnapshotState: Serialize + DeserializeOwned + WireShape {}

#[diagnostic::do_not_recommend]
impl<A: Serialize + DeserializeOwned + WireShape> SnapshotState for A {}

impl<A: EventSourced> Snapshots<A> {
    /// A snapshot every so many events. `fingerprint` is the place of the fingerprint, which is
    /// computed once.
    ///
    /// # Panics
    /// If `every` is 0.
    #[must_use]
    pub const fn new(
        every: u32,
        version: u32,
        id: fn(&A) -> A::Id,
        fingerprint: fn() -> &'static OnceLock<u64>,
    ) -> Self
    where
        A: SnapshotState,
    {
        Self {
            every: NonZeroU32::new(every).expect("the macro refuses 0"),
            version,
            write: write::<A>,
            read: read::<A>,
            shape: Shape::of::<A>,
            id,
            fingerprint,
        }
    }

    /// The number of events from one snapshot to the next.
    pub fn every(&self) -> i64 {
        i64::from(self.every.get())
    }

    /// True if a multiple of [`every`](Self::every) lies behind `before` and not behind `after`.
    pub fn is_due(&self, before: i64, after: i64) -> bool {
        before / self.every() < after / self.every()
    }

    /// The hash of all that a state depends on and that the compiler knows: the type of the
    /// aggregate, the shape of its state, the declarations of its events and of their older
    /// versions, and the version of the snapshots.
    pub fn fingerprint(&self) -> u64 {
        *(self.fingerprint)().get_or_init(|| xxh64(self.made_of().as_bytes(), 0))
    }

    fn made_of(&self) -> String {
        let mut text = format!("{} {}\n{}", A::TYPE, self.version, (self.shape)());
        for event in A::DESCRIPTOR.events {
            write_declaration(&mut text, event);
        }
        text
    }

    /// The id of an aggregate.
    pub fn id_of(&self, aggregate: &A) -> A::Id {
        (self.id)(aggregate)
    }

    /// The state as it is stored.
    ///
    /// # Errors
    /// The error of the state's `Serialize`.
    pub fn write(&self, aggregate: &A) -> serde_json::Result<Vec<u8>> {
        (self.write)(aggregate)
    }

    /// The aggregate with a stored state. Its version is to be set.
    ///
    /// # Errors
    /// The error of the state's `Deserialize`.
    pub fn read(&self, id: A::Id, state: &[u8]) -> Result<A, (A::Id, serde_json::Error)> {
        match (self.read)(state) {
            Ok(mut aggregate) => {
                aggregate.set_id(id);
                Ok(aggregate)
            }
            Err(error) => Err((id, error)),
        }
    }
}

fn write<A: Serialize>(aggregate: &A) -> serde_json::Result<Vec<u8>> {
    serde_json::to_vec(aggregate)
}

fn read<A: DeserializeOwned>(state: &[u8]) -> serde_json::Result<A> {
    serde_json::from_slice(state)
}

/// Appends an event and the older versions that it is upcast from.
fn write_declaration(text: &mut String, event: &EventDescriptor) {
    let steps = std::iter::successors(Some(event), |newer| newer.upcast_from);
    for EventDescriptor {
        schema,
        version,
        oldest,
        fingerprint,
        ..
    } in steps
    {
        // A `String` takes every text.
        let _ = writeln!(text, "{schema} {oldest}-{version} {fingerprint:016x}");
    }
}

impl<A: EventSourced> fmt::Debug for Snapshots<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshots")
            .field("every", &self.every)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}
