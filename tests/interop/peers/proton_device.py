"""Qpid Proton as a device by hand: it opens what a case tells it to, frame by frame, and says what it sees.

stdin:  one JSON object a line. The first says how to connect:
        {"host", "port", "ca", "virtual_host", "mech": "PLAIN" | "ANONYMOUS" | "EXTERNAL" | null for no SASL at all,
         "user", "password", "cert", "cert_key", "max_frame", "idle_s"}
        Each other is an order: {"do": "attach" | …} with what the methods below take. The end of stdin ends it.
stdout: for each order {"did": …, "error": null | why not}, and as they come
        {"saw": "open" | "attach" | "credit" | "message" | "outcome" | "settled" | "detach" | "end" | "close" | "broken", …}.
stderr: every frame, with PN_TRACE_FRM=1 in the environment.

Values are JSON where AMQP has one type for it; all else is named by its type: {"uuid": "…"}, {"ulong": 7}.
"""

import json
import os
import sys
import threading
import uuid

import proton
from proton import Condition, Delivery, Described, Handler, Message, SSLDomain, symbol, ulong
from proton.reactor import ApplicationEvent, Container, EventInjector

OUTCOMES = {
    "accepted": Delivery.ACCEPTED,
    "rejected": Delivery.REJECTED,
    "released": Delivery.RELEASED,
    "modified": Delivery.MODIFIED,
}


class Device(Handler):
    """No `MessagingHandler`, which would grant credit, settle and close by itself."""

    def __init__(self, job):
        super().__init__()
        self.job = job
        self.sessions = {}
        self.links = {}
        self.names = {}
        self.deliveries = []
        self.sent = 0

    def on_reactor_init(self, event):
        job = self.job
        trust = SSLDomain(SSLDomain.MODE_CLIENT)
        trust.set_trusted_ca_db(job["ca"])
        trust.set_peer_authentication(SSLDomain.VERIFY_PEER_NAME)
        if job.get("cert"):
            trust.set_credentials(job["cert"], job["cert_key"], None)
        more = {"max_frame_size": job["max_frame"]} if job.get("max_frame") else {}
        mech = job.get("mech")
        self.connection = event.container.connect(
            url=f"amqps://{job['host']}:{job['port']}",
            user=job.get("user"),
            password=job.get("password"),
            allowed_mechs=mech,
            sasl_enabled=mech is not None,
            ssl_domain=trust,
            # Proton compares names, not addresses, with what a certificate holds.
            sni="localhost",
            virtual_host=job["virtual_host"],
            heartbeat=job.get("idle_s"),
            reconnect=False,
            **more,
        )
        injector = EventInjector()
        event.container.selectable(injector)
        threading.Thread(target=read_orders, args=(injector,), daemon=True).start()

    def on_order(self, event):
        order = event.subject
        do = order.pop("do")
        try:
            getattr(self, f"do_{do}")(**order)
            say(did=do, error=None)
        except Exception as error:
            say(did=do, error=f"{type(error).__name__}: {error}")

    def do_begin(self, session):
        self.sessions[session] = self.connection.session()
        self.sessions[session].open()

    def do_attach(
        self,
        link,
        role,
        source=None,
        target=None,
        name=None,
        session="",
        snd=None,
        rcv=None,
        properties=None,
        selector=None,
        credit=0,
    ):
        """A selector is [descriptor, text], the descriptor as values are."""
        if session not in self.sessions:
            self.do_begin(session)
        made = getattr(self.sessions[session], role)(name or link)
        made.source.address = source
        made.target.address = target
        if snd is not None:
            made.snd_settle_mode = snd
        if rcv is not None:
            made.rcv_settle_mode = rcv
        if selector:
            descriptor, text = selector
            key = symbol("apache.org:selector-filter:string")
            made.source.filter.put_dict({key: Described(value_of(descriptor), text)})
        if properties:
            made.properties = {symbol(key): value_of(value) for key, value in properties.items()}
        self.links[link] = made
        self.names[made] = link
        made.open()
        if credit:
            made.flow(credit)

    def do_flow(self, link, credit):
        self.links[link].flow(credit)

    def do_send(self, link, message, settled=False, number=None):
        """Several at once are numbered by the case, since their outcomes come in any order."""
        sender = self.links[link]
        self.sent += 1
        tag = f"t{self.sent}" if number is None else f"n{number}"
        delivery = sender.delivery(tag)
        sender.stream(message_of(message).encode())
        sender.advance()
        if settled:
            delivery.settle()

    def do_abort(self, link, body):
        """Some frames of a transfer, and then the one that takes it back."""
        self.sent += 1
        delivery = self.links[link].delivery(f"t{self.sent}")
        self.links[link].stream(body.encode())
        self.connection.transport.pending()
        delivery.abort()

    def do_settle(self, deliveries, outcome, settled=True, condition=None):
        for at in deliveries:
            delivery = self.deliveries[at]
            if condition:
                delivery.local.condition = Condition(condition)
            delivery.update(OUTCOMES[outcome])
            if settled:
                delivery.settle()

    def do_detach(self, link):
        self.links[link].close()

    def do_end(self, session):
        self.sessions[session].close()

    def do_close(self):
        self.connection.close()

    def on_connection_remote_open(self, event):
        say(saw="open", max_frame=event.transport.remote_max_frame_size, idle=event.transport.remote_idle_timeout)

    def on_link_remote_open(self, event):
        link = event.link
        terminus = link.remote_target if link.is_sender else link.remote_source
        say(saw="attach", link=self.names[link], address=terminus.address, credit=link.credit)

    def on_link_flow(self, event):
        if event.link.is_sender:
            say(saw="credit", link=self.names[event.link], credit=event.link.credit)

    def on_link_remote_close(self, event):
        condition = event.link.remote_condition
        info = condition.info if condition else None
        info = {str(key): typed(value) for key, value in info.items()} if info else None
        say(saw="detach", link=self.names[event.link], info=info, **condition_of(condition))
        event.link.close()

    def on_link_remote_detach(self, event):
        self.on_link_remote_close(event)

    def on_session_remote_close(self, event):
        name = next(name for name, session in self.sessions.items() if session == event.session)
        say(saw="end", session=name, **condition_of(event.session.remote_condition))
        event.session.close()

    def on_connection_remote_close(self, event):
        say(saw="close", **condition_of(event.connection.remote_condition))
        event.connection.close()

    def on_transport_error(self, event):
        sasl = event.transport.sasl().outcome if self.job.get("mech") else None
        say(saw="broken", sasl=sasl, **condition_of(event.transport.condition))

    def on_transport_closed(self, event):
        say(saw="gone")

    def on_delivery(self, event):
        delivery = event.delivery
        if delivery.link.is_receiver:
            if delivery.readable and not delivery.partial:
                self.received(delivery)
            elif delivery.updated and delivery in self.deliveries:
                say(
                    saw="settled",
                    delivery=self.deliveries.index(delivery),
                    settled=delivery.settled,
                    **outcome_of(delivery),
                )
        elif delivery.updated:
            say(
                saw="outcome",
                link=self.names[delivery.link],
                tag=delivery.tag,
                settled=delivery.settled,
                **outcome_of(delivery),
            )
            delivery.settle()

    def received(self, delivery):
        message = Message()
        message.decode(delivery.link.recv(delivery.pending))
        delivery.link.advance()
        self.deliveries.append(delivery)
        body = message.body
        say(
            saw="message",
            link=self.names[delivery.link],
            delivery=len(self.deliveries) - 1,
            settled=delivery.settled,
            id=typed_id(message.id),
            correlation_id=typed_id(message.correlation_id),
            to=message.address,
            content_type=None if str(message.content_type) == "None" else str(message.content_type),
            properties={key: typed(value) for key, value in (message.properties or {}).items()},
            annotations={str(key): typed(value) for key, value in (message.annotations or {}).items()},
            body=bytes(body).decode() if isinstance(body, (bytes, memoryview)) else typed(body),
            section="data" if message.inferred else "value",
        )


