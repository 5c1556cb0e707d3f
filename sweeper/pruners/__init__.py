"""Pruners: who stops or pauses trials early, and which paused trial goes on. `sweeper.methods` names them."""
