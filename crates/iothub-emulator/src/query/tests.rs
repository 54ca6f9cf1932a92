//! The language by example. What is expected follows from the documentation's grammar and its words on values, quoted in
//! the module's own.

use serde_json::{Value, json};

use super::*;

fn twin() -> Value {
    json!({
        "deviceId": "d1", "etag": "AAAAAAAAAAc=", "status": "enabled", "version": 2,
        "tags": { "location": { "region": "US", "plant": "Redmond43" }, "floor": 3, "empty": null, "from": 1 },
        "properties": {
            "desired": { "telemetryConfig": { "sendFrequencyInSecs": 300 }, "$version": 4 },
            "reported": {
                "connectivity": "wifi", "list": ["a", 1, null], "on": true, "odd name": 1,
                "telemetryConfig": { "sendFrequencyInSecs": 300, "status": "Success" },
                "$metadata": { "$lastUpdated": "2023-11-14T22:13:20.0000000Z" }, "$version": 7,
            },
        },
    })
}

fn says(condition: &str) -> bool {
    let text = format!("SELECT * FROM devices WHERE {condition}");
    let query = parse(&text).unwrap_or_else(|error| panic!("{condition}: {error}"));
    holds(&query.condition.unwrap(), &twin())
}

#[test]
fn conditions_hold_or_do_not() {
    for (condition, wanted) in [
        // The documentation's own.
        ("tags.location.region = 'US'", true),
        (
            "tags.location.region = 'US' AND properties.reported.telemetryConfig.sendFrequencyInSecs >= 60",
            true,
        ),
        ("properties.reported.connectivity IN ['wired', 'wifi']", true),
        ("properties.reported.connectivity NIN ['wired', 'wifi']", false),
        ("is_defined(properties.reported.connectivity)", true),
        (
            "properties.desired.telemetryConfig.sendFrequencyInSecs = properties.reported.telemetryConfig.sendFrequencyInSecs",
            true,
        ),
        ("properties.reported.$metadata.$lastUpdated > '2023-11-14'", true),
        ("properties.reported.[[odd name]] = 1", true),
        ("[[tags]].[[floor]] = 3", true),
        ("devices.tags.floor = 3", true),
        // Behind a dot a keyword is a name.
        ("tags.from = 1", true),
        // Names of the hub in any case, others exactly.
        ("DeviceId = 'd1' AND Properties.Reported.on", true),
        ("tags.Floor = 3", false),
        // Types: only with their own, only primitives.
        ("tags.floor = '3'", false),
        ("tags.floor != '3'", false),
        ("tags.floor < 'x'", false),
        ("tags.location = tags.location", false),
        ("properties.reported.list = properties.reported.list", false),
        ("tags.empty = null", true),
        ("tags.empty != 1", false),
        ("tags.empty < 1", false),
        // Nothing is true of what is not there, but that it is not.
        ("tags.none = 1", false),
        ("tags.none != 1", false),
        ("tags.none = undefined", false),
        ("NOT tags.none = 1", true),
        ("NOT is_defined(tags.none)", true),
        (
            "is_defined(tags.empty) AND is_null(tags.empty) AND NOT is_null(tags.none)",
            true,
        ),
        ("tags.none NIN [1]", false),
        // Anything but true counts as false.
        ("tags.floor", false),
        ("NOT tags.floor", true),
        ("'true'", false),
        ("true AND properties.reported.on", true),
        ("undefined OR null OR true", true),
        // What binds tighter.
        ("true OR false AND false", true),
        ("(true OR false) AND false", false),
        ("NOT false AND false", false),
        ("NOT (false AND false)", true),
        ("NOT NOT true", true),
        ("1 + 2 * 3 = 7", true),
        ("(1 + 2) * 3 = 9", true),
        ("10 - 2 - 3 = 5", true),
        ("7 % 4 = 3 AND 7 / 2 = 3.5 AND -3 + 3 = 0", true),
        ("1 / 0 = 1 / 0", false),
        ("'a' + 'b' = 'ab'", false),
        ("0x1F = 31 AND 1e3 = 1000 AND 0.5 = 5e-1", true),
        (
            "tags.floor <> 4 AND tags.floor <= 3 AND 3 >= tags.floor AND NOT tags.floor > 3",
            true,
        ),
        ("'b' > 'a' AND true > false", true),
        // Lists.
        (
            "'a' IN properties.reported.list AND null IN properties.reported.list",
            true,
        ),
        ("'1' IN properties.reported.list", false),
        ("1 IN []", false),
        ("1 IN 1", false),
        // Texts.
        (
            r#"tags.location.region = "US" AND 'it\'s' = "it's" AND '\u0041\\' = 'A\\'"#,
            true,
        ),
        (
            "startswith(deviceId, 'd') AND ENDSWITH(deviceId, '1') AND NOT STARTS_WITH(deviceId, '1')",
            true,
        ),
        (
            "contains(tags.location.plant, 'mond') AND index_of(tags.location.plant, 'mond') = 3",
            true,
        ),
        (
            "length('äöü') = 3 AND upper('ä') = 'Ä' AND lower('ABC') = 'abc' AND concat('a', 'b', 'c') = 'abc'",
            true,
        ),
        (
            "substring('hello', 1, 3) = 'el' AND substring('hello', 3) = 'lo'",
            true,
        ),
        ("index_of('abc', 'x') = -1 AND starts_with(5, '5')", false),
        // Numbers.
        (
            "as_number('3') = tags.floor AND abs(-2) = 2 AND power(2, 10) = 1024 AND square(3) = 9",
            true,
        ),
        (
            "ceiling(1.2) = 2 AND floor(-1.2) = -2 AND sign(-5) = -1 AND sqrt(16) = 4 AND exp(0) = 1",
            true,
        ),
        ("is_defined(as_number('three')) OR is_defined(sqrt(-1))", false),
        // Types.
        (
            "is_number(tags.floor) AND is_string(deviceId) AND is_bool(properties.reported.on)",
            true,
        ),
        (
            "is_array(properties.reported.list) AND is_object(tags) AND is_primitive(tags.empty)",
            true,
        ),
        (
            "is_primitive(tags) OR is_object(deviceId) OR is_array(tags) OR is_number(tags.none)",
            false,
        ),
    ] {
        assert_eq!(says(condition), wanted, "{condition}");
    }
}

