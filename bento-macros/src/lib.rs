//! The macros of Bento: [`domain_event`], [`integration_event`], [`aggregate`], [`event_handler`],
//! [`macro@projection`] and the derives [`AggregateId`] and [`WireShape`].
//!
//! Use them through `bento_core` in a crate with a domain model, or through `bento` in a service;
//! handlers and projections through `bento_handlers` or `bento`. An expansion finds them in the
//! `Cargo.toml` of the package that is compiled, also under another name, unless `crate = path`
//! names one.
//!
//! An expansion names the module `__private` of that crate and nothing else. It holds no logic: the
//! functions that it calls are ordinary Rust in `bento_core` and `bento_handlers`.

use proc_macro::TokenStream;

use self::mistaken::{Meant, Mistaken};

mod aggregate;
mod aggregate_id;
mod case;
mod diagnostics;
mod domain_event;
mod door;
mod event_handler;
mod fragment;
mod integration_event;
mod keyed;
mod manifest;
mod mistaken;
mod patterns;
mod projection;
mod serde_attrs;
#[cfg(test)]
mod snapshot;
mod syntax;
mod wire_shape;

/// Declares a domain event: a fact of the business, in the past tense, with a stable name and a
/// versioned payload.
///
/// It stands above the derives. `Serialize` and `Deserialize` are derived unless the struct derives
/// them itself, so a crate needs no serde of its own; `Debug` is the struct's to derive.
///
/// ```
/// # use bento_core::domain_event;
/// #[domain_event(schema = "order.created", version = 3, removed("fax", since = 3))]
/// #[derive(Clone, Debug)]
/// pub struct OrderCreated {
///     pub order_id: u64,
///     pub total: i64,
///     #[event(since = 2, default = "USD")]
///     #[event(renamed_from = "curr", since = 3)]
///     pub currency: String,
/// }
/// ```
///
/// # Keys
///
/// | key | meaning |
/// |---|---|
/// | `schema = "order.created"` | the stable name, `lower.dotted_snake`: two segments or more, 128 characters at most |
/// | `version = 2` | the version of the payload that the struct is, counted from 1 |
/// | `oldest = 2` | earlier versions are retired: they need no upcaster, and decoding a stored one fails with `Retired` |
/// | `upcast_from = OrderCreatedV1` | a step by hand, in `impl UpcastFrom<OrderCreatedV1> for OrderCreated` |
/// | `superseded` | an earlier version, kept to be upcast from; it cannot be raised. Beside `consumes`: of a view |
/// | `consumes` | this context's view of an event that another one declares; it cannot be raised, and never clashes |
/// | `topic = "orders"` | the topic to publish the event under, if not its schema |
/// | `routing_key = "eu"` | the broker's routing key, if not the schema |
/// | `removed("fax", since = 3)` | a field, by its name in the payload, that is gone since a version; may be repeated |
/// | `allow(bare_noun)` | silences an advisory lint of the registry: `imperative`, `bare_noun`, `row_change` |
/// | `crate = path` | the path to `bento` or `bento_core`, if the package depends on neither; another name in `Cargo.toml` is found |
///
/// # History of a field
///
/// | attribute | meaning |
/// |---|---|
/// | `#[event(since = 2, default = …)]` | added in version 2; older payloads get the default |
/// | `#[event(since = 2)]` | added in version 2 as an `Option`, or with `#[serde(default)]` |
/// | `#[event(renamed_from = "curr", since = 3)]` | called `curr` in the payloads before version 3 |
///
/// A default is any expression of the field's type, or a text for a type that is made from one.
/// Unlike in `#[serde(default = "…")]` the text is the value, and does not name a function:
/// `default = currency()` calls one.
///
/// Names are those of the payload, so `#[serde(rename)]` and `#[serde(rename_all)]` count. Every
/// step from the oldest readable version to this one must be covered by field history or by
/// `upcast_from`, which `cargo check` proves. Within one version removals come first, then renames,
/// then additions. A field that no step touches keeps its bytes.
///
/// # What is refused
///
/// Enums, unions, tuple structs and generics: a payload is one JSON object of one stable shape. For
/// the same reason a field has no `#[cfg]`, and the struct no `#[serde(transparent)]`, `from`,
/// `into` or name for one direction. A field that may be left out of a payload has a default for
/// reading, and no field borrows. Two declarations of one schema and version do not link
/// (`cargo build`), except a view that `consumes`.
#[proc_macro_attribute]
pub fn domain_event(attribute: TokenStream, item: TokenStream) -> TokenStream {
    domain_event::domain_event(attribute.into(), item.into())
        .unwrap_or_else(as_meant)
        .into()
}

