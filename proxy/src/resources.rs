//! The objects this process acts on: watched from an API, kept in one typed [`Set`].

pub mod set;

pub use set::Set;
