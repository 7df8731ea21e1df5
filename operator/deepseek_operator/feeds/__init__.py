"""The only writers of facts: each feed watches one source and puts what it sees into the store."""
