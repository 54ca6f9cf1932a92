//! Goal: keys of enrollment groups are those that DPS derives.
//! Method: `data/group_keys.tsv`, whose values come from DPS's documentation and from Python.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use iothub_sas::{SharedKey, derive_device_key};

const GROUP_KEYS: &str = include_str!("data/group_keys.tsv");

#[test]
fn derived_keys_are_the_published_ones() {
    let mut rows = 0;
    for line in GROUP_KEYS.lines().filter(|line| !line.starts_with('#')) {
        let [group, id, derived] = line.split('\t').collect::<Vec<_>>().try_into().unwrap();
        let group = SharedKey::from_base64(group).unwrap();
        assert_eq!(derive_device_key(&group, id).to_base64().expose(), derived);
        rows += 1;
    }
    assert_eq!(rows, 2);
}

#[test]
fn a_registration_id_in_upper_case_derives_the_same_key() {
    let group = SharedKey::generate_from([7; 32]);
    let lower = derive_device_key(&group, "device-0001").to_base64();
    assert_eq!(
        derive_device_key(&group, "DEVICE-0001").to_base64().expose(),
        lower.expose()
    );
    assert_ne!(
        derive_device_key(&group, "device-0002").to_base64().expose(),
        lower.expose()
    );
}
