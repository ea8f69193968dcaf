"""Helpers that the tests share: a builder of caches, oracles, strategies, and two real caches."""
