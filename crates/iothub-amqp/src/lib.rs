#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod config;
mod device;
mod driver;
mod error;
mod message;

// The public interface:
pub use crate::config::{AMQP_PORT, AMQPS_PORT, IDLE_TIMEOUT, OPERATION_TIMEOUT, WINDOW, WINDOW_BYTES};
pub use crate::device::{DeviceClient, DeviceClientBuilder};
pub use crate::error::{
    Accepted, CloseError, Condition, ConnectError, Interruption, Lost, Phase, SendError, TlsFailure,
};
pub use crate::message::Message;
pub use iothub_frame::{Blown, Violation};
