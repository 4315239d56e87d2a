"""From YAML to values: the only home of Hydra and OmegaConf beside the command line."""
