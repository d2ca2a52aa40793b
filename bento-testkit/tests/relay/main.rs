//! The relay on the store in memory, rule by rule, in paused time: nothing here sleeps.
#![allow(clippy::unwrap_used)]

mod counters;
mod destinations;
mod failures;
mod fault;
mod handlers;
mod late;
mod lifecycle;
mod logs;
mod one_by_one;
mod order;
mod outages;
mod pace;
mod passes;
mod scene;
mod several;
mod sizes;
mod standstill;
mod upkeep;
