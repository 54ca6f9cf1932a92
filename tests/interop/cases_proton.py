"""What the wire shows to a client made by hand: Qpid Proton opens links and sends messages in the shapes of the SDKs."""

import re

import sas
from cases import case, cases_of
from device_hub import DeviceHub
from harness import HOST, HUB, expect
from proton_device import CSHARP_TYPE, ProtonDevice, events_of

UNAUTHORIZED = "amqp:unauthorized-access"
UUID = {"uuid": "12345678-9abc-4ef0-9234-56789abcdef0"}
C2D = "/devices/valve/messages/devicebound"
TWIN = "/devices/valve/twin"
METHODS = "/devices/valve/methods/devicebound"


def signed_in(world, whom="valve", **setup):
    hub = DeviceHub(world, **setup)
    hub.device(whom)
    proton = ProtonDevice(world, hub)
    proton.signs_in(hub, whom)
    return hub, proton


def receiving(world, count, **setup):
    """A device with `count` cloud-to-device messages that it has not settled yet."""
    hub, proton = signed_in(world, **setup)
    for number in range(count):
        message = {"body": f"order {number}", "id": f"o-{number}", "properties": {"n": str(number)}, "ack": "full"}
        hub.do("send", whom="valve", message=message)
    proton.attach("c2d", "receiver", C2D, credit=count)
    return hub, proton, [proton.saw("message", link="c2d") for _ in range(count)]


def feedback_is(hub, *wanted):
    seen = [hub.do("feedback", within_s=10)["feedback"] for _ in wanted]
    expect("feedback", [(record["id"], record["fate"]) for record in seen], list(wanted))


@case
def proton_reads_a_cloud_message_to_the_byte(world):
    hub, proton, (got,) = receiving(world, 1)
    expect("the body", (got["section"], got["body"]), ("data", "order 0"))
    expect("message-id and to", (got["id"], got["to"]), ("o-0", "/devices/valve/messages/devicebound"))
    expect("application properties", got["properties"], {"n": "0", "iothub-ack": "full"})
    expect("settled by the hub", got["settled"], False)
    annotations = got["annotations"]
    expect("iothub-deliverycount", annotations["iothub-deliverycount"], {"ubyte": 0})
    expect("type of x-opt-sequence-number", list(annotations["x-opt-sequence-number"]), ["ulong"])
    expect("type of iothub-enqueuedtime", list(annotations["iothub-enqueuedtime"]), ["timestamp"])
    # C# makes a Guid of the tag: 16 bytes, and no others.
    expect("bytes of the delivery-tag", tag_sizes(proton.frames()), [16])
    proton.do("settle", deliveries=[got["delivery"]], outcome="accepted")
    feedback_is(hub, ("o-0", "Success"))


@case
def proton_settles_each_way(world):
    """Accepted, rejected, released and modified, each on a message of its own; the last two come again."""
    hub, proton, got = receiving(world, 4)
    for message, outcome in zip(got, ["accepted", "rejected", "released", "modified"]):
        proton.do("settle", deliveries=[message["delivery"]], outcome=outcome)
    feedback_is(hub, ("o-0", "Success"), ("o-1", "Rejected"))
    proton.do("flow", link="c2d", credit=2)
    again = sorted((proton.saw("message", link="c2d") for _ in range(2)), key=lambda message: message["id"])
    expect("what comes again", [message["id"] for message in again], ["o-2", "o-3"])
    counts = [message["annotations"]["iothub-deliverycount"] for message in again]
    expect("how often it had come", counts, [{"ubyte": 1}, {"ubyte": 1}])
    proton.do("settle", deliveries=[message["delivery"] for message in again], outcome="accepted")
    feedback_is(hub, ("o-2", "Success"), ("o-3", "Success"))


