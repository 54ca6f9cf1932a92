"""Microsoft's Node service SDK: twins, queries, methods, digital twins."""

from cases import case, cases_of
from harness import expect
from node_device import NodeDevice
from node_registry import owner_at


def with_device(world, whom="thermostat", **setup):
    hub, registry = owner_at(world, **setup)
    if "/" in whom:
        hub.device(whom.split("/")[0])
    hub.device(whom)
    node = NodeDevice(world, hub, "tcp", module="/" in whom, connection_string=hub.connection_string(whom))
    node.do("open")
    return hub, registry, node


@case
def service_twin_is_read_and_changed(world):
    hub, registry = owner_at(world)
    hub.device("thermostat")
    twin = registry.twin("thermostat")
    expect("a new one", (twin["deviceId"], twin["tags"], twin["version"]), ("thermostat", {}, 1))
    expect("its status", (twin["status"], twin["connectionState"]), ("enabled", "Disconnected"))
    twin = registry.update_twin("thermostat", {"tags": {"floor": 3}, "properties": {"desired": {"interval": 60}}})
    expect("its tags", twin["tags"], {"floor": 3})
    desired = twin["properties"]["desired"]
    expect("desired", (desired["interval"], desired["$version"]), (60, 2))
    expect("when", desired["$metadata"]["interval"]["$lastUpdatedVersion"], 2)
    twin = registry.update_twin("thermostat", {"tags": {"floor": None}, "properties": {"desired": {"interval": None}}})
    expect("after a deletion", (twin["tags"], twin["properties"]["desired"].get("interval")), ({}, None))


@case
def service_twin_is_not_changed_for_an_etag_that_is_no_more(world):
    hub, registry = owner_at(world)
    hub.device("thermostat")
    old = registry.twin("thermostat")["etag"]
    registry.update_twin("thermostat", {"tags": {"n": 1}})
    answer = registry.tried("update_twin", device="thermostat", patch={"tags": {"n": 2}}, etag=old)
    expect("the error", (answer["error"], answer["status"]), ("InvalidEtagError", 412))
    twin = registry.update_twin("thermostat", {"tags": {"m": 3}}, etag="*")
    expect("with any", twin["tags"], {"n": 1, "m": 3})


@case
def service_twin_that_no_twin_can_be_is_refused(world):
    hub, registry = owner_at(world)
    hub.device("thermostat")
    registry.twin("thermostat")
    for patch in [{"tags": {"a.b": 1}}, {"tags": {"a": "x" * 5000}}, {"properties": {"desired": {"$x": 1}}}]:
        answer = registry.tried("update_twin", device="thermostat", patch=patch, etag="*")
        expect("the error", (answer["error"], answer["status"]), ("ArgumentError", 400))


@case
def service_twin_and_device_hear_of_each_other(world):
    hub, registry, node = with_device(world)
    node.do("twin")
    node.do("watch")
    # Answered behind the request to be told of changes.
    node.do("report", patch={"ready": True})
    registry.twin("thermostat")
    registry.update_twin("thermostat", {"properties": {"desired": {"interval": 5}}})
    expect("what the device hears", node.saw("desired", patch={"interval": 5, "$version": 2})["patch"]["interval"], 5)
    node.do("report", patch={"interval": 5})
    reported = registry.twin("thermostat")["properties"]["reported"]
    expect("what the service reads", (reported["interval"], reported["$version"]), (5, 3))


@case
def service_twin_of_a_module(world):
    hub, registry = owner_at(world)
    hub.device("gateway")
    hub.device("gateway/filter")
    twin = registry.twin("gateway", module="filter")
    expect("whose it is", (twin["deviceId"], twin["moduleId"]), ("gateway", "filter"))
    twin = registry.update_twin("gateway", {"properties": {"desired": {"limit": 70}}})
    expect("desired", twin["properties"]["desired"]["limit"], 70)
    expect("that of the device", hub.do("twin", whom="gateway")["desired"], {})


@case
def service_queries_twins_page_by_page(world):
    hub, registry = owner_at(world)
    registry.registry("addDevices", [{"deviceId": f"d{number:02}"} for number in range(25)])
    found = registry.query("SELECT * FROM devices", 10, **{"as": "twin"})
    expect("the pages", found["pages"], [10, 10, 5])
    expect("the rows", [row["deviceId"] for row in found["rows"]], [f"d{number:02}" for number in range(25)])


@case
def service_queries_by_tags_and_properties(world):
    hub, registry = owner_at(world)
    for number in range(6):
        device = f"d{number}"
        hub.device(device)
        hub.do("patch_tags", whom=device, patch={"location": {"region": "US" if number < 4 else "EU"}})
        hub.do("patch_desired", whom=device, patch={"config": {"interval": 10 * number}})

    def ids(where):
        rows = registry.query(f"SELECT deviceId FROM devices WHERE {where}")["rows"]
        return [row["deviceId"] for row in rows]

    expect("by a tag", ids("tags.location.region = 'US'"), ["d0", "d1", "d2", "d3"])
    both = "tags.location.region = 'US' AND properties.desired.config.interval >= 20"
    expect("by both", ids(both), ["d2", "d3"])
    expect("by a list", ids("tags.location.region IN ['EU', 'AS'] OR deviceId = 'd0'"), ["d0", "d4", "d5"])
    expect("by what is not", ids("NOT STARTSWITH(deviceId, 'd') OR IS_DEFINED(tags.none)"), [])


