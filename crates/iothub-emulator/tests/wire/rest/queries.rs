//! Queries over a registry of a thousand devices that is put together by arithmetic, so that who answers to a query follows
//! from the device's number. What each query means is worked out by hand from the documentation ("IoT Hub query language for
//! device and module twins, jobs, and message routing").

use std::fmt::Write as _;

use iothub_emulator::{Emulator, Tier};
use serde_json::{Value, json};

use super::client::*;

const DEVICES: usize = 1000;

fn id(n: usize) -> String {
    format!("d{n:04}")
}

/// The line of device `n` in a seed file, and of its module, which each tenth has.
fn lines(n: usize) -> String {
    let status = if n.is_multiple_of(7) {
        "disabled"
    } else {
        "enabled"
    };
    let building = ["A", "B", "C"][n % 3];
    let mut tags = json!({
        "floor": n % 5, "building": building, "site": { "city": format!("city-{}", n % 20) },
        "mixed": if n.is_multiple_of(2) { json!(n) } else { json!(n.to_string()) },
    });
    if n.is_multiple_of(4) {
        tags["label"] = json!(format!("label-{n}"));
    }
    let mut reported = json!({
        "battery": n % 101, "online": n.is_multiple_of(2),
        "interval": if n.is_multiple_of(3) { 5 } else { 10 * (n % 6) },
        "config": { "status": match n % 10 { 0..6 => "Success", 6..9 => "Pending", _ => "Error" } },
        "level": n as f64 / 4.0,
    });
    if n.is_multiple_of(8) {
        reported["list"] = json!([n % 3, "x"]);
    }
    let desired = json!({ "interval": 10 * (n % 6) });
    let device = json!({
        "id": id(n), "status": status, "tags": tags,
        "properties": { "desired": desired, "reported": reported },
    });
    let mut lines = format!("{device}\n");
    if n.is_multiple_of(10) {
        let module = json!({ "id": id(n), "moduleId": "filter", "tags": { "n": n } });
        writeln!(lines, "{module}").unwrap();
    }
    lines
}

async fn thousand() -> (Emulator, tempfile::TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("devices.jsonl");
    std::fs::write(&file, (0..DEVICES).map(lines).collect::<String>()).unwrap();
    let hub = Emulator::builder()
        .hub("tcontehub".parse().unwrap())
        .policy(
            "iothubowner".parse().unwrap(),
            crate::common::key(crate::common::KEY),
        )
        .seed(&file)
        .start()
        .await
        .unwrap();
    (hub, directory)
}

async fn ask(hub: &Emulator, query: &str, headers: &str) -> Answer {
    let body = json!({ "query": query }).to_string();
    owner_with(hub, "POST /devices/query", headers, &body).await
}

/// All rows: no query here has more than a page of the largest size.
async fn rows(hub: &Emulator, query: &str) -> Vec<Value> {
    let answer = ask(hub, query, "x-ms-max-item-count: 1000\r\n").await;
    assert_eq!(answer.status, 200, "{query}: {}", answer.text);
    assert_eq!(answer.header("x-ms-continuation"), None, "{query}");
    answer.json().as_array().unwrap().clone()
}

type Holds = fn(usize) -> bool;

