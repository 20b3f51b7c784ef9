"""By which groups nodes may register, and what their entries are called."""

import pytest

from libs.model.ids import Ref, SpiffeId, entry_key
from libs.model.machine import MachineGroup, machine_group_key
from libs.proxy import machines, node
from libs.proxy.errors import NodeError
from tests.support import mesh

MESH = mesh.mesh(
    MachineGroup(key=machine_group_key("shop", "vm"), ref=Ref("x"), service_account="vm")
)
VM = SpiffeId("cluster.local", "shop", "vm")


def test_a_node_that_names_no_group_is_no_machine() -> None:
    assert machines.group_of({}, VM, MESH) == ""
    assert machines.group_of({"AUTO_REGISTER_GROUP": ""}, VM, MESH) == ""
    assert machines.group_of({"AUTO_REGISTER_GROUP": {"a": 1}}, VM, MESH) == ""


def test_a_group_is_for_its_namespace_and_its_account() -> None:
    asked = {"AUTO_REGISTER_GROUP": "vm"}
    assert machines.group_of(asked, VM, MESH) == "vm"
    with pytest.raises(NodeError, match="is for service account 'vm'"):
        machines.group_of(asked, SpiffeId("cluster.local", "shop", "thief"), MESH)
    with pytest.raises(NodeError, match="no WorkloadGroup 'vm' in namespace 'other'"):
        machines.group_of(asked, SpiffeId("cluster.local", "other", "vm"), MESH)
    with pytest.raises(NodeError, match="no WorkloadGroup 'none'"):
        machines.group_of({"AUTO_REGISTER_GROUP": "none"}, VM, MESH)


@pytest.mark.parametrize(
    ("group", "address", "network", "name"),
    [
        ("vm", "10.0.0.1", "", "vm-10.0.0.1"),
        ("vm", "10.0.0.1", "far", "vm-10.0.0.1-far"),
        ("vm", "fd00::1", "", "vm-fd00--1"),
        ("vm", "fd00::", "", "vm-fd00--0"),
        ("g" * 250, "10.0.0.1", "", "g" * 244 + "-10.0.0.1"),
    ],
)
def test_an_entry_is_called_as_istio_calls_it(
    group: str, address: str, network: str, name: str
) -> None:
    assert machines.entry_name(group, address, network) == name


@pytest.mark.parametrize("network", ["A", "a_b", "a/b", "é", "a."])
def test_what_nothing_can_be_called_is_refused(network: str) -> None:
    with pytest.raises(NodeError):
        machines.entry_name("vm", "10.0.0.1", network)


def test_a_machine_is_the_workload_that_it_is_registered_as() -> None:
    asked = {"AUTO_REGISTER_GROUP": "vm", "INSTANCE_IPS": "10.0.0.2,10.0.0.1"}
    proxy = node.parse("sidecar~10.0.0.1~host.shop~d", asked, VM, MESH)
    assert proxy.workload == entry_key("shop", "vm-10.0.0.2")
    assert proxy.group == "vm"
