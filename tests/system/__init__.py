"""The whole system on the test cluster: installed as users install it, and asked as users ask it."""
