"""Microsoft's Node service SDK and the identity registry: devices, modules, bulk, rights."""

import base64
import json
import os

import sas
from cases import case, cases_of
from harness import expect
from node_device import NodeDevice
from node_registry import NodeRegistry, owner_at, policy_string, service_hub

FINGERPRINTS = {"primaryThumbprint": "A" * 40, "secondaryThumbprint": "B" * 40}


def key():
    return base64.b64encode(os.urandom(32)).decode()


@case
def registry_makes_a_device_with_new_keys(world):
    hub, registry = owner_at(world)
    made = registry.registry("create", {"deviceId": "thermostat", "status": "enabled"})
    keys = made["authentication"]["symmetricKey"]
    expect("the type", made["authentication"]["type"], "sas")
    expect("bytes of the keys", [len(base64.b64decode(keys[k])) for k in ("primaryKey", "secondaryKey")], [32, 32])
    expect("what is read", registry.registry("get", "thermostat"), made)
    # The keys are good for what they are.
    string = f"HostName={hub.host()};DeviceId=thermostat;SharedAccessKey={keys['primaryKey']}"
    node = NodeDevice(world, hub, "tcp", connection_string=string)
    node.do("open")
    node.do("send", message={"body": "x"})
    expect("who sent it", hub.event()["device"], "thermostat")
    expect("connectionState", registry.registry("get", "thermostat")["connectionState"], "Connected")


@case
def registry_makes_a_device_with_given_keys(world):
    _, registry = owner_at(world)
    keys = {"primaryKey": key(), "secondaryKey": key()}
    made = registry.registry(
        "create", {"deviceId": "d", "status": "disabled", "statusReason": "new", "authentication": {"symmetricKey": keys}}
    )
    expect("the keys", made["authentication"]["symmetricKey"], keys)
    expect("its status", (made["status"], made["statusReason"]), ("disabled", "new"))


def registry_makes_a_device_by_its_kind_of_proof(world, kind):
    _, registry = owner_at(world)
    proof = {
        "self_signed": {"x509Thumbprint": FINGERPRINTS},
        "authority": {"type": "certificateAuthority"},
        "none": {"type": "none"},
    }[kind]
    made = registry.registry("create", {"deviceId": "d", "authentication": proof})
    names = {"self_signed": "selfSigned", "authority": "certificateAuthority", "none": "none"}
    expect("the type", made["authentication"]["type"], names[kind])
    wanted = FINGERPRINTS if kind == "self_signed" else {"primaryThumbprint": None, "secondaryThumbprint": None}
    expect("the thumbprints", made["authentication"]["x509Thumbprint"], wanted)


cases_of(registry_makes_a_device_by_its_kind_of_proof, "self_signed", "authority", "none")


@case
def registry_takes_ids_with_every_letter_that_one_may_have(world):
    _, registry = owner_at(world)
    for device in ["a-b:c.d+e%f_g#h*i?j!k(l)m,n=o@p$q'r", "..", "%2F", "%252F", "x" * 128]:
        made = registry.registry("create", {"deviceId": device})
        expect("its id", made["deviceId"], device)
        expect("what is read", registry.registry("get", device)["generationId"], made["generationId"])
        registry.registry("delete", device)
    expect("one letter more", registry.refused("registry", "create", {"deviceId": "x" * 129}), ("ArgumentError", 400))


@case
def registry_refuses_to_make_a_device_twice(world):
    _, registry = owner_at(world)
    registry.registry("create", {"deviceId": "d"})
    refused = registry.refused("registry", "create", {"deviceId": "d"})
    expect("the error", refused, ("DeviceAlreadyExistsError", 409))


@case
def registry_says_that_a_device_is_not_there(world):
    _, registry = owner_at(world)
    for name, args in [("get", ["nobody"]), ("delete", ["nobody"]), ("update", [{"deviceId": "nobody"}]), ("getTwin", ["nobody"])]:
        expect(name, registry.refused("registry", name, *args), ("DeviceNotFoundError", 404))


@case
def registry_refuses_a_key_that_is_none(world):
    _, registry = owner_at(world)
    bad = {"symmetricKey": {"primaryKey": "no base64!", "secondaryKey": key()}}
    refused = registry.refused("registry", "create", {"deviceId": "d", "authentication": bad})
    expect("the error", refused, ("ArgumentError", 400))