@case
def proton_settles_second_as_csharp_does(world):
    """With rcv-settle-mode second the device's disposition is unsettled, and the hub's settled one is waited for."""
    hub, proton = signed_in(world)
    hub.do("send", whom="valve", message={"body": "once", "id": "o-0", "ack": "full"})
    proton.attach("c2d", "receiver", C2D, rcv=1, credit=50)
    got = proton.saw("message", link="c2d")
    proton.do("settle", deliveries=[got["delivery"]], outcome="accepted", settled=False)
    said = proton.saw("settled", delivery=got["delivery"])
    expect("what the hub made of it", (said["outcome"], said["settled"]), ("accepted", True))
    feedback_is(hub, ("o-0", "Success"))


@case
def proton_settles_after_the_lock_is_lost(world):
    """The message is somebody's again; the late word is answered with what C# takes for a lost lock."""
    hub, proton = signed_in(world)
    hub.do("send", whom="valve", message={"body": "slow", "id": "o-0"})
    proton.attach("c2d", "receiver", C2D, rcv=1, credit=50)
    got = proton.saw("message", link="c2d")
    hub.do("turn_clock", by_s=61)
    proton.do("settle", deliveries=[got["delivery"]], outcome="accepted", settled=False)
    said = proton.saw("settled", delivery=got["delivery"])
    expect("what the hub made of it", (said["outcome"], said["condition"]), ("rejected", "amqp:not-found"))
    again = proton.saw("message", link="c2d")
    expect("what comes again", (again["id"], again["annotations"]["iothub-deliverycount"]), ("o-0", {"ubyte": 1}))


@case
def proton_settles_a_range_by_one_disposition(world):
    hub, proton, got = receiving(world, 5)
    proton.do("settle", deliveries=[message["delivery"] for message in got], outcome="accepted")
    feedback_is(hub, *((f"o-{number}", "Success") for number in range(5)))
    ranges = re.findall(r"-> @disposition\(21\) \[role=true, first=0x([0-9a-f]+), last=0x([0-9a-f]+)", proton.frames())
    first, last = ranges[-1]
    expect("deliveries in the disposition", int(last, 16) - int(first, 16), 4)


@case
def proton_does_a_twin_by_hand(world):
    """Requests with each type of id that SDKs use; the answers' types are those that C# and C insist on."""
    hub, proton = signed_in(world)
    hub.do("patch_desired", whom="valve", patch={"target": 5})
    pair = {"com.microsoft:channel-correlation-id": "twin:1", "com.microsoft:api-version": "2020-09-30"}
    proton.attach("ask", "sender", TWIN, snd=1, properties=pair)
    proton.attach("told", "receiver", TWIN, credit=50, properties=pair)

    def ask(request_id, operation, body=" ", **more):
        annotations = {"operation": operation} | more
        message = {"correlation_id": request_id, "annotations": annotations, "body": body}
        proton.do("send", link="ask", message=message, settled=True)
        answer = proton.saw("message", link="told")
        expect("the id, as it went", answer["correlation_id"], request_id)
        return answer

    answer = ask("Get1", "GET")
    expect("status", answer["annotations"]["status"], {"int": 200})
    expect(
        "the twin",
        (answer["section"], answer["body"]),
        ("data", '{"desired":{"target":5,"$version":2},"reported":{"$version":1}}'),
    )
    answer = ask(UUID, "PATCH", '{"open":true}', resource="/properties/reported")
    expect(
        "status and version",
        (answer["annotations"]["status"], answer["annotations"]["version"]),
        ({"int": 200}, {"long": 2}),
    )
    answer = ask("Bad", "PATCH", '{"open":', resource="/properties/reported")
    expect("status of what is no JSON", answer["annotations"]["status"], {"int": 400})
    desired = "/notifications/twin/properties/desired"
    expect("status of the subscription", ask("Put1", "PUT", resource=desired)["annotations"]["status"], {"int": 200})
    hub.do("patch_desired", whom="valve", patch={"target": None, "mode": "eco"})
    told = proton.saw("message", link="told")
    expect("the notification's id", told["correlation_id"], None)
    wanted = {"resource": "/properties/desired", "version": {"long": 3}}
    expect("its annotations", told["annotations"], wanted)
    expect("its body", told["body"], '{"target":null,"mode":"eco","$version":3}')
    expect("status of the end", ask("Del1", "DELETE", resource=desired)["annotations"]["status"], {"int": 200})
    hub.do("patch_desired", whom="valve", patch={"mode": "full"})
    answer = ask("Get2", "GET")
    expect(
        "what comes next",
        answer["body"],
        '{"desired":{"mode":"full","$version":4},"reported":{"open":true,"$version":2}}',
    )