/// Declares an integration event: the form in which other contexts get a domain event, with a
/// stable name and a versioned payload of its own.
///
/// It stands above the derives, and all that [`macro@domain_event`] says of the struct holds:
/// derives, field history, serde, what is refused. The conversion is an `impl From<&Source>` of
/// yours. The flush calls it for each event of the source and writes both in one INSERT.
///
/// ```
/// # use bento_core::{domain_event, integration_event};
/// # #[domain_event(schema = "order.confirmed", version = 3, oldest = 3)]
/// # #[derive(Debug)]
/// # pub struct OrderConfirmed { pub order_id: u64, pub margin: i64 }
/// #[integration_event(from = OrderConfirmed, schema = "ecommerce.order.confirmed", version = 1)]
/// #[derive(Clone, Debug)]
/// pub struct OrderConfirmedV1 {
///     pub order: String,
/// }
///
/// impl From<&OrderConfirmed> for OrderConfirmedV1 {
///     fn from(event: &OrderConfirmed) -> Self {
///         Self { order: format!("order-{}", event.order_id) }
///     }
/// }
/// ```
///
/// # Keys
///
/// | key | meaning |
/// |---|---|
/// | `from = OrderConfirmed` | the domain event that it is made from, at its current version |
/// | `schema = "ecommerce.order.confirmed"` | the stable name, `lower.dotted_snake`: two segments or more, 128 characters at most; no domain event has it |
/// | `version = 1` | the version of the contract, counted from 1; several versions may be declared, each with a struct of its own, and all of them are written |
/// | `deprecated = "use version 2"` | what consumers do instead; events of a deprecated version are counted by `bento_deprecated_events_total` |
/// | `topic = "orders"`, `routing_key = "eu"` | where it is published; nothing of where the domain event goes is taken over |
/// | `oldest`, `upcast_from`, `removed`, `allow`, `crate` | as for [`macro@domain_event`]; `upcast_from` may name an earlier version that is still sent |
///
/// # What is refused
///
/// A `from` that no context of this program raises: a `superseded` version, a view that `consumes`,
/// another integration event. A missing `From`. Raising it: it is made. Two declarations of one
/// schema and version do not link (`cargo build`).
#[proc_macro_attribute]
pub fn integration_event(attribute: TokenStream, item: TokenStream) -> TokenStream {
    integration_event::integration_event(attribute.into(), item.into()).into()
}

