"""Twins and methods by hand: two links each, that belong together by a property, as each SDK writes it."""

from cases import case, cases_of
from harness import expect
from proton_device import signed_in

UUID = {"uuid": "12345678-9abc-4ef0-9234-56789abcdef0"}
TWIN = "/devices/valve/twin"
METHODS = "/devices/valve/methods/devicebound"


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
def proton_says_which_version_of_its_twin_it_means(world):
    """Java's version is an int, C's and C#'s is null."""
    _, proton = signed_in(world)
    pair = {"com.microsoft:channel-correlation-id": "twin:1"}
    proton.attach("ask", "sender", TWIN, snd=1, properties=pair)
    proton.attach("told", "receiver", TWIN, credit=50, properties=pair)
    for number, (version, status) in enumerate([({"int": 1}, 200), ({"int": 1}, 412), (None, 200)]):
        annotations = {"operation": "PATCH", "resource": "/properties/reported", "version": version}
        message = {"correlation_id": f"p{number}", "annotations": annotations, "body": f'{{"n":{number}}}'}
        proton.do("send", link="ask", message=message, settled=True)
        answer = proton.saw("message", link="told")
        expect(f"status for version {version}", answer["annotations"]["status"], {"int": status})


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


def proton_opens_a_pair_twice(world, kind):
    _, proton = signed_in(world)
    address = {"twin": TWIN, "methods": METHODS}[kind]
    pair = {"com.microsoft:channel-correlation-id": f"{kind}:1"}
    proton.attach("one", "receiver", address, credit=5, properties=pair)
    proton.attach("other", "sender", address, properties=pair)
    proton.refused("twice", "receiver", address, "com.microsoft:link-creation-conflict", properties=pair)


cases_of(proton_opens_a_pair_twice, "twin", "methods")


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
def proton_goes_before_it_answers_a_method(world):
    hub, proton = signed_in(world)
    pair = {"com.microsoft:channel-correlation-id": "methods:1"}
    proton.attach("calls", "receiver", METHODS, credit=5, properties=pair)
    proton.attach("answers", "sender", METHODS, properties=pair)
    hub.process.tell({"do": "call", "whom": "valve", "method": "open", "connect_timeout_s": 10})
    proton.saw("message", link="calls")
    proton.do("close")
    expect("what the service gets", hub.process.json_line(20), {"error": "valve went before it answered"})
    expect("and next", hub.tried("call", whom="valve", method="open"), {"error": "valve is not online"})
