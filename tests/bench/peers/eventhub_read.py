"""Reads events with Microsoft's Event Hubs SDK for Python, all partitions from their start, and says how fast that went.

stdin:  one JSON object {"connection_string", "endpoint": "https://HOST:PORT" to dial, "ca", "count"}
stdout: one JSON object {"count", "bytes", "seconds", "cpu_us"}, from the first event to the last; the bytes are those of bodies,
        the CPU that of this process.
"""

import json
import sys
import threading
import time

from azure.eventhub import EventHubConsumerClient

job = json.load(sys.stdin)
lock = threading.Lock()
done = threading.Event()
state = {"count": 0, "bytes": 0, "started": 0.0, "ended": 0.0}


def on_batch(_context, events):
    # Some thread for each partition comes here.
    size = sum(len(part) for event in events for part in event.body)
    with lock:
        if state["count"] == 0:
            state["started"], state["cpu"] = time.monotonic(), time.process_time()
        state["count"] += len(events)
        state["bytes"] += size
        if state["count"] >= job["count"] and not done.is_set():
            state["ended"], state["cpu"] = time.monotonic(), time.process_time() - state["cpu"]
            done.set()


client = EventHubConsumerClient.from_connection_string(
    job["connection_string"],
    "$Default",
    custom_endpoint_address=job["endpoint"],
    connection_verify=job["ca"],
)
with client:
    reading = threading.Thread(
        target=client.receive_batch,
        args=(on_batch,),
        kwargs={"starting_position": "-1", "max_batch_size": 300, "prefetch": 3000},
        daemon=True,
    )
    reading.start()
    if not done.wait(110):
        sys.exit(f"only {state['count']} events came")

print(
    json.dumps(
        {
            "count": state["count"],
            "bytes": state["bytes"],
            "seconds": state["ended"] - state["started"],
            "cpu_us": state["cpu"] * 1e6,
        }
    )
)
