"""What the tests share: a builder of caches, an oracle, strategies, and two real caches."""
