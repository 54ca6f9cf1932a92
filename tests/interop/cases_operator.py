"""`iothub` as an operator's tool, with devices and back ends that are not ours, at the hub of `iothub emulator run`."""

import base64
import gzip
import json
from datetime import datetime, timezone

import sas
from cases import case, cases_of
from device_hub import need_the_sdks_ports
from events_reader import new_key
from harness import HOST, STARTS_WITHIN_S, expect
from node_device import NodeDevice
from node_registry import NodeRegistry
from operator_hub import OwnHub, ended
from proton_device import ProtonDevice, events_of

# RFC 8949 Appendix A: {"a": 1, "b": [2, 3]}.
CBOR = bytes.fromhex("a26161016162820203")
JSON = '{"t": 21.5, "sign": "✓"}'
SECURITY = "urn:azureiot:Security:SecurityAgent:1"


def node_at(world, hub, device="valve", string=None):
    node = NodeDevice(world, hub, "tcp", connection_string=string or hub.connection_string(device))
    node.do("open")
    return node


def base64_of(raw):
    return base64.b64encode(raw).decode()


# Events.


def events_watch_sees_what_nodes_sdk_sends(world, way):
    hub = OwnHub(world, "valve", "other")
    credential = {"IOTHUB_SERVICE_CONNECTION_STRING": ""} | (
        {"IOTHUB_SERVICE_CONNECTION_STRING": hub.ready["service"]}
        if way == "service"
        else {"IOTHUB_EVENTS_CONNECTION_STRING": hub.ready["events"]}
    )
    flags = ["-d", "va*", "--since", "start", "-n", "5", "-o", "json"]
    if way == "websocket":
        need_the_sdks_ports(hub)
        flags += ["--transport", "ws"]
    watch = hub.start("events", "watch", *flags, **credential)
    began = datetime.now(timezone.utc).replace(microsecond=0)
    other = node_at(world, hub, "other")
    other.do("send", message={"body": "not asked for"})
    node = node_at(world, hub)
    full = {
        "body": JSON,
        "message_id": "m-1",
        "correlation_id": "c-1",
        "content_type": "application/json",
        "content_encoding": "utf-8",
        "properties": {"mood": "curious", "empty": "", "sign": "½"},
        "security": True,
    }
    node.do("send", message=full)
    node.do("send", message={"body": "plain ✓"})
    node.do("send", message={"base64": base64_of(b"\x00\xff\xfe")})
    packed = gzip.compress(JSON.encode())
    node.do("send", message={"base64": base64_of(packed), "content_type": "application/json", "content_encoding": "gzip"})
    node.do("send", message={"base64": base64_of(CBOR), "content_type": "application/cbor"})

    lines = ended(watch)
    expect("that they are in order, with none between", [line["seq"] - lines[0]["seq"] for line in lines], list(range(5)))
    expect("who sent them", {(line["device"], line["module"], line["source"]) for line in lines}, {("valve", None, "Telemetry")})
    expect("in how many partitions they are", len({line["partition"] for line in lines}), 1)
    expect("kinds of offset", {type(line["offset"]) for line in lines}, {str})
    bodies = [(line["body_kind"], line["body"]) for line in lines]
    seen = json.loads(JSON)
    wanted = [("json", seen), ("text", "plain ✓"), ("base64", "AP/+"), ("json", seen), ("json", {"a": 1, "b": [2, 3]})]
    expect("the bodies", bodies, wanted)
    first = lines[0]
    expect("application properties", first["properties"], full["properties"])
    expect("those of one that has none", lines[1]["properties"], {})
    system = first["system"]
    said = {name: system.get(name) for name in ("message-id", "correlation-id", "content-type", "content-encoding")}
    wanted = {"message-id": "m-1", "correlation-id": "c-1", "content-type": "application/json", "content-encoding": "utf-8"}
    expect("system properties", said, wanted)
    expect("the mark of a security message", system["iothub-interface-id"], SECURITY)
    # What the hub itself says, of claims that Microsoft's SDK signed in with.
    expect("the device by its annotation", system["iothub-connection-device-id"], "valve")
    method = json.loads(system["iothub-connection-auth-method"])
    expect("how it signed in", (method["scope"], method["type"]), ("device", "sas"))
    at = datetime.fromisoformat(first["enqueued"].replace("Z", "+00:00"))
    expect("that it came in this minute", 0 <= (at - began).total_seconds() < 60, True)


