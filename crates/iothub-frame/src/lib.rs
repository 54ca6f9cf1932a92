//! The guarded AMQP 1.0 stream: a frame guard, a coalescing writer with a stall timer, and a fuse
