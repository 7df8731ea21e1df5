"""The provider that builds a one-node cluster on this machine, without a container engine."""