/// Conditions, and for which devices they hold.
const CONDITIONS: [(&str, Holds); 42] = [
    ("deviceId = 'd0042'", |n| n == 42),
    ("deviceId IN ['d0001', 'd0500', 'nobody']", |n| n == 1 || n == 500),
    ("deviceId NIN ['d0001']", |n| n != 1),
    ("STARTSWITH(deviceId, 'd00')", |n| n < 100),
    ("ENDSWITH(deviceId, '7')", |n| n % 10 == 7),
    ("status = 'disabled'", |n| n % 7 == 0),
    ("status != 'disabled'", |n| n % 7 != 0),
    ("tags.floor = 3", |n| n % 5 == 3),
    ("tags.floor <> 3", |n| n % 5 != 3),
    ("tags.floor < 1", |n| n % 5 == 0),
    ("tags.floor <= 1", |n| n % 5 <= 1),
    ("tags.floor > 3", |n| n % 5 == 4),
    ("tags.floor >= 3", |n| n % 5 >= 3),
    ("tags.floor = '3'", |_| false),
    ("tags.building = 'A' AND tags.floor = 0", |n| n % 15 == 0),
    ("tags.building = 'A' OR tags.floor = 0", |n| {
        n % 3 == 0 || n % 5 == 0
    }),
    ("NOT tags.building = 'A'", |n| n % 3 != 0),
    ("NOT (tags.building = 'A' OR tags.building = 'B')", |n| n % 3 == 2),
    (
        "tags.building IN ['A', 'B'] AND NOT tags.floor IN [0, 1, 2]",
        |n| n % 3 < 2 && n % 5 > 2,
    ),
    // AND binds tighter than OR.
    ("tags.floor = 0 OR tags.floor = 1 AND tags.building = 'C'", |n| {
        n % 5 == 0 || n % 5 == 1 && n % 3 == 2
    }),
    (
        "(tags.floor = 0 OR tags.floor = 1) AND tags.building = 'C'",
        |n| n % 5 < 2 && n % 3 == 2,
    ),
    ("IS_DEFINED(tags.label)", |n| n % 4 == 0),
    ("NOT IS_DEFINED(tags.label)", |n| n % 4 != 0),
    // Nothing is true of what is not there.
    ("tags.label != 'label-0'", |n| n % 4 == 0 && n != 0),
    ("NOT tags.label = 'label-0'", |n| n != 0),
    ("tags.label = tags.label", |n| n % 4 == 0),
    // A number and a text do not compare.
    ("tags.mixed < 10", |n| n < 10 && n % 2 == 0),
    ("tags.mixed >= '9'", |n| {
        n % 2 == 1 && n.to_string().as_str() >= "9"
    }),
    ("IS_NUMBER(tags.mixed)", |n| n % 2 == 0),
    ("IS_STRING(tags.mixed) AND IS_STRING(deviceId)", |n| n % 2 == 1),
    ("AS_NUMBER(tags.mixed) = 501", |n| n == 501),
    ("tags.site.city = 'city-7'", |n| n % 20 == 7),
    ("IS_OBJECT(tags.site) AND tags.site = 'city-7'", |_| false),
    ("properties.reported.online = true", |n| n % 2 == 0),
    ("properties.reported.online", |n| n % 2 == 0),
    (
        "properties.desired.interval = properties.reported.interval",
        |n| n % 3 != 0,
    ),
    (
        "properties.desired.interval > properties.reported.interval",
        |n| n % 6 == 3,
    ),
    (
        "properties.reported.battery >= 50 AND properties.reported.battery < 52",
        |n| n % 101 == 50 || n % 101 == 51,
    ),
    (
        "properties.reported.level = 2.5 OR properties.reported.level > 249.5",
        |n| n == 10 || n == 999,
    ),
    ("'x' IN properties.reported.list", |n| n % 8 == 0),
    ("0 IN properties.reported.list", |n| n % 24 == 0),
    (
        "properties.reported.config.status = 'Error' AND capabilities.iotEdge = false",
        |n| n % 10 == 9,
    ),
];

#[tokio::test]
async fn conditions_choose_the_devices_that_they_hold_for() {
    let (hub, _directory) = thousand().await;
    for (condition, holds) in CONDITIONS {
        let found = rows(&hub, &format!("SELECT deviceId FROM devices WHERE {condition}")).await;
        let found: Vec<&str> = found
            .iter()
            .map(|row| row["deviceId"].as_str().unwrap())
            .collect();
        let wanted: Vec<String> = (0..DEVICES).filter(|n| holds(*n)).map(id).collect();
        assert_eq!(found, wanted, "{condition}");
    }
    hub.stop().await;
}

