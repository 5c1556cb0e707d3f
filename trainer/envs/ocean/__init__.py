"""Environments of our own that step whole batches as tensor operations on whatever device they are put.

On CUDA a rollout never leaves the GPU. Random numbers come from counters, so that environment i depends on
its seed alone, whatever runs beside it and wherever.
"""