/// Declares an aggregate: a struct that raises the listed events and keeps them until a transaction
/// collects them.
///
/// It stands above the derives. The struct has a field of type `PendingEvents`, found by its type;
/// on a SeaORM model it becomes `#[sea_orm(ignore)]`, beside serde's derives `#[serde(skip)]`.
/// `#[sea_orm::model]` may stand above it or below it.
///
/// ```
/// # use bento_core::{PendingEvents, aggregate, domain_event};
/// # #[domain_event(schema = "order.created", version = 1)]
/// # #[derive(Debug)]
/// # pub struct OrderCreated {}
/// # #[domain_event(schema = "order.paid", version = 1)]
/// # #[derive(Debug)]
/// # pub struct OrderPaid {}
/// #[aggregate(events(OrderCreated, OrderPaid))]
/// pub struct Order {
///     #[aggregate(id)]
///     number: u64,
///     events: PendingEvents,
/// }
///
/// let mut order = Order { number: 7, events: PendingEvents::default() };
/// order.raise(OrderCreated {});
/// for event in order.take() {
///     match event {
///         OrderEvent::OrderCreated(created) => println!("{created:?}"),
///         OrderEvent::OrderPaid(_) => unreachable!("the order is not paid"),
///     }
/// }
/// ```
///
/// # Keys
///
/// | key | meaning |
/// |---|---|
/// | `events(OrderCreated, OrderPaid)` | the events that the aggregate raises, by their paths, each with `#[cfg(…)]` before it if need be; raising another is a compile error |
/// | `event_sourced` | the state is what the events say: see below |
/// | `snapshots(every = 100, version = 1)` | the state is kept every 100 events, and loads begin at it: see below; each part may be left out |
/// | `id = (tenant_id, number)` | the fields of the id, in this order |
/// | `name = "order"` | the stable name of the aggregate type, `lower_snake`, at most 128 characters |
/// | `event_enum = OrderEvent` | the name of the enum of its events |
/// | `crate = path` | the path to `bento` or `bento_core`, if the package depends on neither; another name in `Cargo.toml` is found |
///
/// | on a field | meaning |
/// |---|---|
/// | `#[aggregate(id)]` | the field is the id |
/// | `#[aggregate(events)]` | the field keeps the pending events: needed only where its type is an alias of `PendingEvents` |
/// | `#[aggregate(version)]` | an integer that counts the events of the aggregate: they are numbered, and a save finds out whether another transaction was first |
///
/// The id is what `id = …` names, else the field marked `#[aggregate(id)]`, else the
/// `#[sea_orm(primary_key)]` columns in their order, else the field named `id`. The name is `name`,
/// else the `#[sea_orm(table_name)]`, else the struct's name in snake case; a struct called `Model`
/// needs one of the first two. Give `name`: it is stored with every event and decides the shard, so
/// it should not follow a table that is renamed. The enum is named after the struct, or after the
/// aggregate for a `Model`: `OrderEvent` for an `Order`. Where the module has another item of this
/// name, the compiler says "the name `OrderEvent` is defined multiple times", with errors behind it
/// that follow from that: choose another name with `event_enum = …`.
///
/// Every id is a real one, 0 as well. The exception is a primary key that the database counts
/// (`#[sea_orm(primary_key)]` on one field, without `auto_increment = false`): it is unset while it
/// is 0.
///
/// # What it adds
///
/// With the struct's visibility: the methods `raise`, `raise_with`, `pending`, `take` and
/// `discard`, which need no trait in scope, and the enum with a variant for each event, exhaustive
/// on purpose. It is made from each of its events with `into()`, and two of them can be compared if
/// all the events can: `assert_eq!(order.pending(), [OrderPaid { … }.into()])`. Beside them the
/// traits `Aggregate` and, with a version, `Versioned`, and `RaisedBy<ThisStruct>` for each event.
///
/// # Event-sourced aggregates
///
/// With `event_sourced` the state is made by the events alone, in a method `apply` of the struct
/// that gets each of them. `raise` calls it at once. The struct has a `Default`, with which the
/// state begins, a field `#[aggregate(version)]`, which counts the stored events, and an id that
/// the application makes.
///
/// ```
/// # use bento_core::{PendingEvents, aggregate, domain_event};
/// # #[domain_event(schema = "account.opened", version = 1)]
/// # #[derive(Debug)]
/// # pub struct AccountOpened { pub number: u64 }
/// # #[domain_event(schema = "account.credited", version = 1)]
/// # #[derive(Debug)]
/// # pub struct AccountCredited { pub cents: i64 }
/// #[aggregate(event_sourced, events(AccountOpened, AccountCredited))]
/// #[derive(Default)]
/// pub struct Account {
///     #[aggregate(id)]
///     number: u64,
///     #[aggregate(version)]
///     version: i64,
///     balance: i64,
///     events: PendingEvents,
/// }
///
/// impl Account {
///     fn apply(&mut self, event: &AccountEvent) {
///         match event {
///             AccountEvent::AccountOpened(opened) => self.number = opened.number,
///             AccountEvent::AccountCredited(credited) => self.balance += credited.cents,
///         }
///     }
/// }
///
/// let mut account = Account::from_events([AccountOpened { number: 7 }]);
/// account.raise(AccountCredited { cents: 500 });
/// assert_eq!((account.version, account.balance), (1, 500));
/// # account.discard();
/// ```
///
/// Beside the methods above there is `from_events`, and the trait `EventSourced`, whose `Id` is the
/// type of the id: that of its field, or a tuple for a composite one, in the order of the key.
///
/// # Snapshots
///
/// With `snapshots` a load begins at the last state that was kept, and reads only the events behind
/// it. A `save` keeps one when the number of events reaches a multiple of `every`, or when the load
/// before it had to read that many. The state is written as JSON, so the struct derives
/// `Serialize`, `Deserialize` and `WireShape`; all of it must come back from its JSON, also what
/// lies in its fields. The id implements `Clone`.
///
/// A snapshot is found only by a program in which all of this is the same: the shape of the state,
/// the declarations of the events and of their older versions, and `version`. Others make the
/// aggregate of all its events, and keep snapshots of their own beside. What the macro cannot see
/// is code: **raise `version` whenever `apply`, or an upcaster written by hand, begins to make
/// another state of the same events**, also where the shape stays.
///
/// ```text
/// #[aggregate(event_sourced, snapshots(every = 50), events(AccountCredited))]
/// #[derive(Default, Serialize, Deserialize, WireShape)]
/// pub struct Account { … }
/// ```
///
/// # What is refused
///
/// Enums, unions, tuple structs and generics. Two aggregates of one name do not link
/// (`cargo build`): their ids would share one order. An event-sourced aggregate without `apply`,
/// without `Default`, without a version, with an id that the database counts, or whose id has a
/// type that is less visible than the aggregate. `snapshots` without `event_sourced`, or with a
/// field that serde skips.
#[proc_macro_attribute]
pub fn aggregate(attribute: TokenStream, item: TokenStream) -> TokenStream {
    aggregate::aggregate(attribute.into(), item.into())
        .unwrap_or_else(as_meant)
        .into()
}