def read_orders(injector):
    for line in sys.stdin:
        order = json.loads(line)
        injector.trigger(ApplicationEvent("order", subject=order))
    os._exit(0)


def outcome_of(delivery):
    names = {value: name for name, value in OUTCOMES.items()}
    state = delivery.remote_state
    return {
        "outcome": names.get(state),
        **condition_of(delivery.remote.condition if state == Delivery.REJECTED else None),
    }


def condition_of(condition):
    return {"condition": condition and condition.name, "description": condition and condition.description}


def message_of(wanted):
    if "sequence" in wanted:
        body = [value_of(value) for value in wanted["sequence"]]
    else:
        body = value_of(wanted["value"]) if "value" in wanted else wanted.get("body", "").encode()
    message = Message(
        body=body,
        inferred="value" not in wanted,
        properties=(
            {key: value_of(value) for key, value in wanted["properties"].items()} if "properties" in wanted else None
        ),
        annotations=(
            {symbol(key): value_of(value) for key, value in wanted["annotations"].items()}
            if "annotations" in wanted
            else None
        ),
    )
    message.id = value_of(wanted.get("id"))
    message.correlation_id = value_of(wanted.get("correlation_id"))
    message.address = wanted.get("to")
    if wanted.get("reply_to"):
        message.reply_to = wanted["reply_to"]
    return message


MAKERS = {
    "uuid": uuid.UUID,
    "ulong": ulong,
    "int": proton.int32,
    "long": int,
    "symbol": symbol,
    "timestamp": proton.timestamp,
    "double": float,
}
TYPES = {
    proton.int32: "int",
    ulong: "ulong",
    int: "long",
    uuid.UUID: "uuid",
    symbol: "symbol",
    proton.timestamp: "timestamp",
    proton.ubyte: "ubyte",
    proton.uint: "uint",
}


def value_of(value):
    if isinstance(value, dict):
        ((kind, inner),) = value.items()
        return MAKERS[kind](inner)
    return value


def typed(value):
    kind = TYPES.get(type(value))
    if kind is None:
        return value if value is None or isinstance(value, (str, bool, float)) else repr(value)
    return {kind: str(value) if kind in ("uuid", "symbol") else int(value)}


def typed_id(value):
    """Proton reads a ulong as a plain int, and an id is never any other number."""
    return {"ulong": value} if type(value) is int else typed(value)


def say(**fact):
    print(json.dumps(fact), flush=True)


if __name__ == "__main__":
    Container(Device(json.loads(sys.stdin.readline()))).run()