/// What is said, and where.
#[test]
fn what_is_no_query_is_told_with_its_place() {
    for (text, what, at) in [
        ("", "expected SELECT, found the end", 1),
        ("SELEC * FROM devices", "expected SELECT, found SELEC", 1),
        (
            "SELECT",
            "expected a property, a value or a function, found the end",
            7,
        ),
        (
            "SELECT FROM devices",
            "expected a property, a value or a function, found FROM",
            8,
        ),
        ("SELECT * devices", "expected FROM, found devices", 10),
        (
            "SELECT * FROM",
            "expected devices, devices.modules or devices.jobs, found the end",
            14,
        ),
        (
            "SELECT * FROM device",
            "expected devices, devices.modules or devices.jobs, found device",
            15,
        ),
        ("SELECT * FROM devices.twins", "expected the end, found '.'", 22),
        (
            "SELECT * FROM devices WHERE",
            "expected a property, a value or a function, found the end",
            28,
        ),
        (
            "SELECT * FROM devices WHERE tags.a =",
            "expected a property, a value or a function, found the end",
            37,
        ),
        (
            "SELECT * FROM devices WHERE tags.a = 1 AND",
            "expected a property, a value or a function, found the end",
            43,
        ),
        (
            "SELECT * FROM devices WHERE tags. = 1",
            "expected a name, found '='",
            35,
        ),
        (
            "SELECT * FROM devices WHERE tags.a == 1",
            "expected a property, a value or a function, found '='",
            37,
        ),
        (
            "SELECT * FROM devices WHERE tags.a = 1 2",
            "expected the end, found 2",
            40,
        ),
        (
            "SELECT * FROM devices WHERE (tags.a = 1",
            "expected ')', found the end",
            40,
        ),
        (
            "SELECT * FROM devices WHERE tags.a = 1)",
            "expected the end, found ')'",
            39,
        ),
        (
            "SELECT * FROM devices WHERE tags.a IN ['x'",
            "expected ']', found the end",
            43,
        ),
        (
            "SELECT * FROM devices WHERE tags.a IN ['x',]",
            "expected a property, a value or a function, found ']'",
            44,
        ),
        (
            "SELECT * FROM devices WHERE tags.a = 'x",
            "this text has no end",
            38,
        ),
        (
            "SELECT * FROM devices WHERE tags.a = 'x\\y'",
            "the escapes of a text are \\', \\\", \\\\ and \\u with four digits",
            40,
        ),
        (
            "SELECT * FROM devices WHERE tags.a = '\\u12'",
            "the escapes of a text are \\', \\\", \\\\ and \\u with four digits",
            39,
        ),
        (
            "SELECT * FROM devices WHERE tags.[[]] = 1",
            "this name is empty",
            34,
        ),
        (
            "SELECT * FROM devices WHERE tags.[[a = 1",
            "this name has no end",
            34,
        ),
        ("SELECT * FROM devices WHERE tags.a = 1x", "this is no number", 38),
        (
            "SELECT * FROM devices WHERE tags.a = 0xg",
            "this is no hexadecimal number",
            38,
        ),
        (
            "SELECT * FROM devices WHERE tags.a = 1; DROP",
            "nothing begins with ';'",
            39,
        ),
        (
            "SELECT * FROM devices WHERE like(tags.a, 'x')",
            "there is no function like",
            29,
        ),
        (
            "SELECT * FROM devices WHERE is_defined()",
            "is_defined can't have 0 arguments",
            29,
        ),
        (
            "SELECT * FROM devices WHERE startswith(tags.a)",
            "startswith can't have 1 arguments",
            29,
        ),
        (
            "SELECT * FROM devices ORDER BY deviceId",
            "expected the end, found ORDER",
            23,
        ),
        (
            "SELECT * FROM devices GROUP tags.a",
            "expected BY, found tags",
            29,
        ),
        (
            "SELECT * FROM devices GROUP BY tags.a",
            "with GROUP BY, * can't be selected",
            8,
        ),
        (
            "SELECT deviceId, COUNT() AS n FROM devices",
            "beside aggregates only what GROUP BY names can be selected",
            8,
        ),
        (
            "SELECT tags.b AS b FROM devices GROUP BY tags.a",
            "beside aggregates only what GROUP BY names can be selected",
            8,
        ),
        (
            "SELECT jobId FROM devices.jobs",
            "of jobs only * can be selected",
            8,
        ),
        (
            "SELECT COUNT() FROM devices.jobs",
            "of jobs only * can be selected",
            8,
        ),
        (
            "SELECT TOP * FROM devices",
            "expected a number of rows, found '*'",
            12,
        ),
        (
            "SELECT TOP 0 * FROM devices",
            "expected a number of rows, found 0",
            12,
        ),
        (
            "SELECT TOP 1.5 * FROM devices",
            "expected a number of rows, found 1.5",
            12,
        ),
        (
            "SELECT a.b AS x, c AS x FROM devices",
            "\"x\" is selected twice",
            20,
        ),
        (
            "SELECT COUNT(tags.a) FROM devices",
            "expected ')', found tags",
            14,
        ),
        (
            "SELECT AVG() FROM devices",
            "expected a property, a value or a function, found ')'",
            12,
        ),
        // Places are counted in characters.
        (
            "SELECT * FROM devices WHERE tags.ä = 'ö' x",
            "expected the end, found x",
            42,
        ),
    ] {
        let error = parse(text).expect_err(text);
        assert_eq!((error.what.as_str(), error.at), (what, at), "{text}");
    }
}

