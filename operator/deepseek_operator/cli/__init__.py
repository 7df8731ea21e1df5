"""The command line: run | plan | models | gpus | crds."""
