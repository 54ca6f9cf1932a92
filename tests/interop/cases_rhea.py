"""The C SDK's shapes, by rhea: what neither Proton nor the Node SDK can write."""

from cases import case
from cases_faults import fault
from device_hub import DeviceHub
from harness import HOST, expect


def as_c(world, hub, batches):
    hub.device("pump")
    job = hub.place() | {"virtual_host": HOST, "device": "pump", "token": hub.token("pump"), "batches": batches}
    result = world.node_peer("rhea_as_c", job, ca=hub.ca)
    signed_in = (result["mechanism"], result["status"], result["correlated"])
    expect("mechanism, status and correlation", signed_in, ("MSSBCBS", 200, True))
    return result


@case
def rhea_sends_batches_as_the_c_sdk(world):
    hub = DeviceHub(world)
    batches = [
        {
            "messages": [
                {"body": f"{batch} {number}", "id": f"m-{batch}-{number}", "properties": {"n": str(number)}}
                for number in range(count)
            ]
        }
        for batch, count in enumerate([1, 2, 100])
    ]
    result = as_c(world, hub, batches)
    expect("the outcomes", result["outcomes"], [{"outcome": "accepted", "condition": None}] * 3)
    sent = [message for batch in batches for message in batch["messages"]]
    events = hub.events(len(sent))
    for message, event in zip(sent, events):
        seen = (event["body"], event["system"]["message-id"], event["properties"])
        expect("the message", seen, ({"data": message["body"]}, message["id"], message["properties"]))


@case
def rhea_sends_a_batch_that_is_too_large(world):
    """All of it is refused, and none of it arrives; the next one is taken."""
    hub = DeviceHub(world)
    large = {"messages": [{"body": "x" * 30_000, "id": f"l-{number}"} for number in range(10)]}
    small = {"messages": [{"body": "small", "id": "s"}]}
    result = as_c(world, hub, [large, small])
    expect(
        "the outcomes",
        result["outcomes"],
        [
            {"outcome": "rejected", "condition": "amqp:link:message-size-exceeded"},
            {"outcome": "accepted", "condition": None},
        ],
    )
    expect("what came", hub.event()["system"]["message-id"], "s")
    hub.no_event()


@case
def rhea_asks_for_a_fault_by_a_batch(world):
    """C puts the properties that ask for it on the batch, not on the messages in it."""
    hub = DeviceHub(world)
    asking = {"properties": fault("InvokeMaxMessageQuota"), "messages": [{"body": "trouble", "id": "t"}]}
    refused = {"messages": [{"body": "no", "id": "n"}]}
    result = as_c(world, hub, [asking, refused])
    expect("the outcomes", [said["condition"] for said in result["outcomes"]], [None, "amqp:resource-limit-exceeded"])
    expect("what came", hub.event()["system"]["message-id"], "t")
    hub.no_event()
