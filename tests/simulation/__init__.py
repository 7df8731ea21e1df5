"""The real control loop on a virtual clock, between a simulated Kubernetes and a simulated SkyPilot.

Store, queue, feeds, decision, actor and adapters are the operator's own. Simulated are: time (:mod:`.clock`), the API
server (:mod:`.kubernetes`), SkyPilot's server (:mod:`.skypilot`), nodes and engines (:mod:`.ground`), probes
(:mod:`.prober`), and the people and accidents that change things (:mod:`.schedule`). What is checked is in
:mod:`.promises`, :mod:`.run` is one world, and :mod:`.play` plays a schedule in it, of which one that fails is replayed
and shrunk by ``python -m tests.simulation``.
"""