/// Declares a handler: an `async fn` that gets each event once, under a stable name.
///
/// ```
/// use bento_handlers::{HandleError, State, event_handler};
/// use bento_seaorm::OutboxTransaction;
/// # use bento_core::domain_event;
/// # #[domain_event(schema = "order.confirmed", version = 1)]
/// # #[derive(Debug)]
/// # pub struct OrderConfirmed { pub order_id: u64 }
/// # #[derive(Clone)]
/// # struct Stock;
/// # impl Stock {
/// #     async fn reserve(&self, _: &OutboxTransaction, _: u64) -> Result<(), HandleError> {
/// #         Ok(())
/// #     }
/// # }
///
/// #[event_handler(name = "stock.reserve", timeout = "20s")]
/// async fn reserve(
///     event: OrderConfirmed,
///     tx: &OutboxTransaction,
///     State(stock): State<Stock>,
/// ) -> Result<(), HandleError> {
///     stock.reserve(tx, event.order_id).await
/// }
/// ```
///
/// # Keys
///
/// | key | meaning |
/// |---|---|
/// | `name = "stock.reserve"` | the stable name, `lower.dotted_snake`: two segments or more, 128 characters at most; it is stored beside each event that was handled, so a renamed handler is a new one |
/// | `timeout = "20s"` | the time for one call, a text of whole numbers with a unit of `d`, `h`, `m`, `s` or `ms`; without it that of the relay |
/// | `concurrency = 16` | the most calls at once in a process, within the pool of the dispatcher |
/// | `retry = "patient"` | the retry policy, by its name: `default`, `aggressive`, `patient` or `once`; without it that of the relay |
/// | `order = none` | the events of an aggregate may be handled in any order; without it one waits for the one before |
/// | `from = beginning` | a handler that the database does not know yet starts with all that the outbox still holds; `from = now`, the default, with the events after it was recorded; `from = "2026-11-01T00:00:00Z"` with those that occurred then or later and that the outbox still holds |
/// | `events = "order.*"` | the event types of a handler that takes an `Envelope`, in which `*` stands for any characters; several in parentheses: `events = ("order.*", "invoice.paid")` |
/// | `crate = path` | the path to `bento_handlers` or `bento::handlers`, if the package depends on neither `bento-handlers` nor `bento-events`; another name in `Cargo.toml` is found |
///
/// Settings of the application override `timeout`, `concurrency` and `retry`.
///
/// # Parameters
///
/// | parameter | what it takes |
/// |---|---|
/// | first: an event | its current version, whatever version was stored |
/// | first: the enum of an aggregate's events | each of them |
/// | first: `Envelope` | the serialised event, of any type in `events` |
/// | first: `Batch<E>` of one of these | several events in one transaction |
/// | `tx: &OutboxTransaction` | the transaction that records the event as handled |
/// | `key: IdempotencyKey` | the key for another system, the same with each attempt |
/// | `State(stock): State<Stock>` | a part of the state that `Handlers` was given |
/// | `context: EventContext` | id, sequence, tenant, time and attempt |
/// | `cancelled: CancellationToken` | cancelled when the time is over or the process stops |
/// | a type with `FromCall` | what it takes from the call |
///
/// It returns `Result<(), E>`, or `Result<T, E>` with the events that it raises: an event, or an
/// `Option`, `Vec` or array of one. `E` is a `HandleError`, or any error, which is tried again.
///
/// Exactly one of `&OutboxTransaction`, `IdempotencyKey` and returned events is there: it says
/// where the effect is, and the compiler checks it.
///
/// # What it adds
///
/// The function stays as it is, with its attributes, and can be called in unit tests. Beside it
/// there is a struct of the same name, since types and functions have names of their own. Its
/// `handler()` adds it to a set whose state the compiler checks:
///
/// ```
/// # use bento_handlers::{Handlers, HandleError, IdempotencyKey, State, event_handler};
/// # use bento_core::domain_event;
/// # #[domain_event(schema = "order.confirmed", version = 1)]
/// # #[derive(Debug)]
/// # pub struct OrderConfirmed {}
/// # #[derive(Clone)]
/// # struct Mailer;
/// #[event_handler(name = "mail.confirmation")]
/// async fn confirm(
///     event: OrderConfirmed,
///     key: IdempotencyKey,
///     State(mailer): State<Mailer>,
/// ) -> Result<(), HandleError> {
///     # let _ = (event, key, mailer);
///     Ok(())
/// }
///
/// let handlers = Handlers::new(Mailer).add(confirm::handler());
/// # drop(handlers);
/// ```
///
/// For that check a state is written `State<T>`; of one behind a type alias only
/// `Handlers::build` knows. Every handler of the binary is also in `Handlers::registered()`.
///
/// # What is refused
///
/// Generic functions, and what is not an `async fn`: the dispatcher has to call it. A function in
/// an `impl`: move it out, and take the struct as `State<TheStruct>`. The compiler says of one
/// without `self` that a "struct is not supported in `trait`s or `impl`s". Where the module has
/// another type or module of the function's name, it says "the name `reserve` is defined multiple
/// times": rename one of them. A future that is not `Send`, with the line that makes it so. Two
/// handlers of one name do not link (`cargo build`).
#[proc_macro_attribute]
pub fn event_handler(attribute: TokenStream, item: TokenStream) -> TokenStream {
    event_handler::event_handler(attribute.into(), item.into())
        .unwrap_or_else(as_meant)
        .into()
}

