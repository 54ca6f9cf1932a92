"""Microsoft's Event Hubs SDK for Python, unmodified, reading events as a case tells it to.

stdin:  one JSON object a line. The first says how to connect:
        {"connection_string", "endpoint": "https://HOST:PORT" to dial, "ca", "transport": "tcp" | "ws"}
        Each other is an order: {"do": "hub" | "partition" | "read" | "stop"} with what the functions below take. The end of
        stdin ends it.
stdout: for each order {"did": …, "error": null | the error's class, …}, and as they come
        {"saw": "event" | "trouble" | "silence", "reader": …, …}.

An order that fails is not tried again by the SDK: what the hub answers is what is seen.
"""

import json
import os
import sys
import threading
from datetime import datetime, timezone

from azure.eventhub import EventHubConsumerClient, TransportType

JOB = json.loads(sys.stdin.readline())
printing = threading.Lock()
readers = {}


def client_of(group):
    return EventHubConsumerClient.from_connection_string(
        JOB["connection_string"],
        group,
        custom_endpoint_address=JOB["endpoint"],
        connection_verify=JOB["ca"],
        transport_type=TransportType.AmqpOverWebsocket if JOB.get("transport") == "ws" else TransportType.Amqp,
        retry_total=0,
    )


def do_hub():
    with client_of("$Default") as client:
        about = client.get_eventhub_properties()
    return {"name": about["eventhub_name"], "partitions": about["partition_ids"], "created": about["created_at"].isoformat()}


def do_partition(partition):
    with client_of("$Default") as client:
        about = client.get_partition_properties(partition)
    return {
        "name": about["eventhub_name"],
        "id": about["id"],
        "first": about["beginning_sequence_number"],
        "last": about["last_enqueued_sequence_number"],
        "offset": about["last_enqueued_offset"],
        "empty": about["is_empty"],
        "time": about["last_enqueued_time_utc"].isoformat(),
    }


def do_read(reader, partition=None, group="$Default", position="-1", inclusive=False, epoch=None, metric=False):
    """Reads a partition, or all, until it is told to stop or goes wrong. A position is a sequence number, an offset as
    text, or {"time_ms": …}."""
    client = client_of(group)
    readers[reader] = client
    if isinstance(position, dict):
        position = datetime.fromtimestamp(position["time_ms"] / 1000, timezone.utc)

    def on_batch(context, events):
        for event in events:
            say(saw="event", reader=reader, partition=context.partition_id, **facts_of(event))
            if metric:
                say(saw="metric", reader=reader, **metric_of(context.last_enqueued_event_properties))
        if not events:
            say(saw="silence", reader=reader)

    def on_error(context, error):
        # The condition, less what stands before its first colon.
        condition = getattr(error, "error", None)
        say(saw="trouble", reader=reader, error=type(error).__name__, condition=condition, words=str(error)[:500])

    def run():
        client.receive_batch(
            on_batch,
            on_error=on_error,
            partition_id=partition,
            starting_position=position,
            starting_position_inclusive=inclusive,
            owner_level=epoch,
            track_last_enqueued_event_properties=metric,
            max_wait_time=1,
        )

    threading.Thread(target=run, daemon=True).start()


def do_stop(reader):
    readers.pop(reader).close()


def facts_of(event):
    return {
        "body": event.body_as_str(),
        "sequence_number": event.sequence_number,
        "offset": event.offset,
        "time_ms": int(event.enqueued_time.timestamp() * 1000),
        "properties": {text_of(key): text_of(value) for key, value in (event.properties or {}).items()},
        "system": {text_of(key): text_of(value) for key, value in event.system_properties.items()},
        "body_type": event.body_type.name,
    }


def metric_of(known):
    return {
        "sequence_number": known["sequence_number"],
        "offset": known["offset"],
        "times": [known[name].isoformat() for name in ("enqueued_time", "retrieval_time")],
    }


def text_of(value):
    if isinstance(value, bytes):
        return value.decode()
    return value if value is None or isinstance(value, (str, int, float)) else str(value)


def say(**fact):
    with printing:
        print(json.dumps(fact), flush=True)


for line in sys.stdin:
    order = json.loads(line)
    do = order.pop("do")
    try:
        answer = globals()[f"do_{do}"](**order) or {}
        say(did=do, error=None, **answer)
    except Exception as error:
        say(did=do, error=type(error).__name__, words=str(error)[:300])
os._exit(0)
