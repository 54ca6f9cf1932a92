"""Devices that show a certificate: by its thumbprint, and by an authority that the hub trusts."""

from cases import case, cases_of
from certificates import authority, self_signed, signed_by
from device_hub import DeviceHub
from harness import expect
from node_device import NodeDevice
from proton_device import ProtonDevice, events_of

WAYS = ("tcp", "ws")


def by_thumbprint(world, digest="sha256"):
    hub = DeviceHub(world)
    certificate = self_signed(world, "meter")
    hub.do("register", whom="meter", proof={"self_signed": certificate.fingerprint(digest)})
    return hub, certificate


def by_authority(world):
    ca = authority(world)
    hub = DeviceHub(world, device_ca=[str(ca.file)])
    certificate = signed_by(world, ca, "meter")
    hub.do("register", whom="meter", proof="certificate_authority")
    return hub, certificate


def node_with(world, hub, way, certificate):
    return NodeDevice(
        world,
        hub,
        way,
        connection_string=hub.certificate_string("meter"),
        cert=certificate.file.read_text(),
        key_pem=certificate.key.read_text(),
    )


def node_does_its_work(hub, node):
    """Telemetry, a command, the twin: with no token anywhere."""
    node.do("open")
    node.do("send", message={"body": "by certificate"})
    event = hub.event()
    expect("who sent it", (event["device"], event["body"]), ("meter", {"data": "by certificate"}))
    expect(
        "the stamped authentication",
        '"type":"x509Certificate"' in event["stamps"]["iothub-connection-auth-method"],
        True,
    )
    node.do("receive", settle=["complete"])
    hub.do("send", whom="meter", message={"body": "order", "id": "o-1"})
    expect("the command", node.saw("message")["id"], "o-1")
    expect("the twin", node.do("twin")["desired"], {"$version": 1})
    expect("links to $cbs", "$cbs" in node.frames(), False)


def node_shows_a_certificate_that_is_known(world, way):
    hub, certificate = by_thumbprint(world)
    node_does_its_work(hub, node_with(world, hub, way, certificate))


cases_of(node_shows_a_certificate_that_is_known, *WAYS)


def node_shows_a_certificate_of_an_authority(world, way):
    hub, certificate = by_authority(world)
    node_does_its_work(hub, node_with(world, hub, way, certificate))


cases_of(node_shows_a_certificate_of_an_authority, *WAYS)


def node_shows_a_certificate_of_somebody_else(world, way):
    hub, _ = by_thumbprint(world)
    node = node_with(world, hub, way, self_signed(world, "meter"))
    answer = node.tried("open")
    if answer["error"] is None:
        answer = node.tried("send", message={"body": "this must not arrive"})
    expect("the error", answer["error"], "UnauthorizedError")
    hub.no_event()


cases_of(node_shows_a_certificate_of_somebody_else, *WAYS)


def proton_shows_a_certificate(world, how):
    """EXTERNAL, which is offered first to who shows one; and no SASL at all, as C, C# and Java come."""
    hub, certificate = by_thumbprint(world, "sha1")
    shown = {"cert": str(certificate.file), "cert_key": str(certificate.key)}
    proton = ProtonDevice(world, hub, mech={"external": "EXTERNAL", "bare": None}[how], **shown)
    proton.attach("d2c", "sender", events_of("meter"))
    proton.send("d2c", body=how)
    expect("what came", hub.event()["body"], {"data": how})
    if how == "external":
        expect("the mechanisms, in order", proton.mechanisms(), ["EXTERNAL", "MSSBCBS", "ANONYMOUS", "PLAIN"])


cases_of(proton_shows_a_certificate, "external", "bare")


@case
def proton_shows_the_certificate_of_another_device(world):
    """Of the same authority: its common name is not the device's."""
    ca = authority(world)
    hub = DeviceHub(world, device_ca=[str(ca.file)])
    for whom in ("meter", "other"):
        hub.do("register", whom=whom, proof="certificate_authority")
    certificate = signed_by(world, ca, "other")
    proton = ProtonDevice(world, hub, mech=None, cert=str(certificate.file), cert_key=str(certificate.key))
    proton.refused("d2c", "sender", events_of("meter"), "amqp:unauthorized-access")