@case
def proton_answers_a_method_by_hand(world):
    """The channel-correlation-id is the bare device id, as the C SDK writes it."""
    hub, proton = signed_in(world)
    pair = {"com.microsoft:channel-correlation-id": "valve", "com.microsoft:api-version": "2020-09-30"}
    proton.attach("calls", "receiver", METHODS, target="requests", credit=10, properties=pair)
    proton.attach("answers", "sender", METHODS, source="responses", properties=pair)
    hub.process.tell({"do": "call", "whom": "valve", "method": "open", "payload": {"by": 3}, "connect_timeout_s": 10})
    call = proton.saw("message", link="calls")
    expect("the type of its id", list(call["correlation_id"]), ["uuid"])
    expect("the name", call["properties"], {"IoThub-methodname": "open"})
    expect("the payload", (call["section"], call["body"]), ("data", '{"by":3}'))
    answer = {
        "correlation_id": call["correlation_id"],
        "properties": {"IoThub-status": {"int": 201}},
        "body": '{"done":true}',
    }
    proton.send("answers", **answer)
    expect("what the service got", hub.process.json_line(20), {"status": 201, "payload": {"done": True}})


@case
def proton_names_a_twins_links_alike(world):
    """One link name in both directions, as Proton's BlockingConnection gives it."""
    hub, proton = signed_in(world)
    pair = {"com.microsoft:channel-correlation-id": "twin:1"}
    proton.attach("ask", "sender", TWIN, name="same", properties=pair)
    proton.attach("told", "receiver", TWIN, name="same", credit=5, properties=pair)
    proton.send("ask", correlation_id="g", annotations={"operation": "GET"}, body=" ")
    answer = proton.saw("message", link="told")
    expect("the answer", (answer["correlation_id"], answer["annotations"]["status"]), ("g", {"int": 200}))


@case
def proton_is_refused_what_is_another_devices(world):
    """Each of its links; its own are none the worse."""
    hub, proton = signed_in(world)
    hub.device("pump")
    hub.device("valve/inner")
    proton.attach("own", "sender", events_of("valve"))
    for number, (role, address) in enumerate(
        [
            ("sender", events_of("pump")),
            ("receiver", "/devices/pump/messages/devicebound"),
            ("sender", "/devices/pump/twin"),
            ("receiver", "/devices/pump/methods/devicebound"),
            ("sender", events_of("nobody")),
        ]
    ):
        proton.refused(f"theirs-{number}", role, address, UNAUTHORIZED)
    proton.send("own", body="mine")
    expect("who sent it", hub.event()["device"], "valve")
    expect("connections", hub.connections(), 1)


@case
def proton_opens_what_is_no_node(world):
    _, proton = signed_in(world)
    for number, address in enumerate(["/devices/valve/messages/sideways", "/nowhere"]):
        description = proton.refused(f"l-{number}", "sender", address, "amqp:not-found")
        expect("the code in the text", "404006" in description, True)


@case
def proton_writes_addresses_in_every_form(world):
    hub, proton = signed_in(world)
    for number, address in enumerate(
        [
            "devices/valve/messages/events",
            f"amqps://{HOST}/devices/valve/messages/events",
            f"amqps://{HOST}:5671/devices/valve/Messages/Events",
        ]
    ):
        proton.attach(f"l-{number}", "sender", address)
        proton.send(f"l-{number}", body=f"{number}")
        expect("what came", hub.event()["body"], {"data": f"{number}"})


