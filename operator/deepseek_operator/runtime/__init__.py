"""What makes it run: handlers that only wake a key, a work queue, workers, probes, metrics, health and settings.

One pass, and the only one: event -> key -> observe -> decide -> act -> status.
"""
