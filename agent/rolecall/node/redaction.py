"""What is secret on this node, for whatever it keeps or tells of texts that others wrote."""

from rolecall.errors import HostFault
from rolecall.host import files
from rolecall.host.redaction import Redaction
from rolecall.node.node import Node
from rolecall.render.generation import Generation


def redaction_for(node: Node, *generations: Generation) -> Redaction:
    """Of all values that this process has read, those that are kept, and those in the files of these generations."""
    values = set(node.secrets.known())
    for generation in generations:
        folder = node.generations.folder / generation.id
        for file in generation.staged_files:
            if file.secrets:
                try:
                    content = files.read(folder / file.path) or b""
                except HostFault:  # a person without its rights, who asks for `status`
                    continue
                values |= generation.secret_texts(file, content.decode("utf-8", "replace"))
    return Redaction(values)


def redacted(node: Node, text: str, *generations: str | None) -> str:
    """A text without them: those of the generations with these ids, as far as they are there."""
    if not text:
        return text
    loaded = (node.generations.load(generation) for generation in dict.fromkeys(generations))
    return redaction_for(node, *(generation for generation in loaded if generation)).redacted(text)
