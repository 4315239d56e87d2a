"""Turn YAML into values: the only package besides `app` and `cli` that imports Hydra."""