cases_of(events_watch_sees_what_nodes_sdk_sends, "service", "events", "websocket")


@case
def events_watch_sees_what_proton_sends(world):
    """Typed properties, ids that are no text, and bodies of all three kinds of section."""
    hub = OwnHub(world, "valve")
    watch = hub.start("events", "watch", "--since", "start", "-n", "4", "-o", "json")
    job = {"user": f"valve@sas.{HOST.split('.')[0]}", "password": sas.sign(hub.key("valve"), HOST, "valve"), "virtual_host": HOST, "tls_name": HOST}
    message = {"body_kind": "value", "body": "Hello World!", "message_id": "post", "properties": {"k": "v"}}
    result, _ = world.peer("proton_send", hub.place() | job | {"address": events_of("valve"), "message": message})
    expect("what became of the post's message", result["outcome"], "accepted")

    proton = ProtonDevice(world, hub, mech="PLAIN", user=job["user"], password=job["password"])
    proton.attach("d2c", "sender", events_of("valve"))
    uuid = "12345678-9abc-4ef0-9234-56789abcdef0"
    proton.send("d2c", id={"ulong": 7}, correlation_id={"uuid": uuid}, body="b", properties={"n": {"int": 5}, "t": True})
    proton.send("d2c", value={"int": 5})
    proton.send("d2c", sequence=["one", {"int": 2}])

    lines = ended(watch)
    bodies = [(line["body_kind"], line["body"]) for line in lines]
    wanted = [("text", "Hello World!"), ("text", "b"), ("json", 5), ("json", [["one", 2]])]
    expect("the bodies", bodies, wanted)
    expect("the post's properties", (lines[0]["properties"], lines[0]["system"]["message-id"]), ({"k": "v"}, "post"))
    expect("typed properties", lines[1]["properties"], {"n": 5, "t": True})
    ids = (lines[1]["system"]["message-id"], lines[1]["system"]["correlation-id"])
    expect("ids", ids, (7, uuid))
    count = sum(line["count"] for line in hub.run("events", "count"))
    expect("what `events count` counts", count, 4)


# Messages to devices.


def c2d_send_hears_what_nodes_sdk_did(world, word):
    """`--wait` ends with the device's word; an abandoned message comes ten times, and is then given up."""
    fate, code, deliveries = {
        "complete": ("Success", 0, 1),
        "reject": ("Rejected", 7, 1),
        "abandon": ("DeliveryCountExceeded", 7, 10),
    }[word]
    hub = OwnHub(world, "valve")
    node = node_at(world, hub)
    node.do("receive", settle=[word])
    more = ["--message-id", "order-1", "--content-type", "application/json", "-p", "valve=3", "--expires", "1h"]
    waiting = hub.start("c2d", "send", "valve", JSON, *more, "--ack", "full", "--wait", "-o", "json")
    for _ in range(deliveries):
        got = node.saw("message")
        expect("that it could settle", (got["word"], got["error"]), (word, None))
        expect("body and id", (got["body"], got["id"]), (JSON, "order-1"))
        expect("content-type", got["content_type"], "application/json")
        expect("to", got["to"], "/devices/valve/messages/devicebound")
        expect("properties", got["properties"], {"valve": "3"})
    hub.wait_until_settled("valve")
    # Feedback is told 15 s after the first of it.
    hub.turn_clock("16s")
    (sent,) = ended(waiting, code)
    told = {name: sent[name] for name in ("message_id", "device", "module", "outcome", "feedback")}
    wanted = {"message_id": "order-1", "device": "valve", "module": None, "outcome": "accepted", "feedback": fate}
    expect("what it told", told, wanted)


cases_of(c2d_send_hears_what_nodes_sdk_did, "complete", "reject", "abandon")


