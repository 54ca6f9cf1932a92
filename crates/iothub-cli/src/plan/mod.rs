//! What a command line means: files and environment read, names and secrets in their types, contradictions found.

pub(crate) mod bodies;
pub(crate) mod checkpoint;
pub(crate) mod connecting;
pub(crate) mod contexts;
pub(crate) mod credential;
pub(crate) mod filter;
pub(crate) mod pace;
pub(crate) mod private;
pub(crate) mod reading;
pub(crate) mod rest;
pub(crate) mod roots;
pub(crate) mod route;
pub(crate) mod secrets;
pub(crate) mod sending;
pub(crate) mod service;
pub(crate) mod settings;
pub(crate) mod supply;
pub(crate) mod token;
