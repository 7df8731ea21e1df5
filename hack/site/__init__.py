"""What the documentation site is generated from: the models of the API, command lines, the catalog, other files."""
