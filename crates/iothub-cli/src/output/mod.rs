//! How results look: one line each, for people or for programs.

pub(crate) mod address;
pub(crate) mod event;
pub(crate) mod human;
pub(crate) mod identity;
pub(crate) mod incoming;
pub(crate) mod json;
pub(crate) mod outcome;
pub(crate) mod progress;
pub(crate) mod rows;
pub(crate) mod shell;
pub(crate) mod table;
