"""The SkyPilot API server over REST: typed requests, typed errors, and one snapshot shared by all deployments.

REST and never SkyPilot's SDK: its dependencies conflict with kopf's, it costs 150 MiB, and it hides request ids.
Pickles in its answers stay unread.
"""
