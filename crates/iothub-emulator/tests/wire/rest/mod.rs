//! The REST API, by hand-written requests. Paths, bodies, headers and codes are those of protocol §6.5 and §7.3, and of the
//! REST API's published reference.

mod authorisation;
mod bulk;
mod client;
mod configurations;
mod digital_twins;
mod hostile;
mod identities;
mod jobs;
mod methods;
mod polling;
mod queries;
mod table;
mod twins;
