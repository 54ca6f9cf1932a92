//! Merging and limits. The example of RFC 7396 §3, and the rules of Azure docs, "Understand and use device twins in
//! IoT Hub".

use super::*;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

fn invalid(patch: &Value) -> bool {
    matches!(Twin::new().report(patch, None, at(0)), Err(TwinError::Invalid(_)))
}

fn nested(levels: usize) -> Value {
    (0..levels).fold(json!("leaf"), |inner, _| json!({ "k": inner }))
}

/// The example of RFC 7396 §3, with its one key that no twin may have left out.
#[test]
fn a_patch_merges_and_null_deletes() {
    let mut twin = Twin::new();
    let before = json!({"title": "Goodbye!", "author": {"givenName": "John", "familyName": "Doe"},
        "tags": ["example", "sample"], "content": "This will be unchanged"});
    assert_eq!(twin.report(&before, None, at(0)), Ok(2));
    let patch = json!({"title": "Hello!", "phoneNumber": "+01-123-456-7890", "author": {"familyName": null},
        "tags": ["example"]});
    assert_eq!(twin.report(&patch, None, at(1)), Ok(3));
    let after = json!({"title": "Hello!", "author": {"givenName": "John"}, "tags": ["example"],
        "content": "This will be unchanged", "phoneNumber": "+01-123-456-7890"});
    assert_eq!(Value::Object(twin.reported().clone()), after);
    assert_eq!((twin.version(), twin.etag().as_str()), (3, "AAAAAAAAAAE="));
}

#[test]
fn the_device_sees_versions_and_the_service_metadata_too() {
    let mut twin = Twin::new();
    let now = Timestamp::from_millis(1_700_000_000_123);
    twin.patch(
        Some(&json!({"floor": 3})),
        Some(&json!({"a": {"b": 1}})),
        None,
        now,
    )
    .unwrap();
    assert_eq!(
        twin.to_device_json(),
        json!({"desired": {"a": {"b": 1}, "$version": 2}, "reported": {"$version": 1}})
    );
    let stamp = json!({"$lastUpdated": "2023-11-14T22:13:20.1230000Z", "$lastUpdatedVersion": 2});
    let mut inner = stamp.clone();
    inner["b"] = stamp.clone();
    let mut metadata = stamp;
    metadata["a"] = inner;
    let seen = twin.to_json();
    assert_eq!(seen["properties"]["desired"]["$metadata"], metadata);
    assert_eq!(seen["tags"], json!({"floor": 3}));
    assert_eq!(
        (&seen["etag"], &seen["version"]),
        (&json!("AAAAAAAAAAI="), &json!(2))
    );
}

#[test]
fn what_no_twin_may_hold_is_refused_whole() {
    for key in ["a.b", "$a", "a b", "", "a\u{7}", "a\u{85}"] {
        assert!(invalid(&json!({ key: 1 })), "{key:?}");
        assert!(invalid(&json!({"x": [{ key: 1 }]})), "{key:?} in an array");
    }
    assert!(!invalid(&json!({ "k".repeat(1024): 1 })));
    assert!(invalid(&json!({ "k".repeat(1025): 1 })));
    assert!(!invalid(&json!({ "k": "v".repeat(4096) })));
    assert!(invalid(&json!({ "k": "v".repeat(4097) })));
    assert!(!invalid(&json!({ "k": -4_503_599_627_370_496_i64 })));
    assert!(invalid(&json!({ "k": -4_503_599_627_370_497_i64 })));
    assert!(invalid(&json!({ "k": 4_503_599_627_370_497_i64 })));
    assert!(!invalid(&json!({ "k": 1e300 })));
    // The section itself is level 0: eleven objects in each other are the section and ten below it.
    assert!(!invalid(&nested(11)));
    assert!(invalid(&nested(12)));
    assert!(invalid(&json!([])));
    let mut twin = Twin::new();
    let before = twin.clone();
    assert!(
        twin.patch(Some(&json!({"good": 1})), Some(&json!({"$bad": 1})), None, at(0))
            .is_err()
    );
    assert_eq!(twin, before);
}

#[test]
fn sizes_are_counted_as_the_hub_counts() {
    // 8 texts of 4,094 with keys of 2 characters: 32,768 bytes to the last.
    let full: Map<String, Value> = (0..8)
        .map(|number| (format!("k{number}"), Value::from("v".repeat(4094))))
        .collect();
    let mut twin = Twin::new();
    twin.report(&Value::Object(full), None, at(0)).unwrap();
    let more = twin.report(&json!({"x": ""}), None, at(0)).unwrap_err();
    let expected = TwinError::TooLarge {
        section: "reported properties",
        size: 32_769,
        most: 32_768,
    };
    assert_eq!(more, expected);
    // Room is made by deleting in the same patch.
    twin.report(&json!({"k0": null, "number": 1, "is": true}), None, at(0))
        .unwrap();
    let tags = json!({"a": "v".repeat(4096), "b": "v".repeat(4094)});
    assert!(Twin::new().patch(Some(&tags), None, None, at(0)).is_ok());
    let tags = json!({"a": "v".repeat(4096), "b": "v".repeat(4095)});
    assert!(Twin::new().patch(Some(&tags), None, None, at(0)).is_err());
}

#[test]
fn a_change_that_was_meant_for_another_version_is_refused() {
    let mut twin = Twin::new();
    assert_eq!(
        twin.report(&json!({}), Some(2), at(0)),
        Err(TwinError::Precondition)
    );
    assert_eq!(twin.report(&json!({}), Some(1), at(0)), Ok(2));
    let patch = json!({"a": 1});
    let stale = twin.patch(None, Some(&patch), Some("AAAAAAAAAAI="), at(0));
    assert_eq!(stale, Err(TwinError::Precondition));
    twin.patch(None, Some(&patch), Some("AAAAAAAAAAE="), at(0))
        .unwrap();
    twin.patch(None, Some(&patch), Some("*"), at(0)).unwrap();
    assert_eq!(twin.desired_version(), 3);
}
