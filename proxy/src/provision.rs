//! Who gives a Gateway its addresses.

pub mod host;
