"""Qpid Proton as the hub's end: takes one device's telemetry over TLS and SASL PLAIN, and prints what it reads.

stdin:  one JSON object
    {"host", "port": 0 for a free one, "certificate", "key", "sasl_dir": "folder with proton-server.conf",
     "messages": how many before it ends, "timeout_s"}
stdout: {"ready": true, "port"} once it listens, then one JSON object a message
    {"user", "address", "body_section": "data" | "value", "body", "body_base64", "message_id", "content_type",
     "content_encoding", "correlation_id", "to", "properties", "annotations", "settled"}

Who may log in is Cyrus SASL's business, since Proton's own server side knows no PLAIN: see `Listener` in
harness.py for the folder that makes it take one user.
"""

import base64
import json
import os
import socket
import sys

from proton import SSLDomain
from proton.handlers import MessagingHandler
from proton.reactor import Container


class Listen(MessagingHandler):
    def __init__(self, job):
        super().__init__(auto_accept=True)
        self.job = job
        self.left = job["messages"]

    def on_start(self, event):
        identity = SSLDomain(SSLDomain.MODE_SERVER)
        identity.set_credentials(self.job["certificate"], self.job["key"], None)
        self.acceptor = event.container.listen(f"{self.job['host']}:{self.job['port']}", ssl_domain=identity)
        self.deadline = event.container.schedule(self.job.get("timeout_s", 30), self)
        say({"ready": True, "port": port_of(self.acceptor)})

    def on_connection_bound(self, event):
        sasl = event.transport.sasl()
        sasl.config_path(self.job["sasl_dir"])
        sasl.allowed_mechs("PLAIN")
        event.transport.require_auth(True)

    def on_message(self, event):
        say(facts_of(event))
        self.left -= 1
        if self.left == 0:
            # The client closes; a listener that closed first would race with its own disposition.
            self.acceptor.close()

    def on_connection_closed(self, event):
        if self.left == 0:
            self.deadline.cancel()

    def on_transport_error(self, event):
        print("transport:", event.transport.condition, file=sys.stderr, flush=True)

    def on_timer_task(self, event):
        print("the deadline of this peer passed", file=sys.stderr, flush=True)
        os._exit(1)  # connections may still be open, and the container would wait for them


def facts_of(event):
    message = event.message
    body = message.body
    data = isinstance(body, (bytes, memoryview)) and message.inferred
    raw = bytes(body) if isinstance(body, (bytes, memoryview)) else None
    return {
        "user": event.transport.sasl().user,
        "address": event.receiver.remote_target.address,
        "body_section": "data" if data else "value",
        "body": text_of(raw) if raw is not None else body,
        "body_base64": base64.b64encode(raw).decode() if raw is not None else None,
        "message_id": message.id,
        "content_type": symbol_of(message.content_type),
        "content_encoding": symbol_of(message.content_encoding),
        "correlation_id": message.correlation_id,
        "to": message.address,
        "properties": message.properties or {},
        "annotations": {str(name): value for name, value in (message.annotations or {}).items()},
        "settled": event.delivery.settled,
    }


def text_of(raw):
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None


def symbol_of(value):
    """Proton's Python layer turns an absent symbol into the symbol `None`."""
    return None if value is None or value == "None" else str(value)


def port_of(acceptor):
    """The port that the system picked; the reactive API has no accessor for it."""
    listening = socket.socket(fileno=os.dup(acceptor._selectable.fileno()))
    with listening:
        return listening.getsockname()[1]


def say(fact):
    print(json.dumps(fact, default=str), flush=True)


if __name__ == "__main__":
    Container(Listen(json.load(sys.stdin))).run()
