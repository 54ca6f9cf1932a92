//! iothub: send, sign, explain and emulate Azure IoT Hub from a terminal
