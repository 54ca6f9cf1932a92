//! SAS tokens of Azure IoT Hub: sign, parse, verify, explain, derive; no I/O
