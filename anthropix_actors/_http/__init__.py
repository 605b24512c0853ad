"""How a request travels and its answer comes back; what is known of requests and urllib3 is known here."""
