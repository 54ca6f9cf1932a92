//! Goal: whatever an operator does wrong, and whatever stands in the way, is one clear line with its exit code, the same as JSON for
//! programs, and shows no secret.
//! Method: a table of wrong uses, each run twice as a process: codes and kinds are those of docs/cli.md, conditions those of the
//! hub's documentation.

use iothub_address::{ConnectionString, DeviceId, PolicyName};
use iothub_emulator::{CloudMessage, Emulator, Keys, Tier};
use iothub_registry::Registry;
use iothub_sas::{SharedKey, Signer, UnixTime};
use iothub_tests::proxy::TestProxy;
use iothub_tests::tls::{TestCa, Validity};
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::harness::{Cli, KEY, iothub, key};

struct World {
    runtime: Runtime,
    emulator: Emulator,
    proxy: TestProxy,
    scratch: TempDir,
    /// A TLS server that is no hub and has a certificate for another name; its authority is in `other.pem`.
    elsewhere: u16,
}

/// Of a proxy; in no message that is for people.
const PASSWORD: &str = "canary-of-a-password";
/// A policy's key.
const OTHER_KEY: &str = "ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=";

impl World {
    fn new() -> Self {
        let runtime = Runtime::new().unwrap();
        let policy = |name: &str| -> PolicyName { name.parse().unwrap() };
        let builder = Emulator::builder()
            .hub("myhub".parse().unwrap())
            .amqps_port(0)
            .https_port(0)
            .tier(Tier::S1)
            .policy(policy("iothubowner"), SharedKey::from_base64(OTHER_KEY).unwrap())
            .policy(policy("registryRead"), SharedKey::from_base64(OTHER_KEY).unwrap())
            .device("pump-1".parse().unwrap(), Keys::new(key(), key()))
            .device("off".parse().unwrap(), Keys::new(key(), key()))
            .device("full".parse().unwrap(), Keys::new(key(), key()));
        let (emulator, proxy) = runtime.block_on(async {
            (
                builder.start().await.unwrap(),
                TestProxy::start(Some("Basic dTpw")).await,
            )
        });
        let scratch = tempfile::tempdir().unwrap();
        std::fs::write(scratch.path().join("ca.pem"), emulator.root_certificate_pem()).unwrap();
        let ca = TestCa::new();
        std::fs::write(scratch.path().join("other.pem"), ca.root_pem()).unwrap();
        let acceptor = ca.acceptor("other.example", Validity::Current);
        let elsewhere = runtime.block_on(async {
            let (listener, address) = iothub_tests::scripted::listen().await.unwrap();
            tokio::spawn(async move {
                while let Ok((stream, _)) = listener.accept().await {
                    drop(acceptor.accept(stream).await);
                }
            });
            address.port()
        });
        let world = Self {
            runtime,
            emulator,
            proxy,
            scratch,
            elsewhere,
        };
        world.prepare();
        world
    }

    /// What can't be said when a hub is built: a device that is disabled, one whose queue is full, and that there were more
    /// queries than the hub takes.
    fn prepare(&self) {
        self.runtime.block_on(async {
            let full: DeviceId = "full".parse().unwrap();
            for _ in 0..50 {
                let message = CloudMessage::new("x");
                self.emulator.send_to_device(full.clone(), message).await.unwrap();
            }
        });
        self.cli("registry update off --status disabled")
            .run()
            .expect_code(0);
        for file in ["there.jsonl", "other.jsonl"] {
            std::fs::write(self.scratch.path().join(file), "{\"id\":\"a b\"}\n").unwrap();
        }
    }

    fn owner(&self) -> String {
        let https = self.emulator.amqps_address().port();
        format!("HostName=localhost:{https};SharedAccessKeyName=iothubowner;SharedAccessKey={OTHER_KEY}")
    }

    fn of_device(&self, device: &str, key: &str) -> String {
        let port = self.emulator.amqps_address().port();
        format!("HostName=localhost:{port};DeviceId={device};SharedAccessKey={key}")
    }

    /// A command line whose words are parted by spaces, with all that it needs to reach the hub.
    fn cli(&self, line: &str) -> Cli {
        let port = self.emulator.https_address().unwrap().port();
        iothub(line.split(' '))
            .env("IOTHUB_SERVICE_CONNECTION_STRING", self.owner())
            .env("IOTHUB_DEVICE_CONNECTION_STRING", self.of_device("pump-1", KEY))
            .env("IOTHUB_CA_FILE", self.file("ca.pem"))
            .env("IOTHUB_HTTPS_PORT", port.to_string())
    }

    /// The same as another service.
    fn service(&self, line: &str, string: &str) -> Cli {
        self.cli(line).env("IOTHUB_SERVICE_CONNECTION_STRING", string)
    }

