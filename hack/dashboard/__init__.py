"""The picture of the chart's dashboard in the documentation: ``make dashboard-picture``.

Grafana cannot be had where this project is built. So the picture is drawn from the dashboard's own file: each panel at
its place, with what a real Prometheus answers to its queries. What Prometheus has stored is what the operator's own
control loop exported over six hours on the virtual clock of ``tests/simulation``. Machines, engines, their traffic and
SkyPilot are simulated.
"""
