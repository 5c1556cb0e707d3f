"""Environments: one module a package, each turning `[base]` and `[env]` into a recipe.

A recipe (see `recipe.py`) knows an environment's layouts and settings and makes shards (see `shard.py`) of
it: a shard steps a contiguous range of environments on NumPy arrays, in whichever process a backend puts it.
Importing this package imports no environment.
"""
