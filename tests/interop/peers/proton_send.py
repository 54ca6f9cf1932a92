"""Qpid Proton sends one telemetry message as a device, and says what became of it.

stdin:  one JSON object
    {"host", "port", "ca": "PEM file", "tls_name": "name the certificate must carry, default host",
     "virtual_host": "open.hostname", "user", "password", "address", "timeout_s",
     "both_termini": false, "link_name": null,
     "message": {"body_kind": "data" | "value", "body", "settled": false, "message_id", "content_type",
                 "to", "properties": {}}}
    A password comes in this way and not as an argument, since arguments are public on a machine.
stdout: one JSON object
    {"outcome": "accepted" | "rejected" | "released" | "modified" | "sent-settled" | "failed",
     "condition", "description", "sasl_outcome"}
    `sasl_outcome` is the code that Proton's SASL layer holds (AMQP 1.0 section 5.3.3.6: 0 ok, 1 auth, 2 sys,
    3 sys-perm, 4 sys-temp), null when there was no negotiation.
stderr: every frame, with PN_TRACE_FRM=1 in the environment.
"""

import json
import sys

from proton import Delivery, Message, SSLDomain
from proton.handlers import MessagingHandler
from proton.reactor import AtLeastOnce, AtMostOnce, Container, LinkOption


class BothTermini(LinkOption):
    """Proton's Messenger named the address as source and target of its link; the reactive API names the target."""

    def __init__(self, address):
        self.address = address

    def apply(self, link):
        link.source.address = self.address


class Send(MessagingHandler):
    def __init__(self, job):
        # Proton's own handler must neither settle nor swallow what we report.
        super().__init__(auto_settle=True)
        self.job = job
        self.sent = None
        self.result = {"outcome": "failed", "condition": None, "description": None, "sasl_outcome": None}

    def on_start(self, event):
        job = self.job
        trust = SSLDomain(SSLDomain.MODE_CLIENT)
        trust.set_trusted_ca_db(job["ca"])
        trust.set_peer_authentication(SSLDomain.VERIFY_PEER_NAME)
        self.connection = event.container.connect(
            url=f"amqps://{job['host']}:{job['port']}",
            user=job["user"],
            password=job["password"],
            # Proton prefers EXTERNAL wherever it is offered, with a user and a password too.
            allowed_mechs="PLAIN",
            ssl_domain=trust,
            sni=job.get("tls_name") or job["host"],
            virtual_host=job["virtual_host"],
            reconnect=False,
        )
        options = [AtMostOnce() if job["message"].get("settled") else AtLeastOnce()]
        if job.get("both_termini"):
            options.append(BothTermini(job["address"]))
        event.container.create_sender(
            self.connection, job["address"], name=job.get("link_name"), options=options
        )
        self.deadline = event.container.schedule(job.get("timeout_s", 20), self)

    def on_sendable(self, event):
        if self.sent is not None:
            return
        self.sent = event.sender.send(message_of(self.job["message"]))
        if self.job["message"].get("settled"):
            self.finish(outcome="sent-settled")

    def on_accepted(self, event):
        self.finish(outcome="accepted")

    def on_rejected(self, event):
        condition = event.delivery.remote.condition
        self.finish(
            outcome="rejected",
            condition=condition and condition.name,
            description=condition and condition.description,
        )

    def on_released(self, event):
        modified = event.delivery.remote_state == Delivery.MODIFIED
        self.finish(outcome="modified" if modified else "released")

    def on_link_error(self, event):
        self.fail(event.link.remote_condition)

    def on_session_error(self, event):
        self.fail(event.session.remote_condition)

    def on_connection_error(self, event):
        self.fail(event.connection.remote_condition)

    def on_transport_error(self, event):
        self.result["sasl_outcome"] = event.transport.sasl().outcome
        self.fail(event.transport.condition)

    def on_timer_task(self, event):
        self.finish(outcome="failed", description="the deadline of this peer passed")

    def fail(self, condition):
        self.finish(
            outcome="failed",
            condition=condition and condition.name,
            description=condition and condition.description,
        )

    def finish(self, **result):
        if self.deadline is None:
            return  # the first news is the news: a refused attach is followed by a closed connection
        self.deadline.cancel()
        self.deadline = None
        self.result.update(result)
        if self.connection.transport is not None and self.result["sasl_outcome"] is None:
            self.result["sasl_outcome"] = self.connection.transport.sasl().outcome
        self.connection.close()


def message_of(wanted):
    """The AMQP message: `inferred` makes Proton write bytes as a data section instead of an amqp-value."""
    data = wanted["body_kind"] == "data"
    message = Message(
        body=wanted["body"].encode() if data else wanted["body"],
        inferred=data,
        properties=wanted.get("properties") or None,
    )
    message.id = wanted.get("message_id")
    message.address = wanted.get("to")
    if wanted.get("content_type"):
        message.content_type = wanted["content_type"]
    return message


def send(job):
    handler = Send(job)
    Container(handler).run()
    return handler.result


if __name__ == "__main__":
    print(json.dumps(send(json.load(sys.stdin))), flush=True)
