"""How the main job is spread: workers over byte ranges, resume, follow a growing stream, Slurm."""
