//! Goal: `events watch` shows what a filter lets through, or how the events flow.
//! Method: the emulator in the test's own process; expected values are what the test itself sent, and what the manual of jq
//! says of a filter.

use iothub_emulator::LogLimits;
use serde_json::Value;

use super::events::{World, bodies};

const READINGS: [&str; 4] = [
    r#"{"temp":19.5}"#,
    r#"{"temp":21}"#,
    r#"{"temp":"hot"}"#,
    r#"{"temp":30,"alarm":true}"#,
];

#[test]
fn a_filter_shows_what_it_lets_through_and_says_what_it_can_not_be_applied_to() {
    let world = World::new();
    world.send("pump-1", &READINGS);
    world.send("pump-2", &["-p", "colour=blue", "plain"]);
    let shown = |filter: &str, more: &[&str]| {
        let args = ["watch", "--since", "start", "-o", "json", "--where", filter];
        let ran = world.events(&[&args[..], more].concat()).run().expect_code(0);
        let bodies: Vec<_> = ran.json().iter().map(|line| line["body"].to_string()).collect();
        (bodies, ran.stderr)
    };
    let idle = ["--idle", "1s"];
    let (hot, told) = shown(".body | numbers, (objects | .temp | numbers) > 20", &idle);
    assert_eq!(
        (hot, told.as_str()),
        (vec![READINGS[1].to_owned(), READINGS[3].to_owned()], "")
    );
    // In jq a text is more than any number, and a text has no fields.
    let (hot, told) = shown(".body.temp > 20", &idle);
    assert_eq!(hot.len(), 3);
    assert_eq!(told.lines().count(), 1, "{told}");
    assert!(
        told.starts_with("warning: the filter can't be applied to event "),
        "{told}"
    );
    let (blue, _) = shown(".properties.colour == \"blue\"", &["-n", "1"]);
    assert_eq!(blue, ["\"plain\""]);
    let (none, _) = shown(".device == \"fan-1\"", &idle);
    assert_eq!(none, [""; 0]);

    let text = world
        .events(&["watch", "--since", "start", "-n", "1", "--where", ".body.alarm?"])
        .run()
        .expect_code(0);
    assert!(
        text.stdout.ends_with(&format!("  pump-1  {}\n", READINGS[3])),
        "{text:?}"
    );
}

