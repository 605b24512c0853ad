"""Detects the media type of data by its first bytes. Pure."""

from __future__ import annotations


def image_type(head: bytes) -> str | None:
    """Return the media type of an image, or None if it is not of a type that the API accepts.

    Example:
        >>> image_type(b"GIF89a...")
        'image/gif'
    """
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    for start, media_type in (
        (b"\x89PNG\r\n\x1a\n", "image/png"),
        (b"\xff\xd8\xff", "image/jpeg"),
        (b"GIF87a", "image/gif"),
        (b"GIF89a", "image/gif"),
    ):
        if head.startswith(start):
            return media_type
    return None


def pdf_type(head: bytes) -> str | None:
    """Return the media type of a PDF, or None if it is not a PDF."""
    return "application/pdf" if head.startswith(b"%PDF-") else None
