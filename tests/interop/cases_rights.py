"""Who is let in, as what, and to which links: by claims and by PLAIN, in the spellings of the SDKs."""

import re

import sas
from cases import case, cases_of
from device_hub import DeviceHub
from harness import HOST, HUB, expect
from proton_device import CSHARP_TYPE, ProtonDevice, events_of, signed_in

UNAUTHORIZED = "amqp:unauthorized-access"
UUID = {"uuid": "12345678-9abc-4ef0-9234-56789abcdef0"}


@case
def proton_sees_the_mechanisms(world):
    _, proton = signed_in(world)
    expect("the mechanisms, in order", proton.mechanisms(), ["MSSBCBS", "ANONYMOUS", "PLAIN"])


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
def proton_puts_what_is_no_token(world):
    hub, proton = signed_in(world)
    name = f"{HOST}/devices/valve"
    proton.put_token("nonsense", name, "put 2", status=400)
    proton.put_token(hub.token("valve"), name, "put 3", kind="jwt", status=400)
    proton.put_token(hub.token("valve"), name, "put 4")


@case
def proton_opens_cbs_twice(world):
    _, proton = signed_in(world)
    proton.refused("another", "sender", "$cbs", "amqp:not-allowed", session="another")


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