/// A row has the fields of the line, and is read again by RFC 4180.
#[test]
fn as_csv_an_event_is_a_row_under_the_names_of_its_fields() {
    let world = World::new();
    world.send(
        "pump-1",
        &["-p", "a=b,c", "--message-id", "m1", "{\"t\":\"say \\\"x\\\"\"}"],
    );
    let args = ["watch", "--since", "start", "-n", "1", "-o"];
    let csv = world
        .events(&[&args[..], &["csv"]].concat())
        .run()
        .expect_code(0)
        .stdout;
    let json = world
        .events(&[&args[..], &["json"]].concat())
        .run()
        .expect_code(0)
        .object();
    let (names, row) = csv.split_once('\n').unwrap();
    assert_eq!(
        names,
        "device,module,partition,seq,offset,enqueued,source,properties,system,body_kind,body"
    );
    let start = format!(
        "pump-1,,{},0,{},",
        json["partition"],
        json["offset"].as_str().unwrap()
    );
    assert!(row.starts_with(&start), "{row}");
    assert!(row.contains(r#","{""a"":""b,c""}","#), "{row}");
    assert!(
        row.ends_with(",json,\"{\"\"t\"\":\"\"say \\\"\"x\\\"\"\"\"}\"\n"),
        "{row}"
    );
}

/// A filter that never ends does not keep a command from its end.
#[cfg(unix)]
#[test]
fn ctrl_c_ends_a_watch_whose_filter_does_not() {
    let world = World::new();
    world.send("pump-1", &["a", "b"]);
    let filter = r#"if .body == "b" then [range(infinite)] else true end"#;
    let mut watch = world
        .events(&["watch", "--since", "start", "-o", "json", "--where", filter])
        .start();
    assert_eq!(watch.json()["body"], "a");
    watch.signal("INT");
    watch.end().expect_code(130);
    let bounded = world
        .events(&[
            "watch",
            "--since",
            "start",
            "--for",
            "2s",
            "--where",
            "[range(infinite)]",
        ])
        .run();
    bounded.expect_code(0);
}

#[test]
fn statistics_count_each_partition_and_what_is_missing() {
    let world = World::new();
    for device in ["pump-1", "pump-2", "fan-1"] {
        world.send(device, &["a", "b", "c"]);
    }
    let args = [
        "watch", "--since", "start", "--idle", "1s", "--stats", "--every", "300ms",
    ];
    let ran = world
        .events(&[&args[..], &["-o", "json"]].concat())
        .run()
        .expect_code(0);
    let lines = ran.json();
    let last = &lines[lines.len() - 4..];
    let sum = |name: &str| last.iter().map(|line| line[name].as_u64().unwrap()).sum::<u64>();
    assert_eq!(
        (sum("events"), sum("lag"), sum("missing"), sum("repeated")),
        (9, 0, 0, 0)
    );
    for (number, line) in last.iter().enumerate() {
        assert_eq!(line["partition"], number);
        let mut names: Vec<_> = line.as_object().unwrap().keys().map(String::as_str).collect();
        names.sort_unstable();
        // docs/cli.md
        let mut fields = vec![
            "time",
            "partition",
            "events",
            "rate",
            "lag",
            "behind",
            "missing",
            "repeated",
            "last",
        ];
        fields.sort_unstable();
        assert_eq!(names, fields);
        let is_read = line["events"].as_u64() > Some(0);
        assert_eq!(line["last"].is_string(), is_read, "{line}");
        assert_eq!(
            (&line["behind"], &line["rate"]),
            (&Value::from(0.0), &Value::from(0.0))
        );
    }
    // What came in the time between two drawings is the rate of the second.
    let counted: f64 = lines.iter().map(|line| line["rate"].as_f64().unwrap()).sum();
    assert!(counted > 0.0);

    let one = world
        .events(&[&args[..], &["-d", "fan-1"]].concat())
        .run()
        .expect_code(0);
    let tables: Vec<_> = one.stdout.split("\n\n").collect();
    assert!(tables.len() >= 3, "{one:?}");
    let names: Vec<_> = tables[0].lines().next().unwrap().split_whitespace().collect();
    assert_eq!(
        names,
        [
            "PARTITION",
            "EVENTS",
            "PER",
            "SECOND",
            "LAG",
            "BEHIND",
            "MISSING",
            "REPEATED",
            "LAST"
        ]
    );
    let all: Vec<_> = tables
        .last()
        .unwrap()
        .lines()
        .last()
        .unwrap()
        .split_whitespace()
        .collect();
    assert_eq!(all[..8], ["all", "3", "0.0", "0", "0.0", "s", "0", "0"]);
    assert!(!one.stdout.contains('\u{1b}'));

    let csv = world
        .events(&[&args[..], &["-o", "csv"]].concat())
        .run()
        .expect_code(0);
    let names: Vec<_> = csv
        .stdout
        .lines()
        .filter(|line| line.starts_with("time,"))
        .collect();
    assert_eq!(
        names,
        ["time,partition,events,rate,lag,behind,missing,repeated,last"]
    );
}

#[test]
fn statistics_tell_what_the_hub_has_dropped() {
    let world = World::with_log(LogLimits::new(8, 1 << 20));
    world.send("pump-1", &["m0", "m1", "m2", "m3"]);
    let file = world.file("seen.json");
    let seen = world
        .events(&[
            "watch",
            "--since",
            "start",
            "-n",
            "2",
            "-o",
            "json",
            "--checkpoint",
            &file,
        ])
        .run()
        .expect_code(0);
    assert_eq!(bodies(&seen), ["m0", "m1"]);
    let more: Vec<_> = (4..24).map(|number| format!("m{number}")).collect();
    let words: Vec<_> = more.iter().map(String::as_str).collect();
    world.send("pump-1", &words);
    let ran = world
        .events(&[
            "watch",
            "--idle",
            "1s",
            "--stats",
            "--every",
            "300ms",
            "-o",
            "json",
            "--checkpoint",
            &file,
        ])
        .run()
        .expect_code(0);
    let lines = ran.json();
    let last = &lines[lines.len() - 4..];
    let sum = |name: &str| last.iter().map(|line| line[name].as_u64().unwrap()).sum::<u64>();
    // 24 were sent and two seen before.
    assert_eq!(sum("events") + sum("missing"), 22, "{ran:?}");
    assert!(sum("missing") > 0, "{ran:?}");
    assert!(
        ran.stderr
            .contains(&format!("warning: {} events of partition", sum("missing"))),
        "{ran:?}"
    );
}

/// In a pseudo-terminal, which util-linux's `script` makes.
#[cfg(target_os = "linux")]
#[test]
fn on_a_terminal_each_table_takes_the_place_of_the_one_before() {
    let world = World::new();
    world.send("pump-1", &["a"]);
    let watch = "exec \"$IOTHUB\" events watch --since start --stats --every 200ms --for 1s";
    let ran = world
        .service(&[])
        .program(
            "script",
            &["--quiet", "--return", "--command", watch, "/dev/null"],
        )
        .env("IOTHUB", env!("CARGO_BIN_EXE_iothub"))
        .run()
        .expect_code(0);
    // Up by the names, four partitions and the sum, and clear from there on (ECMA-48 CUU, ED).
    let drawn: Vec<_> = ran.stdout.split("\u{1b}[6A\u{1b}[J").collect();
    assert!(drawn.len() >= 4, "{ran:?}");
    for table in drawn {
        assert_eq!(table.lines().count(), 6, "{table}");
    }
}