    /// The same as another device.
    fn device(&self, line: &str, string: &str) -> Cli {
        self.cli(line).env("IOTHUB_DEVICE_CONNECTION_STRING", string)
    }

    fn file(&self, name: &str) -> String {
        self.scratch.path().join(name).to_str().unwrap().to_owned()
    }

    /// Asks until the hub has had enough of it (Azure docs, "IoT Hub quotas and throttling": 20 queries a minute and unit).
    fn exhaust_queries(&self) {
        let string = ConnectionString::parse(&self.owner()).unwrap();
        let port = self.emulator.https_address().unwrap().port();
        let root = self.emulator.root_certificate_der().to_vec().into();
        self.runtime.block_on(async {
            let registry = Registry::from_connection_string(&string)
                .unwrap()
                .port(port)
                .root(root)
                .deadline(std::time::Duration::from_millis(500))
                .build()
                .await
                .unwrap();
            for _ in 0..200 {
                if registry.query("SELECT * FROM devices").next().await.is_err() {
                    return;
                }
            }
            panic!("not throttled");
        });
    }
}

/// A wrong use: what it is, how it is run, and what comes of it.
struct Wrong {
    what: &'static str,
    cli: Box<dyn Fn(&World) -> Cli>,
    code: i32,
    words: &'static [&'static str],
    condition: Option<&'static str>,
}

fn wrong(
    what: &'static str,
    code: i32,
    words: &'static [&'static str],
    cli: impl Fn(&World) -> Cli + 'static,
) -> Wrong {
    Wrong {
        what,
        cli: Box::new(cli),
        code,
        words,
        condition: None,
    }
}

impl Wrong {
    /// What the hub calls it.
    fn condition(mut self, name: &'static str) -> Self {
        self.condition = Some(name);
        self
    }
}

/// docs/cli.md, "Errors".
fn kind(code: i32) -> (&'static str, bool) {
    match code {
        1 => ("unexpected", false),
        2 => ("usage", false),
        3 => ("unreachable", true),
        4 => ("unauthorised", false),
        5 => ("not-found", false),
        6 => ("throttled", true),
        7 => ("rejected", false),
        8 => ("time-out", true),
        9 => ("partial", false),
        _ => panic!("{code} is no exit code of the table"),
    }
}

fn usage() -> Vec<Wrong> {
    vec![
        wrong(
            "a flag that is none",
            2,
            &["--nope", "'iothub events watch --help'"],
            |world| world.cli("events watch --nope"),
        ),
        wrong(
            "a command that is none",
            2,
            &["registri", "'registry'"],
            |world| world.cli("registri list"),
        ),
        wrong("an argument that is missing", 2, &["<ID>"], |world| {
            world.cli("registry show")
        }),
        wrong(
            "a time without a unit",
            2,
            &["--since", "10m", "'iothub events watch --help'"],
            |world| world.cli("events watch --since 10"),
        ),
        wrong(
            "no credential of a service",
            2,
            &["IOTHUB_SERVICE_CONNECTION_STRING"],
            |_| iothub(["registry", "list"]),
        ),
        wrong(
            "no credential of a device",
            2,
            &["IOTHUB_DEVICE_CONNECTION_STRING"],
            |_| iothub(["device", "send", "a"]),
        ),
        wrong(
            "a device's string where a service's is wanted",
            2,
            &["a service's"],
            |world| world.service("registry list", &world.of_device("pump-1", KEY)),
        ),
        wrong(
            "a service's string where a device's is wanted",
            2,
            &["a device's or module's"],
            |world| world.device("device send a", &world.owner()),
        ),
        wrong(
            "a connection string without a key",
            2,
            &["IOTHUB_SERVICE_CONNECTION_STRING"],
            |world| {
                world.service(
                    "registry list",
                    "HostName=localhost;SharedAccessKeyName=iothubowner",
                )
            },
        ),
        wrong(
            "a key that is no base64",
            2,
            &["IOTHUB_DEVICE_CONNECTION_STRING"],
            |world| {
                world.device(
                    "device send a",
                    "HostName=localhost;DeviceId=d;SharedAccessKey=canary-of-a-password",
                )
            },
        ),
        wrong(
            "a file of a connection string that is not there",
            2,
            &["/nowhere/string"],
            |world| world.cli("registry list --connection-string-file /nowhere/string"),
        ),
        wrong("a context that is not there", 2, &["nobody"], |world| {
            world.cli("registry list --context nobody")
        }),
        wrong("an authority's file that is none", 2, &["there.jsonl"], |world| {
            let file = world.file("there.jsonl");
            world.cli("registry list --ca").arg(file)
        }),
        wrong(
            "a device's id that is none",
            2,
            &["a/b", "'iothub registry create --help'"],
            |world| world.cli("registry create a/b"),
        ),
        wrong("a twin's change that is no JSON", 2, &["JSON"], |world| {
            world.cli("twin patch pump-1 {a:1}")
        }),
        wrong("a method's payload that is no JSON", 2, &["JSON"], |world| {
            world.cli("method call pump-1 reboot {a:1}")
        }),
        wrong("a filter that is no jq", 2, &["--where", "is not jq"], |world| {
            world.cli("events watch --where .a>")
        }),
        wrong("a partition that is not there", 2, &["no partition 9"], |world| {
            world.cli("events watch --partition 9")
        }),
        wrong(
            "a deletion that nobody can be asked about",
            2,
            &["--yes"],
            |world| world.cli("registry delete pump-1"),
        ),
        wrong(
            "an export over a file that is there",
            2,
            &["there.jsonl", "not there yet"],
            |world| {
                let file = world.file("there.jsonl");
                world.cli("events export").arg(file)
            },
        ),
        wrong("lines that are no devices", 2, &["line 1 of", "id"], |world| {
            let file = world.file("other.jsonl");
            world.cli("registry import").arg(file)
        }),
        wrong("a proxy's address that is none", 2, &["--proxy"], |world| {
            world.cli("registry list --proxy ftp://u:canary-of-a-password@localhost")
        }),
    ]
}

