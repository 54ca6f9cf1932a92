//! A local IoT Hub in a process, for tests and for machines with no cloud account
