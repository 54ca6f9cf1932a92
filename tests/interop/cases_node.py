"""Microsoft's Node device SDK over AMQP and over AMQP on WebSocket, against a hub of the case's own."""

from cases import cases_of
from device_hub import DeviceHub
from harness import expect
from node_device import NodeDevice

WAYS = ("tcp", "ws")
BURST = 5000


def device_of(world, way, whom="thermostat", **setup):
    hub = DeviceHub(world, **setup)
    if "/" in whom:
        hub.device(whom.split("/")[0])
    hub.device(whom)
    node = NodeDevice(world, hub, way, module="/" in whom, connection_string=hub.connection_string(whom))
    node.do("open")
    return hub, node


def node_sends_what_it_can_say(world, way):
    hub, node = device_of(world, way)
    message = {
        "body": '{"t": 21.5, "sign": "✓"}',
        "message_id": "m-1",
        "correlation_id": "12345678-9abc-4ef0-9234-56789abcdef0",
        "content_type": "application/json",
        "content_encoding": "utf-8",
        # Milliseconds: the SDK hands it over as it is, and its AMQP library can write no `Date`.
        "expiry": 2_000_000_000_000,
        "properties": {"mood": "curious", "empty": "", "sign": "½"},
        "security": True,
    }
    node.do("send", message=message)
    event = hub.event()
    expect("who sent it", (event["device"], event["module"], event["source"]), ("thermostat", None, "Telemetry"))
    expect("the body", event["body"], {"data": message["body"]})
    expect("application properties", event["properties"], message["properties"])
    system = event["system"]
    expect("message-id", system["message-id"], "m-1")
    # An id that looks like a uuid is one on the wire (AMQP 1.0 section 1.6.24).
    expect("correlation-id", system["correlation-id"], {"uuid": message["correlation_id"]})
    expect(
        "content-type and -encoding",
        (system["content-type"], system["content-encoding"]),
        ("application/json", "utf-8"),
    )
    expect("absolute-expiry-time", system["absolute-expiry-time"], {"timestamp": 2_000_000_000_000})
    interface = event["annotations"]["iothub-interface-id"]
    expect("the mark of a security message", interface, "urn:azureiot:Security:SecurityAgent:1")


cases_of(node_sends_what_it_can_say, *WAYS)


def node_sends_five_thousand(world, way):
    hub = DeviceHub(world)
    hub.device("busy")
    node = NodeDevice(world, hub, way, trace=False, connection_string=hub.connection_string("busy"))
    node.do("open")
    expect("accepted", node.do("burst", count=BURST)["accepted"], BURST)
    ids = [event["system"]["message-id"] for event in hub.events(BURST)]
    expect("all of them, once each and in order", ids, [f"b-{number}" for number in range(BURST)])


cases_of(node_sends_five_thousand, *WAYS)


def node_completes_a_cloud_message(world, way):
    hub, node = device_of(world, way)
    hub.do(
        "send",
        whom="thermostat",
        message={
            "body": "open the valve ✓",
            "id": "order-1",
            "correlation_id": "c-1",
            "content_type": "text/plain",
            "content_encoding": "utf-8",
            "properties": {"valve": "3"},
            "ack": "full",
        },
    )
    node.do("receive", settle=["complete"])
    got = node.saw("message")
    expect("that it could settle", got["error"], None)
    expect("body and ids", (got["body"], got["id"], got["correlation_id"]), ("open the valve ✓", "order-1", "c-1"))
    expect("content-type and -encoding", (got["content_type"], got["content_encoding"]), ("text/plain", "utf-8"))
    expect("to", got["to"], "/devices/thermostat/messages/devicebound")
    expect("properties", {name: got["properties"][name] for name in ("valve",)}, {"valve": "3"})
    feedback = hub.do("feedback", within_s=10)["feedback"]
    expect("feedback", (feedback["id"], feedback["fate"]), ("order-1", "Success"))
    expect("what still waits", hub.do("waiting", whom="thermostat")["waiting"], 0)


cases_of(node_completes_a_cloud_message, *WAYS)


def node_rejects_a_cloud_message(world, way):
    hub, node = device_of(world, way)
    node.do("receive", settle=["reject"])
    hub.do("send", whom="thermostat", message={"body": "nonsense", "id": "order-2", "ack": "full"})
    expect("that it could settle", node.saw("message")["error"], None)
    feedback = hub.do("feedback", within_s=10)["feedback"]
    expect("feedback", (feedback["id"], feedback["fate"]), ("order-2", "Rejected"))
    expect("what still waits", hub.do("waiting", whom="thermostat")["waiting"], 0)


