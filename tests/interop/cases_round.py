"""The whole round, across vendors: back ends and devices of Microsoft's SDKs in two languages, each with its own way in."""

from cases import case
from cases_service import NodeService, wait_until_settled
from events_reader import EventsReader
from harness import expect
from node_device import NodeDevice
from node_registry import NodeRegistry, policy_string, service_hub


@case
def the_whole_round_goes_across_vendors(world):
    hub, keys = service_hub(world)
    registry = NodeRegistry(world, hub, connection_string=policy_string(hub, keys))
    made = registry.registry("create", {"deviceId": "valve"})
    key = made["authentication"]["symmetricKey"]["primaryKey"]

    device = NodeDevice(world, hub, "tcp", connection_string=hub.connection_string("valve", key))
    device.do("open")
    device.do("send", message={"body": '{"open": false}', "message_id": "m-1"})
    device.do("answer", method="turn", status=200, payload={"open": True})
    device.do("receive", settle=["complete"])

    call = {"methodName": "turn", "payload": {"by": 90}, "connectTimeoutInSeconds": 20}
    answer = registry.call("client", "invokeDeviceMethod", "valve", call)
    expect("what the device answered", (answer["status"], answer["payload"]), (200, {"open": True}))
    expect("what it was asked", device.saw("call")["payload"], {"by": 90})

    reader = EventsReader(world, hub, keys["service"])
    reader.reads(['{"open": false}'])

    service = NodeService(world, hub, keys["service"])
    service.do("open")
    service.do("feedback", settle=["complete"])
    service.do("send", to="valve", message={"body": "close", "messageId": "order-1", "ack": "full"})
    got = device.saw("message")
    expect("what the device got", (got["body"], got["id"], got["error"]), ("close", "order-1", None))
    # Records wait for others, a while by the hub's clock.
    wait_until_settled(hub)
    hub.do("turn_clock", by_s=60)
    expect("what became of it", service.fates(1)["order-1"]["statusCode"], "Success")