#[test]
fn nothing_nests_without_end() {
    let deep = |open: &str, close: &str, times: usize| {
        format!(
            "SELECT * FROM devices WHERE {}true{}",
            open.repeat(times),
            close.repeat(times)
        )
    };
    for (open, close) in [
        ("(", ")"),
        ("NOT ", ""),
        ("-", ""),
        ("[ ", "]"),
        ("is_null(", ")"),
    ] {
        assert!(parse(&deep(open, close, 20)).is_ok(), "{open}");
        let error = parse(&deep(open, close, 5000)).expect_err(open);
        assert_eq!(error.what, "this nests too deep", "{open}");
    }
    let sum = vec!["1"; 1000].join("+");
    assert_eq!(
        parse(&format!("SELECT * FROM devices WHERE {sum}"))
            .unwrap_err()
            .what,
        "this is too long a calculation"
    );
    let long = "x".repeat(65 * 1024);
    assert_eq!(parse(&long).unwrap_err().what, "a query has at most 65536 bytes");
    // As long as may be wanted: thousands of alternatives.
    let many = vec!["tags.a = 1"; 4000].join(" OR ");
    assert!(parse(&format!("SELECT * FROM devices WHERE {many}")).is_ok());
}

fn rows(query: &str, documents: &[Value]) -> Vec<Value> {
    let parsed = parse(query).unwrap();
    let pager = Pager::new(&parsed, query, None, 1000).unwrap();
    let keyed = documents
        .iter()
        .enumerate()
        .map(|(n, document)| (format!("{n:03}"), document.clone()));
    let page = pager.page(keyed);
    assert_eq!(page.next, None);
    page.rows
}