@case
def registry_changes_and_deletes_a_device(world):
    hub, registry = owner_at(world)
    made = registry.registry("create", {"deviceId": "d"})
    changed = registry.registry("update", {"deviceId": "d", "status": "disabled", "statusReason": "broken"})
    expect("its status", (changed["status"], changed["statusReason"]), ("disabled", "broken"))
    expect("that its ETag is another", changed["etag"] != made["etag"], True)
    expect("that its keys are the same", changed["authentication"]["symmetricKey"]["primaryKey"] != "", True)
    registry.registry("delete", "d")
    expect("that it is gone", registry.refused("registry", "get", "d"), ("DeviceNotFoundError", 404))


@case
def registry_lists_devices(world):
    _, registry = owner_at(world)
    for device in ["b", "a", "c"]:
        registry.registry("create", {"deviceId": device})
    expect("the list", [device["deviceId"] for device in registry.registry("list")], ["a", "b", "c"])


@case
def registry_counts_devices(world):
    _, registry = owner_at(world)
    registry.registry("create", {"deviceId": "on"})
    registry.registry("create", {"deviceId": "off", "status": "disabled"})
    statistics = registry.registry("getRegistryStatistics")
    wanted = {"totalDeviceCount": 2, "enabledDeviceCount": 1, "disabledDeviceCount": 1}
    expect("the counts", statistics, wanted)
    of_service = registry.call("generated", "statistics.getServiceStatistics")
    expect("who is connected", of_service["body"], {"connectedDeviceCount": 0})


@case
def registry_adds_and_removes_a_hundred_devices_at_once(world):
    _, registry = owner_at(world)
    devices = [{"deviceId": f"d{number:03}"} for number in range(100)]
    added = registry.registry("addDevices", devices)
    expect("what is said", (added["isSuccessful"], added["errors"]), (True, []))
    expect("how many there are", len(registry.registry("list")), 100)
    changes = [{**device, "status": "disabled"} for device in devices]
    expect("the change", registry.registry("updateDevices", changes, True)["isSuccessful"], True)
    expect("who is disabled", registry.registry("getRegistryStatistics")["disabledDeviceCount"], 100)
    expect("the removal", registry.registry("removeDevices", devices, True)["isSuccessful"], True)
    expect("who is left", registry.registry("list"), [])


@case
def registry_tells_which_of_many_devices_failed(world):
    _, registry = owner_at(world)
    registry.registry("create", {"deviceId": "there"})
    answer = registry.tried("call", on="registry", name="addDevices", args=[[{"deviceId": "there"}, {"deviceId": "new"}]])
    expect("the error", (answer["error"], answer["status"]), ("ArgumentError", 400))
    body = json.loads(answer["body"])
    told = [(error["deviceId"], error["errorCode"]) for error in body["errors"]]
    expect("what is said", (body["isSuccessful"], told), (False, [("there", 409001)]))
    expect("the other one", registry.registry("get", "new")["deviceId"], "new")


@case
def registry_changes_many_devices_for_their_etags(world):
    _, registry = owner_at(world)
    one, two = (registry.registry("create", {"deviceId": device}) for device in ("one", "two"))
    stale = {**two, "etag": "AAAA", "status": "disabled"}
    refused = registry.refused("registry", "updateDevices", [{**one, "status": "disabled"}, stale], False)
    expect("the error", refused, ("ArgumentError", 400))
    states = [registry.registry("get", device)["status"] for device in ("one", "two")]
    expect("whose ETag was right", states, ["disabled", "enabled"])
    refused = registry.refused("registry", "removeDevices", [stale], False)
    expect("the removal", refused, ("ArgumentError", 400))


@case
def registry_manages_modules(world):
    _, registry = owner_at(world)
    registry.registry("create", {"deviceId": "gateway"})
    made = registry.registry("addModule", {"deviceId": "gateway", "moduleId": "filter", "managedBy": "me"})
    expect("the module", (made["deviceId"], made["moduleId"], made["managedBy"]), ("gateway", "filter", "me"))
    expect("what is read", registry.registry("getModule", "gateway", "filter"), made)
    registry.registry("addModule", {"deviceId": "gateway", "moduleId": "other"})
    modules = registry.registry("getModulesOnDevice", "gateway")
    expect("the list", [module["moduleId"] for module in modules], ["filter", "other"])
    changed = registry.registry("updateModule", {**made, "managedBy": "you"})
    expect("the change", changed["managedBy"], "you")
    stale = registry.refused("registry", "updateModule", {**made, "managedBy": "them"})
    expect("a change of what is no more", stale, ("InvalidEtagError", 412))
    forced = registry.registry("updateModule", {**made, "managedBy": "all"}, True)
    expect("a forced change", forced["managedBy"], "all")
    registry.registry("removeModule", "gateway", "filter")
    expect("that it is gone", registry.refused("registry", "getModule", "gateway", "filter"), ("Error", 404))
    again = registry.refused("registry", "addModule", {"deviceId": "gateway", "moduleId": "other"})
    expect("one more of that name", again, ("DeviceAlreadyExistsError", 409))


