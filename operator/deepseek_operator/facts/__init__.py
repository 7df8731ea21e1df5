"""What can be seen, and nothing else: the facts that feeds report and rules read."""