@case
def c2d_feedback_tells_what_became_of_messages_to_nodes_sdk(world):
    hub = OwnHub(world, "valve")
    for name, ack in [("one", "full"), ("two", "positive"), ("three", "negative"), ("four", "none"), ("five", "negative")]:
        sent = hub.object("c2d", "send", "valve", name, "--message-id", name, "--ack", ack)
        expect("outcome and feedback", (sent["outcome"], sent["feedback"]), ("accepted", None))
    expect("how many wait", hub.object("registry", "show", "valve")["messages"], 5)
    node = node_at(world, hub)
    node.do("receive", settle=["complete", "complete", "complete", "complete", "reject"])
    expect("in their order", [node.saw("message")["body"] for _ in range(5)], ["one", "two", "three", "four", "five"])
    hub.wait_until_settled("valve")
    hub.turn_clock("16s")
    told = [(line["message_id"], line["device"], line["status"]) for line in hub.run("c2d", "feedback", "-n", "3")]
    wanted = [("one", "valve", "Success"), ("two", "valve", "Success"), ("five", "valve", "Rejected")]
    expect("what was asked for", told, wanted)


@case
def c2d_purge_takes_away_what_nodes_sdk_would_have_got(world):
    hub = OwnHub(world, "valve")
    hub.object("c2d", "send", "valve", "never")
    expect("how many", hub.object("c2d", "purge", "valve"), {"device": "valve", "purged": 1})
    node = node_at(world, hub)
    node.do("receive", settle=["complete"])
    hub.object("c2d", "send", "valve", "behind")
    expect("what came", node.saw("message")["body"], "behind")


# Methods.


@case
def method_call_is_answered_by_nodes_sdk(world):
    hub = OwnHub(world, "valve")
    node = node_at(world, hub)
    node.do("answer", method="turn", status=207, payload={"open": True, "sign": "✓"})
    call = ["method", "call", "valve", "turn", '{"by": 90}', "--connect-timeout", "20s"]
    answer = {"device": "valve", "module": None, "method": "turn", "status": 207, "payload": {"open": True, "sign": "✓"}}
    expect("the answer", hub.object(*call), answer)
    expect("what it was asked", node.saw("call")["payload"], {"by": 90})


@case
def method_call_is_not_answered_by_nodes_sdk(world):
    hub = OwnHub(world, "valve")
    error = hub.error(5, "method", "call", "valve", "turn")
    expect("for one who is away", (error["kind"], error["condition"]), ("not-found", "DeviceNotOnline"))
    node = node_at(world, hub)
    node.do("silence", method="turn")
    error = hub.error(8, "method", "call", "valve", "turn", "--timeout", "5s", "--connect-timeout", "20s")
    said = (error["kind"], error["condition"], error["retryable"])
    expect("for one who says nothing, and may have done it", said, ("time-out", "GatewayTimeout", False))


# The registry and twins.


@case
def nodes_service_sdk_reads_what_registry_import_made(world):
    hub = OwnHub(world, "valve")
    need_the_sdks_ports(hub)
    keys = {"primaryKey": new_key(), "secondaryKey": new_key()}
    prints = {"primaryThumbprint": "A" * 40, "secondaryThumbprint": "B" * 40}
    tags = {"floor": 4, "place": {"hall": "✓"}}
    lines = [
        {"id": "keyed", "status": "enabled", "authentication": {"type": "sas", "symmetricKey": keys}, "tags": tags},
        {"id": "off", "status": "disabled", "statusReason": "in the workshop", "capabilities": {"iotEdge": True}},
        {"id": "by-print", "status": "enabled", "authentication": {"type": "selfSigned", "x509Thumbprint": prints}},
        {"id": "keyed", "moduleId": "filter", "authentication": {"type": "sas", "symmetricKey": keys}},
    ]
    lines[0]["properties"] = {"desired": {"light": "on"}}
    file = world.folder("import") / "devices.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    came = hub.object("registry", "import", file)
    expect("what came of it", (came["done"], came["refused"]), (4, 0))

    registry = NodeRegistry(world, hub, connection_string=hub.ready["service"])
    keyed, off, by_print = (registry.registry("get", name) for name in ("keyed", "off", "by-print"))
    expect("its keys", keyed["authentication"]["symmetricKey"], keys)
    expect("its state", (keyed["status"], keyed["capabilities"]["iotEdge"]), ("enabled", False))
    state = (off["status"], off["statusReason"], off["capabilities"]["iotEdge"])
    expect("the state of the other", state, ("disabled", "in the workshop", True))
    lengths = [len(base64.b64decode(key)) for key in off["authentication"]["symmetricKey"].values()]
    expect("the length of its keys, which the hub made", lengths, [32, 32])
    proof = by_print["authentication"]
    expect("who comes by a certificate", (proof["type"], proof["x509Thumbprint"]), ("selfSigned", prints))
    twin = registry.twin("keyed")
    expect("its tags", twin["tags"], tags)
    expect("its desired properties", twin["properties"]["desired"]["light"], "on")
    module = registry.registry("getModule", "keyed", "filter")
    expect("its module's keys", module["authentication"]["symmetricKey"], keys)
    # And the other way round: what the SDK has made is what `export` writes.
    made = registry.registry("create", {"deviceId": "theirs", "capabilities": {"iotEdge": True}})
    exported = {line["id"]: line for line in ended(hub.start("registry", "export", "-")) if "moduleId" not in line}
    expect("all of them", sorted(exported), ["by-print", "keyed", "off", "theirs", "valve"])
    theirs = exported["theirs"]
    expect("its keys", theirs["authentication"]["symmetricKey"], made["authentication"]["symmetricKey"])
    expect("that it is an Edge device", theirs["capabilities"]["iotEdge"], True)
    # The keys of the file are good for what they are.
    string = f"{hub.connection_string('valve').split(';')[0]};DeviceId=keyed;SharedAccessKey={keys['secondaryKey']}"
    node_at(world, hub, string=string).do("send", message={"body": "x"})