fn unreachable() -> Vec<Wrong> {
    vec![
        wrong("a host that is none", 3, &["nowhere.invalid"], |world| {
            let string = world.owner();
            let (_, rest) = string.split_once(';').unwrap();
            world.service(
                "registry list --https-port 443",
                &format!("HostName=nowhere.invalid;{rest}"),
            )
        }),
        wrong(
            "a port of HTTPS that is closed",
            3,
            &["localhost:1", "--https-port"],
            |world| world.cli("registry list --https-port 1"),
        ),
        wrong("a port of AMQP that is closed", 3, &["localhost:1"], |world| {
            world.device(
                "device send a",
                &format!("HostName=localhost:1;DeviceId=pump-1;SharedAccessKey={KEY}"),
            )
        }),
        wrong(
            "a port of AMQP that is closed to a reader",
            3,
            &["localhost:1"],
            |world| {
                let string = format!(
                    "HostName=localhost:1;SharedAccessKeyName=iothubowner;SharedAccessKey={OTHER_KEY}"
                );
                world.service("events watch", &string)
            },
        ),
        wrong(
            "a proxy that is down",
            3,
            &["the proxy http://***@127.0.0.1:1", "--proxy"],
            |world| world.cli("registry list --proxy http://u:canary-of-a-password@127.0.0.1:1"),
        ),
        wrong(
            "a proxy that is down, for a reader",
            3,
            &["127.0.0.1:1"],
            |world| world.cli("events watch --proxy http://u:canary-of-a-password@127.0.0.1:1"),
        ),
        wrong(
            "an authority that is not known",
            3,
            &["is trusted", "--ca"],
            |world| {
                let file = world.file("other.pem");
                world.cli("registry list --ca").arg(file)
            },
        ),
        wrong("a certificate for another name", 3, &["another name"], |world| {
            let string = format!(
                "HostName=localhost:{};DeviceId=d;SharedAccessKey={KEY}",
                world.elsewhere
            );
            let file = world.file("other.pem");
            world.device("device send a --ca", &string).arg(file)
        }),
    ]
}

