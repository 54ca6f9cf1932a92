//! Identities and twins from a file, and as one. The form is the service's own; lines are those of Azure docs, "Import and
//! export IoT Hub device identities in bulk", with keys that are ones.

use std::path::Path;

use iothub_address::Identity;
use iothub_emulator::{
    Authentication, Emulator, Export, ExportKeys, SeedError, StartError, StateError, Status, Thumbprint,
    Thumbprints,
};
use serde_json::{Value, json};

use crate::common::*;

const DEVICES: &str = r#"
{"id":"Device1","eTag":"MA==","status":"enabled","authentication":{"symmetricKey":{"primaryKey":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=","secondaryKey":"cG9saWN5LWtleS0wMTIzNDU2Nzg5YWJjZGVmLVhZWiE="}}}
{"id":"Device3","eTag":"MA==","status":"disabled","authentication":{"symmetricKey":{"primaryKey":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=","secondaryKey":"cG9saWN5LWtleS0wMTIzNDU2Nzg5YWJjZGVmLVhZWiE="}}}
"#;
const WITH_TWIN: &str = r#"{"id":"export-6d84f075-0","eTag":"MQ==","status":"enabled","statusReason":"firstUpdate","authentication":null,"twinETag":"AAAAAAAAAAI=","tags":{"Location":"LivingRoom"},"properties":{"desired":{"Thermostat":{"Temperature":75.1,"Unit":"F"},"$metadata":{"$lastUpdated":"2017-03-09T18:30:52.3167248Z","$lastUpdatedVersion":2,"Thermostat":{"$lastUpdated":"2017-03-09T18:30:52.3167248Z","$lastUpdatedVersion":2,"Temperature":{"$lastUpdated":"2017-03-09T18:30:52.3167248Z","$lastUpdatedVersion":2},"Unit":{"$lastUpdated":"2017-03-09T18:30:52.3167248Z","$lastUpdatedVersion":2}}},"$version":2},"reported":{"$metadata":{"$lastUpdated":"2017-03-09T18:30:51.1309437Z"},"$version":1}}}"#;

fn file(text: &str) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, text).unwrap();
    file
}

async fn sown(text: &str) -> Result<Emulator, StartError> {
    let file = file(text);
    Emulator::builder().seed(file.path()).start().await
}

fn lines(export: &Export) -> Vec<Value> {
    let lines = export.expose().lines();
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

async fn exported(hub: &Emulator) -> Vec<Value> {
    lines(&hub.export(ExportKeys::Included).await.unwrap())
}

#[tokio::test]
async fn the_lines_of_the_docs_become_devices() {
    let hub = sown(DEVICES).await.unwrap();
    let connection = hub.connection_string(&"Device1".parse().unwrap()).await.unwrap();
    assert_eq!(connection.key().unwrap().expose(), KEY);
    let lines = exported(&hub).await;
    let short: Vec<_> = lines
        .iter()
        .map(|line| {
            (
                &line["id"],
                &line["eTag"],
                &line["status"],
                &line["authentication"]["type"],
            )
        })
        .map(|(id, etag, status, kind)| json!([id, etag, status, kind]))
        .collect();
    assert_eq!(
        short,
        [
            json!(["Device1", "MA==", "enabled", "sas"]),
            json!(["Device3", "MA==", "disabled", "sas"])
        ]
    );
    let keys = &lines[1]["authentication"]["symmetricKey"];
    assert_eq!(
        (&keys["primaryKey"], &keys["secondaryKey"]),
        (&json!(KEY), &json!(OTHER_KEY))
    );
}

#[tokio::test]
async fn a_twin_comes_with_its_versions_and_metadata() {
    let hub = sown(WITH_TWIN).await.unwrap();
    let given: Value = serde_json::from_str(WITH_TWIN).unwrap();
    let identity: Identity = "export-6d84f075-0".parse().unwrap();
    let twin = hub.twin(identity.clone()).await.unwrap().to_json();
    assert_eq!(twin["properties"], given["properties"]);
    assert_eq!(
        (&twin["tags"], &twin["etag"]),
        (&given["tags"], &given["twinETag"])
    );
    // What the docs' line does not have beside its null: keys were made.
    let mut line = exported(&hub).await.remove(0);
    assert_eq!(line["authentication"]["type"], "sas");
    line["authentication"] = Value::Null;
    line.as_object_mut().unwrap().remove("capabilities");
    assert_eq!(line, given);
    assert!(hub.connection_string(&identity).await.unwrap().key().is_some());
}

#[tokio::test]
async fn desired_properties_without_metadata_get_them_and_go_on_from_there() {
    let line = r#"{"id":"d","status":"enabled","tags":{"floor":3},"properties":{"desired":{"a":{"b":1}}}}"#;
    let hub = sown(line).await.unwrap();
    let device: Identity = "d".parse().unwrap();
    let twin = hub.twin(device.clone()).await.unwrap().to_json();
    let desired = &twin["properties"]["desired"];
    assert_eq!(desired["a"], json!({"b": 1}));
    let version = &desired["$version"];
    assert_eq!(&desired["$metadata"]["a"]["b"]["$lastUpdatedVersion"], version);
    let patched = hub.patch_desired(device, json!({"c": 2})).await.unwrap();
    assert_eq!(
        json!(patched.desired_version()),
        json!(version.as_u64().unwrap() + 1)
    );
}

/// A hub with one of each kind.
async fn varied(directory: Option<&Path>) -> Emulator {
    let mut builder = Emulator::builder();
    if let Some(directory) = directory {
        builder = builder.state_dir(directory);
    }
    let hub = builder.start().await.unwrap();
    let thumbprints = Thumbprints::new(Thumbprint::sha1(b"one"), Thumbprint::sha256(b"two"));
    let device = |id: &str| id.parse().unwrap();
    hub.register_device(device("keys"), None).await.unwrap();
    hub.register_module(device("keys"), "m".parse().unwrap(), None)
        .await
        .unwrap();
    hub.register_device(device("x509"), thumbprints).await.unwrap();
    hub.register_device(device("ca"), Authentication::CertificateAuthority)
        .await
        .unwrap();
    hub.register_device(device("none"), Authentication::None)
        .await
        .unwrap();
    hub.set_status(&device("none"), Status::Disabled).await.unwrap();
    for name in ["keys", "keys/modules/m"] {
        let identity: Identity = name.parse().unwrap();
        let patch = json!({"b": 1, "a": {"x": [1, {"y": 2.5}], "z": "\u{fc}"}});
        hub.patch_desired(identity.clone(), patch).await.unwrap();
        hub.patch_desired(identity.clone(), json!({"a": {"z": null}}))
            .await
            .unwrap();
        hub.patch_tags(identity, json!({"floor": 3})).await.unwrap();
    }
    hub
}

#[tokio::test]
async fn what_is_exported_and_sown_is_exported_again_to_the_byte() {
    let hub = varied(None).await;
    let text = hub
        .export(ExportKeys::Included)
        .await
        .unwrap()
        .expose()
        .to_owned();
    assert_eq!(text.lines().count(), 5);
    let again = sown(&text).await.unwrap();
    assert_eq!(again.export(ExportKeys::Included).await.unwrap().expose(), text);
    // Over what is there already it changes nothing either.
    let twice = sown(&text.repeat(2)).await.unwrap();
    assert_eq!(twice.export(ExportKeys::Included).await.unwrap().expose(), text);
    let identity: Identity = "keys".parse().unwrap();
    let before = hub.connection_string(&identity).await.unwrap();
    let after = again.connection_string(&identity).await.unwrap();
    assert_eq!(before.key().unwrap().expose(), after.key().unwrap().expose());
}

#[tokio::test]
async fn a_state_directory_is_exported_when_no_hub_uses_it() {
    let directory = tempfile::tempdir().unwrap();
    let hub = varied(Some(directory.path())).await;
    let text = hub
        .export(ExportKeys::Included)
        .await
        .unwrap()
        .expose()
        .to_owned();
    let in_use = Export::of_state_dir(directory.path(), ExportKeys::Included);
    assert!(matches!(in_use, Err(StateError::InUse(_))), "{in_use:?}");
    hub.stop().await;
    let export = Export::of_state_dir(directory.path(), ExportKeys::Included).unwrap();
    assert_eq!(export.expose(), text);
    let nothing = directory.path().join("nothing");
    let missing = Export::of_state_dir(&nothing, ExportKeys::Included);
    assert!(matches!(missing, Err(StateError::Io { .. })));
    assert!(!nothing.exists());
}

#[tokio::test]
async fn an_export_without_keys_has_none_and_leaves_those_that_are_there() {
    let hub = varied(None).await;
    let whole = exported(&hub).await;
    let export = hub.export(ExportKeys::Excluded).await.unwrap();
    for line in &whole {
        if let Some(key) = line["authentication"]["symmetricKey"]["primaryKey"].as_str() {
            assert!(!export.expose().contains(key));
            assert!(!format!("{export:?}").contains(key));
        }
    }
    let first = &lines(&export)[2];
    assert_eq!(
        (&first["id"], &first["authentication"]["symmetricKey"]),
        (
            &json!("keys/modules/m".split('/').next()),
            &json!({"primaryKey": null, "secondaryKey": null})
        )
    );
    // Over the hub that it comes from.
    let both = hub
        .export(ExportKeys::Included)
        .await
        .unwrap()
        .expose()
        .to_owned()
        + export.expose();
    assert_eq!(exported(&sown(&both).await.unwrap()).await, whole);
    // Elsewhere keys are made.
    let elsewhere = exported(&sown(export.expose()).await.unwrap()).await;
    let key = |lines: &[Value]| lines[1]["authentication"]["symmetricKey"]["primaryKey"].clone();
    assert!(key(&elsewhere).is_string());
    assert_ne!(key(&elsewhere), key(&whole));
}

/// What each mode does to a device that is there, with the ETag `MA==`, and to one that is not. `Some` is the field that
/// is wrong.
#[tokio::test]
async fn the_mode_of_a_line_says_what_is_done() {
    let there = r#"{"id":"there","eTag":"MA==","status":"enabled","twinETag":"AAAAAAAAAAU="}"#;
    let cases = [
        ("create", Some("id"), None),
        ("update", None, Some("id")),
        ("createOrUpdate", None, None),
        ("delete", None, Some("id")),
        ("updateTwin", None, Some("id")),
        ("CreateOrUpdate", None, None),
    ];
    for (mode, on_there, on_new) in cases {
        for (id, expected) in [("there", on_there), ("new", on_new)] {
            let line = json!({"id": id, "importMode": mode, "status": "disabled", "tags": {"t": 1}});
            check(there, &line, expected).await;
        }
    }
    let matching = [
        ("updateIfMatchETag", "MA==", None),
        ("updateIfMatchETag", "MQ==", Some("eTag")),
        ("createOrUpdateIfMatchETag", "\"MA==\"", None),
        ("createOrUpdateIfMatchETag", "MQ==", Some("eTag")),
        ("deleteIfMatchETag", "MA==", None),
        ("deleteIfMatchETag", "MQ==", Some("eTag")),
    ];
    for (mode, etag, expected) in matching {
        let line = json!({"id": "there", "importMode": mode, "eTag": etag, "status": "disabled"});
        check(there, &line, expected).await;
    }
    for (etag, expected) in [("AAAAAAAAAAU=", None), ("AAAAAAAAAAY=", Some("twinETag"))] {
        let line =
            json!({"id": "there", "importMode": "updateTwinIfMatchETag", "twinETag": etag, "tags": {"t": 1}});
        check(there, &line, expected).await;
    }
}

/// Sows `there`, then the line; it is refused for the field, or has done what its mode says.
async fn check(there: &str, line: &Value, refused: Option<&str>) {
    let started = sown(&format!("{there}\n\n{line}")).await;
    match (started, refused) {
        (Err(StartError::Seed(SeedError::Line { line: 3, field, .. })), Some(expected)) => {
            assert_eq!(field, expected, "{line}");
        }
        (Ok(hub), None) => {
            let mode = line["importMode"].as_str().unwrap().to_ascii_lowercase();
            let after = exported(&hub).await;
            let after = after.iter().find(|after| after["id"] == line["id"]);
            if mode.starts_with("delete") {
                assert_eq!(after, None, "{line}");
                return;
            }
            let after = after.unwrap();
            let status = if mode.starts_with("updatetwin") {
                "enabled"
            } else {
                "disabled"
            };
            assert_eq!(after["status"], status, "{line}");
            if line.get("tags").is_some() {
                assert_eq!(after["tags"], json!({"t": 1}), "{line}");
            }
            if mode.ends_with("etag") && !mode.contains("twin") {
                assert_ne!(after["eTag"], "MA==", "a change makes another");
            }
        }
        (started, _) => panic!("{line}: {started:?}"),
    }
}

#[tokio::test]
async fn a_bad_line_is_told_by_its_file_number_and_field_and_repeats_no_key() {
    let cases = [
        ("{", "", "no JSON object on one line"),
        ("[1]", "", "no JSON object"),
        (r#"{"status":"enabled"}"#, "id", "missing"),
        (r#"{"id":7}"#, "id", "no text"),
        (r#"{"id":"a/b"}"#, "id", "'/'"),
        (r#"{"id":"d","moduleId":"a/b"}"#, "moduleId", "'/'"),
        (r#"{"id":"d","moduleId":"m"}"#, "id", "d is not registered"),
        (
            r#"{"id":"d","importMode":"replace"}"#,
            "importMode",
            "none of create, update",
        ),
        (
            r#"{"id":"d","status":"on"}"#,
            "status",
            "none of enabled, disabled",
        ),
        (
            r#"{"id":"d","capabilities":{"iotEdge":"yes"}}"#,
            "capabilities.iotEdge",
            "neither",
        ),
        (
            r#"{"id":"d","parentScopes":[1]}"#,
            "parentScopes",
            "no list of texts",
        ),
        (r#"{"id":"d","twinETag":"MA=="}"#, "twinETag", "8 bytes"),
        (r#"{"id":"d","tags":{"a.b":1}}"#, "tags", "a.b"),
        (
            r#"{"id":"d","properties":{"desired":{"$x":1}}}"#,
            "properties.desired",
            "$x",
        ),
        (
            r#"{"id":"d","properties":{"desired":{"$version":-1}}}"#,
            "properties.desired.$version",
            "no whole number",
        ),
        (
            r#"{"id":"d","properties":{"reported":[]}}"#,
            "properties.reported",
            "no JSON object",
        ),
        (
            r#"{"id":"d","authentication":{"symmetricKey":{"primaryKey":"c2hvcnQ="}}}"#,
            "authentication.symmetricKey.primaryKey",
            "",
        ),
        (
            r#"{"id":"d","authentication":{"symmetricKey":{"secondaryKey":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="}}}"#,
            "authentication.symmetricKey.primaryKey",
            "missing",
        ),
        (
            r#"{"id":"d","authentication":{"type":"selfSigned"}}"#,
            "authentication.thumbprint.primaryThumbprint",
            "missing",
        ),
        (
            r#"{"id":"d","authentication":{"x509Thumbprint":{"primaryThumbprint":"12"}}}"#,
            "authentication.x509Thumbprint.primaryThumbprint",
            "",
        ),
        (
            r#"{"id":"d","authentication":{"type":"magic"}}"#,
            "authentication.type",
            "none of sas",
        ),
    ];
    for (line, field, part) in cases {
        let file = file(&format!("{{\"id\":\"first\"}}\n{line}\n"));
        let started = Emulator::builder().seed(file.path()).start().await;
        let Err(StartError::Seed(error)) = started else {
            panic!("{line}: {started:?}")
        };
        let text = error.to_string();
        let begin = match field {
            "" => format!("{}, line 2: ", file.path().display()),
            field => format!("{}, line 2: {field}: ", file.path().display()),
        };
        assert!(text.starts_with(&begin), "{line}: {text}");
        assert!(text[begin.len()..].contains(part), "{line}: {text}");
        assert!(
            !text.contains("c2hv") && !text.contains("AAEC") && !text.contains('\n'),
            "{text}"
        );
    }
    let reason = json!({"id": "d", "statusReason": "x".repeat(129)}).to_string();
    let Err(StartError::Seed(error)) = sown(&reason).await else {
        panic!("taken")
    };
    assert!(error.to_string().contains("line 1: statusReason: "), "{error}");
    let missing = Emulator::builder().seed("/nowhere/devices.txt").start().await;
    assert!(matches!(missing, Err(StartError::Seed(SeedError::Io { .. }))));
}

/// As Java's SDK writes them.
#[tokio::test]
async fn other_spellings_are_understood() {
    let thumbprint = "DE89B7BBD215E7E47ECD372F61205712D71DD521";
    let line = json!({
        "id": "evehicle_0",
        "importMode": "createOrUpdate",
        "status": "Enabled",
        "authentication": {
            "thumbprint": {"primaryThumbprint": thumbprint, "secondaryThumbprint": thumbprint},
            "type": "SELF_SIGNED",
        },
    });
    let hub = sown(&line.to_string()).await.unwrap();
    let after = exported(&hub).await.remove(0);
    assert_eq!(after["authentication"]["type"], "selfSigned");
    assert_eq!(
        after["authentication"]["x509Thumbprint"]["secondaryThumbprint"],
        thumbprint
    );
}

#[tokio::test]
async fn a_refused_file_leaves_the_state_directory_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    varied(Some(directory.path())).await.stop().await;
    let before = Export::of_state_dir(directory.path(), ExportKeys::Included).unwrap();
    let file = file("{\"id\":\"new\"}\n{}\n");
    let builder = Emulator::builder().state_dir(directory.path()).seed(file.path());
    assert!(matches!(builder.start().await, Err(StartError::Seed(_))));
    let after = Export::of_state_dir(directory.path(), ExportKeys::Included).unwrap();
    assert_eq!(after.expose(), before.expose());
}