#[test]
fn rows_hold_what_is_selected() {
    let documents = [
        json!({ "deviceId": "a", "tags": { "x": 1, "g": "p" } }),
        json!({ "deviceId": "b", "tags": { "x": 2.5, "g": "q" } }),
        json!({ "deviceId": "c", "tags": { "x": "t", "g": "p" } }),
        json!({ "deviceId": "d", "tags": {} }),
    ];
    for (query, wanted) in [
        (
            "SELECT deviceId, tags.x AS value FROM devices WHERE is_defined(tags.x)",
            json!([
                { "deviceId": "a", "value": 1 }, { "deviceId": "b", "value": 2.5 }, { "deviceId": "c", "value": "t" },
            ]),
        ),
        // What is not there is left out.
        ("SELECT tags.x FROM devices WHERE deviceId = 'd'", json!([{}])),
        (
            "SELECT TOP 2 deviceId AS id FROM devices",
            json!([{ "id": "a" }, { "id": "b" }]),
        ),
        ("SELECT COUNT() AS n FROM devices", json!([{ "n": 4 }])),
        (
            "SELECT COUNT() AS n FROM devices WHERE false",
            json!([{ "n": 0 }]),
        ),
        ("SELECT COUNT(*) FROM devices", json!([{ "$1": 4 }])),
        (
            "SELECT SUM(tags.x) AS s, AVG(tags.x) AS a, MIN(tags.x) AS l, MAX(tags.x) AS m FROM devices",
            json!([
                { "s": 3.5, "a": 1.75, "l": 1, "m": 2.5 },
            ]),
        ),
        (
            "SELECT AVG(tags.none) AS a, MIN(tags.none) AS l FROM devices",
            json!([{}]),
        ),
        (
            "SELECT tags.g AS g, COUNT() AS n FROM devices GROUP BY tags.g",
            json!([
                { "n": 1 }, { "g": "p", "n": 2 }, { "g": "q", "n": 1 },
            ]),
        ),
        (
            "SELECT TOP 1 devices.tags.g AS g, COUNT() AS n FROM devices WHERE is_defined(tags.g) GROUP BY tags.g",
            json!([
                { "g": "p", "n": 2 },
            ]),
        ),
        (
            "SELECT COUNT() AS n FROM devices GROUP BY tags.g, tags.x",
            json!([
                { "n": 1 }, { "n": 1 }, { "n": 1 }, { "n": 1 },
            ]),
        ),
    ] {
        let wanted = wanted.as_array().unwrap().clone();
        assert_eq!(rows(query, &documents), wanted, "{query}");
    }
}

