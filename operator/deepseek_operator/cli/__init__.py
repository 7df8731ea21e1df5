"""The command line; :mod:`.main` puts its commands together."""
