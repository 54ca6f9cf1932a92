//! The hub as its clients meet it: over sockets, from outside.
#![allow(clippy::unwrap_used, reason = "a test fails by a panic")]

mod accept;
mod admin;
mod bounds;
mod cbs;
mod certificates;
mod cloud_to_device;
mod common;
mod door;
mod events;
mod faults;
mod full_lists;
mod hostile;
mod https;
mod kept;
mod limits;
mod links;
mod messages;
mod methods;
mod modules;
mod page;
mod pair_faults;
mod pairs;
mod presence;
mod principals;
mod raw;
mod readers;
mod rest;
mod seed;
mod services;
mod state;
mod table;
mod telemetry;
mod traffic;
mod twins;
mod websocket;
