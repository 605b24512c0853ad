"""Files: uploaded once, named in many requests; or made by tools, and downloaded."""

from anthropix_actors._foreign.public_names import publish
from anthropix_actors.files.files import File, Files

__all__ = ["File", "Files"]

publish(__name__, map(globals().get, __all__))
