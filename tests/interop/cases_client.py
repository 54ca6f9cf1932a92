"""Our client against hubs that are not ours: listeners on Qpid Proton and on rhea, over TLS."""

import base64
import json

import sas
from cases import cases_of
from foreign_hub import ForeignHub
from harness import DEVICE, ENDS_WITHIN_S, HUB, Failure, expect

# How many messages are sent at each window.
WINDOWS = {1: 100, 16: 400, 1000: 1500}
KEY = base64.b64encode(b"a key of the test's own, of 32 b").decode()


def job_for(hub, sign_in):
    if sign_in == "plain":
        who = {"plain": {"host": "localhost", "port": hub.port, "hub": HUB, "device": DEVICE, "token": hub.token}}
    else:
        who = {"connection_string": f"HostName=localhost:{hub.port};DeviceId={DEVICE};SharedAccessKey={KEY}"}
    return {"sign_in": who, "ca": str(hub.ca)}


def run_client(world, hub, job):
    client = world.start("interop-client", [world.run.client_program], stdin=json.dumps(job))
    said = client.json_line(ENDS_WITHIN_S)
    if said["error"] is not None:
        raise Failure(f"the client failed: {said['error']}")
    expect("exit code of the client", client.exit_code(ENDS_WITHIN_S), 0)
    return said, hub.result()


def client_sends_to(world, how):
    """Each message once and in order, with as many deliveries on their way as the window lets: no more and no fewer."""
    kind, sign_in, batching = how.split("_")
    for window, count in WINDOWS.items():
        hub = ForeignHub(world, kind, sas.sign(KEY, "localhost", DEVICE) if sign_in == "plain" else None, window, count)
        job = job_for(hub, sign_in) | {"window": window, "batched": batching == "batched", "send": count}
        said, seen = run_client(world, hub, job)
        expect(f"messages at window {window}", seen["ids"], [f"m-{number}" for number in range(count)])
        expect(
            "what the client says", (said["accepted"], said["resent"], said["transfers"]), (count, 0, seen["transfers"])
        )
        expect("tokens that were put", seen["tokens"], 0 if sign_in == "plain" else 1)
        if batching == "batched":
            expect("most on their way, at most a window", seen["most_unsettled"] <= window, True)
            expect("that there were batches", seen["transfers"] < count, True)
        else:
            expect("most on their way", (seen["most_unsettled"], seen["transfers"]), (window, count))


cases_of(
    client_sends_to,
    *(
        f"{kind}_{sign_in}_{batching}"
        for kind in ("proton", "rhea")
        for sign_in in ("plain", "cbs")
        for batching in ("batched", "unbatched")
    ),
)


WORDS = {"complete": "accepted", "reject": "rejected", "abandon": "released"}
COMMANDS = [{"body": f"do {word} ✓", "id": f"c-{word}", "properties": {"word": word}} for word in WORDS]
RECEIVING = {"window": 1, "batched": False, "send": 1, "settle": list(WORDS)}


def client_receives_from(world, how):
    """Commands come with what they were given, and each is settled as the program says."""
    kind, sign_in = how.split("_")
    token = sas.sign(KEY, "localhost", DEVICE) if sign_in == "plain" else None
    hub = ForeignHub(world, kind, token, 1, 1, COMMANDS)
    said, seen = run_client(world, hub, job_for(hub, sign_in) | RECEIVING)
    got = [(command["id"], command["body"], command["properties"]) for command in said["received"]]
    expect("what came", got, [(sent["id"], sent["body"], [["word", sent["properties"]["word"]]]) for sent in COMMANDS])
    expect("how it was settled", seen["outcomes"], list(WORDS.values()))


cases_of(client_receives_from, *(f"{kind}_{sign_in}" for kind in ("proton", "rhea") for sign_in in ("plain", "cbs")))
