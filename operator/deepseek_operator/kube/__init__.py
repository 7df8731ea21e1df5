"""Reads and writes in Kubernetes: typed, idempotent, server-side applied."""
