"""Claims-based security: Microsoft's Node device SDK as it is installed, and Qpid Proton by hand."""

import sas
from cases import case_in_turn
from harness import DEVICE, HOST, OTHER_DEVICE, expect
from cases_telemetry import NODE, expect_event, sasl_codes

NODE_TYPE = "servicebus.windows.net:sastoken"
WRONG_SIGNATURE = "The specified SAS token has an invalid signature. It does not match either the primary or secondary key."
BURST = 5000


@case_in_turn
def node_sends_telemetry(world):
    hub = world.hub()
    messages = [
        {"body": f"message {number} with ✓", "message_id": f"id-{number}", "properties": {"number": str(number), "mood": "curious"}}
        for number in range(3)
    ]
    # The SDK writes an id that looks like a uuid as one (AMQP 1.0 section 1.6.24).
    messages[2]["message_id"] = "12345678-9abc-def0-1234-56789abcdef0"
    result = node(world, hub.connection_string(), messages)
    expect("the outcome", (result["outcome"], result["error"]), ("accepted", None))
    for wanted in messages:
        event = hub.next_event()
        expect_event(event, body=wanted["body"], properties=wanted["properties"])
        expect("message-id", event["system"]["message-id"], wanted["message_id"])


@case_in_turn
def node_sends_a_burst(world):
    """More than the 2,048 deliveries that the SDK's AMQP library keeps unsettled."""
    hub = world.hub()
    message = {"body": "burst", "message_id": "b", "properties": {}}
    result = node(world, hub.connection_string(), [message], copies=BURST)
    expect("the outcome", (result["outcome"], result["accepted"]), ("accepted", BURST))
    received = {hub.next_event()["system"]["message-id"] for _ in range(BURST)}
    expect("all of them, once each", received, {"b"} | {f"b-{number}" for number in range(1, BURST)})


@case_in_turn
def node_with_a_wrong_key_is_refused(world):
    hub = world.hub()
    for key in ["d3Jvbmcga2V5", hub.key(OTHER_DEVICE)]:
        result = node(world, hub.connection_string(key=key), [{"body": "this must not arrive", "message_id": "x"}])
        expect("the outcome", (result["outcome"], result["error"]), ("failed", "UnauthorizedError"))


@case_in_turn
def node_as_an_unknown_device_is_refused(world):
    hub = world.hub()
    string = hub.connection_string().replace(f"DeviceId={DEVICE};", "DeviceId=nobody;")
    result = node(world, string, [{"body": "this must not arrive", "message_id": "x"}])
    expect("the outcome", (result["outcome"], result["error"]), ("failed", "UnauthorizedError"))


@case_in_turn
def proton_puts_a_token_and_sends(world):
    """Each type of message-id comes back as it went; `$cbs` has one link name in both directions."""
    hub = world.hub()
    result, trace = cbs(world, hub.token(), ids=["string", "ulong", "uuid"], body="by CBS")
    expect("the SASL codes on the wire", sasl_codes(trace), [0])
    ok = {"correlated": True, "code": 200, "description": "OK"}
    expect("the replies", result["replies"], [ok] * 3)
    sender, receiver = result["link_names"]
    expect("one name both ways", sender, receiver)
    expect("the outcome", result["outcome"], "accepted")
    expect_event(hub.next_event(), body="by CBS", properties={})


@case_in_turn
def proton_puts_a_token_of_a_wrong_key_and_is_refused(world):
    wrong = sas.sign("d3Jvbmcga2V5", HOST, DEVICE)
    cbs_refused(world, wrong, 401, WRONG_SIGNATURE)


@case_in_turn
def proton_puts_an_expired_token_and_is_refused(world):
    expired = world.hub().token(lifetime_s=-3600)
    cbs_refused(world, expired, 401, "The specified SAS token is expired")


@case_in_turn
def proton_puts_the_token_of_another_device_and_is_refused(world):
    cbs_refused(world, world.hub().token(OTHER_DEVICE), 200, "OK")


def cbs_refused(world, token, code, description):
    """Whatever the reply, the device's link is not opened."""
    result, _ = cbs(world, token, ids=["string"], body="this must not arrive")
    expect("the reply", result["replies"], [{"correlated": True, "code": code, "description": description}])
    expect("the outcome", (result["outcome"], result["condition"]), ("refused", "amqp:unauthorized-access"))


def cbs(world, token, **more):
    request = {"virtual_host": HOST, "token": token, "kind": NODE_TYPE, "address": f"/{NODE}"}
    return world.peer("proton_cbs", world.hub().place() | request | more)


def node(world, connection_string, messages, copies=1):
    return world.node_peer(
        "node_send",
        {"connection_string": connection_string, "messages": messages, "copies": copies},
        ca=world.hub().place()["ca"],
        # A burst is too much to write down frame by frame.
        trace=copies == 1,
    )
