"""What is written for CUDA: captured steps, kernels, memory. `trainer.acceleration` alone chooses among it.

Every step function here is plain tensor code that runs on the CPU as well, where the tests run it.
"""