cases_of(node_rejects_a_cloud_message, *WAYS)


def node_abandons_a_cloud_message(world, way):
    """It comes again until it was delivered as often as the hub was told, and then is given up."""
    hub, node = device_of(world, way, max_delivery_count=3)
    node.do("receive", settle=["abandon", "abandon", "complete"])
    hub.do("send", whom="thermostat", message={"body": "again", "id": "order-3", "ack": "full"})
    seen = [node.saw("message") for _ in range(3)]
    words = [(got["id"], got["word"], got["error"]) for got in seen]
    expect("the deliveries", words, [("order-3", word, None) for word in ("abandon", "abandon", "complete")])
    feedback = hub.do("feedback", within_s=10)["feedback"]
    expect("feedback", (feedback["id"], feedback["fate"]), ("order-3", "Success"))


cases_of(node_abandons_a_cloud_message, *WAYS)


def node_reads_and_patches_its_twin(world, way):
    hub, node = device_of(world, way)
    hub.do("patch_tags", whom="thermostat", patch={"floor": 3})
    hub.do("patch_desired", whom="thermostat", patch={"target": 21, "mode": {"eco": True}})
    twin = node.do("twin")
    expect("desired", twin["desired"], {"target": 21, "mode": {"eco": True}, "$version": 2})
    expect("reported", twin["reported"], {"$version": 1})
    node.do("report", patch={"firmware": "1.2", "old": 1})
    node.do("report", patch={"old": None, "battery": {"level": 80}})
    at_the_hub = hub.do("twin", whom="thermostat")
    expect("reported at the hub", at_the_hub["reported"], {"firmware": "1.2", "battery": {"level": 80}})
    expect("its version", at_the_hub["reported_version"], 3)


cases_of(node_reads_and_patches_its_twin, *WAYS)


def node_is_told_of_desired_changes(world, way):
    hub, node = device_of(world, way)
    node.do("twin")
    node.do("watch")
    # The SDK tells of what is there when it is asked to watch.
    expect("what is there", node.saw("desired")["patch"], {"$version": 1})
    node.do("report", patch={"ready": True})
    for version, patch in enumerate([{"target": 22}, {"target": None, "mode": "eco"}], start=2):
        hub.do("patch_desired", whom="thermostat", patch=patch)
        expect("the change", node.saw("desired")["patch"], patch | {"$version": version})


cases_of(node_is_told_of_desired_changes, *WAYS)


def node_answers_a_method(world, way):
    hub, node = device_of(world, way)
    node.do("answer", method="reboot", status=207, payload={"in": [5, "s"]})
    call = {"whom": "thermostat", "method": "reboot", "payload": {"delay": 5}, "connect_timeout_s": 10}
    answer = hub.do("call", **call)
    expect("the answer", answer, {"status": 207, "payload": {"in": [5, "s"]}})
    seen = node.saw("call")
    expect("what the device got", (seen["method"], seen["payload"], seen["error"]), ("reboot", {"delay": 5}, None))


cases_of(node_answers_a_method, *WAYS)


def node_renews_its_token_in_place(world, way):
    """Its own key makes the tokens; each lasts a few seconds, and the connection outlives the first ones."""
    hub = DeviceHub(world, token_grace_s=0)
    hub.device("thermostat")
    key = {"connection_string": hub.connection_string("thermostat"), "ttl_s": 4, "margin_s": 2}
    node = NodeDevice(world, hub, way, key=key)
    node.do("open")
    for _ in range(3):
        node.saw("token")
    node.do("send", message={"body": "still here", "message_id": "late"})
    expect("what came", hub.event()["system"]["message-id"], "late")
    expect("connections", hub.connections(), 1)


cases_of(node_renews_its_token_in_place, *WAYS)


def node_is_handed_a_new_token(world, way):
    """The hub's clock goes past the first token, and the second has taken its place."""
    hub = DeviceHub(world, token_grace_s=60)
    hub.device("thermostat")
    node = NodeDevice(world, hub, way, token=hub.token("thermostat", lifetime_s=600))
    node.do("open")
    node.do("renew", token=hub.token("thermostat", lifetime_s=7200))
    hub.do("turn_clock", by_s=3600)
    node.do("send", message={"body": "still here", "message_id": "late"})
    expect("what came", hub.event()["system"]["message-id"], "late")
    expect("connections", hub.connections(), 1)