@case
def proton_opens_links_of_one_name_in_sessions_of_their_own(world):
    """As C# does on a pooled connection: `$cbs` in its own session, put-tokens settled, devices with equal link names."""
    hub = DeviceHub(world)
    for whom in ("one", "two"):
        hub.device(whom)
    proton = ProtonDevice(world, hub, mech=None)
    proton.open_cbs(session="cbs", snd=1)
    for number, whom in enumerate(("one", "two")):
        audience = f"{HOST}/devices/{whom}"
        expires = {"expiration": {"timestamp": 2_000_000_000_000}}
        proton.put_token(hub.token(whom), audience, f"cbs{number}", CSHARP_TYPE, settled=True, properties=expires)
        address = f"amqps://{HOST}:5671{events_of(whom)}"
        proton.attach(whom, "sender", address, name="TelemetrySenderLink", source=whom, snd=0, session=whom)
    for whom in ("one", "two"):
        proton.send(whom, body=f"from {whom}")
        event = hub.event()
        expect("the sender and its body", (event["device"], event["body"]), (whom, {"data": f"from {whom}"}))
    dispositions = re.findall(r"<- @disposition\(21\) \[role=true", proton.frames())
    expect("dispositions, none for what came settled", len(dispositions), 2)


@case
def proton_ends_one_of_two_devices_on_a_connection(world):
    """A device that is refused, and one that ends its session, leave the other as it is."""
    hub = DeviceHub(world)
    for whom in ("one", "two"):
        hub.device(whom)
    proton = ProtonDevice(world, hub)
    proton.open_cbs()
    proton.put_token(hub.token("one"), f"{HOST}/devices/one")
    proton.attach("one", "sender", events_of("one"), session="one")
    wrong = sas.sign("d3Jvbmcga2V5", HOST, "two")
    proton.put_token(wrong, f"{HOST}/devices/two", "put 2", status=401)
    proton.refused("two", "sender", events_of("two"), UNAUTHORIZED, session="two")
    proton.put_token(hub.token("two"), f"{HOST}/devices/two", "put 3")
    proton.attach("two again", "sender", events_of("two"), session="two")
    proton.send("two again", body="late")
    proton.do("end", session="two")
    proton.send("one", body="still here")
    expect("who sent", [event["device"] for event in hub.events(2)], ["two", "one"])


@case
def proton_puts_tokens_in_every_spelling(world):
    """Node's, C#'s (double-encoded), Java's and C's spelling of one resource, each signed as it is written."""
    whom = "A-1.b+c%d_e#f*g?h!i(j)k,l=m@n$o'p"
    hub = DeviceHub(world)
    hub.device(whom)
    spelled = {
        "N": "A-1.b%2Bc%25d_e%23f%2ag%3Fh%21i%28j%29k%2Cl%3Dm%40n%24o%27p",
        "CS": "A-1.b%252Bc%2525d_e%2523f*g%253Fh!i(j)k%252Cl%253Dm%2540n%2524o%2527p",
        "J": "A-1.b%2Bc%25d_e%23f*g%3Fh%21i%28j%29k%2Cl%3Dm%40n%24o%27p",
        "C": whom,
    }
    slash = {"N": "%2F", "CS": "%2F", "J": "/", "C": "/"}
    addresses = {"N": whom, "CS": "A-1.b%2Bc%25d_e%23f*g%3Fh!i(j)k%2Cl%3Dm%40n%24o%27p", "J": whom, "C": whom}
    ids = {"N": "n", "CS": "cbs1", "J": UUID, "C": {"ulong": 0}}
    for sdk in spelled:
        proton = ProtonDevice(world, hub)
        proton.open_cbs()
        token = sas.sign_resource(hub.keys[whom], f"{HOST}/devices/{spelled[sdk]}".replace("/", slash[sdk]))
        kind = CSHARP_TYPE if sdk == "CS" else "servicebus.windows.net:sastoken"
        proton.put_token(token, f"{HOST}/devices/{spelled[sdk]}", ids[sdk], kind)
        proton.attach("d2c", "sender", events_of(addresses[sdk]))
        proton.send("d2c", body=sdk)
        event = hub.event()
        expect(f"who sent, in {sdk}'s spelling", (event["device"], event["body"]), (whom, {"data": sdk}))
        proton.do("close")


