//! The relay on the store in memory, rule by rule, in paused time: nothing here sleeps.
#![allow(clippy::unwrap_used)]

mod counters;
mod destinations;
mod failures;
mod fault;
mod handlers;
mod handlers_alone;
mod house;
mod late;
mod lifecycle;
mod one_by_one;
mod one_writer;
mod operated_handlers;
mod order;
mod outages;
mod pace;
mod passes;
mod scene;
mod several;
mod sizes;
mod standstill;
mod upkeep;