@case
def service_queries_are_counted_and_grouped(world):
    hub, registry = owner_at(world)
    for number in range(5):
        hub.device(f"d{number}")
        hub.do("patch_tags", whom=f"d{number}", patch={"kind": "a" if number < 3 else "b"})
    count = registry.query("SELECT COUNT() AS n FROM devices")["rows"]
    expect("the count", count, [{"n": 5}])
    sql = "SELECT tags.kind AS kind, COUNT() AS numberOfDevices FROM devices GROUP BY tags.kind"
    groups = registry.query(sql)["rows"]
    expect("the groups", groups, [{"kind": "a", "numberOfDevices": 3}, {"kind": "b", "numberOfDevices": 2}])


@case
def service_queries_modules(world):
    hub, registry = owner_at(world)
    hub.device("gateway")
    for module in ("filter", "other"):
        hub.device(f"gateway/{module}")
    rows = registry.query("SELECT * FROM devices.modules WHERE moduleId = 'filter'", **{"as": "twin"})["rows"]
    expect("the modules", [(row["deviceId"], row["moduleId"]) for row in rows], [("gateway", "filter")])


@case
def service_query_that_is_none_is_told_where(world):
    _, registry = owner_at(world)
    answer = registry.tried("query", sql="SELECT * FROM devices WHERE tags.a =")
    expect("the error", (answer["error"], answer["status"]), ("ArgumentError", 400))
    expect("what is said", answer["description"].endswith("at character 37."), True)


def service_calls_a_method(world, of):
    whom = "thermostat" if of == "device" else "gateway/filter"
    hub, registry, node = with_device(world, whom)
    node.do("answer", method="reboot", status=202, payload={"in": 5})
    params = {"methodName": "reboot", "payload": {"delay": 5}, "connectTimeoutInSeconds": 10}
    args = [*whom.split("/"), params]
    answer = registry.call("client", "invokeDeviceMethod", *args)
    expect("the answer", (answer["status"], answer["payload"]), (202, {"in": 5}))
    expect("what the device saw", node.saw("call")["payload"], {"delay": 5})


cases_of(service_calls_a_method, "device", "module")


@case
def service_calls_a_method_of_nobody_who_is_there(world):
    hub, registry = owner_at(world)
    hub.device("thermostat")
    answer = registry.tried("call", on="client", name="invokeDeviceMethod", args=["thermostat", {"methodName": "m"}])
    # The SDK finds its name in the other shape of an error only.
    expect("the error", (answer["error"], answer["status"]), ("Error", 404))
    expect("its number", '\\"errorCode\\":404103' in answer["body"], True)
    nobody = registry.refused("client", "invokeDeviceMethod", "nobody", {"methodName": "m"})
    expect("of one that is not registered", nobody, ("DeviceNotFoundError", 404))


@case
def service_calls_a_method_that_is_not_answered_in_time(world):
    hub, registry = owner_at(world)
    hub.device("thermostat")
    device = NodeDevice(world, hub, "tcp", connection_string=hub.connection_string("thermostat"))
    device.do("open")
    # It takes the call, and answers nothing.
    device.do("silence", method="slow")
    params = {"methodName": "slow", "responseTimeoutInSeconds": 5, "connectTimeoutInSeconds": 10}
    refused = registry.refused("client", "invokeDeviceMethod", "thermostat", params)
    expect("the error", refused, ("GatewayTimeoutError", 504))


@case
def service_waits_for_a_device_to_come_for_its_method(world):
    hub, registry = owner_at(world)
    hub.device("thermostat")
    params = {"methodName": "m", "connectTimeoutInSeconds": 60}
    registry.process.tell({"do": "call", "on": "client", "name": "invokeDeviceMethod", "args": ["thermostat", params]})
    node = NodeDevice(world, hub, "tcp", connection_string=hub.connection_string("thermostat"))
    node.do("open")
    node.do("answer", method="m", status=200, payload=[1])
    answer = registry.answer("call")
    expect("the answer", (answer["error"], answer["result"]["payload"]), (None, [1]))


@case
def service_reads_and_patches_a_digital_twin(world):
    hub, registry = owner_at(world)
    hub.device("thermostat")
    patch = [{"op": "add", "path": "/interval", "value": 5}, {"op": "add", "path": "/sensor/target", "value": 21}]
    # The SDK resolves nothing of an answer without a body.
    registry.call("digital", "updateDigitalTwin", "thermostat", patch)
    desired = hub.do("twin", whom="thermostat")["desired"]
    expect("desired", desired, {"interval": 5, "sensor": {"__t": "c", "target": 21}})
    twin = registry.call("digital", "getDigitalTwin", "thermostat")["body"]
    expect("whose it is", twin["$dtId"], "thermostat")
    expect("what is wanted", twin["$metadata"]["interval"]["desiredValue"], 5)
    stale = registry.tried("call", on="digital", name="updateDigitalTwin", args=["thermostat", patch, '"AAAA"'])
    expect("for an ETag that is no more", stale["status"], 412)


@case
def service_invokes_commands_of_a_digital_twin(world):
    hub, registry, node = with_device(world)
    node.do("answer", method="reboot", status=200, payload={"ok": True})
    node.do("answer", method="sensor*getMax", status=200, payload=7)
    options = {"connectTimeoutInSeconds": 10, "responseTimeoutInSeconds": 10}
    answer = registry.call("digital", "invokeCommand", "thermostat", "reboot", {"in": 1}, options)
    expect("the answer", answer["body"], {"ok": True})
    expect("what the device saw", node.saw("call", method="reboot")["payload"], {"in": 1})
    registry.call("digital", "invokeComponentCommand", "thermostat", "sensor", "getMax", "now", options)
    expect("what the component saw", node.saw("call", method="sensor*getMax")["payload"], "now")
