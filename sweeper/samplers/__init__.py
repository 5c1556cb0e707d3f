"""Samplers: one file each, all behind `Sampler` of `base`. `sweeper.methods` names them."""
