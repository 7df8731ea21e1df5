"""What makes it run: a work queue, workers, probes, metrics, health and settings.

One pass, and the only one: event -> key -> world -> decide -> act -> status.
"""
