"""Microsoft's Node service SDK: scheduled jobs and configurations."""

import datetime

from cases import case
from harness import Failure, expect
from node_device import NodeDevice
from node_registry import owner_at

TWIN_PATCH = {"etag": "*", "tags": {"done": True}, "properties": {"desired": {"k": "v"}}}


def ended(registry, job):
    """The job once it has ended: what it does takes a moment."""
    for _ in range(200):
        state = registry.call("jobs", "getJob", job)
        if state["status"] in ("completed", "cancelled", "failed"):
            return state
    raise Failure(f"the job is still {state['status']}")


@case
def job_updates_twins(world):
    hub, registry = owner_at(world)
    for device in ("a", "b", "c"):
        hub.device(device)
    made = registry.call("jobs", "scheduleTwinUpdate", "j1", "deviceId IN ['a', 'b']", TWIN_PATCH, None, 300)
    expect("the job", (made["jobId"], made["type"]), ("j1", "scheduleUpdateTwin"))
    state = ended(registry, "j1")
    expect("how it ended", state["status"], "completed")
    statistics = state["deviceJobStatistics"]
    expect("the counts", (statistics["deviceCount"], statistics["succeededCount"]), (2, 2))
    tags = [hub.do("twin", whom=device)["tags"] for device in ("a", "b", "c")]
    expect("the twins", tags, [{"done": True}, {"done": True}, {}])


@case
def job_waits_for_its_time(world):
    hub, registry = owner_at(world)
    hub.device("a")
    start = {"date": "2040-01-01T00:00:00Z"}
    made = registry.call("jobs", "scheduleTwinUpdate", "later", "*", TWIN_PATCH, start, 300)
    expect("the job", (made["status"], made["startTime"]), ("scheduled", "2040-01-01T00:00:00.0000000Z"))
    expect("the twin", hub.do("twin", whom="a")["tags"], {})
    cancelled = registry.call("jobs", "cancelJob", "later")
    expect("when it is cancelled", cancelled["status"], "cancelled")
    expect("one that is not there", registry.refused("jobs", "getJob", "none")[1], 404)


@case
def job_begins_when_the_clock_is_turned(world):
    hub, registry = owner_at(world)
    hub.device("a")
    start = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=1200)
    registry.call("jobs", "scheduleTwinUpdate", "soon", "*", TWIN_PATCH, {"date": start.isoformat()}, 300)
    expect("before its time", registry.call("jobs", "getJob", "soon")["status"], "scheduled")
    hub.do("turn_clock", by_s=1201)
    expect("in its time", registry.call("jobs", "getJob", "soon")["status"], "completed")


@case
def job_calls_methods_and_tells_of_each_device(world):
    hub, registry = owner_at(world)
    for device in ("online", "offline"):
        hub.device(device)
    node = NodeDevice(world, hub, "tcp", connection_string=hub.connection_string("online"))
    node.do("open")
    node.do("answer", method="flush", status=201, payload={"left": 0})
    # The device's links are there once it can be called.
    hub.do("call", whom="online", method="flush", connect_timeout_s=20)
    method = {"methodName": "flush", "payload": {"all": True}, "responseTimeoutInSeconds": 30}
    registry.call("jobs", "scheduleDeviceMethod", "m1", "STARTSWITH(deviceId, 'o')", method, None, 300)
    state = ended(registry, "m1")
    statistics = state["deviceJobStatistics"]
    expect("the counts", (statistics["succeededCount"], statistics["failedCount"]), (1, 1))
    rows = registry.query("SELECT * FROM devices.jobs WHERE devices.jobs.jobId = 'm1'")["rows"]
    expect("of whom", [(row["deviceId"], row["status"]) for row in rows], [("offline", "failed"), ("online", "completed")])
    expect("why one failed", rows[0]["error"]["code"], "DeviceNotOnline")
    answer = rows[1]["outcome"]["deviceMethodResponse"]
    expect("what the other answered", answer, {"status": 201, "payload": {"left": 0}})


