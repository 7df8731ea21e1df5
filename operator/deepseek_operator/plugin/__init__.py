"""``kubectl deepseek``: look at deployments, their logs and their speed from where kubectl runs.

Every command must start in 300 ms, so modules here import little, and libraries only where they are used. Kubernetes is
reached through kubectl itself, which brings contexts, credentials, exec and port-forward.
"""
