"""The real operator process with its own rights, a real API server, and SkyPilot and the engines faked over HTTP."""