/// All rows in pages of so many, with a change between any two.
fn paged(
    query: &str,
    documents: &mut Vec<String>,
    most: usize,
    mut change: impl FnMut(&mut Vec<String>),
) -> Vec<String> {
    let parsed = parse(query).unwrap();
    let (mut all, mut from) = (Vec::new(), None);
    loop {
        let pager = Pager::new(&parsed, query, from, most).unwrap();
        documents.sort();
        let after = pager.after().map(str::to_owned);
        let there: Vec<_> = documents
            .iter()
            .filter(|key| after.as_ref().is_none_or(|after| *key > after))
            .map(|key| (key.clone(), json!({ "deviceId": key })))
            .collect();
        let page = pager.page(there.into_iter());
        assert!(page.rows.len() <= most);
        all.extend(
            page.rows
                .iter()
                .map(|row| row["deviceId"].as_str().unwrap().to_owned()),
        );
        let Some(next) = page.next else { return all };
        // As it is told and comes back.
        from = Continuation::from_text(&next.to_text());
        assert_eq!(from.as_ref(), Some(&next));
        change(documents);
    }
}

#[test]
fn pages_hold_each_row_once_whatever_changes_between_them() {
    let names = |range: std::ops::Range<usize>| -> Vec<String> { range.map(|n| format!("{n:04}")).collect() };
    for most in [1, 3, 10, 100, 1000] {
        assert_eq!(
            paged("SELECT * FROM devices", &mut names(0..100), most, |_| {}),
            names(0..100)
        );
        assert_eq!(
            paged("SELECT TOP 7 * FROM devices", &mut names(0..100), most, |_| {}),
            names(0..7)
        );
    }
    let mut round = 0;
    let seen = paged("SELECT * FROM devices", &mut names(10..90), 10, |documents| {
        round += 1;
        // One goes and one comes, before the place and behind it.
        documents.retain(|name| name != &format!("{:04}", 10 * round + 5) && name != "0085");
        documents.push(format!("{:04}x", round));
        documents.push(format!("0089{round}"));
    });
    let mut sorted = seen.clone();
    sorted.dedup();
    assert_eq!(sorted, seen, "none twice");
    for name in names(10..85) {
        assert!(seen.contains(&name), "{name} was there all the time");
    }
    assert!(!seen.contains(&"0085".to_owned()) && seen.contains(&"00891".to_owned()));
}

#[test]
fn a_continuation_is_of_its_query_and_no_other_text_is_one() {
    let query = parse("SELECT * FROM devices").unwrap();
    let page = Pager::new(&query, "a", None, 1)
        .unwrap()
        .page((0..3).map(|n| (n.to_string(), json!({}))));
    let next = page.next.unwrap();
    assert!(Pager::new(&query, "a", Some(next.clone()), 1).is_some());
    assert!(Pager::new(&query, "b", Some(next.clone()), 1).is_none());
    let text = next.to_text();
    for cut in 0..text.len() {
        assert_eq!(Continuation::from_text(&text[..cut]), None, "{cut}");
    }
}

#[test]
fn targets_are_all_or_those_of_a_condition() {
    for all in ["", "*", "  "] {
        let target = parse_condition(all).unwrap();
        assert_eq!(
            (target.from, target.condition),
            (Collection::Devices, None),
            "{all:?}"
        );
    }
    let devices = parse_condition("tags.a = 1 AND deviceId IN ['x']").unwrap();
    assert_eq!(devices.from, Collection::Devices);
    assert!(devices.condition.is_some());
    let modules = parse_condition("from devices.modules where moduleId = 'm'").unwrap();
    assert_eq!(modules.from, Collection::Modules);
    let every = parse_condition("FROM devices.modules").unwrap();
    assert_eq!((every.from, every.condition), (Collection::Modules, None));
    for (text, at) in [
        ("tags.a =", 9),
        ("* AND true", 3),
        ("FROM devices tags.a", 14),
        ("WHERE true", 1),
    ] {
        assert_eq!(parse_condition(text).expect_err(text).at, at, "{text}");
    }
}