@case
def proton_is_a_module_by_plain_and_by_claims(world):
    hub = DeviceHub(world)
    hub.device("gateway")
    hub.device("gateway/filter")
    plain = {"user": f"gateway/modules/filter@sas.{HUB}", "password": hub.token("gateway/filter")}
    by_plain = ProtonDevice(world, hub, mech="PLAIN", **plain)
    by_claims = ProtonDevice(world, hub)
    by_claims.open_cbs()
    # Java's audience names only the device; the token itself names the module.
    by_claims.put_token(hub.token("gateway/filter"), f"{HOST}/devices/gateway", UUID)
    for proton in (by_plain, by_claims):
        proton.attach("d2c", "sender", events_of("gateway", "filter"))
        proton.send("d2c", body="m")
        event = hub.event()
        expect("who sent it", (event["device"], event["module"]), ("gateway", "filter"))
        proton.refused("device's", "sender", events_of("gateway"), UNAUTHORIZED)


@case
def proton_holds_a_policys_key(world):
    """It may act for any device: by PLAIN with the hub's own kind of user, and by a token of the whole hub."""
    key = "cG9saWN5LWtleS0wMTIzNDU2Nzg5YWJjZGVmLVhZWiE="
    hub = DeviceHub(world, policies=[["device", key], ["service", key]])
    hub.device("one")
    hub.device("two")

    def token(policy):
        return sas.sign_resource(key, HOST, policy=policy)

    by_plain = ProtonDevice(world, hub, mech="PLAIN", user=f"device@sas.root.{HUB}", password=token("device"))
    by_claims = ProtonDevice(world, hub)
    by_claims.open_cbs()
    by_claims.put_token(token("device"), HOST)
    for proton in (by_plain, by_claims):
        for whom in ("one", "two"):
            proton.attach(whom, "sender", events_of(whom))
            proton.send(whom, body="for it")
            expect("for whom", hub.event()["device"], whom)
    # A policy of services has no right to be a device.
    service = ProtonDevice(world, hub, mech="PLAIN", user=f"service@sas.root.{HUB}", password=token("service"))
    service.refused("one", "sender", events_of("one"), UNAUTHORIZED)


@case
def proton_sees_the_mechanisms(world):
    _, proton = signed_in(world)
    expect("the mechanisms, in order", proton.mechanisms(), ["MSSBCBS", "ANONYMOUS", "PLAIN"])


@case
def proton_has_frames_of_4096(world):
    """Java's frame size: what is larger goes in many frames, both ways."""
    hub = DeviceHub(world)
    hub.device("valve")
    proton = ProtonDevice(world, hub, max_frame=4096, idle_s=230)
    proton.signs_in(hub, "valve")
    proton.attach("d2c", "sender", events_of("valve"))
    body = "0123456789abcdef" * 12_000
    proton.send("d2c", body=body)
    expect("the body that came", hub.event()["body"] == {"data": body}, True)
    order = "fedcba9876543210" * 3_500
    hub.do("send", whom="valve", message={"body": order, "id": "large"})
    proton.attach("c2d", "receiver", C2D, credit=5)
    got = proton.saw("message", link="c2d")
    expect("the body that went", got["body"] == order, True)
    parts = re.findall(r"<- @transfer\(20\) \[.*?more=true", proton.frames())
    expect("that it came in many frames", len(parts) >= 13, True)


@case
def proton_sends_more_than_a_message_may_be(world):
    hub, proton = signed_in(world)
    proton.attach("d2c", "sender", events_of("valve"))
    too_large = "amqp:link:message-size-exceeded"
    proton.send("d2c", outcome="rejected", condition=too_large, body="x" * (256 * 1024 + 1))
    proton.send("d2c", body="after")
    hub.event()
    proton.do("send", link="d2c", message={"body": "x" * (1024 * 1024 + 1)})
    expect("the condition", proton.saw("detach", link="d2c")["condition"], too_large)
    hub.no_event()


