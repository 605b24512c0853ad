"""`python -m anthropix_actors.cli` is `anthropix`."""

from anthropix_actors.cli import main

main()