@case
def registry_gives_a_device_fifty_modules(world):
    _, registry = owner_at(world)
    registry.registry("create", {"deviceId": "gateway"})
    for number in range(50):
        registry.registry("addModule", {"deviceId": "gateway", "moduleId": f"m{number}"})
    answer = registry.refused("registry", "addModule", {"deviceId": "gateway", "moduleId": "one-more"})
    expect("the status", answer[1], 413)


def registry_may_do_what_its_policy_may(world, policy):
    hub, keys = service_hub(world)
    hub.device("thermostat")
    registry = NodeRegistry(world, hub, connection_string=policy_string(hub, keys, policy))

    def outcome(on, name, *args):
        return registry.refused(on, name, *args)[0]

    done, refused = None, "UnauthorizedError"
    reads = policy in ("registryRead", "registryReadWrite")
    expect("reading", outcome("registry", "get", "thermostat"), done if reads else refused)
    writes = policy == "registryReadWrite"
    expect("writing", outcome("registry", "create", {"deviceId": "new"}), done if writes else refused)
    serves = policy == "service"
    expect("a twin", outcome("registry", "getTwin", "thermostat"), done if serves else refused)
    counts = outcome("registry", "getRegistryStatistics")
    expect("counting", counts, done if reads else refused)


cases_of(registry_may_do_what_its_policy_may, "service", "registryRead", "registryReadWrite")


@case
def registry_is_refused_with_a_wrong_key_or_an_unknown_policy(world):
    hub, keys = service_hub(world)
    for policy, wrong in [("iothubowner", key()), ("nobody", key())]:
        registry = NodeRegistry(world, hub, connection_string=policy_string(hub, keys, policy, wrong))
        expect(policy, registry.refused("registry", "list"), ("UnauthorizedError", 401))


@case
def registry_comes_with_a_token_of_ones_own(world):
    hub, keys = service_hub(world)
    token = sas.sign_resource(keys["iothubowner"], hub.address, policy="iothubowner")
    registry = NodeRegistry(world, hub, token=token)
    expect("the list", registry.registry("list"), [])
    expired = sas.sign_resource(keys["iothubowner"], hub.address, lifetime_s=-3600, policy="iothubowner")
    registry = NodeRegistry(world, hub, token=expired)
    expect("with one that has ended", registry.refused("registry", "list"), ("UnauthorizedError", 401))


@case
def registry_is_throttled_by_a_tier(world):
    _, registry = owner_at(world, tier="S1")
    # Queries are what there is least of, so that no slow machine makes up for it: 20 a minute.
    for number in range(100):
        answer = registry.tried("query", sql="SELECT * FROM devices")
        if answer["error"] is not None:
            break
    expect("the error", (answer["error"], answer.get("status")), ("ThrottlingError", 429))
    expect("whether a minute's worth passed before", number >= 20, True)


@case
def registry_is_told_that_there_is_no_store_for_imports(world):
    _, registry = owner_at(world)
    blob = "https://store.blob.core.windows.net/c?sig=x"
    expect("import", registry.refused("registry", "importDevicesFromBlob", blob, blob)[1], 501)
    expect("export", registry.refused("registry", "exportDevicesToBlob", blob, True)[1], 501)


@case
def registry_purges_the_messages_of_a_device(world):
    hub, registry = owner_at(world)
    hub.device("thermostat")
    for number in range(3):
        hub.do("send", whom="thermostat", message={"body": f"{number}"})
    expect("how many wait", registry.registry("get", "thermostat")["cloudToDeviceMessageCount"], 3)
    name = "cloudToDeviceMessages.purgeCloudToDeviceMessageQueue"
    purged = registry.call("generated", name, "thermostat")["body"]
    expect("what is said", (purged["totalMessagesPurged"], purged["deviceId"]), (3, "thermostat"))
    expect("how many wait", hub.do("waiting", whom="thermostat")["waiting"], 0)
