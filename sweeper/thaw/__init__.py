"""The project's own search method as a core without any knowledge of studies: arrays in, decisions out."""
