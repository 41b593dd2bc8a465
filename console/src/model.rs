//! What the console knows of the cluster. Pure: no I/O, no clock, no terminal.

pub mod key;
