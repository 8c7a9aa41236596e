"""The runner that carries out a plan subtask by subtask."""