#[doc = include_str!("projection/reference.md")]
#[proc_macro_attribute]
pub fn projection(attribute: TokenStream, item: TokenStream) -> TokenStream {
    projection::projection(attribute.into(), item.into())
        .unwrap_or_else(as_meant)
        .into()
}

/// Makes a type an id of aggregates, or a part of one: a struct by all its fields, an enum by the
/// names of its variants.
///
/// ```
/// use bento_core::{AggregateId, AggregateKey};
///
/// #[derive(AggregateId)]
/// struct OrderId(u64);
///
/// #[derive(AggregateId)]
/// enum Country {
///     Denmark,
///     #[aggregate_id(rename = "SE")]
///     Sweden,
/// }
///
/// let key = AggregateKey::new().push(&Country::Sweden).push(&OrderId(7));
/// assert_eq!(key.into_text().as_deref(), Some("SE:7"));
/// ```
///
/// The text is stored beside every event and decides the shard: renaming a variant makes another id
/// of it, unless its old name is kept with `#[aggregate_id(rename = "…")]`. A field of type
/// `PhantomData` is left out. `#[aggregate_id(crate = path)]` on the type names the path to
/// `bento` or `bento_core`, if the package depends on neither.
///
/// # What is refused
///
/// Variants with fields, two variants of one name, and structs without a field.
#[proc_macro_derive(AggregateId, attributes(aggregate_id))]
pub fn aggregate_id(input: TokenStream) -> TokenStream {
    aggregate_id::aggregate_id(input.into()).into()
}

#[doc = include_str!("wire_shape/reference.md")]
#[proc_macro_derive(WireShape, attributes(shape))]
pub fn wire_shape(input: TokenStream) -> TokenStream {
    wire_shape::wire_shape(input.into()).into()
}

/// The error, followed by the item under the attribute that was meant.
fn as_meant(mistaken: Mistaken) -> proc_macro2::TokenStream {
    match mistaken.meant {
        Meant::Event => mistaken.expand(domain_event::domain_event),
        Meant::Aggregate => mistaken.expand(aggregate::aggregate),
        Meant::Handler => mistaken.expand(event_handler::event_handler),
        Meant::Projection => mistaken.expand(projection::projection),
    }
}
