//! Who may ask what: policies' rights, what a token's `sr` covers, devices' own paths.

use super::client::*;
use crate::common::{DEVICE, device, device_token};

/// A request for each kind of right, with what its policy needs of rights.
const OF_EACH_RIGHT: [(&str, &[&str]); 9] = [
    (
        "GET /devices/myFirstDevice",
        &["registryRead", "registryReadWrite"],
    ),
    ("GET /devices", &["registryRead", "registryReadWrite"]),
    ("GET /statistics/devices", &["registryRead", "registryReadWrite"]),
    ("PUT /devices/new", &["registryReadWrite"]),
    ("DELETE /devices/myFirstDevice", &["registryReadWrite"]),
    ("POST /devices", &["registryReadWrite"]),
    ("GET /twins/myFirstDevice", &["service"]),
    ("POST /twins/myFirstDevice/methods", &["service"]),
    ("GET /devices/myFirstDevice/messages/devicebound", &["device"]),
];

#[tokio::test]
async fn each_request_needs_its_right() {
    let hub = hub().await;
    for (line, allowed) in OF_EACH_RIGHT {
        for policy in [
            "service",
            "device",
            "registryRead",
            "registryReadWrite",
            "iothubowner",
        ] {
            let token = policy_token(policy, HOST, 3600);
            // Without a version: who may ask is told of that, and nothing is done.
            let answer = send(&hub, line, &authorization(&token), "").await;
            let wanted = if allowed.contains(&policy) || policy == "iothubowner" {
                error(400, "InvalidProtocolVersion")
            } else {
                error(401, "IotHubUnauthorizedAccess")
            };
            assert_eq!(answer.error(), wanted, "{line} by {policy}");
        }
    }
}

#[tokio::test]
async fn a_token_that_does_not_hold_is_refused_whatever_is_wrong() {
    let hub = hub().await;
    let good = policy_token("iothubowner", HOST, 3600);
    let at = good.find("sig=").unwrap() + 6;
    let mut forged = good.clone();
    forged.replace_range(at..=at, if &good[at..=at] == "A" { "B" } else { "A" });
    let tokens = [
        String::new(),
        "SharedAccessSignature".to_owned(),
        "Bearer eyJ0eXAiOiJKV1QifQ.e30.c2ln".to_owned(),
        forged,
        policy_token("iothubowner", HOST, -3600),
        policy_token("iothubowner", "otherhub.azure-devices.net", 3600),
        policy_token("nosuchpolicy", HOST, 3600),
        good.replace("iothubowner", "registryRead")
            .replace("sig=", "sig=x"),
        // A device is no back end.
        device_token(),
    ];
    for token in tokens {
        let headers = if token.is_empty() {
            String::new()
        } else {
            authorization(&token)
        };
        let answer = send(&hub, &format!("GET /devices/{DEVICE}?{VERSION}"), &headers, "").await;
        assert_eq!(answer.error(), error(401, "IotHubUnauthorizedAccess"), "{token}");
        // It does not say what was wrong.
        let body = answer.json();
        assert_eq!(body["Message"], "ErrorCode:IotHubUnauthorizedAccess;Unauthorized");
    }
    let right = send(
        &hub,
        &format!("GET /devices/{DEVICE}?{VERSION}"),
        &authorization(&good),
        "",
    )
    .await;
    assert_eq!(right.status, 200);
}

/// Azure docs, "Control access to IoT Hub by using shared access signatures": `resourceURI` is "URI prefix (by segment) of the
/// endpoints that can be accessed".
#[tokio::test]
async fn a_policys_token_opens_what_its_resource_is_a_prefix_of() {
    let hub = hub().await;
    for (resource, line, opens) in [
        ("/devices", "GET /devices", true),
        ("/devices", "GET /devices/myFirstDevice", true),
        ("/devices/myFirstDevice", "GET /devices/myFirstDevice", true),
        (
            "/devices/myFirstDevice",
            "GET /devices/myFirstDevice/modules",
            true,
        ),
        ("/devices/myFirst", "GET /devices/myFirstDevice", false),
        ("/devices/myfirstdevice", "GET /devices/myFirstDevice", false),
        ("/devices/myFirstDevice", "GET /devices", false),
        ("/devices", "GET /twins/myFirstDevice", false),
        ("/twins", "GET /twins/myFirstDevice", true),
        // The same path, escaped.
        ("/devices/myFirstDevice", "GET /devices/myFirst%44evice", true),
    ] {
        for host in [HOST, "localhost", "TCONTEHUB.azure-devices.net"] {
            let token = policy_token("iothubowner", &format!("{host}{resource}"), 3600);
            let answer = send(&hub, &format!("{line}?{VERSION}"), &authorization(&token), "").await;
            assert_eq!(
                answer.status,
                if opens { 200 } else { 401 },
                "{host}{resource} for {line}"
            );
        }
    }
}

#[tokio::test]
async fn a_device_comes_to_its_own_paths_only() {
    let hub = hub().await;
    hub.register_device("other".parse().unwrap(), None).await.unwrap();
    let own = authorization(&device_token());
    let line = |device: &str| format!("GET /devices/{device}/messages/devicebound?{VERSION}");
    assert_eq!(send(&hub, &line(DEVICE), &own, "").await.status, 204);
    assert_eq!(send(&hub, &line("other"), &own, "").await.status, 401);
    hub.set_status(&device(), iothub_emulator::Status::Disabled)
        .await
        .unwrap();
    assert_eq!(send(&hub, &line(DEVICE), &own, "").await.status, 401);
    let policy = authorization(&policy_token("device", HOST, 3600));
    assert_eq!(send(&hub, &line("other"), &policy, "").await.status, 204);
    assert_eq!(send(&hub, &line(DEVICE), &policy, "").await.status, 401);
}

#[tokio::test]
async fn a_path_or_method_that_is_not_there_is_told_to_everyone() {
    let hub = hub().await;
    for line in ["GET /device", "GET /devices/a/b", "GET //devices", "POST /twins"] {
        let answer = send(&hub, line, "", "").await;
        assert_eq!(answer.error(), error(404, "ResourceNotFound"), "{line}");
    }
    for (line, allowed) in [
        ("PATCH /devices/a", "get, put, delete"),
        ("GET /twins/a/methods", "post"),
        ("POST /statistics/devices", "get"),
    ] {
        let answer = send(&hub, line, "", "").await;
        assert_eq!(answer.error(), error(405, "InvalidOperation"), "{line}");
        assert_eq!(answer.header("allow"), Some(allowed));
    }
    // Literals compare in any case.
    assert_eq!(
        owner(&hub, "GET /Devices/", &serde_json::Value::Null)
            .await
            .status,
        200
    );
}
