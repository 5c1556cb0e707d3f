"""Adapters that run other trainers on the same work as ours, each in a process of its own."""
