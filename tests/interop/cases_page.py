"""The hub's page, as a browser shows it: Debian's Chromium, without a window."""

import base64
import hashlib
import json
import subprocess

from cases import case
from harness import HUB, STARTS_WITHIN_S, expect

CHROMIUM = "/usr/bin/chromium"
DEVICES = ("pump-3", "thermostat-7", "valve-12")
# What would be run if the page took it for more than text.
MARKUP = "<img src=x onerror=alert(1)>"


@case
def chromium_shows_who_is_there_what_came_and_a_twin(world):
    hub = start(world)
    device = "thermostat-7"
    for body in (MARKUP, '{"temperature":21.5}', '{"temperature":22.0}'):
        send(world, hub, device, body)
    report(world, hub, device)
    world.start("listen", [world.iothub, "device", "listen", "-o", "json"], env=environment(hub, device))
    summary = f"1 of {len(DEVICES)} devices connected."
    seen = look(world, hub, device=device, summary=summary)

    expect("the title", seen["title"], f"{HUB}: IoT Hub emulator")
    expect("the summary", seen["summary"], summary)
    states = [(row[0], row[1]) for row in seen["devices"]]
    rest = [(name, "disconnected") for name in DEVICES if name != device]
    expect("devices, who is there first", states, [(device, "connected"), *rest])
    events = [(row[1], row[3], row[5]) for row in seen["events"]]
    newest_first = ['{"temperature":22.0}', '{"temperature":21.5}', MARKUP]
    expect("events", events, [(device, str(2 - place), body) for place, body in enumerate(newest_first)])
    expect("the twin's device", json.loads(seen["twin"])["deviceId"], device)
    expect("whether connections are named", f"is {device}" in seen["connections"], True)
    expect("whether a report is told", f"{device} reports properties, version 2" in seen["traffic"], True)
    expect("images, which a device's text may not make", seen["images"], 0)
    expect("what the page said on the console", seen["said"], [])
    place = f"https://localhost:{hub.ready['https_port']}/"
    expect("what was asked of others", [url for url in seen["asked"] if not url.startswith(place)], [])


class Started:
    def __init__(self, process, ready):
        self.process = process
        self.ready = ready


def start(world):
    ports = ["--amqps-port", "0", "--https-port", "0"]
    devices = [word for device in DEVICES for word in ("--device", device)]
    command = [world.iothub, "emulator", "run", "--hub", HUB, "--state-dir", world.folder("state"), "-o", "json"]
    process = world.start("emulator", [*command, *ports, *devices])
    ready = process.json_line(STARTS_WITHIN_S)
    expect("`ready` of the emulator's first line", ready.get("ready"), True)
    return Started(process, ready)


def environment(hub, device):
    return {"IOTHUB_CA_FILE": hub.ready["ca"], "IOTHUB_DEVICE_CONNECTION_STRING": hub.ready["devices"][device]}


def send(world, hub, device, body):
    sender = world.start("send", [world.iothub, "device", "send", body], env=environment(hub, device))
    expect("exit code of `device send`", sender.exit_code(20), 0)
    hub.process.json_line(10)


def report(world, hub, device):
    command = [world.iothub, "device", "twin", "report", '{"firmware":"1.2"}']
    expect("exit code of `device twin report`", world.start("report", command, env=environment(hub, device)).exit_code(20), 0)


def look(world, hub, device, summary):
    folder = world.folder("browser")
    job = {
        "url": f"https://localhost:{hub.ready['https_port']}/",
        "browser": CHROMIUM,
        "profile": str(folder / "profile"),
        "public_key": public_key_hash(hub.ready["ca"]),
        "device": device,
        "summary": summary,
        # What the repository's README shows is a copy of it.
        "picture": str(folder / "page.png"),
    }
    return world.node_peer("page", job, hub.ready["ca"], trace=False)


def public_key_hash(ca):
    """As Chromium wants to be told whom to trust: the SHA-256 of the CA's public key, in base64."""
    pem = subprocess.run(["openssl", "x509", "-in", ca, "-noout", "-pubkey"], check=True, capture_output=True).stdout
    der = subprocess.run(["openssl", "pkey", "-pubin", "-outform", "DER"], input=pem, check=True, capture_output=True)
    return base64.b64encode(hashlib.sha256(der.stdout).digest()).decode()