@case
def twin_patch_reaches_nodes_sdk_and_its_report_is_shown(world):
    hub = OwnHub(world, "valve")
    node = node_at(world, hub)
    expect("desired at first", node.do("twin")["desired"], {"$version": 1})
    node.do("watch")
    node.saw("desired")
    watch = hub.start("twin", "watch", "valve", "--every", "100ms", "--count", "3", "-o", "json")
    expect("the twin at first", watch.json_line(STARTS_WITHIN_S)["properties"]["desired"]["$version"], 1)

    patch = {"tags": {"floor": 4}, "properties": {"desired": {"light": "on", "sign": "✓"}}}
    patched = hub.object("twin", "patch", "valve", json.dumps(patch))
    expect("what the device hears", node.saw("desired")["patch"], {"light": "on", "sign": "✓", "$version": 2})
    expect("the tags", patched["tags"], {"floor": 4})
    expect("what is watched then", watch.json_line(STARTS_WITHIN_S)["properties"]["desired"]["light"], "on")

    node.do("report", patch={"light": "on", "lumen": 800.5})
    (last,) = ended(watch)
    shown = hub.object("twin", "show", "valve")
    expect("what is watched at last", last, shown)
    reported = {name: value for name, value in shown["properties"]["reported"].items() if not name.startswith("$")}
    expect("what the device reported", reported, {"light": "on", "lumen": 800.5})
    versions = (shown["properties"]["desired"]["$version"], shown["properties"]["reported"]["$version"])
    expect("the versions", versions, (2, 2))
    replaced = hub.object("twin", "replace", "valve", '{"properties":{"desired":{"light":"off"}}}')
    expect("what stands in its place", replaced["properties"]["desired"]["light"], "off")
    heard = node.saw("desired")["patch"]
    expect("what the device hears of that", (heard["light"], heard["$version"]), ("off", 3))


@case
def registry_keys_renewed_and_a_device_disabled_shut_nodes_sdk_out(world):
    hub = OwnHub(world, "valve")
    old = hub.connection_string("valve")
    keys = hub.object("registry", "keys", "renew", "valve", "--key", "primary")
    node = NodeDevice(world, hub, "tcp", connection_string=old)
    expect("the old key", node.tried("open")["error"], "UnauthorizedError")
    node_at(world, hub, string=keys["connection_string"]).do("send", message={"body": "new"})
    swapped = hub.object("registry", "keys", "swap", "valve")
    expect("the keys then", swapped["secondary_key"], keys["primary_key"])
    node_at(world, hub, string=swapped["connection_string"]).do("send", message={"body": "swapped"})
    hub.object("registry", "update", "valve", "--status", "disabled")
    node = NodeDevice(world, hub, "tcp", connection_string=swapped["connection_string"])
    expect("one that may not connect", node.tried("open")["error"] is None, False)
