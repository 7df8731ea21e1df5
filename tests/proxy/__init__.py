"""A real HAProxy process with the operator's configuration, between real clients and stand-in engines over loopback."""