fn refused() -> Vec<Wrong> {
    vec![
        wrong("a wrong key of a service", 4, &["check the key"], |world| {
            world.service("registry list", &world.owner().replace(OTHER_KEY, KEY))
        })
        .condition("IotHubUnauthorizedAccess"),
        wrong("a wrong key of a device", 4, &["key"], |world| {
            world.device("device send a", &world.of_device("pump-1", OTHER_KEY))
        })
        .condition("amqp:unauthorized-access"),
        wrong("a wrong key of a reader", 4, &["unauthorized"], |world| {
            world.service("events watch", &world.owner().replace(OTHER_KEY, KEY))
        })
        .condition("amqp:unauthorized-access"),
        wrong(
            "a token that has ended",
            4,
            &["IotHubUnauthorizedAccess"],
            |world| {
                let token = Signer::new(SharedKey::from_base64(OTHER_KEY).unwrap())
                    .policy("iothubowner")
                    .sign("localhost", UnixTime::from_secs(1_000_000_000));
                let string = format!("HostName=localhost;SharedAccessSignature={}", token.expose());
                world.service("registry list", &string)
            },
        )
        .condition("IotHubUnauthorizedAccess"),
        wrong(
            "a policy without the right",
            4,
            &["IotHubUnauthorizedAccess"],
            |world| {
                let string = world.owner().replace("iothubowner", "registryRead");
                world.service("registry create new-one", &string)
            },
        )
        .condition("IotHubUnauthorizedAccess"),
        wrong("a device that is disabled", 4, &[], |world| {
            world.device("device send a", &world.of_device("off", KEY))
        })
        .condition("amqp:unauthorized-access"),
        wrong(
            "a proxy that wants other credentials",
            4,
            &["wants credentials", "--proxy"],
            |world| {
                let url = format!("http://u:{PASSWORD}@{}", world.proxy.address);
                world.cli("registry list --proxy").arg(url)
            },
        ),
        wrong("a device that is not there", 5, &["nobody"], |world| {
            world.cli("registry show nobody")
        })
        .condition("DeviceNotFound"),
        wrong("a module that is not there", 5, &["nothing"], |world| {
            world.cli("module show pump-1 nothing")
        })
        .condition("ModuleNotFound"),
        wrong(
            "a message to a device that is not there",
            5,
            &["iothub registry list"],
            |world| world.cli("c2d send nobody x"),
        )
        .condition("amqp:not-found"),
        wrong(
            "a method of a device that is not connected",
            5,
            &["--connect-timeout"],
            |world| world.cli("method call pump-1 reboot"),
        )
        .condition("DeviceNotOnline"),
        wrong(
            "a consumer group that is not there",
            5,
            &["--consumer-group"],
            |world| world.cli("events watch --consumer-group nobody"),
        )
        .condition("amqp:not-found"),
        wrong("a queue that is full", 6, &["iothub c2d purge"], |world| {
            world.cli("c2d send full x")
        })
        .condition("amqp:resource-limit-exceeded"),
        wrong("too many queries", 6, &["429"], |world| {
            world.exhaust_queries();
            world
                .cli("registry query --timeout 1s")
                .arg("SELECT * FROM devices")
        })
        .condition("ThrottlingException"),
        wrong("an ETag that has changed", 7, &["ETag"], |world| {
            world.cli("registry delete pump-1 --yes --if-match AAAAAAAAAAA=")
        })
        .condition("PreconditionFailed"),
        wrong("a device that is there", 7, &["pump-1"], |world| {
            world.cli("registry create pump-1")
        })
        .condition("DeviceAlreadyExists"),
        wrong("a query that is none", 7, &["ArgumentInvalid"], |world| {
            world.cli("registry query SELECT")
        })
        .condition("ArgumentInvalid"),
        wrong("a body over 256 KiB", 7, &["256 KiB"], |world| {
            world.cli("device send -").stdin(vec![b'x'; 300_000])
        })
        .condition("amqp:link:message-size-exceeded"),
    ]
}

/// Where a write fails (proc(5) and null(4) have `/dev/full`).
#[cfg(target_os = "linux")]
fn full_disk() -> Vec<Wrong> {
    vec![
        wrong(
            "a full disk under an export of events",
            1,
            &["No space left"],
            |world| {
                world
                    .device("device send a", &world.of_device("pump-1", KEY))
                    .run()
                    .expect_code(0);
                world.cli("events export -").stdout_to("/dev/full")
            },
        ),
        wrong(
            "a full disk under an export of devices",
            1,
            &["No space left"],
            |world| world.cli("registry export -").stdout_to("/dev/full"),
        ),
        wrong("a full disk under a list", 1, &["No space left"], |world| {
            world.cli("registry list").stdout_to("/dev/full")
        }),
    ]
}

#[test]
fn each_is_one_line_with_its_code_the_same_as_json_and_without_a_secret() {
    let world = World::new();
    let mut uses = usage();
    uses.extend(unreachable());
    uses.extend(refused());
    #[cfg(target_os = "linux")]
    uses.extend(full_disk());
    assert!(uses.len() >= 30);
    let mut failures = Vec::new();
    for wrong in &uses {
        let checked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| check(wrong, &world)));
        if checked.is_err() {
            failures.push(wrong.what);
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}

fn check(wrong: &Wrong, world: &World) {
    let text = (wrong.cli)(world).run().expect_error(wrong.code, wrong.words);
    let json = (wrong.cli)(world).args(["-o", "json"]).run();
    let json = json.expect_error(wrong.code, wrong.words);
    let line: Value = serde_json::from_str(&json.stderr).unwrap();
    let error = line["error"].as_object().unwrap();
    let mut names: Vec<_> = error.keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        ["condition", "hint", "kind", "message", "retryable", "tracking_id"]
    );
    let (kind, retryable) = kind(wrong.code);
    // One that is not there may be there later.
    let retryable = retryable || wrong.condition == Some("DeviceNotOnline");
    assert_eq!(
        (&error["kind"], &error["retryable"]),
        (&kind.into(), &retryable.into())
    );
    assert_eq!(error["condition"].as_str(), wrong.condition, "{line}");
    for ran in [text, json] {
        let all = format!("{}{}", ran.stdout, ran.stderr);
        for secret in [KEY, OTHER_KEY, PASSWORD, "sig="] {
            assert!(!all.contains(secret), "{}: {all}", wrong.what);
        }
    }
}
