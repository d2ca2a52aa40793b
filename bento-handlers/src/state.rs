//! The state that handlers share: pools, clients, settings.

use std::any::{Any, TypeId, type_name};
use std::collections::HashMap;
use std::fmt;

/// A part of the state of an application, as axum's trait of this name.
///
/// Implemented for every state as the whole of itself.
///
/// ```
/// use bento_handlers::FromRef;
///
/// #[derive(Clone)]
/// struct Mailer;
/// struct App {
///     mailer: Mailer,
/// }
///
/// impl FromRef<App> for Mailer {
///     fn from_ref(app: &App) -> Self {
///         app.mailer.clone()
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "the state `{S}` has no `{Self}`",
    label = "a handler takes `State<{Self}>`",
    note = "write `impl FromRef<{S}> for {Self}`, or hand `Handlers` a state that has it"
)]
pub trait FromRef<S> {
    /// Returns the part of the state.
    fn from_ref(state: &S) -> Self;
}

impl<T: Clone> FromRef<T> for T {
    fn from_ref(state: &T) -> Self {
        state.clone()
    }
}

/// A state of no application. With it the compiler has two implementations of `FromRef` for every
/// type, and does not take the type of a part for that of the state.
#[doc(hidden)]
#[derive(Debug)]
pub enum Undecided {}

#[diagnostic::do_not_recommend]
impl<T> FromRef<Undecided> for T {
    fn from_ref(state: &Undecided) -> Self {
        match *state {}
    }
}

/// The values that handlers take by their types.
#[derive(Default)]
pub(crate) struct States(HashMap<TypeId, Box<dyn Any + Send + Sync>>);

impl States {
    pub(crate) fn insert<T: Send + Sync + 'static>(&mut self, state: T) {
        self.0.insert(TypeId::of::<T>(), Box::new(state));
    }

    pub(crate) fn get<T: Send + Sync + 'static>(&self) -> Option<&T> {
        self.0.get(&TypeId::of::<T>())?.downcast_ref()
    }

    pub(crate) fn has(&self, required: &Required) -> bool {
        self.0.contains_key(&required.id)
    }
}

impl fmt::Debug for States {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("States")
            .field("len", &self.0.len())
            .finish()
    }
}

/// The type of a state that a handler takes. Not public API: made by the macro.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Required {
    pub(crate) id: TypeId,
    pub(crate) name: &'static str,
}

impl Required {
    pub(crate) fn of<T: 'static>() -> Self {
        Self {
            id: TypeId::of::<T>(),
            name: type_name::<T>(),
        }
    }
}

/// The states of an application while its handlers are added. Not public API: the macro fills it
/// from a typed state.
#[doc(hidden)]
#[derive(Debug, Default)]
pub struct Provided(pub(crate) States);
