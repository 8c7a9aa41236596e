"""The demo: its recording and its figure. The command is waldo.cli.demo."""