@case
def proton_sends_each_kind_of_body_and_id(world):
    hub, proton = signed_in(world)
    proton.attach("d2c", "sender", events_of("valve"))
    for message_id in ("text", {"ulong": 7}, UUID):
        proton.send("d2c", id=message_id, correlation_id=message_id, body="b", properties={"k": "v"})
        system = hub.event()["system"]
        expect("the ids", (system["message-id"], system["correlation-id"]), (message_id, message_id))
    proton.send("d2c", value="a string", properties={"n": {"int": 5}, "t": True})
    event = hub.event()
    expect("an amqp-value", event["body"], {"value": "a string"})
    expect("typed properties", event["properties"], {"n": {"int": 5}, "t": True})
    component = {"dt-subject": "thermostat1", "iothub-interface-id": "urn:azureiot:Security:SecurityAgent:1"}
    proton.send("d2c", body="b", annotations=component)
    expect("annotations", hub.event()["annotations"], component)


@case
def proton_opens_a_second_receiver_of_commands(world):
    """There is one at a time: the newer one is the one that gets them."""
    hub, first = signed_in(world)
    first.attach("c2d", "receiver", C2D, credit=5)
    second = ProtonDevice(world, hub)
    second.signs_in(hub, "valve")
    second.attach("c2d", "receiver", C2D, credit=5)
    expect("why the older is gone", first.saw("detach", link="c2d")["condition"], "amqp:link:stolen")
    hub.do("send", whom="valve", message={"body": "for the newer", "id": "o-0"})
    expect("who gets it", second.saw("message", link="c2d")["id"], "o-0")


@case
def proton_lets_its_token_end(world):
    hub = DeviceHub(world, token_grace_s=60)
    hub.device("valve")
    proton = ProtonDevice(world, hub)
    proton.open_cbs()
    proton.put_token(hub.token("valve", lifetime_s=600), f"{HOST}/devices/valve")
    proton.attach("d2c", "sender", events_of("valve"))
    proton.send("d2c", body="in time")
    hub.do("turn_clock", by_s=661)
    expect("why the link is gone", proton.saw("detach", link="d2c")["condition"], UNAUTHORIZED)
    # A new token opens it again, on the connection that is there.
    proton.put_token(hub.token("valve", lifetime_s=7200), f"{HOST}/devices/valve", "put 2")
    proton.attach("again", "sender", events_of("valve"))
    proton.send("again", body="renewed")
    expect("connections", hub.connections(), 1)


def proton_as_what_is_disabled(world, how):
    """A device that is disabled or removed while it is connected is sent away, and does not come in again."""
    hub, proton = signed_in(world)
    proton.attach("d2c", "sender", events_of("valve"))
    if how == "disabled":
        hub.do("disable", device="valve")
    else:
        hub.do("remove", whom="valve")
    proton.saw("detach", link="d2c")
    again = ProtonDevice(world, hub)
    again.open_cbs()
    status = {"disabled": 401, "removed": 404}[how]
    again.put_token(hub.token("valve"), f"{HOST}/devices/valve", status=status)


cases_of(proton_as_what_is_disabled, "disabled", "removed")


def tag_sizes(frames):
    """How many bytes the tags of transfers have that came unsettled: `delivery-tag=b"\\x12…"`."""
    tags = re.findall(r'<- @transfer\(20\) \[.*?delivery-tag=b"((?:[^"\\]|\\.)*)".*?settled=(true|false)', frames)
    tags += [
        (tag, "false")
        for tag in re.findall(
            r'<- @transfer\(20\) \[(?![^\n]*settled=)[^\n]*?delivery-tag=b"((?:[^"\\]|\\.)*)"', frames
        )
    ]
    return [len(re.sub(r"\\x[0-9a-f]{2}|\\.", "?", tag)) for tag, settled in tags if settled == "false"]