#[tokio::test]
async fn rows_are_projected_counted_and_grouped() {
    let (hub, _directory) = thousand().await;
    for (query, wanted) in [
        (
            "SELECT deviceId FROM devices WHERE tags.floor = 0 AND tags.building = 'A' AND STARTSWITH(deviceId, 'd00')",
            json!([
                { "deviceId": "d0000" }, { "deviceId": "d0015" }, { "deviceId": "d0030" }, { "deviceId": "d0045" },
                { "deviceId": "d0060" }, { "deviceId": "d0075" }, { "deviceId": "d0090" },
            ]),
        ),
        (
            "SELECT deviceId AS id, properties.reported.battery AS level, tags.label FROM devices WHERE deviceId IN ['d0104', 'd0105']",
            json!([
                { "id": "d0104", "level": 3, "label": "label-104" }, { "id": "d0105", "level": 4 },
            ]),
        ),
        (
            "SELECT TOP 2 tags.site FROM devices WHERE tags.site.city = 'city-19'",
            json!([
                { "site": { "city": "city-19" } }, { "site": { "city": "city-19" } },
            ]),
        ),
        // A thousand; of 0 to 999 there are 143 multiples of 7, 250 of 4, 200 of each floor.
        ("SELECT COUNT() AS n FROM devices", json!([{ "n": 1000 }])),
        (
            "select count() as n from devices where status = 'disabled'",
            json!([{ "n": 143 }]),
        ),
        (
            "SELECT COUNT() AS numberOfDevices FROM devices WHERE IS_DEFINED(tags.label)",
            json!([{ "numberOfDevices": 250 }]),
        ),
        (
            "SELECT tags.floor AS floor, COUNT() AS n FROM devices GROUP BY tags.floor",
            json!([
                { "floor": 0, "n": 200 }, { "floor": 1, "n": 200 }, { "floor": 2, "n": 200 }, { "floor": 3, "n": 200 },
                { "floor": 4, "n": 200 },
            ]),
        ),
        // The documentation's own: six, three and one of each ten.
        (
            "SELECT properties.reported.config.status AS status, COUNT() AS numberOfDevices FROM devices GROUP BY properties.reported.config.status",
            json!([
                { "status": "Error", "numberOfDevices": 100 }, { "status": "Pending", "numberOfDevices": 300 },
                { "status": "Success", "numberOfDevices": 600 },
            ]),
        ),
        // 334 multiples of 3, 333 of each other remainder.
        (
            "SELECT tags.building, COUNT() AS n FROM devices GROUP BY tags.building",
            json!([
                { "building": "A", "n": 334 }, { "building": "B", "n": 333 }, { "building": "C", "n": 333 },
            ]),
        ),
        // 0 to 999 in quarters: the sum is 499500 / 4.
        (
            "SELECT SUM(properties.reported.level) AS s, AVG(properties.reported.level) AS a, MIN(properties.reported.level) AS l, MAX(properties.reported.level) AS m FROM devices",
            json!([
                { "s": 124_875, "a": 124.875, "l": 0.0, "m": 249.75 },
            ]),
        ),
        (
            "SELECT MIN(deviceId) AS first, MAX(deviceId) AS last FROM devices WHERE tags.floor = 4",
            json!([
                { "first": "d0004", "last": "d0999" },
            ]),
        ),
        // Each tenth has one: 0, 10, … 990.
        ("SELECT COUNT() AS n FROM devices.modules", json!([{ "n": 100 }])),
        (
            "SELECT deviceId, moduleId, tags.n FROM devices.modules WHERE tags.n > 970",
            json!([
                { "deviceId": "d0980", "moduleId": "filter", "n": 980 }, { "deviceId": "d0990", "moduleId": "filter", "n": 990 },
            ]),
        ),
        (
            "SELECT COUNT() AS n FROM devices.modules WHERE moduleId = 'filter' AND deviceId = 'd0010'",
            json!([{ "n": 1 }]),
        ),
        (
            "SELECT COUNT() AS n FROM devices WHERE IS_DEFINED(moduleId)",
            json!([{ "n": 0 }]),
        ),
        (
            "SELECT * FROM devices.jobs WHERE devices.jobs.deviceId = 'd0001'",
            json!([]),
        ),
        (
            "SELECT tags.building AS b, tags.floor AS f, COUNT() AS n FROM devices WHERE tags.floor < 2 AND status = 'enabled' AND tags.building = 'A' GROUP BY tags.building, tags.floor",
            json!([
                // Of 67 multiples of 15, the 10 of 105 are disabled; of 6 mod 15 there are 67, and 21 + 105 k, of which there are 10.
                { "b": "A", "f": 0, "n": 57 }, { "b": "A", "f": 1, "n": 57 },
            ]),
        ),
        (
            "SELECT TOP 1 tags.floor, COUNT() AS n FROM devices GROUP BY tags.floor",
            json!([{ "floor": 0, "n": 200 }]),
        ),
    ] {
        assert_eq!(rows(&hub, query).await, *wanted.as_array().unwrap(), "{query}");
    }
    hub.stop().await;
}

