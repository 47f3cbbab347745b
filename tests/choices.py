"""What a method needs beside its name to be an experiment."""

WHOLE = {
    "backbone": "higherhrnet-w32",
    "amount": "all images",
    "size": "512x512",
    "protocol": "aid bottom-up",
}


def of(method: str) -> dict[str, str]:
    """The network and data of a method that only whole images have; nothing for the others."""
    return WHOLE if "-whole" in method else {}
