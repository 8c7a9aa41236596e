"""Tasks: a scene, its randomization and a success predicate, written once for many worlds."""