#[tokio::test]
async fn pages_follow_each_other_and_say_what_they_hold() {
    let (hub, _directory) = thousand().await;
    for (query, size, kind) in [
        ("SELECT * FROM devices WHERE tags.floor = 1", 30, "twin"),
        ("SELECT deviceId FROM devices WHERE tags.floor = 1", 199, "raw"),
        ("SELECT deviceId FROM devices WHERE tags.floor = 1", 200, "raw"),
    ] {
        let (mut all, mut pages, mut next) = (Vec::new(), 0, String::new());
        loop {
            let answer = ask(&hub, query, &format!("x-ms-max-item-count: {size}\r\n{next}")).await;
            assert_eq!(answer.header("x-ms-item-type"), Some(kind));
            let page = answer.json();
            all.extend(
                page.as_array()
                    .unwrap()
                    .iter()
                    .map(|row| row["deviceId"].as_str().unwrap().to_owned()),
            );
            pages += 1;
            // Headers are lower case here and the token is not: it comes from the answer as it was.
            let Some(token) = continuation(&hub, query, size, &next).await else {
                break;
            };
            next = format!("x-ms-continuation: {token}\r\n");
        }
        let wanted: Vec<String> = (0..DEVICES).filter(|n| n % 5 == 1).map(id).collect();
        assert_eq!((all, pages), (wanted, 200_usize.div_ceil(size)), "{query}");
    }
    // Without a size a hundred; a device that is removed between two pages is missed by none but its own row.
    let query = "SELECT * FROM devices";
    let first = ask(&hub, query, "").await.json();
    assert_eq!(first.as_array().unwrap().len(), 100);
    let token = continuation(&hub, query, 100, "").await.unwrap();
    for n in [99, 100] {
        owner_if(&hub, &format!("DELETE /devices/{}", id(n)), "*", &Value::Null).await;
    }
    let second = ask(&hub, query, &format!("x-ms-continuation: {token}\r\n"))
        .await
        .json();
    assert_eq!(second[0]["deviceId"], id(101));
    // It is of its query, and no text of anybody's.
    let other = format!("x-ms-continuation: {token}\r\n");
    let refused = ask(&hub, "SELECT * FROM devices WHERE true", &other).await;
    assert_eq!(refused.error(), error(400, "ArgumentInvalid"));
    for bad in ["x", "AAAA", "W10="] {
        let refused = ask(&hub, query, &format!("x-ms-continuation: {bad}\r\n")).await;
        assert_eq!(refused.error(), error(400, "ArgumentInvalid"), "{bad}");
    }
    for size in ["0", "1001", "-1", "x"] {
        let refused = ask(&hub, query, &format!("x-ms-max-item-count: {size}\r\n")).await;
        assert_eq!(refused.error(), error(400, "ArgumentInvalid"), "{size}");
    }
    hub.stop().await;
}

/// The token of the page behind this one, in its own letters.
async fn continuation(hub: &Emulator, query: &str, size: usize, next: &str) -> Option<String> {
    let token = policy_token("iothubowner", HOST, 3600);
    let body = json!({ "query": query }).to_string();
    let request = format!(
        "POST /devices/query?{VERSION} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{}x-ms-max-item-count: {size}\r\n\
         {next}Content-Length: {}\r\n\r\n{body}",
        authorization(&token),
        body.len()
    );
    let answer = crate::https::ask_as_is(hub, &request).await;
    let (head, _) = answer.split_once("\r\n\r\n").unwrap();
    let mut lines = head.split("\r\n");
    lines.find_map(|line| line.strip_prefix("x-ms-continuation: ").map(str::to_owned))
}

#[tokio::test]
async fn a_wrong_query_is_told_with_its_place() {
    let hub = hub().await;
    for (query, words) in [
        (
            "SELECT * FROM devices WHERE tags.a = ",
            "expected a property, a value or a function, found the end, at character 38",
        ),
        (
            "SELECT * FROM nothing",
            "expected devices, devices.modules or devices.jobs, found nothing, at character 15",
        ),
        (
            "SELECT * FROM devices WHERE magic(1)",
            "there is no function magic, at character 29",
        ),
        (
            "SELECT * FROM devices ORDER BY deviceId",
            "expected the end, found ORDER, at character 23",
        ),
    ] {
        let answer = ask(&hub, query, "").await;
        assert_eq!(answer.error(), error(400, "ArgumentInvalid"), "{query}");
        assert!(
            answer.json()["Message"].as_str().unwrap().contains(words),
            "{}",
            answer.text
        );
    }
    for body in [json!({}), json!({ "query": 5 }), json!([])] {
        assert_eq!(owner(&hub, "POST /devices/query", &body).await.status, 400);
    }
    // A device of that name is a device.
    let put = owner(&hub, "PUT /devices/query", &json!({ "deviceId": "query" })).await;
    assert_eq!(put.status, 200);
    assert_eq!(
        owner(&hub, "GET /devices/query", &Value::Null).await.json()["deviceId"],
        "query"
    );
}

#[tokio::test]
async fn a_tier_throttles_queries() {
    let clock = iothub_emulator::ManualClock::new(iothub_emulator::Timestamp::from_seconds(1_700_000_000));
    let hub = builder().clock(clock).tier(Tier::S1).start().await.unwrap();
    let mut taken = 0;
    let refused = loop {
        let answer = ask(&hub, "SELECT * FROM devices", "").await;
        if answer.status != 200 {
            break answer;
        }
        taken += 1;
    };
    // "20/min/unit", and ten seconds' worth in the queue.
    assert_eq!((taken, refused.error()), (23, error(429, "ThrottlingException")));
}
