"""puffer-sweep's trainer: PPO from an INI file. It knows nothing of sweeps."""
