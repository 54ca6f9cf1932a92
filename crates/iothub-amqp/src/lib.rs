//! The AMQP client for Azure IoT Hub, on fe2o3-amqp and tokio
