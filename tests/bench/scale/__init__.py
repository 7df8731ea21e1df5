"""What a thousand deployments cost: ``python -m tests.bench.scale --help``."""