@case
def job_queries_list_by_type_and_status(world):
    hub, registry = owner_at(world)
    hub.device("a")
    for number in range(3):
        registry.call("jobs", "scheduleTwinUpdate", f"t{number}", "*", TWIN_PATCH, None, 300)
        ended(registry, f"t{number}")
    found = registry.do("jobs", type="scheduleUpdateTwin", status="completed", size=2)["result"]
    expect("the pages", found["pages"], [2, 1])
    expect("the jobs", [job["jobId"] for job in found["rows"]], ["t0", "t1", "t2"])
    none = registry.do("jobs", type="scheduleDeviceMethod", status="completed", size=2)["result"]
    expect("of another type", none["rows"], [])


@case
def job_that_is_none_is_refused(world):
    _, registry = owner_at(world)
    wrong = registry.refused("jobs", "scheduleTwinUpdate", "j", "tags.a =", TWIN_PATCH, None, 300)
    expect("a wrong condition", wrong, ("ArgumentError", 400))
    registry.call("jobs", "scheduleTwinUpdate", "j", "*", TWIN_PATCH, None, 300)
    again = registry.refused("jobs", "scheduleTwinUpdate", "j", "*", TWIN_PATCH, None, 300)
    expect("one of that name", again, ("DeviceAlreadyExistsError", 409))


CONFIGURATION = {
    "id": "chiller",
    "labels": {"App": "Mongo"},
    "content": {"deviceContent": {"properties.desired.chillerWaterSettings": {"temperature": 68}}},
    "metrics": {"queries": {"waterSettingsPending": "SELECT deviceId FROM devices WHERE tags.pending = true"}},
    "targetCondition": "tags.chiller = true",
    "priority": 20,
}


@case
def configuration_is_made_applied_changed_and_removed(world):
    hub, registry = owner_at(world)
    for device in ("cold", "warm"):
        hub.device(device)
    hub.do("patch_tags", whom="cold", patch={"chiller": True})
    made = registry.registry("addConfiguration", CONFIGURATION)
    expect("its schema", made["schemaVersion"], "1.0")
    read = registry.registry("getConfiguration", "chiller")
    results = (read["systemMetrics"]["results"], read["metrics"]["results"])
    expect("its metrics", results, ({"targetedCount": 1, "appliedCount": 1}, {"waterSettingsPending": 0}))
    desired = [hub.do("twin", whom=device)["desired"] for device in ("cold", "warm")]
    expect("what is set", desired, [{"chillerWaterSettings": {"temperature": 68}}, {}])
    expect("the list", [one["id"] for one in registry.registry("getConfigurations")], ["chiller"])
    changed = registry.registry("updateConfiguration", {**read, "priority": 21})
    expect("the change", (changed["priority"], changed["etag"] != read["etag"]), (21, True))
    stale = registry.refused("registry", "updateConfiguration", {**read, "priority": 22})
    expect("a change of what is no more", stale, ("InvalidEtagError", 412))
    forced = registry.registry("updateConfiguration", {**read, "priority": 23}, True)
    expect("a forced change", forced["priority"], 23)
    registry.registry("removeConfiguration", "chiller")
    expect("that it is gone", registry.refused("registry", "getConfiguration", "chiller")[1], 404)


@case
def configuration_reaches_a_device_that_comes_to_be_meant(world):
    hub, registry = owner_at(world)
    registry.registry("addConfiguration", CONFIGURATION)
    hub.device("later")
    node = NodeDevice(world, hub, "tcp", connection_string=hub.connection_string("later"))
    node.do("open")
    node.do("twin")
    node.do("watch")
    # Answered behind the request to be told of changes.
    node.do("report", patch={"ready": True})
    registry.twin("later")
    registry.update_twin("later", {"tags": {"chiller": True}})
    node.saw("desired", patch={"chillerWaterSettings": {"temperature": 68}, "$version": 2})


@case
def configuration_content_is_applied_to_an_edge_device(world):
    hub, registry = owner_at(world)
    made = registry.registry("create", {"deviceId": "edge", "capabilities": {"iotEdge": True}})
    expect("its capabilities", made["capabilities"], {"iotEdge": True})
    manifest = {"modulesContent": {"$edgeAgent": {"properties.desired": {"modules": {}}}, "sensor": {"properties.desired.rate": 5}}}
    registry.registry("applyConfigurationContentOnDevice", "edge", manifest)
    expect("the module's twin", registry.twin("edge", module="sensor")["properties"]["desired"]["rate"], 5)
    modules = [module["moduleId"] for module in registry.registry("getModulesOnDevice", "edge")]
    expect("the modules", modules, ["$edgeAgent", "$edgeHub", "sensor"])
