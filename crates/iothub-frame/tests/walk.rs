//! What the walk says of a value: where it ends, and how much a decoder makes of it. Encodings by AMQP 1.0 §1.6.

use iothub_frame::walk::measure_value;

/// Few bytes may be many values: lists and arrays of what takes no byte.
#[test]
fn values_are_counted_at_any_depth_and_in_arrays_of_no_bytes() {
    for (bytes, values) in [
        (&[0x40][..], 1),
        (&[0xa1, 2, b'h', b'i'], 1),
        // [null, null, [true]]
        (&[0xc0, 7, 3, 0x40, 0x40, 0xc0, 2, 1, 0x41], 5),
        // {null: 0}
        (&[0xc1, 3, 2, 0x40, 0x43], 3),
        // Described by a ulong.
        (&[0x00, 0x53, 0x24, 0x45], 2),
        // Two ubytes; a null, and an empty list.
        (&[0xe0, 4, 2, 0x50, 7, 8], 3),
        (&[0xe0, 2, 1, 0x40], 2),
        (&[0xf0, 0, 0, 0, 5, 0, 0, 0, 1, 0x45], 2),
    ] {
        let extent = measure_value(bytes, 0).unwrap_or_else(|breach| panic!("{bytes:02x?}: {breach}"));
        assert_eq!((extent.end, extent.values), (bytes.len(), values), "{bytes:02x?}");
    }
}
