"""Types of requests and responses, exactly as on the wire; `anthropix_actors.types` exports them all."""
