"""Telemetry with Qpid Proton at the other end: the 2016 post's job, and its mirror image."""

import json
import re
from datetime import datetime, timezone

import sas
from cases import case_in_turn
from harness import DEVICE, ENDS_WITHIN_S, HOST, HUB, OTHER_DEVICE, Listener, expect, url_of

USER = f"{DEVICE}@sas.{HUB}"
NODE = f"devices/{DEVICE}/messages/events"
# SASL code 2, "sys": what the real hub answers to bad credentials (and not 1, "auth").
SASL_SYS = 2


@case_in_turn
def proton_sends_to_a_proton_listener(world):
    """The ground: both peers, TLS, PLAIN and the password file work, with nothing of ours between them."""
    token = sas.sign("bGlzdGVuZXIncyBrZXk=", HOST, DEVICE)
    listener = Listener(world, USER, token)
    place = {"host": "localhost", "port": listener.port, "ca": str(listener.ca)}
    result, trace = send(world, place, USER, token, NODE, {"body_kind": "data", "body": "ping"})
    expect("the outcome", result["outcome"], "accepted")
    expect("the SASL codes on the wire", sasl_codes(trace), [0])
    read = listener.message()
    expect("user, target, body", (read["user"], read["address"], read["body"]), (USER, NODE, "ping"))


@case_in_turn
def proton_sends_data_unsettled(world):
    proton_sends(world, "data", settled=False)


@case_in_turn
def proton_sends_data_settled(world):
    proton_sends(world, "data", settled=True)


@case_in_turn
def proton_sends_value_unsettled(world):
    proton_sends(world, "value", settled=False)


@case_in_turn
def proton_sends_value_settled(world):
    proton_sends(world, "value", settled=True)


@case_in_turn
def proton_sends_to_the_address_of_the_2016_post(world):
    """The post's very string: raw "@" in the user, a token percent-encoded as a whole, the hub's own name."""
    hub = world.hub()
    place = hub.place()
    result, trace = world.peer(
        "post_2016",
        {
            "url": url_of(USER, hub.token(), HOST),
            "body": "Hello World!",
            "dial_host": place["host"],
            "dial_port": place["port"],
            "tls_name": HOST,
            "ca": place["ca"],
        },
    )
    expect("the outcome", result["outcome"], "sent-settled")
    expect("the SASL codes on the wire", sasl_codes(trace), [0])
    expect_event(hub.next_event(), body="Hello World!", properties={})


@case_in_turn
def proton_with_a_wrong_key_is_refused(world):
    hub = world.hub()
    refused(world, user=USER, token=sas.sign("d3Jvbmcga2V5", HOST, DEVICE), node=NODE)
    refused(world, user=USER, token=sas.sign(hub.key(OTHER_DEVICE), HOST, DEVICE), node=NODE)


@case_in_turn
def proton_with_an_expired_token_is_refused(world):
    # An hour: past any allowance for a clock that is off.
    refused(world, user=USER, token=world.hub().token(lifetime_s=-3600), node=NODE)


@case_in_turn
def proton_as_an_unknown_device_is_refused(world):
    token = sas.sign(world.hub().key(), HOST, "nobody")
    refused(world, user=f"nobody@sas.{HUB}", token=token, node="devices/nobody/messages/events")


@case_in_turn
def proton_with_the_token_of_another_device_is_refused(world):
    refused(world, user=USER, token=world.hub().token(OTHER_DEVICE), node=NODE)


@case_in_turn
def iothub_sends_to_a_proton_listener(world):
    token = sas.sign("bGlzdGVuZXIncyBrZXk=", HOST, DEVICE)
    listener = Listener(world, USER, token)
    url_file = listener.folder / "url"
    url_file.touch(mode=0o600)
    url_file.write_text(url_of(USER, token, f"localhost:{listener.port}"))
    sender = world.start(
        "iothub",
        [world.iothub, "device", "send", "--url-file", url_file, "--ca", listener.ca]
        + ["-p", "mood=curious", "-p", "room=3 ½", "--content-type", "text/plain", "--message-id", "hello-1"]
        + ["--timeout", "20s", "-o", "json", "Hello, Proton ✓"],
    )
    sent = sender.json_line(ENDS_WITHIN_S)
    expect("exit code of iothub", sender.exit_code(ENDS_WITHIN_S), 0)
    read = listener.message()
    expect("what iothub says of it", (sent["message_id"], sent["outcome"]), ("hello-1", "accepted"))
    expect("the user", read["user"], USER)
    expect("the link's target", read["address"].removeprefix("/"), NODE)
    expect("the section of the body", read["body_section"], "data")
    expect("the body", read["body"], "Hello, Proton ✓")
    expect("application properties", read["properties"], {"mood": "curious", "room": "3 ½"})
    expect("message-id", read["message_id"], "hello-1")
    expect("content-type", read["content_type"], "text/plain")
    expect("settled by the sender", read["settled"], False)


def proton_sends(world, body_kind, settled):
    hub = world.hub()
    message = {
        "body_kind": body_kind,
        "body": f"{body_kind} body, {'settled' if settled else 'unsettled'}, with ✓",
        "settled": settled,
        "message_id": "hello-1",
        "properties": {"mood": "curious"},
    }
    result, trace = send(world, hub.place(), USER, hub.token(), NODE, message)
    expect("the outcome", result["outcome"], "sent-settled" if settled else "accepted")
    expect("the SASL codes on the wire", sasl_codes(trace), [0])
    expect_event(hub.next_event(), body=message["body"], properties=message["properties"])


def refused(world, user, token, node):
    message = {"body_kind": "data", "body": "this must not arrive"}
    result, trace = send(world, world.hub().place(), user, token, node, message)
    expect("the outcome", result["outcome"], "failed")
    expect("the SASL codes on the wire", sasl_codes(trace), [SASL_SYS])
    expect("the SASL code that Proton holds", result["sasl_outcome"], SASL_SYS)


def send(world, place, user, token, node, message):
    request = {"virtual_host": HOST, "user": user, "password": token, "address": node, "message": message}
    return world.peer("proton_send", place | request)


def sasl_codes(trace):
    """The outcomes as they stood in frames: `<- @sasl-outcome(68) [code=0x2]`."""
    return [int(code, 0) for code in re.findall(r"<- @sasl-outcome\(68\) \[code=(0x[0-9a-f]+|\d+)", trace)]


def expect_event(event, body, properties):
    enqueued = datetime.fromisoformat(event["enqueued"])
    age_s = (datetime.now(timezone.utc) - enqueued).total_seconds()
    expect("received within the last minute", -1 < age_s < 60, True)
    expect("the kind of event", event["source"], "Telemetry")
    expect("the device", (event["device"], event["module"]), (DEVICE, None))
    # What the hub stamps on a message (Azure IoT Hub, "System properties of device-to-cloud messages").
    stamp = event["system"]
    expect("the stamped device", stamp["iothub-connection-device-id"], DEVICE)
    expect("the stamped source", stamp["iothub-message-source"], "Telemetry")
    method = json.loads(stamp["iothub-connection-auth-method"])
    expect("the stamped authentication", (method["scope"], method["type"]), ("device", "sas"))
    expect("the body", (event["body_kind"], event["body"]), ("text", body))
    expect("the properties", event["properties"], properties)
