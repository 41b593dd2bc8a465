//! `gwtop canary` as a process, against the local API over real HTTP.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

#[path = "canary/chaos.rs"]
mod chaos;
#[path = "canary/faults.rs"]
mod faults;
#[path = "canary/life.rs"]
mod life;
#[path = "canary/people.rs"]
mod people;
#[path = "canary/plans.rs"]
mod plans;
#[path = "canary/runs.rs"]
mod runs;
#[path = "canary/world.rs"]
mod world;
