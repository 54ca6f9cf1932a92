"""Qpid Proton as a hub for our client, over TLS: takes telemetry, answers `$cbs`, and sends commands.

stdin:  one JSON object
        {"certificate", "key", "sasl_dir": a folder with proton-server.conf, or null for ANONYMOUS,
         "window": how many deliveries to hold back before it settles them, "messages": how many come in all,
         "commands": [{"body", "id", "properties"}, …], "timeout_s"}
stdout: {"ready": true, "port"} once it listens, and when the client has gone
        {"ids": of all messages in their order, "transfers", "most_unsettled", "tokens": how many were put,
         "outcomes": of the commands}
stderr: every frame, with PN_TRACE_FRM=1 in the environment.

It settles when a window is full or all has come, and not before: a client that has less on its way waits for ever, and
one that has more is found out.
"""

import json
import os
import sys

from proton import Data, Delivery, Endpoint, Handler, Message, SSLDomain, int32
from proton.reactor import Container

from proton_listen import port_of

CREDIT = 5000
OUTCOMES = {
    Delivery.ACCEPTED: "accepted",
    Delivery.REJECTED: "rejected",
    Delivery.RELEASED: "released",
    Delivery.MODIFIED: "modified",
}
DATA = 0x75


class Hub(Handler):
    def __init__(self, job):
        super().__init__()
        self.job = job
        self.ids = []
        self.unsettled = []
        self.transfers = self.most = self.tokens = 0
        self.outcomes = {}
        self.replies = None

    def on_reactor_init(self, event):
        identity = SSLDomain(SSLDomain.MODE_SERVER)
        identity.set_credentials(self.job["certificate"], self.job["key"], None)
        self.acceptor = event.container.listen("127.0.0.1:0", ssl_domain=identity)
        event.container.schedule(self.job["timeout_s"], self)
        say(ready=True, port=port_of(self.acceptor))

    def on_timer_task(self, event):
        print("the deadline of this peer passed", file=sys.stderr, flush=True)
        os._exit(1)

    def on_connection_bound(self, event):
        sasl = event.transport.sasl()
        if self.job["sasl_dir"]:
            sasl.config_path(self.job["sasl_dir"])
            sasl.allowed_mechs("PLAIN")
            event.transport.require_auth(True)
        else:
            sasl.allowed_mechs("ANONYMOUS")

    def on_connection_remote_open(self, event):
        event.connection.container = "proton"
        event.connection.open()

    def on_session_remote_open(self, event):
        event.session.open()

    def on_link_remote_open(self, event):
        link = event.link
        link.source.copy(link.remote_source)
        link.target.copy(link.remote_target)
        link.open()
        if link.is_receiver:
            link.flow(CREDIT)
        elif link.remote_source.address.endswith("$cbs"):
            self.replies = link
        else:
            for number, command in enumerate(self.job["commands"]):
                link.delivery(f"lock-token-{number:05}")  # 16 bytes, as the hub's
                message = Message(body=command["body"].encode(), inferred=True, properties=command["properties"])
                message.id = command["id"]
                link.stream(message.encode())
                link.advance()

    def on_delivery(self, event):
        delivery = event.delivery
        if delivery.link.is_sender:
            if delivery.link != self.replies and delivery.remote_state in OUTCOMES:
                self.outcomes[delivery.tag] = OUTCOMES[delivery.remote_state]
                delivery.settle()
            return
        if delivery.partial or not delivery.readable:
            return
        raw = delivery.link.recv(delivery.pending)
        delivery.link.advance()
        if delivery.link.remote_target.address.endswith("$cbs"):
            self.answer(delivery, raw)
        else:
            self.take(delivery, raw)

    def answer(self, delivery, raw):
        request = Message()
        request.decode(raw)
        delivery.update(Delivery.ACCEPTED)
        delivery.settle()
        self.tokens += 1
        reply = Message(properties={"status-code": int32(200), "status-description": "OK"})
        reply.correlation_id = request.id
        self.replies.delivery(f"r{self.tokens}")
        self.replies.stream(reply.encode())
        self.replies.advance()

    def take(self, delivery, raw):
        self.transfers += 1
        self.ids += ids_of(raw)
        self.unsettled.append(delivery)
        self.most = max(self.most, len(self.unsettled))
        if len(self.unsettled) >= self.job["window"] or len(self.ids) >= self.job["messages"]:
            for taken in self.unsettled:
                taken.update(Delivery.ACCEPTED)
                taken.settle()
            self.unsettled.clear()

    def on_link_remote_close(self, event):
        event.link.close()

    def on_session_remote_close(self, event):
        event.session.close()

    def on_connection_remote_close(self, event):
        event.connection.close()

    def on_transport_closed(self, event):
        if event.connection.state & Endpoint.REMOTE_UNINIT:
            return
        outcomes = [self.outcomes[tag] for tag in sorted(self.outcomes)]
        say(ids=self.ids, transfers=self.transfers, most_unsettled=self.most, tokens=self.tokens, outcomes=outcomes)
        os._exit(0)


def ids_of(raw):
    """The message-ids of what is in a transfer: of one message, or of a batch, whose data sections are messages."""
    inner = [bytes(section) for code, section in sections(raw) if code == DATA]
    if len(inner) > 1 or inner[0].startswith(b"\x00\x53") or inner[0].startswith(b"\x00\x80"):
        return [one_of(data) for data in inner]
    return [one_of(raw)]


def one_of(raw):
    message = Message()
    message.decode(raw)
    return message.id


def sections(raw):
    """The sections of an encoded message: each is a described value, by the standard's number for it."""
    while raw:
        data = Data()
        raw = raw[data.decode(raw) :]
        data.rewind()
        data.next()
        described = data.get_py_described()
        yield int(described.descriptor), described.value


def say(**fact):
    print(json.dumps(fact), flush=True)


if __name__ == "__main__":
    Container(Hub(json.load(sys.stdin))).run()
