"""What people and accidents do, a method per kind of event: ``engine-hangs`` is ``_on_engine_hangs``."""

from typing import Any

from deepseek_operator.api import v1alpha1 as api
from deepseek_operator.api.reasons import Reason
from deepseek_operator.facts.clock import format_time
from deepseek_operator.kube.errors import KubeExpiredError, KubeUnavailableError
from deepseek_operator.runtime.queue import Priority
from tests.simulation.ground import STRANGER
from tests.simulation.rows import PRICE
from tests.simulation.schedule import Event
from tests.simulation.specs import NAMESPACE, OWN_SECRET, kinds

__all__ = ["Accidents"]


class Accidents:
    """Lets the events of a schedule happen.

    Parameters
    ----------
    world
        The simulation, see :class:`tests.simulation.run.Simulation`.
    """

    def __init__(self, world: Any) -> None:
        self._world = world

    def _edit(self, name: str, **spec: Any) -> None:
        body = self._world.kubernetes.get(api.PLURAL, NAMESPACE, name)
        if body is None or body["metadata"].get("deletionTimestamp"):
            return
        head = {**body["metadata"], "generation": body["metadata"]["generation"] + 1}
        after = {**body, "metadata": head, "spec": {**body["spec"], **spec}}
        self._world.promises.wishes.note(self._world.kubernetes.put(api.PLURAL, NAMESPACE, name, after))

    def happen(self, event: Event) -> None:
        self._world.trace(f"EVENT {event}")
        getattr(self, f"_on_{event.kind.replace('-', '_')}")(event)

    def _clusters(self, name: str) -> list[str]:
        return sorted(cluster for cluster in self._world.ground.nodes if cluster.startswith(f"{name}-"))

    def _some_cluster(self, event: Event) -> str | None:
        clusters = self._clusters(event.target)
        return clusters[int(event.value) % len(clusters)] if clusters else None

    def _on_scale(self, event: Event) -> None:
        self._edit(event.target, replicas=int(event.value))

    def _on_edit(self, event: Event) -> None:
        """Give the engine another argument; 0 takes it off."""
        body = self._world.kubernetes.get(api.PLURAL, NAMESPACE, event.target)
        if body is not None:
            engine = {**body["spec"]["engine"], "args": [f"--max-num-seqs={int(event.value)}"] if event.value else []}
            self._edit(event.target, engine=engine)

    def _on_port(self, event: Event) -> None:
        body = self._world.kubernetes.get(api.PLURAL, NAMESPACE, event.target)
        if body is not None:
            endpoint = body["spec"].get("endpoint") or {}
            self._edit(event.target, endpoint={**endpoint, "port": 9000 if endpoint.get("port") != 9000 else 8000})

    def _on_suspend(self, event: Event) -> None:
        self._edit(event.target, suspend=True)

    def _on_resume(self, event: Event) -> None:
        self._edit(event.target, suspend=False)

    def _on_no_surge(self, event: Event) -> None:
        self._edit(event.target, updateStrategy={"maxSurge": "0", "maxUnavailable": "1"})

    def _on_cap(self, event: Event) -> None:
        """Set maxHourlyCost to the price of so many machines and a half; 0 takes it off."""
        body = self._world.kubernetes.get(api.PLURAL, NAMESPACE, event.target)
        if body is not None:
            resources = {key: kept for key, kept in body["spec"]["resources"].items() if key != "maxHourlyCost"}
            price = PRICE * self._world.schedule.nodes
            cap = {"maxHourlyCost": str(round(int(event.value) * price + price / 2, 2))} if event.value >= 1 else {}
            self._edit(event.target, resources={**resources, **cap})

    def _on_spot(self, event: Event) -> None:
        """Ask for spot machines, and for so many replicas on demand."""
        body = self._world.kubernetes.get(api.PLURAL, NAMESPACE, event.target)
        if body is not None:
            self._edit(event.target, resources={**body["spec"]["resources"], **kinds(int(event.value))})

    def _on_no_spot(self, event: Event) -> None:
        self._world.skypilot.no_spot = True
        self._world.loop.call_later(event.value, setattr, self._world.skypilot, "no_spot", False)

    def _on_cluster_full(self, event: Event) -> None:
        self._fill("Kubernetes", event.value)

    def _on_cloud_full(self, event: Event) -> None:
        self._fill("AWS", event.value)

    def _fill(self, cloud: str, seconds: float) -> None:
        """Let no launch find room in a place for a while."""
        self._world.skypilot.full.add(cloud)
        self._world.loop.call_later(seconds, self._world.skypilot.full.discard, cloud)

    def _on_reclaim(self, event: Event) -> None:
        """Take the machines of one spot replica back."""
        rows = self._world.skypilot.rows
        found = [name for name in self._clusters(event.target) if name in rows and rows[name].spot]
        if found:
            self._world.skypilot.nodes_go(found[int(event.value) % len(found)])

    def lift_caps(self) -> None:
        """Take every maxHourlyCost off, so that everything can be as it is wanted."""
        for name in "ab":
            body = self._world.kubernetes.get(api.PLURAL, NAMESPACE, name)
            if body is not None and "maxHourlyCost" in body["spec"]["resources"]:
                self._on_cap(Event(0, "cap", name))

    def _on_require_approval(self, event: Event) -> None:
        self._edit(event.target, approval="Required")

    def _on_require_no_approval(self, event: Event) -> None:
        self._edit(event.target, approval="NotRequired")

    def _on_approve(self, event: Event) -> None:
        """Approve the plan that the status shows, whatever the spec says by now."""
        body = self._world.kubernetes.get(api.PLURAL, NAMESPACE, event.target)
        if body is not None and (shown := ((body.get("status") or {}).get("plan") or {}).get("hash")):
            self._world.promises.wishes.approvals.give(body["metadata"]["uid"], shown, self._world.loop.time())
            self._world.annotate(body, {api.ANNOTATION_APPROVED_PLAN: shown})

    def approve_what_waits(self) -> None:
        """Approve every plan whose status says that it waits for that."""
        for body in self._world.kubernetes.list(api.PLURAL):
            conditions = (body.get("status") or {}).get("conditions") or ()
            if any(one["reason"] == Reason.AWAITING_APPROVAL for one in conditions):
                self._on_approve(Event(0, "approve", body["metadata"]["name"]))

    def _on_delete(self, event: Event) -> None:
        self._world.kubernetes.delete(api.PLURAL, NAMESPACE, event.target)
        body = self._world.kubernetes.get(api.PLURAL, NAMESPACE, event.target)
        if body is not None:
            self._world.promises.wishes.note(body)

    def _on_create(self, event: Event) -> None:
        self._world.create(event.target, 1)

    def _on_delete_service(self, event: Event) -> None:
        self._world.kubernetes.remove("services", NAMESPACE, event.target)
        self._world.ground_changed("")

    def _on_delete_slice(self, event: Event) -> None:
        for part in ("8000", "9000", "proxy", "tls.8000", "tls.9000", "plain.8000", "plain.9000"):
            self._world.kubernetes.remove("endpointslices", NAMESPACE, f"{event.target}-{part}")
        self._world.promises.slices_gone_at = self._world.loop.time()
        self._world.ground_changed("")

    def _on_delete_proxy(self, event: Event) -> None:
        self._world.kubernetes.remove("deployments", NAMESPACE, f"{event.target}-proxy")

    def _on_delete_secret(self, event: Event) -> None:
        """Delete the key that the operator made, its authority (1), or both (2)."""
        # An operator that is killed meanwhile does not remember the old authority, which is a known limit.
        which = 0 if self._world.may_be_killed else int(event.value)
        for kind in (("api-key",), ("ca",), ("api-key", "ca"))[which]:
            self._world.promises.secret_gone_at = self._world.loop.time()
            self._world.kubernetes.remove("secrets", NAMESPACE, f"{event.target}-{kind}")

    def _on_delete_own_secret(self, event: Event) -> None:
        """Delete a user's own Secret, and create it again after a while."""
        if self._world.schedule.own_key:
            self._world.kubernetes.remove("secrets", NAMESPACE, OWN_SECRET)
            self._world.loop.call_later(event.value, self._world.put_own_secret)

    def _on_proxy_evicted(self, event: Event) -> None:
        self._world.proxies.kill(NAMESPACE, event.target)

    def _on_proxy(self, event: Event) -> None:
        """Ask for a proxy, or no longer."""
        body = self._world.kubernetes.get(api.PLURAL, NAMESPACE, event.target)
        if body is not None:
            endpoint = body["spec"].get("endpoint") or {}
            self._edit(event.target, endpoint={**endpoint, "proxy": not endpoint.get("proxy", False)})

    def _on_edit_service(self, event: Event) -> None:
        body = self._world.kubernetes.get("services", NAMESPACE, event.target)
        if body is not None:
            ports = [{"name": "web", "port": 80, "targetPort": 80}]
            self._world.kubernetes.put(
                "services", NAMESPACE, event.target, {**body, "spec": {**body["spec"], "ports": ports}}
            )

    def _on_engine_ends(self, event: Event) -> None:
        if (cluster := self._some_cluster(event)) is not None:
            self._world.skypilot.engine_ends(cluster)

    def _set_hung(self, event: Event, *, hung: bool) -> None:
        for cluster in self._clusters(event.target):
            nodes = self._world.ground.nodes[cluster]
            if nodes.engine is not None and nodes.engine.hung != hung:
                self._world.ground.note_death(nodes)
                nodes.engine.hung, nodes.engine.since = hung, self._world.loop.moment
                self._world.ground.changed(nodes.host)
                return

    def _on_engine_hangs(self, event: Event) -> None:
        self._set_hung(event, hung=True)

    def _on_engine_recovers(self, event: Event) -> None:
        self._set_hung(event, hung=False)

    def _on_nodes_go(self, event: Event) -> None:
        if (cluster := self._some_cluster(event)) is not None:
            self._world.skypilot.nodes_go(cluster)

    def _on_address_taken(self, event: Event) -> None:
        """Take a rented machine away, and give its address to the next one that is rented (0), or to a stranger.

        The stranger speaks TLS with a certificate of its own (1), or plain HTTP (2).
        """
        nodes = self._world.ground.nodes
        clusters = [name for name in self._clusters(event.target) if not nodes[name].on_kubernetes]
        if clusters:
            cluster = clusters[int(event.value) // 3 % len(clusters)]
            host, engine = nodes[cluster].host, nodes[cluster].engine
            self._world.skypilot.nodes_go(cluster)
            kind = int(event.value) % 3
            if kind == 0:
                self._world.ground.free(host)
            elif engine is not None:
                self._world.ground.move_in(engine.address, STRANGER if kind == 1 else None)

    def _on_node_goes(self, event: Event) -> None:
        """Take one node of a replica that has several: the head (0), or a worker."""
        clusters = [name for name in self._clusters(event.target) if len(self._world.ground.nodes[name].members) > 1]
        if clusters:
            cluster = clusters[int(event.value) // 2 % len(clusters)]
            members = sorted(self._world.ground.nodes[cluster].members)
            self._world.skypilot.node_goes(cluster, members[int(event.value) % 2])

    def _on_sky_down(self, event: Event) -> None:
        for cluster in self._clusters(event.target)[:1]:
            self._world.skypilot.nodes_go(cluster)
            self._world.skypilot.rows.pop(cluster, None)
            self._world.skypilot.history[cluster] = self._world.skypilot.now()

    def _uid(self, name: str) -> str:
        body = self._world.kubernetes.get(api.PLURAL, NAMESPACE, name)
        return str(body["metadata"]["uid"]) if body is not None else ""

    def _on_stuck(self, event: Event) -> None:
        self._world.skypilot.stuck.add(self._uid(event.target))

    def _on_unstuck(self, event: Event) -> None:
        self._world.skypilot.stuck.clear()

    def _on_crashing(self, event: Event) -> None:
        self._world.skypilot.crashing.add(self._uid(event.target))

    def _on_not_crashing(self, event: Event) -> None:
        self._world.skypilot.crashing.clear()

    def _on_skypilot_refuses(self, event: Event) -> None:
        self._world.set_mode("refuses", event.value)

    def _on_skypilot_hangs(self, event: Event) -> None:
        self._world.set_mode("hangs", event.value)

    def _on_skypilot_restarts(self, event: Event) -> None:
        self._world.skypilot.restart()
        self._world.set_mode("refuses", event.value)

    def _on_lose_database(self, event: Event) -> None:
        self._world.skypilot.lose_database()
        self._world.set_mode("refuses", event.value)

    def _on_launch_fails(self, event: Event) -> None:
        self._world.skypilot.launch_faults.append("clean")

    def _on_launch_sticks(self, event: Event) -> None:
        self._world.skypilot.launch_faults.append("stuck")

    def _on_launch_hangs(self, event: Event) -> None:
        self._world.skypilot.launch_faults.append("hangs")

    def _on_teardown_hangs(self, event: Event) -> None:
        self._world.skypilot.down_faults.append("hangs")

    def _on_credentials_go(self, event: Event) -> None:
        self._world.skypilot.without_credentials.add("aws")
        self._world.loop.call_later(event.value, self._world.skypilot.without_credentials.clear)

    def _on_machines_mute(self, event: Event) -> None:
        self._world.skypilot.mute += 1

    def _on_teardown_fails(self, event: Event) -> None:
        self._world.skypilot.down_faults.append("fails")

    def _on_post_refused(self, event: Event) -> None:
        self._world.add_post_fault("post-refused", 0.0)

    def _on_post_late(self, event: Event) -> None:
        self._world.add_post_fault("post-late", event.value)

    def _on_answer_lost(self, event: Event) -> None:
        self._world.add_post_fault("answer-lost", 0.0)

    def _on_api_away(self, event: Event) -> None:
        began = self._world.loop.time()
        self._world.kubernetes.away = True
        self._world.api_back_at = began + event.value
        self._world.loop.call_at(self._world.api_back_at, self._api_returns, began)
        if self._world.process is not None:
            self._world.process.break_watches(KubeUnavailableError("the connection was closed"))

    def _api_returns(self, since: float) -> None:
        self._world.kubernetes.away = self._world.loop.time() < self._world.api_back_at - 0.001
        if not self._world.kubernetes.away:
            self._world.promises.wishes.api_back(since)

    def _on_slices_refused(self, event: Event) -> None:
        self._world.kubernetes.refused.add("endpointslices")
        self._world.loop.call_later(event.value, self._world.kubernetes.refused.discard, "endpointslices")

    def _on_status_refused(self, event: Event) -> None:
        self._world.kubernetes.refused.add("status")
        self._world.loop.call_later(event.value, self._world.kubernetes.refused.discard, "status")

    def _on_watch_gap(self, event: Event) -> None:
        now = self._world.loop.time()
        self._world.gap_until = now + event.value
        self._world.promises.gap = (now, self._world.gap_until)
        self._world.loop.call_later(event.value + 0.01, self._gap_ends)

    def _gap_ends(self) -> None:
        if self._world.process is not None:
            self._world.process.break_watches(KubeExpiredError("too old resource version", 410))

    def _on_namespace_deleted(self, event: Event) -> None:
        home = self._world.kubernetes.get("namespaces", "", NAMESPACE)
        if home is None or self._world.terminating():
            return
        stamp = {"deletionTimestamp": format_time(self._world.loop.now())}
        self._world.kubernetes.put("namespaces", "", NAMESPACE, {**home, "metadata": {**home["metadata"], **stamp}})
        self._world.promises.requests.terminating(NAMESPACE, since=self._world.loop.time())
        self._world.loop.call_later(event.value, self._empty_namespace)

    def _empty_namespace(self) -> None:
        """Delete what is in the namespace, as its controller does."""
        for plural, namespace, name in list(self._world.kubernetes.objects):
            if namespace == NAMESPACE and plural != "secrets":
                self._world.kubernetes.delete(plural, namespace, name)
        for body in self._world.kubernetes.list(api.PLURAL):
            self._world.promises.wishes.note(body)
        for cluster, nodes in list(self._world.ground.nodes.items()):
            if nodes.on_kubernetes:
                self._world.skypilot.nodes_go(cluster)
        self._end_namespace()

    def _end_namespace(self) -> None:
        if self._world.kubernetes.list(api.PLURAL):
            self._world.loop.call_later(5, self._end_namespace)
            return
        self._world.kubernetes.remove("namespaces", "", NAMESPACE)
        self._world.promises.requests.terminating(NAMESPACE, since=None)
        self._world.kubernetes.put("namespaces", "", NAMESPACE, {"metadata": {"name": NAMESPACE, "uid": "n2"}})

    def _on_kill(self, event: Event) -> None:
        self._world.kill(event.value)

    def _on_kill_in_calls(self, event: Event) -> None:
        if self._world.process is not None:
            self._world.process.kill_in = int(event.value)

    def _on_plan_refused(self, event: Event) -> None:
        self._world.planner.refusing = True
        self.wake_all()

    def _on_plan_accepted(self, event: Event) -> None:
        self._world.planner.refusing = False
        self.wake_all()

    def wake_all(self) -> None:
        if self._world.process is not None:
            for key in self._world.process.loop.store.all_keys():
                self._world.process.loop.queue.add(key, Priority.POLL)

    def _on_clock(self, event: Event) -> None:
        self._world.loop.shift += event.value
        self._world.promises.clock_moved_at = self._world.loop.time()
