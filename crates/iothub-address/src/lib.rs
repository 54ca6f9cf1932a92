//! Names, hosts, link addresses, the double-\"@\" URL and connection strings of Azure IoT Hub; no I/O
