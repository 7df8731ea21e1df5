"""EC2 as moto answers it, with what SkyPilot needs and moto does not do.

moto keeps the books (instances, groups, tags, subnets). Here its instances get life: states that take time, machines
behind them, addresses that belong to nobody, a public default network in every region, and the faults that tests set.
The names that are replaced in moto are private to it, so its version is pinned.
"""

import itertools
import json
import os
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from tests.cloud.simulator.faults import Fault, Faults, Knobs
from tests.cloud.simulator.machine import Ground, Machine

__all__ = ["IMAGE", "ROLE", "Cloud"]

IMAGE = "ami-0d5dc10d000000001"
ACCOUNT = "123456789012"
ROLE = "skypilot-v1"
"""Role and instance profile that SkyPilot would make, and then wait half a minute for."""

_CODES = {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopping": 64, "stopped": 80}


class Cloud:
    """One account: its machines, faults and log.

    Parameters
    ----------
    ground
        What machines stand on.
    enabled
        Regions that the account has; SkyPilot asks each for its zones.
    """

    def __init__(self, ground: Ground, enabled: frozenset[str]) -> None:
        self.ground, self._enabled = ground, enabled
        self.faults = Faults()
        self.knobs = Knobs()
        self.instances: dict[str, Any] = {}
        self.machines: dict[str, Machine] = {}
        self.notices: set[str] = set()
        self.calls: list[dict[str, Any]] = []
        self._regions: dict[str, int] = {}
        self._prepare_images(ground.work / "amis.json")
        self._replace()
        self._make_role()

    def note(self, **what: Any) -> None:
        """Remember a call or an event."""
        self.calls.append(what)

    def listed(self) -> list[dict[str, Any]]:
        """Return all instances that are not terminated."""
        return [self._view(one) for one in self.instances.values() if one._state.name != "terminated"]

    def groups(self) -> list[dict[str, Any]]:
        """Return the security groups of all regions, the default ones apart."""
        from moto.backends import get_backend

        return [
            {"region": region, "name": group.name, "tags": {tag["key"]: tag["value"] for tag in group.get_tags()}}
            for region, backend in get_backend("ec2")[ACCOUNT].items()
            for group in backend.describe_security_groups()
            if group.name != "default"
        ]

    def matching(self, wanted: dict[str, Any]) -> list[Any]:
        """Return the instances whose view has these values."""
        views = [(one, self._view(one)) for one in self.instances.values()]
        return [one for one, view in views if all(view.get(key) == value for key, value in wanted.items())]

    def reclaim(self, wanted: dict[str, Any], notice: float) -> None:
        """Take machines back as the provider of a spot machine does, after a notice of some seconds."""
        why = "Server.SpotInstanceTermination: Spot instance termination"
        for instance in self.matching(wanted):
            self.notices.add(instance.id)
            _later(notice, partial(self.terminate, instance, why))

    def kill(self, wanted: dict[str, Any]) -> None:
        """End machines without a word: EC2 goes on saying that they run."""
        for instance in self.matching(wanted):
            if machine := self.machines.get(instance.id):
                machine.halt()

    def terminate(self, instance: Any, why: str = "") -> None:
        """Terminate an instance; the machine is gone some seconds later."""
        if instance._state.name in ("shutting-down", "terminated"):
            return
        self._moto_terminate(instance)
        _set_state(instance, "shutting-down")
        if why:
            from moto.ec2.models.instances import StateReason

            instance._reason, instance.state_reason = why, StateReason(why, why.split(":")[0])

        def gone() -> None:
            if machine := self.machines.pop(instance.id, None):
                machine.remove()
            _set_state(instance, "terminated")

        _later(self.knobs.stop, gone)

    def open_ports(self) -> None:
        """Give every machine the firewall that its instance's security groups say."""
        for identity, machine in list(self.machines.items()):
            groups = {group for nic in self.instances[identity].nics.values() for group in nic.group_set}
            rules = [rule for group in groups for rule in group.ingress_rules if rule.ip_protocol == "tcp"]
            opened = [(r.ip_range["CidrIp"], r.from_port, r.to_port) for r in rules if r.ip_range.get("CidrIp")]
            machine.firewall([rule for rule in opened if rule[1] not in self.knobs.closed])

    def close(self) -> None:
        """End all machines."""
        for machine in list(self.machines.values()):
            machine.remove()

    # --- what is replaced in moto ---------------------------------------------------------------------------------

    def _prepare_images(self, path: Path) -> None:
        image = {
            "ami_id": IMAGE, "state": "available", "public": True, "owner_id": ACCOUNT, "image_location": "sim/ami",
            "sriov": "simple", "root_device_type": "ebs", "root_device_name": "/dev/sda1", "description": "simulated",
            "image_type": "machine", "platform": None, "architecture": "x86_64", "name": "simulated",
            "virtualization_type": "hvm", "hypervisor": "xen",
        }  # fmt: skip
        path.write_text(json.dumps([image]))
        # moto reads it when it is imported.
        os.environ["MOTO_AMIS_PATH"] = str(path)
        os.environ["MOTO_IAM_LOAD_MANAGED_POLICIES"] = "true"

    def _replace(self) -> None:
        from moto.ec2.models import elastic_network_interfaces, instances, vpcs
        from moto.ec2.models.availability_zones_and_regions import RegionsAndZonesBackend as Places

        Places.regions = [region for region in Places.regions if region.name in self._enabled]
        addresses = itertools.cycle(str(address) for address in list(self.ground.public.hosts())[9:])
        elastic_network_interfaces.random_public_ip = lambda: next(addresses)
        self._moto_run = instances.InstanceBackend.run_instances
        self._moto_terminate = instances.Instance.terminate
        cloud = self

        def run_instances(backend: Any, image_id: str, count: int, user_data: Any, groups: Any, **rest: Any) -> Any:
            return cloud._run_instances(backend, image_id, count, user_data, groups, rest)

        def terminate_instances(backend: Any, instance_ids: list[str]) -> list[Any]:
            states = []
            for instance in backend.get_multi_instances_by_id(instance_ids):
                before = instances.InstanceState(instance._state.name, instance._state.code)
                states.append((instance, before))
                cloud.terminate(instance)
            return states

        def default_network(backend: Any) -> Any:
            return cloud._default_network(backend)

        instances.InstanceBackend.run_instances = run_instances
        instances.InstanceBackend.terminate_instances = terminate_instances
        vpcs.VPCBackend.create_default_vpc = default_network

    def _make_role(self) -> None:
        from moto.backends import get_backend

        iam = get_backend("iam")[ACCOUNT]["aws"]
        iam.create_role(ROLE, json.dumps({"Statement": []}), "/", None, "", [], 3600)
        iam.create_instance_profile(ROLE, "/", [])
        iam.add_role_to_instance_profile(ROLE, ROLE)

    def _default_network(self, backend: Any) -> Any:
        """Make a region's default network: addresses of its own, and a way out, without which SkyPilot skips it."""
        number = self._regions.setdefault(backend.region_name, len(self._regions))
        network = backend.create_vpc(cidr_block=f"172.{31 - number % 15}.0.0/16", is_default=True)
        for zone in backend.describe_availability_zones():
            backend.create_default_subnet(zone.name)
        gateway = backend.create_internet_gateway()
        backend.attach_internet_gateway(gateway.id, network.id)
        main = next(table for table in backend.route_tables.values() if table.vpc_id == network.id)
        backend.create_route(main.id, "0.0.0.0/0", gateway_id=gateway.id)
        return network

    def _run_instances(
        self, backend: Any, image_id: str, count: int, user_data: Any, groups: Any, rest: dict[str, Any]
    ) -> Any:
        from moto.ec2.exceptions import EC2ClientError

        subnet = next((nic["SubnetId"] for nic in rest.get("nics", []) if nic.get("SubnetId")), rest.get("subnet_id"))
        facts = {
            "region": backend.region_name,
            "zone": backend.get_subnet(subnet).availability_zone if subnet else None,
            "type": rest.get("instance_type"),
            "spot": bool(rest.get("instance_market_options")),
        }
        fault = self.faults.take("RunInstances", answered=False, **facts) or Fault()
        self.note(action="RunInstances", **facts, count=count, fault=fault.code or fault.boot)
        if fault.code:
            raise EC2ClientError(fault.code, fault.message or f"simulated: {facts['type']} in {facts['zone']}")
        for device in rest.get("block_device_mappings") or []:
            device["Ebs"]["DeleteOnTermination"] = True  # images say so; moto does not
        made = self._moto_run(backend, image_id, count, user_data, groups, **rest)
        for number, instance in enumerate(made.instances):
            boot = fault.boot if fault.node in (None, number) else ""
            _set_state(instance, "pending")
            self.instances[instance.id] = instance
            if boot != "stuck":
                _later(self.knobs.boot, partial(self._up, instance, boot))
        return made

    def _up(self, instance: Any, boot: str) -> None:
        if instance._state.name != "pending":
            return
        if boot != "bare":
            data = instance.user_data.decode() if instance.user_data else ""
            machine = Machine(
                self.ground, instance.id, instance.private_ip, instance.public_ip, data, deaf=boot == "deaf"
            )
            self.machines[instance.id] = machine
            machine.boot()
            self.open_ports()
        _set_state(instance, "running")

    def _view(self, instance: Any) -> dict[str, Any]:
        tags = {tag["key"]: tag["value"] for tag in instance.get_tags()}
        machine = self.machines.get(instance.id)
        return {
            "id": instance.id,
            "state": instance._state.name,
            "type": instance.instance_type,
            "region": instance.placement.zone[:-1],
            "zone": instance.placement.zone,
            "lifecycle": instance.lifecycle,
            "private": instance.private_ip,
            "public": instance.public_ip,
            "alive": machine is not None and machine.alive,
            "role": tags.get("ray-node-type"),
            "tags": tags,
            "user_data": instance.user_data.decode() if instance.user_data else "",
        }


def _set_state(instance: Any, name: str) -> None:
    instance._state.name, instance._state.code = name, _CODES[name]


def _later(seconds: float, then: Callable[[], None]) -> None:
    timer = threading.Timer(seconds, then)
    timer.daemon = True
    timer.start()
