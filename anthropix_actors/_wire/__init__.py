"""The shapes of what travels, exactly as on the wire; `anthropix_actors.types` has all of them."""