cases_of(node_is_handed_a_new_token, *WAYS)


def node_is_dropped_when_its_token_ends(world, way):
    hub = DeviceHub(world, token_grace_s=60)
    hub.device("thermostat")
    node = NodeDevice(world, hub, way, token=hub.token("thermostat", lifetime_s=600))
    node.do("open")
    node.do("send", message={"body": "in time", "message_id": "early"})
    hub.event()
    hub.do("turn_clock", by_s=661)
    expect("why it is gone", node.saw("disconnect")["error"], "UnauthorizedError")
    hub.no_event()


cases_of(node_is_dropped_when_its_token_ends, *WAYS)


def refused(world, hub, way, error="UnauthorizedError", **job):
    node = NodeDevice(world, hub, way, **job)
    answer = node.tried("open")
    if answer["error"] is None:
        # The hub takes the open and refuses the link.
        answer = node.tried("send", message={"body": "this must not arrive"})
    expect("the error", answer["error"], error)
    hub.no_event()


def node_is_refused_with_a_wrong_key(world, way):
    hub = DeviceHub(world)
    hub.device("thermostat")
    hub.device("other")
    for key in ["d3Jvbmcga2V5", hub.keys["other"]]:
        refused(world, hub, way, connection_string=hub.connection_string("thermostat", key))


cases_of(node_is_refused_with_a_wrong_key, *WAYS)


def node_is_refused_with_an_expired_token(world, way):
    hub = DeviceHub(world)
    hub.device("thermostat")
    refused(world, hub, way, token=hub.token("thermostat", lifetime_s=-3600))


cases_of(node_is_refused_with_an_expired_token, *WAYS)


def node_is_refused_as_an_unknown_device(world, way):
    hub = DeviceHub(world)
    refused(world, hub, way, connection_string=hub.connection_string("nobody", "d3Jvbmcga2V5"))


cases_of(node_is_refused_as_an_unknown_device, *WAYS)


def node_as_a_module(world, way):
    """Telemetry, an output, twin and method of a module are the module's and not its device's."""
    hub, node = device_of(world, way, "gateway/filter")
    node.do("send", message={"body": "plain", "message_id": "m-1"})
    node.do("output", output="hot", message={"body": "routed", "message_id": "m-2"})
    first, second = hub.events(2)
    for event in (first, second):
        expect("the sender", (event["device"], event["module"]), ("gateway", "filter"))
        expect("its stamp", event["stamps"]["iothub-connection-module-id"], "filter")
    expect("the output of each", [event["properties"] for event in (first, second)], [{}, {"iothub-outputname": "hot"}])
    hub.do("patch_desired", whom="gateway/filter", patch={"limit": 70})
    expect("desired", node.do("twin")["desired"], {"limit": 70, "$version": 2})
    node.do("report", patch={"limit": 70})
    expect("reported at the hub", hub.do("twin", whom="gateway/filter")["reported"], {"limit": 70})
    expect("that of the device", hub.do("twin", whom="gateway")["reported"], {})
    node.do("answer", method="flush", status=200, payload=None)
    answer = hub.do("call", whom="gateway/filter", method="flush", connect_timeout_s=10)
    expect("the answer", answer["status"], 200)
    error = hub.tried("call", whom="gateway", method="flush").get("error")
    expect("its device", error, "gateway is not online")


cases_of(node_as_a_module, *WAYS)


def node_takes_inputs_as_a_module(world, way):
    """What a service sends to a module comes to its inputs' link."""
    hub, node = device_of(world, way, "gateway/filter")
    node.do("inputs")
    hub.do("send", whom="gateway/filter", message={"body": "routed", "id": "i-1", "ack": "full"})
    got = node.saw("input")
    expect("the input", (got["body"], got["id"], got["error"]), ("routed", "i-1", None))
    # The SDK says that it is done when it has told the hub, and not when the hub has heard it.
    expect("feedback", hub.do("feedback", within_s=10)["feedback"]["fate"], "Success")
    expect("what still waits", hub.do("waiting", whom="gateway/filter")["waiting"], 0)


cases_of(node_takes_inputs_as_a_module, *WAYS)
