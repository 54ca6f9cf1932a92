"""Qpid Proton shows a token to the `$cbs` node, as a device that comes without credentials, and sends telemetry.

Its BlockingConnection names a sender and a receiver of one address alike, so `$cbs` has one link name both ways.

stdin:  one JSON object
    {"host", "port", "ca", "virtual_host", "token", "kind": "type of the token", "address", "timeout_s",
     "ids": ["string" | "ulong" | "uuid", …], "body"}
    The token is put once for each type of message-id.
stdout: one JSON object
    {"replies": [{"correlated": id and type came back, "code", "description"}], "link_names": [sender's, receiver's],
     "outcome": "accepted" | "refused", "condition": of the telemetry link's detach}
stderr: every frame, with PN_TRACE_FRM=1 in the environment.
"""

import json
import sys
import uuid

from proton import Message, SSLDomain, ulong
from proton.utils import BlockingConnection, LinkDetached

IDS = {"string": "put 1", "ulong": ulong(7), "uuid": uuid.UUID("12345678-9abc-def0-1234-56789abcdef0")}


def main(job):
    trust = SSLDomain(SSLDomain.MODE_CLIENT)
    trust.set_trusted_ca_db(job["ca"])
    trust.set_peer_authentication(SSLDomain.VERIFY_PEER_NAME)
    connection = BlockingConnection(
        f"amqps://{job['host']}:{job['port']}",
        timeout=job["timeout_s"],
        ssl_domain=trust,
        allowed_mechs="ANONYMOUS",
        sni=job["host"],
        virtual_host=job["virtual_host"],
    )
    requests = connection.create_sender("$cbs")
    replies = connection.create_receiver("$cbs", credit=10)
    result = {
        "link_names": [requests.link.name, replies.link.name],
        "replies": [put(requests, replies, job, IDS[name]) for name in job["ids"]],
    }
    try:
        connection.create_sender(job["address"]).send(Message(body=job["body"].encode(), inferred=True))
        result.update(outcome="accepted", condition=None)
    except LinkDetached as detached:
        result.update(outcome="refused", condition=detached.condition)
    connection.close()
    return result


def put(requests, replies, job, message_id):
    properties = {"operation": "put-token", "type": job["kind"], "name": f"{job['virtual_host']}{job['address']}"}
    requests.send(Message(body=job["token"], id=message_id, properties=properties))
    # The hub's replies come settled, and Proton would not accept what is.
    reply = replies.receive()
    echoed = reply.correlation_id
    return {
        # Proton reads a ulong as a plain int; an id is never any other number.
        "correlated": echoed == message_id and isinstance(message_id, type(echoed)),
        "code": reply.properties["status-code"],
        "description": reply.properties["status-description"],
    }


if __name__ == "__main__":
    print(json.dumps(main(json.load(sys.stdin))), flush=True)
