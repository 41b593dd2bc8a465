//! gwtop: the operations console for the Kubernetes Gateway API.

pub mod app;
pub mod ask;
pub mod canary;
pub mod check;
pub mod cluster;
pub mod demo;
pub mod event;
pub mod exit;
pub mod finding;
pub mod intent;
pub mod migrate;
pub mod model;
pub mod picture;
pub mod print;
pub mod query;
pub mod recording;
pub mod rows;
pub mod screen;
pub mod settings;
pub mod terminal;
pub mod theme;
pub mod traffic;
pub mod triage;
pub mod update;
pub mod view;
pub mod yaml;
